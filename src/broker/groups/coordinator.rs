//! One group of an open directory: its state machine, its commits, and the members of this process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use super::commits::{InFlight, Published};
use super::mailbox::{Mail, Mailbox};
use super::sharing;
use crate::broker::topic_logs::Topics;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{
    Effect, Generation, Group, GroupError, GroupMetadataValue, GroupRecord, GroupSnapshot, JoinAnswer,
    MemberId, MemberMetadata, MemberSnapshot, PartitionCounts, TopicPartition,
};
use crate::model::{Compression, Record};
use crate::partition_log::{Assigned, IfFull, PartitionLog, Reach, Registration};
use crate::sync::{Mutex, OnceLock};

/// One group.
pub struct GroupCoordinator {
    pub(super) id: Arc<str>,
    pub(super) clock: Clock,
    pub(super) topics: Arc<Topics>,
    /// The partition of `__consumer_offsets` that holds the group, once there is one.
    pub(super) log: OnceLock<Arc<PartitionLog>>,
    pub(super) state: Mutex<State>,
    /// For those who wake it.
    pub(super) itself: Weak<Self>,
}

/// What lies under the mutex of a group.
pub(super) struct State {
    pub group: Group,
    pub members: BTreeMap<MemberId, Handle>,
    pub offsets: BTreeMap<TopicPartition, Published>,
    /// Commits that were appended, and of which nobody knows yet what became.
    pub in_flight: Vec<InFlight>,
    /// Nobody knows what became of a commit: what is committed is to be read again, once the internal partition was reopened.
    pub is_stale: bool,
    /// What the leader has assigned, on its way to the disk.
    persisting: Option<Persisting>,
    /// What was shared out last.
    shared_topics: BTreeSet<Arc<str>>,
    shared_counts: PartitionCounts,
}

/// A member of this process.
pub(super) struct Handle {
    pub mailbox: Arc<Mailbox>,
    pub mail: Mail,
    /// That which it was told last.
    pub generation: Generation,
    pub is_joining: bool,
    pub max_poll_interval: Duration,
}

/// The metadata of a generation, appended and not durable yet.
struct Persisting {
    generation: Generation,
    log: Arc<PartitionLog>,
    assigned: Assigned,
    registration: Option<Registration>,
}

/// How long members wait before they join again after the group could not be written.
const BACK_OFF: Duration = Duration::from_millis(100);

impl GroupCoordinator {
    pub(super) fn new(
        group: Group,
        offsets: BTreeMap<TopicPartition, Published>,
        clock: Clock,
        topics: Arc<Topics>,
    ) -> Arc<Self> {
        let state = State {
            members: BTreeMap::new(),
            offsets,
            in_flight: Vec::new(),
            is_stale: false,
            persisting: None,
            shared_topics: BTreeSet::new(),
            shared_counts: PartitionCounts::new(),
            group,
        };
        Arc::new_cyclic(|itself| Self {
            id: Arc::clone(state.group.id()),
            clock,
            topics,
            log: OnceLock::new(),
            state: Mutex::new(state),
            itself: Weak::clone(itself),
        })
    }

