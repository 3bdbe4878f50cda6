//! Consumer groups: what their records and blobs hold, and what is committed. Decisions and bytes only; it knows no files, no
//! locks, no threads and no broker.

mod fields;
mod offsets;
mod protocol;
mod record;
mod topic_partition;

pub use offsets::{Committed, CommittedGroup, CommittedOffsets};
pub use protocol::{Assignment, Subscription, read_generation, write_generation};
pub use record::{GroupMetadataValue, GroupRecord, MemberMetadata, OffsetCommitValue};
pub use topic_partition::TopicPartition;
