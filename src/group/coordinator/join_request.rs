//! What a member says when it joins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::group::MemberId;

/// What a member says when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Who joins.
    pub candidate: Candidate,
    /// The name that the client has given itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// How long the member may go without a sign of life.
    pub session_timeout: Duration,
    /// How long a rebalance waits for the member: `max.poll.interval.ms`.
    pub rebalance_timeout: Duration,
    /// What kind of group it takes this one for: `consumer`.
    pub protocol_type: Arc<str>,
    /// What it supports, the best first.
    pub protocols: Vec<MemberProtocol>,
}

/// Who joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A new member, under an id that was made for it. It is a member from now on, as one that joins with version 3 or less of Kafka's
    /// JoinGroup; later versions have it join again with the id first.
    New(MemberId),
    /// A member of the group.
    Known(MemberId),
}

impl Candidate {
    /// The member's id.
    #[must_use]
    pub fn id(&self) -> &MemberId {
        match self {
            Self::New(id) | Self::Known(id) => id,
        }
    }
}

/// A protocol that a member supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProtocol {
    /// The name of an assignor.
    pub name: Arc<str>,
    /// What the member says of itself to the leader: its subscription. Opaque here.
    pub metadata: Bytes,
}
