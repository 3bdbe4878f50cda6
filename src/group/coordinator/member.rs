//! One member of a group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::join_request::{JoinRequest, MemberProtocol};

/// One member of a group.
#[derive(Clone, Debug)]
pub struct Member {
    client_id: Arc<str>,
    client_host: Arc<str>,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    protocols: Vec<MemberProtocol>,
    pub(super) assignment: Bytes,
    /// The call that it waits in, if it waits.
    parked: Option<Parked>,
    /// It has not been through a rebalance.
    is_new: bool,
    /// It has joined this generation, and is still to ask for its assignment.
    pub(super) owes_sync: bool,
    /// When it is taken for dead; see [`deadline`](Self::deadline).
    expires: Duration,
}

/// The call that a member waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    Join,
    Sync,
}

/// How long a new member waits for the end of a rebalance: behind such a call there may be nobody any more.
const NEW_MEMBER_PATIENCE: Duration = Duration::from_secs(5 * 60);

impl Member {
    pub(super) fn new(request: JoinRequest, now: Duration) -> Self {
        Self {
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: Bytes::new(),
            parked: None,
            is_new: true,
            owes_sync: false,
            expires: now.saturating_add(NEW_MEMBER_PATIENCE),
        }
    }

    /// A member of a group that was written; its session begins anew.
    pub(super) fn restored(request: JoinRequest, assignment: Bytes, now: Duration) -> Self {
        let mut member = Self { assignment, is_new: false, ..Self::new(request, now) };
        member.is_alive(now);
        member
    }

    /// What it says of itself when it joins again.
    pub(super) fn update(&mut self, request: JoinRequest) {
        self.client_id = request.client_id;
        self.client_host = request.client_host;
        self.session_timeout = request.session_timeout;
        self.rebalance_timeout = request.rebalance_timeout;
        self.protocols = request.protocols;
    }

    /// A sign of life: the session begins anew.
    pub(super) fn is_alive(&mut self, now: Duration) {
        if self.parked.is_none() {
            self.expires = now.saturating_add(self.session_timeout);
        }
    }

    pub(super) fn park(&mut self, call: Parked) {
        self.parked = Some(call);
    }

    /// Ends the wait in a call, if it is that one; the session begins anew.
    pub(super) fn unpark(&mut self, call: Parked, now: Duration) -> bool {
        let has_waited = self.parked == Some(call);
        if has_waited {
            self.parked = None;
            self.is_alive(now);
        }
        has_waited
    }

    /// All have joined: the member is one of a new generation.
    pub(super) fn begin_generation(&mut self, now: Duration) {
        self.unpark(Parked::Join, now);
        self.is_new = false;
        self.owes_sync = true;
        self.assignment = Bytes::new();
    }

    pub(super) fn parked(&self) -> Option<Parked> {
        self.parked
    }

    /// When the member is taken for dead; `None` while it waits in a call, which ends anyway. For new ones that takes as long as
    /// the others take, so that they have a limit of their own.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (self.parked.is_none() || self.is_new).then_some(self.expires)
    }

    pub(super) fn protocols(&self) -> &[MemberProtocol] {
        &self.protocols
    }

    /// What it says of itself for a protocol; empty if it does not support that.
    #[must_use]
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|supported| *supported.name == *protocol);
        found.map(|supported| supported.metadata.clone()).unwrap_or_default()
    }

    /// The name that the client has given itself.
    #[must_use]
    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// Where it is.
    #[must_use]
    pub fn client_host(&self) -> &Arc<str> {
        &self.client_host
    }

    /// How long it may go without a sign of life.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// How long a rebalance waits for it.
    #[must_use]
    pub fn rebalance_timeout(&self) -> Duration {
        self.rebalance_timeout
    }

    /// What the leader has assigned to it in this generation; empty if nothing so far.
    #[must_use]
    pub fn assignment(&self) -> &Bytes {
        &self.assignment
    }
}
