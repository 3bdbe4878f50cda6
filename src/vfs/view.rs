//! A file to read from: mapped, or by positioned reads. Both hand out bytes that live as long as they are held.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{VfsFile, read_up_to_at};

/// The bytes of a file.
#[derive(Clone, Debug)]
pub enum FileView {
    Mapped(Bytes),
    Read(Arc<dyn VfsFile>),
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
            Self::Read(file) => file.size(),
        }
    }
}
