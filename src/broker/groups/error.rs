//! What users are told when a group refuses a call.

use crate::error::{Error, ErrorKind};
use crate::group::GroupError;

/// The error for users, with the group and what to do.
pub fn refused(group: &str, error: GroupError) -> Error {
    let (kind, advice) = match error {
        GroupError::InvalidGroupId => (ErrorKind::InvalidGroupId, "give the group a name"),
        // The second is met by no member of this process: a commit waits for the assignment that is on its way to the disk.
        GroupError::CoordinatorNotAvailable | GroupError::RebalanceInProgress => {
            (ErrorKind::CoordinatorNotAvailable, "poll again: the consumer joins again by itself")
        }
        GroupError::UnknownMemberId => (
            ErrorKind::UnknownMemberId,
            "its partitions may be others' by now: poll, which joins again, and do not count on what was read before",
        ),
        GroupError::IllegalGeneration => (
            ErrorKind::IllegalGeneration,
            "the partition may have been another one's meanwhile: poll, and go on from the group's commit",
        ),
        GroupError::InconsistentGroupProtocol => {
            (ErrorKind::InconsistentGroupProtocol, "have all members use the same assignor")
        }
        GroupError::InvalidSessionTimeout => (ErrorKind::InvalidConfig, "choose another session timeout"),
        GroupError::GroupMaxSizeReached => (ErrorKind::InvalidConfig, "have fewer members in it"),
        GroupError::NonEmptyGroup => (ErrorKind::NonEmptyGroup, "drop its consumers first"),
        GroupError::GroupIdNotFound => (ErrorKind::GroupIdNotFound, "names are case-sensitive"),
    };
    Error::new(kind, format!("group {group:?}: {error}")).advise(advice)
}
