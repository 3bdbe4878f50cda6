//! The state of a group, and the calls that need no more than a look at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::commit::{self, Committer};
use super::effect::Effect;
use super::group_config::GroupConfig;
use super::group_snapshot::{GroupSnapshot, MemberSnapshot};
use super::group_state::GroupState;
use super::join_request::{Candidate, JoinRequest, MemberProtocol};
use super::member::Member;
use crate::group::{Generation, GroupError, MemberId};

/// One group, as its coordinator knows it.
///
/// Each call is refused with an error, and then has changed nothing (a heartbeat during a rebalance alone is a sign of life even
/// so), or it is accepted and has effects, which the caller applies in their order. A [`join`](Self::join) or a
/// [`sync`](Self::sync) that is accepted is answered by exactly one effect, of this call or of a later one; a second call of the same
/// member takes the place of the first.
///
/// `now` is the time since the start of the clock. Whatever happens with time happens in [`tick`](Self::tick), which is to be called
/// at the [`next_deadline`](Self::next_deadline).
///
/// What always holds:
/// - the generation rises with each rebalance that ends;
/// - a group is `Empty` or `Dead` exactly if it has no members and no rebalance is on;
/// - the leader is a member in `CompletingRebalance` and `Stable`;
/// - some protocol is supported by all members;
/// - members wait in joins only in `PreparingRebalance`, in syncs only in `CompletingRebalance`;
/// - assignments are those of the current generation.
#[derive(Debug)]
pub struct Group {
    pub(super) id: Arc<str>,
    pub(super) config: GroupConfig,
    pub(super) phase: Phase,
    pub(super) generation: Generation,
    pub(super) protocol_type: Arc<str>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
}

/// The state, with what holds in it alone.
#[derive(Debug)]
pub enum Phase {
    Empty,
    PreparingRebalance {
        /// Until when is waited for those who have not joined.
        deadline: Duration,
        /// The group was empty: everybody waits until the deadline, for there may be more to come.
        initial_delay: Option<InitialDelay>,
    },
    CompletingRebalance {
        sync_deadline: Duration,
        /// What the leader has assigned, while it is being persisted.
        proposed: Option<BTreeMap<MemberId, Bytes>>,
    },
    Stable {
        sync_deadline: Duration,
    },
    Dead,
}

/// The wait of an empty group for more members.
#[derive(Clone, Copy, Debug)]
pub struct InitialDelay {
    /// How much longer it may be made.
    pub remaining: Duration,
    /// Whether somebody came in the meantime.
    pub has_grown: bool,
}

