//! What a hand-over has done.

use crate::model::{Offset, PartitionId};

/// What a hand-over has done; see [`HandOver`](crate::HandOver).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandOverReport {
    pub(super) partitions: Vec<HandedOver>,
    pub(super) given_up: bool,
    pub(super) next_step: String,
}

impl HandOverReport {
    /// The partitions of the topic, in order.
    #[must_use]
    pub fn partitions(&self) -> &[HandedOver] {
        &self.partitions
    }

    /// True if the topic is no longer in our directory.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// What is to be done now, for people.
    #[must_use]
    pub fn next_step(&self) -> &str {
        &self.next_step
    }
}

/// A partition that a Kafka broker has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandedOver {
    pub(super) partition: PartitionId,
    pub(super) log_start: Offset,
    pub(super) end: Offset,
    pub(super) batches: u64,
    pub(super) restamped: u64,
    pub(super) bytes: u64,
    pub(super) was_there: bool,
}

impl HandedOver {
    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The offset at which it begins.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset at which it ends, and Kafka goes on.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.end
    }

    /// How many record batches it has.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// How many of them had a leader epoch above Kafka's, and have Kafka's in the copy.
    #[must_use]
    pub fn restamped_batches(&self) -> u64 {
        self.restamped
    }

    /// The size of its logs, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True if an earlier attempt had brought it there.
    #[must_use]
    pub fn was_there(&self) -> bool {
        self.was_there
    }
}
