//! A topic: the handle that users hold.

use std::fmt;
use std::sync::Arc;

use super::closing::Lease;
use super::partition::Partition;
use super::topic_logs::TopicLogs;
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PartitionId, TopicId};
use crate::partition_log::PartitionLog;
use crate::partitioner::{StickyPartitioner, partition_for_key};

/// A topic of an open [`Broker`](crate::Broker); clones are cheap, and keep the broker open.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-topic-{}", std::process::id()));
/// use ottla::{Broker, TopicConfig};
/// let broker = Broker::open(&dir)?;
/// let orders = broker.create_topic("orders", TopicConfig::new().partitions(3))?;
/// assert_eq!((orders.name(), orders.partition_count()), ("orders", 3));
/// assert_eq!(orders.partition(2)?.high_watermark(), 0);
/// # drop((orders, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone)]
pub struct Topic {
    broker: Arc<Lease>,
    logs: Arc<TopicLogs>,
}

impl Topic {
    pub(super) fn new(broker: Arc<Lease>, logs: Arc<TopicLogs>) -> Self {
        Self { broker, logs }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.logs.name.as_str()
    }

    /// The identity; a topic that is created again under the same name has another one.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.logs.id
    }

    /// The configuration of this moment, as it is stored with the topic;
    /// [`alter_topic`](crate::Broker::alter_topic) changes it.
    #[must_use]
    pub fn config(&self) -> TopicConfig {
        self.logs.config()
    }

    /// How many partitions the topic has at this moment, numbered from 0: they can become
    /// [more](crate::Broker::alter_topic), and never fewer.
    #[must_use]
    pub fn partition_count(&self) -> PartitionId {
        self.logs.logs.count()
    }

    /// A partition.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownTopicOrPartition`] if the topic has not so many.
    pub fn partition(&self, partition: PartitionId) -> Result<Partition> {
        self.log(partition).map(|log| Partition::new(Arc::clone(&self.broker), Arc::clone(log)))
    }

    /// The partition to which records with this key go, as Kafka's Java client chooses it (murmur2). Where partitions
    /// are [added](crate::Broker::alter_topic) it is another one for most keys.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-key-{}", std::process::id()));
    /// use ottla::{Broker, Record, TopicConfig};
    /// let broker = Broker::open(&dir)?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
    /// let partition = orders.partition_for_key("order-42")?;
    /// let record = Record::new("placed").key("order-42").expected_offset(partition.log_end_offset());
    /// assert_eq!(orders.producer().send(record)?.wait()?.partition(), partition.id());
    /// # drop((orders, partition, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// None that a topic of an open broker can have.
    pub fn partition_for_key<K: AsRef<[u8]> + ?Sized>(&self, key: &K) -> Result<Partition> {
        self.partition(partition_for_key(key.as_ref(), self.partition_count()))
    }

    /// Every partition of this moment, in order.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        self.logs.logs.iter().map(|log| Partition::new(Arc::clone(&self.broker), Arc::clone(log)))
    }

    pub(crate) fn log(&self, partition: PartitionId) -> Result<&Arc<PartitionLog>> {
        self.logs.logs.get(partition).ok_or_else(|| {
            let count = self.partition_count();
            Error::new(ErrorKind::UnknownTopicOrPartition, "there is no such partition")
                .in_partition(self.name(), partition)
                .advise(format!("the topic has {count}, numbered from 0"))
        })
    }

    /// Fails for the topics that users cannot write to.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.logs.name.check_writable()
    }

    /// The size up to which records share a batch, in bytes.
    pub(crate) fn batch_size(&self) -> usize {
        self.broker.env.options.batch_size
    }

    pub(crate) fn sticky(&self) -> &StickyPartitioner {
        &self.logs.sticky
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name()).field("id", &self.id()).finish_non_exhaustive()
    }
}
