//! Members that join, or join again.

use std::time::Duration;

use super::effect::Effect;
use super::group::{Group, Phase};
use super::join_request::{Candidate, JoinRequest};
use super::member::{Member, Parked};
use super::protocol;
use crate::group::{GroupError, MemberId};

impl Group {
    /// Somebody joins: [`Effect::Joined`] answers when all members have.
    ///
    /// A new member always makes the others join again. A known one does so if it is the leader, or has something new to say; else it
    /// is told the current generation.
    ///
    /// Refused are, in this order: calls to a group that was deleted (`CoordinatorNotAvailable`), `InvalidSessionTimeout`, a known
    /// member that is none and a new one whose id is taken (`UnknownMemberId`), `GroupMaxSizeReached`,
    /// `InconsistentGroupProtocol`.
    pub fn join(&mut self, request: JoinRequest, now: Duration) -> Result<Vec<Effect>, GroupError> {
        self.join_check(&request)?;
        let mut effects = Vec::new();
        match request.candidate.clone() {
            Candidate::New(id) => self.add(id, request, now, &mut effects),
            Candidate::Known(id) if self.is_told_nothing_new(&id, &request) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.is_alive(now);
                }
                effects.push(self.joined(&id));
            }
            Candidate::Known(id) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.update(request);
                }
                self.park_in_join(&id, now, &mut effects);
            }
        }
        Ok(effects)
    }

    fn join_check(&self, request: &JoinRequest) -> Result<(), GroupError> {
        self.check_not_dead()?;
        let bounds = self.config.min_session_timeout..=self.config.max_session_timeout;
        if !bounds.contains(&request.session_timeout) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        let is_new = matches!(request.candidate, Candidate::New(_));
        if is_new == self.members.contains_key(request.candidate.id()) {
            return Err(GroupError::UnknownMemberId);
        }
        if is_new && self.members.len() >= self.config.max_size {
            return Err(GroupError::GroupMaxSizeReached);
        }
        self.protocol_check(request)
    }

    /// An empty group becomes of whatever type its first member is.
    fn protocol_check(&self, request: &JoinRequest) -> Result<(), GroupError> {
        let is_same_type = self.members.is_empty() || self.protocol_type == request.protocol_type;
        let others = self.members.iter().filter(|(id, _)| *id != request.candidate.id());
        let others = others.map(|(_, member)| member.protocols());
        let fits = !request.protocol_type.is_empty()
            && is_same_type
            && protocol::have_common(&request.protocols, others);
        if fits { Ok(()) } else { Err(GroupError::InconsistentGroupProtocol) }
    }

    fn add(&mut self, id: MemberId, request: JoinRequest, now: Duration, effects: &mut Vec<Effect>) {
        self.protocol_type = request.protocol_type.clone();
        self.members.insert(id.clone(), Member::new(request, now));
        if let Phase::PreparingRebalance { initial_delay: Some(delay), .. } = &mut self.phase {
            delay.has_grown = true;
        }
        self.park_in_join(&id, now, effects);
    }

    fn park_in_join(&mut self, id: &MemberId, now: Duration, effects: &mut Vec<Effect>) {
        // The member's own wait in a sync, if there is one, is answered before its wait in the join begins.
        if !matches!(self.phase, Phase::PreparingRebalance { .. }) {
            self.start_rebalance(now, effects);
        }
        if let Some(member) = self.members.get_mut(id) {
            member.park(Parked::Join);
        }
        self.end_if_all_joined(now, effects);
    }

    /// Whether a member only asks again for what it could know already.
    fn is_told_nothing_new(&self, id: &MemberId, request: &JoinRequest) -> bool {
        let is_same = self.members.get(id).is_some_and(|member| *member.protocols() == request.protocols);
        match self.phase {
            Phase::CompletingRebalance { .. } => is_same,
            Phase::Stable { .. } => is_same && self.leader.as_ref() != Some(id),
            Phase::Empty | Phase::PreparingRebalance { .. } | Phase::Dead => false,
        }
    }
}
