//! The broker: the handle that users hold.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::closing::Lease;
use super::giving_back::UndoReport;
use super::options::BrokerOptions;
use super::recovery_report::RecoveryReport;
use super::scrubbing::ScrubReport;
use super::shared::Shared;
use super::topic::Topic;
use super::{altering, creating, deleting, giving_back, topics};
use crate::clock::Clock;
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::model::{DirectoryId, TopicName};
use crate::vfs::{OsVfs, Vfs};

/// An open data directory: topics, and the way to producers and consumers.
///
/// Clones are cheap and share the directory, which nobody else can open meanwhile. It is closed by
/// [`close`](Self::close), or in order as well, but without a report, when the last handle goes: brokers,
/// topics, partitions, producers, consumers.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-broker-{}", std::process::id()));
/// use ottla::{Broker, Record, TopicConfig};
/// use std::time::Duration;
///
/// let broker = Broker::open(&dir)?;
/// let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
/// let metadata = broker.producer().send(&orders, Record::new("paid").key("order-42"))?.wait()?;
/// assert_eq!(metadata.offset(), 0); // and it is on stable storage
/// broker.close(Duration::from_secs(10))?;
/// # std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Lease>,
}

impl Broker {
    pub(super) fn new(shared: Arc<Lease>) -> Self {
        Self { shared }
    }

