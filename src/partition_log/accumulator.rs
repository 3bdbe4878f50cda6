//! The records that were taken and not yet written: batches in one buffer, the last of them still open.
//!
//! It lies under the append lock, so it only copies; headers and checksums are made when the batches are taken
//! out, outside that lock.

use std::sync::Arc;

use super::buffer::{BufferMemory, Held};
use crate::config::{CompressionLevels, TopicConfig};
use crate::error::Result;
use crate::model::{Compression, Offset, Timestamp, TimestampType};
use crate::record_batch::{Attributes, BatchBuilder, Codecs, PendingBatch, RecordParts, max_record_size};

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
    kind: BatchKind,
}

/// What all records of a batch have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchKind {
    pub timestamp_type: TimestampType,
    pub compression: Compression,
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

    /// Adds a record; `encoded_len` is that of `parts`. A record of another kind begins another batch.
    pub fn push(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        kind: BatchKind,
        parts: &RecordParts<'_>,
        encoded_len: usize,
    ) {
        let fits = |open: &Open| open.kind == kind && self.has_room(open, timestamp, encoded_len);
        if self.open.as_ref().is_some_and(|open| !fits(open)) {
            self.close();
        }
        let buffer = &mut self.filled.buffer;
        let before = buffer.len();
        let open = self.open.get_or_insert_with(|| Open {
            builder: BatchBuilder::begin(buffer, offset, timestamp),
            first_timestamp: timestamp,
            kind,
        });
        open.builder.push(buffer, offset, timestamp, parts);
        self.held.add(buffer.len().saturating_sub(before));
    }

    /// Adds a batch as it is, behind the open one; returns the greatest timestamp of its records.
    pub fn push_batch(&mut self, base_offset: Offset, batch: EncodedBatch) -> Timestamp {
        self.close();
        let EncodedBatch { buffer, builder, timestamp_type, compression, .. } = batch;
        let Some(builder) = builder else { return -1 };
        let mut pending = builder.finish(&buffer);
        let start = self.filled.buffer.len();
        self.filled.buffer.extend_from_slice(&buffer);
        self.held.add(buffer.len());
        pending.bytes = start..self.filled.buffer.len();
        pending.header.base_offset = base_offset;
        pending.header.attributes = Attributes::new(timestamp_type).with_compression(compression);
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
        let same_time = match open.kind.timestamp_type {
            TimestampType::CreateTime => true,
            TimestampType::LogAppendTime => timestamp == open.first_timestamp,
        };
        fits && same_time
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let mut batch = open.builder.finish(&self.filled.buffer);
            batch.header.attributes = Attributes::new(open.kind.timestamp_type);
            batch.compression = open.kind.compression;
            self.filled.batches.push(batch);
        }
    }
}

impl Filled {
    /// Compresses the batches that are to be, where that makes them smaller; `packed` is room that is used again.
    pub fn compress(
        &mut self,
        levels: CompressionLevels,
        codecs: &Codecs,
        packed: &mut Vec<u8>,
    ) -> Result<()> {
        if self.batches.iter().all(|batch| batch.compression == Compression::None) {
            return Ok(());
        }
        packed.clear();
        for batch in &mut self.batches {
            let plain = self.buffer.get(batch.bytes.clone()).unwrap_or_default();
            let (start, header) = (packed.len(), &mut batch.header);
            if codecs.pack(batch.compression, levels, plain, packed)? {
                header.attributes = header.attributes.with_compression(batch.compression);
            } else {
                packed.extend_from_slice(plain);
            }
            (batch.bytes, header.size) = (start..packed.len(), packed.len() - start);
            batch.compression = Compression::None;
        }
        std::mem::swap(&mut self.buffer, packed);
        packed.shrink_to(KEEP_CAPACITY);
        Ok(())
    }
}

/// A record batch that was encoded before its offsets are known: they stand in its header alone.
#[derive(Debug)]
pub struct EncodedBatch {
    timestamp_type: TimestampType,
    /// What its records are compressed with.
    compression: Compression,
    buffer: Vec<u8>,
    builder: Option<BatchBuilder>,
    records: u64,
    append_time: Timestamp,
}

impl EncodedBatch {
    pub fn new(timestamp_type: TimestampType) -> Self {
        let (compression, buffer) = (Compression::None, Vec::new());
        Self { timestamp_type, compression, buffer, builder: None, records: 0, append_time: -1 }
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

    /// Compresses the records if that makes the batch smaller. Then it takes no more.
    pub fn compress(
        &mut self,
        compression: Compression,
        levels: CompressionLevels,
        codecs: &Codecs,
    ) -> Result<()> {
        let mut packed = Vec::new();
        if codecs.pack(compression, levels, &self.buffer, &mut packed)? {
            (self.buffer, self.compression) = (packed, compression);
        }
        Ok(())
    }

    /// In bytes, header included.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }
}
