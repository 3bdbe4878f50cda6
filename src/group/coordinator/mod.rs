//! The coordinator of one group: who is a member, in which generation, and who waits for what. A state machine without clock and
//! without input or output: calls and the time go in, [`Effect`]s come out, and whoever calls applies them.

mod commit;
mod deadlines;
mod effect;
mod group;
mod group_config;
mod group_snapshot;
mod group_state;
mod join_request;
mod joining;
mod member;
mod protocol;
mod rebalance;
mod syncing;
#[cfg(test)]
mod tests;

#[cfg(feature = "test-util")]
pub use effect::RemovalReason;
pub use effect::{Effect, JoinAnswer};
pub use group::Group;
pub use group_config::GroupConfig;
pub use group_snapshot::{GroupSnapshot, MemberSnapshot};
pub use group_state::GroupState;
pub use join_request::{Candidate, JoinRequest, MemberProtocol};
#[cfg(feature = "test-util")]
pub use member::Member;
