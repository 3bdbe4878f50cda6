//! Opening a directory: everything is read and judged before anything is written.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Broker;
use super::directory::{Verdict, judge, not_ours};
use super::manifest::{Manifest, TopicEntry, TopicState};
use super::options::BrokerOptions;
use super::recovery_report::{PartitionRecovery, RecoveryReport};
use super::shared::{Admin, Shared};
use super::topic_logs::TopicLogs;
use super::{marker, partition_metadata, topics};
use crate::ends_file::{EndsFile, EndsSlot, Owner, ProvenEnd};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{ENDS, LOCK, partition_dir};
use crate::model::{PartitionId, TopicName};
use crate::partition_log::{
    Cut, LastStop, LeaderEpochs, LogContext, PartitionLog, Plan, apply, plan, settle,
};
use crate::sync::{AtomicBool, Mutex, RwLock};
use crate::vfs::{OsVfs, Vfs, VfsLock, read_file};

impl BrokerOptions {
    /// Opens the data directory, creating it if there is nothing at `path`; see [`Broker::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Broker> {
        let path = path.as_ref();
        // The directory stays the same one when the process changes its working directory.
        let absolute = std::path::absolute(path).doing("find", path)?;
        self.open_on(Arc::new(OsVfs), &absolute)
    }

    /// Opens an empty broker in memory; see [`Broker::in_memory`].
    #[cfg(feature = "test-util")]
    pub fn in_memory(self) -> Result<Broker> {
        self.open_on(Arc::new(crate::vfs::MemoryVfs::new()), Path::new("/data"))
    }

    /// Opens the data directory of a given file system.
    pub(crate) fn open_on(self, vfs: Arc<dyn Vfs>, path: &Path) -> Result<Broker> {
        if i32::try_from(self.batch_size).is_err() {
            let what = format!("a batch size of {} bytes is not possible", self.batch_size);
            return Err(Error::new(ErrorKind::InvalidConfig, what).advise("it takes 0 to 2147483647 bytes"));
        }
        open(vfs, path, self).map(Broker::new)
    }
}

/// Opens the directory, or makes it.
fn open(vfs: Arc<dyn Vfs>, root: &Path, options: BrokerOptions) -> Result<Arc<Shared>> {
    create_missing(vfs.as_ref(), root)?;
    judge_directory(vfs.as_ref(), root)?;
    let lock = take_lock(vfs.as_ref(), root)?;
    // Once more, now that nobody else can change it.
    let verdict = judge_directory(vfs.as_ref(), root)?;
    let found = match verdict {
        Verdict::New => Found { manifest: Manifest::default(), ends: None, clean: true },
        Verdict::Ours => Found::read(vfs.as_ref(), root)?,
    };
    let opening = Opening { vfs, root, options };
    match found.ends {
        None => opening.make(lock),
        Some(ends) if found.clean => opening.take_over(lock, found.manifest, ends),
        Some(ends) => opening.recover(lock, found.manifest, ends),
    }
}

/// What the root files say.
struct Found {
    manifest: Manifest,
    /// `None` in a new directory.
    ends: Option<EndsFile>,
    clean: bool,
}

impl Found {
    fn read(vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let manifest = Manifest::load(vfs, root)?;
        let ends = EndsFile::open(vfs, root)?;
        Ok(Self { manifest, ends: Some(ends), clean: marker::is_present(vfs, root)? })
    }
}

/// A partition that is to be opened.
struct Candidate {
    name: TopicName,
    context: LogContext,
    proven: ProvenEnd,
    epochs: LeaderEpochs,
}

struct Opening<'a> {
    vfs: Arc<dyn Vfs>,
    root: &'a Path,
    options: BrokerOptions,
}

