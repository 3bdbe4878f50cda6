//! Why a group refuses a call.

/// Why a group refuses a call; the names are those of Kafka's error codes. A refused call has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    /// `INVALID_GROUP_ID`.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// `COORDINATOR_NOT_AVAILABLE`: the group was deleted in the meantime, or its assignment could not be written. Join again,
    /// after a while.
    #[error("the group cannot be served now")]
    CoordinatorNotAvailable,
    /// `UNKNOWN_MEMBER_ID`: its partitions are lost to the member; it joins again as a new one.
    #[error("the member is not in the group, or not any more")]
    UnknownMemberId,
    /// `ILLEGAL_GENERATION`: its partitions are lost to the member; it joins again.
    #[error("the group has another generation")]
    IllegalGeneration,
    /// `REBALANCE_IN_PROGRESS`: join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// `INCONSISTENT_GROUP_PROTOCOL`: the member supports no assignor that all the others support, too.
    #[error("the protocols of the member do not fit to those of the group")]
    InconsistentGroupProtocol,
    /// `INVALID_SESSION_TIMEOUT`: it lies out of the bounds of the [`GroupConfig`](super::GroupConfig).
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// `GROUP_MAX_SIZE_REACHED`.
    #[error("the group has as many members as it may have")]
    GroupMaxSizeReached,
    /// `NON_EMPTY_GROUP`: a group with members is not deleted.
    #[error("the group has members")]
    NonEmptyGroup,
    /// `GROUP_ID_NOT_FOUND`: the group was deleted already.
    #[error("there is no such group")]
    GroupIdNotFound,
}
