//! A partition: takes records, makes them durable, and lends them to readers.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::LeaderEpochs;
use super::accumulator::Accumulator;
use super::buffer::BufferMemory;
use super::commit::{Commit, Reach};
use super::listeners::Listeners;
use super::reader::BatchReader;
use super::settings::Settings;
use super::stop::{Stop, check_process};
use super::urgency::Urgency;
use super::writer::{Epochs, LogEnd, Writer};
use crate::agenda::{Agenda, Chore, Reminder};
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::ends_file::{EndsSlot, ProvenEnd};
use crate::error::{Error, ErrorKind, Result};
use crate::file_name::SegmentFile;
use crate::model::{LeaderEpoch, Offset, PartitionId, Position, Start, Timestamp};
use crate::segment::{ActiveSegment, SealedSegment, Segment, SegmentDir, StoredIndexes, segment_bases};
use crate::sync::{Mutex, RwLock, Signal};
use crate::vfs::{Budget, Holder, ProcessMark, Tenancy};

/// What a partition is given by its broker.
#[derive(Clone, Debug)]
pub struct LogContext {
    pub topic: Arc<str>,
    pub partition: PartitionId,
    /// As the partition is opened; it can [change](PartitionLog::configure).
    pub config: TopicConfig,
    pub dir: SegmentDir,
    pub clock: Clock,
    /// The size up to which records share a batch, in bytes.
    pub batch_size: usize,
    /// The root of the data directory, where what recovery cuts is kept.
    pub root: Arc<Path>,
    /// Where the partition says what of it is durable.
    pub slot: EndsSlot,
    /// Where it has itself reminded of what comes later.
    pub agenda: Arc<Agenda>,
    /// What it may have open, with all others.
    pub budget: Arc<Budget>,
    /// Has Kafka's checkpoints written.
    pub checkpoints: Arc<Reminder>,
    /// Of the process that opened it.
    pub mark: Arc<ProcessMark>,
    /// What the records take that are not written yet.
    pub buffer: Arc<BufferMemory>,
    /// How long a send waits for room in the buffer.
    pub max_block: Duration,
    /// Whether the broker has threads that lead for others; without, whoever waits does, or calls `tick`.
    pub has_crew: bool,
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
/// Three ends, `durable ≤ written ≤ assigned`: records get their offset when they are taken, reach the file with a
/// leader, and are durable once a sync has covered them. The high watermark, up to which readers see, is the durable
/// end of a synced topic, and the written end of another. Whoever waits for a record leads: it writes what has
/// gathered, and syncs it where the topic asks for that, for all, while the others wait for it or gather the next group.
/// For records that nobody waits for, and for those who wait without leading, the broker's threads do, or a tick.
///
/// Locks, in the order in which they are taken: the leader's, what is visible (both in `commit`), `appends`
/// (offsets are given out under it), the list of segments. Only the leader's is held while the disk works.
#[derive(Debug)]
pub struct PartitionLog {
    pub(super) context: LogContext,
    pub(super) settings: Settings,
    pub(super) log_start: Offset,
    /// How often the partition was opened.
    pub(super) generation: u32,
    pub(super) appends: Mutex<Appends>,
    pub(super) commit: Commit,
    pub(super) segments: Arc<RwLock<Vec<Segment>>>,
    /// Every leader epoch; what is appended in this life has the last one.
    epochs: LeaderEpochs,
    pub(super) listeners: Listeners,
    /// Has the broker's threads lead, and do the upkeep.
    pub(super) reminder: Reminder,
    /// How urgently they were asked for what has gathered.
    pub(super) urgency: Urgency,
    /// Of the files that are open.
    pub(super) tenancy: Tenancy,
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
    pub fn create(context: LogContext) -> Result<Arc<Self>> {
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
    ) -> Result<Arc<Self>> {
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
    ) -> Arc<Self> {
        segments.push(Segment::Active(Arc::clone(active.reader())));
        let end = LogEnd::of(&active);
        Self::assemble(context, proven, epochs, segments, end, Ok(active))
    }

    /// A partition whose files are damaged: every call says so, and nothing is changed.
    pub fn damaged(context: LogContext, proven: ProvenEnd, error: Error) -> Arc<Self> {
        let (epochs, end) = (Epochs::new(LeaderEpochs::default()), LogEnd::from(proven));
        Self::assemble(context, proven, epochs, Vec::new(), end, Err(error))
    }

