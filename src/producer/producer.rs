//! The producer: chooses a partition, and hands the record over.

use std::sync::Arc;

use super::Delivery;
use crate::broker::{Broker, Topic};
use crate::error::{Error, ErrorKind, Result, worse};
use crate::model::{Compression, PartitionId, Record};
use crate::partition_log::{IfFull, Reach};
use crate::partitioner::partition_for_key;

/// Sends records to the topics of a [`Broker`]; clones are cheap, and every thread may send. A topic of another
/// broker is sent to as well; only [`flush`](Self::flush) is this broker's.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-producer-{}", std::process::id()));
/// use ottla::{Broker, Record, TopicConfig};
/// let broker = Broker::open(&dir)?;
/// let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
/// let producer = broker.producer();
///
/// // One at a time: every record waits for the disk.
/// producer.send(&orders, Record::new("paid").key("order-42"))?.wait()?;
///
/// // Many at a time: one sync makes many of them durable.
/// let deliveries: Vec<_> = (0..100)
///     .map(|number| producer.send(&orders, Record::new(&format!("event {number}")).partition(0)))
///     .collect::<Result<_, _>>()?;
/// for delivery in deliveries {
///     delivery.wait()?;
/// }
/// # drop((orders, producer, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    /// For `flush`, and keeps the broker open.
    broker: Broker,
    settings: Settings,
}

/// A [`Producer`] bound to one topic; made by [`Topic::producer`].
#[derive(Clone, Debug)]
pub struct TopicProducer {
    topic: Topic,
    settings: Settings,
}

/// What a producer asks for.
#[derive(Clone, Copy, Debug)]
struct Settings {
    reach: Reach,
    /// Where the topic leaves it to the producer.
    compression: Compression,
}

