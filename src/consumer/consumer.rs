//! The consumer: positions in partitions, and a poll that waits for something new.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ConsumerRecords;
use crate::broker::{Broker, Partition};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Position, Start};
use crate::partition_log::{BatchReader, PartitionLog};
use crate::sync::Signal;

/// How many bytes of batches a poll hands out before it stops looking for more.
const FETCH_BYTES: usize = 1024 * 1024;

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
    _broker: Broker,
    clock: Clock,
    assigned: Vec<Assigned>,
    /// The partition with which the next poll begins, so that a busy one does not starve the others.
    turn: usize,
    signal: Arc<Signal>,
}

struct Assigned {
    log: Arc<PartitionLog>,
    reader: BatchReader,
}

impl Consumer {
    pub(super) fn assign(broker: Broker, partitions: impl IntoIterator<Item = Partition>) -> Result<Self> {
        broker.check_open()?;
        let clock = broker.clock().clone();
        let signal = Signal::new();
        let mut consumer = Self { _broker: broker, clock, assigned: Vec::new(), turn: 0, signal };
        for partition in partitions {
            if consumer.find(&partition).is_none() {
                let log = Arc::clone(partition.log());
                log.listen(&consumer.signal);
                let reader = log.read(Start::Earliest)?;
                consumer.assigned.push(Assigned { log, reader });
            }
        }
        if consumer.assigned.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "the consumer is assigned no partition"));
        }
        Ok(consumer)
    }

    /// The records that come next, at most some 1 MiB of batches and at least one batch; waits up to `timeout`
    /// for the first one. No records means that the time has passed.
    ///
    /// A poll that has read to the end waits for what was sent, as [`Delivery::wait`](crate::Delivery::wait)
    /// does: it writes and syncs it where nobody else is at it. With a timeout of zero it does not wait, and so
    /// hands out only what is durable already.
    ///
    /// # Errors
    /// [`CorruptMessage`](crate::ErrorKind::CorruptMessage) and other failures of reading: the position stays,
    /// and the next poll tries again. [`Closed`](crate::ErrorKind::Closed);
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) once an assigned topic was
    /// deleted.
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        let deadline = self.clock.monotonic().saturating_add(timeout);
        loop {
            let seen = self.signal.generation();
            let records = self.fetch()?;
            if !records.is_empty() || self.clock.monotonic() >= deadline {
                return Ok(records);
            }
            if !self.make_visible() {
                self.clock.wait(&self.signal, seen, deadline);
            }
        }
    }

    /// Moves the position of an assigned partition.
    ///
    /// # Errors
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) for an offset below the log start offset or
    /// above the high watermark, and the position stays;
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a partition that is not
    /// assigned.
    pub fn seek(&mut self, partition: &Partition, start: Start) -> Result<()> {
        let at = self.require(partition)?;
        if let Some(assigned) = self.assigned.get_mut(at) {
            assigned.reader = assigned.log.read(start)?;
        }
        Ok(())
    }

    /// Where the next record lies that a poll hands out from the partition; [`Start::Resume`] comes back to it.
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a partition that is not
    /// assigned.
    pub fn position(&self, partition: &Partition) -> Result<Position> {
        let at = self.require(partition)?;
        Ok(self.assigned.get(at).map_or(Position::new(0, None), |assigned| assigned.reader.position()))
    }

    /// Reads what is visible now, beginning with the partition whose turn it is.
    fn fetch(&mut self) -> Result<ConsumerRecords> {
        let mut records = ConsumerRecords::default();
        let mut fetched = 0;
        let count = self.assigned.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(Assigned { log, reader }) = self.assigned.get_mut(at) else { continue };
            reader.extend();
            let readable = log.check_readable();
            let batches = readable.err().map(Err).into_iter().chain(reader);
            for batch in batches {
                match batch {
                    Ok(batch) => {
                        fetched += batch.size();
                        records.push(log, batch);
                    }
                    // What was read before goes out first; the position stays, and shows the error again.
                    Err(_) if !records.is_empty() => return Ok(records),
                    Err(error) => {
                        // The others have their turn, whatever becomes of this one.
                        self.turn = at + 1;
                        return Err(error);
                    }
                }
                if fetched >= FETCH_BYTES {
                    break;
                }
            }
            if fetched >= FETCH_BYTES {
                self.turn = at + 1;
                break;
            }
        }
        Ok(records)
    }

    /// Has records written and synced that were sent and are not visible yet; true if it did so itself, and there
    /// may be something now.
    fn make_visible(&self) -> bool {
        let logs = self.assigned.iter().map(|assigned| &assigned.log);
        // Of all of them, whatever the first ones say.
        logs.filter(|log| log.takes_records() && log.make_visible()).count() > 0
    }

    fn find(&self, partition: &Partition) -> Option<usize> {
        self.assigned.iter().position(|assigned| Arc::ptr_eq(&assigned.log, partition.log()))
    }

    fn require(&self, partition: &Partition) -> Result<usize> {
        partition.log().check_readable()?;
        self.find(partition).ok_or_else(|| {
            let what = "the partition is not assigned to this consumer";
            partition.log().place(Error::new(ErrorKind::UnknownTopicOrPartition, what))
        })
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positions = self.assigned.iter().map(|Assigned { log, reader }| {
            (format!("{}-{}", log.topic(), log.partition()), reader.position().offset())
        });
        f.debug_map().entries(positions).finish()
    }
}
