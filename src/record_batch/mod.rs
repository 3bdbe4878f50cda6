//! Kafka's record batch, format version 2: written, checked and read. Bytes only; it knows no files.
//!
//! A batch is a header of 61 bytes ([`header`]) and its records ([`record`]), one behind the other. The offset
//! and the leader epoch lie outside the checksum, so that a log can give them without computing it again.
//! The format is Kafka's `DefaultRecordBatch` and `DefaultRecord`; the message formats 0 and 1 of brokers
//! before 0.11 are recognised and refused.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![deny(clippy::little_endian_bytes, clippy::host_endian_bytes)]

mod attributes;
mod batch;
mod builder;
mod compression;
mod control;
mod header;
mod record;
#[cfg(test)]
mod tests;
mod varint;

pub use attributes::Attributes;
pub use batch::{RecordBatch, Records};
pub use builder::{BatchBuilder, PendingBatch, RecordParts, max_record_size, size_alone};
pub use compression::Codecs;
pub use control::ControlRecord;
pub use header::{BatchHeader, HEADER_LEN, LEADER_EPOCH_FIELD};
pub use record::{Header, Headers, OwnedHeader, OwnedRecord, RecordView};
#[cfg(feature = "test-util")]
pub use varint::{read_varint, read_varlong, write_varlong};
