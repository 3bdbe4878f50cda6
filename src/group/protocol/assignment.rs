//! What a member is given.
//!
//! | Field | Type | |
//! |---|---|---|
//! | version | i16 | 0 to 3 are the same |
//! | assigned partitions | topics with partitions | |
//! | user data | nullable bytes | the assignor's own |
//!
//! No bytes at all are given to a member that the one that assigns has passed over.

use std::collections::BTreeSet;

use super::{VERSION, partitions};
use crate::error::Result;
use crate::group::TopicPartition;
use crate::group::fields::{Fields, FieldsWriter};

const STRUCTURE: &str = "the assignment of a member";

/// What a member is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The partitions that it is to read; no others.
    pub partitions: BTreeSet<TopicPartition>,
    /// What the assignor has added, for itself.
    pub user_data: Option<Box<[u8]>>,
}

impl Assignment {
    /// Reads one of any version; no bytes are an assignment of nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut fields = Fields::new(STRUCTURE, bytes);
        fields.version(i16::MAX)?;
        let partitions = partitions::read(&mut fields)?;
        let user_data = fields.nullable_bytes("user data")?.map(Into::into);
        Ok(Self { partitions, user_data })
    }

    /// The bytes, sorted, so that the same assignment always has the same.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut fields = FieldsWriter::new(STRUCTURE);
        fields.i16(VERSION);
        partitions::write(&mut fields, &self.partitions)?;
        fields.nullable_bytes("user data", self.user_data.as_deref())?;
        Ok(fields.finish())
    }
}
