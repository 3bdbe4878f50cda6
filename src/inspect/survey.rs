//! What a log directory says of itself before its logs are read: whose it is, which partitions it has, and what of them is
//! proven. Of everything that cannot be read the error is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FileKind;
use super::small_files::most;
use crate::broker::{
    KafkaEvidence, KafkaSegments, Manifest, Marker, SegmentLoss, TopicEntry, decode_partition_metadata,
    read_marker,
};
use crate::config::TopicConfig;
use crate::ends_file::{self, Owner, Place, ProvenEnd, newest_of};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{
    CLEAN_SHUTDOWN, CLUSTER_METADATA, ENDS, LOCK, MANIFEST, META_PROPERTIES, PARTITION_METADATA,
    RECOVERY_POINTS, SegmentFile, parse_partition_dir, partition_dir,
};
use crate::model::{Offset, PartitionId, TopicId, TopicName};
use crate::segment::SegmentDir;
use crate::vfs::{DirEntry, EntryKind, Vfs, read_file};

fn is_live(vfs: &dyn Vfs, root: &Path) -> Result<bool> {
    let lock = root.join(LOCK);
    vfs.is_locked(&lock).doing("look at the lock", &lock)
}

fn traces(vfs: &dyn Vfs, root: &Path) -> Vec<Option<Vec<u8>>> {
    let read = |name| read_file(vfs, &root.join(name), MOST_OF_A_TRACE).ok();
    [CLEAN_SHUTDOWN, MANIFEST, ENDS, RECOVERY_POINTS].map(read).into()
}

/// Of a larger file the beginning would do, but none is.
const MOST_OF_A_TRACE: u64 = 256 * 1024 * 1024;

/// How the names of our files at the root begin.
const OURS: &str = "ottla.";

/// A log directory.
#[derive(Debug)]
pub struct Survey {
    pub vfs: Arc<dyn Vfs>,
    pub root: PathBuf,
    /// What stands at the root.
    pub entries: Vec<DirEntry>,
    pub kind: DirectoryKind,
    /// Whether somebody has it open.
    pub is_live: bool,
    pub marker: Marker,
    /// Ours alone; a missing one is an error, too.
    pub manifest: Result<Manifest>,
    /// Ours alone, likewise.
    pub ends: Result<Vec<Place>>,
    /// What Kafka's checkpoints say, of what can be read of them. In a directory of ours the ends file rules, and of them
    /// only that counts up to where Kafka's cleaner has come.
    pub evidence: KafkaEvidence,
    /// The checkpoints of Kafka's that cannot be read.
    pub unread: Vec<(&'static str, Error)>,
    pub partitions: Vec<PartitionPlace>,
    /// What every owner changes, as it was before anything else was looked at.
    traces: Vec<Option<Vec<u8>>>,
}

/// Whose directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryKind {
    Ottla,
    Kafka,
}

/// A partition, and what is known of it beside its directory.
#[derive(Clone, Debug)]
pub struct PartitionPlace {
    pub topic: TopicName,
    pub partition: PartitionId,
    pub dir: PathBuf,
    /// The topic id that the manifest has, or, without one, most directories of the topic.
    pub id: Option<TopicId>,
    pub config: Option<TopicConfig>,
    /// The newest slot.
    pub proven: Option<ProvenEnd>,
    /// Kafka's recovery point.
    pub recovery_point: Option<Offset>,
    /// Up to where a Kafka broker has written it: below, offsets may be missing, and leader epochs fall.
    pub kafka_end: Offset,
    /// The segments that it has written, if they were noted when it was taken over.
    pub kafka_segments: Option<KafkaSegments>,
}

impl PartitionPlace {
    /// What of Kafka's segments is lost since they were noted.
    pub fn lost_segments(&self, vfs: &Arc<dyn Vfs>, start: Option<Offset>) -> Result<Vec<SegmentLoss>> {
        let Some(segments) = &self.kafka_segments else { return Ok(Vec::new()) };
        let dir = SegmentDir::new(Arc::clone(vfs), &self.dir, false).with_kafka_end(self.kafka_end);
        segments.lost(&dir, start)
    }
}

