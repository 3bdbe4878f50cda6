//! Creating, opening and removing topics: the steps, each durable before the next begins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{TopicEntry, TopicState};
use super::partition_metadata;
use super::shared::{Admin, Shared, is_directory};
use super::topic::TopicLogs;
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{deleting_dir, partition_dir};
use crate::model::{PartitionId, TopicId, TopicName};
use crate::partition_log::{LogContext, PartitionLog};
use crate::segment::SegmentDir;
use crate::vfs::EntryKind;

/// Creates a topic. A failure leaves nothing of it behind, or stops further changes if that fails, too.
pub fn create(shared: &Shared, name: &str, config: &TopicConfig) -> Result<Arc<TopicLogs>> {
    let name = TopicName::new(name)?;
    config.validate().map_err(|error| error.in_topic(name.as_str()))?;
    let mut admin = shared.admin.lock();
    admin.check()?;
    check_name_is_free(&admin, &name)?;

    let entry = TopicEntry { id: TopicId::random(), state: TopicState::Creating, config: config.clone() };
    store(shared, &mut admin, |topics| _ = topics.insert(name.clone(), entry.clone()))?;
    let mut made = Vec::new();
    let created = create_directories(shared, &name, &entry, &mut made).and_then(|logs| {
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
                undo(shared, &mut admin, &name, &made);
            }
            Err(error.in_topic(name.as_str()))
        }
    }
}

/// Opens the partitions of a topic, without writing.
pub fn open(shared: &Shared, name: &TopicName, entry: &TopicEntry) -> Result<TopicLogs> {
    let logs = (0..entry.config.partitions).map(|partition| {
        let dir = shared.root.join(partition_dir(name, partition));
        let place = |error: Error| error.in_partition(name.as_str(), partition);
        partition_metadata::check(shared.vfs.as_ref(), &dir, entry.id).map_err(place)?;
        PartitionLog::open(context(shared, name, entry, partition, &dir)).map(Arc::new).map_err(place)
    });
    Ok(TopicLogs::new(name.clone(), entry.id, entry.config.clone(), logs.collect::<Result<_>>()?))
}

/// Deletes a topic: from the moment at which the manifest says so it is gone, whatever happens then.
pub fn delete(shared: &Shared, name: &str) -> Result<()> {
    let name = TopicName::new(name)?;
    let mut admin = shared.admin.lock();
    admin.check()?;
    let live = admin.manifest.topics.get(&name).filter(|entry| entry.state == TopicState::Live);
    let Some(entry) = live.cloned() else { return Err(unknown(name.as_str())) };

    let deleting = TopicEntry { state: TopicState::Deleting, ..entry };
    store(shared, &mut admin, |topics| _ = topics.insert(name.clone(), deleting.clone()))?;
    if let Some(topic) = shared.topics.write().remove(&name) {
        topic.logs.iter().for_each(|log| log.delete());
    }
    remove(shared, &mut admin, &name, &deleting).map_err(|error| error.in_topic(name.as_str()))
}

