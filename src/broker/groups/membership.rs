//! What a consumer holds of a group: its place in it, which it gives up when it goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::coordinator::{GroupCoordinator, Handle};
use super::error::refused;
use super::mailbox::{Mail, Mailbox};
use super::timers::HEARTBEAT;
use crate::broker::shared::Shared;
use crate::error::Result;
use crate::group::{
    Assignor, Candidate, Generation, GroupError, GroupState, JoinRequest, MemberId, MemberProtocol,
    Subscription, TopicPartition, write_generation,
};
use crate::partition_log::Reach;
use crate::sync::Signal;

/// How long a member may be without a sign of life. Those of this process have one as long as they are there.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(45);

const CLIENT_ID: &str = "ottla";
const CLIENT_HOST: &str = "/in-process";
const PROTOCOL_TYPE: &str = "consumer";

/// What a member asks of its group.
#[derive(Clone, Copy, Debug)]
pub struct MembershipSettings {
    pub assignor: Assignor,
    /// How long it may go without polling, and how long a rebalance waits for it.
    pub max_poll_interval: Duration,
}

/// A consumer's place in a group; it leaves the group when it goes.
#[derive(Debug)]
pub struct Membership {
    coordinator: Arc<GroupCoordinator>,
    settings: MembershipSettings,
    mailbox: Arc<Mailbox>,
    id: MemberId,
    /// Whether the broker has threads that look after the group.
    is_tended: bool,
}

impl Membership {
    /// One that has not joined yet.
    pub fn new(
        shared: &Shared,
        group: &str,
        settings: MembershipSettings,
        signal: &Arc<Signal>,
    ) -> Result<Self> {
        let coordinator = shared.groups.coordinator(shared, group)?;
        let mailbox = Arc::new(Mailbox::new(Arc::clone(signal), coordinator.clock.monotonic()));
        let is_tended = shared.env.options.background;
        Ok(Self { coordinator, settings, mailbox, id: new_id(shared), is_tended })
    }

    /// The group.
    #[must_use]
    pub fn coordinator(&self) -> &Arc<GroupCoordinator> {
        &self.coordinator
    }

    /// Its name in the group; another one each time after it was lost.
    #[must_use]
    pub fn id(&self) -> &MemberId {
        &self.id
    }

    /// Joins, or joins again: an assignment comes by mail.
    pub fn join(
        &mut self,
        shared: &Shared,
        topics: &BTreeSet<Arc<str>>,
        owned: BTreeSet<TopicPartition>,
        generation: Option<Generation>,
    ) -> Result<()> {
        if self.coordinator.state.lock().group.state() == GroupState::Dead {
            // Somebody has deleted the group: there is another one of the name now.
            self.coordinator = shared.groups.coordinator(shared, &self.coordinator.id)?;
        }
        self.coordinator.ensure_log(shared)?;
        let says = Subscription {
            topics: topics.clone(),
            user_data: Some(write_generation(generation)?.into()),
            owned,
            generation,
        };
        let protocol =
            MemberProtocol { name: self.settings.assignor.name().into(), metadata: says.encode()?.into() };
        let now = self.coordinator.clock.monotonic();
        let state = &mut *self.coordinator.state.lock();
        let is_member = state.group.members().any(|(id, _)| *id == self.id);
        let candidate =
            if is_member { Candidate::Known(self.id.clone()) } else { Candidate::New(self.id.clone()) };
        let request = JoinRequest {
            candidate,
            client_id: CLIENT_ID.into(),
            client_host: CLIENT_HOST.into(),
            session_timeout: SESSION_TIMEOUT,
            rebalance_timeout: self.settings.max_poll_interval,
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: vec![protocol],
        };
        // Before anything answers it.
        let handle = state.members.entry(self.id.clone()).or_insert_with(|| Handle {
            mailbox: Arc::clone(&self.mailbox),
            mail: Mail::default(),
            generation: 0,
            is_joining: false,
            max_poll_interval: self.settings.max_poll_interval,
        });
        handle.is_joining = true;
        match state.group.join(request, now) {
            Ok(effects) => {
                self.coordinator.apply(state, effects);
                shared.groups.look_after(now.saturating_add(HEARTBEAT.min(self.settings.max_poll_interval)));
                Ok(())
            }
            Err(error) => {
                handle.is_joining = false;
                if !is_member {
                    state.members.remove(&self.id);
                }
                Err(refused(&self.coordinator.id, error))
            }
        }
    }

    /// Through which it is told, and says when it polls.
    #[cfg(feature = "async")]
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// What has come for the member since it last asked; `None` costs no lock.
    pub fn mail(&self) -> Option<Mail> {
        if !self.mailbox.take_ring() {
            return None;
        }
        let mut state = self.coordinator.state.lock();
        state.members.get_mut(&self.id).map(|handle| std::mem::take(&mut handle.mail))
    }

    /// The member is in a poll, and so alive.
    pub fn enter_poll(&self) {
        self.mailbox.enter_poll();
    }

    /// From now on it may be too long until it polls again.
    pub fn leave_poll(&self) {
        self.mailbox.leave_poll(self.coordinator.clock.monotonic());
    }

    /// For a broker without threads: does what they would do for the group, and returns when there is more to do. With them, nothing
    /// and never.
    pub fn tend(&self) -> Option<Duration> {
        if self.is_tended { None } else { self.coordinator.pass_time(self.coordinator.clock.monotonic()) }
    }

    /// For a broker without threads: leads the assignment of the group to the disk, if it is on its way there. True if it was.
    pub fn lead(&self) -> bool {
        let persisting = match self.is_tended {
            true => None,
            false => self.coordinator.state.lock().persisting(),
        };
        match persisting {
            None => false,
            Some((log, assigned)) => {
                // What goes wrong comes by mail.
                _ = log.wait(assigned, Reach::Durable);
                true
            }
        }
    }

    /// Fails if it is no longer in the group, and what it was assigned is others'.
    pub fn check(&self) -> Result<()> {
        let state = self.coordinator.state.lock();
        match state.group.members().any(|(id, _)| *id == self.id) {
            true => Ok(()),
            false => Err(refused(&self.coordinator.id, GroupError::UnknownMemberId)),
        }
    }

    /// It is no longer in the group: the next time it joins as another one.
    pub fn forget(&mut self, shared: &Shared) {
        self.coordinator.state.lock().members.remove(&self.id);
        self.id = new_id(shared);
    }

    fn leave(&self) {
        let now = self.coordinator.clock.monotonic();
        let state = &mut *self.coordinator.state.lock();
        if state.members.remove(&self.id).is_some()
            && let Ok(effects) = state.group.leave(&self.id, now)
        {
            self.coordinator.apply(state, effects);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

fn new_id(shared: &Shared) -> MemberId {
    let id = uuid::Builder::from_random_bytes(shared.env.vfs.random()).into_uuid();
    MemberId::from(format!("{CLIENT_ID}-{id}"))
}
