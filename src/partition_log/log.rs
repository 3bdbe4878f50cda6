//! A partition: takes records, makes them durable, and lends them to readers.

use std::path::Path;
use std::sync::Arc;

use super::LeaderEpochs;
use super::accumulator::Accumulator;
use super::commit::Commit;
use super::listeners::Listeners;
use super::reader::BatchReader;
use super::stop::Stop;
use super::writer::{Epochs, LogEnd, Writer};
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::ends_file::{EndsSlot, ProvenEnd};
use crate::error::{Error, ErrorKind, Result};
use crate::file_name::SegmentFile;
use crate::model::{Offset, PartitionId, Start, Timestamp};
use crate::segment::{ActiveSegment, SealedSegment, Segment, SegmentDir, StoredIndexes, segment_bases};
use crate::sync::{Mutex, RwLock, Signal};

/// What a partition is given by its broker.
#[derive(Clone, Debug)]
pub struct LogContext {
    pub topic: Arc<str>,
    pub partition: PartitionId,
    pub config: TopicConfig,
    pub dir: SegmentDir,
    pub clock: Clock,
    /// The size up to which records share a batch, in bytes.
    pub batch_size: usize,
    /// The root of the data directory, where what recovery cuts is kept.
    pub root: Arc<Path>,
    /// Where the partition says what of it is durable.
    pub slot: EndsSlot,
}

/// How the partition was left by its last owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastStop {
    /// Closed in order: the log ends with the proven end.
    Clean,
    /// Recovered: the log ends here, and the next records begin a new leader epoch.
    Unclean(LogEnd),
}

/// A partition.
///
/// Three ends, `high watermark ≤ written ≤ assigned`: records get their offset when they are taken, reach the
/// file with a leader, and are visible once a sync has covered them. Whoever waits for a record leads: it writes
/// and syncs what has gathered, for all, while the others wait for it or gather the next group.
///
/// Locks, in the order in which they are taken: the leader's, what is visible (both in `commit`), `appends`
/// (offsets are given out under it), the list of segments. Only the leader's is held while the disk works.
#[derive(Debug)]
pub struct PartitionLog {
    pub(super) context: LogContext,
    pub(super) log_start: Offset,
    /// How often the partition was opened.
    pub(super) generation: u32,
    pub(super) appends: Mutex<Appends>,
    pub(super) commit: Commit,
    segments: Arc<RwLock<Vec<Segment>>>,
    pub(super) listeners: Listeners,
}

/// What lies under the append lock.
#[derive(Debug)]
pub(super) struct Appends {
    /// The next offset to be given out.
    pub assigned: Offset,
    /// How often it has fallen back.
    pub round: u64,
    pub accumulator: Accumulator,
    pub stop: Option<Stop>,
}

/// A record that has its offset, and is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub offset: Offset,
    pub timestamp: Timestamp,
    /// How often the end had fallen back before: an offset that was not written is given out again.
    pub round: u64,
}

impl PartitionLog {
    /// Creates the files of a new partition in its empty directory, which the caller syncs.
    pub fn create(context: LogContext) -> Result<Self> {
        let now = context.clock.now();
        let active = ActiveSegment::create(&context.dir, 0, &context.config, now)?;
        let proven = ProvenEnd { generation: 1, ..ProvenEnd::default() };
        Ok(Self::over(context, proven, Epochs::new(LeaderEpochs::default()), Vec::new(), active))
    }

    /// Opens a partition that ends where `proven` says, or where it was recovered to. Writes nothing.
    pub fn open(
        context: LogContext,
        proven: ProvenEnd,
        epochs: LeaderEpochs,
        last_stop: LastStop,
    ) -> Result<Self> {
        let bases = segment_bases(&context.dir)?;
        let Some((last, sealed)) = bases.split_last() else {
            return Err(Error::corrupt("the partition has no segment").in_file(context.dir.path()));
        };
        if bases.first().is_none_or(|first| *first > proven.log_start) {
            let path = context.dir.file(SegmentFile::Log, proven.log_start);
            return Err(Error::corrupt("the first segment is missing")
                .at_offset(proven.log_start)
                .in_file(&path));
        }
        let (expected, epochs, indexes) = match last_stop {
            LastStop::Clean => (LogEnd::from(proven), Epochs::new(epochs), StoredIndexes::Trusted),
            LastStop::Unclean(end) => {
                (end, Epochs::after_recovery(epochs, end.offset), StoredIndexes::Rebuilt)
            }
        };
        let active = ActiveSegment::open(&context.dir, *last, &context.config, context.clock.now(), indexes)?;
        let found = LogEnd::of(&active);
        if found != expected {
            let what = format!("the log ends at {found}, and what was acknowledged at {expected}");
            let path = context.dir.file(SegmentFile::Log, found.segment);
            return Err(Error::corrupt(what)
                .at_offset(found.offset)
                .in_file(&path)
                .at_position(found.position));
        }
        let interval = context.config.index_interval_bytes;
        let seal = |base: &Offset| SealedSegment::new(context.dir.clone(), *base, interval);
        let sealed = sealed.iter().map(|base| Segment::Sealed(Arc::new(seal(base)))).collect();
        let proven = ProvenEnd { generation: proven.generation.saturating_add(1), ..proven };
        Ok(Self::over(context, proven, epochs, sealed, active))
    }

