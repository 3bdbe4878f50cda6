//! What is to be done after a call.

use std::sync::Arc;

use bytes::Bytes;

use crate::group::{Generation, GroupError, GroupSnapshot, MemberId};

/// What is to be done after a call, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answers the join that the member waits in, or has just made.
    Joined {
        /// Who is answered.
        member: MemberId,
        /// An error if the member was taken out of the group in the meantime.
        answer: Result<JoinAnswer, GroupError>,
    },
    /// Answers the sync that the member waits in, or has just made.
    Synced {
        /// Who is answered.
        member: MemberId,
        /// What the leader has assigned to it; empty if nothing.
        answer: Result<Bytes, GroupError>,
    },
    /// Every member that waits for nothing is to join again. It is told so at its next heartbeat; who can be told earlier loses no
    /// time.
    RebalanceStarted,
    /// The member was taken out of the group without having left. It is told so at its next call.
    Removed {
        /// Who is out.
        member: MemberId,
        /// Why.
        reason: RemovalReason,
    },
    /// Writes the group to stable storage, and calls [`Group::persisted`](super::Group::persisted) when that has ended. The
    /// members learn of their assignment only then.
    Persist(GroupSnapshot),
}

/// What a member learns when all have joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The generation that begins.
    pub generation: Generation,
    /// What kind of group it is: `consumer`.
    pub protocol_type: Arc<str>,
    /// The protocol, which is the name of an assignor, that the members have agreed on.
    pub protocol: Arc<str>,
    /// The member that assigns.
    pub leader: MemberId,
    /// For the leader: all members, each with what it has said of itself for this protocol. For the others: nothing.
    pub members: Vec<(MemberId, Bytes)>,
}

/// Why a member was taken out of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemovalReason {
    /// No sign of life for its session timeout; or, of a new member, no end of the rebalance for five minutes.
    SessionExpired,
    /// It had not joined again when the longest rebalance timeout had passed.
    NotRejoined,
    /// It had joined, and did not ask for its assignment until the longest rebalance timeout had passed.
    NotSynced,
}
