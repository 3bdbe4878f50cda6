//! A topic of a directory that is only read: the handle that users hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::broker::Opened;
use super::partition::{FoundPartition, ReadOnlyPartition};
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PartitionId, TopicId, TopicName};

/// A topic of a [`ReadOnlyBroker`](crate::ReadOnlyBroker); clones are cheap.
#[derive(Clone)]
pub struct ReadOnlyTopic {
    opened: Arc<Opened>,
    found: Arc<FoundTopic>,
}

/// A topic as it was found.
#[derive(Debug)]
pub struct FoundTopic {
    name: TopicName,
    id: Option<TopicId>,
    config: TopicConfig,
    partitions: BTreeMap<PartitionId, Arc<FoundPartition>>,
}

impl FoundTopic {
    pub fn new(name: &TopicName, id: Option<TopicId>, config: TopicConfig) -> Self {
        Self { name: name.clone(), id, config, partitions: BTreeMap::new() }
    }

    pub fn add(&mut self, partition: PartitionId, found: FoundPartition) {
        self.config.partitions = self.config.partitions.max(partition.saturating_add(1));
        self.partitions.insert(partition, Arc::new(found));
    }
}

impl ReadOnlyTopic {
    pub(super) fn new(opened: Arc<Opened>, found: Arc<FoundTopic>) -> Self {
        Self { opened, found }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.found.name.as_str()
    }

    /// The identity; `None` where a Kafka broker's directory does not tell it.
    #[must_use]
    pub fn id(&self) -> Option<TopicId> {
        self.found.id
    }

    /// The configuration as it is stored with the topic. A Kafka broker keeps its own elsewhere: of its topics it is the
    /// default one.
    #[must_use]
    pub fn config(&self) -> TopicConfig {
        self.found.config.clone()
    }

    /// How many partitions are there. Of a Kafka broker with several log directories, or in a cluster, that may be a few
    /// out of the middle.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.found.partitions.len()
    }

    /// A partition.
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) if it is not there.
    pub fn partition(&self, partition: PartitionId) -> Result<ReadOnlyPartition> {
        let found = self.found.partitions.get(&partition).cloned();
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::UnknownTopicOrPartition, "there is no such partition")
                .in_partition(self.name(), partition)
        })?;
        Ok(ReadOnlyPartition::new(Arc::clone(&self.opened), found))
    }

    /// Every partition, in order.
    pub fn partitions(&self) -> impl Iterator<Item = ReadOnlyPartition> + '_ {
        let found = self.found.partitions.values();
        found.map(|found| ReadOnlyPartition::new(Arc::clone(&self.opened), Arc::clone(found)))
    }
}

impl fmt::Debug for ReadOnlyTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyTopic")
            .field("name", &self.name())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
