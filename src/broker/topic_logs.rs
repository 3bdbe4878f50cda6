//! What stands behind a topic's handles: its partitions, and what is known of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::partition_list::PartitionList;
use crate::config::TopicConfig;
use crate::model::{TopicId, TopicName};
use crate::partition_log::PartitionLog;
use crate::partitioner::StickyPartitioner;
use crate::sync::RwLock;

/// The topics of an open directory.
pub type Topics = RwLock<BTreeMap<TopicName, Arc<TopicLogs>>>;

/// The partitions of all these topics.
pub fn all_logs(topics: &BTreeMap<TopicName, Arc<TopicLogs>>) -> Vec<Arc<PartitionLog>> {
    topics.values().flat_map(|topic| topic.logs.iter()).map(Arc::clone).collect()
}

/// The partitions of a topic, with what is known of it.
#[derive(Debug)]
pub struct TopicLogs {
    pub name: TopicName,
    pub id: TopicId,
    pub logs: PartitionList,
    pub sticky: StickyPartitioner,
    config: RwLock<TopicConfig>,
}

impl TopicLogs {
    pub fn new(name: TopicName, id: TopicId, config: TopicConfig, logs: Vec<Arc<PartitionLog>>) -> Self {
        let sticky = StickyPartitioner::new(config.partitions);
        let list = PartitionList::default();
        list.extend(logs);
        Self { name, id, logs: list, sticky, config: RwLock::new(config) }
    }

    pub fn config(&self) -> TopicConfig {
        self.config.read().clone()
    }

    /// Tells those who wait for records what became of them; the caller holds no lock, for wakers may do anything.
    pub fn tell(&self) {
        self.logs.iter().for_each(|log| log.tell());
    }

    /// Takes over a configuration, and the partitions that it has more. Who sees one of both sees the other.
    pub fn alter(&self, config: &TopicConfig, more: Vec<Arc<PartitionLog>>) {
        self.logs.iter().for_each(|log| log.configure(config));
        let mut current = self.config.write();
        self.logs.extend(more);
        *current = config.clone();
    }
}
