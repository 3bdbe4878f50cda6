//! What the internal topic says of groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commits::Published;
use crate::error::Result;
use crate::group::{Committed, CommittedGroup, CommittedOffsets, GroupRecord, TopicPartition};
use crate::model::{Isolation, Offset, Start};
use crate::partition_log::PartitionLog;

/// What the internal topic says of groups, with the place of each commit in it.
#[derive(Default)]
pub struct Replayed {
    committed: CommittedOffsets,
    places: BTreeMap<(Arc<str>, TopicPartition), Offset>,
}

impl Replayed {
    /// Takes in all that can be read of a partition of it.
    pub fn read(&mut self, log: &Arc<PartitionLog>) -> Result<()> {
        // A transaction that Kafka has left open ends nowhere: what was committed since it began counts all the same.
        for batch in log.read(Start::Earliest, Isolation::ReadCommitted)?.passing_open_transactions() {
            for record in &batch? {
                let place = |error| log.place(error).at_offset(record.offset());
                if let Some(found) = GroupRecord::decode(record.key(), record.value()).map_err(place)? {
                    if let GroupRecord::OffsetCommit { group, partition, .. } = &found {
                        self.places.insert((Arc::clone(group), partition.clone()), record.offset());
                    }
                    self.committed.apply_record(found);
                }
            }
        }
        Ok(())
    }

    /// The groups of which something is known.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &CommittedGroup)> {
        self.committed.groups()
    }

    /// Whether something is known of a group.
    pub fn has(&self, id: &str) -> bool {
        self.committed.group(id).is_some()
    }

    /// What a group has committed.
    pub fn offsets_of(&self, id: &Arc<str>) -> BTreeMap<TopicPartition, Published> {
        let published = |(partition, committed): (&TopicPartition, &Committed)| {
            let at = self.places.get(&(Arc::clone(id), partition.clone())).copied().unwrap_or_default();
            (partition.clone(), Published { committed: committed.clone(), at })
        };
        self.committed.group(id).into_iter().flat_map(|known| known.offsets.iter().map(published)).collect()
    }
}
