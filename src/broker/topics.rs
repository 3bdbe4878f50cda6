//! Creating, opening and removing topics: the steps, each durable before the next begins.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Manifest, TopicEntry, TopicState};
use super::partition_metadata;
use super::reserve::{self, with_reserve};
use super::shared::{Admin, Shared};
use super::topic_logs::TopicLogs;
use crate::config::TopicConfig;
use crate::ends_file::{EndsSlot, Owner, ProvenEnd};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{deleting_dir, partition_dir};
use crate::model::{PartitionId, TopicId, TopicName};
use crate::partition_log::PartitionLog;
use crate::vfs::EntryKind;

/// Creates a topic. A failure leaves nothing of it behind, or stops further changes if that fails, too.
pub fn create(shared: &Shared, name: &str, config: &TopicConfig) -> Result<Arc<TopicLogs>> {
    shared.check_open()?;
    let name = TopicName::new(name)?;
    let config = config.clone().or_durability(shared.env.options.durability);
    config.validate().map_err(|error| error.in_topic(name.as_str()))?;
    let mut admin = shared.admin.lock();
    admin.check()?;
    check_name_is_free(&admin, &name)?;
    check_places_are_free(shared, &name, config.partitions)?;

    let entry = TopicEntry { id: TopicId::random(), state: TopicState::Creating, config };
    // The evidence is there before anybody could look for it.
    let named = claim_slots(shared, &entry).and_then(|slots| {
        store(shared, &mut admin, |topics| _ = topics.insert(name.clone(), entry.clone()))?;
        Ok(slots)
    });
    let slots = named.map_err(|error| {
        shared.ends.retain(|owner| owner.topic != entry.id);
        error.in_topic(name.as_str())
    })?;
    let mut made = Vec::new();
    let created = create_directories(shared, &name, &entry, slots, &mut made).and_then(|logs| {
        let live = TopicEntry { state: TopicState::Live, ..entry.clone() };
        store(shared, &mut admin, |topics| _ = topics.insert(name.clone(), live.clone()))?;
        Ok(logs)
    });
    match created {
        Ok(logs) => {
            let logs = Arc::new(logs);
            shared.topics.write().insert(name, Arc::clone(&logs));
            Ok(logs)
        }
        Err(error) => {
            if admin.failed.is_none() {
                undo(shared, &mut admin, &name, entry.id, &made);
            }
            Err(error.in_topic(name.as_str()))
        }
    }
}

/// Undoes creations and finishes deletions that were interrupted. What cannot be removed stays for the next
/// opening: it keeps topics from being created and deleted, and nobody from his records.
pub fn settle(shared: &Shared) {
    let mut admin = shared.admin.lock();
    let topics = admin.manifest.topics.iter().filter(|(_, entry)| entry.state != TopicState::Live);
    let unsettled: Vec<_> = topics.map(|(name, entry)| (name.clone(), entry.clone())).collect();
    for (name, entry) in &unsettled {
        if remove(shared, &mut admin, name, entry).is_err() {
            break;
        }
    }
}

/// Deletes a topic: from the moment at which the manifest says so it is gone, whatever happens then.
pub fn delete(shared: &Shared, name: &str) -> Result<()> {
    shared.check_open()?;
    let name = TopicName::new(name)?;
    let mut admin = shared.admin.lock();
    admin.check()?;
    let live = admin.manifest.topics.get(&name).filter(|entry| entry.state == TopicState::Live);
    let Some(entry) = live.cloned() else { return Err(unknown(name.as_str())) };

    let place = |error: Error| error.in_topic(name.as_str());
    check_removable(shared, &name, &entry).map_err(place)?;
    let deleting = TopicEntry { state: TopicState::Deleting, ..entry };
    let stored = store(shared, &mut admin, |topics| _ = topics.insert(name.clone(), deleting.clone()));
    if let (Err(error), Some(_), Some(topic)) = (&stored, &admin.failed, shared.topics.read().get(&name)) {
        // The disk may say that the topic is being deleted: nothing may be acknowledged in it any more.
        topic.logs.iter().for_each(|log| log.fail(error.clone()));
    }
    stored.map_err(place)?;
    let removed = shared.topics.write().remove(&name);
    if let Some(topic) = removed {
        topic.logs.iter().for_each(|log| log.delete());
    }
    remove(shared, &mut admin, &name, &deleting).map_err(place)?;
    // Deleting may have needed it, and has made room for it.
    reserve::set_aside(shared.env.vfs.as_ref(), &shared.env.root, shared.env.options.reserve)
}

