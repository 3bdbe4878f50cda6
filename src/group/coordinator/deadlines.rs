//! What happens with time.

use std::time::Duration;

use super::effect::{Effect, RemovalReason};
use super::group::{Group, InitialDelay, Phase};
use super::member::Member;

impl Group {
    /// Does what is due: members without a sign of life are out, and so are those who have not joined, or not asked for their
    /// assignment, in time.
    pub fn tick(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        let has_expired = |member: &Member| member.deadline().is_some_and(|deadline| deadline <= now);
        if self.expel(has_expired, RemovalReason::SessionExpired, &mut effects) {
            self.go_on_without(now, &mut effects);
        }
        if self.sync_deadline().is_some_and(|deadline| deadline <= now) {
            self.expel(|member| member.owes_sync, RemovalReason::NotSynced, &mut effects);
            self.go_on_without(now, &mut effects);
        }
        self.join_deadline_passed(now, &mut effects);
        effects
    }

    /// When something is due next, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let sessions = self.members.values().filter_map(Member::deadline);
        let join_deadline = match self.phase {
            Phase::PreparingRebalance { deadline, .. } => Some(deadline),
            _ => None,
        };
        sessions.chain(join_deadline).chain(self.sync_deadline()).min()
    }

    /// Until when those who owe it are to ask for their assignment; `None` if nobody does.
    fn sync_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::CompletingRebalance { sync_deadline, .. } | Phase::Stable { sync_deadline } => {
                self.members.values().any(|member| member.owes_sync).then_some(sync_deadline)
            }
            Phase::Empty | Phase::PreparingRebalance { .. } | Phase::Dead => None,
        }
    }

    fn join_deadline_passed(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let delay = self.config.initial_rebalance_delay;
        let Phase::PreparingRebalance { deadline, initial_delay } = &mut self.phase else { return };
        if *deadline > now {
            return;
        }
        match initial_delay {
            Some(InitialDelay { remaining, has_grown: has_grown @ true }) if !remaining.is_zero() => {
                let wait = delay.min(*remaining);
                *deadline = now.saturating_add(wait);
                *remaining = remaining.saturating_sub(wait);
                *has_grown = false;
            }
            _ => self.begin_generation(now, effects),
        }
    }
}
