//! Committing: how far a group has come.

use std::sync::Arc;

use super::assigned::Assigned;
use super::begun::Begun;
use super::commit::Commit;
use super::consumer::{Consumer, not_assigned};
use super::offset_and_metadata::OffsetAndMetadata;
use super::records::ConsumerRecord;
use super::subscribed::Subscribed;
use crate::broker::{Broker, OffsetToCommit, Partition, PendingCommit};
use crate::error::{Error, ErrorKind, Result};
use crate::group::TopicPartition;
use crate::model::Position;

impl Consumer {
    /// Commits what the polls so far have handed out of all partitions, and returns once that is on stable storage: the group goes on
    /// behind it, whoever reads on, also after a crash. All of it is committed or nothing. Where there is nothing new to commit
    /// nothing is done.
    ///
    /// Of what was [acquired](Self::acquire) it commits what is settled, up to the first record that is not; what was rejected
    /// is brought to the dead-letter topic first.
    ///
    /// A commit is never durable before the records that it names: those of topics with less [durability](crate::Durability)
    /// are synced first.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-commit-{}", std::process::id()));
    /// use ottla::{Broker, Record, TopicConfig};
    /// use std::time::Duration;
    ///
    /// # {
    /// let broker = Broker::open(&dir)?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// orders.producer().send(Record::new("paid"))?.wait()?;
    /// let mut consumer = broker.consumer().group("billing").subscribe(["orders"])?;
    /// for record in &consumer.poll(Duration::from_secs(1))? {
    ///     assert_eq!(record.value(), Some(&b"paid"[..]));
    /// }
    /// consumer.commit()?;
    /// # }
    ///
    /// // The next one, at the next start of the service, goes on there.
    /// # let broker = Broker::open(&dir)?;
    /// let mut consumer = broker.consumer().group("billing").subscribe(["orders"])?;
    /// assert!(consumer.poll(Duration::from_millis(10))?.is_empty());
    /// # drop((consumer, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// Nothing is committed then, but after [`Indeterminate`](ErrorKind::Indeterminate), when nobody knows, and after what the
    /// dead-letter topic did not take, or [`RejectedRecord`](ErrorKind::RejectedRecord) where there is none: they hold up their own
    /// partitions alone.
    /// [`UnknownMemberId`](ErrorKind::UnknownMemberId) if the consumer has not polled for [too
    /// long](crate::ConsumerBuilder::max_poll_interval), and its partitions are others' now;
    /// [`CoordinatorNotAvailable`](ErrorKind::CoordinatorNotAvailable) if the group was deleted since;
    /// [`InvalidGroupId`](ErrorKind::InvalidGroupId) without a group; [`Closed`](ErrorKind::Closed); those of
    /// [`Delivery::wait`](crate::Delivery::wait), of the internal topic.
    pub fn commit(&mut self) -> Result<()> {
        // What is not buried holds up its own partition, and no other.
        let buried = self.bury();
        let (broker, group, assigned) = self.committing()?;
        commit(broker, group, assigned).and(buried)
    }

    /// The same without waiting for the disk: what is returned can be waited for, or awaited. Records of topics with less
    /// [durability](crate::Durability) are synced before it returns. What was rejected waits for the next [`commit`](Self::commit) or
    /// [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit), but for those of the disk and of the dead-letter topic.
    pub fn commit_async(&mut self) -> Result<Commit> {
        let (broker, group, assigned) = self.committing()?;
        let pending = append(broker, group, &uncommitted(assigned))?;
        assigned.iter_mut().for_each(Assigned::forget_processed);
        Ok(Commit::new(pending))
    }

