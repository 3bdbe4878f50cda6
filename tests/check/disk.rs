//! A file system in memory that watches how the logs of partitions are written, and fails there where it is told to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ottla::internals::{self, DirEntry, EntryKind, MemoryVfs, OpenMode, Repeat, Vfs, VfsFile, VfsLock};
use shuttle::{sync as shuttle_sync, thread};

use crate::schedule::lock;
use crate::world::{SYNCED, chance};

/// Panics if two threads write to the log files of one partition at a time, or two sync them; on a synced topic, where
/// one thread does both, also if one writes while another syncs.
#[derive(Debug)]
pub struct Disk {
    memory: MemoryVfs,
    watch: Arc<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    memory: MemoryVfs,
    /// By directory, who is at it.
    busy: Mutex<BTreeMap<PathBuf, Busy>>,
    fault: Mutex<Option<Fault>>,
    /// Whether there was one. What a failed write has left is cut, and that is synced, beside whoever syncs.
    has_failed: Mutex<bool>,
    /// Whether it is a failure if a caller of the library writes or syncs.
    is_the_brokers: Mutex<bool>,
    takes_no_time: Mutex<bool>,
    /// Whether syncs hang, and how many do.
    hanging: shuttle_sync::Mutex<(bool, usize)>,
    changed: shuttle_sync::Condvar,
}

/// What a call does to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Resize,
    Sync,
}

/// What goes wrong with one call to a log.
#[derive(Clone, Debug)]
struct Fault {
    access: Access,
    /// So many calls succeed before.
    after: u64,
    errno: i32,
    loses: Loses,
}

/// What is lost with a call that fails.
#[derive(Clone, Debug)]
enum Loses {
    Nothing,
    /// What was to be synced. It is the memory's to lose it: recovery can tell.
    Pages,
    /// The file, once it is known: later syncs succeed, and the disk never gets what is written.
    File(Option<PathBuf>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    writes: usize,
    syncs: usize,
}

impl Busy {
    fn counter(&mut self, access: Access) -> &mut usize {
        if access == Access::Sync { &mut self.syncs } else { &mut self.writes }
    }
}

impl Disk {
    pub fn new(memory: &MemoryVfs) -> Arc<Self> {
        let watch = Watch { memory: memory.clone(), ..Watch::default() };
        Arc::new(Self { memory: memory.clone(), watch: Arc::new(watch) })
    }

    /// After `after` more writes to logs the next one fails, since the disk is full, and leaves what it wrote.
    pub fn fail_write(&self, after: u64) {
        const ENOSPC: i32 = 28;
        *lock(&self.watch.fault) =
            Some(Fault { access: Access::Write, after, errno: ENOSPC, loses: Loses::Nothing });
    }

    /// After `after` more syncs of logs the next one fails, and the disk never gets the file.
    pub fn fail_sync(&self, after: u64) {
        const EIO: i32 = 5;
        *lock(&self.watch.fault) =
            Some(Fault { access: Access::Sync, after, errno: EIO, loses: Loses::File(None) });
    }

    /// After `after` more syncs of logs the next one fails, and loses what it was to sync.
    pub fn lose_sync(&self, after: u64) {
        *lock(&self.watch.fault) = Some(Fault { access: Access::Sync, after, errno: 0, loses: Loses::Pages });
    }

    /// Whether the fault is still to come.
    pub fn is_to_fail(&self) -> bool {
        lock(&self.watch.fault).as_ref().is_some_and(|fault| !matches!(fault.loses, Loses::File(Some(_))))
    }

    /// No call gives way to others, so that one thread comes far while another stands still between two calls.
    pub fn takes_no_time(&self) {
        *lock(&self.watch.takes_no_time) = true;
    }

    /// From now on logs are written and synced by the broker's threads alone.
    pub fn is_the_brokers(&self) {
        *lock(&self.watch.is_the_brokers) = true;
    }

    /// They no longer are.
    pub fn is_anybodys(&self) {
        *lock(&self.watch.is_the_brokers) = false;
    }

    /// The fault, if it is still to come, does not.
    pub fn is_well(&self) {
        *lock(&self.watch.fault) = None;
        self.memory.fail_no_more();
    }

    /// From now on syncs of logs hang.
    pub fn hang(&self) {
        self.watch.hanging.lock().unwrap().0 = true;
    }

    /// Returns once a sync hangs.
    pub fn wait_until_it_hangs(&self) {
        let hanging = self.watch.hanging.lock().unwrap();
        drop(self.watch.changed.wait_while(hanging, |(_, count)| *count == 0).unwrap());
    }

