//! Committing offsets, and what is committed.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::coordinator::{GroupCoordinator, State, record_of};
use super::error::refused;
use super::offsets_topic;
use super::replayed::Replayed;
use crate::broker::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{
    Committed, Group, GroupConfig, GroupError, GroupRecord, GroupState, MemberId, OffsetCommitValue,
    TopicPartition,
};
use crate::model::{Compression, Position};
use crate::mutant::{self, Mutant};
use crate::partition_log::{Assigned, IfFull, PartitionLog, Reach, Registration};

/// How much may be kept beside a commit (Kafka: `offset.metadata.max.bytes`).
pub const METADATA_MAX_BYTES: usize = 4096;

/// What is to be committed of a partition.
#[derive(Clone, Debug)]
pub struct OffsetToCommit {
    pub log: Arc<PartitionLog>,
    pub position: Position,
    pub metadata: Arc<str>,
}

/// What is committed, with the place of the record in the internal topic that says so.
#[derive(Clone, Debug)]
pub struct Published {
    pub committed: Committed,
    pub at: u64,
}

/// A commit that was appended.
pub(super) struct InFlight {
    log: Arc<PartitionLog>,
    assigned: Assigned,
    commits: Vec<(TopicPartition, Committed)>,
}

/// A commit that was appended, and becomes durable.
#[must_use = "it is committed once it was waited for"]
#[derive(Debug)]
pub struct PendingCommit {
    coordinator: Arc<GroupCoordinator>,
    log: Arc<PartitionLog>,
    assigned: Assigned,
}

impl OffsetToCommit {
    /// Fails for what no group can commit.
    fn check(&self) -> Result<()> {
        self.log.check_readable()?;
        let len = self.metadata.len();
        if len > METADATA_MAX_BYTES {
            let what = format!("the metadata of a commit has {len} bytes, and may have {METADATA_MAX_BYTES}");
            let error = Error::new(ErrorKind::OffsetMetadataTooLarge, what).advise("keep it elsewhere");
            return Err(self.log.place(error));
        }
        let (offset, end) = (self.position.offset(), self.log.high_watermark());
        if offset > end && !mutant::is(Mutant::CommitAboveEnd) {
            let what = format!("the offset was not reached by anybody: what can be read ends at {end}");
            let error = Error::new(ErrorKind::OffsetOutOfRange, what).at_offset(offset);
            let error = error.available(self.log.log_start_offset()..=end);
            return Err(self
                .log
                .place(error)
                .advise("commit the offset behind the last record that was read"));
        }
        Ok(())
    }

    /// Returns once what it names is on stable storage.
    fn wait_durable(&self) -> Result<()> {
        let (offset, end) = (self.position.offset(), self.log.high_watermark());
        // What nobody has sent never comes.
        let offset = if mutant::is(Mutant::CommitAboveEnd) { offset.min(end) } else { offset };
        mutant::unless(Mutant::CommitBeforeData, || self.log.wait_durable(offset))
    }

    fn partition(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(self.log.topic()), self.log.partition())
    }
}

impl GroupCoordinator {
    /// Appends a commit, of a member of this process or of nobody; all of it or nothing.
    ///
    /// What it names is made durable first, where the topic's durability is less.
    pub fn commit(
        self: &Arc<Self>,
        shared: &Shared,
        member: Option<&MemberId>,
        offsets: &[OffsetToCommit],
    ) -> Result<PendingCommit> {
        shared.check_open()?;
        for offset in offsets {
            offset.check()?;
            offset.wait_durable()?;
        }
        let log = self.ensure_log(shared)?;
        loop {
            log.make_room(IfFull::Wait)?;
            let persisting = {
                let state = &mut *self.state.lock();
                match self.check_commit(state, member) {
                    Err(GroupError::RebalanceInProgress) if state.persisting().is_some() => {
                        state.persisting()
                    }
                    Err(error) => return Err(refused(&self.id, error)),
                    Ok(()) => match self.append_commit(state, &log, offsets) {
                        Err(error) if error.kind() == ErrorKind::BufferExhausted => continue,
                        appended => return appended,
                    },
                }
            };
            // The members have joined, and their assignment is on its way to the disk: it is there in a moment.
            if let Some((log, assigned)) = persisting {
                _ = log.wait(assigned, Reach::Durable);
            }
        }
    }

