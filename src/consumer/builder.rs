//! What a consumer reads.

use std::time::Duration;

use super::Consumer;
use super::assigned::Limits;
use super::subscribed::Subscribed;
use crate::broker::{Broker, MembershipSettings, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::group::Assignor;
use crate::model::Isolation;

/// The settings of a [`Consumer`]; made by [`Broker::consumer`].
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    broker: Broker,
    limits: Limits,
    isolation: Isolation,
    group: Option<String>,
    membership: MembershipSettings,
}

impl Broker {
    /// The settings with which to make a consumer.
    #[must_use]
    pub fn consumer(&self) -> ConsumerBuilder {
        let limits = Limits { bytes: FETCH_MAX_BYTES, records: usize::MAX };
        let membership = MembershipSettings {
            assignor: Assignor::CooperativeSticky,
            max_poll_interval: MAX_POLL_INTERVAL,
        };
        let (broker, isolation) = (self.clone(), Isolation::default());
        ConsumerBuilder { broker, limits, isolation, group: None, membership }
    }
}

/// The default of [`ConsumerBuilder::fetch_max_bytes`].
const FETCH_MAX_BYTES: usize = 1024 * 1024;
/// The default of [`ConsumerBuilder::max_poll_interval`].
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);

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

    /// The group of the consumer (Kafka: `group.id`): those of one group share the records of the topics that they
    /// [subscribe](Self::subscribe) to, and what the group has [committed](Consumer::commit) is where it goes on, also after the
    /// broker was opened anew. A group that has committed nothing begins at the log start.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        self.group = Some(name.to_owned());
        self
    }

    /// How long the consumer may go without polling until its partitions are given to others (Kafka: `max.poll.interval.ms`), and
    /// how long the others wait for it when they are shared out anew. Default: 300 s.
    #[must_use]
    pub fn max_poll_interval(mut self, most: Duration) -> Self {
        self.membership.max_poll_interval = most;
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
        self.check()?;
        if self.group.is_some() {
            let error =
                Error::new(ErrorKind::InvalidConfig, "a consumer in a group is assigned partitions by it");
            return Err(error.advise("subscribe to topics, or leave the group out"));
        }
        Consumer::assign(self.broker, self.limits, self.isolation, partitions)
    }

    /// A consumer that shares these topics with the others in its [group](Self::group): it is assigned partitions of them with its
    /// first poll, and others when consumers come and go.
    ///
    /// # Errors
    /// [`InvalidGroupId`](crate::ErrorKind::InvalidGroupId) without a group;
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a topic that does not exist;
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for no topics, or for polls of no records;
    /// [`Closed`](crate::ErrorKind::Closed); those of reading what groups have committed, for the first of them.
    pub fn subscribe<T: AsRef<str>>(self, topics: impl IntoIterator<Item = T>) -> Result<Consumer> {
        self.check()?;
        let topics = topics.into_iter().map(|name| Ok(self.broker.topic(name.as_ref())?.name().into()));
        let topics = topics.collect::<Result<std::collections::BTreeSet<_>>>()?;
        if topics.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "the consumer subscribes to no topic"));
        }
        let group = self.group.unwrap_or_default();
        let mut consumer = Consumer::idle(self.broker, self.limits, self.isolation)?;
        let signal = consumer.wakeup.signal();
        let subscribed = Subscribed::new(&consumer.broker, &group, self.membership, topics, signal)?;
        consumer.group = Some(Box::new(subscribed));
        Ok(consumer)
    }

    fn check(&self) -> Result<()> {
        if self.limits.records == 0 {
            let error = Error::new(ErrorKind::InvalidConfig, "max.poll.records is 0");
            return Err(error.advise("a poll hands out at least one record: raise it, or leave it out"));
        }
        Ok(())
    }
}
