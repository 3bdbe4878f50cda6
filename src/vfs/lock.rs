//! The lock of a data directory: one owner, in this process and in any other.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::os::{options, require_regular};
use super::{OpenMode, ProcessMark, VfsLock};
use crate::sync::{AtomicBool, Mutex, Ordering};

/// The directories that this process holds, by device and inode.
///
/// The lock of the file excludes a second handle as well. But a lock file can be deleted and made anew by anybody,
/// and then both would hold one; within this process, this list says no.
static HELD: Mutex<Vec<DirectoryKey>> = Mutex::new(Vec::new());

type DirectoryKey = (u64, u64);

/// Takes the lock, or returns `None` at once if somebody else has it.
pub fn lock(path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
    let Some(held) = Held::claim(path)? else { return Ok(None) };
    loop {
        let file = options(OpenMode::Create).open(path)?;
        require_regular(&file)?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(exclusive()))) {
            Ok(_) => {}
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // A broker deletes the file when it stops: the locked one may be nobody's any more.
        if is_at(&file, path)? {
            let mark = ProcessMark::new();
            return Ok(Some(Box::new(OsLock { file, mark, named: AtomicBool::new(false), _held: held })));
        }
    }
}

/// Whether somebody holds the lock.
pub fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match options(OpenMode::Read).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    require_regular(&file)?;
    // A lock for reading conflicts with every lock for writing, and can be asked for without the right to write.
    let mut lock = whole_file(shared());
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != free())
}

#[expect(clippy::cast_possible_truncation, reason = "the constant fits its field")]
fn exclusive() -> libc::c_short {
    libc::F_WRLCK as libc::c_short
}

#[expect(clippy::cast_possible_truncation, reason = "the constant fits its field")]
fn shared() -> libc::c_short {
    libc::F_RDLCK as libc::c_short
}

#[expect(clippy::cast_possible_truncation, reason = "the constant fits its field")]
fn free() -> libc::c_short {
    libc::F_UNLCK as libc::c_short
}

/// A directory that this process holds.
#[derive(Debug)]
struct Held(DirectoryKey);

impl Held {
    fn claim(lock_file: &Path) -> io::Result<Option<Self>> {
        let directory = fs::metadata(lock_file.parent().unwrap_or(Path::new(".")))?;
        let key = (directory.dev(), directory.ino());
        let mut held = HELD.lock();
        if held.contains(&key) {
            return Ok(None);
        }
        held.push(key);
        Ok(Some(Self(key)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.lock().retain(|key| *key != self.0);
    }
}

/// A lock of the open file description. It and the POSIX lock that Java takes exclude each other; `flock`, which the
/// standard library offers, would stand beside both.
fn whole_file(kind: libc::c_short) -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "the constant fits its field")]
    libc::flock { l_type: kind, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

/// True if the open file is the one that the path names.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
struct OsLock {
    file: File,
    mark: ProcessMark,
    /// Whether the file holds our text, rather than what a dead holder has left.
    named: AtomicBool,
    _held: Held,
}

impl VfsLock for OsLock {
    fn write_text(&self, text: &str) -> io::Result<()> {
        self.named.store(true, Ordering::SeqCst);
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

impl Drop for OsLock {
    fn drop(&mut self) {
        // A forked child drops a copy, and the lock is its parent's.
        if !self.mark.is_ours() {
            return;
        }
        // The text goes first, so that nobody is named who left. If it cannot, a stale name stays in an unlocked file,
        // where nobody looks for it.
        if self.named.load(Ordering::SeqCst) {
            _ = self.file.set_len(0);
        }
        // Closing releases the lock only once every process has closed the description, and one that was forked off a
        // moment ago, to run another program, has it still.
        _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&whole_file(free())));
    }
}
