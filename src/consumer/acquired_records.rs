//! Records that were acquired: each is settled by whoever has it.

use std::fmt;
use std::sync::Arc;

use super::share_partition::SharePartition;
use crate::error::Result;
use crate::group::Acquisition;
use crate::model::{LeaderEpoch, Offset, PartitionId, Timestamp};
use crate::record_batch::{OwnedHeader, OwnedRecord};

/// What [`Consumer::acquire`](crate::Consumer::acquire) hands out; iterate over it to take the records. Those that are not taken
/// are released when it is dropped.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-acquired-records-{}", std::process::id()));
/// # use {ottla::{Broker, Record, TopicConfig}, std::time::Duration};
/// # let broker = Broker::open(&dir)?;
/// # let orders = broker.ensure_topic("orders", TopicConfig::new())?;
/// orders.producer().send_batch(&[Record::new("tea"), Record::new("cake")])?.wait()?;
/// let mut consumer = broker.consumer().group("kitchen").subscribe(["orders"])?;
/// for order in consumer.acquire(Duration::from_secs(1))? {
///     match order.value() {
///         Some(b"tea") => order.accept()?,
///         _ => drop(order), // as a panic would
///     }
/// }
/// // What was dropped comes again.
/// let orders = consumer.acquire(Duration::from_secs(1))?;
/// assert_eq!(orders.len(), 1);
/// assert!(orders.iter().all(|order| order.value() == Some(b"cake") && order.delivery_count() == 2));
/// # drop((orders, consumer, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "records that are dropped are released, and come again"]
pub struct AcquiredRecords {
    records: Vec<AcquiredRecord>,
}

/// A record that is yours until you [accept](Self::accept), [release](Self::release) or [reject](Self::reject) it, on any thread.
/// One that is dropped, by a panic say, is released.
///
/// What was settled is committed by the consumer, in its [`acquire`](crate::Consumer::acquire) and
/// [`commit`](crate::Consumer::commit).
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-acquired-record-{}", std::process::id()));
/// # use {ottla::{AcquiredRecord, Broker, Record, Result, TopicConfig}, std::time::Duration};
/// # fn cook(_: Option<&[u8]>) -> Result<(), &'static str> { Err("no oven") }
/// # let broker = Broker::open(&dir)?;
/// # let orders = broker.ensure_topic("orders", TopicConfig::new())?;
/// # let dead = broker.ensure_topic("orders.dead", TopicConfig::new())?;
/// # orders.producer().send(Record::new("cake"))?.wait()?;
/// /// Tries twice what may go better the second time.
/// fn work(order: AcquiredRecord) -> Result<()> {
///     match cook(order.value()) {
///         Ok(()) => order.accept(),
///         Err(_) if order.delivery_count() < 2 => order.release(),
///         Err(reason) => order.reject(reason),
///     }
/// }
///
/// let mut consumer = broker.consumer().group("kitchen").dead_letter_topic("orders.dead").subscribe(["orders"])?;
/// for _ in 0..2 {
///     consumer.acquire(Duration::from_secs(1))?.into_iter().try_for_each(work)?;
/// }
/// consumer.commit()?;
/// assert_eq!(dead.partition(0)?.high_watermark(), 1);
/// # drop((orders, dead, consumer, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[must_use = "a record that is dropped is released, and comes again"]
pub struct AcquiredRecord {
    partition: Arc<SharePartition>,
    record: Arc<OwnedRecord>,
    delivery_count: u32,
    is_settled: bool,
}

impl AcquiredRecords {
    pub(super) fn new(records: Vec<AcquiredRecord>) -> Self {
        Self { records }
    }

    /// True if there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The records, which stay where they are; those of a partition in the order of their offsets.
    pub fn iter(&self) -> std::slice::Iter<'_, AcquiredRecord> {
        self.records.iter()
    }
}

impl IntoIterator for AcquiredRecords {
    type Item = AcquiredRecord;
    type IntoIter = std::vec::IntoIter<AcquiredRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl<'a> IntoIterator for &'a AcquiredRecords {
    type Item = &'a AcquiredRecord;
    type IntoIter = std::slice::Iter<'a, AcquiredRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl AcquiredRecord {
    pub(super) fn new(partition: Arc<SharePartition>, acquired: Acquisition<Arc<OwnedRecord>>) -> Self {
        let Acquisition { record, delivery_count, .. } = acquired;
        Self { partition, record, delivery_count, is_settled: false }
    }

    /// The record is done with: once all before it in its partition are settled, the consumer commits it, and it never comes again.
    /// Where the consumer could not commit it any more, its next [`acquire`](crate::Consumer::acquire) or
    /// [`commit`](crate::Consumer::commit) says so.
    ///
    /// # Errors
    /// [`InvalidRecordState`](crate::ErrorKind::InvalidRecordState) if the record is not the consumer's any more: its partition was
    /// revoked or lost, the consumer was dropped or has [sought](crate::Consumer::seek) elsewhere. Nothing of it is committed; whoever
    /// has the partition is given it again.
    pub fn accept(self) -> Result<()> {
        let offset = self.offset();
        self.settle(|partition| partition.settle(offset, |in_flight| in_flight.accept(offset)))
    }

    /// The record comes again, before anything of its partition that was not handed out yet, unless it has come as often [as it
    /// may](crate::ConsumerBuilder::delivery_count_limit): then it is rejected.
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    pub fn release(self) -> Result<()> {
        let offset = self.offset();
        self.settle(|partition| partition.settle(offset, |in_flight| in_flight.release(offset)))
    }

    /// The record is not to come again: it goes to the [dead-letter topic](crate::ConsumerBuilder::dead_letter_topic), with the
    /// reason; the consumer brings it there, in its [`acquire`](crate::Consumer::acquire) and [`commit`](crate::Consumer::commit), and
    /// before it gives the partition up. Until it is there nothing behind it is committed, and if it never gets there, after a crash say,
    /// it comes again.
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    pub fn reject(self, reason: &str) -> Result<()> {
        let offset = self.offset();
        self.settle(|partition| partition.settle(offset, |in_flight| in_flight.reject(offset, reason)))
    }

    fn settle(mut self, settle: impl FnOnce(&SharePartition) -> Result<()>) -> Result<()> {
        self.is_settled = true;
        settle(&self.partition)
    }

    /// How often the record was handed out, with this time: 1 the first time. It counts on when the broker is opened anew, also
    /// after a crash.
    #[must_use]
    pub fn delivery_count(&self) -> u32 {
        self.delivery_count
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.partition.log().topic()
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition.log().partition()
    }

    /// The number of the record in its partition.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.record.offset
    }

    /// The leadership of the partition under which the record was appended, if its batch names one.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.record.leader_epoch
    }

    /// Milliseconds since the Unix epoch; `None` if the record has none.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.record.timestamp
    }

    /// The key; `None` for a null key, which is another thing than an empty one.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.record.key.as_deref()
    }

    /// The value; `None` for a null value, a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.record.value.as_deref()
    }

    /// The headers, in the order in which they were added.
    #[must_use]
    pub fn headers(&self) -> &[OwnedHeader] {
        &self.record.headers
    }
}

impl Drop for AcquiredRecord {
    fn drop(&mut self) {
        if !self.is_settled {
            let offset = self.offset();
            // If it is not the consumer's any more, it comes again anyway.
            _ = self.partition.settle(offset, |in_flight| in_flight.release(offset));
        }
    }
}

impl fmt::Debug for AcquiredRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquiredRecord")
            .field("partition", &self.partition)
            .field("delivery_count", &self.delivery_count)
            .field("record", &self.record)
            .finish()
    }
}
