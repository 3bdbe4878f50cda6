//! What of a group outlives its coordinator (Kafka: `GroupMetadataValue`, but for the time, which whoever writes it adds).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::group::{Generation, MemberId};

/// What of a group outlives its coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// What kind of group it is: `consumer`; empty before the first member.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: Generation,
    /// The protocol that the members have agreed on; `None` without members.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns; `None` without members.
    pub leader: Option<MemberId>,
    /// The members, by their ids.
    pub members: Vec<MemberSnapshot>,
}

/// What of a member outlives the coordinator of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSnapshot {
    /// The member's id.
    pub id: MemberId,
    /// The name that the client has given itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// How long it may go without a sign of life.
    pub session_timeout: Duration,
    /// What it has said of itself for the protocol of the group.
    pub subscription: Bytes,
    /// What the leader has assigned to it.
    pub assignment: Bytes,
}