/// Removes the directories of a topic that is not, or no longer, live, and then its entry.
///
/// They first take the name under which Kafka, too, takes them for what they are.
pub fn remove(shared: &Shared, admin: &mut Admin, name: &TopicName, entry: &TopicEntry) -> Result<()> {
    let directories = || {
        let mut doomed = Vec::new();
        for partition in 0..entry.config.partitions {
            let live = shared.env.root.join(partition_dir(name, partition));
            let dead = shared.env.root.join(deleting_dir(name, partition, entry.id));
            if belongs_to(shared, &live, entry)? {
                shared.env.vfs.rename(&live, &dead).doing("rename", &live)?;
            }
            if is_directory(shared, &dead)? {
                doomed.push(dead);
            }
        }
        shared.env.vfs.sync_dir(&shared.env.root).doing("sync", &shared.env.root)?;
        doomed.iter().try_for_each(|dead| remove_directory(shared, dead))?;
        shared.env.vfs.sync_dir(&shared.env.root).doing("sync", &shared.env.root)
    };
    let removed = directories().and_then(|()| store(shared, admin, |topics| _ = topics.remove(name)));
    shared.ends.retain(|owner| owner.topic != entry.id);
    if let Err(error) = &removed {
        admin.failed.get_or_insert_with(|| error.clone());
    }
    removed
}

/// Fails if a directory of the topic holds a directory, which is nobody's that we know.
fn check_removable(shared: &Shared, name: &TopicName, entry: &TopicEntry) -> Result<()> {
    for partition in 0..entry.config.partitions {
        let dir = shared.env.root.join(partition_dir(name, partition));
        let entries = match shared.env.vfs.read_dir(&dir) {
            // Of a damaged partition.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            listed => listed.doing("list", &dir)?,
        };
        if let Some(foreign) = entries.iter().find(|entry| entry.kind == EntryKind::Directory) {
            let what = "the partition's directory holds a directory, which is none of ours";
            return Err(Error::new(ErrorKind::StorageError, what)
                .in_file(&dir.join(&foreign.name))
                .advise("move it away; nothing was deleted"));
        }
    }
    Ok(())
}

/// Fails if something stands where a directory of the topic would be made.
fn check_places_are_free(shared: &Shared, name: &TopicName, partitions: PartitionId) -> Result<()> {
    for partition in 0..partitions {
        let dir = shared.env.root.join(partition_dir(name, partition));
        if shared.env.vfs.kind(&dir).doing("look at", &dir)?.is_some() {
            let what = "something stands in the place of the partition's directory";
            return Err(Error::new(ErrorKind::StorageError, what)
                .in_partition(name.as_str(), partition)
                .in_file(&dir)
                .advise("move it away, or choose another name; nothing was created"));
        }
    }
    Ok(())
}

pub fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::UnknownTopicOrPartition, "there is no such topic")
        .in_topic(name)
        .advise("create it first; names are case-sensitive")
}

fn check_name_is_free(admin: &Admin, name: &TopicName) -> Result<()> {
    let Some(existing) = admin.manifest.topics.keys().find(|existing| existing.collides_with(name)) else {
        return Ok(());
    };
    if existing == name {
        return Err(
            Error::new(ErrorKind::TopicAlreadyExists, "the topic exists already").in_topic(name.as_str())
        );
    }
    let what = format!("the name collides with topic {}: '.' and '_' count as the same", existing.as_str());
    Err(Error::new(ErrorKind::InvalidTopic, what).in_topic(name.as_str()).advise("choose another name"))
}

