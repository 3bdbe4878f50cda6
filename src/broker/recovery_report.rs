//! What opening found of the last life.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::model::{Offset, PartitionId};

/// What opening a broker found, and did; see [`Broker::recovery_report`](crate::Broker::recovery_report).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    pub(super) clean: bool,
    pub(super) partitions: Vec<PartitionRecovery>,
    pub(super) damaged: Vec<Error>,
    pub(super) notes: Vec<String>,
    pub(super) adopted: bool,
}

impl RecoveryReport {
    /// True if the directory was new, or closed in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// True if this opening has [taken over](crate::BrokerOptions::adopt) the directory from a Kafka broker.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// The partitions from which more than zeros was cut. Nothing of it was acknowledged by a topic whose
    /// [durability](crate::Durability) is synced; of the others it may be what a power cut has taken, as may be what is
    /// gone without a trace.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionRecovery] {
        &self.partitions
    }

    /// The partitions that are damaged, each with its error; only with
    /// [`isolate_damage`](crate::BrokerOptions::isolate_damage), without which opening has failed.
    #[must_use]
    pub fn damaged(&self) -> &[Error] {
        &self.damaged
    }

    /// What was odd and could be put right, for people: files that only repeat what others say, and had to be made
    /// again. Of a directory that was taken over from a Kafka broker, also what was left alone.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }
}

/// What was cut from one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecovery {
    pub(super) topic: String,
    pub(super) partition: PartitionId,
    pub(super) end: Offset,
    pub(super) cut_bytes: u64,
    pub(super) quarantined: Vec<PathBuf>,
}

impl PartitionRecovery {
    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The offset at which the partition ends now.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// How many bytes were cut: the rest of a write that the crash interrupted.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// The files at the root of the data directory that keep what was cut; they can be deleted. Of a single
    /// tail at most its first 64 MiB are kept, and nothing more once such files take a GiB.
    pub fn quarantined(&self) -> impl Iterator<Item = &Path> {
        self.quarantined.iter().map(PathBuf::as_path)
    }
}
