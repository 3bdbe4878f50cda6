//! The file system as a trait at system-call depth: the real one and an in-memory one. It knows no format.
//!
//! Every call that touches the disk goes through here, so that tests can stand in for the disk. The contracts
//! below are what the rest of the crate relies on; an implementation MUST keep them.

mod budget;
mod lazy;
mod lock;
mod map;
#[cfg(any(test, feature = "test-util"))]
mod memory;
mod os;
mod read_ahead;
#[cfg(test)]
mod tests;
mod view;
mod whole;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

pub use budget::{Budget, BudgetedVfs, Holder, Tenancy};
pub use lazy::LazyFile;
pub use map::ProcessMark;
#[cfg(any(test, feature = "test-util"))]
pub use memory::MemoryVfs;
#[cfg(feature = "test-util")]
pub use memory::{Call, CallCounts, CrashProfile, Fault, Image, ImageClass, Images, Operation, Repeat};
pub use os::{OsVfs, real_path};
pub use read_ahead::ReadAhead;
pub use view::FileView;
#[cfg(test)]
pub use whole::read_up_to_at;
pub use whole::{
    commit_file, is_full, read_exact_at, read_file, replace_file, stage_file, write_all_at, write_up_to_at,
};

/// A file system.
pub trait Vfs: Send + Sync + Debug {
    /// Opens a regular file for positioned reads and writes. MUST NOT follow a symbolic link at the end of the
    /// path, and MUST fail on anything but a regular file.
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>>;

    /// Creates a directory; its parent exists, it does not.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, in no particular order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// What stands at the path, links not followed; `None` if nothing does.
    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>>;

    /// Renames a file or directory, replacing a file at `to`, at once or not at all.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; whoever has it open or mapped keeps it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// When it returns, what was created, renamed and removed in the directory before survives a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock of the file at `path`, creating it where it is missing, or returns `None` at once if
    /// another process or another handle of this one holds it. A Kafka broker's lock counts as well.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>>;

    /// Whether somebody holds the lock of the file at `path` at this moment: this process, another one, a Kafka broker.
    /// MUST NOT create the file, nor take the lock, which would lock somebody out.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;

    /// Bytes that nobody can foresee, as the operating system gives them: what new ids are made of.
    fn random(&self) -> [u8; 16] {
        Uuid::new_v4().into_bytes()
    }
}

/// An open file.
pub trait VfsFile: Send + Sync + Debug {
    /// Reads into `buffer` from `position`; fewer bytes than asked for are lawful, 0 means the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes from `buffer` at `position`, extending the file; fewer bytes than given are lawful.
    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize>;

    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Cuts or extends the file; what is added reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Extends the file to `len` with zeros that have their disk space already; a longer file stays as it is.
    /// A failure may leave the file extended by a part.
    /// Fails with [`io::ErrorKind::Unsupported`] where the file system cannot.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// When it returns, the bytes written before, and the length that reaches them, survive a power cut. After
    /// a failure nothing may be concluded from a later success.
    fn sync_data(&self) -> io::Result<()>;

    /// [`sync_data`](Self::sync_data), and every other property of the file as well.
    fn sync_all(&self) -> io::Result<()>;

    /// Maps the whole file for reading. The file MUST NOT change or shrink while the bytes live: a page that
    /// has gone, or that the disk cannot read, ends the process with SIGBUS.
    fn map(&self) -> io::Result<Bytes>;

    /// Asks the operating system to forget what its memory holds of the whole file. An implementation MUST NOT
    /// lose bytes that were written and not synced. A caller MUST NOT conclude anything from a success: pages
    /// that are dirty, mapped or shared stay, and later reads may still be served from them.
    fn drop_cache(&self) -> io::Result<()>;

    /// [`read_at`](Self::read_at) past the memory of the operating system. What it returns MUST come from the
    /// disk: bytes that were written and not synced are brought there first, and bytes that a failed sync lost
    /// are not seen, even while `read_at` still serves them. Position and length need no alignment. MUST fail
    /// with [`io::ErrorKind::Unsupported`] where the file system refuses, and never fall back to `read_at`.
    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
}

/// A held lock; dropping it releases it.
pub trait VfsLock: Send + Sync + Debug {
    /// Replaces the text in the locked file, until the lock is dropped.
    fn write_text(&self, text: &str) -> io::Result<()>;
}

/// How [`Vfs::open`] opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new or an existing file, for reading and writing.
    Create,
    /// A new file, for reading and writing; fails if the name is taken.
    CreateNew,
    /// A new or an existing file, emptied, for reading and writing.
    CreateEmpty,
}

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a pipe, a device: nothing that we ever create.
    Other,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Bytes that are no UTF-8 are replaced; no name of ours or of Kafka's holds such.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}
