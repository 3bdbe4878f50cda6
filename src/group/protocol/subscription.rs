//! What a member says when it joins: what it wants, and what it has.
//!
//! | Field | Type | Versions | |
//! |---|---|---|---|
//! | version | i16 | | |
//! | topics | array of string | 0– | |
//! | user data | nullable bytes | 0– | the assignor's own |
//! | owned partitions | topics with partitions | 1– | |
//! | generation | i32 | 2– | in which it owned them; −1: none |
//! | rack id | nullable string | 3– | passed over, and written as null: a process has no racks |

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{VERSION, partitions, read_generation};
use crate::error::Result;
use crate::group::TopicPartition;
use crate::group::fields::{Fields, FieldsWriter};

const STRUCTURE: &str = "the subscription of a member";
const WITH_OWNED: i16 = 1;
const WITH_GENERATION: i16 = 2;
const WITH_RACK: i16 = 3;

/// What a member says when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics that it wants to read.
    pub topics: BTreeSet<Arc<str>>,
    /// What its assignor has added, for itself.
    pub user_data: Option<Box<[u8]>>,
    /// The partitions that it has, and keeps until it is told otherwise.
    pub owned: BTreeSet<TopicPartition>,
    /// The generation in which it was given them, if it says so.
    pub generation: Option<u32>,
}

impl Subscription {
    /// Reads one of any version.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(STRUCTURE, bytes);
        let version = fields.version(i16::MAX)?;
        let mut read = Self::default();
        fields.array("topics", |fields| {
            read.topics.insert(fields.string("topic")?.into());
            Ok(())
        })?;
        read.user_data = fields.nullable_bytes("user data")?.map(Into::into);
        if version >= WITH_OWNED {
            read.owned = partitions::read(&mut fields)?;
        }
        if version >= WITH_GENERATION {
            read.generation = u32::try_from(fields.i32("generation")?).ok();
        }
        if version >= WITH_RACK {
            fields.nullable_string("rack id")?;
        }
        Ok(read)
    }

    /// The generation in which a `cooperative-sticky` member was given what it owns. It says so itself since version 2; before
    /// that its assignor does, in the user data, which lag behind where a member was given nothing. `None` if neither does, or
    /// if the user data are of another kind: who cannot say when has been given it earlier than anybody who can.
    pub fn owned_generation(&self) -> Option<u32> {
        self.generation.or_else(|| read_generation(self.user_data.as_deref()?).ok()?)
    }

    /// The bytes, sorted, so that the same subscription always has the same.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut fields = FieldsWriter::new(STRUCTURE);
        fields.i16(VERSION);
        fields.count("topics", self.topics.len())?;
        self.topics.iter().try_for_each(|topic| fields.string("topic", topic))?;
        fields.nullable_bytes("user data", self.user_data.as_deref())?;
        partitions::write(&mut fields, &self.owned)?;
        fields.optional_u32("generation", self.generation)?;
        fields.nullable_string("rack id", None)?;
        Ok(fields.finish())
    }
}