impl Opening<'_> {
    /// A new directory.
    fn make(self, lock: Box<dyn VfsLock>) -> Result<Arc<Shared>> {
        self.name_holder(lock.as_ref())?;
        let ends = EndsFile::create(self.vfs.as_ref(), self.root)?;
        // A marker without a directory of ours vouches for nothing.
        marker::remove(self.vfs.as_ref(), self.root)?;
        let manifest = Manifest::default();
        manifest.stage(self.vfs.as_ref(), self.root)?;
        Manifest::commit(self.vfs.as_ref(), self.root)?;
        self.finish(lock, manifest, Arc::new(ends), BTreeMap::new(), RecoveryReport::of_clean_stop())
    }

    /// A directory that was closed in order.
    fn take_over(self, lock: Box<dyn VfsLock>, manifest: Manifest, ends: EndsFile) -> Result<Arc<Shared>> {
        let ends = Arc::new(ends);
        let candidates = self.candidates(&manifest, &ends)?;
        let logs = candidates
            .into_iter()
            .map(|candidate| candidate.open(LastStop::Clean))
            .collect::<Result<Vec<_>>>()?;
        self.name_holder(lock.as_ref())?;
        marker::remove(self.vfs.as_ref(), self.root)?;
        let report = RecoveryReport::of_clean_stop();
        let topics = group(&manifest, logs);
        self.finish(lock, manifest, ends, topics, report)
    }

    /// A directory that was not closed in order: every partition is read and judged, then every one is mended.
    fn recover(self, lock: Box<dyn VfsLock>, manifest: Manifest, ends: EndsFile) -> Result<Arc<Shared>> {
        let judged = Arc::new(ends);
        let candidates = self.candidates(&manifest, &judged)?;
        let cuts = judge_all(&candidates)?;
        drop(candidates);

        self.name_holder(lock.as_ref())?;
        // A marker that is not ours counts as absent, and would count as ours once it was replaced.
        marker::remove(self.vfs.as_ref(), self.root)?;
        let ends = EndsFile::open(self.vfs.as_ref(), self.root)?.renew(self.vfs.as_ref(), self.root)?;
        let ends = Arc::new(ends);
        let mut report = RecoveryReport::default();
        let mut logs = Vec::new();
        for (candidate, cut) in self.candidates(&manifest, &ends)?.into_iter().zip(cuts) {
            let outcome = apply(&candidate.context, &cut)?;
            if outcome.cut_bytes > 0 {
                report.partitions.push(PartitionRecovery {
                    topic: candidate.name.as_str().to_owned(),
                    partition: candidate.context.partition,
                    end: cut.end.offset,
                    cut_bytes: outcome.cut_bytes,
                    quarantined: outcome.quarantined,
                });
            }
            let log = candidate.open(LastStop::Unclean(cut.end))?;
            log.1.publish();
            logs.push(log);
        }
        ends.sync()?;
        let topics = group(&manifest, logs);
        self.finish(lock, manifest, ends, topics, report)
    }

    fn finish(
        self,
        lock: Box<dyn VfsLock>,
        manifest: Manifest,
        ends: Arc<EndsFile>,
        topics: BTreeMap<TopicName, Arc<TopicLogs>>,
        report: RecoveryReport,
    ) -> Result<Arc<Shared>> {
        let shared = Shared {
            vfs: self.vfs,
            root: self.root.into(),
            options: self.options,
            ends,
            admin: Mutex::new(Admin { manifest, failed: None, lock: Some(lock) }),
            is_open: AtomicBool::new(true),
            topics: RwLock::new(topics),
            report,
        };
        let shared = Arc::new(shared);
        topics::settle(&shared);
        Ok(shared)
    }

    /// The partitions of every live topic, with the evidence of what they hold.
    fn candidates(&self, manifest: &Manifest, ends: &Arc<EndsFile>) -> Result<Vec<Candidate>> {
        let mut slots = ends.slots();
        let mut candidates = Vec::new();
        for (name, entry) in live(manifest) {
            for partition in 0..entry.config.partitions {
                let slot = slots.remove(&Owner { topic: entry.id, partition });
                candidates.push(self.candidate(name, entry, partition, slot)?);
            }
        }
        // What is left belongs to topics that are no more.
        ends.retain(|owner| !slots.contains_key(owner));
        Ok(candidates)
    }

    fn candidate(
        &self,
        name: &TopicName,
        entry: &TopicEntry,
        partition: PartitionId,
        slot: Option<(EndsSlot, ProvenEnd)>,
    ) -> Result<Candidate> {
        let place = |error: Error| error.in_partition(name.as_str(), partition);
        let dir = self.root.join(partition_dir(name, partition));
        partition_metadata::check(self.vfs.as_ref(), &dir, entry.id).map_err(place)?;
        let Some((slot, proven)) = slot else {
            let what = "the ends file says nothing of the partition: both of its slots are damaged, or gone";
            return Err(place(Error::corrupt(what).in_file(&self.root.join(ENDS)))
                .advise("restore it from a copy; nothing in the directory was changed"));
        };
        let epochs = LeaderEpochs::load(self.vfs.as_ref(), &dir, proven.offset).map_err(place)?;
        let context = topics::context(&self.vfs, self.root, &self.options, name, entry, slot);
        Ok(Candidate { name: name.clone(), context, proven, epochs })
    }

    fn name_holder(&self, lock: &dyn VfsLock) -> Result<()> {
        let holder = format!("process {} (ottla {})\n", std::process::id(), env!("CARGO_PKG_VERSION"));
        lock.write_text(&holder).doing("write", &self.root.join(LOCK))
    }
}

