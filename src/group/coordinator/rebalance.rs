//! How a rebalance begins, how it ends, and what happens to it when members go.

use std::time::Duration;

use super::effect::{Effect, JoinAnswer, RemovalReason};
use super::group::{Group, InitialDelay, Phase};
use super::member::{Member, Parked};
use super::protocol;
use crate::group::{Generation, GroupError, MemberId};

impl Group {
    /// Everybody is to join. Who waits for an assignment will not get it.
    pub(super) fn start_rebalance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.answer_syncs(now, effects, |_| Err(GroupError::RebalanceInProgress));
        let longest = self.longest_rebalance();
        let delay = self.config.initial_rebalance_delay;
        let waits_for_more = matches!(self.phase, Phase::Empty) && !delay.is_zero();
        let initial_delay = waits_for_more
            .then(|| InitialDelay { remaining: longest.saturating_sub(delay), has_grown: false });
        let wait = if waits_for_more { delay } else { longest };
        self.enter(Phase::PreparingRebalance { deadline: now.saturating_add(wait), initial_delay });
        effects.push(Effect::RebalanceStarted);
    }

    /// Ends the wait for members if nobody is missing.
    pub(super) fn end_if_all_joined(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Phase::PreparingRebalance { initial_delay, .. } = &self.phase else { return };
        let waits_for_more = initial_delay.is_some() && !self.members.is_empty();
        if !waits_for_more && self.members.values().all(|member| member.parked() == Some(Parked::Join)) {
            self.begin_generation(now, effects);
        }
    }

    /// A new generation of those who have joined; the others are out.
    pub(super) fn begin_generation(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let is_missing = |member: &Member| member.parked() != Some(Parked::Join);
        self.expel(is_missing, RemovalReason::NotRejoined, effects);
        self.generation = next_generation(self.generation);
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.enter(Phase::Empty);
            effects.push(Effect::Persist(self.snapshot()));
            return;
        }
        self.ensure_leader();
        self.protocol = protocol::elect(self.members.values().map(Member::protocols));
        debug_assert!(self.protocol.is_some(), "nobody joins who has no protocol in common with the others");
        let sync_deadline = now.saturating_add(self.longest_rebalance());
        self.enter(Phase::CompletingRebalance { sync_deadline, proposed: None });
        for member in self.members.values_mut() {
            member.begin_generation(now);
        }
        let answers = self.members.keys().map(|id| self.joined(id));
        effects.extend(answers);
    }

    /// What a member of the current generation learns of it.
    pub(super) fn joined(&self, member: &MemberId) -> Effect {
        let leader = self.leader.clone().unwrap_or_else(|| member.clone());
        let protocol = self.protocol.clone().unwrap_or_default();
        let known = |(id, member): (&MemberId, &Member)| (id.clone(), member.metadata(&protocol));
        let members = if *member == leader { self.members.iter().map(known).collect() } else { Vec::new() };
        let answer = JoinAnswer {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol,
            leader,
            members,
        };
        Effect::Joined { member: member.clone(), answer: Ok(answer) }
    }

    /// Answers everybody who waits for an assignment.
    pub(super) fn answer_syncs(
        &mut self,
        now: Duration,
        effects: &mut Vec<Effect>,
        answer: impl Fn(&Member) -> Result<bytes::Bytes, GroupError>,
    ) {
        for (id, member) in &mut self.members {
            if member.unpark(Parked::Sync, now) {
                effects.push(Effect::Synced { member: id.clone(), answer: answer(member) });
            }
        }
    }

    /// Takes a member out, and ends its wait; false if it is none.
    pub(super) fn remove(&mut self, id: &MemberId, effects: &mut Vec<Effect>) -> bool {
        let Some(member) = self.members.remove(id) else { return false };
        let (id, error) = (id.clone(), GroupError::UnknownMemberId);
        match member.parked() {
            Some(Parked::Join) => effects.push(Effect::Joined { member: id, answer: Err(error) }),
            Some(Parked::Sync) => effects.push(Effect::Synced { member: id, answer: Err(error) }),
            None => {}
        }
        true
    }

    /// Takes everybody out to whom the condition applies; true if there was somebody.
    pub(super) fn expel(
        &mut self,
        applies: impl Fn(&Member) -> bool,
        reason: RemovalReason,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let expelled = self.members.iter().filter(|(_, member)| applies(member));
        let expelled: Vec<_> = expelled.map(|(id, _)| id.clone()).collect();
        for member in &expelled {
            self.remove(member, effects);
            effects.push(Effect::Removed { member: member.clone(), reason });
        }
        !expelled.is_empty()
    }

    /// Members have gone: the others share out what they had.
    pub(super) fn go_on_without(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::CompletingRebalance { .. } | Phase::Stable { .. }) {
            self.start_rebalance(now, effects);
        }
        self.end_if_all_joined(now, effects);
    }

    /// A leader that is gone is followed by the first of the others.
    pub(super) fn ensure_leader(&mut self) {
        let leader = self.leader.take().filter(|leader| self.members.contains_key(leader));
        self.leader = leader.or_else(|| self.members.keys().next().cloned());
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(Member::rebalance_timeout).max().unwrap_or_default()
    }
}

/// After the last generation that Kafka's field can hold comes the first: nobody is left of that one.
fn next_generation(generation: Generation) -> Generation {
    if generation < i32::MAX.unsigned_abs() { generation + 1 } else { 1 }
}
