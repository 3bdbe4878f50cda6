//! The internal topic `__consumer_offsets`: where it is, and which of its partitions is a group's.

use std::sync::Arc;

use crate::broker::creating;
use crate::broker::shared::Shared;
use crate::broker::topic_logs::{TopicLogs, Topics};
use crate::config::{Durability, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PartitionId, TopicName};
use crate::partition_log::PartitionLog;

/// Its name.
pub const NAME: &str = "__consumer_offsets";
/// Kafka: `offsets.topic.segment.bytes`.
const SEGMENT_BYTES: u64 = 100 * 1024 * 1024;

/// The topic, if there is one.
pub fn find(topics: &Topics) -> Result<Option<Arc<TopicLogs>>> {
    let name = TopicName::new(NAME)?;
    Ok(topics.read().get(&name).cloned())
}

/// The topic, made if there is none: one partition, synced.
pub fn ensure(shared: &Shared) -> Result<Arc<TopicLogs>> {
    if let Some(topic) = find(&shared.topics)? {
        return Ok(topic);
    }
    let config = TopicConfig::new().segment_bytes(SEGMENT_BYTES).durability(Durability::Synced);
    match creating::create_internal(shared, NAME, &config) {
        Err(error) if error.kind() == ErrorKind::TopicAlreadyExists => {
            find(&shared.topics)?.ok_or_else(|| Error::new(ErrorKind::StorageError, "the topic is not open"))
        }
        made => made,
    }
}

/// The partition that holds what a group writes.
pub fn log_of(topic: &TopicLogs, group: &str) -> Result<Arc<PartitionLog>> {
    let partition = partition_of(group, topic.logs.count());
    topic.logs.get(partition).cloned().ok_or_else(|| {
        let what = "the topic has no partition for the group";
        Error::new(ErrorKind::StorageError, what).in_partition(NAME, partition)
    })
}

/// The hash of the group's name, as Java computes it, modulo the number of partitions.
fn partition_of(group: &str, partitions: PartitionId) -> PartitionId {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    // The one number without an absolute value counts as 0.
    let hash = hash.checked_abs().unwrap_or_default().unsigned_abs();
    hash.checked_rem(partitions).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn a_group_has_the_partition_that_kafka_gives_it() {
        // "billing".hashCode() = -109829509, "polygenelubricants".hashCode() = Integer.MIN_VALUE, as Java says.
        assert_eq!(partition_of("billing", 50), 109_829_509 % 50);
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("billing", 1), 0);
    }
}
