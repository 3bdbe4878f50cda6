//! A file system in memory, for tests: nothing of it reaches a disk, and it can do what disks do to people.
//!
//! [`MemoryVfs`] behaves like a plain file system. Beside that it keeps, for every file and directory, what a power
//! cut could not take and what is still pending, and so it can
//!
//! - **crash**: [`MemoryVfs::images`] lists what may be on the disk if the power goes now, by a
//!   [`CrashProfile`]; a process that is merely killed leaves what [`MemoryVfs::restart`] shows;
//! - **stop** at any call: [`MemoryVfs::stop_after`];
//! - **fail** at any call: [`MemoryVfs::fail_nth`]. A sync that fails loses what it was to sync, and what
//!   follows is as bad as on a real disk: reads still see the bytes, the next sync succeeds, writing them
//!   again in the same place does not help, until the file is cut below them; only a crash, or a read past
//!   the page cache, shows the truth.
//!
//! What is durable: a sync of a file keeps its data and length, and not its name; a sync of a directory keeps
//! the names in it. A rename is one change of both its directories. A failed sync of a directory loses nothing
//! for certain: its changes stay pending, and a later one may keep them.

mod content;
mod crash;
mod disk;
mod fault;
mod file;
mod handle;
mod image;
mod images;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use crash::CrashProfile;
pub use fault::{Call, CallCounts, Fault, Operation, Repeat};
#[cfg(feature = "test-util")]
pub use image::Image;
pub use image::ImageClass;
pub use images::Images;

use super::{DirEntry, EntryKind, OpenMode, Vfs, VfsFile, VfsLock};
use crate::sync::Mutex;
use content::SECTOR;
use disk::Disk;
use fault::Gate;
use handle::{MemoryFile, MemoryLock};
use tree::Id;

/// The longest file.
const MAX_LEN: u64 = i64::MAX as u64;

/// A file system in memory; clones are handles to the same one.
#[derive(Clone)]
pub struct MemoryVfs {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
struct State {
    disk: Disk,
    gate: Gate,
    cache_can_be_dropped: bool,
    cache_can_be_passed: bool,
}

impl fmt::Debug for MemoryVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryVfs").finish_non_exhaustive()
    }
}

impl Default for MemoryVfs {
    fn default() -> Self {
        Self::new()
    }
}

/// The simulator.
#[cfg_attr(
    not(feature = "test-util"),
    expect(dead_code, reason = "the unit tests alone need less of it than the suites and users do")
)]
impl MemoryVfs {
    /// An empty file system; the root directory exists.
    pub fn new() -> Self {
        Self::on(Disk::new())
    }

    fn on(disk: Disk) -> Self {
        let gate = Gate::default();
        let state = State { disk, gate, cache_can_be_dropped: false, cache_can_be_passed: true };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What may be on the disk if the power goes now: distinct file systems, at most `budget` of them. If that
    /// many hold all combinations of what may have happened to each pending thing, all are listed. If not: the
    /// images in which nothing and everything has happened, then a choice of those in which everything has but
    /// one thing, nothing has but one, or the first few have; then some by chance. One seed gives one list.
    pub fn images(&self, profile: CrashProfile, budget: usize, seed: u64) -> Images {
        Images::new(self.state.lock().disk.clone(), profile, budget, seed)
    }

    /// An independent copy as another process finds it after this one was killed: everything that was written
    /// is there and what was pending still is, no lock is held, and no call fails.
    #[must_use]
    pub fn restart(&self) -> Self {
        let fork = self.fork();
        let mut state = fork.state.lock();
        state.gate = Gate::default();
        state.disk.files.values_mut().for_each(|file| file.locked = false);
        drop(state);
        fork
    }

    /// An independent copy as it stands, with its counts, its faults and its locks, which nobody can release.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state.lock();
        let fork = State { disk: state.disk.fork(), ..state.clone() };
        Self { state: Arc::new(Mutex::new(fork)) }
    }

    /// A hash of every name and byte that this process sees: two file systems are alike if theirs are.
    pub fn fingerprint(&self) -> u64 {
        self.state.lock().disk.fingerprint()
    }

    /// How many calls there were so far.
    pub fn counts(&self) -> CallCounts {
        self.state.lock().gate.counts
    }

