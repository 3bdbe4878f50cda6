//! A partition of a directory that is only read: the handle that users hold.

use std::fmt;
use std::sync::Arc;

use super::batches::ReadOnlyBatches;
use super::broker::Opened;
use super::found_log::FoundLog;
use super::time_search;
use super::transactions::Transactions;
use crate::error::{Error, Result};
use crate::inspect::survey::PartitionPlace;
use crate::model::{Isolation, Offset, PartitionId, Start};
use crate::partition_log::outside_log;
use crate::sync::Mutex;

/// A partition of a [`ReadOnlyTopic`](crate::ReadOnlyTopic); clones are cheap.
#[derive(Clone)]
pub struct ReadOnlyPartition {
    opened: Arc<Opened>,
    found: Arc<FoundPartition>,
}

/// A partition as it was found.
#[derive(Debug)]
pub struct FoundPartition {
    place: PartitionPlace,
    log: Result<Arc<FoundLog>>,
    /// Looked for when somebody first reads what was committed.
    transactions: Mutex<Option<Arc<Transactions>>>,
}

impl FoundPartition {
    pub fn new(place: PartitionPlace, log: Result<FoundLog>) -> Self {
        Self { place, log: log.map(Arc::new), transactions: Mutex::default() }
    }
}

impl ReadOnlyPartition {
    pub(super) fn new(opened: Arc<Opened>, found: Arc<FoundPartition>) -> Self {
        Self { opened, found }
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.found.place.topic.as_str()
    }

    /// The number of the partition in its topic.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.found.place.partition
    }

    /// Why nothing of the partition can be read, if that is so: its leader epochs, its topic id, or both of its slots in the
    /// ends file cannot be. Damage of the log itself is found by reading it.
    #[must_use]
    pub fn damage(&self) -> Option<&Error> {
        self.found.log.as_ref().err()
    }

    /// The offset of the oldest record.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        match &self.found.log {
            Ok(log) => log.log_start,
            Err(_) => self.found.place.proven.map_or(0, |proven| proven.log_start),
        }
    }

    /// The offset behind the last record that is shown.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        match &self.found.log {
            Ok(log) => log.end,
            Err(_) => self.found.place.proven.map_or(0, |proven| proven.offset),
        }
    }

    /// Where the oldest transaction begins that a Kafka broker has left open; the high watermark if there is none. The part
    /// of the log that Kafka has written is read for it, once.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn last_stable_offset(&self) -> Result<Offset> {
        let log = self.log()?;
        let first_open = self.transactions(log)?.and_then(|transactions| transactions.first_open());
        Ok(first_open.map_or(log.end, |open| open.clamp(log.log_start, log.end)))
    }

    /// The batches from `start` to the high watermark, with a [`Gap`](crate::Gap) wherever there is none to be had. Of
    /// transactions those that were committed, and up to the [last stable offset](Self::last_stable_offset).
    ///
    /// Batches and gaps follow one on the other: no offset between `start` and the high watermark is passed over in silence,
    /// but for what Kafka's compaction has taken, markers, and what was aborted. [`Start::Time`] reads the log from
    /// its beginning, for nothing else is to be trusted, and begins with the gap that lies right before the record it finds.
    ///
    /// # Errors
    /// [`CorruptMessage`](crate::ErrorKind::CorruptMessage) if [nothing can be read](Self::damage);
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) for an offset below the log start offset or above the high
    /// watermark; [`LogTruncated`](crate::ErrorKind::LogTruncated) for a position below which something was taken back;
    /// [`DirectoryInUse`](crate::ErrorKind::DirectoryInUse) if somebody has come meanwhile.
    pub fn read(&self, start: Start) -> Result<ReadOnlyBatches> {
        self.read_with(start, Isolation::default())
    }

    /// The same with the records of transactions that the isolation level lets through.
    ///
    /// A transaction whose end lies in a gap counts as damaged where `isolation` is [`Isolation::ReadCommitted`]: nobody
    /// knows whether it was committed.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_with(&self, start: Start, isolation: Isolation) -> Result<ReadOnlyBatches> {
        let log = self.log()?;
        let (until, transactions) = match isolation {
            Isolation::ReadCommitted => (self.last_stable_offset()?, self.transactions(log)?),
            Isolation::ReadUncommitted => (log.end, None),
        };
        let from = self.resolve(log, start, until)?;
        Ok(ReadOnlyBatches::new(Arc::clone(&self.opened), Arc::clone(log), from..until, transactions))
    }

    fn log(&self) -> Result<&Arc<FoundLog>> {
        self.found.log.as_ref().map_err(Clone::clone)
    }

    fn resolve(&self, log: &Arc<FoundLog>, start: Start, until: Offset) -> Result<Offset> {
        let available = log.log_start..=log.end;
        let place = |error: Error| error.in_partition(self.topic(), self.id());
        let offset = match start {
            Start::Earliest => return Ok(log.log_start),
            Start::Latest => return Ok(until),
            Start::Time(time) => {
                let found = time_search::first_of(log, time).map_err(place)?;
                self.opened.survey.require_unchanged()?;
                return Ok(found.min(until));
            }
            Start::At(offset) => offset,
            Start::Resume(position) => {
                log.life.check_epoch(position, &available).map_err(place)?;
                position.offset()
            }
        };
        if available.contains(&offset) { Ok(offset) } else { Err(place(outside_log(offset, available))) }
    }

    /// How the transactions ended, where there may be any.
    fn transactions(&self, log: &Arc<FoundLog>) -> Result<Option<Arc<Transactions>>> {
        if log.place.kafka_end <= log.log_start {
            return Ok(None);
        }
        if let Some(found) = &*self.found.transactions.lock() {
            return Ok(Some(Arc::clone(found)));
        }
        let found = Arc::new(Transactions::of(log)?);
        self.opened.survey.require_unchanged()?;
        Ok(Some(Arc::clone(self.found.transactions.lock().insert(found))))
    }
}

impl fmt::Debug for ReadOnlyPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadOnlyPartition({}-{})", self.topic(), self.id())
    }
}
