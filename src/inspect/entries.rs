//! Reads the entries of an index from front to back, in large pieces.

use std::io;
use std::marker::PhantomData;

use crate::segment::IndexEntry;
use crate::vfs::{FileView, ReadAhead};

/// How much is read ahead.
const PIECE: usize = 64 * 1024;

/// The entries of an index file, with where each lies.
#[derive(Debug)]
pub struct EntryReader<E> {
    file: ReadAhead,
    len: u64,
    entry: PhantomData<E>,
}

impl<E: IndexEntry> EntryReader<E> {
    pub fn new(view: FileView, len: u64) -> Self {
        Self { file: ReadAhead::new(view, 0), len, entry: PhantomData }
    }

    /// The next entry, `None` behind the last whole one.
    pub fn next_entry(&mut self) -> io::Result<Option<(u64, E)>> {
        let left = self.left();
        if left < E::SIZE as u64 {
            return Ok(None);
        }
        let position = self.file.position();
        if self.file.bytes().len() < E::SIZE {
            self.file.fill(PIECE, left)?;
        }
        let Some(bytes) = self.file.bytes().get(..E::SIZE) else {
            // It became shorter.
            self.len = position;
            return Ok(None);
        };
        let entry = E::read(bytes);
        self.file.skip(E::SIZE);
        Ok(Some((position, entry)))
    }

    /// Where the next entry would begin.
    pub fn position(&self) -> u64 {
        self.file.position()
    }

    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.len.saturating_sub(self.file.position())
    }
}
