//! Looking at groups from outside, moving what they have committed, and deleting them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commits::{OffsetToCommit, Published};
use super::coordinator::{GroupCoordinator, State};
use super::description::{GroupDescription, GroupMember, GroupPartition};
use super::error::refused;
use super::listing::GroupListing;
use crate::broker::handle::Broker;
use crate::broker::partition::Partition;
use crate::broker::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Assignment, GroupError, GroupState, TopicPartition};
use crate::model::{Isolation, Position, Start, TopicName};
use crate::partition_log::{Assigned, IfFull, PartitionLog, Reach};

impl Broker {
    /// The groups that have members, or have committed something, sorted by their names.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-groups-{}", std::process::id()));
    /// # use {ottla::{Broker, Record, TopicConfig}, std::time::Duration};
    /// # let broker = Broker::open(&dir)?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// orders.producer().send(Record::new("paid"))?.wait()?;
    /// let mut consumer = broker.consumer().group("billing").subscribe(["orders"])?;
    /// consumer.poll(Duration::from_secs(1))?;
    /// consumer.commit()?;
    /// assert_eq!(broker.groups()?[0].name(), "billing");
    ///
    /// let billing = broker.describe_group("billing")?;
    /// assert_eq!(billing.members().len(), 1);
    /// assert_eq!(billing.partitions()[0].lag(), Some(0));
    /// # drop((consumer, orders, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed); those of reading `__consumer_offsets`, for whoever first uses a group.
    pub fn groups(&self) -> Result<Vec<GroupListing>> {
        let shared = self.shared();
        shared.check_open()?;
        shared.groups.load()?;
        let listing = |group: Arc<GroupCoordinator>| {
            let state = group.state.lock();
            let name = Arc::clone(&group.id);
            state.is_known().then(|| GroupListing { name, state: state.group.state() })
        };
        Ok(shared.groups.loaded().into_iter().filter_map(listing).collect())
    }

    /// The members of a group, and how far it has come.
    ///
    /// # Errors
    /// [`GroupIdNotFound`](crate::ErrorKind::GroupIdNotFound); those of [`groups`](Self::groups).
    pub fn describe_group(&self, name: &str) -> Result<GroupDescription> {
        let shared = self.shared();
        Ok(find(shared, name)?.describe(shared))
    }

    /// Moves what a group without members has committed: to where its next consumers begin. A group that there is not is made.
    ///
    /// # Errors
    /// With nothing changed: [`NonEmptyGroup`](crate::ErrorKind::NonEmptyGroup) if the group has members;
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) below the log start or above the high watermark;
    /// [`LogTruncated`](crate::ErrorKind::LogTruncated) for a position below which something was taken back;
    /// [`InvalidGroupId`](crate::ErrorKind::InvalidGroupId) for an empty name; those of
    /// [`Consumer::commit`](crate::Consumer::commit).
    pub fn alter_group_offsets(
        &self,
        name: &str,
        offsets: impl IntoIterator<Item = (Partition, Position)>,
    ) -> Result<()> {
        let shared = self.shared();
        let group = shared.groups.coordinator(shared, name)?;
        let offset = |(partition, position): (Partition, Position)| OffsetToCommit {
            log: Arc::clone(partition.log()),
            position,
            metadata: "".into(),
        };
        let offsets: Vec<_> = offsets.into_iter().map(offset).collect();
        if offsets.is_empty() {
            return Ok(());
        }
        for offset in &offsets {
            offset.log.resolve(Start::Resume(offset.position), Isolation::ReadUncommitted)?;
        }
        // To the coordinator whoever commits without being a member is one that it does not know.
        let has_members = |error: Error| match error.kind() {
            ErrorKind::UnknownMemberId => refused(name, GroupError::NonEmptyGroup),
            _ => error,
        };
        group.commit(shared, None, &offsets).map_err(has_members)?.wait()
    }

    /// Deletes a group, with what it has committed: consumers that are given its name begin anew.
    ///
    /// # Errors
    /// [`NonEmptyGroup`](crate::ErrorKind::NonEmptyGroup) if it has members;
    /// [`GroupIdNotFound`](crate::ErrorKind::GroupIdNotFound); those of [`Delivery::wait`](crate::Delivery::wait), of
    /// `__consumer_offsets`.
    pub fn delete_group(&self, name: &str) -> Result<()> {
        let shared = self.shared();
        let group = find(shared, name)?;
        let tombstones = group.bury()?;
        shared.groups.remove(&group);
        match tombstones {
            Some((log, assigned)) => log
                .wait(assigned, Reach::Durable)
                .inspect_err(|error| shared.groups.bring_back(&group, error)),
            None => Ok(()),
        }
    }
}