    /// Commits up to this record, and with it: those before it in its partition, and of no other partition.
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit); [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) if its partition is not, or
    /// no longer, assigned to the consumer; [`IllegalGeneration`](ErrorKind::IllegalGeneration) if it was another one's since
    /// the record was read.
    pub fn commit_through(&mut self, record: &ConsumerRecord<'_>) -> Result<()> {
        let (broker, group, assigned) = self.committing()?;
        let (topic, partition) = (record.topic(), record.partition());
        let found = assigned.iter().find(|assigned| assigned.is_of(topic, partition)).ok_or_else(|| {
            let what = "the partition of the record is not assigned to this consumer";
            Error::new(ErrorKind::UnknownTopicOrPartition, what)
                .in_partition(topic, partition)
                .advise(AFTER_REVOCATION)
        })?;
        if found.share.is_some() {
            return Err(is_acquired(found));
        }
        if found.progress.generation != record.generation() {
            let what =
                "the partition was taken from the consumer since the record was read, and given to it again";
            let error = Error::new(ErrorKind::IllegalGeneration, what).in_partition(topic, partition);
            return Err(error.at_offset(record.offset()).advise(AFTER_REVOCATION));
        }
        let through =
            OffsetToCommit { log: Arc::clone(found.log()), position: record.position(), metadata: "".into() };
        wait(broker, group, assigned, &[through])
    }

    /// Commits these offsets, each with words of the caller's own: all of them or none, whatever was handed out.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-commit-offsets-{}", std::process::id()));
    /// use ottla::{Broker, OffsetAndMetadata, Record, TopicConfig};
    /// use std::time::Duration;
    ///
    /// let broker = Broker::open(&dir)?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// let position = orders.producer().send(Record::new("paid"))?.wait()?.position();
    /// let mut consumer = broker.consumer().group("billing").subscribe(["orders"])?;
    /// consumer.poll(Duration::from_secs(1))?;
    /// let partition = orders.partition(0)?;
    /// consumer.commit_offsets([(partition.clone(), OffsetAndMetadata::new(position).metadata("invoice 7"))])?;
    /// assert_eq!(consumer.committed(&partition)?.expect("just now").words(), "invoice 7");
    /// # drop((orders, partition, consumer, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit); [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) for a partition that is not
    /// assigned; [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange) above the high watermark;
    /// [`OffsetMetadataTooLarge`](ErrorKind::OffsetMetadataTooLarge).
    pub fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (Partition, OffsetAndMetadata)>,
    ) -> Result<()> {
        let (broker, group, assigned) = self.committing()?;
        commit_offsets(broker, group, assigned, offsets)
    }

    /// What the group has committed of a partition, assigned to this consumer or not; `None` if nothing.
    ///
    /// # Errors
    /// [`InvalidGroupId`](ErrorKind::InvalidGroupId) without a group; [`Closed`](ErrorKind::Closed).
    pub fn committed(&self, partition: &Partition) -> Result<Option<OffsetAndMetadata>> {
        let group = self.require_group()?;
        self.broker.check_open()?;
        let name = TopicPartition::new(Arc::clone(partition.log().topic()), partition.id());
        Ok(group.membership.coordinator().committed(&name)?.map(OffsetAndMetadata::from))
    }

    fn committing(&mut self) -> Result<(&Broker, &Subscribed, &mut [Assigned])> {
        self.require_group()?;
        let Self { broker, group, assigned, .. } = self;
        group.as_deref().map(|group| (&*broker, group, &mut assigned[..])).ok_or_else(in_no_group)
    }

    pub(super) fn require_group_mut(&mut self) -> Result<&mut Subscribed> {
        self.group.as_deref_mut().ok_or_else(in_no_group)
    }

    fn require_group(&self) -> Result<&Subscribed> {
        self.group.as_deref().ok_or_else(in_no_group)
    }
}

const AFTER_REVOCATION: &str =
    "commit before the next poll, or when partitions are revoked; it is read again, by whoever has it";

/// Commits what was handed out.
pub fn commit(broker: &Broker, group: &Subscribed, assigned: &mut [Assigned]) -> Result<()> {
    let offsets = uncommitted(assigned);
    wait(broker, group, assigned, &offsets)
}

/// Commits what was handed out without being asked; where a poll may not wait it only begins, and [hears of
/// it](Consumer::hear_of_commits) later.
pub fn commit_by_itself(broker: &Broker, group: &mut Subscribed, assigned: &mut [Assigned]) -> Result<()> {
    if group.may_wait {
        return commit(broker, group, assigned);
    }
    let offsets = uncommitted(assigned);
    if let Some(pending) = append(broker, group, &offsets)? {
        let offsets = offsets.into_iter().map(|offset| (offset.log, offset.position)).collect();
        let (commit, generation) = (Commit::new(Some(pending)), group.generation);
        group.begun.push(Begun { commit, generation, offsets });
    }
    Ok(())
}

