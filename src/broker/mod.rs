//! A directory of topics: its lock, its manifest, its orderly opening and closing.
//!
//! Nothing here knows what producers and consumers are.

mod adopting;
mod altering;
mod candidate;
mod checkpoints;
mod closing;
mod creating;
mod damage;
mod deleting;
mod directory;
mod environment;
mod follow;
mod giving_back;
mod groups;
mod handing_over;
mod handle;
mod kafka_evidence;
mod kafka_segments;
mod losses;
mod manifest;
mod marker;
mod open;
mod options;
#[cfg(feature = "async")]
mod parked;
mod partition;
mod partition_dirs;
mod partition_list;
mod partition_metadata;
mod recovery_report;
mod reopening;
mod reserve;
mod scrubbing;
mod shared;
#[cfg(test)]
mod tests;
mod topic;
mod topic_logs;
mod topics;

pub use checkpoints::decode_line as decode_offset_line;
pub use directory::{absent, unfinished_salvage};
pub use follow::Follow;
pub use giving_back::UndoReport;
#[cfg(feature = "test-util")]
pub use giving_back::give_back;
pub use groups::{
    GroupDescription, GroupListing, GroupMember, GroupPartition, METADATA_MAX_BYTES, Mail, Membership,
    MembershipSettings, OffsetToCommit, PendingCommit,
};
pub use handing_over::{HandOver, HandOverReport, HandedOver};
pub use handle::Broker;
pub use kafka_evidence::{KafkaEvidence, LostPartition, last_indexed};
pub use kafka_segments::{KafkaSegments, SegmentLoss};
pub use losses::{Loss, SegmentNames, Weight, Witness, behind_closed_end};
pub use manifest::{AdoptedEnd, Manifest, TopicEntry, TopicState};
pub use marker::{Marker, read as read_marker};
pub use open::{in_use, take_lock};
pub use options::BrokerOptions;
#[cfg(feature = "async")]
pub use parked::Parking;
pub use partition::{Batches, Partition};
pub use partition_metadata::{
    check as check_partition_metadata, decode as decode_partition_metadata,
    encode as encode_partition_metadata,
};
pub use recovery_report::{PartitionRecovery, RecoveryReport};
pub use scrubbing::ScrubReport;
pub use topic::Topic;
