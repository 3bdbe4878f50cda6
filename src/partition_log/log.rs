//! A partition: takes records, makes them durable, and lends them to readers.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::accumulator::Accumulator;
use super::buffer::BufferMemory;
use super::commit::Commit;
use super::files::Files;
use super::listeners::Listeners;
use super::reader::BatchReader;
use super::settings::Settings;
use super::stop::{Stop, check_process};
use super::transactions::OpenTransaction;
use super::unsynced_since::UnsyncedSince;
use super::urgency::Urgency;
use super::writer::LogEnd;
use super::{LeaderEpochs, Life};
use crate::agenda::{Agenda, Chore, Reminder};
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::ends_file::{EndsSlot, ProvenEnd};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Isolation, LeaderEpoch, Offset, PartitionId, Position, Start, Timestamp};
use crate::record_batch::Codecs;
use crate::segment::{NextLog, Segment, SegmentDir};
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
    /// What batches are compressed and decompressed with.
    pub codecs: Arc<Codecs>,
    /// How long a send waits for room in the buffer.
    pub max_block: Duration,
    /// Whether the broker has threads that lead for others; without, whoever waits does, or calls `tick`.
    pub has_crew: bool,
    /// Whether somebody does what is due soon after it is: those threads, or a tick that is sure to come.
    pub is_tended: bool,
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
    /// Another one after each reopening. Locked last of all.
    pub(super) life: RwLock<Arc<Life>>,
    pub(super) appends: Mutex<Appends>,
    pub(super) commit: Commit,
    pub(super) segments: Arc<RwLock<Vec<Segment>>>,
    /// The log of the segment to come, if it was made.
    pub(super) next: Arc<NextLog>,
    pub(super) listeners: Listeners,
    /// Has the broker's threads lead, and do the upkeep.
    pub(super) reminder: Reminder,
    /// How urgently they were asked for what has gathered.
    pub(super) urgency: Urgency,
    /// Of the files that are open.
    pub(super) tenancy: Tenancy,
    /// The transactions that a Kafka broker has left open, the oldest first.
    left_open: Vec<OpenTransaction>,
}