impl Group {
    /// A group without members.
    pub fn new(id: impl Into<Arc<str>>, config: GroupConfig) -> Result<Self, GroupError> {
        let id = id.into();
        if id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        Ok(Self {
            id,
            config,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: Arc::default(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
        })
    }

    /// The group that was persisted. With members it is stable, and their sessions begin anew; whoever knows that they are gone
    /// leaves them out of the snapshot. It is `InconsistentGroupProtocol` if they have no protocol.
    pub fn restore(
        id: impl Into<Arc<str>>,
        config: GroupConfig,
        snapshot: GroupSnapshot,
        now: Duration,
    ) -> Result<Self, GroupError> {
        let mut group = Self::new(id, config)?;
        group.generation = snapshot.generation;
        group.protocol_type = snapshot.protocol_type;
        if snapshot.members.is_empty() {
            return Ok(group);
        }
        let protocol = snapshot.protocol.filter(|_| !group.protocol_type.is_empty());
        let protocol = protocol.ok_or(GroupError::InconsistentGroupProtocol)?;
        let restored = |member| restored_member(member, &protocol, &group.protocol_type, now);
        group.members = snapshot.members.into_iter().map(restored).collect();
        group.leader = snapshot.leader;
        group.ensure_leader();
        group.protocol = Some(protocol);
        group.phase = Phase::Stable { sync_deadline: now };
        Ok(group)
    }

    /// What is to be persisted of the group as it is.
    #[must_use]
    pub fn snapshot(&self) -> GroupSnapshot {
        self.snapshot_with(|_, member| member.assignment.clone())
    }

    /// The same with other assignments.
    pub(super) fn snapshot_with(&self, assignment: impl Fn(&MemberId, &Member) -> Bytes) -> GroupSnapshot {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&MemberId, &Member)| MemberSnapshot {
            id: id.clone(),
            client_id: Arc::clone(member.client_id()),
            client_host: Arc::clone(member.client_host()),
            rebalance_timeout: member.rebalance_timeout(),
            session_timeout: member.session_timeout(),
            subscription: member.metadata(protocol),
            assignment: assignment(id, member),
        };
        GroupSnapshot {
            protocol_type: Arc::clone(&self.protocol_type),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// A sign of life. `RebalanceInProgress` asks the member to join again.
    pub fn heartbeat(
        &mut self,
        member: &MemberId,
        generation: Generation,
        now: Duration,
    ) -> Result<(), GroupError> {
        self.member_of(member, generation)?.is_alive(now);
        match self.phase {
            Phase::PreparingRebalance { .. } => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Takes a member out of the group; what it waits for is answered with `UnknownMemberId`. The others rebalance.
    pub fn leave(&mut self, member: &MemberId, now: Duration) -> Result<Vec<Effect>, GroupError> {
        self.check_not_dead()?;
        let mut effects = Vec::new();
        if !self.remove(member, &mut effects) {
            return Err(GroupError::UnknownMemberId);
        }
        self.go_on_without(now, &mut effects);
        Ok(effects)
    }

    /// Whether a member, or somebody without a member id, may commit offsets now, as one of a generation or of none; if so, it is a
    /// sign of life. (That a group does not exist at all is for the caller to know.)
    pub fn commit_check(
        &mut self,
        member: Option<&MemberId>,
        generation: Option<Generation>,
        now: Duration,
    ) -> Result<(), GroupError> {
        let state = self.state();
        let known = member.and_then(|id| self.members.get_mut(id));
        let committer = match (&known, member) {
            (_, None) => Committer::Nobody,
            (None, _) => Committer::Stranger,
            (Some(_), _) => Committer::Member,
        };
        commit::check(state, self.generation, committer, generation)?;
        if let Some(member) = known {
            member.is_alive(now);
        }
        Ok(())
    }

    /// Whether the group may be deleted. Its tombstones are to be written between this and [`delete`](Self::delete).
    pub fn delete_check(&self) -> Result<(), GroupError> {
        match self.phase {
            Phase::Empty => Ok(()),
            Phase::Dead => Err(GroupError::GroupIdNotFound),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Ends the group: every later call is refused.
    pub fn delete(&mut self) -> Result<(), GroupError> {
        self.delete_check()?;
        self.enter(Phase::Dead);
        Ok(())
    }

    /// The id of the group.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        self.phase.state()
    }

    /// How often its members have joined anew; 0 before the first time.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What kind of group it is; empty before the first member.
    #[must_use]
    pub fn protocol_type(&self) -> &Arc<str> {
        &self.protocol_type
    }

    /// The protocol that the members agreed on last; `None` without members.
    #[must_use]
    pub fn protocol(&self) -> Option<&Arc<str>> {
        self.protocol.as_ref()
    }

    /// The member that assigns; `None` if it is to be chosen.
    #[must_use]
    pub fn leader(&self) -> Option<&MemberId> {
        self.leader.as_ref()
    }

    /// The members, in the order of their ids.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&MemberId, &Member)> {
        self.members.iter()
    }

    pub(super) fn check_not_dead(&self) -> Result<(), GroupError> {
        match self.phase {
            Phase::Dead => Err(GroupError::CoordinatorNotAvailable),
            _ => Ok(()),
        }
    }

    /// A member that knows which generation this is.
    pub(super) fn member_of(
        &mut self,
        member: &MemberId,
        generation: Generation,
    ) -> Result<&mut Member, GroupError> {
        self.check_not_dead()?;
        let member = self.members.get_mut(member).ok_or(GroupError::UnknownMemberId)?;
        if generation == self.generation { Ok(member) } else { Err(GroupError::IllegalGeneration) }
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        let (before, after) = (self.phase.state(), phase.state());
        debug_assert!(after.may_follow(before), "the group goes from {before} to {after}");
        self.phase = phase;
    }
}

impl Phase {
    fn state(&self) -> GroupState {
        match self {
            Self::Empty => GroupState::Empty,
            Self::PreparingRebalance { .. } => GroupState::PreparingRebalance,
            Self::CompletingRebalance { .. } => GroupState::CompletingRebalance,
            Self::Stable { .. } => GroupState::Stable,
            Self::Dead => GroupState::Dead,
        }
    }
}

fn restored_member(
    snapshot: MemberSnapshot,
    protocol: &Arc<str>,
    protocol_type: &Arc<str>,
    now: Duration,
) -> (MemberId, Member) {
    let supported = MemberProtocol { name: Arc::clone(protocol), metadata: snapshot.subscription };
    let request = JoinRequest {
        candidate: Candidate::Known(snapshot.id.clone()),
        client_id: snapshot.client_id,
        client_host: snapshot.client_host,
        session_timeout: snapshot.session_timeout,
        rebalance_timeout: snapshot.rebalance_timeout,
        protocol_type: Arc::clone(protocol_type),
        protocols: vec![supported],
    };
    (snapshot.id, Member::restored(request, snapshot.assignment, now))
}
