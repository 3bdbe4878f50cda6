//! The operating system's file system: the one place of the crate that calls it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl};
use nix::libc;

use crate::sync::{AtomicBool, Ordering};

use super::{DirEntry, EntryKind, OpenMode, Vfs, VfsFile, VfsLock, map};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVfs;

impl Vfs for OsVfs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let file = options(how).open(path)?;
        require_regular(&file)?;
        // Emptied only now, when it is known to be a file of ours and not a device.
        if how == OpenMode::CreateEmpty {
            file.set_len(0)?;
        }
        Ok(Arc::new(OsFile(file)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                Ok(DirEntry { name, kind: kind_of(entry.file_type()?) })
            })
            .collect()
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(kind_of(metadata.file_type()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        loop {
            let file = options(OpenMode::Create).open(path)?;
            require_regular(&file)?;
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file_lock())) {
                Ok(_) => {}
                Err(nix::Error::EAGAIN | nix::Error::EACCES) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // A broker deletes the file when it stops: the locked one may be nobody's any more.
            if is_at(&file, path)? {
                return Ok(Some(Box::new(OsLock { file, named: AtomicBool::new(false) })));
            }
        }
    }
}

fn options(how: OpenMode) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(how != OpenMode::Read);
    // Without O_NONBLOCK, opening a pipe that somebody left there would hang; files ignore it.
    options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    match how {
        OpenMode::Read | OpenMode::Write => {}
        OpenMode::CreateNew => _ = options.create_new(true),
        OpenMode::Create | OpenMode::CreateEmpty => _ = options.create(true),
    }
    options
}

fn require_regular(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

fn kind_of(file_type: fs::FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Directory
    } else {
        EntryKind::Other
    }
}

/// An exclusive lock of the open file description. It and the POSIX lock that Java takes exclude each other;
/// `flock`, which the standard library offers, would stand beside both.
fn whole_file_lock() -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "the constants fit their field")]
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
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
struct OsFile(File);

impl VfsFile for OsFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize> {
        self.0.write_at(buffer, position)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
                Err(nix::Error::EINTR) => {}
                outcome => return outcome.map_err(io::Error::from),
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn map(&self) -> io::Result<Bytes> {
        map::map(&self.0)
    }
}

#[derive(Debug)]
struct OsLock {
    file: File,
    /// Whether the file holds our text, rather than what a dead holder has left.
    named: AtomicBool,
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
        // Closing the description releases the lock; the text goes first, so that nobody is named who left.
        // If it cannot, a stale name stays in an unlocked file, where nobody looks for it.
        if self.named.load(Ordering::SeqCst) {
            _ = self.file.set_len(0);
        }
    }
}
