//! The decision whether offsets may be committed now.

use super::group_state::GroupState;
use crate::group::{Generation, GroupError};

/// Who commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committer {
    /// Somebody who gives no member id.
    Nobody,
    /// A member id that the group does not know.
    Stranger,
    /// A member.
    Member,
}

/// Whether a commit is in order, which `given` says to be of a generation or of none.
///
/// A group without members takes commits of none: from those who assign themselves partitions, and from tools. In a rebalance
/// members may commit until all have joined; then the partitions may belong to others.
pub fn check(
    state: GroupState,
    current: Generation,
    committer: Committer,
    given: Option<Generation>,
) -> Result<(), GroupError> {
    match (state, committer, given) {
        (GroupState::Dead, ..) => Err(GroupError::CoordinatorNotAvailable),
        (GroupState::Empty, _, None) => Ok(()),
        (_, Committer::Nobody | Committer::Stranger, _) => Err(GroupError::UnknownMemberId),
        (_, Committer::Member, given) if given != Some(current) => Err(GroupError::IllegalGeneration),
        (GroupState::CompletingRebalance, ..) => Err(GroupError::RebalanceInProgress),
        _ => Ok(()),
    }
}
