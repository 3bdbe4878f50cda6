//! Acquiring: records that are settled one by one, by whoever works on them.

use std::sync::Arc;
use std::time::Duration;

use super::acquired_records::{AcquiredRecord, AcquiredRecords};
use super::assigned::{Assigned, Fetched, Limits};
use super::consumer::Consumer;
use super::membership::is_of_rebalance;
use super::share_partition::{Share, SharePartition, size_of};
use super::subscribed::Subscribed;
use super::{committing, dead_letters};
use crate::error::{Error, ErrorKind, Result};
use crate::group::Acquisition;
use crate::record_batch::OwnedRecord;
use crate::sync::Signal;

/// How records are taken from a consumer; it is one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    Polling,
    Acquiring,
}

/// The default of [`ConsumerBuilder::delivery_count_limit`](super::ConsumerBuilder::delivery_count_limit).
const DELIVERY_COUNT_LIMIT: u32 = 5;

/// A record that is handed out once it is committed that it is.
type Taken = (Arc<SharePartition>, Acquisition<Arc<OwnedRecord>>);

impl Consumer {
    /// The records that come next, each to be [accepted](AcquiredRecord::accept), [released](AcquiredRecord::release) or
    /// [rejected](AcquiredRecord::reject) on its own, on any thread, while the consumer goes on: every record is worked on at least once
    /// (Kafka: a share consumer's `poll`, KIP-932; a partition is one consumer's all the same). Waits up to `timeout` for the first one.
    ///
    /// *Order.* Records of a partition are handed out in their order, as many as fit, to as many workers. One that was released, or
    /// dropped, comes again before anything that was not handed out yet, and nothing behind it is handed out for the first time until
    /// it is settled. With [`max_poll_records(1)`](crate::ConsumerBuilder::max_poll_records), and each settled before the next
    /// `acquire`, they are worked on strictly in order.
    ///
    /// *Commits* move by themselves, up to the first record that is not settled: with each `acquire`, also while it waits, with
    /// [`commit`](Self::commit), when a partition is revoked, and when the consumer is dropped.
    ///
    /// *Attempts.* Before records are handed out, it is committed durably how often each was (in the metadata of the group's commit), so
    /// that a record which ends the process is counted as well. One that was handed out [as often as it
    /// may](crate::ConsumerBuilder::delivery_count_limit) is rejected. What is rejected is appended durably to the [dead-letter
    /// topic](crate::ConsumerBuilder::dead_letter_topic) before a commit passes it; without one the partition stops there.
    ///
    /// *Memory.* At most 500 records of a partition, and about [`fetch_max_bytes`](crate::ConsumerBuilder::fetch_max_bytes) and a batch of
    /// it, are read and not settled.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-acquire-{}", std::process::id()));
    /// use ottla::{Broker, Record, TopicConfig};
    /// use std::time::Duration;
    ///
    /// let broker = Broker::open(&dir)?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// let dead = broker.ensure_topic("orders.dead", TopicConfig::new())?;
    /// orders.producer().send_batch(&[Record::new("tea"), Record::new("?"), Record::new("cake")])?.wait()?;
    ///
    /// let mut consumer = broker.consumer().group("kitchen").dead_letter_topic("orders.dead").subscribe(["orders"])?;
    /// let workers: Vec<_> = consumer
    ///     .acquire(Duration::from_secs(1))?
    ///     .into_iter()
    ///     .map(|order| {
    ///         std::thread::spawn(move || match order.value() {
    ///             Some(b"?") => order.reject("not on the menu"),
    ///             _ => order.accept(),
    ///         })
    ///     })
    ///     .collect();
    /// for worker in workers {
    ///     worker.join().unwrap()?;
    /// }
    /// consumer.commit()?;
    /// assert_eq!(consumer.committed(&orders.partition(0)?)?.unwrap().position().offset(), 3);
    /// assert_eq!(dead.partition(0)?.high_watermark(), 1);
    /// # drop((consumer, orders, dead, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`poll`](Self::poll) and [`commit`](Self::commit), and nothing is handed out;
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) if the consumer has polled: it does one or the other;
    /// [`UnknownMemberId`](ErrorKind::UnknownMemberId), once, if records were settled that could no longer be committed, since the
    /// consumer had not acquired for [too long](crate::ConsumerBuilder::max_poll_interval): they come again;
    /// [`RejectedRecord`](ErrorKind::RejectedRecord) for a record that was rejected, if there is no dead-letter topic: again and
    /// again, once the others have nothing more, until a [`seek`](Self::seek) passes it or its partition is [paused](Self::pause);
    /// those of appending to the dead-letter topic: it is tried again by the next call.
    pub fn acquire(&mut self, timeout: Duration) -> Result<AcquiredRecords> {
        self.require_group_mut()?;
        self.take_by(Taking::Acquiring)?;
        let deadline = self.clock.monotonic().saturating_add(timeout);
        let acquired = self.begin_poll(true).and_then(|()| self.acquire_until(deadline));
        self.end_poll();
        acquired
    }

    /// Fails if records were taken in another way, or are to be.
    pub(super) fn take_by(&mut self, taking: Taking) -> Result<()> {
        let is_to_acquire = self.group.as_ref().is_some_and(|group| group.settings.delivery.is_set());
        if taking == Taking::Polling && is_to_acquire {
            let what =
                "the consumer has a dead-letter topic or a delivery count limit, which polls do not know";
            return Err(Error::new(ErrorKind::InvalidRequest, what).advise("acquire, or leave them out"));
        }
        if *self.taking.get_or_insert(taking) == taking {
            return Ok(());
        }
        let what = match taking {
            Taking::Acquiring => "the consumer has polled, and so cannot acquire",
            Taking::Polling => "the consumer has acquired records, and so cannot poll",
        };
        Err(Error::new(ErrorKind::InvalidRequest, what).advise("use two consumers, or one of the two calls"))
    }

    fn acquire_until(&mut self, deadline: Duration) -> Result<AcquiredRecords> {
        loop {
            let seen = self.wakeup.signal().generation();
            self.check_wakeup()?;
            let next = self.keep_membership()?;
            let (taken, failure) = self.take_records();
            match self.commit_acquired() {
                Err(error) => {
                    taken.iter().for_each(|(partition, record)| partition.take_back(record.offset));
                    // Until the group is stable again, which raises the signal.
                    if !is_of_rebalance(&error) {
                        return Err(error);
                    }
                }
                Ok(()) if !taken.is_empty() => {
                    let records =
                        taken.into_iter().map(|(partition, record)| AcquiredRecord::new(partition, record));
                    return Ok(AcquiredRecords::new(records.collect()));
                }
                Ok(()) => failure.or_else(|| self.untaken()).map_or(Ok(()), Err)?,
            }
            if self.clock.monotonic() >= deadline {
                return Ok(AcquiredRecords::default());
            }
            if !self.make_visible() {
                self.clock.wait(self.wakeup.signal(), seen, deadline.min(next));
            }
        }
    }

    /// What comes next, beginning with the partition whose turn it is, and why some of them have nothing.
    fn take_records(&mut self) -> (Vec<Taken>, Option<Error>) {
        let (mut taken, mut bytes, mut failure) = (Vec::new(), 0_usize, None);
        let (count, first) = (self.assigned.len(), self.turn);
        for step in 0..count {
            let at = (first + step) % count;
            let most = self.limits.records.saturating_sub(taken.len());
            if most == 0 || (bytes >= self.limits.bytes && !taken.is_empty()) {
                break;
            }
            self.turn = at + 1;
            let before = taken.len();
            if let Err(error) = self.take_from(at, most, &mut taken) {
                failure.get_or_insert(error);
            }
            let sizes = taken.iter().skip(before).map(|(_, taken)| size_of(&taken.record));
            bytes = bytes.saturating_add(sizes.sum());
        }
        (taken, failure)
    }

    fn take_from(&mut self, at: usize, mut most: usize, taken: &mut Vec<Taken>) -> Result<()> {
        let Self { broker, limits, assigned, group, wakeup, .. } = self;
        let (Some(assigned), Some(group)) = (assigned.get_mut(at), group) else { return Ok(()) };
        if assigned.is_paused {
            return Ok(());
        }
        if let Some(error) = &assigned.misplaced {
            return Err(error.clone());
        }
        let signal = wakeup.signal();
        let partition = share_of(assigned, group, signal)?;
        loop {
            // First, for it holds up what is behind it.
            let buried = dead_letters::bury(broker, group, &partition);
            let acquired = partition.acquire(most);
            most = most.saturating_sub(acquired.len());
            taken.extend(acquired.into_iter().map(|record| (Arc::clone(&partition), record)));
            match read_on(assigned, &partition, most, *limits) {
                Ok(0) => return buried,
                read => _ = read?,
            }
        }
    }

    fn commit_acquired(&mut self) -> Result<()> {
        let Self { broker, group: Some(group), assigned, .. } = self else { return Ok(()) };
        committing::commit(broker, group, assigned)
    }

    /// Brings what was rejected to the dead-letter topic.
    pub(super) fn bury(&mut self) -> Result<()> {
        let Self { broker, group: Some(group), assigned, .. } = self else { return Ok(()) };
        dead_letters::bury_all(broker, group, assigned.iter().filter_map(Assigned::shared))
    }
}

