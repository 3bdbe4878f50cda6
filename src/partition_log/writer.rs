//! What the leader of a commit does with the batches: headers, segments, syncs. One thread at a time.

use std::fmt;
use std::sync::Arc;

use super::LeaderEpochs;
use super::accumulator::Filled;
use super::rolling::Ended;
use super::stop::Stop;
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::ends_file::ProvenEnd;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{LeaderEpoch, Offset};
use crate::mutant::{self, Mutant};
use crate::segment::{
    ActiveSegment, Finished, NextLog, SealedSegment, Segment, SegmentDir, StoredIndexes, Unsynced,
};
use crate::sync::RwLock;
use crate::vfs::OpenMode;

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
        if mutant::is(Mutant::EpochNotBegun) {
            return Self::new(known);
        }
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
    /// Whether somebody syncs the indexes of a rolled segment soon; without, a synced topic's roll does.
    defers: bool,
    /// Of segments that were rolled, and whose logs were synced: their indexes are still to be.
    ended: EndedSegments,
    /// Those of them that nobody was told of.
    news: Vec<Ended>,
    /// The log of the segment to come, if it was made.
    next: Arc<NextLog>,
}

/// So many segments may wait for the sync of their indexes; then a roll waits for it.
const MOST_ENDED: usize = 8;

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

/// Segments of which only the indexes are still to be synced.
#[must_use = "whoever takes them syncs them, or the partition stops"]
#[derive(Debug, Default)]
pub struct EndedSegments(Vec<Rolled>);

impl EndedSegments {
    pub fn sync(self) -> Result<()> {
        self.0.into_iter().try_for_each(|Rolled { sealed, unsynced }| {
            unsynced.sync()?;
            sealed.set_durable();
            Ok(())
        })
    }
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
        next: Arc<NextLog>,
    ) -> Self {
        let (rolled, ended, news) = (Vec::new(), EndedSegments::default(), Vec::new());
        Self { dir, config, clock, epochs, active, segments, rolled, defers: false, ended, news, next }
    }

    /// The same, which leaves what follows a roll to somebody who does it soon.
    pub fn deferring(self, defers: bool) -> Self {
        Self { defers, ..self }
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
        self.rolled.append(&mut self.ended.0);
        self.take_written()
    }

    /// The same without the indexes of segments whose logs were synced.
    pub fn take_written(&mut self) -> Option<UnsyncedLog> {
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

    /// Gives out the segments that were rolled, and whose indexes are to be synced.
    pub fn take_ended(&mut self) -> EndedSegments {
        std::mem::take(&mut self.ended)
    }

    pub fn has_ended(&self) -> bool {
        !self.ended.0.is_empty()
    }

    /// Tells of the segments whose indexes wait for their sync, of each once.
    pub fn take_news(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.news)
    }

    /// Whether the next roll is near, and the next log is not there.
    pub fn is_near_end(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.is_near_its_end(&self.config))
            && !self.next.is_ready()
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
        self.next.remove()?;
        let Finished { log, indexes, .. } = active.finish(&self.config)?;
        let has_indexes = !indexes.is_empty();
        mutant::unless(Mutant::SealNotSynced, || log.and(indexes).sync())?;
        // A segment that was made of a log made ahead has got its indexes since its own name was synced.
        if has_indexes { sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Ends the active segment, and begins the next one. On a synced topic the log of the old one is synced before the
    /// new one gets its name, which is durable when this returns; on others both come with the next sync. If the new one
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
        let unsynced = self.sync_at_roll(log, indexes)?;
        let next = match self.begin(base) {
            Ok(next) => next,
            Err(error) => {
                // Elsewhere they are synced when the segment ends after all.
                if let Some(indexes) = unsynced.filter(|_| is_synced) {
                    indexes.sync().map_err(WriteError::Indeterminate)?;
                }
                return Err(self.take_back(end, base, StoredIndexes::Trusted, error));
            }
        };
        if is_synced {
            let named = mutant::unless(Mutant::SegmentNameNotSynced, || sync_dir(&self.dir));
            named.map_err(WriteError::Indeterminate)?;
        }
        let rolled = unsynced.map(|unsynced| Rolled { sealed: Arc::clone(&sealed), unsynced });
        match rolled {
            None => sealed.set_durable(),
            Some(rolled) if is_synced => {
                self.ended.0.push(rolled);
                self.news.push(Ended { end, sealed: Arc::clone(&sealed) });
            }
            Some(rolled) => self.rolled.push(rolled),
        }
        self.replace_last([Segment::Sealed(sealed), Segment::Active(Arc::clone(next.reader()))]);
        self.active = Some(next);
        Ok(())
    }

    /// Syncs what has to be before the next segment gets its name; returns what is left for later.
    fn sync_at_roll(&self, log: Unsynced, indexes: Unsynced) -> Result<Option<Unsynced>, WriteError> {
        if self.config.level().is_written_enough() {
            return Ok(Some(log.and(indexes)));
        }
        mutant::unless(Mutant::RollWithoutSync, || log.sync()).map_err(WriteError::Indeterminate)?;
        if self.defers && self.ended.0.len() < MOST_ENDED {
            return Ok(Some(indexes));
        }
        indexes.sync().map_err(WriteError::Indeterminate)?;
        Ok(None)
    }

    /// The segment that begins at `base`: of the log that was made ahead, or made now, also where that one cannot be had.
    fn begin(&self, base: Offset) -> Result<ActiveSegment> {
        let now = self.clock.now();
        match ActiveSegment::from_next(&self.next, &self.dir, base, &self.config, now) {
            Ok(Some(next)) => Ok(next),
            Ok(None) | Err(_) => ActiveSegment::create(&self.dir, base, &self.config, now),
        }
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
        for file in SegmentFile::ALWAYS {
            let path = self.dir.file(file, base);
            if self.dir.vfs().kind(&path).doing("look at", &path)?.is_some() {
                self.dir.vfs().remove_file(&path).doing("remove", &path)?;
                is_changed = true;
            }
        }
        if is_changed {
            sync_dir(&self.dir)?;
        }
        self.trim(end)?;
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

    /// Takes the zeros off that were preallocated, if it is them that could not be taken off before.
    fn trim(&self, end: LogEnd) -> Result<()> {
        let path = self.dir.file(SegmentFile::Log, end.segment);
        let log = self.dir.vfs().open(&path, OpenMode::Write).doing("open", &path)?;
        if log.size().doing("measure", &path)? > end.position {
            log.set_len(end.position).doing("trim", &path)?;
        }
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