    /// Syncs go on, and hang no more.
    pub fn let_go(&self) {
        self.watch.hanging.lock().unwrap().0 = false;
        self.watch.changed.notify_all();
    }
}

impl Watch {
    fn during(&self, path: &Path, access: Access, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let partition = path.parent().unwrap_or(path);
        if path.extension().is_none_or(|extension| extension != "log") {
            if access != Access::Sync {
                return act();
            }
            self.take_time(access);
            let done = act();
            self.take_time(access);
            return done;
        }
        let fate = self.fate(path, access);
        if *lock(&self.is_the_brokers) {
            let current = thread::current();
            assert!(current.name().is_some_and(|name| name.starts_with("ottla")), "a caller is at the log");
        }
        {
            let mut busy = lock(&self.busy);
            let busy = busy.entry(partition.to_owned()).or_default();
            *busy.counter(access) += 1;
            let is_synced = partition.ends_with(format!("{SYNCED}-0"));
            let is_cut_back = !is_synced && *lock(&self.has_failed);
            let overlaps = busy.writes > 1
                || busy.syncs > 1 && !is_cut_back
                || is_synced && busy.writes + busy.syncs > 1;
            assert!(!overlaps, "two threads are at the log of one partition: {busy:?} {}", path.display());
        }
        self.take_time(access);
        if access == Access::Sync {
            self.perhaps_hang();
        }
        let done = match fate {
            // What a failed write has left may be all of it.
            Some(failed) if access == Access::Write => act().and(failed),
            Some(fate) => fate,
            None => act(),
        };
        self.take_time(access);
        *lock(&self.busy).entry(partition.to_owned()).or_default().counter(access) -= 1;
        done
    }

    /// A call takes its time, and the others go on meanwhile. A sync takes as long as some of what they do.
    fn take_time(&self, access: Access) {
        let steps = match access {
            _ if *lock(&self.takes_no_time) => 0,
            Access::Sync => 1 + chance(4),
            Access::Write | Access::Resize => 1,
        };
        (0..steps).for_each(|_| thread::yield_now());
    }

    /// What becomes of a call that the disk does not carry out.
    fn fate(&self, path: &Path, access: Access) -> Option<io::Result<()>> {
        let mut fault = lock(&self.fault);
        let told = fault.as_mut().filter(|fault| fault.access == access)?;
        if let Loses::File(Some(lost)) = &told.loses {
            return (lost == path).then_some(Ok(()));
        }
        if told.after > 0 {
            told.after -= 1;
            return None;
        }
        *lock(&self.has_failed) = true;
        let error = io::Error::from_raw_os_error(told.errno);
        match &mut told.loses {
            Loses::File(lost) => *lost = Some(path.to_owned()),
            Loses::Pages => {
                *fault = None;
                // The memory has locks of the checker's, for which nobody waits with one that is not.
                drop(fault);
                self.memory.fail_nth(1, internals::Fault::Io, Repeat::Once);
                return None;
            }
            Loses::Nothing => *fault = None,
        }
        Some(Err(error))
    }

    fn perhaps_hang(&self) {
        let mut hanging = self.hanging.lock().unwrap();
        if !hanging.0 {
            return;
        }
        hanging.1 += 1;
        self.changed.notify_all();
        hanging = self.changed.wait_while(hanging, |(hangs, _)| *hangs).unwrap();
        hanging.1 -= 1;
    }
}

impl Vfs for Disk {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let inner = self.memory.open(path, how)?;
        Ok(Arc::new(Watched { inner, path: path.to_owned(), watch: Arc::clone(&self.watch) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.memory.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.memory.read_dir(path)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.memory.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.memory.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.memory.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.memory.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.memory.lock(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.memory.is_locked(path)
    }
}

#[derive(Debug)]
struct Watched {
    inner: Arc<dyn VfsFile>,
    path: PathBuf,
    watch: Arc<Watch>,
}

impl VfsFile for Watched {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize> {
        let mut written = 0;
        self.watch.during(&self.path, Access::Write, || {
            written = self.inner.write_at(buffer, position)?;
            Ok(())
        })?;
        Ok(written)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch.during(&self.path, Access::Resize, || self.inner.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.watch.during(&self.path, Access::Resize, || self.inner.allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.during(&self.path, Access::Sync, || self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.watch.during(&self.path, Access::Sync, || self.inner.sync_all())
    }

    fn map(&self) -> io::Result<bytes::Bytes> {
        self.inner.map()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_uncached_at(buffer, position)
    }
}
