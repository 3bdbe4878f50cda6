//! A file system in memory, for tests: nothing of it reaches a disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{DirEntry, EntryKind, OpenMode, Vfs, VfsFile, VfsLock};
use crate::sync::{Mutex, RwLock};

/// A file system in memory; clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryVfs {
    nodes: Arc<Mutex<BTreeMap<PathBuf, Node>>>,
}

#[derive(Clone, Debug)]
enum Node {
    File(Arc<MemoryFile>),
    Directory,
}

#[derive(Debug, Default)]
struct MemoryFile {
    bytes: RwLock<Vec<u8>>,
    locked: Mutex<bool>,
}

impl MemoryVfs {
    /// An empty file system; the root directory exists.
    pub fn new() -> Self {
        let vfs = Self::default();
        vfs.nodes.lock().insert(PathBuf::from("/"), Node::Directory);
        vfs
    }

    fn file(nodes: &BTreeMap<PathBuf, Node>, path: &Path) -> io::Result<Option<Arc<MemoryFile>>> {
        match nodes.get(path) {
            None => Ok(None),
            Some(Node::File(file)) => Ok(Some(Arc::clone(file))),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn create(nodes: &mut BTreeMap<PathBuf, Node>, path: &Path, node: Node) -> io::Result<()> {
        match path.parent().map(|parent| nodes.get(parent)) {
            Some(Some(Node::Directory)) => {}
            Some(Some(Node::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(None) | None => return Err(io::ErrorKind::NotFound.into()),
        }
        nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// The paths below `path`, without itself.
    fn below(nodes: &BTreeMap<PathBuf, Node>, path: &Path) -> Vec<PathBuf> {
        nodes.keys().filter(|key| key.starts_with(path) && *key != path).cloned().collect()
    }
}

impl Vfs for MemoryVfs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut nodes = self.nodes.lock();
        match (Self::file(&nodes, path)?, how) {
            (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (None, OpenMode::Read | OpenMode::Write) => Err(io::ErrorKind::NotFound.into()),
            (Some(file), OpenMode::CreateEmpty) => {
                file.bytes.write().clear();
                Ok(file)
            }
            (Some(file), OpenMode::Read | OpenMode::Write | OpenMode::Create) => Ok(file),
            (None, OpenMode::Create | OpenMode::CreateNew | OpenMode::CreateEmpty) => {
                let file = Arc::new(MemoryFile::default());
                Self::create(&mut nodes, path, Node::File(Arc::clone(&file)))?;
                Ok(file)
            }
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes.lock();
        if nodes.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Self::create(&mut nodes, path, Node::Directory)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let nodes = self.nodes.lock();
        match nodes.get(path) {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Directory) => {}
        }
        let children = nodes.iter().filter(|(child, _)| child.parent() == Some(path));
        Ok(children
            .map(|(child, node)| DirEntry {
                name: child.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                kind: node.kind(),
            })
            .collect())
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        Ok(self.nodes.lock().get(path).map(Node::kind))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut nodes = self.nodes.lock();
        let node = nodes.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        match (node.kind(), nodes.get(to).map(Node::kind)) {
            (_, None) | (EntryKind::File, Some(EntryKind::File)) => {}
            (EntryKind::File, Some(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            (_, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        Self::create(&mut nodes, to, node)?;
        for path in Self::below(&nodes, from) {
            if let (Some(node), Ok(tail)) = (nodes.remove(&path), path.strip_prefix(from)) {
                nodes.insert(to.join(tail), node);
            }
        }
        nodes.remove(from);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes.lock();
        Self::file(&nodes, path)?.ok_or(io::ErrorKind::NotFound)?;
        nodes.remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut nodes = self.nodes.lock();
        match nodes.get(path) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            Some(Node::Directory) if !Self::below(&nodes, path).is_empty() => {
                Err(io::ErrorKind::DirectoryNotEmpty.into())
            }
            Some(Node::Directory) => {
                nodes.remove(path);
                Ok(())
            }
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.read_dir(path).map(|_| ())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        let mut nodes = self.nodes.lock();
        let file = match Self::file(&nodes, path)? {
            Some(file) => file,
            None => {
                let file = Arc::new(MemoryFile::default());
                Self::create(&mut nodes, path, Node::File(Arc::clone(&file)))?;
                file
            }
        };
        let mut locked = file.locked.lock();
        if std::mem::replace(&mut *locked, true) {
            return Ok(None);
        }
        drop(locked);
        Ok(Some(Box::new(MemoryLock(file))))
    }
}

impl Node {
    fn kind(&self) -> EntryKind {
        match self {
            Self::File(_) => EntryKind::File,
            Self::Directory => EntryKind::Directory,
        }
    }
}

impl VfsFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = self.bytes.read();
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let there = &bytes[from..];
        let read = there.len().min(buffer.len());
        buffer[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize> {
        let mut bytes = self.bytes.write();
        let from = usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let to = from.checked_add(buffer.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if bytes.len() < to {
            bytes.resize(to, 0);
        }
        bytes[from..to].copy_from_slice(buffer);
        Ok(buffer.len())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.bytes.write().resize(len, 0);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.size()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Bytes> {
        Ok(Bytes::copy_from_slice(&self.bytes.read()))
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buffer, position)
    }
}

#[derive(Debug)]
struct MemoryLock(Arc<MemoryFile>);

impl VfsLock for MemoryLock {
    fn write_text(&self, text: &str) -> io::Result<()> {
        *self.0.bytes.write() = text.as_bytes().to_vec();
        Ok(())
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.bytes.write().clear();
        *self.0.locked.lock() = false;
    }
}
