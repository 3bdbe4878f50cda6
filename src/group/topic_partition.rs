//! A partition with the name of its topic.

use std::fmt;
use std::sync::Arc;

use crate::model::PartitionId;

/// A partition of a topic; sorted by the topic's name, then by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The number of the partition in it.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// The partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionId) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// As Kafka prints it: `orders-3`.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
