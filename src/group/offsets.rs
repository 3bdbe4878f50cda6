//! What is committed: the records of `__consumer_offsets`, replayed from the first to the last.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(any(test, feature = "test-util"))]
use crate::error::Result;
use crate::group::{GroupMetadataValue, GroupRecord, OffsetCommitValue, TopicPartition};
use crate::model::{LeaderEpoch, Offset, Timestamp};

/// The groups, each with what it has committed and its newest metadata.
///
/// The newest record of a key counts, and a tombstone removes what the key names; so it is all the same whether older
/// records were compacted away before. A group of which nothing is left is not there.
///
/// Records of a transaction come in where it was committed, and not at all where it was aborted: telling that is the
/// caller's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedOffsets {
    groups: BTreeMap<Arc<str>, CommittedGroup>,
}

/// What is known of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedGroup {
    /// Its generation and members; `None` for a group that only commits.
    pub metadata: Option<GroupMetadataValue>,
    /// What it has committed of each partition.
    pub offsets: BTreeMap<TopicPartition, Committed>,
}

/// What a group has committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the record before it, if the committer knew one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the committer wanted to be kept beside it; often empty.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
}

impl CommittedOffsets {
    /// Takes in a record as it stands in the log, behind all before it. Nothing has changed if it cannot be read.
    #[cfg(any(test, feature = "test-util"))]
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        if let Some(record) = GroupRecord::decode(key, value)? {
            self.apply_record(record);
        }
        Ok(())
    }

    /// Takes in a record, behind all before it.
    pub fn apply_record(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::OffsetCommit { group, partition, value } => {
                // A commit of no offset is none, as Kafka's clients see it.
                let committed = value.and_then(Committed::of);
                self.change(group, |group| match committed {
                    Some(committed) => _ = group.offsets.insert(partition, committed),
                    None => _ = group.offsets.remove(&partition),
                });
            }
            GroupRecord::GroupMetadata { group, value } => self.change(group, |group| group.metadata = value),
        }
    }

    /// The groups, sorted by their ids.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &CommittedGroup)> {
        self.groups.iter()
    }

    /// A group of which something is known.
    pub fn group(&self, group: &str) -> Option<&CommittedGroup> {
        self.groups.get(group)
    }

    /// What a group has committed of a partition.
    #[cfg(any(test, feature = "test-util"))]
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<&Committed> {
        self.group(group)?.offsets.get(partition)
    }

    fn change(&mut self, id: Arc<str>, change: impl FnOnce(&mut CommittedGroup)) {
        let group = self.groups.entry(id.clone()).or_default();
        change(group);
        if group.metadata.is_none() && group.offsets.is_empty() {
            self.groups.remove(&id);
        }
    }
}

impl Committed {
    fn of(value: OffsetCommitValue) -> Option<Self> {
        let OffsetCommitValue { offset, leader_epoch, metadata, commit_timestamp } = value;
        Some(Self { offset: offset?, leader_epoch, metadata, commit_timestamp })
    }
}

#[cfg(test)]
mod tests;
