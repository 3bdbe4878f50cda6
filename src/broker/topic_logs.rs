//! What stands behind a topic's handles: its partitions, and what is known of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::TopicConfig;
use crate::model::{TopicId, TopicName};
use crate::partition_log::PartitionLog;
use crate::partitioner::StickyPartitioner;
use crate::sync::RwLock;

/// The topics of an open directory.
pub type Topics = RwLock<BTreeMap<TopicName, Arc<TopicLogs>>>;

/// The partitions of a topic, with what is known of it.
#[derive(Debug)]
pub struct TopicLogs {
    pub name: TopicName,
    pub id: TopicId,
    pub config: TopicConfig,
    /// Partition 0, 1, 2, …
    pub logs: Vec<Arc<PartitionLog>>,
    pub sticky: StickyPartitioner,
}

impl TopicLogs {
    pub fn new(name: TopicName, id: TopicId, config: TopicConfig, logs: Vec<Arc<PartitionLog>>) -> Self {
        let sticky = StickyPartitioner::new(config.partitions);
        Self { name, id, config, logs, sticky }
    }
}
