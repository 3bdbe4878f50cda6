//! The records that were taken and not yet written: batches in one buffer, the last of them still open.
//!
//! It lies under the append lock, so it only copies; headers and checksums are made when the batches are taken
//! out, outside that lock.

use std::sync::Arc;

use super::buffer::{BufferMemory, Held};
use crate::config::TopicConfig;
use crate::model::{Offset, Timestamp, TimestampType};
use crate::record_batch::{Attributes, BatchBuilder, PendingBatch, RecordParts, max_record_size};

/// A buffer that grew beyond this for one burst is given back.
const KEEP_CAPACITY: usize = 4 * 1024 * 1024;

/// Batches that are being filled.
#[derive(Debug)]
pub struct Accumulator {
    batch_limit: usize,
    filled: Filled,
    open: Option<Open>,
    /// What of the broker's buffer memory the records take.
    held: Held,
}

#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    first_timestamp: Timestamp,
    timestamp_type: TimestampType,
}

/// Batches that take no more records, one behind the other in a buffer; their headers are still to be written.
#[derive(Debug, Default)]
pub struct Filled {
    pub buffer: Vec<u8>,
    pub batches: Vec<PendingBatch>,
    /// Given back once they are written.
    pub held: Option<Held>,
}

impl Accumulator {
    /// `batch_size` is the size up to which records share a batch; a larger record gets one of its own.
    pub fn new(batch_size: usize, config: &TopicConfig, memory: &Arc<BufferMemory>) -> Self {
        let held = Held::new(memory);
        let mut accumulator = Self { batch_limit: 0, filled: Filled::default(), open: None, held };
        accumulator.limit(batch_size, config);
        accumulator
    }

    /// Changes the size up to which records share a batch. What is larger already takes no more records.
    pub fn limit(&mut self, batch_size: usize, config: &TopicConfig) {
        let most = config.max_message_bytes.min(config.segment_bytes);
        self.batch_limit = batch_size.min(usize::try_from(most).unwrap_or(usize::MAX));
    }

    /// How many bytes wait to be written.
    pub fn len(&self) -> usize {
        self.filled.buffer.len()
    }

    /// Whether it holds as much as a batch may.
    pub fn is_full(&self) -> bool {
        self.len() >= self.batch_limit
    }

    /// Adds a record; `encoded_len` is that of `parts`. A batch has one kind of timestamps: another one begins another.
    pub fn push(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        timestamp_type: TimestampType,
        parts: &RecordParts<'_>,
        encoded_len: usize,
    ) {
        let fits = |open: &Open| {
            open.timestamp_type == timestamp_type && self.has_room(open, timestamp, encoded_len)
        };
        if self.open.as_ref().is_some_and(|open| !fits(open)) {
            self.close();
        }
        let buffer = &mut self.filled.buffer;
        let before = buffer.len();
        let open = self.open.get_or_insert_with(|| Open {
            builder: BatchBuilder::begin(buffer, offset, timestamp),
            first_timestamp: timestamp,
            timestamp_type,
        });
        open.builder.push(buffer, offset, timestamp, parts);
        self.held.add(buffer.len().saturating_sub(before));
    }

    /// Adds a batch as it is, behind the open one; returns the greatest timestamp of its records.
    pub fn push_batch(&mut self, base_offset: Offset, batch: EncodedBatch) -> Timestamp {
        self.close();
        let EncodedBatch { buffer, builder, timestamp_type, .. } = batch;
        let Some(builder) = builder else { return -1 };
        let mut pending = builder.finish(&buffer);
        let start = self.filled.buffer.len();
        self.filled.buffer.extend_from_slice(&buffer);
        self.held.add(buffer.len());
        pending.bytes = start..self.filled.buffer.len();
        pending.header.base_offset = base_offset;
        pending.header.attributes = Attributes::new(timestamp_type);
        let timestamp = pending.header.max_timestamp;
        self.filled.batches.push(pending);
        timestamp
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.open = None;
        self.filled.buffer.clear();
        self.filled.batches.clear();
        self.held.release();
    }

    /// Closes the open batch and gives out all there is, in exchange for an emptied buffer.
    pub fn take(&mut self, mut emptied: Filled) -> Filled {
        self.close();
        emptied.buffer.clear();
        emptied.buffer.shrink_to(KEEP_CAPACITY);
        emptied.batches.clear();
        self.filled.held = Some(self.held.take());
        std::mem::replace(&mut self.filled, emptied)
    }

    fn has_room(&self, open: &Open, timestamp: Timestamp, encoded_len: usize) -> bool {
        let fits = open.builder.size(&self.filled.buffer) + max_record_size(encoded_len) <= self.batch_limit;
        // All records of a batch share one append time, which each of them was told when it was sent.
        let same_time = match open.timestamp_type {
            TimestampType::CreateTime => true,
            TimestampType::LogAppendTime => timestamp == open.first_timestamp,
        };
        fits && same_time
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let mut batch = open.builder.finish(&self.filled.buffer);
            batch.header.attributes = Attributes::new(open.timestamp_type);
            self.filled.batches.push(batch);
        }
    }
}

/// A record batch that was encoded before its offsets are known: they stand in its header alone.
#[derive(Debug)]
pub struct EncodedBatch {
    timestamp_type: TimestampType,
    buffer: Vec<u8>,
    builder: Option<BatchBuilder>,
    records: u64,
    append_time: Timestamp,
}

impl EncodedBatch {
    pub fn new(timestamp_type: TimestampType) -> Self {
        Self { timestamp_type, buffer: Vec::new(), builder: None, records: 0, append_time: -1 }
    }

    pub fn push(&mut self, timestamp: Timestamp, parts: &RecordParts<'_>) {
        // All records of a batch share one append time.
        let timestamp = match self.timestamp_type {
            TimestampType::LogAppendTime if self.records > 0 => self.append_time,
            _ => timestamp,
        };
        self.append_time = timestamp;
        let buffer = &mut self.buffer;
        let builder = self.builder.get_or_insert_with(|| BatchBuilder::begin(buffer, 0, timestamp));
        builder.push(buffer, self.records, timestamp, parts);
        self.records += 1;
    }

    /// In bytes, header included.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }
}
