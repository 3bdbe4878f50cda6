//! What the directory of a Kafka broker holds, by the names in it: topics with their partitions, and leftovers.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::broker::kafka_evidence::{KafkaEvidence, LostPartition};
use crate::broker::losses::Weight;
use crate::broker::partition_metadata;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{
    CLUSTER_METADATA, META_PROPERTIES, PARTITION_METADATA, is_kafka_leftover, parse_partition_dir,
    partition_dir,
};
use crate::model::{PartitionId, TopicId, TopicName};
use crate::vfs::{DirEntry, EntryKind, Vfs, read_file};

/// The topics of the directory, with what was passed over.
#[derive(Debug, Default)]
pub struct Inventory {
    pub topics: BTreeMap<TopicName, Found>,
    /// For people.
    pub notes: Vec<String>,
}

/// A topic: its id, and how many partitions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: TopicId,
    pub partitions: PartitionId,
}

impl Inventory {
    /// Reads the names and the topic ids. Every partition of a topic has to be there, and every one that the broker's
    /// checkpoints name.
    pub fn read(vfs: &dyn Vfs, root: &Path, evidence: &KafkaEvidence) -> Result<Self> {
        let mut inventory = Self::default();
        let mut partitions: BTreeMap<TopicName, Vec<PartitionId>> = BTreeMap::new();
        let entries = vfs.read_dir(root).doing("list", root)?;
        for entry in &entries {
            match judge(root, entry)? {
                Entry::Partition(topic, partition) => partitions.entry(topic).or_default().push(partition),
                Entry::PassedOver(why) => inventory.notes.push(format!("{} {why}", entry.name)),
                Entry::Known => {}
            }
        }
        for lost in evidence.lost_partitions(&entries) {
            inventory.notes.push(missing(root, &lost)?);
        }
        inventory.notes.sort();
        for (name, mut partitions) in partitions {
            partitions.sort_unstable();
            check_complete(root, &name, &partitions)?;
            let ids = partitions.iter().map(|partition| {
                let dir = root.join(partition_dir(&name, *partition));
                topic_id(vfs, &dir).map_err(|error| error.in_partition(name.as_str(), *partition))
            });
            let ids = ids.collect::<Result<Vec<_>>>()?;
            let id = check_one(root, &name, &ids)?;
            if let Some((other, _)) = inventory.topics.iter().find(|(_, found)| found.id == id) {
                let what = format!("the topic has the same topic id as topic {}", other.as_str());
                return Err(Error::corrupt(what)
                    .in_topic(name.as_str())
                    .in_file(root)
                    .advise("start the broker once, and stop it; nothing was changed"));
            }
            let partitions = PartitionId::try_from(ids.len()).unwrap_or(PartitionId::MAX);
            inventory.topics.insert(name, Found { id, partitions });
        }
        Ok(inventory)
    }
}

/// What an entry of the directory is.
enum Entry {
    Partition(TopicName, PartitionId),
    /// It stays as it is, and is reported with a reason.
    PassedOver(&'static str),
    Known,
}

fn judge(root: &Path, entry: &DirEntry) -> Result<Entry> {
    let name = entry.name.as_str();
    Ok(match entry.kind {
        EntryKind::File if name == META_PROPERTIES => Entry::Known,
        _ if name == META_PROPERTIES => {
            return Err(Error::new(ErrorKind::DirectoryNotOurs, "meta.properties is not a regular file")
                .in_file(&root.join(name))
                .advise("nothing was changed"));
        }
        EntryKind::File => Entry::Known,
        EntryKind::Directory if name == CLUSTER_METADATA => Entry::Known,
        EntryKind::Directory if is_kafka_leftover(name) => {
            Entry::PassedOver("is a leftover of the broker's, and was left alone")
        }
        EntryKind::Directory => match parse_partition_dir(name) {
            Some((topic, partition)) => Entry::Partition(topic, partition),
            None => Entry::PassedOver("is no partition's directory, and was left alone"),
        },
        // Its records would be left out, and followed it could lead anywhere.
        EntryKind::Other if parse_partition_dir(name).is_some() => {
            let what = "the directory of a partition is a symbolic link, or no directory at all";
            return Err(Error::new(ErrorKind::StorageError, what)
                .in_file(&root.join(name))
                .advise("links are not followed: bring the directory itself here; nothing was changed"));
        }
        EntryKind::Other => Entry::PassedOver("is neither a file nor a directory, and was left alone"),
    })
}

/// Fails where a partition is gone that has to be there; else what there is to be said of it. What was being deleted or
/// moved has left a directory under another name.
fn missing(root: &Path, lost: &LostPartition) -> Result<String> {
    let LostPartition { topic, partition, checkpoint, offset, weight } = lost;
    let dir = partition_dir(topic, *partition);
    let what = format!(
        "{checkpoint} names the partition, of which the log had come to offset {offset}, and its directory is missing"
    );
    if *weight == Weight::Proven {
        return Err(Error::corrupt(what)
            .in_partition(topic.as_str(), *partition)
            .in_file(&root.join(dir))
            .advise(
                "nothing was changed; bring the directory back from where it is, or start the broker once, which \
                 makes an empty one in its place, and stop it",
            ));
    }
    Ok(format!("{dir} is missing: {what}; a power cut may have taken that"))
}

/// A broker with several log directories keeps some of a topic's partitions in each.
fn check_complete(root: &Path, name: &TopicName, partitions: &[PartitionId]) -> Result<()> {
    match (0..).zip(partitions).find(|(expected, found)| expected != *found) {
        None => Ok(()),
        Some((missing, found)) => {
            let what =
                format!("the directory has partition {found} of the topic, and not partition {missing}");
            Err(Error::new(ErrorKind::StorageError, what)
                .in_partition(name.as_str(), missing)
                .in_file(root)
                .advise("bring all partitions of the topic into one directory first; nothing was changed"))
        }
    }
}

/// The topic id that a partition's directory names.
pub fn topic_id(vfs: &dyn Vfs, dir: &Path) -> Result<TopicId> {
    let path = dir.join(PARTITION_METADATA);
    let advise =
        |error: Error| error.in_file(&path).advise("start the broker once, and stop it; nothing was changed");
    match read_file(vfs, &path, 4096) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(advise(Error::corrupt("the partition's directory has no topic id: the file is missing")))
        }
        read => partition_metadata::decode(&read.doing("read", &path)?).map_err(advise),
    }
}

/// Every partition of a topic names the same id.
fn check_one(root: &Path, name: &TopicName, ids: &[TopicId]) -> Result<TopicId> {
    let first = ids.first().copied();
    let other = (0..).zip(ids).find(|(_, id)| Some(**id) != first);
    match (first, other) {
        (Some(id), None) => Ok(id),
        (_, other) => {
            let partition = other.map_or(0, |(partition, _)| partition);
            let what = "the partitions of the topic name different topic ids, as if they were of two topics";
            Err(Error::corrupt(what)
                .in_partition(name.as_str(), partition)
                .in_file(&root.join(partition_dir(name, partition)).join(PARTITION_METADATA))
                .advise("start the broker once, and stop it; nothing was changed"))
        }
    }
}
