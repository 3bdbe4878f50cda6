//! The value of a committed offset. Versions 0 to 4 are read, 3 is written, which every broker since 2.1 reads.
//!
//! | Field | Type | Versions | |
//! |---|---|---|---|
//! | version | i16 | | |
//! | offset | i64 | 0–4 | of the next record to read; negative: nothing is committed |
//! | leader epoch | i32 | 3–4 | of the record before it; −1: not known |
//! | metadata | string | 0–4 | the committer's own words |
//! | commit timestamp | i64 | 0–4 | |
//! | expire timestamp | i64 | 1 | passed over: committed offsets do not expire here |
//! | tagged fields | | 4 | 0: the topic's id; passed over: topics are known by their names here |

use std::sync::Arc;

use crate::error::Result;
use crate::group::fields::{Fields, FieldsWriter};
use crate::model::{LeaderEpoch, Offset, Timestamp};

const STRUCTURE: &str = "a committed offset (OffsetCommitValue)";
const NEWEST: i16 = 4;
const WRITTEN: i16 = 3;
const WITH_EXPIRY: i16 = 1;
const WITH_LEADER_EPOCH: i16 = 3;
const FLEXIBLE: i16 = 4;

/// What a group has committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitValue {
    /// The offset of the next record to read. `None` if it is negative, which Kafka's clients take for no commit at all.
    pub offset: Option<Offset>,
    /// The leader epoch of the record before it, if the committer knew one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the committer wanted to be kept beside it; often empty.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
}

impl OffsetCommitValue {
    /// Reads a value, and checks all of it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(STRUCTURE, bytes);
        let version = fields.version(NEWEST)?;
        if version >= FLEXIBLE {
            fields.now_flexible();
        }
        let offset = Offset::try_from(fields.i64("offset")?).ok();
        let leader_epoch = match version {
            WITH_LEADER_EPOCH.. => fields.optional_u32("leader epoch")?,
            _ => None,
        };
        let metadata = fields.string("metadata")?.into();
        let commit_timestamp = fields.i64("commit timestamp")?;
        if version == WITH_EXPIRY {
            fields.i64("expire timestamp")?;
        }
        fields.skip_tags()?;
        fields.end()?;
        Ok(Self { offset, leader_epoch, metadata, commit_timestamp })
    }

    /// The bytes of the value, in version 3. An error if something is longer or larger than its field.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut fields = FieldsWriter::new(STRUCTURE);
        fields.i16(WRITTEN);
        match self.offset {
            Some(offset) => fields.u64("offset", offset)?,
            None => fields.i64(-1),
        }
        fields.optional_u32("leader epoch", self.leader_epoch)?;
        fields.string("metadata", &self.metadata)?;
        fields.i64(self.commit_timestamp);
        Ok(fields.finish())
    }
}
