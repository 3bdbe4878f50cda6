//! Open files and held locks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::Disk;
use super::fault::Operation;
use super::tree::Id;
use super::{MAX_LEN, MemoryVfs};
use crate::sync::{AtomicBool, Ordering};
use crate::vfs::{VfsFile, VfsLock};

/// An open file.
#[derive(Debug)]
pub struct MemoryFile {
    vfs: MemoryVfs,
    id: Id,
    path: PathBuf,
    writable: bool,
    _open: Arc<()>,
}

impl MemoryFile {
    pub fn new(vfs: &MemoryVfs, disk: &mut Disk, id: Id, path: &Path, writable: bool) -> Self {
        let open = Arc::clone(&disk.file(id).open);
        Self { vfs: vfs.clone(), id, path: path.to_owned(), writable, _open: open }
    }

    /// Lets `act` work on the disk, unless the call is one that fails.
    fn call<T>(&self, operation: Operation, act: impl FnOnce(&mut Disk, Id) -> T) -> io::Result<T> {
        self.vfs.call(operation, &self.path, |disk| Ok(act(disk, self.id)))
    }

    fn change(&self, operation: Operation, len: u64, act: impl FnOnce(&mut Disk, Id)) -> io::Result<()> {
        self.vfs.call(operation, &self.path, |disk| {
            self.require_writable()?;
            if len > MAX_LEN {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            act(disk, self.id);
            Ok(())
        })
    }

    fn require_writable(&self) -> io::Result<()> {
        const EBADF: i32 = 9;
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(EBADF)) }
    }

    fn sync(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.vfs.state.lock();
        match state.gate.enter(operation, &self.path) {
            Ok(_) => {
                state.disk.sync(self.id);
                Ok(())
            }
            Err(refusal) => {
                if refusal.loses_data() {
                    state.disk.file(self.id).fail_sync();
                }
                Err(refusal.into())
            }
        }
    }
}

impl VfsFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.vfs.state.lock();
        let most = state.gate.enter(Operation::Read, &self.path)?.min(buffer.len());
        Ok(state.disk.file(self.id).cached.read(&mut buffer[..most], position))
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize> {
        let mut state = self.vfs.state.lock();
        let most = state.gate.enter(Operation::Write, &self.path)?.min(buffer.len());
        self.require_writable()?;
        if position.checked_add(most as u64).is_none_or(|end| end > MAX_LEN) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if most > 0 {
            state.disk.write(self.id, &buffer[..most], position);
        }
        Ok(most)
    }

    fn size(&self) -> io::Result<u64> {
        self.call(Operation::Size, |disk, id| disk.file(id).cached.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Operation::SetLen, len, |disk, id| disk.set_len(id, len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(Operation::Allocate, len, |disk, id| {
            if disk.file(id).cached.len() < len {
                disk.set_len(id, len);
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(Operation::SyncData)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(Operation::SyncAll)
    }

    /// A copy: whoever breaks the contract and changes a mapped file does not see it here.
    fn map(&self) -> io::Result<Bytes> {
        self.vfs.call(Operation::Map, &self.path, |disk| {
            let cached = &disk.file(self.id).cached;
            let mut bytes = vec![0; usize::try_from(cached.len()).map_err(io::Error::other)?];
            cached.read(&mut bytes, 0);
            Ok(Bytes::from(bytes))
        })
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut state = self.vfs.state.lock();
        state.gate.enter(Operation::DropCache, &self.path)?;
        if state.cache_can_be_dropped {
            state.disk.file(self.id).drop_cache();
        }
        Ok(())
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.vfs.state.lock();
        let most = state.gate.enter(Operation::ReadUncached, &self.path)?.min(buffer.len());
        if !state.cache_can_be_passed {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(state.disk.file(self.id).on_disk().read(&mut buffer[..most], position))
    }
}

/// A held lock.
#[derive(Debug)]
pub struct MemoryLock {
    file: MemoryFile,
    /// Whether the file holds our text, rather than what a dead holder has left.
    named: AtomicBool,
}

impl MemoryLock {
    pub fn new(file: MemoryFile) -> Self {
        Self { file, named: AtomicBool::new(false) }
    }
}

impl VfsLock for MemoryLock {
    fn write_text(&self, text: &str) -> io::Result<()> {
        self.named.store(true, Ordering::SeqCst);
        self.file.call(Operation::WriteText, |disk, id| {
            disk.set_len(id, 0);
            if !text.is_empty() {
                disk.write(id, text.as_bytes(), 0);
            }
        })
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.file.vfs.state.lock();
        // A process that was stopped cannot empty the file any more; its lock ends with it.
        if !state.gate.stopped && self.named.load(Ordering::SeqCst) {
            state.disk.set_len(self.file.id, 0);
        }
        state.disk.file(self.file.id).locked = false;
    }
}
