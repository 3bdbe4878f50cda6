//! Opening a directory: everything is read and judged before anything is written.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use super::Broker;
use super::adopting::{self, Adopted};
use super::candidate::{Candidate, OpenLog};
use super::checkpoints::{self, Checkpoints};
use super::closing::{Closing, Lease};
use super::damage;
use super::directory::{Verdict, absent, judge, not_ours};
use super::environment::Environment;
use super::groups::Groups;
use super::manifest::{AdoptedEnd, Manifest, TopicEntry};
use super::marker::{self, Marker};
use super::options::BrokerOptions;
use super::recovery_report::RecoveryReport;
use super::reserve::{self, with_reserve};
use super::scrubbing::Scrubber;
use super::shared::{Admin, Shared};
use super::topic_logs::{TopicLogs, Topics};
use super::topics;
use crate::agenda::{Agenda, Crew};
use crate::ends_file::{EndsFile, Owner};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::LOCK;
use crate::model::TopicName;
use crate::mutant::{self, Mutant};
use crate::partition_log::{BufferMemory, LastStop, PartitionLog, preserve};
use crate::record_batch::Codecs;
use crate::sync::{AtomicBool, Mutex};
use crate::vfs::{Budget, BudgetedVfs, OsVfs, ProcessMark, Vfs, VfsLock, read_file};

impl BrokerOptions {
    /// Opens the data directory, creating it if there is nothing at `path`; see [`Broker::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Broker> {
        let path = path.as_ref();
        // The directory stays the same one when the process changes its working directory.
        let absolute = std::path::absolute(path).doing("find", path)?;
        self.open_with(Arc::new(OsVfs), &absolute)
    }

    /// Opens an empty broker in memory; see [`Broker::in_memory`].
    #[cfg(feature = "test-util")]
    pub fn in_memory(self) -> Result<Broker> {
        self.open_with(Arc::new(crate::vfs::MemoryVfs::new()), Path::new("/data"))
    }

    /// Opens the data directory of a given file system.
    pub(crate) fn open_with(self, vfs: Arc<dyn Vfs>, path: &Path) -> Result<Broker> {
        self.validate()?;
        open(vfs, path, self).map(Lease::new).map(Broker::new)
    }
}

/// Opens the directory, or makes it.
fn open(vfs: Arc<dyn Vfs>, root: &Path, options: BrokerOptions) -> Result<Arc<Shared>> {
    let budget = Budget::new(options.open_files);
    let vfs = Arc::new(BudgetedVfs::new(vfs, &budget)) as Arc<dyn Vfs>;
    let (may_create, adopts) = (options.create_if_missing, options.adopting.is_on);
    if may_create {
        create_missing(vfs.as_ref(), root)?;
    }
    let judge = || judge_directory(vfs.as_ref(), root, may_create, adopts);
    judge()?;
    let lock = take_lock(vfs.as_ref(), root)?;
    // Once more, now that nobody else can change it.
    let found = match judge()? {
        Verdict::New => None,
        Verdict::Ours => Some(Found::read(vfs.as_ref(), root)?),
        Verdict::Kafkas => return Opening::new(vfs, budget, root, options).adopt(lock),
    };
    let opening = Opening::new(vfs, budget, root, options);
    match found {
        None => opening.make(lock),
        Some(found) if found.marker == Marker::Ours => opening.take_over(lock, found),
        Some(found) => opening.recover(lock, found),
    }
}

/// What the root files say.
struct Found {
    manifest: Manifest,
    ends: EndsFile,
    marker: Marker,
    notes: Vec<String>,
}

impl Found {
    fn read(vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let manifest = Manifest::load(vfs, root)?;
        let ends = EndsFile::open(vfs, root)?;
        let marker = marker::read(vfs, root)?;
        let mut notes = checkpoints::complaints(vfs, root);
        if marker == Marker::Foreign {
            notes.push("the clean-shutdown marker is not ours, and counts as absent".to_owned());
        }
        notes.extend(unnoted_segments(&manifest));
        Ok(Self { manifest, ends, marker, notes })
    }
}

