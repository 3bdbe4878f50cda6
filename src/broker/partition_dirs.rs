//! The directories of a topic's partitions: making, recognising and removing them.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::Environment;
use super::manifest::TopicEntry;
use super::partition_metadata;
use crate::ends_file::EndsSlot;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{PARTITION_METADATA, SegmentFile, deleting_dir, partition_dir, temporary};
use crate::model::{PartitionId, TopicName};
use crate::mutant::{self, Mutant};
use crate::partition_log::PartitionLog;
use crate::vfs::{DirEntry, EntryKind, Vfs};

/// Fails if something stands where a directory of these partitions would be made.
pub fn check_places_are_free(
    env: &Environment,
    name: &TopicName,
    partitions: Range<PartitionId>,
) -> Result<()> {
    for partition in partitions {
        let dir = env.root.join(partition_dir(name, partition));
        if env.vfs.kind(&dir).doing("look at", &dir)?.is_some() {
            let what = "something stands in the place of the partition's directory";
            return Err(Error::new(ErrorKind::StorageError, what)
                .in_partition(name.as_str(), partition)
                .in_file(&dir)
                .advise("move it away, or choose another name; nothing was created"));
        }
    }
    Ok(())
}

/// Makes the directory of each partition that has a slot here, durably; `made` takes those that were made, also when
/// one fails.
pub fn make(
    env: &Environment,
    name: &TopicName,
    entry: &TopicEntry,
    slots: Vec<EndsSlot>,
    made: &mut Vec<PathBuf>,
) -> Result<Vec<Arc<PartitionLog>>> {
    let mut logs = Vec::new();
    for slot in slots {
        let dir = env.root.join(partition_dir(name, slot.owner().partition));
        env.vfs.create_dir(&dir).doing("create the directory", &dir)?;
        made.push(dir.clone());
        let log = PartitionLog::create(env.log_context(name, entry, slot))?;
        // Syncs the directory, and with it the names of the segment's files.
        partition_metadata::store(env.vfs.as_ref(), &dir, entry.id)?;
        logs.push(log);
    }
    let named = mutant::unless(Mutant::DirectoriesNotSynced, || env.vfs.sync_dir(&env.root));
    named.doing("sync", &env.root)?;
    Ok(logs)
}

/// Removes the directories of these partitions where they are this topic's.
///
/// They first take the name under which Kafka, too, takes them for what they are.
pub fn remove(
    env: &Environment,
    name: &TopicName,
    entry: &TopicEntry,
    partitions: Range<PartitionId>,
) -> Result<()> {
    let mut doomed = Vec::new();
    for partition in partitions {
        let live = env.root.join(partition_dir(name, partition));
        let dead = env.root.join(deleting_dir(name, partition, entry.id));
        if belongs_to(env, &live, entry)? {
            env.vfs.rename(&live, &dead).doing("rename", &live)?;
        }
        if is_directory(env, &dead)? {
            doomed.push(dead);
        }
    }
    env.vfs.sync_dir(&env.root).doing("sync", &env.root)?;
    doomed.iter().try_for_each(|dead| remove_whole(env, dead))?;
    env.vfs.sync_dir(&env.root).doing("sync", &env.root)
}

/// Fails if a directory of the topic holds a directory, which is nobody's that we know.
pub fn check_removable(env: &Environment, name: &TopicName, entry: &TopicEntry) -> Result<()> {
    for partition in 0..entry.config.partitions {
        let dir = env.root.join(partition_dir(name, partition));
        let entries = match env.vfs.read_dir(&dir) {
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

/// Removes a directory and the files in it; a directory inside it is nobody's that we know, and stays.
pub fn remove_whole(env: &Environment, dir: &Path) -> Result<()> {
    remove_files(env.vfs.as_ref(), dir)?;
    env.vfs.remove_dir(dir).doing("remove", dir)
}

/// Removes the files in a directory.
pub fn remove_files(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    for entry in vfs.read_dir(dir).doing("list", dir)? {
        if entry.kind != EntryKind::Directory {
            let path = dir.join(&entry.name);
            vfs.remove_file(&path).doing("remove", &path)?;
        }
    }
    Ok(())
}

/// True if there is a directory of this very topic: a name may be taken by something else meanwhile.
fn belongs_to(env: &Environment, dir: &Path, entry: &TopicEntry) -> Result<bool> {
    if !is_directory(env, dir)? {
        return Ok(false);
    }
    let entries = env.vfs.read_dir(dir).doing("list", dir)?;
    match partition_metadata::check(env.vfs.as_ref(), dir, entry.id) {
        Ok(()) => Ok(true),
        // What cannot be read is not somebody else's for that.
        Err(error) if error.io_error().is_some() => Err(error),
        // What was interrupted may not have come to the topic id.
        Err(_) => Ok(entry.state.makes_directories() && entries.iter().all(is_unfinished)),
    }
}

/// Whether it is a file that a partition's directory has before it has its topic id.
fn is_unfinished(entry: &DirEntry) -> bool {
    let is_first_segment = SegmentFile::parse(&entry.name)
        .is_some_and(|(file, base)| base == 0 && SegmentFile::ALWAYS.contains(&file));
    entry.kind == EntryKind::File && (is_first_segment || entry.name == temporary(PARTITION_METADATA))
}

fn is_directory(env: &Environment, path: &Path) -> Result<bool> {
    Ok(env.vfs.kind(path).doing("look at", path)? == Some(EntryKind::Directory))
}