    fn assemble(
        context: LogContext,
        proven: ProvenEnd,
        epochs: Epochs,
        segments: Vec<Segment>,
        end: LogEnd,
        active: Result<ActiveSegment>,
    ) -> Arc<Self> {
        let segments = Arc::new(RwLock::new(segments));
        let (active, stop) = match active {
            Ok(active) => (Some(active), None),
            Err(error) => (None, Some(Stop::Damaged(error))),
        };
        let accumulator = Accumulator::new(context.batch_size, &context.config, &context.buffer);
        let every_epoch = epochs.with_due(end.offset);
        let writer = Writer::new(
            context.dir.clone(),
            context.config.clone(),
            context.clock.clone(),
            epochs,
            active,
            Arc::clone(&segments),
        );
        Arc::new_cyclic(|log: &Weak<Self>| Self {
            log_start: proven.log_start,
            generation: proven.generation,
            appends: Mutex::new(Appends { assigned: end.offset, round: 0, accumulator, stop: stop.clone() }),
            commit: Commit::new(end, writer, stop),
            segments,
            epochs: every_epoch,
            listeners: Listeners::default(),
            settings: Settings::new(&context.config),
            reminder: context.agenda.add(Weak::<Self>::clone(log) as Weak<dyn Chore>),
            urgency: Urgency::default(),
            tenancy: context.budget.join(Weak::<Self>::clone(log) as Weak<dyn Holder>),
            context,
        })
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

    /// The offset behind the last record that readers see: it is durable on a synced topic, and written on another.
    pub fn high_watermark(&self) -> Offset {
        self.visible_end().offset
    }

    /// The end up to which everything has come so far.
    pub fn end(&self, reach: Reach) -> Offset {
        self.commit.end(reach).offset
    }

    /// The base offset of the first segment.
    pub fn first_segment(&self) -> Offset {
        self.segments.read().first().map_or(self.log_start, Segment::base_offset)
    }

    /// What is wrong with the files, if the partition was opened all the same.
    pub fn damage(&self) -> Option<Error> {
        match &self.appends.lock().stop {
            Some(Stop::Damaged(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// The leader epoch of what is appended.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.epochs.latest().unwrap_or_default()
    }

    /// The leader epoch of the record at an offset.
    pub fn leader_epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.at(offset)
    }

    /// The offset behind the last record that was taken.
    pub fn log_end_offset(&self) -> Offset {
        self.appends.lock().assigned
    }

    /// Raises `signal` whenever something is appended, becomes visible, or the partition stops.
    pub fn listen(&self, signal: &Arc<Signal>) {
        self.listeners.add(signal);
    }

    /// The batches from `start` to the high watermark of now.
    pub fn read(self: &Arc<Self>, start: Start) -> Result<BatchReader> {
        let from = self.resolve(start)?;
        let until = self.high_watermark();
        Ok(BatchReader::new(Arc::clone(self), from, until.max(from)))
    }

    /// The offset that a start means at this moment.
    pub fn resolve(&self, start: Start) -> Result<Offset> {
        self.check_readable()?;
        let available = self.log_start..=self.high_watermark();
        let offset = match start {
            Start::Earliest => return Ok(self.log_start),
            Start::Latest => return Ok(*available.end()),
            Start::Time(time) => return self.offset_at_time(time),
            Start::At(offset) => offset,
            Start::Resume(position) => {
                self.check_epoch(position, &available)?;
                position.offset()
            }
        };
        if available.contains(&offset) {
            return Ok(offset);
        }
        let (first, end) = (available.start(), available.end());
        let what = format!("the offset is outside the log, which begins at {first} and ends before {end}");
        let error = Error::new(ErrorKind::OffsetOutOfRange, what).at_offset(offset).available(available);
        Err(self.place(error).advise("begin at the earliest or the latest, or at an offset between them"))
    }

    /// Fails if what stood below the position was not kept: its leader epoch ends before it, since an unclean stop cut
    /// it off, and the offsets were given out again (KIP-320).
    fn check_epoch(&self, position: Position, available: &RangeInclusive<Offset>) -> Result<()> {
        let Some(epoch) = position.leader_epoch() else { return Ok(()) };
        let what = if self.epochs.latest().is_none_or(|latest| epoch > latest) {
            format!("the position is of leader epoch {epoch}, which the partition has never had")
        } else {
            match self.epochs.end_of(epoch) {
                Some(end) if end < position.offset() => {
                    format!("the position is of leader epoch {epoch}, which ends before offset {end}")
                }
                _ => return Ok(()),
            }
        };
        let diverged = self.epochs.end_of(epoch).unwrap_or(*available.end());
        let error =
            Error::new(ErrorKind::LogTruncated, what).at_offset(diverged).available(available.clone());
        Err(self.place(error).advise(
            "what was read below it may not be what is there now: begin at the offset named here to read what \
             replaced it, or at the earliest",
        ))
    }

    /// The segment that holds `offset`, and the position up to which it may be read.
    pub(super) fn segment_at(&self, offset: Offset) -> Result<(Segment, u64)> {
        // In this order: the list is then at least as new as the end, which lies in its last segment or in one
        // that has been sealed since.
        let end = self.visible_end();
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

    /// Whether records are taken.
    pub fn takes_records(&self) -> bool {
        self.appends.lock().stop.is_none()
    }

    /// Fails once the broker is closed, or the topic deleted.
    pub fn check_readable(&self) -> Result<()> {
        check_process(&self.context.mark)?;
        match self.commit.ends_reading() {
            None => Ok(()),
            Some(error) => Err(self.place(error)),
        }
    }
}