impl Survey {
    /// Reads what is at the root. Fails if that is no log directory.
    pub fn take(vfs: Arc<dyn Vfs>, root: &Path) -> Result<Self> {
        let entries = vfs.read_dir(root).doing("list", root)?;
        let kind = judge(root, &entries)?;
        let traces = traces(vfs.as_ref(), root);
        let is_live = is_live(vfs.as_ref(), root)?;
        let marker = read_marker(vfs.as_ref(), root)?;
        // Topics get their slots before the manifest names them.
        let manifest = Manifest::load(vfs.as_ref(), root);
        let ends = ends_file::read(vfs.as_ref(), root);
        let is_clean = marker != Marker::Absent;
        let (evidence, unread) = KafkaEvidence::readable(vfs.as_ref(), root, is_clean);
        let mut survey = Self {
            vfs,
            root: root.to_owned(),
            entries,
            kind,
            is_live,
            marker,
            manifest,
            ends,
            evidence,
            unread,
            partitions: Vec::new(),
            traces,
        };
        survey.partitions = survey.find_partitions();
        Ok(survey)
    }

    /// Whether the logs end where the last owner has left them in order.
    pub fn is_clean(&self) -> bool {
        match self.kind {
            DirectoryKind::Ottla => self.marker == Marker::Ours,
            // Kafka looks at nothing but whether it is there.
            DirectoryKind::Kafka => self.marker != Marker::Absent,
        }
    }

    /// Fails if what was found may be a mixture of two moments: somebody has opened the directory since, or was about to
    /// open or close it.
    pub fn require_unchanged(&self) -> Result<()> {
        let is_of_one_moment = match self.is_live {
            // What an owner has not proven was not looked at; but one who opens or closes has the marker beside the lock.
            true => !self.is_clean(),
            false => {
                !is_live(self.vfs.as_ref(), &self.root)?
                    && self.traces == traces(self.vfs.as_ref(), &self.root)
            }
        };
        if is_of_one_moment {
            return Ok(());
        }
        let what = "somebody has opened or closed the directory meanwhile";
        Err(Error::new(ErrorKind::DirectoryInUse, what)
            .in_file(&self.root)
            .advise("look again; this has changed nothing in it"))
    }

    fn find_partitions(&self) -> Vec<PartitionPlace> {
        let proven = self.ends.as_ref().map(|places| newest_of(places)).unwrap_or_default();
        let points = &self.evidence.recovery_points;
        let of = |topic: &TopicName, partition, id: Option<TopicId>, entry: Option<&TopicEntry>| {
            let recovery_point = points.get(&(topic.clone(), partition)).copied();
            PartitionPlace {
                topic: topic.clone(),
                partition,
                dir: self.root.join(partition_dir(topic, partition)),
                id,
                config: entry.map(|entry| entry.config.clone()),
                proven: id.and_then(|topic| proven.get(&Owner { topic, partition }).copied()),
                recovery_point,
                kafka_end: match self.kind {
                    DirectoryKind::Ottla => entry.map_or(0, |entry| entry.adopted_end(partition)),
                    DirectoryKind::Kafka => Offset::MAX,
                },
                kafka_segments: entry
                    .filter(|_| self.kind == DirectoryKind::Ottla)
                    .and_then(|entry| entry.segments.get(&partition).cloned()),
            }
        };
        match &self.manifest {
            Ok(manifest) if self.kind == DirectoryKind::Ottla => {
                let live = manifest.topics.iter().filter(|(_, entry)| entry.state.is_there());
                let numbered = live.flat_map(|(name, entry)| {
                    (0..entry.config.partitions).map(move |partition| (name, entry, partition))
                });
                numbered
                    .map(|(name, entry, partition)| of(name, partition, Some(entry.id), Some(entry)))
                    .collect()
            }
            _ => {
                let mut found: Vec<_> = self.partition_dirs().collect();
                found.sort();
                let ids = self.ids(&found);
                let id = |topic| ids.get(topic).copied();
                found.iter().map(|(topic, partition)| of(topic, *partition, id(topic), None)).collect()
            }
        }
    }

