//! A sparse index file: searched where it lies, with the newest entries in memory while it grows.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::entry::{IndexEntry, OffsetEntry, TimeEntry};
use crate::error::{IoContext, Result};
use crate::model::Timestamp;
use crate::vfs::{FileView, LazyFile, VfsFile, write_all_at};

/// How many entries are gathered in memory before they are written.
const TAIL_ENTRIES: usize = 512;
/// A search reads so many entries at once when it has come so near.
const BLOCK_ENTRIES: u64 = 256;

/// An index that can be searched.
#[derive(Clone, Debug)]
pub struct IndexView<E> {
    file: FileView,
    count: u64,
    entry: PhantomData<E>,
}

impl<E: IndexEntry> IndexView<E> {
    /// `None` if the length is no whole number of entries.
    pub fn new(file: FileView) -> io::Result<Option<Self>> {
        let len = file.size()?;
        let size = E::SIZE as u64;
        let count = len.checked_div(size).unwrap_or_default();
        Ok((len == count.saturating_mul(size)).then_some(Self { file, count, entry: PhantomData }))
    }

    /// What a file holds that was just opened; `None` if it is missing, or no whole number of entries.
    pub fn of_file(opened: io::Result<FileView>, path: &Path) -> Result<Option<Self>> {
        match opened {
            Ok(view) => Self::new(view).doing("measure", path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("open", path),
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn last(&self) -> io::Result<Option<E>> {
        match self.count.checked_sub(1) {
            None => Ok(None),
            Some(last) => self.get(last).map(Some),
        }
    }

    /// The last entry whose key is at most `key`.
    pub fn floor(&self, key: E::Key) -> io::Result<Option<E>> {
        let (block, before) = narrow(0..self.count, BLOCK_ENTRIES, key, |number| self.get(number))?;
        let (first, count) = (block.start, block.end.saturating_sub(block.start));
        let bytes = self.entries(first, count)?;
        let entry = |number: u64| {
            let at = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(E::SIZE);
            let bytes = bytes.get(at..).and_then(|bytes| bytes.get(..E::SIZE));
            bytes.map(E::read).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        let (_, inside) = narrow(0..count, 0, key, entry)?;
        Ok(inside.or(before))
    }

    pub fn get(&self, number: u64) -> io::Result<E> {
        self.entries(number, 1).map(|bytes| E::read(&bytes))
    }

    /// The bytes of so many entries.
    fn entries(&self, first: u64, count: u64) -> io::Result<Bytes> {
        let size = E::SIZE as u64;
        let len = usize::try_from(count.saturating_mul(size)).unwrap_or(usize::MAX);
        let bytes = self.file.read(first.saturating_mul(size), len)?;
        if bytes.len() == len { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Halves the range until no more than `most` entries are left of it. Those before it have keys of at most `key`, the
/// last of them is returned with it; those behind it have greater ones.
fn narrow<E: IndexEntry>(
    mut range: Range<u64>,
    most: u64,
    key: E::Key,
    get: impl Fn(u64) -> io::Result<E>,
) -> io::Result<(Range<u64>, Option<E>)> {
    let mut before = None;
    while range.end.saturating_sub(range.start) > most {
        let middle = range.start.midpoint(range.end);
        let entry = get(middle)?;
        if entry.key() <= key {
            before = Some(entry);
            range.start = middle.saturating_add(1);
        } else {
            range.end = middle;
        }
    }
    Ok((range, before))
}

impl IndexView<OffsetEntry> {
    /// Whether it can be the index of a log of this size. Relative offsets rise by one an entry at least, which
    /// zeros do not.
    pub fn fits(&self, log_size: u64) -> io::Result<bool> {
        Ok(self.last()?.is_none_or(|last| {
            u64::from(last.position) < log_size
                && self.count <= u64::from(last.relative_offset).saturating_add(1)
        }))
    }
}

impl IndexView<TimeEntry> {
    /// The last entry before `time`.
    pub fn below(&self, time: Timestamp) -> io::Result<Option<TimeEntry>> {
        time.checked_sub(1).map_or(Ok(None), |before| self.floor(before))
    }
}

/// An index that grows: entries are written to the file in groups, and never synced before the segment is
/// sealed, since the log can always give them again.
#[derive(Debug)]
pub struct ActiveIndex<E> {
    file: Arc<LazyFile>,
    written: Written<E>,
    /// Entries behind those in the file.
    tail: Vec<E>,
    /// Whether what stands in the file belongs to another log, and goes before anything is written.
    stale: bool,
    /// Whether the file was changed since it was last given out to be synced; then it is open.
    unsynced: bool,
}

/// What stands in the file of an index.
#[derive(Clone, Copy, Debug)]
pub struct Written<E> {
    pub count: u64,
    pub last: Option<E>,
}

impl<E> Default for Written<E> {
    fn default() -> Self {
        Self { count: 0, last: None }
    }
}

impl<E: IndexEntry> ActiveIndex<E> {
    pub fn new(file: LazyFile, written: Written<E>) -> Self {
        Self { file: Arc::new(file), written, tail: Vec::new(), stale: false, unsynced: false }
    }

    /// An empty index in the place of whatever the file holds.
    pub fn instead_of(file: LazyFile) -> Self {
        Self { stale: true, ..Self::new(file, Written::default()) }
    }

    pub fn count(&self) -> u64 {
        self.written.count.saturating_add(self.tail.len() as u64)
    }

    pub fn last(&self) -> Option<E> {
        self.tail.last().copied().or(self.written.last)
    }

    /// Takes an entry, in memory: [`flush`](Self::flush) writes.
    pub fn push(&mut self, entry: E) {
        self.tail.push(entry);
    }

    /// Whether so many entries are in memory that it is time to write them.
    pub fn is_long(&self) -> bool {
        self.tail.len() >= TAIL_ENTRIES
    }

    /// The last entry whose key is at most `key`.
    pub fn floor(&self, key: E::Key) -> io::Result<Option<E>> {
        let behind = self.tail.partition_point(|entry| entry.key() <= key);
        if let Some(entry) = behind.checked_sub(1).and_then(|at| self.tail.get(at)) {
            return Ok(Some(*entry));
        }
        if self.written.count == 0 {
            return Ok(None);
        }
        let view = IndexView {
            file: FileView::Read(self.file.get()?),
            count: self.written.count,
            entry: PhantomData,
        };
        view.floor(key)
    }

    /// Writes the entries that are only in memory.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.stale && self.tail.is_empty() {
            return Ok(());
        }
        let file = self.changing()?;
        if self.stale {
            file.set_len(0)?;
            self.stale = false;
        }
        let mut bytes = Vec::with_capacity(self.tail.len().saturating_mul(E::SIZE));
        self.tail.iter().for_each(|entry| entry.write(&mut bytes));
        write_all_at(file.as_ref(), &bytes, self.written.count.saturating_mul(E::SIZE as u64))?;
        self.written = Written { count: self.count(), last: self.last() };
        self.tail.clear();
        Ok(())
    }

    /// The file, which is to be synced from now on.
    pub fn changing(&mut self) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.file.get()?;
        self.unsynced = true;
        Ok(file)
    }

    /// Gives out the file if it has to be synced. Whoever takes it syncs it, or the partition stops.
    pub fn take_unsynced(&mut self) -> io::Result<Option<Arc<dyn VfsFile>>> {
        std::mem::take(&mut self.unsynced).then(|| self.file.get()).transpose()
    }

    /// Closes the file, synced; the next use opens it again. False if somebody is opening it.
    pub fn release(&mut self) -> io::Result<bool> {
        if let Some(file) = self.take_unsynced()? {
            file.sync_data()?;
        }
        Ok(self.file.release())
    }

    pub fn file(&self) -> &Arc<LazyFile> {
        &self.file
    }
}

impl ActiveIndex<TimeEntry> {
    /// The last entry before `time`.
    pub fn below(&self, time: Timestamp) -> io::Result<Option<TimeEntry>> {
        time.checked_sub(1).map_or(Ok(None), |before| self.floor(before))
    }
}
