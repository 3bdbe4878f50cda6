//! A partition: the handle that users hold.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::Duration;

use super::closing::Lease;
use super::recovery_report::PartitionRecovery;
use super::reopening;
use crate::error::Result;
use crate::model::{Isolation, Offset, PartitionId, Position, Start};
use crate::partition_log::{BatchReader, OpenTransaction, PartitionLog};
use crate::record_batch::RecordBatch;

/// A partition of a [`Topic`](crate::Topic); clones are cheap, and keep the broker open.
///
/// `log start offset ≤ last stable offset ≤ high watermark ≤ log end offset`: what lies below the high watermark is acknowledged, on stable
/// storage unless the topic's [durability](crate::Durability) is less, and can be read; what lies above it was sent, and
/// nobody has waited for it yet.
#[derive(Clone)]
pub struct Partition {
    broker: Arc<Lease>,
    log: Arc<PartitionLog>,
}

impl Partition {
    pub(super) fn new(broker: Arc<Lease>, log: Arc<PartitionLog>) -> Self {
        Self { broker, log }
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.log.topic()
    }

    /// The number of the partition in its topic.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.log.partition()
    }

    /// The offset of the oldest record that can be read.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.log.log_start_offset()
    }

    /// The offset behind the last record that can be read: all before it is acknowledged.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.log.high_watermark()
    }

    /// Where the oldest transaction begins that has not ended; the high watermark if there is none. Up to here it is decided
    /// which records of transactions were committed. Transactions are left open in logs that a Kafka broker has written,
    /// if it was stopped meanwhile.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.log.last_stable_offset()
    }

    /// The transactions that a Kafka broker has left open, the oldest first: why the [last stable
    /// offset](Self::last_stable_offset) stays below the high watermark. None in a topic that was made here.
    ///
    /// Nobody ends them as long as the directory is ours. What stands behind the first of them is read with
    /// [`Isolation::ReadUncommitted`], which gives the records of transactions that were aborted, too. Kafka's transaction
    /// coordinator ends them: before the directory is taken over, if the broker is started once more and stopped after the
    /// producer's `transaction.timeout.ms`, or `kafka-transactions.sh abort` has run; or when it was [given
    /// back](crate::Broker::undo_adoption).
    #[must_use]
    pub fn open_transactions(&self) -> Vec<OpenTransaction> {
        self.log.open_transactions().to_vec()
    }

    /// The offset that the next record will get.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log.log_end_offset()
    }

    /// How long ago the oldest record was sent that is not on stable storage yet; `None` if all of them are. It waits for
    /// nobody, and for no disk: a number to watch.
    ///
    /// On a [`Synced`](crate::Durability::Synced) topic it stays within the time of a sync, or two; on an
    /// [`Interval`](crate::Durability::Interval) topic within twice the interval. More than that says that the disk is slow,
    /// and a number that grows with the clock that it hangs. On an [`Os`](crate::Durability::Os) topic it grows until
    /// somebody asks for a sync, and without the [broker's threads](crate::BrokerOptions::background) until somebody waits,
    /// flushes, or ticks. Of a record that came while others were being written or synced, it may be off by the time that
    /// took. After a failed sync it grows until the partition is [reopened](Self::reopen).
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-oldest-unsynced-{}", std::process::id()));
    /// use ottla::{Broker, Record, TopicConfig};
    /// use std::time::Duration;
    ///
    /// let broker = Broker::open(&dir)?;
    /// let topic = broker.ensure_topic("orders", TopicConfig::new())?;
    /// topic.producer().send(Record::new("paid"))?.wait()?;
    /// assert_eq!(topic.partition(0)?.oldest_unsynced(), None);
    ///
    /// /// What a service may ask every second.
    /// let hangs = |age: Option<Duration>| age > Some(Duration::from_secs(5));
    /// for partition in topic.partitions().filter(|partition| hangs(partition.oldest_unsynced())) {
    ///     eprintln!("the disk below {partition:?} does not sync");
    /// }
    /// # drop((topic, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn oldest_unsynced(&self) -> Option<Duration> {
        self.log.oldest_unsynced()
    }

    /// The batches from `start` to the high watermark of now. Of transactions those that were committed, and up to the
    /// [last stable offset](Self::last_stable_offset); [`read_with`](Self::read_with) gives the others, too.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-read-{}", std::process::id()));
    /// use ottla::{Broker, Record, Start, TopicConfig};
    /// let broker = Broker::open(&dir)?;
    /// let topic = broker.ensure_topic("orders", TopicConfig::new())?;
    /// for value in ["a", "b", "c"] {
    ///     topic.producer().send(Record::new(value))?.wait()?;
    /// }
    /// let mut values = Vec::new();
    /// for batch in topic.partition(0)?.read(Start::At(1))? {
    ///     values.extend(batch?.records().filter_map(|record| record.value));
    /// }
    /// assert_eq!(values, [b"b"[..].into(), b"c"[..].into()]);
    /// # drop((topic, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) for an offset below the log start offset or
    /// above the high watermark, [`LogTruncated`](crate::ErrorKind::LogTruncated) for a position below which something
    /// was taken back, [`Closed`](crate::ErrorKind::Closed). Each batch can fail on its own, with
    /// [`CorruptMessage`](crate::ErrorKind::CorruptMessage) for one.
    pub fn read(&self, start: Start) -> Result<Batches> {
        self.read_with(start, Isolation::default())
    }

    /// The same with the records of transactions that the isolation level lets through.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_with(&self, start: Start, isolation: Isolation) -> Result<Batches> {
        let reader = self.log.read(start, isolation)?;
        Ok(Batches { reader, broker: Arc::clone(&self.broker) })
    }

    /// Returns once everything below `end`, which was sent already, is acknowledged and can be read, writing and
    /// syncing it if nobody else is at it. To wait for what nobody has sent yet, [`poll`](crate::Consumer::poll).
    ///
    /// # Errors
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) above the [log end
    /// offset](Self::log_end_offset); else those of [`Delivery::wait`](crate::Delivery::wait).
    pub fn wait_for(&self, end: Offset) -> Result<()> {
        self.log.wait_for(end)
    }

    /// Opens the partition anew after a write or a sync of it has failed, while the broker and every handle live on: does
    /// what opening the directory would do after an unclean stop, for this partition alone. `None` if it has not failed,
    /// and nothing was done.
    ///
    /// What is on the disk beyond what was durable is kept, the rest is cut, and copied to a quarantine file. Deliveries
    /// learn what became of their records: those that are there are acknowledged, those that are not get
    /// [`NotWritten`](crate::ErrorKind::NotWritten), or, where readers may have seen them before they were lost (on topics
    /// whose [durability](crate::Durability) is less than synced), [`Indeterminate`](crate::ErrorKind::Indeterminate).
    /// A new leader epoch begins: a reader whose position lies above the new end gets
    /// [`LogTruncated`](crate::ErrorKind::LogTruncated).
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-reopen-{}", std::process::id()));
    /// use ottla::{Broker, Error, Partition, Record, TopicConfig};
    ///
    /// /// What a service may do once the disk is well again.
    /// fn heal(partition: &Partition) -> Result<(), Error> {
    ///     if let Some(recovery) = partition.reopen()? {
    ///         println!("{partition:?} goes on at {}, {} bytes cut", recovery.end_offset(), recovery.cut_bytes());
    ///     }
    ///     Ok(())
    /// }
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.ensure_topic("orders", TopicConfig::new())?;
    /// # heal(&topic.partition(0)?)?;
    /// # drop((topic, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The disk still fails: the partition stays as it was, and can be reopened later.
    /// [`CorruptMessage`](crate::ErrorKind::CorruptMessage) if what was durable is damaged, or was when the broker was
    /// opened: nothing is changed. [`Closed`](crate::ErrorKind::Closed);
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a topic that was deleted. Where creating
    /// and deleting topics has stopped, too, only the directory can be reopened.
    pub fn reopen(&self) -> Result<Option<PartitionRecovery>> {
        reopening::reopen(&self.broker, &self.log)
    }

    /// The partition that a Kafka broker has left in a directory, to be read in the place of this one.
    #[cfg(feature = "test-util")]
    pub(crate) fn instead(
        &self,
        vfs: Arc<dyn crate::vfs::Vfs>,
        dir: &std::path::Path,
        maps: bool,
    ) -> Result<Self> {
        let dir = crate::segment::SegmentDir::new(vfs, dir, maps);
        Ok(Self { broker: Arc::clone(&self.broker), log: self.log.instead(dir)? })
    }

    pub(crate) fn log(&self) -> &Arc<PartitionLog> {
        &self.log
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({}-{})", self.topic(), self.id())
    }
}

/// The batches of a partition, an iterator; made by [`Partition::read`].
///
/// It ends at the high watermark of the moment at which it was made, unless it is to [`follow`](Self::follow), and after
/// an error. Batches without a
/// record for an application (markers of Kafka's own, batches that compaction emptied, or those of aborted transactions)
/// are passed over.
pub struct Batches {
    reader: BatchReader,
    /// Keeps the broker open.
    broker: Arc<Lease>,
}

impl Batches {
    /// Where the next batch begins, or the end; [`Start::Resume`] comes back to it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.reader.position()
    }

    pub(super) fn into_parts(self) -> (BatchReader, Arc<Lease>) {
        (self.reader, self.broker)
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next()
    }
}

impl FusedIterator for Batches {}
