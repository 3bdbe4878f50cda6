//! The twin that every ratio is measured against: bare system calls, no framing, no checksum, no index.
//!
//! The payload bytes, concatenated inside the timed part, one `pwrite` a call to a growing file, no preallocation,
//! and an `fdatasync` where the row says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

/// A file that is appended to.
pub struct Raw {
    file: File,
    end: Mutex<u64>,
}

impl Raw {
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Self { file, end: Mutex::new(0) })
    }

    /// Appends the payloads with one call.
    pub fn append<'a>(&self, payloads: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let bytes: Vec<u8> = payloads.flatten().copied().collect();
        let mut end = self.end.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.file.write_all_at(&bytes, *end)?;
        *end += bytes.len() as u64;
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
