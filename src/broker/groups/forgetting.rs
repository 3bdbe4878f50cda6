//! Forgetting what was committed of a topic that is being deleted: one of the same name is another topic, and begins at its
//! beginning (Kafka: `GroupCoordinator.onPartitionsDeleted`).

use std::sync::Arc;

use super::coordinator::{GroupCoordinator, State, record_of};
use super::registry::Groups;
use crate::error::{ErrorKind, Result};
use crate::group::{GroupRecord, TopicPartition};
use crate::model::{Compression, TopicName};
use crate::partition_log::{Assigned, IfFull, PartitionLog, Reach};

impl Groups {
    /// Forgets what was committed of a topic, durably. Its logs are closed, so that nothing more is committed of it.
    pub fn forget_topic(&self, topic: &TopicName) -> Result<()> {
        self.load()?;
        self.loaded().iter().try_for_each(|group| group.forget_topic(topic))
    }
}

impl GroupCoordinator {
    fn forget_topic(self: &Arc<Self>, topic: &TopicName) -> Result<()> {
        // What is under way is older.
        self.settle_commits()?;
        let Some(log) = self.log.get() else { return Ok(()) };
        let forgotten = loop {
            log.make_room(IfFull::Wait)?;
            match self.append_forgotten(&mut self.state.lock(), log, topic) {
                Err(error) if error.kind() == ErrorKind::BufferExhausted => {}
                appended => break appended?,
            }
        };
        forgotten.map_or(Ok(()), |assigned| log.wait(assigned, Reach::Durable))
    }

    /// `None` if the group has committed nothing of the topic.
    fn append_forgotten(
        &self,
        state: &mut State,
        log: &PartitionLog,
        topic: &TopicName,
    ) -> Result<Option<Assigned>> {
        let is_of_it = |partition: &&TopicPartition| *partition.topic == *topic.as_str();
        let partitions: Vec<_> = state.offsets.keys().filter(is_of_it).cloned().collect();
        if partitions.is_empty() {
            return Ok(None);
        }
        let assigned = self.append_tombstones(partitions.iter(), false, log)?;
        partitions.iter().for_each(|partition| _ = state.offsets.remove(partition));
        Ok(Some(assigned))
    }

    /// Appends that nothing is committed of these partitions, and, of a group that ends, that there is none.
    pub(super) fn append_tombstones<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        ends_group: bool,
        log: &PartitionLog,
    ) -> Result<Assigned> {
        let id = || Arc::clone(&self.id);
        let commit = |partition: &TopicPartition| GroupRecord::OffsetCommit {
            group: id(),
            partition: partition.clone(),
            value: None,
        };
        let group = ends_group.then(|| GroupRecord::GroupMetadata { group: id(), value: None });
        let records = partitions.map(commit).chain(group).map(|record| record.encode());
        let records = records.collect::<Result<Vec<_>>>()?;
        let records: Vec<_> = records.iter().map(|(key, _)| record_of(key, None)).collect();
        log.append_batch(&records, Compression::None, IfFull::Fail)
    }
}