    /// Applies what the state machine asks for, until it asks for nothing more.
    pub(super) fn apply(&self, state: &mut State, effects: Vec<Effect>) {
        let now = self.clock.monotonic();
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Joined { member, answer } => queue.extend(self.joined(state, &member, answer, now)),
                Effect::Synced { member, answer } => state.synced(&member, answer, now),
                Effect::RebalanceStarted => state.ask_to_join(now),
                Effect::Removed { member, .. } => state.tell(&member, |mail| mail.is_lost = true),
                Effect::Persist(snapshot) => queue.extend(self.persist(state, snapshot, now)),
            }
        }
    }

    /// A member of this process asks for its assignment at once, and the leader gives them: nobody has to wait for its thread.
    fn joined(
        &self,
        state: &mut State,
        member: &MemberId,
        answer: Result<JoinAnswer, GroupError>,
        now: Duration,
    ) -> Vec<Effect> {
        let Some(handle) = state.members.get_mut(member) else { return Vec::new() };
        handle.is_joining = false;
        let Ok(answer) = answer else {
            state.tell(member, |mail| mail.is_lost = true);
            return Vec::new();
        };
        handle.generation = answer.generation;
        let assignments = match answer.leader == *member {
            false => Vec::new(),
            true => match sharing::share_out(&answer, &self.topics) {
                Ok(shared) => {
                    (state.shared_topics, state.shared_counts) = (shared.topics, shared.counts);
                    shared.assignments
                }
                Err(error) => {
                    state.tell(member, |mail| mail.error = Some(error));
                    return Vec::new();
                }
            },
        };
        match state.group.sync(member, answer.generation, assignments, now) {
            Ok(effects) => effects,
            Err(error) => {
                state.synced(member, Err(error), now);
                Vec::new()
            }
        }
    }

    /// Appends the metadata of a generation; it is waited for where no lock is held.
    fn persist(&self, state: &mut State, snapshot: GroupSnapshot, now: Duration) -> Vec<Effect> {
        let (generation, has_members) = (snapshot.generation, !snapshot.members.is_empty());
        match self.append_metadata(snapshot) {
            Ok((log, assigned)) if has_members => {
                state.forget_persisting();
                state.persisting = Some(Persisting { generation, log, assigned, registration: None });
                self.look_at_persisting(state, now)
            }
            Err(error) if has_members => self.not_persisted(state, generation, &error, now),
            // Of an empty group nobody waits for it, and the generation before it tells the same.
            _ => Vec::new(),
        }
    }

    fn append_metadata(&self, snapshot: GroupSnapshot) -> Result<(Arc<PartitionLog>, Assigned)> {
        let log = self.log.get().ok_or_else(|| {
            Error::new(ErrorKind::UnknownTopicOrPartition, "there is no topic for the group")
                .in_topic(super::offsets_topic::NAME)
        })?;
        let value = metadata_value(snapshot, self.clock.now());
        let record = GroupRecord::GroupMetadata { group: Arc::clone(&self.id), value: Some(value) };
        let (key, value) = record.encode()?;
        let record = record_of(&key, value.as_deref());
        Ok((Arc::clone(log), log.append(&record, Compression::None, IfFull::Fail)?))
    }

    /// What became of the metadata, if that is known; else it is looked at again when it is.
    fn look_at_persisting(&self, state: &mut State, now: Duration) -> Vec<Effect> {
        let Some(persisting) = &mut state.persisting else { return Vec::new() };
        let waker = Waker::from(Arc::new(Persisted(Weak::clone(&self.itself))));
        let Persisting { generation, log, assigned, registration } = persisting;
        match log.poll(*assigned, Reach::Durable, registration, &waker) {
            Poll::Pending => Vec::new(),
            Poll::Ready(outcome) => {
                let generation = *generation;
                state.persisting = None;
                match outcome {
                    Ok(()) => state.group.persisted(generation, true, now),
                    Err(error) => self.not_persisted(state, generation, &error, now),
                }
            }
        }
    }

    fn not_persisted(
        &self,
        state: &mut State,
        generation: Generation,
        error: &Error,
        now: Duration,
    ) -> Vec<Effect> {
        let effects = state.group.persisted(generation, false, now);
        let waiting: Vec<_> = state.group.members().map(|(id, _)| id.clone()).collect();
        for member in &waiting {
            state.tell(member, |mail| mail.error = Some(error.clone()));
        }
        effects
    }

    /// Something may have become of the metadata.
    fn persist_ended(&self) {
        let state = &mut *self.state.lock();
        let effects = self.look_at_persisting(state, self.clock.monotonic());
        self.apply(state, effects);
    }

    /// Topics have come, gone or grown: members look at what they subscribe to, and the leader shares out anew.
    pub(super) fn topics_changed(&self) {
        let state = &mut *self.state.lock();
        let members: Vec<_> = state.members.keys().cloned().collect();
        for member in &members {
            state.tell(member, |mail| mail.topics_changed = true);
        }
        let counts = sharing::counts(&self.topics, &state.shared_topics);
        let leader = state.group.leader().cloned().filter(|_| counts != state.shared_counts);
        if let Some(leader) = leader {
            let now = self.clock.monotonic();
            state.tell(&leader, |mail| mail.rejoin = Some(now));
        }
    }

    /// Wakes every member: the broker is closed.
    pub(super) fn wake_all(&self) {
        self.state.lock().members.values().for_each(|handle| handle.mailbox.wake());
    }
}

