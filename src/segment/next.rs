//! The log of the segment to come, made before anybody knows where that begins, so that a roll only has to name it.

use std::io;
use std::path::PathBuf;

use super::SegmentDir;
use super::active::first_step;
use crate::error::{IoContext, Result};
use crate::file_name::NEXT_LOG;
use crate::sync::Mutex;
use crate::vfs::{EntryKind, OpenMode};

/// The next log, if there is one: a file under a name that is no segment's, with zeros for the first appends. It is not
/// open. One thread at a time makes it; whoever rolls takes it.
#[derive(Debug)]
pub struct NextLog {
    dir: SegmentDir,
    /// Its length.
    ready: Mutex<Option<u64>>,
}

impl NextLog {
    pub fn new(dir: SegmentDir) -> Self {
        Self { dir, ready: Mutex::new(None) }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.lock().is_some()
    }

    /// Makes it. It is not synced: that would put the appends of this moment behind a commit of the file system, and
    /// the roll and the first append sync all of it anyway. After a failure there is none, and the roll makes its own.
    pub fn prepare(&self, segment_bytes: u64) -> Result<()> {
        if self.is_ready() {
            // It may be given out and named at this moment, and is not to be emptied then.
            return Ok(());
        }
        let path = self.path();
        // What somebody has left there is nobody's.
        let file = self.dir.vfs.open(&path, OpenMode::CreateEmpty).doing("create", &path)?;
        let len = first_step(segment_bytes);
        let len = match file.allocate(len) {
            Ok(()) => len,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => 0,
            Err(error) => {
                // It takes space that the records need.
                self.dir.vfs.remove_file(&path).doing("remove", &path)?;
                return Err(error).doing("preallocate", &path);
            }
        };
        *self.ready.lock() = Some(len);
        Ok(())
    }

    /// Gives it out; whoever takes it renames it.
    pub(super) fn take(&self) -> Option<(PathBuf, u64)> {
        self.ready.lock().take().map(|len| (self.path(), len))
    }

    /// Removes it, and what an attempt has left of it.
    pub fn remove(&self) -> Result<()> {
        *self.ready.lock() = None;
        let path = self.path();
        if self.dir.vfs.kind(&path).doing("look at", &path)? == Some(EntryKind::File) {
            self.dir.vfs.remove_file(&path).doing("remove", &path)?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.path.join(NEXT_LOG)
    }
}
