//! Our side of a hand-over: a directory that was closed in order, and the topic in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::broker::directory::{Verdict, judge, not_ours};
use crate::broker::manifest::{Manifest, TopicEntry, TopicState};
use crate::broker::marker::{self, Marker};
use crate::broker::open::take_lock;
use crate::broker::topics::unknown;
use crate::ends_file::{EndsFile, Owner, ProvenEnd};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{ENDS, partition_dir};
use crate::model::{PartitionId, TopicName};
use crate::segment::SegmentDir;
use crate::vfs::{Vfs, VfsLock};

const UNCHANGED: &str = "nothing was changed; restore the file from a copy, or have `inspect::salvage` copy what is sound \
                         into a new directory, and hand the topic over from that";

/// The topic that is handed over, at rest.
#[derive(Debug)]
pub struct Source {
    root: PathBuf,
    vfs: Arc<dyn Vfs>,
    manifest: Manifest,
    entry: TopicEntry,
    name: TopicName,
    pub partitions: Vec<SourcePartition>,
    _lock: Box<dyn VfsLock>,
}

/// A partition of it.
#[derive(Clone, Debug)]
pub struct SourcePartition {
    pub dir: SegmentDir,
    /// Where it begins and ends; all of it is on stable storage.
    pub ends: ProvenEnd,
}

impl Source {
    /// Looks at the topic, and keeps everybody else out of the directory.
    pub fn open(vfs: &Arc<dyn Vfs>, root: &Path, name: &TopicName) -> Result<Self> {
        check_directory(vfs.as_ref(), root)?;
        let lock = take_lock(vfs.as_ref(), root)?;
        check_directory(vfs.as_ref(), root)?;
        let manifest = Manifest::load(vfs.as_ref(), root)?;
        let entry = topic(&manifest, name, root)?;
        let slots = Arc::new(EndsFile::open(vfs.as_ref(), root)?).slots();
        let partition = |partition: PartitionId| {
            let owner = Owner { topic: entry.id, partition };
            let Some((_, ends)) = slots.get(&owner) else {
                let what = "the ends file says nothing of the partition";
                return Err(Error::corrupt(what)
                    .in_partition(name.as_str(), partition)
                    .in_file(&root.join(ENDS)));
            };
            let path = root.join(partition_dir(name, partition));
            let dir =
                SegmentDir::new(Arc::clone(vfs), &path, false).with_kafka_end(entry.adopted_end(partition));
            if let Some(segments) = entry.segments.get(&partition) {
                let whole = segments.require(&dir, ends.log_start);
                whole.map_err(|error| error.in_partition(name.as_str(), partition).advise(UNCHANGED))?;
            }
            Ok(SourcePartition { dir, ends: *ends })
        };
        let partitions = (0..entry.config.partitions).map(partition).collect::<Result<Vec<_>>>()?;
        let (root, vfs) = (root.to_owned(), Arc::clone(vfs));
        Ok(Self { root, vfs, manifest, entry, name: name.clone(), partitions, _lock: lock })
    }

    /// Gives the topic up, durably: it is deleted by whoever opens the directory next.
    pub fn give_up(mut self) -> Result<()> {
        let entry = TopicEntry { state: TopicState::Deleting, ..self.entry };
        self.manifest.topics.insert(self.name, entry);
        self.manifest.stage(self.vfs.as_ref(), &self.root)?;
        Manifest::commit(self.vfs.as_ref(), &self.root)
    }
}

fn check_directory(vfs: &dyn Vfs, root: &Path) -> Result<()> {
    let entries = vfs.read_dir(root).doing("list", root)?;
    if judge(root, &entries, false)? != Verdict::Ours {
        return Err(not_ours(root, "there is no data directory of ours here"));
    }
    if marker::read(vfs, root)? != Marker::Ours {
        let what = "the directory was not closed in order, or is in use";
        return Err(Error::new(ErrorKind::DirectoryInUse, what)
            .in_file(root)
            .advise("close the broker there, or open the directory once and close it; nothing was changed"));
    }
    Ok(())
}

fn topic(manifest: &Manifest, name: &TopicName, root: &Path) -> Result<TopicEntry> {
    let Some(entry) = manifest.topics.get(name) else { return Err(unknown(name.as_str()).in_file(root)) };
    match entry.state {
        TopicState::Live => Ok(entry.clone()),
        TopicState::Deleting => {
            let what =
                "the topic was deleted, or handed over and given up, and its directories are still there";
            Err(Error::new(ErrorKind::UnknownTopicOrPartition, what)
                .in_topic(name.as_str())
                .in_file(root)
                .advise("open the directory once, which removes them"))
        }
        TopicState::Creating | TopicState::Growing { .. } => {
            let what = "the topic is being created or altered";
            Err(Error::new(ErrorKind::UnknownTopicOrPartition, what)
                .in_topic(name.as_str())
                .in_file(root)
                .advise("open the directory once, and close it; nothing was changed"))
        }
    }
}