/// Whether there are adopted partitions of which nobody has noted the segments.
fn unnoted_segments(manifest: &Manifest) -> Option<String> {
    let unnoted = manifest.topics.values().map(|entry| {
        let is_unnoted =
            |(partition, end): &(_, &AdoptedEnd)| end.offset > 0 && !entry.segments.contains_key(*partition);
        entry.adopted.iter().filter(is_unnoted).count()
    });
    let count = unnoted.sum::<usize>();
    (count > 0).then(|| {
        format!(
            "{count} partitions were taken over from Kafka by an earlier version, which did not note their segments: \
             nothing tells a segment of these that is lost from a gap of Kafka's compaction"
        )
    })
}

struct Opening {
    env: Environment,
    topics: Arc<Topics>,
    checkpoints: Arc<Checkpoints>,
}

impl Opening {
    fn new(vfs: Arc<dyn Vfs>, budget: Arc<Budget>, root: &Path, options: BrokerOptions) -> Self {
        let (topics, root) = (Arc::new(Topics::default()), Arc::<Path>::from(root));
        let agenda = Agenda::new(options.clock.clone());
        let checkpoints = Checkpoints::new(Arc::clone(&vfs), Arc::clone(&root), Arc::clone(&topics));
        let checkpoints = Arc::new(checkpoints);
        let chore: Weak<Checkpoints> = Arc::downgrade(&checkpoints);
        let reminder = Arc::new(agenda.add(chore));
        let mark = Arc::new(ProcessMark::new());
        let buffer = BufferMemory::new(options.buffer_memory);
        let codecs = Codecs::new(options.max_decompressed_bytes);
        let env =
            Environment { vfs, root, options, agenda, budget, checkpoints: reminder, mark, buffer, codecs };
        Self { env, topics, checkpoints }
    }

    /// A new directory.
    fn make(self, lock: Box<dyn VfsLock>) -> Result<Arc<Shared>> {
        let (vfs, root) = (self.env.vfs.as_ref(), &*self.env.root);
        self.name_holder(lock.as_ref())?;
        // Whoever has made the directory may have been killed before its name was durable.
        sync_parent(vfs, root)?;
        let ends = EndsFile::create(vfs, root)?;
        // A marker without a directory of ours vouches for nothing.
        marker::remove(vfs, root)?;
        let manifest = Manifest::new(vfs);
        manifest.stage(vfs, root)?;
        Manifest::commit(vfs, root)?;
        let report = RecoveryReport { clean: true, ..RecoveryReport::default() };
        self.finish(lock, manifest, Arc::new(ends), Vec::new(), report)
    }

    /// A directory of a Kafka broker. What comes in it has leader epochs above Kafka's.
    fn adopt(self, lock: Box<dyn VfsLock>) -> Result<Arc<Shared>> {
        let Adopted { manifest, ends, report } = adopting::adopt(&self.env)?;
        self.name_holder(lock.as_ref())?;
        let candidates = self.candidates(&manifest, &ends)?;
        let logs = candidates.into_iter().map(Candidate::open_behind);
        let logs = logs.collect::<Result<Vec<_>>>()?;
        let damages: Vec<_> = logs.iter().filter_map(|(_, log)| log.damage()).collect();
        if let Some(error) = damage::together(&damages) {
            return Err(error);
        }
        self.finish(lock, manifest, ends, logs, report)
    }

    /// A directory that was closed in order.
    fn take_over(self, lock: Box<dyn VfsLock>, found: Found) -> Result<Arc<Shared>> {
        let Found { manifest, ends, notes, .. } = found;
        let ends = Arc::new(ends);
        let candidates = self.candidates(&manifest, &ends)?;
        let logs = candidates.into_iter().map(|candidate| candidate.open(LastStop::Clean));
        let logs = logs.collect::<Result<Vec<_>>>()?;
        let damages: Vec<_> = logs.iter().filter_map(|(_, log)| log.damage()).collect();
        if !damages.is_empty() && ends.may_be_old() {
            // A twin may be damaged, and not the log: recovery believes the log as far as it is whole.
            drop(logs);
            let mut found = Found::read(self.env.vfs.as_ref(), &self.env.root)?;
            found.notes.push(
                "the ends file is older than the clean-shutdown marker, which counts as absent".to_owned(),
            );
            return self.recover(lock, found);
        }
        let damaged = self.accept(damages)?;
        self.name_holder(lock.as_ref())?;
        marker::remove(self.env.vfs.as_ref(), &self.env.root)?;
        let report = RecoveryReport { clean: true, damaged, notes, ..RecoveryReport::default() };
        self.finish(lock, manifest, ends, logs, report)
    }

