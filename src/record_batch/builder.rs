//! A record batch that is being written, at the end of a buffer which may hold others before it.
//!
//! Building has two halves, so that the second can run outside the lock under which offsets are given out:
//! records are pushed behind room left for the header, and later [`PendingBatch::seal`] writes the header with
//! its checksum.

use std::ops::Range;

use super::varint::{varlong_len, write_varlong};
use super::{Attributes, BatchHeader, HEADER_LEN};
use crate::model::{Compression, Offset};

/// The parts of a record that do not depend on its place in a batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordParts<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl RecordParts<'_> {
    /// The size in bytes from the key length on.
    pub fn encoded_len(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(key, value)| nullable_len(Some(key.as_bytes())).saturating_add(nullable_len(*value)));
        headers
            .fold(varlong_len(length(self.headers.len())), usize::saturating_add)
            .saturating_add(nullable_len(self.key))
            .saturating_add(nullable_len(self.value))
    }

    fn write(&self, buffer: &mut Vec<u8>) {
        write_nullable(buffer, self.key);
        write_nullable(buffer, self.value);
        write_varlong(buffer, length(self.headers.len()));
        for (key, value) in self.headers {
            write_nullable(buffer, Some(key.as_bytes()));
            write_nullable(buffer, *value);
        }
    }
}

/// The most bytes that a record takes in a batch beyond [`RecordParts::encoded_len`]: length, attributes,
/// timestamp delta and offset delta.
const MAX_RECORD_OVERHEAD: usize = 5 + 1 + 10 + 5;

/// The size of a batch that holds one record and nothing else.
pub fn size_alone(encoded_len: usize) -> usize {
    // Attributes, and deltas of 0.
    let body = encoded_len.saturating_add(3);
    HEADER_LEN.saturating_add(varlong_len(length(body))).saturating_add(body)
}

/// The most that a record adds to a batch.
pub fn max_record_size(encoded_len: usize) -> usize {
    MAX_RECORD_OVERHEAD.saturating_add(encoded_len)
}

/// A batch that takes records.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    start: usize,
}

impl BatchBuilder {
    /// Begins a batch at the end of `buffer`, without producer and without leader epoch.
    pub fn begin(buffer: &mut Vec<u8>, base_offset: Offset, base_timestamp: i64) -> Self {
        let start = buffer.len();
        buffer.resize(start.saturating_add(HEADER_LEN), 0);
        let header = BatchHeader {
            base_offset,
            size: 0,
            leader_epoch: -1,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records_count: 0,
        };
        Self { header, start }
    }

    /// The fields that do not follow from the records.
    #[cfg(test)]
    pub fn header_mut(&mut self) -> &mut BatchHeader {
        &mut self.header
    }

    /// Appends a record. Offsets must rise, and stay within 2^31 − 1 of the base offset.
    pub fn push(&mut self, buffer: &mut Vec<u8>, offset: Offset, timestamp: i64, parts: &RecordParts<'_>) {
        let offset_delta = offset.saturating_sub(self.header.base_offset);
        debug_assert!(i32::try_from(offset_delta).is_ok(), "a batch spans at most 2^31 offsets");
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        let body = varlong_len(timestamp_delta)
            .saturating_add(varlong_len(offset_delta.cast_signed()))
            .saturating_add(parts.encoded_len())
            .saturating_add(1);
        buffer.reserve(body.saturating_add(5));
        write_varlong(buffer, length(body));
        buffer.push(0);
        write_varlong(buffer, timestamp_delta);
        write_varlong(buffer, offset_delta.cast_signed());
        parts.write(buffer);

        self.header.records_count = self.header.records_count.saturating_add(1);
        self.header.last_offset_delta = u32::try_from(offset_delta).unwrap_or(u32::MAX);
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
    }

    /// The size so far, header included.
    pub fn size(&self, buffer: &[u8]) -> usize {
        buffer.len().saturating_sub(self.start)
    }

    /// Ends the batch at the end of `buffer`; the header is still to be written.
    pub fn finish(mut self, buffer: &[u8]) -> PendingBatch {
        self.header.size = self.size(buffer);
        let bytes = self.start..buffer.len();
        PendingBatch { header: self.header, bytes, compression: Compression::None }
    }
}

/// A batch whose records stand in a buffer, and whose header does not yet.
#[derive(Clone, Debug)]
pub struct PendingBatch {
    pub header: BatchHeader,
    /// Where in the buffer it stands.
    pub bytes: Range<usize>,
    /// What its records are still to be compressed with.
    pub compression: Compression,
}

impl PendingBatch {
    /// Writes the header, checksum included, into the room that was left for it.
    pub fn seal(&self, buffer: &mut [u8]) {
        match buffer.get_mut(self.bytes.clone()) {
            Some(batch) => {
                debug_assert_eq!(self.header.size, batch.len(), "the header has another size than the batch");
                self.header.seal(batch);
            }
            None => debug_assert!(false, "the buffer is another one than the batch was built in"),
        }
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => 1,
        Some(bytes) => varlong_len(length(bytes.len())).saturating_add(bytes.len()),
    }
}

fn write_nullable(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => write_varlong(buffer, -1),
        Some(bytes) => {
            write_varlong(buffer, length(bytes.len()));
            buffer.extend_from_slice(bytes);
        }
    }
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
