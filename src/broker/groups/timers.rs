//! What groups do with time: the signs of life of this process's members, those that do not poll, and the deadlines of rebalances.

use std::time::Duration;

use super::coordinator::{GroupCoordinator, Handle, State};
use super::membership::SESSION_TIMEOUT;
use super::registry::Groups;
use crate::agenda::{Chore, Reminder};
use crate::group::MemberId;

/// How often the coordinator gives the signs of life of the members of this process.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(SESSION_TIMEOUT.as_secs() / 3);

impl Groups {
    /// Takes up the chore.
    pub fn start(&self, reminder: Reminder) {
        *self.reminder.lock() = Some(reminder);
    }
}

impl Chore for Groups {
    fn run(&self, now: Duration) -> Option<Duration> {
        self.loaded().iter().filter_map(|group| group.pass_time(now)).min()
    }
}

impl GroupCoordinator {
    /// Does what is due, and says when there is more to do; never, if nobody is in the group.
    pub fn pass_time(&self, now: Duration) -> Option<Duration> {
        let state = &mut *self.state.lock();
        for member in state.stopped_polling(now) {
            // As Kafka's consumer does of itself.
            if let Ok(effects) = state.group.leave(&member, now) {
                self.apply(state, effects);
            }
            state.tell(&member, |mail| mail.is_lost = true);
        }
        for (member, handle) in &state.members {
            // Who is to join again, or is no member any more, has been told.
            _ = state.group.heartbeat(member, handle.generation, now);
        }
        let effects = state.group.tick(now);
        self.apply(state, effects);
        state.next_look(now)
    }
}

impl State {
    /// Those who have not polled for too long.
    fn stopped_polling(&self, now: Duration) -> Vec<MemberId> {
        let is_member = |id: &MemberId| self.group.members().any(|(member, _)| member == id);
        let stopped = self.members.iter().filter(|(id, handle)| {
            let deadline = handle.poll_deadline();
            deadline.is_some_and(|deadline| deadline <= now) && is_member(id)
        });
        stopped.map(|(id, _)| id.clone()).collect()
    }

    fn next_look(&self, now: Duration) -> Option<Duration> {
        let members = || self.group.members().filter_map(|(id, _)| self.members.get(id));
        let polls = members().filter_map(Handle::poll_deadline);
        let heartbeat = members().map(|handle| now.saturating_add(HEARTBEAT.min(handle.max_poll_interval)));
        heartbeat.chain(polls).chain(self.group.next_deadline()).min()
    }
}

impl Handle {
    /// Until when the member has to poll; `None` while it does.
    fn poll_deadline(&self) -> Option<Duration> {
        Some(self.mailbox.last_polled()?.saturating_add(self.max_poll_interval))
    }
}