impl Producer {
    /// Has every delivery and every flush of this producer wait for stable storage, also where the topic's
    /// [durability](crate::Durability) asks for less.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-synced-{}", std::process::id()));
    /// use ottla::{Broker, Durability, Record, TopicConfig};
    /// let broker = Broker::open(&dir)?;
    /// let clicks = broker.ensure_topic("clicks", TopicConfig::new().durability(Durability::Os))?;
    /// let producer = broker.producer();
    /// producer.send(&clicks, Record::new("one"))?.wait()?; // the operating system has it
    /// producer.clone().synced().send(&clicks, Record::new("bought"))?.wait()?; // the disk has it, and all before
    /// # drop((clicks, producer, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn synced(self) -> Self {
        Self { settings: self.settings.synced(), ..self }
    }

    /// Has the records of this producer compressed where a topic's
    /// [`compression.type`](crate::TopicConfig::compression_type) leaves that to the producer. Default:
    /// [`Compression::None`] (Kafka's `compression.type` of the producer).
    ///
    /// Records that wait together are compressed together, when their batch is written; those of producers with different
    /// codecs never share a batch. The sender compresses a [batch](Self::send_batch) of his own, and a record that is
    /// larger than a batch may be.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-producer-codec-{}", std::process::id()));
    /// use ottla::{Broker, Compression, Record, TopicConfig};
    /// let broker = Broker::open(&dir)?;
    /// let clicks = broker.ensure_topic("clicks", TopicConfig::new())?;
    /// // The best that this build has.
    /// let codecs = [Compression::Zstd, Compression::Lz4, Compression::None];
    /// let codec = codecs.into_iter().find(|codec| codec.is_available()).unwrap_or_default();
    /// let producer = broker.producer().compression(codec)?;
    /// producer.send(&clicks, Record::new(&[b'.'; 1000]))?.wait()?;
    /// # drop((clicks, producer, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`UnsupportedCompressionType`](crate::ErrorKind::UnsupportedCompressionType) if this build does not have the codec.
    pub fn compression(self, compression: Compression) -> Result<Self> {
        Ok(Self { settings: self.settings.compression(compression)?, ..self })
    }

    /// Gives the record an offset, and returns at once: nothing is acknowledged before
    /// [`Delivery::wait`] has returned.
    ///
    /// The partition is the record's own, or its key's, or without a key one that changes with every batch's
    /// worth of bytes. Records of one sender keep their order in a partition.
    ///
    /// It leaves, with what else has gathered, when a batch is full, when somebody waits or flushes, and at the latest
    /// after a millisecond. While the broker's [buffer memory](crate::BrokerOptions::buffer_memory) is full, it waits
    /// for room; [`try_send`](Self::try_send) never does.
    ///
    /// # Errors
    /// Nothing was written: [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition),
    /// [`InvalidTopic`](crate::ErrorKind::InvalidTopic) for one of Kafka's own topics,
    /// [`MessageTooLarge`](crate::ErrorKind::MessageTooLarge),
    /// [`InvalidTimestamp`](crate::ErrorKind::InvalidTimestamp),
    /// [`UnexpectedOffset`](crate::ErrorKind::UnexpectedOffset) of a conditional record,
    /// [`UnsupportedCompressionType`](crate::ErrorKind::UnsupportedCompressionType) of a topic that asks for a codec which
    /// this build does not have,
    /// [`InvalidRecord`](crate::ErrorKind::InvalidRecord) of one that chooses no partition among several,
    /// [`BufferExhausted`](crate::ErrorKind::BufferExhausted) if there was no room for
    /// [so long](crate::BrokerOptions::max_block), [`Closed`](crate::ErrorKind::Closed), or
    /// [`StorageError`](crate::ErrorKind::StorageError) because an earlier write or sync has failed.
    pub fn send(&self, topic: &Topic, record: Record<'_>) -> Result<Delivery> {
        send(topic, &record, self.settings, IfFull::Wait)
    }

    /// The same, but never blocks: for async code, and for threads that have a deadline.
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`BufferExhausted`](crate::ErrorKind::BufferExhausted) at once while the buffer
    /// memory is full: await some of the deliveries, and send again.
    pub fn try_send(&self, topic: &Topic, record: Record<'_>) -> Result<Delivery> {
        send(topic, &record, self.settings, IfFull::Fail)
    }

    /// Gives the records offsets one behind the other: all of them or none, also after a crash. Nobody's records
    /// come between them, and readers see all of them at once.
    ///
    /// They go to one partition: that of those which choose one, by number or by key. An
    /// [expected offset](Record::expected_offset) stands best on the first; a record further back is held to its own
    /// place, and one that is refused refuses all.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-send-batch-{}", std::process::id()));
    /// use ottla::{Broker, Record, TopicConfig};
    /// let broker = Broker::open(&dir)?;
    /// let transfers = broker.ensure_topic("transfers", TopicConfig::new())?;
    /// let both = [Record::new("anna -7").expected_offset(0), Record::new("ben +7")];
    /// let metadata = broker.producer().send_batch(&transfers, &both)?.wait()?;
    /// assert_eq!((metadata.offset(), metadata.last_offset()), (0, 1));
    /// # drop((transfers, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`InvalidRecord`](crate::ErrorKind::InvalidRecord) for no records at all, or
    /// records of different partitions.
    pub fn send_batch(&self, topic: &Topic, records: &[Record<'_>]) -> Result<Delivery> {
        send_batch(topic, records, self.settings)
    }

    /// Returns once everything that was sent to any topic before, by anybody, is acknowledged as its topic's
    /// [durability](crate::Durability) says; of a [synced](Self::synced) producer, once it is on stable storage.
    ///
    /// # Errors
    /// The first failure, of this call or since the last flush, whoever's it was: nobody may have waited for the
    /// record. Who shares a partition with others learns from [`Delivery::wait`] what became of his own.
    pub fn flush(&self) -> Result<()> {
        // Every topic, whatever becomes of one of them.
        self.broker.topics()?.iter().map(|topic| flush(topic, self.settings.reach)).fold(Ok(()), worse)
    }
}

impl TopicProducer {
    /// Has every delivery and every flush of this producer wait for stable storage; see [`Producer::synced`].
    #[must_use]
    pub fn synced(self) -> Self {
        Self { settings: self.settings.synced(), ..self }
    }

    /// Has the records of this producer compressed where the topic leaves that to the producer; see
    /// [`Producer::compression`].
    ///
    /// # Errors
    /// Those of [`Producer::compression`].
    pub fn compression(self, compression: Compression) -> Result<Self> {
        Ok(Self { settings: self.settings.compression(compression)?, ..self })
    }

    /// Gives the record an offset, and returns at once; see [`Producer::send`].
    ///
    /// # Errors
    /// Those of [`Producer::send`].
    pub fn send(&self, record: Record<'_>) -> Result<Delivery> {
        send(&self.topic, &record, self.settings, IfFull::Wait)
    }