impl State {
    /// Puts something into the mailbox of a member of this process.
    pub fn tell(&mut self, member: &MemberId, put: impl FnOnce(&mut Mail)) {
        if let Some(handle) = self.members.get_mut(member) {
            put(&mut handle.mail);
            handle.mailbox.ring();
        }
    }

    fn synced(&mut self, member: &MemberId, answer: Result<bytes::Bytes, GroupError>, now: Duration) {
        let Some(handle) = self.members.get(member) else { return };
        let generation = handle.generation;
        self.tell(member, |mail| match answer {
            Ok(assignment) => mail.assignment = Some((generation, assignment)),
            Err(GroupError::CoordinatorNotAvailable) => mail.rejoin = Some(now.saturating_add(BACK_OFF)),
            Err(GroupError::RebalanceInProgress) => {
                mail.rejoin.get_or_insert(now);
            }
            Err(_) => mail.is_lost = true,
        });
    }

    /// Everybody who waits for nothing.
    fn ask_to_join(&mut self, now: Duration) {
        for handle in self.members.values_mut().filter(|handle| !handle.is_joining) {
            handle.mail.rejoin.get_or_insert(now);
            handle.mailbox.ring();
        }
    }

    /// The assignment of the members, if it is on its way to the disk.
    pub fn persisting(&self) -> Option<(Arc<PartitionLog>, Assigned)> {
        let persisting = self.persisting.as_ref()?;
        Some((Arc::clone(&persisting.log), persisting.assigned))
    }

    fn forget_persisting(&mut self) {
        if let Some(mut before) = self.persisting.take() {
            before.log.forget(&mut before.registration);
        }
    }
}

/// Looks at what became of a group's metadata.
struct Persisted(Weak<GroupCoordinator>);

impl Wake for Persisted {
    fn wake(self: Arc<Self>) {
        if let Some(coordinator) = self.0.upgrade() {
            coordinator.persist_ended();
        }
    }
}

/// A record of the internal topic.
pub(super) fn record_of<'a>(key: &'a [u8], value: Option<&'a [u8]>) -> Record<'a> {
    match value {
        Some(value) => Record::new(value).key(key),
        None => Record::tombstone(key),
    }
}

fn metadata_value(snapshot: GroupSnapshot, now: i64) -> GroupMetadataValue {
    let member = |member: MemberSnapshot| MemberMetadata {
        member_id: member.id.as_str().into(),
        group_instance_id: None,
        client_id: member.client_id,
        client_host: member.client_host,
        rebalance_timeout: member.rebalance_timeout,
        session_timeout: member.session_timeout,
        subscription: member.subscription[..].into(),
        assignment: member.assignment[..].into(),
    };
    GroupMetadataValue {
        protocol_type: snapshot.protocol_type,
        generation: snapshot.generation,
        protocol: snapshot.protocol,
        leader: snapshot.leader.map(|leader| leader.as_str().into()),
        current_state_timestamp: Some(now),
        members: snapshot.members.into_iter().map(member).collect(),
    }
}

impl std::fmt::Debug for GroupCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCoordinator").field("id", &self.id).finish_non_exhaustive()
    }
}
