//! One budget of descriptors for all files of a broker: who needs one has others let go of theirs.
//!
//! Every file that is opened takes a place, and gives it back when it is closed. Where no place is left, the
//! [holders](Holder) of files are asked to let go of what they do not need at the moment, those first that have not
//! been at work for the longest time. If none of them can, the file is opened all the same: a few too many are
//! harmless, and an error of ours would not be.
//!
//! Locks: nobody is asked while the lock of the queue is held, and a holder that is asked waits for no other one.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::os::is_out_of_descriptors;
use super::{DirEntry, EntryKind, OpenMode, Vfs, VfsFile, VfsLock};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};

/// Somebody who keeps files open between two uses.
pub trait Holder: Send + Sync {
    /// Closes what nobody uses at this moment and what holds nothing unsynced. False if something is left that may be
    /// closed later.
    ///
    /// The caller may hold locks of another holder, or of this one, and may be asked for files of its own meanwhile:
    /// an implementation MUST NOT wait for a lock that anybody holds while he opens a file, and MUST NOT open one.
    fn release(&self) -> bool;
}

/// How often something is tried that needs a descriptor while there is none.
const MOST_TRIES: usize = 4;
/// How many calls make room at once, most of them inside one another.
const MOST_RESCUES: usize = 16;

/// How many files a broker may have open, and who has some.
pub struct Budget {
    most: usize,
    open: AtomicUsize,
    /// Those that hold files, or have until lately; whoever is at the front is asked first.
    queue: Mutex<VecDeque<Arc<Tenant>>>,
    /// How many calls make room because the process has no descriptor left.
    rescues: AtomicUsize,
}

struct Tenant {
    holder: Weak<dyn Holder>,
    /// Whether it was at work since it was last asked; then it is in the queue, or about to be put there.
    used: AtomicBool,
    queued: AtomicBool,
}

impl Budget {
    pub fn new(most: usize) -> Arc<Self> {
        let (open, rescues) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { most, open, queue: Mutex::default(), rescues })
    }

    /// Takes up a holder, which has nothing open yet. It is forgotten when it is dropped.
    pub fn join(self: &Arc<Self>, holder: Weak<dyn Holder>) -> Tenancy {
        let (used, queued) = (AtomicBool::new(false), AtomicBool::new(false));
        Tenancy { budget: Arc::clone(self), tenant: Arc::new(Tenant { holder, used, queued }) }
    }

    fn take(self: &Arc<Self>) -> Place {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        if before >= self.most {
            self.make_room(self.most);
        }
        Place(Arc::clone(self))
    }

    /// Has holders let go until at most so many files are open, or none of them can.
    fn make_room(&self, most: usize) {
        // Whoever was at work lately is passed over once.
        let mut left = self.queue.lock().len().saturating_mul(2);
        while left > 0 && self.open.load(Ordering::SeqCst) > most {
            left -= 1;
            let Some(tenant) = self.queue.lock().pop_front() else { return };
            let is_done = !tenant.used.swap(false, Ordering::SeqCst)
                && tenant.holder.upgrade().is_none_or(|holder| holder.release());
            if is_done {
                tenant.queued.store(false, Ordering::SeqCst);
                // Whoever has come to work since then saw it in the queue.
                if tenant.used.load(Ordering::SeqCst) {
                    self.enqueue(&tenant);
                }
            } else {
                self.queue.lock().push_back(tenant);
            }
        }
    }

    fn enqueue(&self, tenant: &Arc<Tenant>) {
        if !tenant.queued.swap(true, Ordering::SeqCst) {
            self.queue.lock().push_back(Arc::clone(tenant));
        }
    }

    /// Does something that needs a descriptor. Where the process has none left though the budget has, since others have
    /// taken them, holders let go of some, which others may take again.
    fn or_rescue<T>(&self, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
        for _ in 0..MOST_TRIES {
            match act() {
                Err(error) if is_out_of_descriptors(&error) => self.rescue(),
                done => return done,
            }
        }
        act()
    }

    fn rescue(&self) {
        // Letting go may sync a directory, which needs a descriptor, too.
        if self.rescues.fetch_add(1, Ordering::SeqCst) < MOST_RESCUES {
            let open = self.open.load(Ordering::SeqCst);
            self.make_room((open - open / 8).saturating_sub(1));
        }
        self.rescues.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { most, open, queue, .. } = self;
        let holders = queue.lock().len();
        f.debug_struct("Budget").field("most", most).field("open", open).field("holders", &holders).finish()
    }
}

/// Tells the budget when a holder is at work.
pub struct Tenancy {
    budget: Arc<Budget>,
    tenant: Arc<Tenant>,
}

impl Tenancy {
    /// Takes note of the use of a file, after it was opened. Cheap where that is known: one load.
    pub fn note_use(&self) {
        if !self.tenant.used.load(Ordering::Relaxed) {
            self.tenant.used.store(true, Ordering::SeqCst);
            self.budget.enqueue(&self.tenant);
        }
    }
}

/// A holder that has gone is asked for nothing any more.
impl Drop for Tenancy {
    fn drop(&mut self) {
        if self.tenant.queued.load(Ordering::SeqCst) {
            self.budget.queue.lock().retain(|queued| !Arc::ptr_eq(queued, &self.tenant));
        }
    }
}

impl fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tenant { used, queued, .. } = &*self.tenant;
        f.debug_struct("Tenancy").field("used", used).field("queued", queued).finish_non_exhaustive()
    }
}

/// A place in the budget.
#[derive(Debug)]
struct Place(Arc<Budget>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A file system that keeps within a budget. The lock of the directory, and the descriptor with which a directory is
/// listed or synced, are not counted.
#[derive(Debug)]
pub struct BudgetedVfs {
    inner: Arc<dyn Vfs>,
    budget: Arc<Budget>,
}

impl BudgetedVfs {
    pub fn new(inner: Arc<dyn Vfs>, budget: &Arc<Budget>) -> Self {
        Self { inner, budget: Arc::clone(budget) }
    }
}

impl Vfs for BudgetedVfs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let place = self.budget.take();
        let inner = self.budget.or_rescue(|| self.inner.open(path, how))?;
        Ok(Arc::new(BudgetedFile { inner, _place: place }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.budget.or_rescue(|| self.inner.read_dir(path))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.inner.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Nothing was synced if the directory could not be opened, so that doing it again conceals no failure.
        self.budget.or_rescue(|| self.inner.sync_dir(path))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.budget.or_rescue(|| self.inner.is_locked(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.budget.or_rescue(|| self.inner.lock(path))
    }

    fn random(&self) -> [u8; 16] {
        self.inner.random()
    }
}

/// An open file and its place. The file is closed before the place is given back.
#[derive(Debug)]
struct BudgetedFile {
    inner: Arc<dyn VfsFile>,
    _place: Place,
}

impl VfsFile for BudgetedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize> {
        self.inner.write_at(buffer, position)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()
    }

    fn map(&self) -> io::Result<Bytes> {
        self.inner.map()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_uncached_at(buffer, position)
    }
}
