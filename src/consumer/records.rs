//! What a poll hands out.

use std::fmt;
use std::sync::Arc;

use crate::group::Generation;
use crate::model::{LeaderEpoch, Offset, PartitionId, Position, Timestamp};
use crate::partition_log::PartitionLog;
use crate::record_batch::{Headers, OwnedRecord, RecordBatch, RecordView, Records};

/// The records of one [`poll`](crate::Consumer::poll): owns the bytes that were read, and lends the records.
#[derive(Default)]
pub struct ConsumerRecords {
    batches: Vec<Fetched>,
}

/// A batch, its partition, and the generation in which the consumer was given that.
type Fetched = (Arc<PartitionLog>, RecordBatch, Generation);

impl ConsumerRecords {
    pub(super) fn push(&mut self, log: &Arc<PartitionLog>, batch: RecordBatch, generation: Generation) {
        self.batches.push((Arc::clone(log), batch, generation));
    }

    /// True if there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Readers pass over batches without records.
        self.batches.is_empty()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.iter().map(|(_, batch, _)| batch.iter().size_hint().0).sum()
    }

    /// The records; those of a partition in the order of their offsets.
    #[must_use]
    pub fn iter(&self) -> ConsumerRecordIter<'_> {
        ConsumerRecordIter { batches: self.batches.iter(), current: None }
    }
}

impl fmt::Debug for ConsumerRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a ConsumerRecords {
    type Item = ConsumerRecord<'a>;
    type IntoIter = ConsumerRecordIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The records of a poll, an iterator.
#[derive(Clone)]
pub struct ConsumerRecordIter<'a> {
    batches: std::slice::Iter<'a, Fetched>,
    current: Option<(&'a PartitionLog, Records<'a>, Generation)>,
}

impl fmt::Debug for ConsumerRecordIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> Iterator for ConsumerRecordIter<'a> {
    type Item = ConsumerRecord<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((log, records, generation)) = &mut self.current
                && let Some(record) = records.next()
            {
                let (topic, partition, generation) = (log.topic(), log.partition(), *generation);
                return Some(ConsumerRecord { topic, partition, record, generation });
            }
            let (log, batch, generation) = self.batches.next()?;
            self.current = Some((log, batch.iter(), *generation));
        }
    }
}

/// A record with the partition that it was read from; borrows its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerRecord<'a> {
    topic: &'a str,
    partition: PartitionId,
    record: RecordView<'a>,
    /// In which the consumer was given the partition.
    generation: Generation,
}

impl<'a> ConsumerRecord<'a> {
    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// The number of the record in its partition.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.record.offset()
    }

    /// The leadership of the partition under which the record was appended, if its batch names one.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.record.leader_epoch()
    }

    /// The place behind the record: [`Start::Resume`](crate::Start::Resume) reads on from there.
    #[must_use]
    pub fn position(&self) -> Position {
        self.record.position()
    }

    /// Milliseconds since the Unix epoch; `None` if the record has none.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.record.timestamp()
    }

    /// The key; `None` for a null key, which is another thing than an empty one.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.record.key()
    }

    /// The value; `None` for a null value, a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.record.value()
    }

    /// The record without its place.
    #[must_use]
    pub fn view(&self) -> RecordView<'a> {
        self.record
    }

    /// The headers, in the order in which they were added.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        self.record.headers()
    }

    /// The value of the last header with this name; the inner `None` is a null value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.record.header(name)
    }

    /// A copy of the record that owns its bytes.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        self.record.to_owned()
    }
}
