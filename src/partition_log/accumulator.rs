//! The records that were taken and not yet written: batches in one buffer, the last of them still open.
//!
//! It lies under the append lock, so it only copies; headers and checksums are made when the batches are taken
//! out, outside that lock.

use crate::config::TopicConfig;
use crate::model::{Offset, Timestamp, TimestampType};
use crate::record_batch::{Attributes, BatchBuilder, PendingBatch, RecordParts, max_record_size};

/// A buffer that grew beyond this for one burst is given back.
const KEEP_CAPACITY: usize = 4 * 1024 * 1024;

/// Batches that are being filled.
#[derive(Debug)]
pub struct Accumulator {
    batch_limit: usize,
    timestamp_type: TimestampType,
    filled: Filled,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    first_timestamp: Timestamp,
}

/// Batches that take no more records, one behind the other in a buffer; their headers are still to be written.
#[derive(Debug, Default)]
pub struct Filled {
    pub buffer: Vec<u8>,
    pub batches: Vec<PendingBatch>,
}

impl Accumulator {
    /// `batch_size` is the size up to which records share a batch; a larger record gets one of its own.
    pub fn new(batch_size: usize, config: &TopicConfig) -> Self {
        let most = config.max_message_bytes.min(config.segment_bytes);
        let batch_limit = batch_size.min(usize::try_from(most).unwrap_or(usize::MAX));
        Self { batch_limit, timestamp_type: config.timestamp_type, filled: Filled::default(), open: None }
    }

    /// How many bytes wait to be written.
    pub fn len(&self) -> usize {
        self.filled.buffer.len()
    }

    /// Adds a record; `encoded_len` is that of `parts`.
    pub fn push(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        parts: &RecordParts<'_>,
        encoded_len: usize,
    ) {
        if self.open.as_ref().is_some_and(|open| !self.has_room(open, timestamp, encoded_len)) {
            self.close();
        }
        let buffer = &mut self.filled.buffer;
        let open = self.open.get_or_insert_with(|| Open {
            builder: BatchBuilder::begin(buffer, offset, timestamp),
            first_timestamp: timestamp,
        });
        open.builder.push(buffer, offset, timestamp, parts);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.open = None;
        self.filled.buffer.clear();
        self.filled.batches.clear();
    }

    /// Closes the open batch and gives out all there is, in exchange for an emptied buffer.
    pub fn take(&mut self, mut emptied: Filled) -> Filled {
        self.close();
        emptied.buffer.clear();
        emptied.buffer.shrink_to(KEEP_CAPACITY);
        emptied.batches.clear();
        std::mem::replace(&mut self.filled, emptied)
    }

    fn has_room(&self, open: &Open, timestamp: Timestamp, encoded_len: usize) -> bool {
        let fits = open.builder.size(&self.filled.buffer) + max_record_size(encoded_len) <= self.batch_limit;
        // All records of a batch share one append time, which each of them was told when it was sent.
        let same_time = match self.timestamp_type {
            TimestampType::CreateTime => true,
            TimestampType::LogAppendTime => timestamp == open.first_timestamp,
        };
        fits && same_time
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let mut batch = open.builder.finish(&self.filled.buffer);
            batch.header.attributes = Attributes::new(self.timestamp_type);
            self.filled.batches.push(batch);
        }
    }
}
