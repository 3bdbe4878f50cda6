//! The operating system's file system: the one place of the crate that calls it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::libc;

use super::lock::{is_locked, lock};
use super::{DirEntry, EntryKind, OpenMode, Vfs, VfsFile, VfsLock, map};

/// What `O_DIRECT` wants of memory, positions and lengths: no block device in use asks for more.
const DIRECT_ALIGNMENT: usize = 4096;

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

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        is_locked(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        lock(path)
    }
}

pub fn options(how: OpenMode) -> OpenOptions {
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

pub fn require_regular(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Whether it says that no descriptor is left, to the process or to the machine.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
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

    fn drop_cache(&self) -> io::Result<()> {
        // A length of 0 means up to the end.
        posix_fadvise(&self.0, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(io::Error::from)
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let there = self.size()?.saturating_sub(position);
        let wanted = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let alignment = DIRECT_ALIGNMENT as u64;
        let from = position / alignment * alignment;
        let before = usize::try_from(position - from).map_err(io::Error::other)?;
        let mut memory = vec![0; (before + wanted).next_multiple_of(DIRECT_ALIGNMENT) + DIRECT_ALIGNMENT];
        let window = aligned(&mut memory)?;
        let read = open_direct(&self.0)?.read_at(window, from).map_err(unsupported_if_refused)?;
        // It may be nothing though the file does not end here: the caller asks again, and is not to take it for the end.
        let read = read.saturating_sub(before).min(wanted);
        buffer[..read].copy_from_slice(&window[before..before + read]);
        Ok(read)
    }
}

/// The part of `memory` that begins and ends aligned; `memory` is longer than it by the alignment.
fn aligned(memory: &mut [u8]) -> io::Result<&mut [u8]> {
    let from = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let len = memory.len() - DIRECT_ALIGNMENT;
    memory.get_mut(from..).and_then(|rest| rest.get_mut(..len)).ok_or(io::ErrorKind::OutOfMemory.into())
}

/// Opens the same file once more, to read past the page cache; the name may be somebody else's by now.
fn open_direct(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_DIRECT.bits()).open(path).map_err(unsupported_if_refused)
}

/// A file system without `O_DIRECT` calls it an invalid argument; without `/proc` there is no such name.
fn unsupported_if_refused(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => {
            io::Error::new(io::ErrorKind::Unsupported, error)
        }
        _ => error,
    }
}

/// The path without links; of what is not there yet, as far as it is there.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut there = absolute.as_path();
    loop {
        match (fs::canonicalize(there), there.parent(), there.file_name()) {
            (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(name);
                there = parent;
            }
            (real, ..) => return Ok(missing.iter().rev().fold(real?, |path, name| path.join(name))),
        }
    }
}