    /// A directory that was not closed in order: every partition is read and judged, then every one is mended.
    fn recover(self, lock: Box<dyn VfsLock>, found: Found) -> Result<Arc<Shared>> {
        let Found { manifest, ends, notes, .. } = found;
        let (vfs, root) = (self.env.vfs.as_ref(), &*self.env.root);
        let mut candidates = self.candidates(&manifest, &Arc::new(ends))?;
        let cuts = candidates.iter_mut().map(Candidate::judge).collect::<Result<Vec<_>>>()?;
        let damages = candidates.iter().filter_map(|candidate| candidate.damage.clone()).collect();
        let damaged = self.accept(damages)?;

        self.name_holder(lock.as_ref())?;
        // What is cut is copied first, of all partitions: without room for that, nothing is cut.
        let copies = candidates.iter().zip(&cuts).map(|(candidate, cut)| match cut {
            Some(cut) => with_reserve(vfs, root, || preserve(&candidate.context, cut)),
            None => Ok(None),
        });
        let copies = copies.collect::<Result<Vec<_>>>()?;
        // A marker that is not ours counts as absent, and would count as ours once it was replaced.
        marker::remove(vfs, root)?;
        mutant::does(Mutant::RecoveryNotIdempotent, || _ = marker::write(vfs, root));
        let ends = with_reserve(vfs, root, || EndsFile::open(vfs, root)?.renew(vfs, root))?;
        let ends = Arc::new(ends);
        let mut slots = ends.slots();
        let mut report = RecoveryReport { damaged, notes, ..RecoveryReport::default() };
        let mut logs = Vec::new();
        for ((mut candidate, cut), copy) in candidates.into_iter().zip(cuts).zip(copies) {
            let owner = candidate.context.slot.owner();
            let slot = slots.remove(&owner).map(|(slot, _)| slot);
            candidate.context.slot = slot.unwrap_or_else(|| ends.without_slot(owner));
            logs.push(candidate.mend(cut, copy, &mut report)?);
        }
        with_reserve(vfs, root, || ends.sync())?;
        mutant::does(Mutant::RecoveryNotIdempotent, || _ = marker::remove(vfs, root));
        self.finish(lock, manifest, ends, logs, report)
    }

    fn finish(
        self,
        lock: Box<dyn VfsLock>,
        manifest: Manifest,
        ends: Arc<EndsFile>,
        logs: Vec<OpenLog>,
        report: RecoveryReport,
    ) -> Result<Arc<Shared>> {
        let Self { env, topics, checkpoints } = self;
        *topics.write() = group(&manifest, logs);
        ends.keep(&env.agenda);
        let threads = env.options.sync_threads;
        let crew = match env.options.background {
            true => Some(Crew::start(&env.agenda, threads).doing("start a thread for", &env.root)?),
            false => None,
        };
        let scrubber = env.options.scrub.map(|settings| {
            Arc::new(Scrubber::new(settings, env.options.clock.clone(), Arc::clone(&topics)))
        });
        let groups = Arc::new(Groups::new(env.options.clock.clone(), Arc::clone(&topics)));
        let chore: Weak<Groups> = Arc::downgrade(&groups);
        groups.start(env.agenda.add(chore));
        let shared = Shared {
            groups,
            scrubber,
            directory: manifest.directory,
            ends,
            admin: Mutex::new(Admin { manifest, failed: None, lock: Some(lock) }),
            crew,
            closing: Closing::default(),
            logs: Mutex::default(),
            #[cfg(feature = "async")]
            parked: super::parked::ParkedTasks::default(),
            is_open: AtomicBool::new(true),
            topics,
            checkpoints,
            report,
            env,
        };
        let shared = Arc::new(shared);
        topics::settle(&shared);
        if let Some(scrubber) = &shared.scrubber {
            let chore: Weak<Scrubber> = Arc::downgrade(scrubber);
            scrubber.start(shared.env.agenda.add(chore));
        }
        reserve::set_aside(shared.env.vfs.as_ref(), &shared.env.root, shared.env.options.reserve)?;
        Ok(shared)
    }

