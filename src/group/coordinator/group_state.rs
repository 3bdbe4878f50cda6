//! The states of a group, and which may follow which.

use std::fmt;

/// The state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// It has no members; it may have committed offsets.
    Empty,
    /// Its members are to join; those that have joined wait for the others.
    PreparingRebalance,
    /// All have joined, and wait for what the leader assigns.
    CompletingRebalance,
    /// Each member has its assignment, or can ask for it.
    Stable,
    /// It was deleted.
    Dead,
}

impl GroupState {
    /// Whether the group may come into this state from another one.
    #[must_use]
    pub fn may_follow(self, before: Self) -> bool {
        match self {
            Self::Empty => before == Self::PreparingRebalance,
            Self::PreparingRebalance => {
                matches!(before, Self::Empty | Self::CompletingRebalance | Self::Stable)
            }
            Self::CompletingRebalance => before == Self::PreparingRebalance,
            Self::Stable => before == Self::CompletingRebalance,
            Self::Dead => true,
        }
    }
}

/// As Kafka's tools print it.
impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
