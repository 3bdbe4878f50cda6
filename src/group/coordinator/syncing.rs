//! Members that ask for their assignment, and the leader that gives it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::effect::Effect;
use super::group::{Group, Phase};
use super::member::Parked;
use crate::group::{Generation, GroupError, MemberId};

impl Group {
    /// A member asks for its assignment; of the leader, it brings everybody's (those of others bring nothing). [`Effect::Synced`]
    /// answers when the leader has come and the group is persisted.
    ///
    /// A member that the leader leaves out gets an empty assignment; one that it names and that is none is passed over. What it
    /// brings a second time does not count.
    ///
    /// Refused are, in this order: `CoordinatorNotAvailable` (it was deleted), `UnknownMemberId`, `IllegalGeneration`,
    /// `RebalanceInProgress`.
    pub fn sync(
        &mut self,
        member: &MemberId,
        generation: Generation,
        assignments: Vec<(MemberId, Bytes)>,
        now: Duration,
    ) -> Result<Vec<Effect>, GroupError> {
        self.member_of(member, generation)?;
        if matches!(self.phase, Phase::PreparingRebalance { .. }) {
            return Err(GroupError::RebalanceInProgress);
        }
        let mut effects = Vec::new();
        let is_stable = matches!(self.phase, Phase::Stable { .. });
        if let Some(syncing) = self.members.get_mut(member) {
            syncing.owes_sync = false;
            if is_stable {
                syncing.is_alive(now);
                effects
                    .push(Effect::Synced { member: member.clone(), answer: Ok(syncing.assignment.clone()) });
            } else {
                syncing.park(Parked::Sync);
            }
        }
        if self.leader.as_ref() == Some(member) {
            self.propose(assignments, &mut effects);
        }
        Ok(effects)
    }

    /// The group of an [`Effect::Persist`] is on stable storage, or could not be written.
    ///
    /// If it is, the members get their assignments. If not, those who wait are told `CoordinatorNotAvailable`, and the group
    /// rebalances. What has been overtaken by a later rebalance, and what an empty group had to write, changes nothing.
    pub fn persisted(&mut self, generation: Generation, is_written: bool, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Phase::CompletingRebalance { sync_deadline, proposed } = &mut self.phase else { return effects };
        if generation != self.generation {
            return effects;
        }
        let Some(mut proposed) = proposed.take() else { return effects };
        if is_written {
            let sync_deadline = *sync_deadline;
            for (id, member) in &mut self.members {
                member.assignment = proposed.remove(id).unwrap_or_default();
            }
            self.enter(Phase::Stable { sync_deadline });
            self.answer_syncs(now, &mut effects, |member| Ok(member.assignment.clone()));
        } else {
            self.answer_syncs(now, &mut effects, |_| Err(GroupError::CoordinatorNotAvailable));
            self.start_rebalance(now, &mut effects);
        }
        effects
    }

    fn propose(&mut self, assignments: Vec<(MemberId, Bytes)>, effects: &mut Vec<Effect>) {
        if let Phase::CompletingRebalance { proposed: proposed @ None, .. } = &mut self.phase {
            let assignments: BTreeMap<_, _> = assignments.into_iter().collect();
            *proposed = Some(assignments.clone());
            let snapshot = self.snapshot_with(|id, _| assignments.get(id).cloned().unwrap_or_default());
            effects.push(Effect::Persist(snapshot));
        }
    }
}
