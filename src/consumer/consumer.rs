//! The consumer: positions in partitions, and a poll that waits for something new.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ConsumerRecords;
use super::acquiring::Taking;
use super::assigned::{Assigned, Fetched, Limits};
use super::listener::RebalanceListener;
use super::share_partition::Share;
use super::subscribed::Subscribed;
use super::{committing, dead_letters};
use crate::broker::{Broker, Partition};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Isolation, Position, Start};
use crate::partition_log::{Wakeup, WakeupHandle};

/// Reads the partitions that it was assigned, each from a position of its own.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-consumer-{}", std::process::id()));
/// use ottla::{Broker, Record, Start, TopicConfig};
/// use std::time::Duration;
///
/// let broker = Broker::open(&dir)?;
/// let orders = broker.ensure_topic("orders", TopicConfig::new())?;
/// orders.producer().send(Record::new("paid").key("order-42"))?.wait()?;
///
/// let mut consumer = broker.consumer().assign(orders.partitions())?;
/// let records = consumer.poll(Duration::from_secs(1))?;
/// for record in &records {
///     assert_eq!((record.offset(), record.value()), (0, Some(&b"paid"[..])));
/// }
/// consumer.seek(&orders.partition(0)?, Start::Earliest)?;
/// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
///
/// // To go on where a replay has ended: seek to where it stands.
/// let mut replay = orders.partition(0)?.read(Start::Earliest)?;
/// while let Some(batch) = replay.next() {
///     assert_eq!(batch?.iter().count(), 1);
/// }
/// consumer.seek(&orders.partition(0)?, Start::Resume(replay.position()))?;
/// assert!(consumer.poll(Duration::ZERO)?.is_empty());
/// # drop((orders, consumer, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
pub struct Consumer {
    /// Keeps the broker open.
    pub(super) broker: Broker,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) isolation: Isolation,
    pub(super) assigned: Vec<Assigned>,
    /// The partition with which the next poll begins, so that a busy one does not starve the others.
    pub(super) turn: usize,
    pub(super) wakeup: Wakeup,
    /// Of a consumer that has subscribed.
    pub(super) group: Option<Box<Subscribed>>,
    /// How records were taken from it so far.
    pub(super) taking: Option<Taking>,
}

