//! The records of a partition that share the next batch.

use ottla::{Offset, Partition, PartitionId, Record, TopicProducer};

use crate::failure::Failure;

/// Of a batch, the header; of a record, the most that its numbers take.
const BATCH_OVERHEAD: usize = 61;
const RECORD_OVERHEAD: usize = 32;

/// A batch that is sent whole or not at all, and only to the offset behind the batch before it.
pub struct Pending {
    partition: PartitionId,
    expected: Offset,
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    records: Vec<Sizes>,
    most: usize,
}

struct Sizes {
    key: Option<usize>,
    value: usize,
}

impl Pending {
    /// `most`: the size of a batch, in bytes, above which there is no room for a second record.
    pub fn new(partition: &Partition, most: usize) -> Self {
        Self {
            partition: partition.id(),
            expected: partition.log_end_offset(),
            bytes: Vec::new(),
            records: Vec::new(),
            most,
        }
    }

    /// Whether it holds a record that can share a batch with no other.
    pub fn is_oversized(&self) -> bool {
        self.size() > self.most
    }

    pub fn has_room_for(&self, key: Option<&[u8]>, value: &[u8]) -> bool {
        self.size() + RECORD_OVERHEAD + key.map_or(0, <[u8]>::len) + value.len() <= self.most
    }

    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8]) {
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value);
        self.records.push(Sizes { key: key.map(<[u8]>::len), value: value.len() });
    }

    /// Nobody waits for the records: whoever needs to know flushes.
    pub fn send(&mut self, producer: &TopicProducer) -> Result<(), Failure> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut rest = self.bytes.as_slice();
        let mut records: Vec<_> =
            self.records.iter().map(|sizes| sizes.cut_off(&mut rest, self.partition)).collect();
        if let Some(first) = records.first_mut() {
            *first = std::mem::take(first).expected_offset(self.expected);
        }
        _ = producer.send_batch(&records)?;
        self.expected += records.len() as Offset;
        drop(records);
        self.bytes.clear();
        self.records.clear();
        Ok(())
    }

    fn size(&self) -> usize {
        BATCH_OVERHEAD + self.bytes.len() + self.records.len() * RECORD_OVERHEAD
    }
}

impl Sizes {
    fn cut_off<'a>(&self, bytes: &mut &'a [u8], partition: PartitionId) -> Record<'a> {
        let mut cut = |len: usize| bytes.split_off(..len).unwrap_or_default();
        let key = self.key.map(&mut cut);
        let record = Record::new(cut(self.value)).partition(partition);
        match key {
            Some(key) => record.key(key),
            None => record,
        }
    }
}
