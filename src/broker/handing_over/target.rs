//! Kafka's side of a hand-over: the log directory of a stopped broker, and the empty topic in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::broker::adopting::topic_id;
use crate::broker::kafka_evidence::{Offsets, read_offsets};
use crate::broker::open::take_lock;
use crate::broker::partition_dirs::remove_files;
use crate::checkpoint;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{
    HIGH_WATERMARKS, INCOMING, LOG_STARTS, META_PROPERTIES, PARTITION_METADATA, RECOVERY_POINTS, Replacement,
    SegmentFile, deleting_dir, parse_partition_dir, partition_dir, stray_dir,
};
use crate::model::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use crate::partition_log::LeaderEpochs;
use crate::segment::{SegmentDir, segment_bases};
use crate::vfs::{DirEntry, EntryKind, OpenMode, Vfs, VfsLock, read_file, replace_file};

/// The log directory, which nobody uses meanwhile.
#[derive(Debug)]
pub struct Target {
    vfs: Arc<dyn Vfs>,
    root: PathBuf,
    name: TopicName,
    id: TopicId,
    checkpoints: [(&'static str, Offsets); 3],
    _lock: Box<dyn VfsLock>,
}

impl Target {
    /// Fails unless a stopped broker has the topic there, with so many partitions.
    pub fn open(vfs: &Arc<dyn Vfs>, root: &Path, name: &TopicName, partitions: PartitionId) -> Result<Self> {
        check_directory(vfs.as_ref(), root)?;
        let lock = take_lock(vfs.as_ref(), root)?;
        check_directory(vfs.as_ref(), root)?;
        finish_exchanges(vfs.as_ref(), root, name)?;
        let id = check_topic(vfs.as_ref(), root, name, partitions)?;
        for partition in 0..partitions {
            // What an exchange has put aside.
            remove_dir(vfs.as_ref(), &root.join(deleting_dir(name, partition, id)))?;
        }
        let mut checkpoints =
            [RECOVERY_POINTS, HIGH_WATERMARKS, LOG_STARTS].map(|file| (file, Offsets::new()));
        for (file, offsets) in &mut checkpoints {
            *offsets = read_offsets(vfs.as_ref(), root, file)?;
        }
        let (vfs, root, name) = (Arc::clone(vfs), root.to_owned(), name.clone());
        Ok(Self { vfs, root, name, id, checkpoints, _lock: lock })
    }

    /// A partition as Kafka has it.
    pub fn partition(&self, partition: PartitionId) -> SegmentDir {
        self.dir(&self.root.join(partition_dir(&self.name, partition)))
    }

    fn dir(&self, path: &Path) -> SegmentDir {
        SegmentDir::new(Arc::clone(&self.vfs), path, false)
    }

    /// Kafka's leader epoch of a partition; that of a topic which has just been created if it has none yet.
    pub fn epoch(&self, partition: PartitionId) -> Result<LeaderEpoch> {
        let epochs = LeaderEpochs::read(self.vfs.as_ref(), self.partition(partition).path())?;
        Ok(epochs.and_then(|epochs| epochs.latest()).unwrap_or_default())
    }

    /// Whether the partition has no records.
    pub fn is_empty(&self, partition: PartitionId) -> Result<bool> {
        let dir = self.partition(partition);
        let entries = self.vfs.read_dir(dir.path()).doing("list", dir.path())?;
        if entries.iter().any(|entry| Replacement::parse(&entry.name).is_some()) {
            return Ok(false);
        }
        let is_empty = |base: &Offset| {
            let path = dir.file(SegmentFile::Log, *base);
            let file = self.vfs.open(&path, OpenMode::Read);
            let size = file.and_then(|file| file.size()).doing("measure", &path)?;
            Ok(size == 0 && *base == 0)
        };
        segment_bases(&dir)?.iter().map(is_empty).try_fold(true, |all, is_empty| Ok(all && is_empty?))
    }

    /// Makes the directory in which a partition is gathered, anew, with Kafka's topic id in it.
    pub fn begin(&self, partition: PartitionId) -> Result<SegmentDir> {
        self.clear(partition)?;
        let live = self.partition(partition);
        let path = live.path().join(INCOMING);
        self.vfs.create_dir(&path).doing("create the directory", &path)?;
        let metadata = live.path().join(PARTITION_METADATA);
        let bytes = read_file(self.vfs.as_ref(), &metadata, 4096).doing("read", &metadata)?;
        let copy = path.join(PARTITION_METADATA);
        replace_file(self.vfs.as_ref(), &path, PARTITION_METADATA, &bytes).doing("write", &copy)?;
        Ok(self.dir(&path))
    }

    /// Removes what an attempt has gathered.
    pub fn clear(&self, partition: PartitionId) -> Result<()> {
        remove_dir(self.vfs.as_ref(), &self.partition(partition).path().join(INCOMING))?;
        // Kafka gives such a name with a random number, and not with the topic's id.
        remove_dir(self.vfs.as_ref(), &self.root.join(stray_dir(&self.name, partition, self.id)))
    }

    /// Puts what was gathered, and synced, in the place of the empty partition. Whatever a crash leaves, the partition is empty,
    /// complete, or about to be exchanged.
    pub fn exchange(&self, partition: PartitionId) -> Result<()> {
        let live = self.partition(partition).path().to_owned();
        let incoming = live.join(INCOMING);
        let complete = self.root.join(stray_dir(&self.name, partition, self.id));
        self.vfs.rename(&incoming, &complete).doing("rename", &incoming)?;
        self.sync_root()?;
        let dead = self.root.join(deleting_dir(&self.name, partition, self.id));
        self.vfs.rename(&live, &dead).doing("rename", &live)?;
        self.sync_root()?;
        finish_exchange(self.vfs.as_ref(), &self.root, &complete, &live, &dead)
    }

    /// Says in Kafka's checkpoints where the partitions begin and end.
    pub fn write_checkpoints(mut self, ends: &BTreeMap<PartitionId, Reach>) -> Result<()> {
        for (file, offsets) in &mut self.checkpoints {
            for (partition, reach) in ends {
                let offset = match *file {
                    LOG_STARTS => Some(reach.log_start).filter(|start| *start > reach.first_segment),
                    _ => Some(reach.end),
                };
                let key = (self.name.clone(), *partition);
                // What was there already, the broker may have gone on with: nothing goes back.
                let known = offsets.get(&key).copied().filter(|_| reach.was_there);
                match known.max(offset) {
                    Some(offset) => _ = offsets.insert(key, offset),
                    None => _ = offsets.remove(&key),
                }
            }
            let lines: Vec<_> = offsets
                .iter()
                .map(|((topic, partition), offset)| format!("{} {partition} {offset}", topic.as_str()))
                .collect();
            let text = checkpoint::encode(lines.iter());
            let path = self.root.join(*file);
            replace_file(self.vfs.as_ref(), &self.root, file, text.as_bytes()).doing("write", &path)?;
        }
        Ok(())
    }

    fn sync_root(&self) -> Result<()> {
        self.vfs.sync_dir(&self.root).doing("sync", &self.root)
    }
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub first_segment: Offset,
    pub log_start: Offset,
    pub end: Offset,
    /// Whether an earlier hand-over has brought it.
    pub was_there: bool,
}

fn check_directory(vfs: &dyn Vfs, root: &Path) -> Result<()> {
    let path = root.join(META_PROPERTIES);
    let listed = vfs.kind(&path).doing("look at", &path)?;
    if listed == Some(EntryKind::File) {
        return Ok(());
    }
    let what = "the target is no log directory of a Kafka broker, for it holds no meta.properties";
    Err(Error::new(ErrorKind::DirectoryNotOurs, what)
        .in_file(root)
        .advise("name one of the broker's log.dirs, in which it has made the topic; nothing was changed"))
}

/// Does what an exchange of directories has left undone.
fn finish_exchanges(vfs: &dyn Vfs, root: &Path, name: &TopicName) -> Result<()> {
    let entries = vfs.read_dir(root).doing("list", root)?;
    let holds = |name: &str| entries.iter().any(|entry| entry.name == name);
    for DirEntry { name: dead, .. } in &entries {
        let Some((partition, id)) = parse_dead(name, dead) else { continue };
        let complete = root.join(stray_dir(name, partition, id));
        let live = partition_dir(name, partition);
        if !holds(&live) && holds(&stray_dir(name, partition, id)) {
            finish_exchange(vfs, root, &complete, &root.join(live), &root.join(dead))?;
        }
    }
    Ok(())
}

/// The partition and the id of a topic's directory that is to be deleted.
fn parse_dead(name: &TopicName, dead: &str) -> Option<(PartitionId, TopicId)> {
    let (live, rest) = dead.rsplit_once('.')?;
    let (topic, partition) = parse_partition_dir(live)?;
    let id = u128::from_str_radix(rest.strip_suffix("-delete")?, 16).ok().map(TopicId::from_u128)?;
    (topic == *name && deleting_dir(name, partition, id) == dead).then_some((partition, id))
}

/// Removes a directory with the files in it, if it is there.
fn remove_dir(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    if vfs.kind(path).doing("look at", path)? != Some(EntryKind::Directory) {
        return Ok(());
    }
    remove_files(vfs, path)?;
    vfs.remove_dir(path).doing("remove", path)
}

fn finish_exchange(vfs: &dyn Vfs, root: &Path, complete: &Path, live: &Path, dead: &Path) -> Result<()> {
    vfs.rename(complete, live).doing("rename", complete)?;
    vfs.sync_dir(root).doing("sync", root)?;
    remove_dir(vfs, dead)?;
    vfs.sync_dir(root).doing("sync", root)
}

/// The topic has this number of partitions, with one id.
fn check_topic(vfs: &dyn Vfs, root: &Path, name: &TopicName, partitions: PartitionId) -> Result<TopicId> {
    let entries = vfs.read_dir(root).doing("list", root)?;
    let found = |entry: &DirEntry| {
        let found = parse_partition_dir(&entry.name).filter(|(topic, _)| topic == name);
        found.filter(|_| entry.kind == EntryKind::Directory).map(|(_, partition)| partition)
    };
    let mut there: Vec<_> = entries.iter().filter_map(found).collect();
    there.sort_unstable();
    let refuse = |kind, what: String| Err(Error::new(kind, what).in_topic(name.as_str()).in_file(root));
    if there.is_empty() {
        let what = "the broker has no such topic in this directory".to_owned();
        return refuse(ErrorKind::UnknownTopicOrPartition, what).map_err(|error| {
            error.advise(format!(
                "start the broker, create the topic with {partitions} partitions, and stop it; nothing was changed"
            ))
        });
    }
    if !there.iter().copied().eq(0..partitions) {
        let what = format!(
            "the topic has other partitions there ({there:?}) than here (0 to {})",
            partitions.saturating_sub(1)
        );
        return refuse(ErrorKind::InvalidPartitions, what).map_err(|error| {
            error.advise("create it with the same number, all in one directory; nothing was changed")
        });
    }
    let mut ids = Vec::new();
    for partition in there {
        let id = topic_id(vfs, &root.join(partition_dir(name, partition)));
        ids.push(id.map_err(|error| error.in_partition(name.as_str(), partition))?);
    }
    match ids.split_first() {
        Some((id, others)) if others.iter().all(|other| other == id) => Ok(*id),
        _ => refuse(
            ErrorKind::CorruptMessage,
            "the partitions of the topic name different topic ids; nothing was changed".to_owned(),
        ),
    }
}
