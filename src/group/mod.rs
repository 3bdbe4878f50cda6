//! Consumer groups: who is in, who reads what, what is committed, and the bytes of it. Decisions only; it knows no files, no
//! locks, no threads and no broker.

mod assignor;
mod coordinator;
mod delivery_counts;
mod fields;
mod group_error;
mod in_flight;
mod member_id;
mod offsets;
mod protocol;
mod record;
mod topic_partition;

pub use assignor::{Assignor, PartitionCounts, Subscriber, Subscribers};
pub use coordinator::{
    Candidate, Effect, Group, GroupConfig, GroupSnapshot, GroupState, JoinAnswer, JoinRequest,
    MemberProtocol, MemberSnapshot,
};
pub use delivery_counts::DeliveryCounts;
pub use group_error::GroupError;
pub use in_flight::{Acquisition, InFlight, Rejection};
pub use member_id::MemberId;
pub use offsets::{Committed, CommittedGroup, CommittedOffsets};
pub use protocol::{Assignment, Subscription, write_generation};
pub use record::{GroupMetadataValue, GroupRecord, MemberMetadata, OffsetCommitValue};
pub use topic_partition::TopicPartition;
#[cfg(feature = "test-util")]
pub use {
    assignor::Shares,
    coordinator::{Member, RemovalReason},
    protocol::read_generation,
};

/// How often the members of a group have joined anew; 0 before the first time.
pub type Generation = u32;
