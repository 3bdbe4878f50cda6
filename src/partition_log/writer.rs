//! What the leader of a commit does with the batches: headers, segments, syncs. One thread at a time.

use std::fmt;
use std::sync::Arc;

use super::LeaderEpochs;
use super::accumulator::Filled;
use super::stop::Stop;
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::ends_file::ProvenEnd;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{LeaderEpoch, Offset};
use crate::segment::{ActiveSegment, Finished, SealedSegment, Segment, SegmentDir, StoredIndexes, Unsynced};
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

    /// Every epoch, the one of this life among them, which begins at `end` if it is due.
    pub fn with_due(&self, end: Offset) -> LeaderEpochs {
        let mut epochs = self.known.clone();
        if let Some(due) = self.due {
            epochs.begin(due, end);
        }
        epochs
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
    clock: Clock,
    epochs: Epochs,
    /// `None` once the partition is closed, or a roll has failed.
    active: Option<ActiveSegment>,
    /// Every segment in order, as readers see them; the last is the active one's.
    segments: Arc<RwLock<Vec<Segment>>>,
    /// Of segments that were rolled without being synced, oldest first.
    rolled: Vec<Rolled>,
}

/// A segment that was rolled, and what of it is still to be synced.
#[derive(Debug)]
struct Rolled {
    sealed: Arc<SealedSegment>,
    unsynced: Unsynced,
}

/// What makes the log durable up to its end, once it was synced.
#[derive(Debug)]
pub struct UnsyncedLog {
    /// Segments that were rolled, and the directory that has the names of those behind them.
    rolled: Option<(Vec<Rolled>, SegmentDir)>,
    active: Unsynced,
    pub end: LogEnd,
}

impl UnsyncedLog {
    /// Returns how far the log is durable then.
    pub fn sync(self) -> Result<LogEnd> {
        let mut sealed = Vec::new();
        if let Some((segments, dir)) = self.rolled {
            // Each is closed once it was synced: the directory needs a descriptor, too.
            for segment in segments {
                segment.unsynced.sync()?;
                sealed.push(segment.sealed);
            }
            sync_dir(&dir)?;
        }
        self.active.sync()?;
        // No recovery cuts them any more.
        sealed.iter().for_each(|sealed| sealed.set_durable());
        Ok(self.end)
    }
}

impl Writer {
    pub fn new(
        dir: SegmentDir,
        config: TopicConfig,
        clock: Clock,
        epochs: Epochs,
        active: Option<ActiveSegment>,
        segments: Arc<RwLock<Vec<Segment>>>,
    ) -> Self {
        Self { dir, config, clock, epochs, active, segments, rolled: Vec::new() }
    }

    /// The configuration of the moment.
    pub fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// The end of what was written; `None` once the writer has stopped.
    pub fn end(&self) -> Option<LogEnd> {
        self.active.as_ref().map(LogEnd::of)
    }