/// Removes the directories of a topic that is not, or no longer, live, and then its entry.
///
/// They first take the name under which Kafka, too, takes them for what they are.
pub fn remove(shared: &Shared, admin: &mut Admin, name: &TopicName, entry: &TopicEntry) -> Result<()> {
    let directories = || {
        let mut doomed = Vec::new();
        for partition in 0..entry.config.partitions {
            let live = shared.root.join(partition_dir(name, partition));
            let dead = shared.root.join(deleting_dir(name, partition, entry.id));
            if belongs_to(shared, &live, entry)? {
                shared.vfs.rename(&live, &dead).doing("rename", &live)?;
            }
            if is_directory(shared.vfs.as_ref(), &dead)? {
                doomed.push(dead);
            }
        }
        shared.vfs.sync_dir(&shared.root).doing("sync", &shared.root)?;
        doomed.iter().try_for_each(|dead| remove_directory(shared, dead))?;
        shared.vfs.sync_dir(&shared.root).doing("sync", &shared.root)
    };
    let removed = directories().and_then(|()| store(shared, admin, |topics| _ = topics.remove(name)));
    if let Err(error) = &removed {
        admin.failed.get_or_insert_with(|| error.clone());
    }
    removed
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

/// Changes the manifest, on the disk and then in memory. After a failure the disk may hold either, so that
/// nothing is changed any more.
fn store(
    shared: &Shared,
    admin: &mut Admin,
    change: impl FnOnce(&mut std::collections::BTreeMap<TopicName, TopicEntry>),
) -> Result<()> {
    let mut manifest = admin.manifest.clone();
    change(&mut manifest.topics);
    match manifest.store(shared.vfs.as_ref(), &shared.root) {
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

/// Makes every directory of a topic durable; `made` takes those that were made, also when one fails.
fn create_directories(
    shared: &Shared,
    name: &TopicName,
    entry: &TopicEntry,
    made: &mut Vec<PathBuf>,
) -> Result<TopicLogs> {
    let mut logs = Vec::new();
    for partition in 0..entry.config.partitions {
        let dir = shared.root.join(partition_dir(name, partition));
        shared.vfs.create_dir(&dir).doing("create the directory", &dir)?;
        made.push(dir.clone());
        let log = PartitionLog::create(context(shared, name, entry, partition, &dir))?;
        // Syncs the directory, and with it the names of the segment's files.
        partition_metadata::store(shared.vfs.as_ref(), &dir, entry.id)?;
        logs.push(Arc::new(log));
    }
    shared.vfs.sync_dir(&shared.root).doing("sync", &shared.root)?;
    Ok(TopicLogs::new(name.clone(), entry.id, entry.config.clone(), logs))
}

/// Takes back a creation that failed; what cannot be taken back stops further changes.
fn undo(shared: &Shared, admin: &mut Admin, name: &TopicName, made: &[PathBuf]) {
    let undone = made
        .iter()
        .try_for_each(|dir| remove_directory(shared, dir))
        .and_then(|()| store(shared, admin, |topics| _ = topics.remove(name)));
    if let Err(error) = undone {
        admin.failed.get_or_insert(error);
    }
}

/// True if there is a directory of this very topic: a name may be taken by something else meanwhile.
fn belongs_to(shared: &Shared, dir: &Path, entry: &TopicEntry) -> Result<bool> {
    if !is_directory(shared.vfs.as_ref(), dir)? {
        return Ok(false);
    }
    let entries = shared.vfs.read_dir(dir).doing("list", dir)?;
    // A creation that was interrupted may not have come to the topic id.
    Ok(partition_metadata::check(shared.vfs.as_ref(), dir, entry.id).is_ok()
        || entry.state == TopicState::Creating && entries.iter().all(|entry| entry.kind == EntryKind::File))
}

/// Removes a directory and the files in it; a directory inside it is nobody's that we know, and stays.
fn remove_directory(shared: &Shared, dir: &Path) -> Result<()> {
    for entry in shared.vfs.read_dir(dir).doing("list", dir)? {
        if entry.kind != EntryKind::Directory {
            let path = dir.join(&entry.name);
            shared.vfs.remove_file(&path).doing("remove", &path)?;
        }
    }
    shared.vfs.remove_dir(dir).doing("remove", dir)
}

fn context(
    shared: &Shared,
    name: &TopicName,
    entry: &TopicEntry,
    partition: PartitionId,
    dir: &Path,
) -> LogContext {
    LogContext {
        topic: name.as_str().into(),
        partition,
        config: entry.config.clone(),
        dir: SegmentDir::new(Arc::clone(&shared.vfs), dir, shared.options.memory_maps),
        clock: shared.options.clock.clone(),
        batch_size: shared.options.batch_size,
    }
}
