//! A group in the list of all of them.

use std::sync::Arc;

use crate::group::GroupState;

/// A group in the list of all of them; [`Broker::groups`](crate::Broker::groups) returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    pub(super) name: Arc<str>,
    pub(super) state: GroupState,
}

impl GroupListing {
    /// The name of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        self.state
    }
}
