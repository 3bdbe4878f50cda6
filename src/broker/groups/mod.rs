//! The groups of an open directory: the shell around the pure coordinators. It knows the log of `__consumer_offsets`, the time,
//! and the members of this process.
//!
//! Each group has one mutex. Nothing is waited for under it, and nobody else's code runs: records are appended to the internal
//! topic there, so that their order is that of the decisions, and waited for outside.

mod admin;
mod commits;
mod coordinator;
mod description;
mod error;
mod forgetting;
mod listing;
mod mailbox;
mod membership;
mod offsets_topic;
mod registry;
mod replayed;
mod sharing;
mod table;
mod timers;

pub use commits::{METADATA_MAX_BYTES, OffsetToCommit, PendingCommit};
pub use description::{GroupDescription, GroupMember, GroupPartition};
pub use listing::GroupListing;
pub use mailbox::Mail;
#[cfg(feature = "async")]
pub use mailbox::Mailbox;
pub use membership::{Membership, MembershipSettings};
pub use registry::Groups;