fn find(shared: &Shared, name: &str) -> Result<Arc<GroupCoordinator>> {
    shared.check_open()?;
    if name.is_empty() {
        return Err(refused(name, GroupError::InvalidGroupId));
    }
    shared.groups.load()?;
    let found = shared.groups.loaded().into_iter().find(|group| *group.id == *name);
    // Of a deletion that may or may not have come through it is known by now, perhaps.
    found.iter().try_for_each(GroupCoordinator::settle_commits)?;
    let found = found.filter(|group| group.state.lock().is_known());
    found.ok_or_else(|| refused(name, GroupError::GroupIdNotFound))
}

impl State {
    /// Whether there is anything to say of the group.
    fn is_known(&self) -> bool {
        let is_empty = self.group.state() == GroupState::Empty && self.group.generation() == 0;
        !is_empty || !self.offsets.is_empty() || !self.in_flight.is_empty()
    }
}

impl GroupCoordinator {
    fn describe(&self, shared: &Shared) -> GroupDescription {
        let state = self.state.lock();
        let group = &state.group;
        let mut members = Vec::new();
        let mut owners = BTreeMap::new();
        for (id, member) in group.members() {
            // What a remote leader has written, and nobody can read, is nobody's.
            let assigned = Assignment::decode(member.assignment()).unwrap_or_default().partitions;
            members.push(GroupMember {
                id: id.to_string(),
                client_id: Arc::clone(member.client_id()),
                host: Arc::clone(member.client_host()),
                is_leader: group.leader() == Some(id),
                partitions: assigned.len(),
            });
            owners.extend(assigned.into_iter().map(|partition| (partition, id.to_string())));
        }
        let names: std::collections::BTreeSet<_> =
            owners.keys().chain(state.offsets.keys()).cloned().collect();
        let partition = |name| partition(shared, &state.offsets, &owners, name);
        GroupDescription {
            name: Arc::clone(&self.id),
            state: group.state(),
            generation: group.generation(),
            protocol_type: Arc::clone(group.protocol_type()),
            assignor: group.protocol().cloned(),
            partitions: names.into_iter().map(partition).collect(),
            members,
        }
    }

    /// Ends the group, and appends that nothing of it is left.
    fn bury(self: &Arc<Self>) -> Result<Option<(Arc<PartitionLog>, Assigned)>> {
        loop {
            self.settle_commits()?;
            let log = self.log.get();
            if let Some(log) = log {
                log.make_room(IfFull::Wait)?;
            }
            let state = &mut *self.state.lock();
            state.group.delete_check().map_err(|error| refused(&self.id, error))?;
            if !state.in_flight.is_empty() {
                // Of each that is published there has to be a tombstone.
                continue;
            }
            let appended = match log {
                Some(log) => match self.append_tombstones(state.offsets.keys(), true, log) {
                    Err(error) if error.kind() == ErrorKind::BufferExhausted => continue,
                    appended => Some((Arc::clone(log), appended?)),
                },
                None => None,
            };
            state.group.delete().map_err(|error| refused(&self.id, error))?;
            return Ok(appended);
        }
    }
}

fn partition(
    shared: &Shared,
    offsets: &BTreeMap<TopicPartition, Published>,
    owners: &BTreeMap<TopicPartition, String>,
    name: TopicPartition,
) -> GroupPartition {
    let committed = offsets.get(&name).map(|published| &published.committed);
    let topic = TopicName::new(&name.topic).ok().and_then(|topic| shared.topics.read().get(&topic).cloned());
    let log = topic.as_ref().and_then(|topic| topic.logs.get(name.partition));
    GroupPartition {
        committed: committed.map(|committed| Position::new(committed.offset, committed.leader_epoch)),
        metadata: committed.map_or_else(|| "".into(), |committed| Arc::clone(&committed.metadata)),
        commit_timestamp: committed.map(|committed| committed.commit_timestamp),
        available: log.map(|log| (log.log_start_offset(), log.high_watermark())),
        member: owners.get(&name).cloned(),
        partition: name.partition,
        topic: name.topic,
    }
}