/// What lies under the append lock.
#[derive(Debug)]
pub(super) struct Appends {
    /// The next offset to be given out.
    pub assigned: Offset,
    /// How often it has fallen back.
    pub round: u64,
    pub accumulator: Accumulator,
    pub unsynced: UnsyncedSince,
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
        let files = Files::create(&context)?;
        let proven = ProvenEnd { generation: 1, ..ProvenEnd::default() };
        Ok(Self::over(context, proven, files, None))
    }

    /// Opens a partition that ends where `proven` says, or where it was recovered to. Writes nothing.
    pub fn open(
        context: LogContext,
        proven: ProvenEnd,
        epochs: LeaderEpochs,
        last_stop: LastStop,
    ) -> Result<Arc<Self>> {
        let files = Files::open(&context, &context.config, &proven, epochs, last_stop)?;
        let proven = ProvenEnd { generation: proven.generation.saturating_add(1), ..proven };
        Ok(Self::over(context, proven, files, None))
    }

    /// A partition whose files are damaged: every call says so, and nothing is changed.
    pub fn damaged(context: LogContext, proven: ProvenEnd, error: Error) -> Arc<Self> {
        Self::over(context, proven, Files::none(LogEnd::from(proven)), Some(Stop::Damaged(error)))
    }

    fn over(context: LogContext, proven: ProvenEnd, mut files: Files, stop: Option<Stop>) -> Arc<Self> {
        let left_open = std::mem::take(&mut files.left_open);
        let (end, life) = (files.end, files.life(proven.generation));
        let (segments, next) = (Arc::default(), Arc::new(NextLog::new(context.dir.clone())));
        let writer = files.into_writer(&context, &context.config, &segments, &next);
        let accumulator = Accumulator::new(context.batch_size, &context.config, &context.buffer);
        let (unsynced, assigned) = (UnsyncedSince::default(), end.offset);
        let appends = Appends { assigned, round: 0, accumulator, unsynced, stop: stop.clone() };
        Arc::new_cyclic(|log: &Weak<Self>| Self {
            log_start: proven.log_start,
            life: RwLock::new(Arc::new(life)),
            appends: Mutex::new(appends),
            commit: Commit::new(end, writer, stop),
            segments,
            next,
            listeners: Listeners::default(),
            settings: Settings::new(&context.config),
            reminder: context.agenda.add(Weak::<Self>::clone(log) as Weak<dyn Chore>),
            urgency: Urgency::default(),
            tenancy: context.budget.join(Weak::<Self>::clone(log) as Weak<dyn Holder>),
            left_open,
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

    /// The offset behind the last record of which a reader of committed records can be sure: where the oldest transaction
    /// begins that has not ended, or the high watermark.
    pub fn last_stable_offset(&self) -> Offset {
        let end = self.high_watermark();
        self.left_open.first().map_or(end, |open| open.first_offset.max(self.log_start).min(end))
    }

    /// The transactions that a Kafka broker has left open, the oldest first.
    pub fn open_transactions(&self) -> &[OpenTransaction] {
        &self.left_open
    }

    /// The leader epoch of a position, to be kept where Kafka may read it: none behind what Kafka has written, for a directory that
    /// goes back has other ones there, and Kafka's consumers wait for ever for an epoch that it has not come to.
    pub fn lasting_epoch(&self, position: Position) -> Option<LeaderEpoch> {
        let kafka_end = self.context.dir.kafka_end();
        position.leader_epoch().filter(|_| kafka_end == 0 || position.offset() <= kafka_end)
    }

    /// Where reading ends at this moment.
    pub fn readable_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadCommitted => self.last_stable_offset(),
            Isolation::ReadUncommitted => self.high_watermark(),
        }
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

    /// What is true as long as the partition is not reopened.
    pub fn life(&self) -> Arc<Life> {
        Arc::clone(&self.life.read())
    }

    /// The offset behind the last record that was taken.
    pub fn log_end_offset(&self) -> Offset {
        self.appends.lock().assigned
    }

    /// Raises `signal` whenever something is appended, becomes visible, or the partition stops.
    pub fn listen(&self, signal: &Arc<Signal>) {
        self.listeners.add(signal);
    }

    /// The batches from `start` to where reading ends now.
    pub fn read(self: &Arc<Self>, start: Start, isolation: Isolation) -> Result<BatchReader> {
        // In this order: a life that ends meanwhile is noticed with the first batch.
        let life = self.life();
        let from = self.resolve(start, isolation)?;
        Ok(BatchReader::new(Arc::clone(self), life, from, isolation))
    }

    /// The offset that a start means at this moment.
    pub fn resolve(&self, start: Start, isolation: Isolation) -> Result<Offset> {
        self.check_readable()?;
        let available = self.log_start..=self.high_watermark();
        let offset = match start {
            Start::Earliest => return Ok(self.log_start),
            Start::Latest => return Ok(self.readable_end(isolation)),
            Start::Time(time) => {
                return Ok(self.offset_at_time(time)?.min(self.readable_end(isolation)));
            }
            Start::At(offset) => offset,
            Start::Resume(position) => {
                self.life().check_epoch(position, &available).map_err(|error| self.place(error))?;
                position.offset()
            }
        };
        if available.contains(&offset) {
            return Ok(offset);
        }
        Err(self.place(outside_log(offset, available)))
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

    /// The base of the first segment that begins behind `offset`.
    pub(super) fn base_behind(&self, offset: Offset) -> Option<Offset> {
        let segments = self.segments.read();
        let behind = segments.partition_point(|segment| segment.base_offset() <= offset);
        segments.get(behind).map(Segment::base_offset)
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

/// The error for an offset at which nobody can begin to read.
pub fn outside_log(offset: Offset, available: RangeInclusive<Offset>) -> Error {
    let (first, end) = (available.start(), available.end());
    let what = format!("the offset is outside the log, which begins at {first} and ends before {end}");
    Error::new(ErrorKind::OffsetOutOfRange, what)
        .at_offset(offset)
        .available(available)
        .advise("begin at the earliest or the latest, or at an offset between them")
}
