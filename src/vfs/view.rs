//! A file to read from: mapped, by positioned reads, or by reads past the page cache. All hand out bytes that live as long as they are held.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::VfsFile;
use super::whole::read_to_end;

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
            Self::Read(_) | Self::Uncached(_) => {
                let mut buffer = vec![0; len];
                let read = self.read_into(&mut buffer, position)?;
                buffer.truncate(read);
                Ok(Bytes::from(buffer))
            }
        }
    }

    /// Fills `buffer` from `position` on, as far as the file goes; returns how much that is. A read that ends before the file
    /// does is an error.
    pub fn read_into(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self {
            Self::Mapped(bytes) => {
                let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                let len = buffer.len().min(bytes.len() - from);
                buffer[..len].copy_from_slice(&bytes[from..from + len]);
                Ok(len)
            }
            Self::Read(file) => {
                read_to_end(file.as_ref(), buffer, position, |rest, at| file.read_at(rest, at))
            }
            Self::Uncached(file) => {
                read_to_end(file.as_ref(), buffer, position, |rest, at| file.read_uncached_at(rest, at))
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