    fn over(
        context: LogContext,
        proven: ProvenEnd,
        epochs: Epochs,
        mut segments: Vec<Segment>,
        active: ActiveSegment,
    ) -> Self {
        segments.push(Segment::Active(Arc::clone(active.reader())));
        let segments = Arc::new(RwLock::new(segments));
        let end =
            LogEnd { offset: active.next_offset(), segment: active.base_offset(), position: active.size() };
        let accumulator = Accumulator::new(context.batch_size, &context.config);
        let writer =
            Writer::new(context.dir.clone(), context.config.clone(), epochs, active, Arc::clone(&segments));
        Self {
            log_start: proven.log_start,
            generation: proven.generation,
            appends: Mutex::new(Appends { assigned: end.offset, round: 0, accumulator, stop: None }),
            commit: Commit::new(end, writer),
            segments,
            listeners: Listeners::default(),
            context,
        }
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.context.topic
    }

    pub fn partition(&self) -> PartitionId {
        self.context.partition
    }

    /// The oldest offset there is.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset behind the last record that is durable, and so visible.
    pub fn high_watermark(&self) -> Offset {
        self.commit.high_watermark().offset
    }

    /// The offset behind the last record that was taken.
    pub fn log_end_offset(&self) -> Offset {
        self.appends.lock().assigned
    }

    /// How many bytes were taken and not yet written.
    pub(super) fn buffered(&self) -> usize {
        self.appends.lock().accumulator.len()
    }

    /// Raises `signal` whenever something is appended, becomes visible, or the partition stops.
    pub fn listen(&self, signal: &Arc<Signal>) {
        self.listeners.add(signal);
    }

    /// The batches from `start` to the high watermark of now.
    pub fn read(self: &Arc<Self>, start: Start) -> Result<BatchReader> {
        let until = self.high_watermark();
        let from = self.resolve(start)?;
        Ok(BatchReader::new(Arc::clone(self), from, until.max(from)))
    }

    /// The offset that a start means at this moment.
    pub fn resolve(&self, start: Start) -> Result<Offset> {
        self.check_readable()?;
        let available = self.log_start..=self.high_watermark();
        match start {
            Start::Earliest => Ok(self.log_start),
            Start::Latest => Ok(*available.end()),
            Start::At(offset) if available.contains(&offset) => Ok(offset),
            Start::At(offset) => {
                let what = format!(
                    "the offset is outside the log, which begins at {} and ends before {}",
                    available.start(),
                    available.end()
                );
                let error =
                    Error::new(ErrorKind::OffsetOutOfRange, what).at_offset(offset).available(available);
                Err(self
                    .place(error)
                    .advise("begin at the earliest or the latest, or at an offset between them"))
            }
        }
    }

    /// The segment that holds `offset`, and the position up to which it may be read.
    pub(super) fn segment_at(&self, offset: Offset) -> Result<(Segment, u64)> {
        // In this order: the list is then at least as new as the end, which lies in its last segment or in one
        // that has been sealed since.
        let end = self.commit.high_watermark();
        let segments = self.segments.read();
        let behind = segments.partition_point(|segment| segment.base_offset() <= offset);
        match behind.checked_sub(1).and_then(|at| segments.get(at)) {
            Some(segment) => {
                let limit = if segment.base_offset() == end.segment { end.position } else { 0 };
                Ok((segment.clone(), limit))
            }
            None => Err(Error::corrupt("no segment holds the offset").at_offset(offset)),
        }
    }

    /// Says which partition an error concerns.
    pub fn place(&self, error: Error) -> Error {
        error.in_partition(&self.context.topic, self.context.partition)
    }

    /// Takes no more records; those that were taken are still written and synced by [`close`](Self::close).
    pub fn refuse_appends(&self) {
        self.appends.lock().stop.get_or_insert(Stop::Closed);
    }

    /// Whether records are taken.
    pub fn takes_records(&self) -> bool {
        self.appends.lock().stop.is_none()
    }

    /// Fails once the broker is closed, or the topic deleted.
    pub fn check_readable(&self) -> Result<()> {
        match self.commit.ends_reading() {
            None => Ok(()),
            Some(error) => Err(self.place(error)),
        }
    }
}