/// What is handed out of the partition; it begins where the group has left it.
fn share_of(
    assigned: &mut Assigned,
    group: &Subscribed,
    signal: &Arc<Signal>,
) -> Result<Arc<SharePartition>> {
    if let Some(share) = &assigned.share {
        return Ok(Arc::clone(share.shared()));
    }
    let committed = group.membership.coordinator().committed(&assigned.name())?;
    let committed = committed.map(|committed| (committed.offset, committed.metadata));
    let limit = group.settings.delivery.count_limit.unwrap_or(DELIVERY_COUNT_LIMIT);
    let log = Arc::clone(assigned.log());
    let share = Share::new(log, Arc::clone(signal), assigned.position(), committed, limit);
    let shared = Arc::clone(share.shared());
    assigned.share = Some(share);
    Ok(shared)
}

/// Reads what there is room for; how many records it was.
fn read_on(
    assigned: &mut Assigned,
    partition: &SharePartition,
    most: usize,
    limits: Limits,
) -> Result<usize> {
    let (records, bytes) = partition.room(limits.bytes);
    let limits = Limits { records: records.min(most), bytes };
    if limits.records == 0 || limits.bytes == 0 {
        return Ok(0);
    }
    let mut fetched = Fetched::default();
    let read = assigned.fetch(&mut fetched, limits);
    // What was read before it failed is read.
    let records = fetched.records.iter().map(|record| partition.push(record.to_owned(), record.position()));
    match records.count() {
        0 => read.map(|()| 0),
        count => Ok(count),
    }
}
