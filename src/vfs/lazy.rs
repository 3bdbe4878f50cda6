//! A file that is opened when it is first needed, so that a thousand idle partitions hold no descriptor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{OpenMode, Vfs, VfsFile};
use crate::sync::Mutex;

/// An existing file with its path, opened on first use and then kept open until it is let go.
#[derive(Debug)]
pub struct LazyFile {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    how: OpenMode,
    opened: Mutex<Option<Arc<dyn VfsFile>>>,
}

impl LazyFile {
    pub fn new(vfs: &Arc<dyn Vfs>, path: PathBuf, how: OpenMode) -> Self {
        Self { vfs: Arc::clone(vfs), path, how, opened: Mutex::new(None) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn get(&self) -> io::Result<Arc<dyn VfsFile>> {
        let mut opened = self.opened.lock();
        match &*opened {
            Some(file) => Ok(Arc::clone(file)),
            None => Ok(Arc::clone(opened.insert(self.vfs.open(&self.path, self.how)?))),
        }
    }

    /// Forgets the open file, which is closed when nobody uses it any more; the next use opens it again. False if
    /// somebody is opening it at this moment: nobody is waited for.
    pub fn release(&self) -> bool {
        self.opened.try_lock().map(|mut opened| opened.take()).is_some()
    }
}