    /// The id of each topic that most of its directories have, the least of them where as many have another.
    fn ids(&self, found: &[(TopicName, PartitionId)]) -> BTreeMap<TopicName, TopicId> {
        let mut counts: BTreeMap<&TopicName, BTreeMap<u128, usize>> = BTreeMap::new();
        for (topic, partition) in found {
            let dir = self.root.join(partition_dir(topic, *partition));
            if let Ok(id) = read_topic_id(self.vfs.as_ref(), &dir) {
                let count = counts.entry(topic).or_default().entry(id.as_u128()).or_default();
                *count = count.saturating_add(1);
            }
        }
        let most = counts.into_iter().filter_map(|(topic, counts)| {
            let (id, _) = counts.into_iter().rev().max_by_key(|(_, count)| *count)?;
            Some((topic.clone(), TopicId::from_u128(id)))
        });
        most.collect()
    }

    /// Where readers of a partition begin, as its owner, if there is one, has it by now.
    pub fn log_start_now(&self, place: &PartitionPlace) -> Option<Offset> {
        let known = place.proven.map(|proven| proven.log_start);
        let (true, Some(topic)) = (self.is_live, place.id) else { return known };
        let places = ends_file::read(self.vfs.as_ref(), &self.root).ok()?;
        let now = newest_of(&places).get(&Owner { topic, partition: place.partition }).copied();
        now.map(|proven| proven.log_start).or(known)
    }

    /// Every directory that has a partition's name.
    pub fn partition_dirs(&self) -> impl Iterator<Item = (TopicName, PartitionId)> + '_ {
        let directories = self.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        let of_topics = directories.filter(|entry| entry.name != CLUSTER_METADATA);
        of_topics.filter_map(|entry| parse_partition_dir(&entry.name))
    }

    /// What the manifest says of the topic whose partition has this directory, alive or not.
    pub fn entry_of(&self, name: &str) -> Option<&TopicEntry> {
        let (topic, _) = parse_partition_dir(name)?;
        self.manifest.as_ref().ok()?.topics.get(&topic)
    }

    /// The topics that a live owner has changed since: what was found of them may be wrong.
    pub fn changed_topics(&self) -> BTreeSet<String> {
        let now = Manifest::load(self.vfs.as_ref(), &self.root);
        let (Ok(before), Ok(now)) = (&self.manifest, now) else { return BTreeSet::new() };
        let changed = before.topics.iter().filter(|(name, entry)| now.topics.get(*name) != Some(*entry));
        changed.map(|(name, _)| name.as_str().to_owned()).collect()
    }
}

/// The topic id in the directory of a partition.
pub fn read_topic_id(vfs: &dyn Vfs, dir: &Path) -> Result<TopicId> {
    let path = dir.join(PARTITION_METADATA);
    let bytes = read_file(vfs, &path, most(FileKind::PartitionMetadata)).doing("read", &path)?;
    decode_partition_metadata(&bytes).map_err(|error| error.in_file(&path))
}

fn judge(root: &Path, entries: &[DirEntry]) -> Result<DirectoryKind> {
    let holds = |name: &str| entries.iter().any(|entry| entry.name == name);
    if holds(META_PROPERTIES) {
        return Ok(DirectoryKind::Kafka);
    }
    if entries.iter().any(|entry| entry.name.starts_with(OURS)) {
        return Ok(DirectoryKind::Ottla);
    }
    let is_partition =
        |entry: &DirEntry| entry.kind == EntryKind::Directory && parse_partition_dir(&entry.name).is_some();
    if entries.iter().any(is_partition) || holds(CLEAN_SHUTDOWN) {
        return Ok(DirectoryKind::Kafka);
    }
    if entries.iter().any(|entry| SegmentFile::parse(&entry.name).is_some()) {
        let what = "the directory is that of a partition, and not the one that its broker was opened with";
        let above = root.parent().unwrap_or(root).display();
        return Err(Error::new(ErrorKind::DirectoryNotOurs, what)
            .in_file(root)
            .advise(format!("name {above}, in which it lies")));
    }
    let what = "the directory is no log directory: it holds no manifest of ottla, no meta.properties of Kafka, and no \
                partition";
    Err(Error::new(ErrorKind::DirectoryNotOurs, what)
        .in_file(root)
        .advise("name the directory that a broker was opened with, or Kafka's log.dir"))
}