    /// Carries out the next `changing` calls that [change](Operation::changes) something, and those between
    /// them; at the next one the process is dead, and that and every later call fails.
    pub fn stop_after(&self, changing: u64) {
        self.state.lock().gate.stop_after(changing);
    }

    /// Whether a sync has failed by a fault that was told, so that something may be lost.
    pub fn has_failed_to_sync(&self) -> bool {
        self.state.lock().gate.failed_sync
    }

    /// Whether the process is dead by now; see [`stop_after`](Self::stop_after).
    pub fn is_stopped(&self) -> bool {
        self.state.lock().gate.stopped
    }

    /// The `n`-th call from now, counted from 1, fails in this way; with [`Repeat::Forever`] all behind it do
    /// as well. It takes the place of the fault that was told before.
    pub fn fail_nth(&self, n: u64, fault: Fault, repeat: Repeat) {
        self.state.lock().gate.fail_nth(n, None, fault, repeat);
    }

    /// The next call of this operation fails in this way, once. It takes the place of the fault that was told before.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.state.lock().gate.fail_nth(1, Some(operation), fault, Repeat::Once);
    }

    /// No call fails from now on; what a failed sync lost stays lost.
    pub fn fail_no_more(&self) {
        self.state.lock().gate.fail_no_more();
    }

    /// The first call that failed since [`fail_nth`](Self::fail_nth) or [`stop_after`](Self::stop_after).
    /// `None` if the call has not come yet, or the fault could not happen to it.
    pub fn failed_call(&self) -> Option<Call> {
        self.state.lock().gate.failed.clone()
    }

    /// Whether [`VfsFile::drop_cache`] ends what a failed sync began: reads see the disk again, and what is
    /// written can reach it. At first it has no effect, as with a page that somebody maps.
    pub fn let_cache_be_dropped(&self, can_be: bool) {
        self.state.lock().cache_can_be_dropped = can_be;
    }

    /// Whether [`VfsFile::read_uncached_at`] is supported. At first it is.
    pub fn let_cache_be_passed(&self, can_be: bool) {
        self.state.lock().cache_can_be_passed = can_be;
    }

    /// Lets `act` work on the disk, unless the call is one that fails.
    fn call<T>(
        &self,
        operation: Operation,
        path: &Path,
        act: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        state.gate.enter(operation, path)?;
        act(&mut state.disk)
    }
}

impl Vfs for MemoryVfs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let operation = match how {
            OpenMode::Read | OpenMode::Write => Operation::Open,
            OpenMode::Create | OpenMode::CreateNew | OpenMode::CreateEmpty => Operation::Create,
        };
        self.call(operation, path, |disk| {
            let id = disk.open(path, how)?;
            let file = MemoryFile::new(self, disk, id, path, how != OpenMode::Read);
            Ok(Arc::new(file) as Arc<dyn VfsFile>)
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::CreateDir, path, |disk| disk.create_dir(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(Operation::ReadDir, path, |disk| {
            let id = disk.find(path)?;
            let names = disk.cached.names(id).ok_or(io::ErrorKind::NotADirectory)?;
            let entry = |(name, id): (&std::ffi::OsString, &Id)| DirEntry {
                name: name.to_string_lossy().into_owned(),
                kind: disk.kind(*id),
            };
            Ok(names.iter().map(entry).collect())
        })
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.call(Operation::Kind, path, |disk| Ok(disk.cached.find(path)?.map(|id| disk.kind(id))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Operation::Rename, to, |disk| disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::RemoveFile, path, |disk| disk.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::RemoveDir, path, |disk| disk.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::SyncDir, path, |disk| disk.sync_dir(path))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.call(Operation::Kind, path, |disk| match disk.open(path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            opened => Ok(disk.file(opened?).locked),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.call(Operation::Lock, path, |disk| {
            let id = disk.open(path, OpenMode::Create)?;
            if std::mem::replace(&mut disk.file(id).locked, true) {
                return Ok(None);
            }
            let file = MemoryFile::new(self, disk, id, path, true);
            Ok(Some(Box::new(MemoryLock::new(file)) as Box<dyn VfsLock>))
        })
    }

    /// The same on every run, so that what happens on one can happen again, byte for byte.
    fn random(&self) -> [u8; 16] {
        self.state.lock().disk.random()
    }
}