    fn check_commit(&self, state: &mut State, member: Option<&MemberId>) -> Result<(), GroupError> {
        let generation = member.and_then(|member| state.members.get(member)).map(|handle| handle.generation);
        state.group.commit_check(member, generation, self.clock.monotonic())
    }

    fn append_commit(
        self: &Arc<Self>,
        state: &mut State,
        log: &Arc<PartitionLog>,
        offsets: &[OffsetToCommit],
    ) -> Result<PendingCommit> {
        // A topic that was deleted meanwhile is forgotten under this lock, once and for all.
        offsets.iter().try_for_each(|offset| offset.log.check_readable())?;
        let now = self.clock.now();
        let committed = |offset: &OffsetToCommit| Committed {
            offset: offset.position.offset(),
            leader_epoch: offset.log.lasting_epoch(offset.position),
            metadata: Arc::clone(&offset.metadata),
            commit_timestamp: now,
        };
        let commits: Vec<_> = offsets.iter().map(|offset| (offset.partition(), committed(offset))).collect();
        let encoded = commits.iter().map(|(partition, committed)| self.encode_commit(partition, committed));
        let encoded = encoded.collect::<Result<Vec<_>>>()?;
        let records: Vec<_> = encoded.iter().map(|(key, value)| record_of(key, value.as_deref())).collect();
        let assigned = log.append_batch(&records, Compression::None, IfFull::Fail)?;
        state.settle_known();
        state.in_flight.push(InFlight { log: Arc::clone(log), assigned, commits });
        Ok(PendingCommit { coordinator: Arc::clone(self), log: Arc::clone(log), assigned })
    }

    fn encode_commit(
        &self,
        partition: &TopicPartition,
        committed: &Committed,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let value = OffsetCommitValue {
            offset: Some(committed.offset),
            leader_epoch: committed.leader_epoch,
            metadata: Arc::clone(&committed.metadata),
            commit_timestamp: committed.commit_timestamp,
        };
        let (group, partition) = (Arc::clone(&self.id), partition.clone());
        GroupRecord::OffsetCommit { group, partition, value: Some(value) }.encode()
    }

    /// What is committed of a partition, once it is known what became of the commits that are under way.
    pub fn committed(self: &Arc<Self>, partition: &TopicPartition) -> Result<Option<Committed>> {
        self.settle_commits()?;
        self.committed_so_far(partition)
    }

    /// The first of the commits that are under way.
    pub fn under_way(self: &Arc<Self>) -> Option<PendingCommit> {
        let state = self.state.lock();
        let InFlight { log, assigned, .. } = state.in_flight.first()?;
        Some(PendingCommit { coordinator: Arc::clone(self), log: Arc::clone(log), assigned: *assigned })
    }

    /// What is committed of a partition, whatever is under way.
    pub fn committed_so_far(&self, partition: &TopicPartition) -> Result<Option<Committed>> {
        self.refresh()?;
        Ok(self.state.lock().offsets.get(partition).map(|published| published.committed.clone()))
    }

    /// Waits for the commits that are under way; what becomes of each is for whoever has made it.
    pub(super) fn settle_commits(self: &Arc<Self>) -> Result<()> {
        loop {
            let next = {
                let state = self.state.lock();
                state.in_flight.first().map(|commit| (Arc::clone(&commit.log), commit.assigned))
            };
            let Some((log, assigned)) = next else { return self.refresh() };
            let outcome = log.wait(assigned, Reach::Durable);
            self.settle(assigned, &outcome);
        }
    }

    /// Reads again what is committed, if nobody knows what became of a commit, or of the group's deletion.
    fn refresh(&self) -> Result<()> {
        let Some(log) = self.log.get().filter(|_| self.state.lock().is_stale) else { return Ok(()) };
        let (takes_records, end) = (log.takes_records(), log.high_watermark());
        let mut replayed = Replayed::default();
        replayed.read(log)?;
        let state = &mut *self.state.lock();
        let found = replayed.offsets_of(&self.id);
        // Of what was committed before that there is a tombstone by now.
        state.offsets.retain(|partition, known| known.at >= end || found.contains_key(partition));
        for (partition, published) in found {
            state.publish(partition, published);
        }
        if state.group.state() == GroupState::Empty && state.offsets.is_empty() && !replayed.has(&self.id) {
            state.group = Group::new(Arc::clone(&self.id), GroupConfig::default())
                .map_err(|error| refused(&self.id, error))?;
        }
        // As long as it was not reopened, what it shows is not all that it holds.
        state.is_stale = !takes_records;
        Ok(())
    }