impl Consumer {
    pub(super) fn assign(
        broker: Broker,
        limits: Limits,
        isolation: Isolation,
        partitions: impl IntoIterator<Item = Partition>,
    ) -> Result<Self> {
        let mut consumer = Self::idle(broker, limits, isolation)?;
        for partition in partitions {
            if consumer.find(&partition).is_none() {
                partition.log().listen(consumer.wakeup.signal());
                consumer.assigned.push(Assigned::new(partition, isolation)?);
            }
        }
        if consumer.assigned.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "the consumer is assigned no partition"));
        }
        Ok(consumer)
    }

    /// One that is assigned nothing.
    pub(super) fn idle(broker: Broker, limits: Limits, isolation: Isolation) -> Result<Self> {
        broker.check_open()?;
        let (clock, wakeup) = (broker.clock().clone(), Wakeup::default());
        let (assigned, group, taking) = (Vec::new(), None, None);
        Ok(Self { broker, clock, limits, isolation, assigned, turn: 0, wakeup, group, taking })
    }

    /// The records that come next, as many as [`fetch_max_bytes`](super::ConsumerBuilder::fetch_max_bytes) and
    /// [`max_poll_records`](super::ConsumerBuilder::max_poll_records) allow; waits up to `timeout` for the first one.
    /// No records means that the time has passed.
    ///
    /// A poll that has read to the end has the broker's threads write and sync at once what was sent; [without
    /// them](crate::BrokerOptions::background) it does so itself, and a disk that hangs holds it up. With a timeout of
    /// zero it does not wait, and so hands out only what can be read already. If every partition is
    /// [paused](Self::pause), it only waits.
    ///
    /// Of a consumer in a [group](super::ConsumerBuilder::group) it is the poll that takes part in the group: that joins it, gives
    /// partitions back, takes others over, and tells its [listener](Self::set_rebalance_listener). While it waits the group
    /// wakes it.
    ///
    /// # Errors
    /// [`CorruptMessage`](crate::ErrorKind::CorruptMessage) and other failures of reading: the position stays,
    /// and the next poll tries again at once: [pause](Self::pause), or [unassign](Self::unassign), the partition that the
    /// error names, to go on with the others. [`StorageError`](crate::ErrorKind::StorageError) where a failed sync may have taken what was
    /// visible and not durable, until the partition is [reopened](Partition::reopen). [`LogTruncated`](crate::ErrorKind::LogTruncated) if what stood below the position was
    /// taken back when the partition was [reopened](Partition::reopen): until a [`seek`](Self::seek). [`Wakeup`](crate::ErrorKind::Wakeup) if a
    /// [handle](Self::wakeup_handle) has asked for it. [`Closed`](crate::ErrorKind::Closed);
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) once an assigned topic was
    /// deleted. In a group also [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange) for a commit that can no longer be read from, until a
    /// [`seek`](Self::seek); [`InconsistentGroupProtocol`](ErrorKind::InconsistentGroupProtocol);
    /// [`ListenerPanicked`](ErrorKind::ListenerPanicked); [`InvalidRequest`](ErrorKind::InvalidRequest) of a consumer that
    /// [acquires](Self::acquire), or has what only such a one reads; what kept the group from being written.
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        self.take_by(Taking::Polling)?;
        let deadline = self.clock.monotonic().saturating_add(timeout);
        let polled = self.begin_poll(true).and_then(|()| self.poll_until(deadline));
        self.end_poll();
        polled
    }

    fn poll_until(&mut self, deadline: Duration) -> Result<ConsumerRecords> {
        loop {
            let seen = self.wakeup.signal().generation();
            let (records, next) = self.look()?;
            if !records.is_empty() || self.clock.monotonic() >= deadline {
                return Ok(records);
            }
            if !self.make_visible() {
                self.clock.wait(self.wakeup.signal(), seen, deadline.min(next));
            }
        }
    }

    /// What there is now, and when to look again at the latest.
    pub(super) fn look(&mut self) -> Result<(ConsumerRecords, Duration)> {
        // Before anything is read, so that nothing that was read is lost.
        self.check_wakeup()?;
        self.hear_of_commits()?;
        let next = self.keep_membership()?;
        let records = self.fetch()?;
        match self.untaken() {
            Some(error) if records.is_empty() => Err(error),
            _ => Ok((records, next)),
        }
    }

    pub(super) fn check_wakeup(&self) -> Result<()> {
        match self.wakeup.take() {
            true => Err(Error::new(ErrorKind::Wakeup, "the poll was ended by a wake-up handle")),
            false => Ok(()),
        }
    }

    /// Ends a [`poll`](Self::poll), or an [`acquire`](Self::acquire), that waits, from another thread.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-wakeup-{}", std::process::id()));
    /// # let broker = ottla::Broker::open(&dir)?;
    /// # let orders = broker.ensure_topic("orders", ottla::TopicConfig::new())?;
    /// let mut consumer = broker.consumer().assign(orders.partitions())?;
    /// let handle = consumer.wakeup_handle();
    /// let worker = std::thread::spawn(move || consumer.poll(std::time::Duration::MAX).map(|records| records.len()));
    /// handle.wake();
    /// let error = worker.join().unwrap().unwrap_err();
    /// assert_eq!(error.kind(), ottla::ErrorKind::Wakeup);
    /// # drop((orders, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn wakeup_handle(&self) -> WakeupHandle {
        self.wakeup.handle()
    }

    /// Has `listener` hear which partitions the group gives to the consumer, and takes from it; in the place of the one before.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-listener-{}", std::process::id()));
    /// use ottla::{Broker, Committer, Partition, RebalanceListener, TopicConfig};
    /// use std::time::Duration;
    ///
    /// struct Views;
    ///
    /// impl RebalanceListener for Views {
    ///     fn assigned(&mut self, partitions: &[Partition]) {
    ///         println!("building the views of {partitions:?}");
    ///     }
    ///     fn revoked(&mut self, partitions: &[Partition], committer: &mut Committer<'_>) {
    ///         println!("saving the views of {partitions:?}: {:?}", committer.commit());
    ///     }
    /// }
    ///
    /// let broker = Broker::open(&dir)?;
    /// broker.ensure_topic("orders", TopicConfig::new())?;
    /// let mut consumer = broker.consumer().group("views").subscribe(["orders"])?;
    /// consumer.set_rebalance_listener(Views)?;
    /// consumer.poll(Duration::from_millis(10))?;
    /// # drop((consumer, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidGroupId`](ErrorKind::InvalidGroupId) if the consumer is in no group.
    pub fn set_rebalance_listener(&mut self, listener: impl RebalanceListener + 'static) -> Result<()> {
        self.require_group_mut()?.listener = Some(Box::new(listener));
        Ok(())
    }

    /// Moves the position of an assigned partition. What was [acquired](Self::acquire) of it can no longer be settled, and the group
    /// goes on here; what was rejected is brought to the [dead-letter topic](crate::ConsumerBuilder::dead_letter_topic) first, if
    /// there is one.
    ///
    /// # Errors
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) for an offset below the log start offset or
    /// above the high watermark, [`LogTruncated`](crate::ErrorKind::LogTruncated) for a position below which something was
    /// taken back: the position stays;
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a partition that is not
    /// assigned; those of appending to the dead-letter topic: the position stays.
    pub fn seek(&mut self, partition: &Partition, start: Start) -> Result<()> {
        let shared = self.require(partition)?.shared();
        if let Some(group) = &self.group {
            dead_letters::bury_before_leaving(&self.broker, group, shared.into_iter())?;
        }
        self.require_mut(partition)?.seek(start)
    }

    /// Where the next record lies that a poll hands out from the partition; [`Start::Resume`] comes back to it.
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a partition that is not
    /// assigned.
    pub fn position(&self, partition: &Partition) -> Result<Position> {
        Ok(self.require(partition)?.position())
    }

    /// How many offsets lie between the position and where reading ends now, the high watermark or the [last stable
    /// offset](Partition::last_stable_offset): what can be read at once (Kafka: `currentLag`).
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a partition that is not
    /// assigned.
    pub fn lag(&self, partition: &Partition) -> Result<u64> {
        Ok(self.require(partition)?.lag())
    }

    /// Whether everything was handed out that can be read now of what is assigned; true of a consumer that is assigned nothing.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-caught-up-{}", std::process::id()));
    /// # use {ottla::{Broker, Record, TopicConfig}, std::time::Duration};
    /// # let broker = Broker::open(&dir)?;
    /// # let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// orders.producer().send(Record::new("paid"))?.wait()?;
    /// let mut consumer = broker.consumer().assign(orders.partitions())?;
    /// while !consumer.is_caught_up() {
    ///     consumer.poll(Duration::ZERO)?;
    /// }
    /// # drop((consumer, orders, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.assigned.iter().all(|assigned| assigned.lag() == 0)
    }

    /// Polls hand out nothing of these partitions until [`resume`](Self::resume): they are neither read nor waited
    /// for, and keep their positions.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-pause-{}", std::process::id()));
    /// # use {ottla::{Broker, Record, TopicConfig}, std::time::Duration};
    /// # let broker = Broker::open(&dir)?;
    /// # let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// let mut consumer = broker.consumer().assign(orders.partitions())?;
    /// let paused = [orders.partition(0)?];
    /// consumer.pause(&paused)?;
    /// orders.producer().send(Record::new("paid"))?.wait()?;
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// assert_eq!(consumer.lag(&paused[0])?, 1);
    /// consumer.resume(&paused)?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
    /// # drop((consumer, paused, orders, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) if one of them is not assigned, and
    /// none is paused.
    pub fn pause(&mut self, partitions: &[Partition]) -> Result<()> {
        self.set_paused(partitions, true)
    }

    /// Polls hand out records of these partitions again, from where they stand.
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) if one of them is not assigned, and
    /// none is resumed.
    pub fn resume(&mut self, partitions: &[Partition]) -> Result<()> {
        self.set_paused(partitions, false)
    }

    /// Reads this partition no longer; true if it was assigned. It may be one that can no longer be read. What a
    /// [group](super::ConsumerBuilder::group) has assigned stays assigned: [pause](Self::pause) it.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-unassign-{}", std::process::id()));
    /// # use {ottla::{Broker, ErrorKind, Record, TopicConfig}, std::time::Duration};
    /// # let broker = Broker::open(&dir)?;
    /// # let (orders, doomed) = (broker.ensure_topic("orders", TopicConfig::new())?, broker.ensure_topic("doomed", TopicConfig::new())?);
    /// let mut consumer = broker.consumer().assign(orders.partitions().chain(doomed.partitions()))?;
    /// broker.delete_topic("doomed")?;
    /// let error = consumer.poll(Duration::ZERO).unwrap_err();
    /// assert_eq!((error.kind(), error.topic()), (ErrorKind::UnknownTopicOrPartition, Some("doomed")));
    /// assert!(consumer.unassign(&doomed.partition(0)?));
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// # drop((consumer, orders, doomed, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    pub fn unassign(&mut self, partition: &Partition) -> bool {
        let found = self.find(partition).filter(|_| self.group.is_none());
        found.map(|at| self.assigned.remove(at)).is_some()
    }

    /// The partitions that are paused.
    #[must_use]
    pub fn paused(&self) -> Vec<Partition> {
        let paused = self.assigned.iter().filter(|assigned| assigned.is_paused);
        paused.map(|assigned| assigned.partition.clone()).collect()
    }

    /// The partitions that are read, in the order in which they were assigned.
    #[must_use]
    pub fn assignment(&self) -> Vec<Partition> {
        self.assigned.iter().map(|assigned| assigned.partition.clone()).collect()
    }

    /// The generation of the group in which the consumer was given what it has: it rises each time that partitions are shared out.
    /// `None` before the first poll that has brought it some, once it was lost, and without a group.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        self.group.as_ref()?.generation
    }

    fn set_paused(&mut self, partitions: &[Partition], is_paused: bool) -> Result<()> {
        partitions.iter().try_for_each(|partition| self.require(partition).map(|_| ()))?;
        for partition in partitions {
            self.require_mut(partition)?.is_paused = is_paused;
        }
        Ok(())
    }

    /// Reads what is visible now, beginning with the partition whose turn it is.
    fn fetch(&mut self) -> Result<ConsumerRecords> {
        let mut fetched = Fetched::default();
        let count = self.assigned.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(assigned) = self.assigned.get_mut(at) else { continue };
            match assigned.fetch(&mut fetched, self.limits) {
                Ok(()) if !fetched.is_full(self.limits) => continue,
                Ok(()) => {}
                // What was read before goes out first; the position stays, and shows the error again.
                Err(_) if !fetched.records.is_empty() => return Ok(fetched.records),
                Err(error) => {
                    // The others have their turn, whatever becomes of this one.
                    self.turn = at + 1;
                    return Err(error);
                }
            }
            self.turn = at + 1;
            break;
        }
        Ok(fetched.records)
    }

    /// Has records written and synced that were sent and are not visible yet; true if it did so itself, and there
    /// may be something now.
    pub(super) fn make_visible(&self) -> bool {
        let behind = self.assigned.iter().filter(|assigned| assigned.is_behind());
        // Of all of them, whatever the first ones say.
        behind.filter(|assigned| assigned.log().make_visible()).count() > 0
    }

    pub(super) fn find(&self, partition: &Partition) -> Option<usize> {
        self.assigned.iter().position(|assigned| Arc::ptr_eq(assigned.log(), partition.log()))
    }

    pub(super) fn require(&self, partition: &Partition) -> Result<&Assigned> {
        partition.log().check_readable()?;
        let found = self.find(partition).and_then(|at| self.assigned.get(at));
        found.ok_or_else(|| not_assigned(partition))
    }

    fn require_mut(&mut self, partition: &Partition) -> Result<&mut Assigned> {
        partition.log().check_readable()?;
        let found = self.find(partition).and_then(|at| self.assigned.get_mut(at));
        found.ok_or_else(|| not_assigned(partition))
    }
}

pub(super) fn not_assigned(partition: &Partition) -> Error {
    let what = "the partition is not assigned to this consumer";
    partition.log().place(Error::new(ErrorKind::UnknownTopicOrPartition, what))
}

/// A consumer in a group leaves it.
impl Drop for Consumer {
    fn drop(&mut self) {
        // While the broker is open.
        let Some(group) = self.group.take() else { return };
        self.assigned.iter().filter_map(|assigned| assigned.share.as_ref()).for_each(Share::end);
        let shared = self.assigned.iter().filter_map(Assigned::shared);
        _ = dead_letters::bury_before_leaving(&self.broker, &group, shared);
        // What is not committed comes again, to whoever comes next; nobody is left to hear of it.
        _ = committing::commit_settled(&self.broker, &group, &self.assigned);
        if group.settings.auto_commit.is_some() {
            // What is not committed is read again, by whoever comes next; nobody is left to hear of it.
            _ = committing::commit_processed(&self.broker, &group, &self.assigned);
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positions = self.assigned.iter().map(|assigned| {
            let log = assigned.log();
            (format!("{}-{}", log.topic(), log.partition()), assigned.position().offset())
        });
        f.debug_map().entries(positions).finish()
    }
}