    /// Writes the batches, rolling where it is due. After an error what comes before [`end`](Self::end) is written.
    pub fn write(&mut self, filled: &mut Filled) -> Result<(), WriteError> {
        let Some(first) = filled.batches.first() else { return Ok(()) };
        let epoch = self.epochs.epoch_at(first.header.base_offset, &self.dir)?;
        for batch in &mut filled.batches {
            batch.header.leader_epoch = epoch.cast_signed();
            batch.seal(&mut filled.buffer);
        }

        let mut batches = filled.batches.as_slice();
        while let [first, ..] = batches {
            let active = self.active.as_mut().ok_or_else(ended)?;
            let fitting = active.fitting(batches, &self.config, || self.clock.now());
            let (now_fitting, later) = batches.split_at(fitting);
            match now_fitting {
                [] => self.roll(first.header.base_offset)?,
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

    /// Gives out what is to be synced of everything that was written; `None` once the writer has stopped. Whoever
    /// takes it syncs it, or the partition stops.
    pub fn take_unsynced(&mut self) -> Option<UnsyncedLog> {
        let active = self.active.as_ref()?;
        let rolled = std::mem::take(&mut self.rolled);
        let rolled = (!rolled.is_empty()).then(|| (rolled, self.dir.clone()));
        Some(UnsyncedLog { rolled, active: active.unsynced(), end: LogEnd::of(active) })
    }

    /// Has what is written from now on, and the next roll, follow this configuration.
    pub fn configure(&mut self, config: &TopicConfig) {
        self.config = config.clone();
    }

    /// How many segments were rolled and are not synced.
    pub fn rolled(&self) -> usize {
        self.rolled.len()
    }

    /// Closes the files of the active segment, which holds nothing unsynced; the next append opens them again.
    pub fn release(&mut self) -> Result<bool> {
        self.active.as_mut().map_or(Ok(true), ActiveSegment::release)
    }

    /// Forgets the last segment as it is.
    pub fn discard(&mut self) {
        self.active = None;
    }

    /// Seals the last segment, and makes everything durable. The next opening takes it over as the active one again.
    pub fn close(&mut self) -> Result<()> {
        if let Some(unsynced) = self.take_unsynced().filter(|unsynced| unsynced.rolled.is_some()) {
            unsynced.sync()?;
        }
        let Some(active) = self.active.take() else { return Ok(()) };
        self.epochs.settle(active.next_offset(), &self.dir)?;
        active.seal(&self.config).map(|_| ())
    }

    /// Ends the active segment, and begins the next one. On a synced topic the old one is synced before the new one
    /// gets its name, which is durable when this returns; on others both come with the next sync. If the new one
    /// cannot be created, the old one is taken up again; after a failed sync nobody knows.
    fn roll(&mut self, base: Offset) -> Result<(), WriteError> {
        self.check_place_is_free(base).map_err(WriteError::Indeterminate)?;
        let active = self.active.take().ok_or_else(ended)?;
        let end = LogEnd::of(&active);
        let is_synced = !self.config.level().is_written_enough();
        let Finished { sealed, log, indexes } = match active.finish(&self.config) {
            Ok(finished) => finished,
            Err(error) => return Err(self.take_back(end, base, StoredIndexes::Rebuilt, error)),
        };
        let unsynced = log.and(indexes);
        if is_synced {
            unsynced.sync().map_err(WriteError::Indeterminate)?;
        }
        let next = match ActiveSegment::create(&self.dir, base, &self.config, self.clock.now()) {
            Ok(next) => next,
            Err(error) => return Err(self.take_back(end, base, StoredIndexes::Trusted, error)),
        };
        if is_synced {
            sync_dir(&self.dir).map_err(WriteError::Indeterminate)?;
            sealed.set_durable();
        } else {
            self.rolled.push(Rolled { sealed: Arc::clone(&sealed), unsynced });
        }
        self.replace_last([Segment::Sealed(sealed), Segment::Active(Arc::clone(next.reader()))]);
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

    /// After a roll that has failed with `error`: the log is as it was, unless that fails, too.
    fn take_back(&mut self, end: LogEnd, base: Offset, indexes: StoredIndexes, error: Error) -> WriteError {
        match self.take_up_again(end, base, indexes) {
            Ok(()) => WriteError::NotWritten(error),
            Err(error) => WriteError::Indeterminate(error),
        }
    }

    /// Removes what there is of a segment that could not be created, and takes the one before it up again.
    fn take_up_again(&mut self, end: LogEnd, base: Offset, indexes: StoredIndexes) -> Result<()> {
        let mut is_changed = false;
        for file in SegmentFile::ALL {
            let path = self.dir.file(file, base);
            if self.dir.vfs().kind(&path).doing("look at", &path)?.is_some() {
                self.dir.vfs().remove_file(&path).doing("remove", &path)?;
                is_changed = true;
            }
        }
        if is_changed {
            sync_dir(&self.dir)?;
        }
        let mut again = ActiveSegment::open(&self.dir, end.segment, &self.config, self.clock.now(), indexes)?;
        if LogEnd::of(&again) != end {
            return Err(Error::corrupt(format!("a segment was sealed at {end}, and ends elsewhere")));
        }
        // It was ended before it was synced.
        again.count_as_unsynced()?;
        self.replace_last([Segment::Active(Arc::clone(again.reader()))]);
        self.active = Some(again);
        Ok(())
    }

    fn replace_last(&self, by: impl IntoIterator<Item = Segment>) {
        let mut segments = self.segments.write();
        segments.pop();
        segments.extend(by);
    }
}

fn sync_dir(dir: &SegmentDir) -> Result<()> {
    dir.vfs().sync_dir(dir.path()).doing("sync", dir.path())
}

fn ended() -> WriteError {
    WriteError::Indeterminate(Stop::Closed.error())
}
