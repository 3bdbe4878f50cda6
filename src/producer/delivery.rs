//! A record on its way to the disk.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::model::{LeaderEpoch, Offset, PartitionId, Position, Timestamp};
use crate::partition_log::{Assigned, PartitionLog, Reach};

/// A record that was sent and is not acknowledged yet.
///
/// Dropping it does not take the record back: it reaches the disk with the next wait or flush of the
/// partition, or when the broker closes.
#[must_use = "a record is acknowledged once `wait`, or a `flush` later, has returned"]
#[derive(Clone)]
pub struct Delivery {
    log: Arc<PartitionLog>,
    /// The offset of the first record.
    first: Offset,
    /// The last record.
    assigned: Assigned,
    reach: Reach,
}

impl Delivery {
    /// Of `count` records that were assigned together.
    pub(super) fn new(log: Arc<PartitionLog>, assigned: Assigned, count: usize, reach: Reach) -> Self {
        let first = assigned.offset.saturating_add(1).saturating_sub(count as u64);
        Self { log, first, assigned, reach }
    }

    /// Returns once the record is acknowledged: on stable storage, or where the topic's
    /// [durability](crate::Durability) asks for less, with the operating system. Writes it, and syncs it, with all that
    /// has gathered, if nobody else is at it.
    ///
    /// # Errors
    /// [`NotWritten`](crate::ErrorKind::NotWritten) if the disk did not take it: the log is as it was, and the
    /// record can be sent again. [`Indeterminate`](crate::ErrorKind::Indeterminate) if the sync failed: the record
    /// may or may not be there after the next opening. [`Closed`](crate::ErrorKind::Closed) or
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) if the broker was closed without
    /// it, or the topic deleted.
    pub fn wait(self) -> Result<RecordMetadata> {
        self.log.wait(self.assigned, self.reach)?;
        Ok(RecordMetadata {
            topic: Arc::clone(self.log.topic()),
            partition: self.log.partition(),
            first: self.first,
            leader_epoch: self.log.leader_epoch(),
            assigned: self.assigned,
        })
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.log.topic()
    }

    /// The partition that was chosen.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.log.partition()
    }

    /// The offset that the record has if it is acknowledged; of a batch, its first record.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.first
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({}-{}@{})", self.log.topic(), self.log.partition(), self.first)
    }
}

/// Where an acknowledged record is.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    topic: Arc<str>,
    partition: PartitionId,
    first: Offset,
    leader_epoch: LeaderEpoch,
    assigned: Assigned,
}

impl RecordMetadata {
    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition that was chosen.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The number of the record in its partition; of a batch, its first record.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.first
    }

    /// The number of the last record of a batch.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.assigned.offset
    }

    /// The leader epoch under which the record was written.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The place behind the record, of a batch behind its last one: [`Start::Resume`](crate::Start::Resume) reads on
    /// from there.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.assigned.offset.saturating_add(1), Some(self.leader_epoch))
    }

    /// The timestamp that readers will see; of a batch, the greatest.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.assigned.timestamp
    }
}

impl fmt::Debug for RecordMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, first, assigned, .. } = self;
        write!(f, "RecordMetadata({topic}-{partition}@{first}..={}, {})", assigned.offset, assigned.timestamp)
    }
}
