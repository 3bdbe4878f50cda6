//! The records of `__consumer_offsets`, as Kafka's group coordinator writes them. Bytes only.
//!
//! | Key | Value | |
//! |---|---|---|
//! | type 0 or 1, group, topic, partition ([`RecordKey`]) | [`OffsetCommitValue`] | what a group has committed |
//! | type 2, group | [`GroupMetadataValue`] | who is in a group |
//! | any other type | | of other kinds of groups; recognised, and passed over |
//!
//! A null value is a tombstone: what the key names is gone. The newest record of a key counts.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![deny(clippy::little_endian_bytes, clippy::host_endian_bytes)]

mod group_metadata_value;
mod group_record;
mod key;
mod offset_commit_value;
#[cfg(test)]
mod tests;

pub use group_metadata_value::{GroupMetadataValue, MemberMetadata};
pub use group_record::GroupRecord;
pub use key::RecordKey;
pub use offset_commit_value::OffsetCommitValue;
