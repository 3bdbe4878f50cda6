//! A file to read from: mapped, by positioned reads, or by reads past the page cache. All hand out bytes that live as long as they are held.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{VfsFile, read_up_to_at};

/// The bytes of a file.
#[derive(Clone, Debug)]
pub enum FileView {
    Mapped(Bytes),
    Read(Arc<dyn VfsFile>),
    /// Read past the page cache, which may hold what the disk does not.
    Uncached(Arc<dyn VfsFile>),
}

impl FileView {
    /// Up to `len` bytes from `position`; fewer where the file ends. From a map they are a reference, and the
    /// whole rest of the map is as cheap as `len` bytes of it.
    pub fn read(&self, position: u64, len: usize) -> io::Result<Bytes> {
        match self {
            Self::Mapped(bytes) => {
                let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                let to = from.saturating_add(len).min(bytes.len());
                Ok(bytes.slice(from..to))
            }
            Self::Uncached(file) => {
                let mut buffer = vec![0; len];
                let mut filled = 0;
                while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                    match file.read_uncached_at(rest, position.saturating_add(filled as u64)) {
                        Ok(0) => break,
                        Ok(read) => filled += read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                buffer.truncate(filled);
                Ok(Bytes::from(buffer))
            }
            Self::Read(file) => {
                let mut buffer = vec![0; len];
                let read = read_up_to_at(file.as_ref(), &mut buffer, position)?;
                buffer.truncate(read);
                Ok(Bytes::from(buffer))
            }
        }
    }

    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::Mapped(bytes) => Ok(bytes.len() as u64),
            Self::Read(file) | Self::Uncached(file) => file.size(),
        }
    }
}