    /// The partitions of every live topic, with the evidence of what they hold.
    fn candidates(&self, manifest: &Manifest, ends: &Arc<EndsFile>) -> Result<Vec<Candidate>> {
        let mut slots = ends.slots();
        let mut candidates = Vec::new();
        for (name, entry) in live(manifest) {
            for partition in 0..entry.config.partitions {
                let owner = Owner { topic: entry.id, partition };
                let (slot, proven) = match slots.remove(&owner) {
                    Some((slot, proven)) => (slot, Some(proven)),
                    None => (ends.without_slot(owner), None),
                };
                let context = self.env.log_context(name, entry, slot);
                candidates.push(Candidate::new(name, entry, context, proven, &self.env.root)?);
            }
        }
        // What is left belongs to topics that are no more, or to partitions that did not come.
        ends.retain(|owner| !slots.contains_key(owner));
        Ok(candidates)
    }

    /// Fails with all the damages, unless they are to be isolated.
    fn accept(&self, damages: Vec<Error>) -> Result<Vec<Error>> {
        match damage::together(&damages) {
            Some(error) if !self.env.options.isolate_damage => Err(error),
            _ => Ok(damages),
        }
    }

    fn name_holder(&self, lock: &dyn VfsLock) -> Result<()> {
        let holder = format!("process {} (ottla {})\n", std::process::id(), env!("CARGO_PKG_VERSION"));
        let (vfs, root) = (self.env.vfs.as_ref(), &*self.env.root);
        with_reserve(vfs, root, || lock.write_text(&holder).doing("write", &root.join(LOCK)))
    }
}

fn live(manifest: &Manifest) -> impl Iterator<Item = (&TopicName, &TopicEntry)> {
    manifest.topics.iter().filter(|(_, entry)| entry.state.is_there())
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
    if !missing.is_empty() && !path.as_os_str().is_empty() {
        name_unfinished(vfs, path)?;
    }
    for path in missing.into_iter().rev() {
        match vfs.create_dir(path) {
            // Somebody else opens the same directory: the lock decides.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created.doing("create the directory", path)?,
        }
        sync_parent(vfs, path)?;
    }
    Ok(())
}

/// Makes the name of a directory durable below which others are to be made: an empty one may have been made by somebody who was
/// killed before its name was. Where we may not look at what holds it, it was not one of us.
fn name_unfinished(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    if !vfs.read_dir(path).doing("list", path)?.is_empty() {
        return Ok(());
    }
    match sync_parent(vfs, path) {
        Err(error) if error.io_error().map(io::Error::kind) == Some(io::ErrorKind::PermissionDenied) => {
            Ok(())
        }
        named => named,
    }
}

/// Makes the name of a directory durable.
fn sync_parent(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    vfs.sync_dir(parent).doing("sync", parent)
}

fn judge_directory(vfs: &dyn Vfs, root: &Path, may_create: bool, adopts: bool) -> Result<Verdict> {
    match vfs.read_dir(root) {
        Ok(entries) => match judge(root, &entries, adopts)? {
            Verdict::New if !may_create => Err(absent(root, adopts)),
            verdict => Ok(verdict),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !may_create => Err(absent(root, adopts)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(not_ours(root, "the path is not a directory"))
        }
        Err(error) => Err(error).doing("list", root),
    }
}

/// Takes the lock of a directory, or says who has it.
pub fn take_lock(vfs: &dyn Vfs, root: &Path) -> Result<Box<dyn VfsLock>> {
    let path = root.join(LOCK);
    match vfs.lock(&path).doing("lock", &path)? {
        Some(lock) => Ok(lock),
        None => Err(in_use(vfs, root)),
    }
}

/// Says who has a directory open.
pub fn in_use(vfs: &dyn Vfs, root: &Path) -> Error {
    let text = read_file(vfs, &root.join(LOCK), 4096).unwrap_or_default();
    let holder = match String::from_utf8_lossy(&text).trim() {
        "" => "another process, which left no name, a Kafka broker perhaps".to_owned(),
        text => text.to_owned(),
    };
    Error::new(ErrorKind::DirectoryInUse, format!("the directory is in use by {holder}"))
        .in_file(root)
        .advise("it has one owner at a time: close it there first")
}