/// Changes the manifest, on the disk and then in memory. Before its new form takes the name nothing has changed;
/// if that fails the disk may hold either, and topics are not changed any more.
fn store(
    shared: &Shared,
    admin: &mut Admin,
    change: impl FnOnce(&mut std::collections::BTreeMap<TopicName, TopicEntry>),
) -> Result<()> {
    let mut manifest = admin.manifest.clone();
    change(&mut manifest.topics);
    let (vfs, root) = (shared.env.vfs.as_ref(), &*shared.env.root);
    with_reserve(vfs, root, || manifest.stage(vfs, root))?;
    match Manifest::commit(shared.env.vfs.as_ref(), &shared.env.root) {
        Ok(()) => {
            admin.manifest = manifest;
            Ok(())
        }
        Err(error) => {
            let error = error.advise("topics are created and deleted again once the directory was reopened");
            admin.failed.get_or_insert_with(|| error.clone());
            Err(error)
        }
    }
}

/// Writes the first slot of every partition, durably.
fn claim_slots(shared: &Shared, entry: &TopicEntry) -> Result<Vec<EndsSlot>> {
    let owners = (0..entry.config.partitions).map(|partition| Owner { topic: entry.id, partition });
    let slots = shared.ends.claim(owners);
    let now = shared.env.options.clock.monotonic();
    slots.iter().for_each(|slot| slot.publish(ProvenEnd { generation: 1, ..ProvenEnd::default() }, now));
    shared.ends.sync().map(|()| slots)
}

/// Makes every directory of a topic durable; `made` takes those that were made, also when one fails.
fn create_directories(
    shared: &Shared,
    name: &TopicName,
    entry: &TopicEntry,
    slots: Vec<EndsSlot>,
    made: &mut Vec<PathBuf>,
) -> Result<TopicLogs> {
    let mut logs = Vec::new();
    for (partition, slot) in (0..).zip(slots) {
        let dir = shared.env.root.join(partition_dir(name, partition));
        shared.env.vfs.create_dir(&dir).doing("create the directory", &dir)?;
        made.push(dir.clone());
        let log = PartitionLog::create(shared.env.log_context(name, entry, slot))?;
        // Syncs the directory, and with it the names of the segment's files.
        partition_metadata::store(shared.env.vfs.as_ref(), &dir, entry.id)?;
        logs.push(log);
    }
    shared.env.vfs.sync_dir(&shared.env.root).doing("sync", &shared.env.root)?;
    Ok(TopicLogs::new(name.clone(), entry.id, entry.config.clone(), logs))
}

/// Takes back a creation that failed; what cannot be taken back stops further changes.
fn undo(shared: &Shared, admin: &mut Admin, name: &TopicName, id: TopicId, made: &[PathBuf]) {
    let undone = made
        .iter()
        .try_for_each(|dir| remove_directory(shared, dir))
        .and_then(|()| store(shared, admin, |topics| _ = topics.remove(name)));
    shared.ends.retain(|owner| owner.topic != id);
    if let Err(error) = undone {
        admin.failed.get_or_insert(error);
    }
}

/// True if there is a directory of this very topic: a name may be taken by something else meanwhile.
fn belongs_to(shared: &Shared, dir: &Path, entry: &TopicEntry) -> Result<bool> {
    if !is_directory(shared, dir)? {
        return Ok(false);
    }
    let entries = shared.env.vfs.read_dir(dir).doing("list", dir)?;
    // A creation that was interrupted may not have come to the topic id.
    Ok(partition_metadata::check(shared.env.vfs.as_ref(), dir, entry.id).is_ok()
        || entry.state == TopicState::Creating && entries.iter().all(|entry| entry.kind == EntryKind::File))
}

fn is_directory(shared: &Shared, path: &Path) -> Result<bool> {
    Ok(shared.env.vfs.kind(path).doing("look at", path)? == Some(EntryKind::Directory))
}

/// Removes a directory and the files in it; a directory inside it is nobody's that we know, and stays.
fn remove_directory(shared: &Shared, dir: &Path) -> Result<()> {
    for entry in shared.env.vfs.read_dir(dir).doing("list", dir)? {
        if entry.kind != EntryKind::Directory {
            let path = dir.join(&entry.name);
            shared.env.vfs.remove_file(&path).doing("remove", &path)?;
        }
    }
    shared.env.vfs.remove_dir(dir).doing("remove", dir)
}
