//! A record of `__consumer_offsets`: its key together with its value.

use std::sync::Arc;

use super::{GroupMetadataValue, OffsetCommitValue, RecordKey};
use crate::error::{Error, Result};
use crate::group::TopicPartition;

/// A record of `__consumer_offsets`; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// What a group has committed of a partition.
    OffsetCommit { group: Arc<str>, partition: TopicPartition, value: Option<OffsetCommitValue> },
    /// The generation and the members of a group.
    GroupMetadata { group: Arc<str>, value: Option<GroupMetadataValue> },
}

impl GroupRecord {
    /// Reads key and value of a record, and checks all of them. `None` if it belongs to another kind of group, of which
    /// nothing is known.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Self>> {
        let key = key.ok_or_else(|| Error::corrupt("a record of __consumer_offsets has no key"))?;
        Ok(Some(match RecordKey::decode(key)? {
            RecordKey::OffsetCommit { group, partition } => {
                let value = value.map(OffsetCommitValue::decode).transpose();
                let value = value.map_err(|error| told_of(error, &format!("group {group}, {partition}")))?;
                Self::OffsetCommit { group, partition, value }
            }
            RecordKey::GroupMetadata { group } => {
                let value = value.map(GroupMetadataValue::decode).transpose();
                let value = value.map_err(|error| told_of(error, &format!("group {group}")))?;
                Self::GroupMetadata { group, value }
            }
            RecordKey::Other(_) => return Ok(None),
        }))
    }

    /// The bytes of key and value. An error if a name or a number is larger than its field.
    pub fn encode(&self) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        Ok(match self {
            Self::OffsetCommit { group, partition, value } => (
                RecordKey::encode_offset_commit(group, partition)?,
                value.as_ref().map(OffsetCommitValue::encode).transpose()?,
            ),
            Self::GroupMetadata { group, value } => (
                RecordKey::encode_group_metadata(group)?,
                value.as_ref().map(GroupMetadataValue::encode).transpose()?,
            ),
        })
    }
}

/// The error with whose value it is.
fn told_of(error: Error, whose: &str) -> Error {
    let what = format!("{whose}: {}", error.what());
    error.with_what(what)
}