    /// The same, but never blocks; see [`Producer::try_send`].
    ///
    /// # Errors
    /// Those of [`Producer::try_send`].
    pub fn try_send(&self, record: Record<'_>) -> Result<Delivery> {
        send(&self.topic, &record, self.settings, IfFull::Fail)
    }

    /// Gives the records offsets one behind the other: all of them or none; see [`Producer::send_batch`].
    ///
    /// # Errors
    /// Those of [`Producer::send_batch`].
    pub fn send_batch(&self, records: &[Record<'_>]) -> Result<Delivery> {
        send_batch(&self.topic, records, self.settings)
    }

    /// Returns once everything that was sent to the topic before, by anybody, is acknowledged as its
    /// [durability](crate::Durability) says; of a [synced](Self::synced) producer, once it is on stable storage.
    ///
    /// # Errors
    /// The first failure, of this call or since the last flush, whoever's it was: nobody may have waited for the
    /// record. Who shares a partition with others learns from [`Delivery::wait`] what became of his own.
    pub fn flush(&self) -> Result<()> {
        flush(&self.topic, self.settings.reach)
    }
}

impl Settings {
    fn synced(self) -> Self {
        Self { reach: Reach::Durable, ..self }
    }

    fn compression(self, compression: Compression) -> Result<Self> {
        compression.check().map(|()| Self { compression, ..self })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { reach: Reach::Written, compression: Compression::None }
    }
}

impl Broker {
    /// A producer for every topic.
    #[must_use]
    pub fn producer(&self) -> Producer {
        Producer { broker: self.clone(), settings: Settings::default() }
    }
}

impl Topic {
    /// A producer for this topic.
    #[must_use]
    pub fn producer(&self) -> TopicProducer {
        TopicProducer { topic: self.clone(), settings: Settings::default() }
    }
}

fn send(topic: &Topic, record: &Record<'_>, settings: Settings, if_full: IfFull) -> Result<Delivery> {
    let log = topic.log(choose_partition(topic, std::slice::from_ref(record))?)?;
    let assigned = log.append(record, settings.compression, if_full)?;
    Ok(Delivery::new(Arc::clone(log), assigned, 1, settings.reach))
}

fn send_batch(topic: &Topic, records: &[Record<'_>], settings: Settings) -> Result<Delivery> {
    if records.is_empty() {
        return Err(Error::new(ErrorKind::InvalidRecord, "a batch needs a record").in_topic(topic.name()));
    }
    let log = topic.log(choose_partition(topic, records)?)?;
    let assigned = log.append_batch(records, settings.compression, IfFull::Wait)?;
    Ok(Delivery::new(Arc::clone(log), assigned, records.len(), settings.reach))
}

/// Every partition, whatever becomes of one of them; a topic that is deleted meanwhile has nothing to flush.
fn flush(topic: &Topic, reach: Reach) -> Result<()> {
    let flushed = topic.partitions().map(|partition| match partition.log().flush(reach) {
        Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition => Ok(()),
        outcome => outcome,
    });
    flushed.fold(Ok(()), worse)
}

/// The partition of records that go together: the one that all agree on who choose one, else a sticky one.
fn choose_partition(topic: &Topic, records: &[Record<'_>]) -> Result<PartitionId> {
    topic.check_writable()?;
    let partitions = topic.partition_count();
    let chosen = |record: &Record<'_>| match (record.partition, record.key) {
        (Some(partition), _) => Some(partition),
        (None, Some(key)) => Some(partition_for_key(key, partitions)),
        (None, None) => None,
    };
    let refuse = |what: &str| Err(Error::new(ErrorKind::InvalidRecord, what).in_topic(topic.name()));
    let mut choices = records.iter().filter_map(chosen);
    match choices.next() {
        Some(partition) if choices.all(|other| other == partition) => Ok(partition),
        Some(_) => refuse("the records of a batch belong to different partitions"),
        None if partitions == 1 => Ok(0),
        None if records.iter().any(|record| record.expected_offset.is_some()) => {
            refuse("a record with an expected offset needs a partition, by number or by key")
        }
        None => {
            let size = records.iter().map(Record::payload_len).sum();
            Ok(topic.sticky().partition_for(size, topic.batch_size(), partitions))
        }
    }
}
