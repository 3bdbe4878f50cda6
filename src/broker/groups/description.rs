//! What there is to say of a group.

use std::sync::Arc;

use crate::group::{Generation, GroupState};
use crate::model::{Offset, PartitionId, Position, Timestamp};

/// A group, as [`Broker::describe_group`](crate::Broker::describe_group) found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub(super) name: Arc<str>,
    pub(super) state: GroupState,
    pub(super) generation: Generation,
    pub(super) protocol_type: Arc<str>,
    pub(super) assignor: Option<Arc<str>>,
    pub(super) members: Vec<GroupMember>,
    pub(super) partitions: Vec<GroupPartition>,
}

impl GroupDescription {
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

    /// How often partitions were shared out; 0 of a group that only commits.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What kind of group it is: `consumer`; empty of one that only commits.
    #[must_use]
    pub fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The assignor that the members have agreed on; `None` without members.
    #[must_use]
    pub fn assignor(&self) -> Option<&str> {
        self.assignor.as_deref()
    }

    /// The members, by their ids.
    #[must_use]
    pub fn members(&self) -> &[GroupMember] {
        &self.members
    }

    /// The partitions of which something is committed, or that a member has, by topic and number.
    #[must_use]
    pub fn partitions(&self) -> &[GroupPartition] {
        &self.partitions
    }
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub(super) id: String,
    pub(super) client_id: Arc<str>,
    pub(super) host: Arc<str>,
    pub(super) is_leader: bool,
    pub(super) partitions: usize,
}

impl GroupMember {
    /// The id that it was given when it joined.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name that its client has given itself.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Where it is.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it shares out the partitions.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// How many partitions it was given.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions
    }
}

/// How far a group has come with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPartition {
    pub(super) topic: Arc<str>,
    pub(super) partition: PartitionId,
    pub(super) committed: Option<Position>,
    pub(super) metadata: Arc<str>,
    pub(super) commit_timestamp: Option<Timestamp>,
    pub(super) available: Option<(Offset, Offset)>,
    pub(super) member: Option<String>,
}

impl GroupPartition {
    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The number of the partition in it.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The next record that the group reads; `None` if nothing is committed.
    #[must_use]
    pub fn committed(&self) -> Option<Position> {
        self.committed
    }

    /// The words that were committed with it.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// When it was committed, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn commit_timestamp(&self) -> Option<Timestamp> {
        self.commit_timestamp
    }

    /// The high watermark of this moment; `None` if the partition is not there any more.
    #[must_use]
    pub fn high_watermark(&self) -> Option<Offset> {
        self.available.map(|(_, end)| end)
    }

    /// How many offsets lie between what is committed, or the log start if nothing is, and the high watermark.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let (start, end) = self.available?;
        Some(end.saturating_sub(self.committed.map_or(start, Position::offset)))
    }

    /// The id of the member that has it; `None` if nobody does.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        self.member.as_deref()
    }
}
