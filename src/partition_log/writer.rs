//! What the leader of a commit does with the batches: headers, segments, syncs. One thread at a time.

use std::fmt;
use std::sync::Arc;

use super::LeaderEpochs;
use super::accumulator::Filled;
use super::stop::Stop;
use crate::config::TopicConfig;
use crate::ends_file::ProvenEnd;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::segment::{ActiveSegment, Segment, SegmentDir, StoredIndexes};
use crate::sync::RwLock;

/// The end of a partition's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The offset behind the last batch.
    pub offset: Offset,
    /// The base offset of the segment that the end lies in, and the position there.
    pub segment: Offset,
    pub position: u64,
}

impl LogEnd {
    pub fn of(active: &ActiveSegment) -> Self {
        Self { offset: active.next_offset(), segment: active.base_offset(), position: active.size() }
    }
}

impl From<ProvenEnd> for LogEnd {
    fn from(proven: ProvenEnd) -> Self {
        Self { offset: proven.offset, segment: proven.segment, position: proven.position }
    }
}

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}, byte {} of segment {}", self.offset, self.position, self.segment)
    }
}

/// What a failed write has left.
#[derive(Debug)]
pub enum WriteError {
    /// The log is as it was before the batch that failed, durably.
    NotWritten(Error),
    /// Nobody knows.
    Indeterminate(Error),
}

/// The leader epochs of a partition, and whether the next append begins one.
#[derive(Debug)]
pub struct Epochs {
    known: LeaderEpochs,
    due: Option<LeaderEpoch>,
}

impl Epochs {
    /// Of a new partition, or of one that was closed in order.
    pub fn new(known: LeaderEpochs) -> Self {
        let due = known.latest().is_none().then_some(0);
        Self { known, due }
    }

    /// Of a partition whose log ends at `end` after an unclean stop: offsets from there on may have been seen
    /// with other content, and get an epoch that was never used.
    pub fn after_recovery(mut known: LeaderEpochs, end: Offset) -> Self {
        let due = known.latest().map_or(0, |latest| latest.saturating_add(1));
        known.truncate_from_end(end);
        Self { known, due: Some(due) }
    }

    /// Makes an epoch durable that is due after a recovery: a life without appends must not forget it.
    fn settle(&mut self, end: Offset, dir: &SegmentDir) -> Result<()> {
        match self.due {
            None | Some(0) => Ok(()),
            Some(_) => match self.epoch_at(end, dir) {
                Ok(_) => Ok(()),
                Err(WriteError::NotWritten(error) | WriteError::Indeterminate(error)) => Err(error),
            },
        }
    }

    /// The epoch for an append at `offset`; one that begins is durable when it returns.
    fn epoch_at(&mut self, offset: Offset, dir: &SegmentDir) -> Result<LeaderEpoch, WriteError> {
        if let Some(epoch) = self.due {
            let mut known = self.known.clone();
            known.begin(epoch, offset);
            known.stage(dir.vfs().as_ref(), dir.path()).map_err(WriteError::NotWritten)?;
            LeaderEpochs::commit(dir.vfs().as_ref(), dir.path()).map_err(WriteError::Indeterminate)?;
            (self.known, self.due) = (known, None);
        }
        Ok(self.known.latest().unwrap_or_default())
    }
}

/// The writing side of a partition's files.
#[derive(Debug)]
pub struct Writer {
    dir: SegmentDir,
    config: TopicConfig,
    epochs: Epochs,
    /// `None` once the partition is closed, or a roll has failed.
    active: Option<ActiveSegment>,
    /// Every segment in order, as readers see them; the last is the active one's.
    segments: Arc<RwLock<Vec<Segment>>>,
}

impl Writer {
    pub fn new(
        dir: SegmentDir,
        config: TopicConfig,
        epochs: Epochs,
        active: ActiveSegment,
        segments: Arc<RwLock<Vec<Segment>>>,
    ) -> Self {
        Self { dir, config, epochs, active: Some(active), segments }
    }

    /// The end of what was written; `None` once the writer has stopped.
    pub fn end(&self) -> Option<LogEnd> {
        self.active.as_ref().map(LogEnd::of)
    }

