//! A partition: takes records, makes them durable, and lends them to readers.

use std::sync::Arc;

use super::LeaderEpochs;
use super::accumulator::{Accumulator, Filled};
use super::listeners::Listeners;
use super::reader::BatchReader;
use super::stop::Stop;
use super::writer::{LogEnd, Writer};
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{MAX_OFFSET, Offset, PartitionId, Record, Start, Timestamp, TimestampType};
use crate::record_batch::{RecordParts, size_alone};
use crate::segment::{ActiveSegment, SealedSegment, Segment, SegmentDir};
use crate::sync::{Condvar, Mutex, MutexGuard, RwLock, Signal};
use crate::vfs::EntryKind;

/// Once this much waits, the sender that brought it there writes it, without syncing.
const WRITE_BEHIND: usize = 1024 * 1024;
/// Once this much waits, senders wait until the leader at work has finished.
const MOST_BUFFERED: usize = 32 * 1024 * 1024;

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
}

/// A partition.
///
/// Three ends, `high watermark ≤ written ≤ assigned`: records get their offset when they are taken, reach the
/// file with a leader, and are visible once a sync has covered them. Whoever waits for a record leads: it writes
/// and syncs what has gathered, for all, while the others wait for it or gather the next group.
///
/// Locks, in the order in which they are taken: `writer` (the leader's), then one of `appends` (offsets are
/// given out under it), `commit` (what is visible), the list of segments. None is held while the disk works,
/// but the leader's.
#[derive(Debug)]
pub struct PartitionLog {
    context: LogContext,
    log_start: Offset,
    appends: Mutex<Appends>,
    writer: Mutex<Leader>,
    commit: Mutex<Commit>,
    committed: Condvar,
    segments: Arc<RwLock<Vec<Segment>>>,
    listeners: Listeners,
}

#[derive(Debug)]
struct Appends {
    /// The next offset to be given out.
    assigned: Offset,
    accumulator: Accumulator,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Leader {
    writer: Writer,
    spare: Filled,
}

#[derive(Debug)]
struct Commit {
    /// What readers see ends here, and all of it is durable.
    high_watermark: LogEnd,
    /// Whether somebody writes and syncs at this moment.
    leading: bool,
    stop: Option<Stop>,
}

/// A record that has its offset, and is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub offset: Offset,
    pub timestamp: Timestamp,
}

/// Whether a leader syncs what it has written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    Written,
    Synced,
}

impl PartitionLog {
    /// Creates the files of a new partition in its empty directory, which the caller syncs.
    pub fn create(context: LogContext) -> Result<Self> {
        let now = context.clock.now();
        let active = ActiveSegment::create(&context.dir, 0, &context.config, now)?;
        Ok(Self::over(context, LeaderEpochs::default(), Vec::new(), active))
    }

    /// Opens a partition that was closed in order.
    pub fn open(context: LogContext) -> Result<Self> {
        let epochs = LeaderEpochs::load(context.dir.vfs().as_ref(), context.dir.path())?;
        let bases = segment_bases(&context.dir)?;
        let Some((last, sealed)) = bases.split_last() else {
            return Err(Error::corrupt("the partition has no segment").in_file(context.dir.path()));
        };
        let active = ActiveSegment::open(&context.dir, *last, &context.config, context.clock.now())?;
        let interval = context.config.index_interval_bytes;
        let seal = |base: &Offset| SealedSegment::new(context.dir.clone(), *base, interval);
        let sealed = sealed.iter().map(|base| Segment::Sealed(Arc::new(seal(base)))).collect();
        Ok(Self::over(context, epochs, sealed, active))
    }