fn live(manifest: &Manifest) -> impl Iterator<Item = (&TopicName, &TopicEntry)> {
    manifest.topics.iter().filter(|(_, entry)| entry.state == TopicState::Live)
}

type OpenLog = (TopicName, Arc<PartitionLog>);

impl Candidate {
    fn open(self, last_stop: LastStop) -> Result<OpenLog> {
        let Self { name, context, proven, epochs } = self;
        let (topic, partition) = (Arc::clone(&context.topic), context.partition);
        let log = PartitionLog::open(context, proven, epochs, last_stop);
        log.map(|log| (name, Arc::new(log))).map_err(|error| error.in_partition(&topic, partition))
    }
}

/// What every partition needs, or the damage of all that are damaged.
fn judge_all(candidates: &[Candidate]) -> Result<Vec<Cut>> {
    let mut cuts = Vec::new();
    let mut damages: Vec<Error> = Vec::new();
    for Candidate { context, proven, .. } in candidates {
        let place = |error: Error| error.in_partition(&context.topic, context.partition);
        match plan(&settle(context, *proven).map_err(place)?) {
            Plan::Cut(cut) => cuts.push(cut),
            Plan::Damaged(damage) => damages.push(damage.error(context)),
        }
    }
    let Some((first, others)) = damages.split_first() else { return Ok(cuts) };
    let error = first.clone();
    if others.is_empty() {
        return Err(error);
    }
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    Err(error.advise(format!("{} more are damaged: {}", others.len(), others.join("; "))))
}

/// Puts the partitions together again, topic by topic.
fn group(manifest: &Manifest, logs: Vec<OpenLog>) -> BTreeMap<TopicName, Arc<TopicLogs>> {
    let mut by_topic: BTreeMap<TopicName, Vec<Arc<PartitionLog>>> = BTreeMap::new();
    for (name, log) in logs {
        by_topic.entry(name).or_default().push(log);
    }
    live(manifest)
        .map(|(name, entry)| {
            let logs = by_topic.remove(name).unwrap_or_default();
            (name.clone(), Arc::new(TopicLogs::new(name.clone(), entry.id, entry.config.clone(), logs)))
        })
        .collect()
}

/// Creates the directory and what is missing above it.
fn create_missing(vfs: &dyn Vfs, root: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut path = root;
    while !path.as_os_str().is_empty() && vfs.kind(path).doing("look at", path)?.is_none() {
        missing.push(path);
        match path.parent() {
            Some(parent) => path = parent,
            None => break,
        }
    }
    for path in missing.into_iter().rev() {
        match vfs.create_dir(path) {
            // Somebody else opens the same directory: the lock decides.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.doing("create the directory", path)?,
        }
        if let Some(parent) = path.parent() {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            vfs.sync_dir(parent).doing("sync", parent)?;
        }
    }
    Ok(())
}

fn judge_directory(vfs: &dyn Vfs, root: &Path) -> Result<Verdict> {
    match vfs.read_dir(root) {
        Ok(entries) => judge(root, &entries),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(not_ours(root, "the path is not a directory"))
        }
        Err(error) => Err(error).doing("list", root),
    }
}

fn take_lock(vfs: &dyn Vfs, root: &Path) -> Result<Box<dyn VfsLock>> {
    let path = root.join(LOCK);
    if let Some(lock) = vfs.lock(&path).doing("lock", &path)? {
        return Ok(lock);
    }
    let text = read_file(vfs, &path, 4096).unwrap_or_default();
    let holder = match String::from_utf8_lossy(&text).trim() {
        "" => "another process, which left no name, a Kafka broker perhaps".to_owned(),
        text => text.to_owned(),
    };
    Err(Error::new(ErrorKind::DirectoryInUse, format!("the directory is in use by {holder}"))
        .in_file(root)
        .advise("close the broker there first, or use its handle: clones of it are cheap"))
}