    /// Opens a data directory; one that is not there is created.
    ///
    /// One that was not closed in order is recovered: what was acknowledged is there, what a crash has left half
    /// written is cut and kept in a quarantine file; [`recovery_report`](Self::recovery_report) tells.
    ///
    /// # Errors
    /// [`DirectoryInUse`](ErrorKind::DirectoryInUse) names the holder;
    /// [`DirectoryNotOurs`](ErrorKind::DirectoryNotOurs) for a file, a directory with other things in it, or a
    /// Kafka broker's; [`CorruptMessage`](ErrorKind::CorruptMessage) if acknowledged records, or what is known of
    /// them, are damaged. After each of them the directory is as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(path)
    }

    /// The settings with which to open one.
    #[must_use]
    pub fn options() -> BrokerOptions {
        BrokerOptions::default()
    }

    /// Gives a directory that was [taken over](BrokerOptions::adopt) from a Kafka broker back to it.
    ///
    /// It must not be open; one that was not closed in order is recovered first. What was appended since gets the leader
    /// epoch that Kafka had, so that a broker that is started then goes on behind it, with every record at its offset;
    /// `meta.properties` gets its name back, and our own files at the root go (those of what recovery has cut stay). Topics
    /// that were deleted meanwhile are made anew by Kafka, empty; the directory can be adopted again.
    ///
    /// After a crash on the way nobody opens the directory before this was done once more.
    ///
    /// # Errors
    /// With nothing changed: [`DirectoryInUse`](ErrorKind::DirectoryInUse);
    /// [`DirectoryNotOurs`](ErrorKind::DirectoryNotOurs) if it was not adopted, or is Kafka's already;
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) if there are topics or partitions in it that were
    /// made since, and that Kafka does not know; [`CorruptMessage`](ErrorKind::CorruptMessage) if what was appended since is
    /// damaged; those of [`open`](Self::open).
    pub fn undo_adoption(path: impl AsRef<Path>) -> Result<UndoReport> {
        let path = std::path::absolute(path.as_ref()).doing("find", path.as_ref())?;
        giving_back::give_back(&(Arc::new(OsVfs) as Arc<dyn Vfs>), &path, Self::options())
    }

    /// Opens an empty broker whose files are in memory, and go with it: for the tests of a service. It cannot be
    /// opened again; a test of a restart takes a directory.
    #[cfg(feature = "test-util")]
    pub fn in_memory() -> Result<Self> {
        Self::options().in_memory()
    }

    /// Fails where [`create_topic`](Self::create_topic) would in every directory: for a name or a configuration that is not
    /// possible. It needs no broker, and touches no file.
    ///
    /// ```
    /// use ottla::{Broker, ErrorKind, TopicConfig};
    /// let error = Broker::check_topic("orders", &TopicConfig::new().segment_bytes(1)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    /// ```
    ///
    /// # Errors
    /// [`InvalidTopic`](ErrorKind::InvalidTopic), [`InvalidPartitions`](ErrorKind::InvalidPartitions),
    /// [`InvalidConfig`](ErrorKind::InvalidConfig).
    pub fn check_topic(name: &str, config: &TopicConfig) -> Result<()> {
        creating::check(name, config).map(drop)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`InvalidTopic`](ErrorKind::InvalidTopic) for an unusable name, or one that differs from an existing one
    /// only in `.` and `_`; [`TopicAlreadyExists`](ErrorKind::TopicAlreadyExists);
    /// [`InvalidPartitions`](ErrorKind::InvalidPartitions); [`InvalidConfig`](ErrorKind::InvalidConfig).
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        creating::create(&self.shared, name, &config).map(|logs| Topic::new(Arc::clone(&self.shared), logs))
    }

    /// The topic of this name, created if there is none.
    ///
    /// # Errors
    /// Those of [`create_topic`](Self::create_topic), but for a topic that exists:
    /// [`TopicConfigDiffers`](ErrorKind::TopicConfigDiffers) if its configuration is another one. The message
    /// lists each difference.
    pub fn ensure_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        let topic = match self.create_topic(name, config.clone()) {
            Err(error) if error.kind() == ErrorKind::TopicAlreadyExists => self.topic(name)?,
            created => return created,
        };
        let config = config.or_durability(self.shared.env.options.durability);
        let differences = config.differences(&topic.config());
        if differences.is_empty() {
            return Ok(topic);
        }
        let what = format!("the topic exists with another configuration: {}", differences.join(", "));
        Err(Error::new(ErrorKind::TopicConfigDiffers, what)
            .in_topic(name)
            .advise("take it as it is, or alter it"))
    }

    /// Gives a topic another configuration while it is used: settings, and more partitions.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-alter-{}", std::process::id()));
    /// use ottla::{Broker, Durability, Record, TopicConfig};
    /// let broker = Broker::open(&dir)?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3).durability(Durability::Os))?;
    /// orders.producer().send(Record::new("paid").key("order-42"))?.wait()?;
    ///
    /// // Everything but what is named here stays as it is.
    /// broker.alter_topic("orders", orders.config().partitions(6).durability(Durability::Synced))?;
    /// assert_eq!(orders.partition_count(), 6); // every handle sees it
    /// orders.producer().send(Record::new("sent").key("order-42"))?.wait()?; // and it is on stable storage
    /// # drop((orders, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// Handles that are there go on working, and everything that is sent after this has returned follows the new
    /// configuration (of `index.interval.bytes`, the segments that are begun); what was sent before stays as it is,
    /// above a lower limit, too. A configuration without a [durability](TopicConfig::durability) keeps the topic's;
    /// everything else that it does not name is the default, so begin with [`Topic::config`]. Where nothing differs,
    /// nothing is written.
    ///
    /// Whoever [ensures](Self::ensure_topic) the topic asks for the new configuration from then on, also at the next
    /// start of the service; [`topic`](Self::topic) takes it as it is.
    ///
    /// *More partitions* send most keys elsewhere: a key's partition is its hash modulo their number, as in Kafka. What
    /// was written before stays where it is, so a key's records lie in two partitions then, and only in each of them
    /// in order. A service that reads a key's records from one partition does better with a new topic, into which it
    /// copies. A consumer goes on with the partitions that it was assigned; for the new ones, assign anew.
    ///
    /// *A raised durability* first has everything synced that was acknowledged without, while senders wait; no reader
    /// sees the high watermark fall. A lowered one acknowledges, and shows, what is written at once.
    ///
    /// After a crash the topic has the old configuration or the new one, whole.
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition);
    /// [`InvalidPartitions`](ErrorKind::InvalidPartitions) for fewer partitions than there are, or too many;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig); [`Closed`](ErrorKind::Closed). After these, and after a failure of
    /// the file system, the topic is as it was. There are two failures that leave more: of a sync for a raised
    /// durability, which stops the partition as every failed sync does, and of replacing the manifest, after which the
    /// next opening finds the old configuration or the new one, and no topic can be changed before.
    pub fn alter_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        altering::alter(&self.shared, name, config).map(|logs| Topic::new(Arc::clone(&self.shared), logs))
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition), [`Closed`](ErrorKind::Closed).
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let wanted = TopicName::new(name)?;
        let found = self.shared.topics.read().get(&wanted).cloned();
        match found {
            Some(logs) => Ok(Topic::new(Arc::clone(&self.shared), logs)),
            None => self.shared.check_open().and_then(|()| Err(topics::unknown(name))),
        }
    }

    /// Every topic, by name, but for those in which Kafka and [groups](crate::ConsumerBuilder::group) keep their own state, such as
    /// `__consumer_offsets`: [`topic`](Self::topic) finds them, and they can be read.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    pub fn topics(&self) -> Result<Vec<Topic>> {
        let topics = self.shared.topics.read();
        let visible = topics.values().filter(|logs| !logs.name.is_internal());
        let found: Vec<_> =
            visible.map(|logs| Topic::new(Arc::clone(&self.shared), Arc::clone(logs))).collect();
        drop(topics);
        if found.is_empty() {
            self.shared.check_open()?;
        }
        Ok(found)
    }

    /// Deletes a topic with all its records, and what groups have committed of it: one of the same name begins anew. Handles to
    /// it get [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) from then on.
    ///
    /// # Errors
    /// With nothing changed: [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition); [`Closed`](ErrorKind::Closed);
    /// [`InvalidTopic`](ErrorKind::InvalidTopic) for an internal one; those of reading `__consumer_offsets`. Else a failure of
    /// the file system, after which the next opening finishes the deletion.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        deleting::delete(&self.shared, name)
    }

    /// Writes and syncs what was sent, and closes the directory in order, for this handle and every other one:
    /// later calls that have anything to do get [`Closed`](ErrorKind::Closed), blocked ones return, the broker's threads
    /// end, the lock is free.
    /// Closing again returns the same. A consumer that is to see everything reads up to the high watermark first.
    ///
    /// It returns at the latest when `timeout` has passed, also if the disk hangs: whoever still waits for a record gets
    /// [`Indeterminate`](ErrorKind::Indeterminate), and the directory stays locked until nobody writes to it any more.
    /// Calling again waits for that. Of a broker [without threads](BrokerOptions::background) the caller does the work,
    /// and `timeout` bounds what has not begun when it passes.
    ///
    /// # Errors
    /// [`NotWritten`](ErrorKind::NotWritten) if the disk did not take records that nobody has waited for; the rest
    /// is closed in order. Else the first failure: of a partition, now or before, or
    /// [`Indeterminate`](ErrorKind::Indeterminate) once the time has passed. The directory then counts as not closed in
    /// order, and is recovered when it is opened.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        self.shared.close(timeout)
    }

    /// What opening found of the last life, and what it cut.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.shared.report
    }

    /// What the [background scrub](BrokerOptions::scrub) has found so far; `None` where it is off.
    #[must_use]
    pub fn scrub_report(&self) -> Option<ScrubReport> {
        self.shared.scrubber.as_ref().map(|scrubber| scrubber.report())
    }

    /// The identity of the data directory; a copy of it has the same one.
    #[must_use]
    pub fn directory_id(&self) -> DirectoryId {
        self.shared.directory
    }

    /// Does what is due, for a broker [without threads](BrokerOptions::background): writes and syncs for whoever awaits
    /// a delivery, or waits for it with a timeout, and what nobody waits for; syncs interval topics and the evidence for
    /// recovery, writes Kafka's checkpoints. Returns after how long there is more to do, if there is: appends and waits
    /// may bring that forward. With threads, there is rarely anything left to do.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-tick-{}", std::process::id()));
    /// use ottla::{Broker, Record, TopicConfig};
    /// let broker = Broker::options().background(false).open(&dir)?;
    /// let topic = broker.ensure_topic("orders", TopicConfig::new())?;
    /// topic.producer().send(Record::new("paid"))?.wait()?;
    /// let next = broker.tick()?.expect("the evidence is synced within a second");
    /// assert!(next.as_millis() < 1000);
    /// # drop((topic, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed). What fails at a partition is told to those who use it.
    pub fn tick(&self) -> Result<Option<Duration>> {
        self.shared.check_open()?;
        let next = self.shared.env.agenda.run_due();
        Ok(next.map(|at| at.saturating_sub(self.clock().monotonic())))
    }

    /// What the handles of the broker share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.env.options.clock
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        self.shared.check_open()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("root", &self.shared.env.root).finish_non_exhaustive()
    }
}