    /// It is known what became of a commit.
    fn settle(&self, assigned: Assigned, outcome: &Result<()>) {
        let state = &mut *self.state.lock();
        let Some(at) = state.in_flight.iter().position(|commit| commit.assigned == assigned) else { return };
        let commit = state.in_flight.remove(at);
        state.take_in(commit, outcome);
    }

    /// The log of the group; the internal topic is made if there is none.
    pub(super) fn ensure_log(&self, shared: &Shared) -> Result<Arc<PartitionLog>> {
        if let Some(log) = self.log.get() {
            return Ok(Arc::clone(log));
        }
        let topic = offsets_topic::ensure(shared)?;
        let log = offsets_topic::log_of(&topic, &self.id)?;
        Ok(Arc::clone(self.log.get_or_init(|| log)))
    }
}

impl State {
    /// Takes in what is known by now of the first commits: whoever has made them may never ask.
    fn settle_known(&mut self) {
        let known = |commit: &InFlight| commit.log.known_outcome(commit.assigned, Reach::Durable);
        while let Some(outcome) = self.in_flight.first().and_then(known) {
            let commit = self.in_flight.remove(0);
            self.take_in(commit, &outcome);
        }
    }

    fn take_in(&mut self, commit: InFlight, outcome: &Result<()>) {
        match outcome {
            Ok(()) => {
                let at = commit.assigned.offset;
                for (partition, committed) in commit.commits {
                    self.publish(partition, Published { committed, at });
                }
            }
            Err(error) => self.is_stale |= error.kind() != ErrorKind::NotWritten,
        }
    }

    /// The newest record counts, in whatever order it is heard of them.
    fn publish(&mut self, partition: TopicPartition, published: Published) {
        let known = self.offsets.get(&partition);
        if known.is_none_or(|known| known.at <= published.at) {
            self.offsets.insert(partition, published);
        }
    }
}

impl PendingCommit {
    /// Returns once the commit is on stable storage.
    pub fn wait(&self) -> Result<()> {
        let wait = || self.log.wait(self.assigned, Reach::Durable);
        self.settled(mutant::unless(Mutant::CommitAckedBeforeSync, wait))
    }

    /// The same, at most so long.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        match self.log.wait_timeout(self.assigned, Reach::Durable, timeout) {
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(error),
            outcome => self.settled(outcome),
        }
    }

    /// The outcome, if there is one; else `waker` is called once there may be.
    pub fn poll(&self, registration: &mut Option<Registration>, waker: &Waker) -> Poll<Result<()>> {
        self.log.poll(self.assigned, Reach::Durable, registration, waker).map(|outcome| self.settled(outcome))
    }

    /// Nobody waits there any more.
    pub fn forget(&self, registration: &mut Option<Registration>) {
        self.log.forget(registration);
    }

    fn settled(&self, outcome: Result<()>) -> Result<()> {
        self.coordinator.settle(self.assigned, &outcome);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::broker::Broker;
    use crate::config::TopicConfig;
    use crate::vfs::MemoryVfs;

    #[test]
    fn commits_that_nobody_waits_for_do_not_pile_up() {
        let options = Broker::options().background(false).reserve_bytes(0);
        let broker = options.open_with(Arc::new(MemoryVfs::new()), Path::new("/data")).unwrap();
        let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
        let log = Arc::clone(orders.partition(0).unwrap().log());
        let shared = broker.shared();
        let group = shared.groups.coordinator(shared, "billing").unwrap();
        for number in 0..50 {
            let metadata = number.to_string().into();
            let offset = OffsetToCommit { log: Arc::clone(&log), position: Position::new(0, None), metadata };
            drop(group.commit(shared, None, &[offset]).unwrap());
            assert_eq!(group.state.lock().in_flight.len(), 1, "after {number} others");
            group.ensure_log(shared).unwrap().flush(Reach::Durable).unwrap();
        }
        let orders = TopicPartition::new(Arc::clone(log.topic()), 0);
        assert_eq!(&*group.committed(&orders).unwrap().unwrap().metadata, "49");
    }
}