/// Commits what the caller says.
pub fn commit_offsets(
    broker: &Broker,
    group: &Subscribed,
    assigned: &mut [Assigned],
    offsets: impl IntoIterator<Item = (Partition, OffsetAndMetadata)>,
) -> Result<()> {
    let offset = |(partition, offset): (Partition, OffsetAndMetadata)| {
        let found = assigned.iter().find(|assigned| Arc::ptr_eq(assigned.log(), partition.log()));
        let (position, metadata) = offset.into_parts();
        let offset = OffsetToCommit { log: Arc::clone(partition.log()), position, metadata };
        match found {
            None => Err(not_assigned(&partition).advise(AFTER_REVOCATION)),
            Some(assigned) if assigned.share.is_some() => Err(is_acquired(assigned)),
            Some(_) => Ok(offset),
        }
    };
    let offsets = offsets.into_iter().map(offset).collect::<Result<Vec<_>>>()?;
    wait(broker, group, assigned, &offsets)
}

/// Commits what was handed out before the last poll began, without waiting for the disk.
pub fn commit_processed(broker: &Broker, group: &Subscribed, assigned: &[Assigned]) -> Result<()> {
    let processed = assigned.iter().filter_map(|assigned| Some(offset_of(assigned, assigned.unsaved()?)));
    append(broker, group, &processed.collect::<Vec<_>>()).map(drop)
}

fn uncommitted(assigned: &[Assigned]) -> Vec<OffsetToCommit> {
    assigned.iter().filter_map(to_commit).collect()
}

fn to_commit(assigned: &Assigned) -> Option<OffsetToCommit> {
    let Some(share) = &assigned.share else { return Some(offset_of(assigned, assigned.uncommitted()?)) };
    let (position, metadata) = share.unsaved()?;
    Some(OffsetToCommit { log: Arc::clone(assigned.log()), position, metadata })
}

/// What was acquired of these is settled now, or not at all: commits what was, without waiting for the disk.
pub fn commit_settled(broker: &Broker, group: &Subscribed, assigned: &[Assigned]) -> Result<()> {
    let shares = assigned.iter().filter(|assigned| assigned.share.is_some());
    append(broker, group, &shares.filter_map(to_commit).collect::<Vec<_>>()).map(drop)
}

fn offset_of(assigned: &Assigned, position: Position) -> OffsetToCommit {
    OffsetToCommit { log: Arc::clone(assigned.log()), position, metadata: "".into() }
}

fn append(broker: &Broker, group: &Subscribed, offsets: &[OffsetToCommit]) -> Result<Option<PendingCommit>> {
    broker.check_open()?;
    if offsets.is_empty() {
        return Ok(None);
    }
    let member = Some(group.membership.id());
    group.membership.coordinator().commit(broker.shared(), member, offsets).map(Some)
}

fn wait(
    broker: &Broker,
    group: &Subscribed,
    assigned: &mut [Assigned],
    offsets: &[OffsetToCommit],
) -> Result<()> {
    let Some(pending) = append(broker, group, offsets)? else { return Ok(()) };
    pending.wait()?;
    for OffsetToCommit { log, position, metadata } in offsets {
        if let Some(assigned) = assigned.iter_mut().find(|assigned| Arc::ptr_eq(assigned.log(), log)) {
            assigned.progress.committed = Some(*position);
            if let Some(share) = &mut assigned.share {
                share.note_saved(*position, metadata);
            }
        }
    }
    Ok(())
}

fn is_acquired(assigned: &Assigned) -> Error {
    let what = "records of the partition are acquired: what is settled is committed by itself";
    let error = assigned.log().place(Error::new(ErrorKind::InvalidRequest, what));
    error.advise("accept, release or reject them, or seek")
}

fn in_no_group() -> Error {
    Error::new(ErrorKind::InvalidGroupId, "the consumer is in no group")
        .advise("name a group, and subscribe to topics")
}
