//! What all handles of a broker share: the open directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::directory::{Verdict, judge, not_ours};
use super::manifest::{Manifest, TopicEntry, TopicState};
use super::options::BrokerOptions;
use super::topic::TopicLogs;
use super::{marker, topics};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::LOCK;
use crate::model::TopicName;
use crate::sync::{Mutex, RwLock};
use crate::vfs::{EntryKind, Vfs, VfsLock, read_file};

/// How long dropping the last handle may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// An open data directory.
///
/// Locks, in the order in which they are taken: `admin` (held while topics are created and deleted), `topics`.
#[derive(Debug)]
pub struct Shared {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) root: PathBuf,
    pub(super) options: BrokerOptions,
    pub(super) admin: Mutex<Admin>,
    pub(super) topics: RwLock<BTreeMap<TopicName, Arc<TopicLogs>>>,
}

/// The truth about topics, and whether it may change.
#[derive(Debug)]
pub struct Admin {
    pub manifest: Manifest,
    /// Why topics are no longer created or deleted: a step failed, and the disk may hold either side of it.
    pub failed: Option<Error>,
    /// Released when the broker closes; `None` from then on.
    lock: Option<Box<dyn VfsLock>>,
}

impl Admin {
    /// Fails if topics can no longer be created and deleted.
    pub fn check(&self) -> Result<()> {
        if self.lock.is_none() {
            return Err(closed());
        }
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}

impl Shared {
    /// Opens the directory, or makes it. Writes nothing before it has read everything and found it sound.
    pub fn open(vfs: Arc<dyn Vfs>, root: &Path, options: BrokerOptions) -> Result<Arc<Self>> {
        create_missing(vfs.as_ref(), root)?;
        judge_directory(vfs.as_ref(), root)?;
        let lock = take_lock(vfs.as_ref(), root)?;
        // Once more, now that nobody else can change it.
        let verdict = judge_directory(vfs.as_ref(), root)?;
        let manifest = match verdict {
            Verdict::New => Manifest::default(),
            Verdict::Ours => {
                let manifest = Manifest::load(vfs.as_ref(), root)?;
                check_clean(vfs.as_ref(), root)?;
                manifest
            }
        };
        let mut shared = Self {
            vfs,
            root: root.to_owned(),
            options,
            admin: Mutex::new(Admin { manifest, failed: None, lock: None }),
            topics: RwLock::default(),
        };
        shared.open_topics()?;

        let holder = format!("process {} (ottla {})\n", std::process::id(), env!("CARGO_PKG_VERSION"));
        lock.write_text(&holder).doing("write", &root.join(LOCK))?;
        let admin = shared.admin.get_mut();
        match verdict {
            Verdict::New => admin.manifest.store(shared.vfs.as_ref(), root)?,
            Verdict::Ours => marker::remove(shared.vfs.as_ref(), root)?,
        }
        admin.lock = Some(lock);
        let shared = Arc::new(shared);
        shared.settle_topics()?;
        Ok(shared)
    }

    /// Fails once the broker is closed.
    pub fn check_open(&self) -> Result<()> {
        if self.admin.lock().lock.is_some() { Ok(()) } else { Err(closed()) }
    }

    /// Closes every partition, and then the directory. The second call finds nothing to do.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        let clock = &self.options.clock;
        let deadline = clock.monotonic().saturating_add(timeout);
        let mut admin = self.admin.lock();
        let Some(lock) = admin.lock.take() else { return Ok(()) };
        let topics = std::mem::take(&mut *self.topics.write());
        let logs: Vec<_> = topics.values().flat_map(|topic| &topic.logs).collect();
        // First of all nobody gets an offset any more, so that no partition waits for the next one's senders.
        logs.iter().for_each(|log| log.refuse_appends());
        let mut outcome = match admin.failed.take() {
            None => Ok(()),
            Some(error) => Err(error),
        };
        for log in logs {
            let closed = if clock.monotonic() < deadline {
                log.close()
            } else {
                log.abandon();
                Err(log.place(Error::new(ErrorKind::TimedOut, "the partition was not closed in time")))
            };
            outcome = outcome.and(closed);
        }
        // The marker vouches for every partition, so one failure leaves it out.
        let outcome = outcome.and_then(|()| marker::write(self.vfs.as_ref(), &self.root));
        drop(lock);
        outcome
    }

    /// Opens the partitions of every live topic, without writing.
    fn open_topics(&mut self) -> Result<()> {
        let manifest = self.admin.get_mut().manifest.clone();
        for (name, entry) in manifest.topics {
            if entry.state == TopicState::Live {
                let logs = topics::open(self, &name, &entry)?;
                self.topics.get_mut().insert(name, Arc::new(logs));
            }
        }
        Ok(())
    }

    /// Undoes creations and finishes deletions that were interrupted.
    fn settle_topics(&self) -> Result<()> {
        let mut admin = self.admin.lock();
        let unsettled: Vec<(TopicName, TopicEntry)> = admin
            .manifest
            .topics
            .iter()
            .filter(|(_, entry)| entry.state != TopicState::Live)
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        unsettled.iter().try_for_each(|(name, entry)| topics::remove(self, &mut admin, name, entry))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure; the marker then stays away, and the next opening says so.
        _ = self.close(CLOSE_TIMEOUT);
    }
}

pub fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the broker is closed").advise("open the directory again")
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
        vfs.create_dir(path).doing("create the directory", path)?;
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

fn check_clean(vfs: &dyn Vfs, root: &Path) -> Result<()> {
    if marker::is_present(vfs, root)? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::UncleanShutdown, "the directory was not closed in order")
        .in_file(root)
        .advise("this version cannot recover it yet, and has left it as it is"))
}

/// What stands at a path below the root, for undoing and deleting.
pub fn is_directory(vfs: &dyn Vfs, path: &Path) -> Result<bool> {
    Ok(vfs.kind(path).doing("look at", path)? == Some(EntryKind::Directory))
}
