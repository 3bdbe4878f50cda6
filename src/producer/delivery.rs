//! A record on its way to the disk.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::Result;
use crate::model::{LeaderEpoch, Offset, PartitionId, Position, Timestamp};
use crate::partition_log::{Assigned, PartitionLog, Reach, Registration};

/// A record that was sent and is not acknowledged yet: [`wait`](Self::wait) for it, or `.await` it in any executor.
///
/// Dropping it does not take the record back: it reaches the disk within a millisecond or so, and at once if a consumer
/// reads the partition, led by the broker's threads, or [without them](crate::BrokerOptions::background) with the next
/// wait, flush or tick.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-delivery-{}", std::process::id()));
/// use ottla::{Broker, ErrorKind, Record, TopicConfig};
/// use std::time::Duration;
///
/// let broker = Broker::open(&dir)?;
/// let orders = broker.ensure_topic("orders", TopicConfig::new())?.producer();
/// orders.send(Record::new("placed"))?.wait()?;
///
/// // At most so long; the record stays on its way, whatever becomes of the wait.
/// let delivery = orders.send(Record::new("paid"))?;
/// match delivery.wait_timeout(Duration::from_secs(5)) {
///     Ok(metadata) => assert_eq!(metadata.offset(), 1),
///     Err(error) if error.kind() == ErrorKind::TimedOut => println!("the disk is slow: {error}"),
///     Err(error) => return Err(error),
/// }
///
/// // From async code, without a runtime of ours; `try_send` never blocks.
/// let append = async { orders.try_send(Record::new("shipped"))?.await };
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     struct Unpark(std::thread::Thread);
/// #     impl std::task::Wake for Unpark {
/// #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
/// #     }
/// #     let mut future = std::pin::pin!(future);
/// #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
/// #     let mut context = std::task::Context::from_waker(&waker);
/// #     loop {
/// #         if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) { return output }
/// #         std::thread::park();
/// #     }
/// # }
/// assert_eq!(block_on(append)?.offset(), 2);
/// # drop((orders, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[must_use = "a record is acknowledged once `wait`, or a `flush` later, has returned"]
pub struct Delivery {
    log: Arc<PartitionLog>,
    /// The offset of the first record.
    first: Offset,
    /// The last record.
    assigned: Assigned,
    reach: Reach,
    /// Where its waker waits, if it was polled.
    registration: Option<Registration>,
}

impl Delivery {
    /// Of `count` records that were assigned together.
    pub(super) fn new(log: Arc<PartitionLog>, assigned: Assigned, count: usize, reach: Reach) -> Self {
        let first = assigned.offset.saturating_add(1).saturating_sub(count as u64);
        Self { log, first, assigned, reach, registration: None }
    }

    /// Returns once the record is acknowledged: on stable storage, or where the topic's
    /// [durability](crate::Durability) asks for less, with the operating system. Writes it, and syncs it, with all that
    /// has gathered, if nobody else is at it; so a disk that hangs holds it up.
    ///
    /// # Errors
    /// [`NotWritten`](crate::ErrorKind::NotWritten) if the disk did not take it: the log is as it was, and the
    /// record can be sent again. [`Indeterminate`](crate::ErrorKind::Indeterminate) if the sync failed: the record
    /// may or may not be there after the next opening. [`Closed`](crate::ErrorKind::Closed) or
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) if the broker was closed without
    /// it, or the topic deleted.
    pub fn wait(self) -> Result<RecordMetadata> {
        self.log.wait(self.assigned, self.reach)?;
        Ok(self.metadata())
    }

    /// The same, but returns at the latest when `timeout` has passed, also if the disk hangs: the broker's threads write
    /// and sync, not the caller. [Without threads](crate::BrokerOptions::background) it is acknowledged only while
    /// somebody waits without a timeout, flushes or ticks. A timeout of zero looks, and does not wait.
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait); [`TimedOut`](crate::ErrorKind::TimedOut): the record is still on its way, and can
    /// be waited for again.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<RecordMetadata> {
        self.log.wait_timeout(self.assigned, self.reach, timeout)?;
        Ok(self.metadata())
    }

    fn metadata(&self) -> RecordMetadata {
        RecordMetadata {
            topic: Arc::clone(self.log.topic()),
            partition: self.log.partition(),
            first: self.first,
            leader_epoch: self.log.life().epochs.at(self.assigned.offset).unwrap_or_default(),
            assigned: self.assigned,
        }
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.log.topic()
    }

    /// The partition that was chosen.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.log.partition()
    }

    /// The offset that the record has if it is acknowledged; of a batch, its first record.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.first
    }
}

/// The broker's threads write and sync; [without threads](crate::BrokerOptions::background) somebody has to wait without
/// a timeout, flush or tick.
impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { log, assigned, reach, registration, .. } = &mut *self;
        log.poll(*assigned, *reach, registration, context.waker()).map_ok(|()| self.metadata())
    }
}

/// A clone learns the same of the same record.
impl Clone for Delivery {
    fn clone(&self) -> Self {
        let Self { log, first, assigned, reach, .. } = self;
        Self { log: Arc::clone(log), first: *first, assigned: *assigned, reach: *reach, registration: None }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.log.forget(&mut self.registration);
        self.log.hasten(self.assigned);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({}-{}@{})", self.log.topic(), self.log.partition(), self.first)
    }
}

/// Where an acknowledged record is.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    topic: Arc<str>,
    partition: PartitionId,
    first: Offset,
    leader_epoch: LeaderEpoch,
    assigned: Assigned,
}

impl RecordMetadata {
    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition that was chosen.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The number of the record in its partition; of a batch, its first record.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.first
    }

    /// The number of the last record of a batch.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.assigned.offset
    }

    /// The leader epoch under which the record was written.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The place behind the record, of a batch behind its last one: [`Start::Resume`](crate::Start::Resume) reads on
    /// from there.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.assigned.offset.saturating_add(1), Some(self.leader_epoch))
    }

    /// The timestamp that readers will see; of a batch, the greatest.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.assigned.timestamp
    }
}

impl fmt::Debug for RecordMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, first, assigned, .. } = self;
        write!(f, "RecordMetadata({topic}-{partition}@{first}..={}, {})", assigned.offset, assigned.timestamp)
    }
}
