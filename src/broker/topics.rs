//! What creating, altering and deleting topics share: the manifest's entries, and the slots of partitions.

use std::ops::Range;

use super::deleting;
use super::manifest::{Manifest, TopicEntry, TopicState};
use super::partition_dirs;
use super::reserve::with_reserve;
use super::shared::{Admin, Shared};
use crate::ends_file::{EndsSlot, Owner, ProvenEnd};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PartitionId, TopicId, TopicName};
use crate::mutant::{self, Mutant};

/// Undoes creations and growth, and finishes deletions, that were interrupted. What cannot be removed stays for the
/// next opening: it keeps topics from being created, altered and deleted, and nobody from his records.
pub fn settle(shared: &Shared) {
    let mut admin = shared.admin.lock();
    let topics = admin.manifest.topics.iter().filter(|(_, entry)| entry.state != TopicState::Live);
    let unsettled: Vec<_> = topics.map(|(name, entry)| (name.clone(), entry.clone())).collect();
    for (name, entry) in &unsettled {
        let settled = match entry.state {
            TopicState::Growing { to } => take_back_growth(shared, &mut admin, name, entry, to),
            _ => deleting::remove(shared, &mut admin, name, entry),
        };
        if settled.is_err() {
            break;
        }
    }
}

/// Removes the partitions that were to come.
fn take_back_growth(
    shared: &Shared,
    admin: &mut Admin,
    name: &TopicName,
    entry: &TopicEntry,
    to: PartitionId,
) -> Result<()> {
    let live = TopicEntry { state: TopicState::Live, ..entry.clone() };
    let taken_back = partition_dirs::remove(&shared.env, name, entry, entry.config.partitions..to)
        .and_then(|()| store(shared, admin, name, Some(&live)));
    if let Err(error) = &taken_back {
        admin.failed.get_or_insert_with(|| error.clone());
    }
    taken_back
}

/// What the manifest says of a topic that is there.
pub fn live(admin: &Admin, name: &TopicName) -> Result<TopicEntry> {
    let entry = admin.manifest.topics.get(name).filter(|entry| entry.state == TopicState::Live);
    entry.cloned().ok_or_else(|| unknown(name.as_str()))
}

pub fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::UnknownTopicOrPartition, "there is no such topic")
        .in_topic(name)
        .advise("create it first; names are case-sensitive")
}

/// Changes what the manifest says of a topic, on the disk and then in memory; `None` takes it out. Before the new form
/// takes the name nothing has changed; if that fails the disk may hold either, and topics are not changed any more.
pub fn store(shared: &Shared, admin: &mut Admin, name: &TopicName, entry: Option<&TopicEntry>) -> Result<()> {
    let mut manifest = admin.manifest.clone();
    match entry {
        Some(entry) => _ = manifest.topics.insert(name.clone(), entry.clone()),
        None => _ = manifest.topics.remove(name),
    }
    let (vfs, root) = (shared.env.vfs.as_ref(), &*shared.env.root);
    with_reserve(vfs, root, || manifest.stage(vfs, root))?;
    match Manifest::commit(vfs, root) {
        Ok(()) => {
            admin.manifest = manifest;
            Ok(())
        }
        Err(error) => {
            let error =
                error.advise("topics are created, altered and deleted again once the directory was reopened");
            admin.failed.get_or_insert_with(|| error.clone());
            Err(error)
        }
    }
}

/// Writes the first slot of each of these partitions, durably.
pub fn claim_slots(shared: &Shared, topic: TopicId, partitions: Range<PartitionId>) -> Result<Vec<EndsSlot>> {
    let slots = shared.ends.claim(partitions.map(|partition| Owner { topic, partition }));
    let now = shared.env.options.clock.monotonic();
    slots.iter().for_each(|slot| slot.publish(ProvenEnd { generation: 1, ..ProvenEnd::default() }, now));
    mutant::unless(Mutant::SlotNotSynced, || shared.ends.sync()).map(|()| slots)
}

/// Gives up the slots of partitions that are no more.
pub fn free_slots(shared: &Shared, topic: TopicId, partitions: Range<PartitionId>) {
    shared.ends.retain(|owner| owner.topic != topic || !partitions.contains(&owner.partition));
}
