//! The key of a record of `__consumer_offsets`.
//!
//! | Field | Type | |
//! |---|---|---|
//! | type | i16 | 0, 1: a committed offset (1 is written); 2: a group's metadata |
//! | group | string | |
//! | topic | string | types 0 and 1 |
//! | partition | i32 | types 0 and 1 |
//!
//! What stands behind other types is not looked at.

use std::sync::Arc;

use crate::error::Result;
use crate::group::TopicPartition;
use crate::group::fields::{Fields, FieldsWriter};

const STRUCTURE: &str = "the key of a record of __consumer_offsets";
const OLD_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// What a group has committed of a partition.
    OffsetCommit { group: Arc<str>, partition: TopicPartition },
    /// The generation and the members of a group.
    GroupMetadata { group: Arc<str> },
    /// Something of another kind of group: KIP-848's consumer groups (3 to 8, 16), share groups, streams groups.
    Other(i16),
}

impl RecordKey {
    /// Reads a key; all of it is checked, if the type is a known one.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(STRUCTURE, bytes);
        let key = match fields.i16("type")? {
            OLD_OFFSET_COMMIT | OFFSET_COMMIT => {
                let group = fields.string("group")?.into();
                let topic = fields.string("topic")?;
                let partition = TopicPartition::new(topic, fields.u32("partition")?);
                Self::OffsetCommit { group, partition }
            }
            GROUP_METADATA => Self::GroupMetadata { group: fields.string("group")?.into() },
            negative @ ..0 => {
                return Err(fields.malformed(&format!("its type is {negative}, which is not possible")));
            }
            other => return Ok(Self::Other(other)),
        };
        fields.end()?;
        Ok(key)
    }

    /// The bytes of the key for what a group has committed of a partition.
    pub fn encode_offset_commit(group: &str, partition: &TopicPartition) -> Result<Vec<u8>> {
        let mut fields = FieldsWriter::new(STRUCTURE);
        fields.i16(OFFSET_COMMIT);
        fields.string("group", group)?;
        fields.string("topic", &partition.topic)?;
        fields.u32("partition", partition.partition)?;
        Ok(fields.finish())
    }

    /// The bytes of the key for a group's metadata.
    pub fn encode_group_metadata(group: &str) -> Result<Vec<u8>> {
        let mut fields = FieldsWriter::new(STRUCTURE);
        fields.i16(GROUP_METADATA);
        fields.string("group", group)?;
        Ok(fields.finish())
    }
}