    /// Writes the batches, rolling where it is due. What it leaves in a sealed segment is durable; after an error
    /// what comes before [`end`](Self::end) is written.
    pub fn write(&mut self, filled: &mut Filled, now: Timestamp) -> Result<(), WriteError> {
        let Some(first) = filled.batches.first() else { return Ok(()) };
        let epoch = self.epochs.epoch_at(first.header.base_offset, &self.dir)?;
        for batch in &mut filled.batches {
            batch.header.leader_epoch = epoch.cast_signed();
            batch.seal(&mut filled.buffer);
        }

        let mut batches = filled.batches.as_slice();
        while let [first, ..] = batches {
            let active = self.active.as_mut().ok_or_else(ended)?;
            let fitting = active.fitting(batches, &self.config, now);
            let (now_fitting, later) = batches.split_at(fitting);
            match now_fitting {
                [] => self.roll(first.header.base_offset, now)?,
                [.., last] => {
                    let bytes = &filled.buffer[first.bytes.start..last.bytes.end];
                    let appended = active.append(bytes, now_fitting, &self.config);
                    appended.map_err(|error| match active.cut_back() {
                        Ok(()) => WriteError::NotWritten(error),
                        Err(_) => WriteError::Indeterminate(error),
                    })?;
                }
            }
            batches = later;
        }
        Ok(())
    }

    /// Makes everything that was written durable.
    pub fn sync(&self) -> Result<()> {
        self.active.as_ref().map_or(Ok(()), ActiveSegment::sync)
    }

    /// Forgets the last segment as it is.
    pub fn discard(&mut self) {
        self.active = None;
    }

    /// Seals the last segment. The next opening takes it over as the active one again.
    pub fn close(&mut self) -> Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        self.epochs.settle(active.next_offset(), &self.dir)?;
        active.seal(&self.config).map(|_| ())
    }

    /// Seals the active segment, which syncs it, and only then gives the next one its name. If that cannot be
    /// created, the old one is taken up again; if the directory cannot be synced, nobody knows.
    fn roll(&mut self, base: Offset, now: Timestamp) -> Result<(), WriteError> {
        self.check_place_is_free(base).map_err(WriteError::Indeterminate)?;
        let active = self.active.take().ok_or_else(ended)?;
        let end = LogEnd::of(&active);
        let sealed = active.seal(&self.config).map_err(WriteError::Indeterminate)?;
        let next = match ActiveSegment::create(&self.dir, base, &self.config, now) {
            Ok(next) => next,
            Err(error) => {
                self.take_back(end, base, now).map_err(WriteError::Indeterminate)?;
                return Err(WriteError::NotWritten(error));
            }
        };
        self.sync_dir().map_err(WriteError::Indeterminate)?;
        self.replace_last([Segment::Sealed(Arc::new(sealed)), Segment::Active(Arc::clone(next.reader()))]);
        self.active = Some(next);
        Ok(())
    }

    /// Nobody but us makes segments: one that is there already is not ours to remove.
    fn check_place_is_free(&self, base: Offset) -> Result<()> {
        let path = self.dir.file(SegmentFile::Log, base);
        match self.dir.vfs().kind(&path).doing("look at", &path)? {
            None => Ok(()),
            Some(_) => {
                Err(Error::corrupt("something stands in the place of the next segment").in_file(&path))
            }
        }
    }

    /// Removes what there is of a segment that could not be created, and takes the one before it up again.
    fn take_back(&mut self, end: LogEnd, base: Offset, now: Timestamp) -> Result<()> {
        for file in SegmentFile::ALL {
            let path = self.dir.file(file, base);
            if self.dir.vfs().kind(&path).doing("look at", &path)?.is_some() {
                self.dir.vfs().remove_file(&path).doing("remove", &path)?;
            }
        }
        self.sync_dir()?;
        let again = ActiveSegment::open(&self.dir, end.segment, &self.config, now, StoredIndexes::Trusted)?;
        if LogEnd::of(&again) != end {
            return Err(Error::corrupt(format!("a segment was sealed at {end}, and ends elsewhere")));
        }
        self.replace_last([Segment::Active(Arc::clone(again.reader()))]);
        self.active = Some(again);
        Ok(())
    }

    fn sync_dir(&self) -> Result<()> {
        self.dir.vfs().sync_dir(self.dir.path()).doing("sync", self.dir.path())
    }

    fn replace_last(&self, by: impl IntoIterator<Item = Segment>) {
        let mut segments = self.segments.write();
        segments.pop();
        segments.extend(by);
    }
}

fn ended() -> WriteError {
    WriteError::Indeterminate(Stop::Closed.error())
}
