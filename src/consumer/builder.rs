//! What a consumer reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Consumer;
use super::assigned::Limits;
use super::subscribed::{DeliverySettings, GroupSettings, OffsetReset, Subscribed, Subscription};
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
    group: GroupSettings,
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
        let delivery = DeliverySettings { count_limit: None, dead_letter_topic: None };
        let group = GroupSettings { group: None, membership, auto_commit: None, reset: None, delivery };
        ConsumerBuilder { broker, limits, isolation, group }
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
        self.group.group = Some(name.to_owned());
        self
    }

    /// How long the consumer may go without polling until its partitions are given to others (Kafka: `max.poll.interval.ms`), and
    /// how long the others wait for it when they are shared out anew. Default: 300 s.
    #[must_use]
    pub fn max_poll_interval(mut self, most: Duration) -> Self {
        self.group.membership.max_poll_interval = most;
        self
    }

    /// How the partitions are shared out (Kafka: `partition.assignment.strategy`); all in a group have to use the same one. Default:
    /// [`Assignor::CooperativeSticky`] (Kafka: `range`).
    #[must_use]
    pub fn assignor(mut self, assignor: Assignor) -> Self {
        self.group.membership.assignor = assignor;
        self
    }

    /// Has polls commit, each `interval`, what the polls before have handed out: whoever polls again is done with it (Kafka:
    /// `enable.auto.commit`). What is taken from the consumer is committed as well, and when it is dropped what was handed out
    /// before its last poll. Default: off, [`commit`](Consumer::commit) does it (Kafka: on, each 5 s).
    #[must_use]
    pub fn auto_commit(mut self, interval: Duration) -> Self {
        self.group.auto_commit = Some(interval);
        self
    }

    /// Where the consumer begins with partitions of which its group has committed nothing, or something that can no longer be read
    /// from (Kafka: `auto.offset.reset`). Default: at the log start where nothing is committed (Kafka: at the end), and else
    /// polls fail with [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) or
    /// [`LogTruncated`](crate::ErrorKind::LogTruncated) until a [`seek`](Consumer::seek).
    #[must_use]
    pub fn auto_offset_reset(mut self, reset: OffsetReset) -> Self {
        self.group.reset = Some(reset);
        self
    }

    /// How often a record is handed out that is [acquired](Consumer::acquire) and not accepted, until it is rejected (Kafka:
    /// `group.share.delivery.count.limit`). At least 1. Default: 5.
    #[must_use]
    pub fn delivery_count_limit(mut self, times: u32) -> Self {
        self.group.delivery.count_limit = Some(times);
        self
    }

    /// The topic to which records go that were [rejected](crate::AcquiredRecord::reject), or handed out [as often as they
    /// may](Self::delivery_count_limit) be (Kafka: `errors.deadletterqueue.topic.name`); it has to exist. Default: none, and
    /// [`acquire`](Consumer::acquire) says at such a record that it cannot go on.
    ///
    /// They keep key, value, headers and timestamp, and get headers more: `__dlq.errors.topic`, `.partition`, `.offset`, `.group`,
    /// `.delivery.count` and `.message`, which is the reason. They go to the partition with their own's number, modulo the count of
    /// partitions there. After a crash one may be there twice. A subscription [by pattern](Self::subscribe_matching) leaves the topic
    /// out, and one by name is refused: what is rejected would come back to where it was rejected.
    #[must_use]
    pub fn dead_letter_topic(mut self, topic: &str) -> Self {
        self.group.delivery.dead_letter_topic = Some(topic.to_owned());
        self
    }

    /// A consumer of these partitions, which begins at each log start offset. A partition that is named twice
    /// is read once.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for no partitions, for polls of no records, or for what only consumers in
    /// a group have: a group, a dead-letter topic, a delivery count limit;
    /// [`Closed`](crate::ErrorKind::Closed);
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a topic that was deleted.
    pub fn assign(self, partitions: impl IntoIterator<Item = Partition>) -> Result<Consumer> {
        self.check()?;
        if self.group.group.is_some() {
            let error =
                Error::new(ErrorKind::InvalidConfig, "a consumer in a group is assigned partitions by it");
            return Err(error.advise("subscribe to topics, or leave the group out"));
        }
        if self.group.delivery.is_set() {
            let what = "a consumer without a group acquires nothing, and so has no dead-letter topic and no delivery count limit";
            let error = Error::new(ErrorKind::InvalidConfig, what);
            return Err(error.advise("name a group and subscribe to topics, or leave them out"));
        }
        Consumer::assign(self.broker, self.limits, self.isolation, partitions)
    }

    /// A consumer that shares these topics with the others in its [group](Self::group): it is assigned partitions of them with its
    /// first poll, and others when consumers come and go.
    ///
    /// # Errors
    /// [`InvalidGroupId`](crate::ErrorKind::InvalidGroupId) without a group;
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a topic that does not exist;
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for no topics, for polls of no records, for records that are never handed
    /// out, or for a dead-letter topic among the topics;
    /// [`Closed`](crate::ErrorKind::Closed); those of reading what groups have committed, for the first of them.
    pub fn subscribe<T: AsRef<str>>(self, topics: impl IntoIterator<Item = T>) -> Result<Consumer> {
        let topics = topics.into_iter().map(|name| Ok(self.broker.topic(name.as_ref())?.name().into()));
        let topics = topics.collect::<Result<BTreeSet<_>>>()?;
        if topics.is_empty() {
            let error = Error::new(ErrorKind::InvalidConfig, "the consumer subscribes to no topic");
            return Err(error.advise("name some, or use subscribe_matching for those that are still to come"));
        }
        self.subscribe_to(Subscription::Topics, topics)
    }

    /// The same for every topic whose name `matches`, now and later: topics that come and go are taken up by the polls. The
    /// [dead-letter topic](Self::dead_letter_topic) is not among them.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-matching-{}", std::process::id()));
    /// # use {ottla::{Broker, Record, TopicConfig}, std::time::Duration};
    /// # let broker = Broker::open(&dir)?;
    /// let mut consumer = broker.consumer().group("audit").subscribe_matching(|name| name.starts_with("orders."))?;
    /// assert!(consumer.poll(Duration::from_millis(10))?.is_empty());
    /// let paid = broker.ensure_topic("orders.paid", TopicConfig::new())?;
    /// paid.producer().send(Record::new("42"))?.wait()?;
    /// assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 1);
    /// # drop((consumer, paid, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`subscribe`](Self::subscribe), but for those of topics;
    /// [`ListenerPanicked`](crate::ErrorKind::ListenerPanicked) if `matches` panics, here or in a poll.
    pub fn subscribe_matching(
        self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Consumer> {
        self.subscribe_to(Subscription::Matching(Box::new(matches)), BTreeSet::new())
    }

    fn subscribe_to(self, subscription: Subscription, topics: BTreeSet<Arc<str>>) -> Result<Consumer> {
        self.check()?;
        self.check_dead_letter_topic(&topics)?;
        let mut consumer = Consumer::idle(self.broker, self.limits, self.isolation)?;
        let signal = consumer.wakeup.signal();
        let subscribed = Subscribed::new(&consumer.broker, self.group, subscription, topics, signal)?;
        consumer.group = Some(Box::new(subscribed));
        Ok(consumer)
    }

    fn check_dead_letter_topic(&self, topics: &BTreeSet<Arc<str>>) -> Result<()> {
        let Some(name) = &self.group.delivery.dead_letter_topic else { return Ok(()) };
        self.broker.topic(name)?.check_writable()?;
        if topics.contains(name.as_str()) {
            let what = "the consumer subscribes to its dead-letter topic";
            let error = Error::new(ErrorKind::InvalidConfig, what).in_topic(name);
            return Err(error.advise("read it with a consumer of its own"));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.group.delivery.count_limit == Some(0) {
            let error = Error::new(ErrorKind::InvalidConfig, "the delivery count limit is 0");
            return Err(error.advise("a record is handed out at least once: raise it, or leave it out"));
        }
        if self.limits.records == 0 {
            let error = Error::new(ErrorKind::InvalidConfig, "max.poll.records is 0");
            return Err(error.advise("a poll hands out at least one record: raise it, or leave it out"));
        }
        Ok(())
    }
}