    fn over(
        context: LogContext,
        epochs: LeaderEpochs,
        mut segments: Vec<Segment>,
        active: ActiveSegment,
    ) -> Self {
        segments.push(Segment::Active(Arc::clone(active.reader())));
        let log_start = segments.first().map_or(0, Segment::base_offset);
        let segments = Arc::new(RwLock::new(segments));
        let end =
            LogEnd { offset: active.next_offset(), segment: active.base_offset(), position: active.size() };
        let accumulator = Accumulator::new(context.batch_size, &context.config);
        let writer =
            Writer::new(context.dir.clone(), context.config.clone(), epochs, active, Arc::clone(&segments));
        Self {
            log_start,
            appends: Mutex::new(Appends { assigned: end.offset, accumulator, stop: None }),
            writer: Mutex::new(Leader { writer, spare: Filled::default() }),
            commit: Mutex::new(Commit { high_watermark: end, leading: false, stop: None }),
            committed: Condvar::default(),
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

    pub fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// The oldest offset there is.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset behind the last record that is durable, and so visible.
    pub fn high_watermark(&self) -> Offset {
        self.commit.lock().high_watermark.offset
    }

    /// The offset behind the last record that was taken.
    pub fn log_end_offset(&self) -> Offset {
        self.appends.lock().assigned
    }

    /// Raises `signal` whenever something is appended, becomes visible, or the partition stops.
    pub fn listen(&self, signal: &Arc<Signal>) {
        self.listeners.add(signal);
    }

    /// Gives the record its offset. It is durable once [`wait_durable`](Self::wait_durable) says so.
    pub fn append(&self, record: &Record<'_>) -> Result<Assigned> {
        let parts = RecordParts { key: record.key, value: record.value, headers: &record.headers };
        let encoded_len = parts.encoded_len();
        self.check_record(record, &parts, encoded_len)?;
        let (assigned, buffered) = {
            let mut appends = self.appends.lock();
            if let Some(stop) = &appends.stop {
                return Err(self.place(stop.error()));
            }
            let offset = appends.assigned;
            if offset >= MAX_OFFSET {
                let error = Error::new(ErrorKind::InvalidRecord, "the partition has used up its offsets");
                return Err(self.place(error));
            }
            let timestamp = self.timestamp_of(record);
            appends.accumulator.push(offset, timestamp, &parts, encoded_len);
            appends.assigned += 1;
            (Assigned { offset, timestamp }, appends.accumulator.len())
        };
        if buffered >= WRITE_BEHIND {
            self.write_behind(buffered);
        }
        self.listeners.raise();
        Ok(assigned)
    }

    /// Returns once the record at `offset`, which was assigned, is on stable storage.
    pub fn wait_durable(&self, offset: Offset) -> Result<()> {
        let mut commit = self.commit.lock();
        loop {
            if offset < commit.high_watermark.offset {
                return Ok(());
            }
            if let Some(stop) = &commit.stop {
                return Err(self.place(stop.error()).at_offset(offset));
            }
            if commit.leading {
                self.committed.wait(&mut commit);
            } else {
                self.lead(&mut commit, Durability::Synced);
            }
        }
    }

    /// Returns once every record taken before is on stable storage.
    pub fn flush(&self) -> Result<()> {
        let end = self.log_end_offset();
        match end.checked_sub(1) {
            Some(last) if end > self.high_watermark() => self.wait_durable(last),
            _ => Ok(()),
        }
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
        let end = self.commit.lock().high_watermark;
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

    /// Takes no more records, writes and syncs what was taken, and gives the files their final form.
    ///
    /// After a failed write or sync that is what it returns, and the files stay as they are.
    pub fn close(&self) -> Result<()> {
        self.refuse_appends();
        let flushed = self.flush();
        let mut commit = self.commit.lock();
        while commit.leading {
            self.committed.wait(&mut commit);
        }
        let stop = commit.stop.get_or_insert(Stop::Closed).clone();
        drop(commit);
        let closed = match stop {
            Stop::Closed => self.writer.lock().writer.close(),
            Stop::Deleted => Ok(()),
            Stop::Failed(error) => Err(error),
        };
        self.committed.notify_all();
        self.listeners.raise();
        flushed.and(closed.map_err(|error| self.place(error)))
    }

    /// Closes without writing what was taken, as a crash would.
    pub fn abandon(&self) {
        self.end(&Stop::Closed);
    }

    /// Takes no more records and lends none: the topic is being deleted, what was not durable goes with it.
    pub fn delete(&self) {
        self.end(&Stop::Deleted);
    }

    fn end(&self, stop: &Stop) {
        self.stop(stop);
        self.committed.notify_all();
        self.listeners.raise();
    }

    fn check_record(&self, record: &Record<'_>, parts: &RecordParts<'_>, encoded_len: usize) -> Result<()> {
        if let Some(timestamp) = record.timestamp.filter(|timestamp| *timestamp < 0) {
            let what = format!("a record cannot have the timestamp {timestamp}");
            return Err(self.place(Error::new(ErrorKind::InvalidTimestamp, what)));
        }
        let config = &self.context.config;
        let (name, most) = if config.max_message_bytes <= config.segment_bytes {
            ("max.message.bytes", config.max_message_bytes)
        } else {
            ("segment.bytes", config.segment_bytes)
        };
        let size = size_alone(encoded_len) as u64;
        if size > most {
            let payload = parts.value.map_or(0, <[u8]>::len);
            let what = format!("a record with a value of {payload} bytes needs a batch of {size} bytes");
            return Err(self
                .place(Error::new(ErrorKind::MessageTooLarge, what))
                .advise(format!("{name} allows {most}: send less, or raise it")));
        }
        Ok(())
    }

    fn timestamp_of(&self, record: &Record<'_>) -> Timestamp {
        match (self.context.config.timestamp_type, record.timestamp) {
            (TimestampType::CreateTime, Some(timestamp)) => timestamp,
            _ => self.context.clock.now(),
        }
    }

    /// Fails once the broker is closed, or the topic deleted.
    pub fn check_readable(&self) -> Result<()> {
        match &self.commit.lock().stop {
            Some(stop) if stop.ends_reading() => Err(self.place(stop.error())),
            _ => Ok(()),
        }
    }

    /// Writes what has gathered, or waits for the leader at work if too much has. A failure shows when
    /// somebody waits for a record, and at the next append.
    fn write_behind(&self, buffered: usize) {
        let mut commit = self.commit.lock();
        while commit.leading && buffered >= MOST_BUFFERED {
            self.committed.wait(&mut commit);
        }
        if !commit.leading && commit.stop.is_none() {
            self.lead(&mut commit, Durability::Written);
        }
    }

    /// Writes what has gathered, syncs it if asked to, and publishes the outcome.
    fn lead(&self, commit: &mut MutexGuard<'_, Commit>, durability: Durability) {
        commit.leading = true;
        let outcome = MutexGuard::unlocked(commit, || {
            // A leader that panics must not leave the others waiting for it.
            let unwinding = StopOnUnwind(self);
            let outcome = self.write_gathered(durability);
            std::mem::forget(unwinding);
            outcome
        });
        commit.leading = false;
        match outcome {
            Ok(Some(end)) => {
                debug_assert!(end.offset >= commit.high_watermark.offset, "the high watermark never falls");
                commit.high_watermark = end;
            }
            Ok(None) => {}
            Err(error) => {
                let stop = Stop::failed(error);
                commit.stop.get_or_insert(stop.clone());
                MutexGuard::unlocked(commit, || self.appends.lock().stop = Some(stop));
            }
        }
        self.committed.notify_all();
        self.listeners.raise();
    }

    /// Returns the end that is durable now, if it was synced.
    fn write_gathered(&self, durability: Durability) -> Result<Option<LogEnd>> {
        let mut leader = self.writer.lock();
        let Leader { writer, spare } = &mut *leader;
        *spare = self.appends.lock().accumulator.take(std::mem::take(spare));
        writer.write(spare, self.context.clock.now())?;
        if durability == Durability::Written {
            return Ok(None);
        }
        writer.sync()?;
        Ok(writer.end())
    }

    fn stop(&self, stop: &Stop) {
        self.appends.lock().stop.get_or_insert_with(|| stop.clone());
        self.commit.lock().stop.get_or_insert_with(|| stop.clone());
    }
}

/// Stops the partition if a leader panics.
struct StopOnUnwind<'a>(&'a PartitionLog);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Indeterminate, "a thread panicked while it wrote to the partition");
        self.0.stop(&Stop::failed(error));
        self.0.commit.lock().leading = false;
        self.0.committed.notify_all();
        self.0.listeners.raise();
    }
}

/// The base offsets of the segments in a directory, rising.
fn segment_bases(dir: &SegmentDir) -> Result<Vec<Offset>> {
    let entries = dir.vfs().read_dir(dir.path()).doing("list", dir.path())?;
    let mut bases: Vec<Offset> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::File)
        .filter_map(|entry| match SegmentFile::parse(&entry.name)? {
            (SegmentFile::Log, base) => Some(base),
            _ => None,
        })
        .collect();
    bases.sort_unstable();
    Ok(bases)
}
