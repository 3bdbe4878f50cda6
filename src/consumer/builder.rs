//! What a consumer reads.

use super::Consumer;
use super::assigned::Limits;
use crate::broker::{Broker, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Isolation;

/// The settings of a [`Consumer`]; made by [`Broker::consumer`].
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    broker: Broker,
    limits: Limits,
    isolation: Isolation,
}

impl Broker {
    /// The settings with which to make a consumer.
    #[must_use]
    pub fn consumer(&self) -> ConsumerBuilder {
        let limits = Limits { bytes: FETCH_MAX_BYTES, records: usize::MAX };
        ConsumerBuilder { broker: self.clone(), limits, isolation: Isolation::default() }
    }
}

/// The default of [`ConsumerBuilder::fetch_max_bytes`].
const FETCH_MAX_BYTES: usize = 1024 * 1024;

impl ConsumerBuilder {
    /// How many bytes of record batches a poll hands out before it stops looking for more; at least one batch, and never
    /// more than that many bytes and one batch (Kafka: `fetch.max.bytes`). Compressed batches count as what they hold in
    /// memory, decompressed. Default: 1 MiB.
    #[must_use]
    pub fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How many records a poll hands out at most; where that ends inside a batch, the next poll goes on there without
    /// reading it again (Kafka: `max.poll.records`). At least 1. Default: unlimited.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-max-poll-{}", std::process::id()));
    /// # use {ottla::{Broker, Record, TopicConfig}, std::time::Duration};
    /// # let broker = Broker::open(&dir)?;
    /// # let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// orders.producer().send_batch(&[Record::new("a"), Record::new("b"), Record::new("c")])?.wait()?;
    /// let mut consumer = broker.consumer().max_poll_records(2).assign(orders.partitions())?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 2);
    /// assert_eq!(consumer.position(&orders.partition(0)?)?.offset(), 2);
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
    /// # drop((consumer, orders, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.limits.records = records;
        self
    }

    /// Which records of transactions a poll hands out (Kafka: `isolation.level`). Default:
    /// [`Isolation::ReadCommitted`] (Kafka: `read_uncommitted`).
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// A consumer of these partitions, which begins at each log start offset. A partition that is named twice
    /// is read once.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for no partitions, or for polls of no records;
    /// [`Closed`](crate::ErrorKind::Closed);
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a topic that was deleted.
    pub fn assign(self, partitions: impl IntoIterator<Item = Partition>) -> Result<Consumer> {
        if self.limits.records == 0 {
            let error = Error::new(ErrorKind::InvalidConfig, "max.poll.records is 0");
            return Err(error.advise("a poll hands out at least one record: raise it, or leave it out"));
        }
        Consumer::assign(self.broker, self.limits, self.isolation, partitions)
    }
}
