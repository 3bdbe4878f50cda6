//! Consumer groups: who is in, who reads what, what is committed, and the bytes of it. Decisions only; it knows no files, no
//! locks, no threads and no broker.

mod assignor;
mod coordinator;
#[cfg_attr(not(feature = "test-util"), expect(dead_code, reason = "the consumer that acquires comes next"))]
mod delivery_counts;
mod fields;
mod group_error;
#[cfg_attr(not(feature = "test-util"), expect(dead_code, reason = "the consumer that acquires comes next"))]
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
pub use group_error::GroupError;
pub use member_id::MemberId;
pub use offsets::{Committed, CommittedGroup, CommittedOffsets};
pub use protocol::{Assignment, Subscription, write_generation};
pub use record::{GroupMetadataValue, GroupRecord, MemberMetadata, OffsetCommitValue};
pub use topic_partition::TopicPartition;
#[cfg(feature = "test-util")]
pub use {
    assignor::Shares,
    coordinator::{Member, RemovalReason},
    delivery_counts::DeliveryCounts,
    in_flight::{Acquisition, InFlight, Rejection},
    protocol::read_generation,
};

/// How often the members of a group have joined anew; 0 before the first time.
pub type Generation = u32;
