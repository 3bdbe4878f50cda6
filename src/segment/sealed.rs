//! A segment that no longer changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::SegmentDir;
use super::entry::{IndexEntry, OffsetEntry, TimeEntry};
use super::index::IndexView;
use super::scan::{BatchScan, behind_time_entry, scan_from_hint};
use super::sparse::SparseIndexer;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{Offset, Timestamp};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::vfs::{FileView, OpenMode};

/// A sealed segment: opened when it is first read, and mapped where maps are on and the segment is on stable storage.
/// Until then a recovery may cut it, and a file that is mapped is never cut.
#[derive(Debug)]
pub struct SealedSegment {
    dir: SegmentDir,
    base: Offset,
    index_interval: u64,
    is_durable: AtomicBool,
    opened: Mutex<Option<Arc<Opened>>>,
}

#[derive(Debug)]
struct Opened {
    log: FileView,
    path: PathBuf,
    is_mapped: bool,
    len: u64,
    index: Mutex<IndexView<OffsetEntry>>,
    /// Opened when a time is first looked for.
    time: Mutex<Option<IndexView<TimeEntry>>>,
}

impl SealedSegment {
    /// A segment whose files are on stable storage.
    pub fn new(dir: SegmentDir, base: Offset, index_interval: u64) -> Self {
        Self { is_durable: AtomicBool::new(true), ..Self::unsynced(dir, base, index_interval) }
    }

    /// A segment whose files are still to be synced.
    pub(super) fn unsynced(dir: SegmentDir, base: Offset, index_interval: u64) -> Self {
        Self { dir, base, index_interval, is_durable: AtomicBool::new(false), opened: Mutex::new(None) }
    }

    /// Whether its files are on stable storage.
    pub fn is_durable(&self) -> bool {
        self.is_durable.load(Ordering::SeqCst)
    }

    /// Takes note that its files were synced, so that from now on they may be mapped.
    pub fn set_durable(&self) {
        self.is_durable.store(true, Ordering::SeqCst);
        // Nobody is waited for: whoever opens them at this moment lets go of them with the next read.
        self.release();
    }

    pub fn base_offset(&self) -> Offset {
        self.base
    }

    fn may_be_mapped(&self) -> bool {
        self.dir.maps && self.is_durable()
    }

    /// Closes its files, unless they are mapped: a map needs no descriptor. False if somebody is opening them.
    pub fn release(&self) -> bool {
        let Some(mut opened) = self.opened.try_lock() else { return false };
        opened.take_if(|opened| !opened.is_mapped);
        true
    }

    /// The batches from the one that holds `offset` on.
    pub fn scan_from(&self, offset: Offset) -> Result<BatchScan> {
        let opened = self.opened()?;
        let hint = self.hint(&opened, offset)?;
        let at = |position| self.dir.scan(opened.log.clone(), self.base, position, opened.len);
        match scan_from_hint(at, hint, offset)? {
            Some(scan) => Ok(scan),
            None => {
                // The index is not this log's: the log gives another one.
                *opened.index.lock() = self.rebuild(&opened.log, &opened.path, opened.len)?.offset;
                let rebuilt = scan_from_hint(at, self.hint(&opened, offset)?, offset)?;
                Ok(rebuilt.unwrap_or_else(|| at(0)))
            }
        }
    }

    /// The batches from one on that is near the end: the last one that the index has, or the first one without an index.
    pub fn scan_near_end(&self) -> Result<BatchScan> {
        let opened = self.opened()?;
        let at = |position| self.dir.scan(opened.log.clone(), self.base, position, opened.len);
        let hint = self.hint(&opened, Offset::MAX)?;
        let scan = scan_from_hint(at, hint, self.base)?;
        Ok(scan.unwrap_or_else(|| at(0)))
    }

    /// The batches from one on before which no record has a timestamp of `time` or later.
    pub fn scan_from_time(&self, time: Timestamp) -> Result<BatchScan> {
        let opened = self.opened()?;
        let path = self.dir.file(SegmentFile::TimeIndex, self.base);
        let stored = self.time_index(&opened, &path)?;
        if let Some(scan) = self.behind(stored.below(time).doing("read", &path)?)? {
            return Ok(scan);
        }
        // The index is not this log's: the log gives another one.
        let rebuilt = self.rebuild(&opened.log, &opened.path, opened.len)?.time;
        *opened.time.lock() = Some(rebuilt.clone());
        match self.behind(rebuilt.below(time).doing("read", &path)?)? {
            Some(scan) => Ok(scan),
            None => self.scan_from(self.base),
        }
    }

    /// The batches behind the one that the entry describes, or all of them without an entry; `None` if the log has
    /// no such batch.
    fn behind(&self, entry: Option<TimeEntry>) -> Result<Option<BatchScan>> {
        let Some(entry) = entry else { return self.scan_from(self.base).map(Some) };
        let offset = self.base.saturating_add(entry.relative_offset.into());
        behind_time_entry(self.scan_from(offset), self.base, entry)
    }

    /// The time index as the file has it, or, if that is missing or no whole number of entries, as the log gives it.
    fn time_index(&self, opened: &Opened, path: &Path) -> Result<IndexView<TimeEntry>> {
        if let Some(index) = &*opened.time.lock() {
            return Ok(index.clone());
        }
        let index = match IndexView::of_file(self.view(SegmentFile::TimeIndex, opened.is_mapped), path)? {
            Some(stored) => stored,
            None => self.rebuild(&opened.log, &opened.path, opened.len)?.time,
        };
        *opened.time.lock() = Some(index.clone());
        Ok(index)
    }

    fn hint(&self, opened: &Opened, offset: Offset) -> Result<Option<OffsetEntry>> {
        if offset <= self.base {
            // It stands first.
            return Ok(None);
        }
        let relative = u32::try_from(offset.saturating_sub(self.base)).unwrap_or(u32::MAX);
        let found = opened.index.lock().floor(relative);
        found.doing("read", &self.dir.file(SegmentFile::OffsetIndex, self.base))
    }

    fn opened(&self) -> Result<Arc<Opened>> {
        let mut slot = self.opened.lock();
        let is_mapped = self.may_be_mapped();
        if let Some(opened) = slot.as_ref().filter(|opened| opened.is_mapped == is_mapped) {
            return Ok(Arc::clone(opened));
        }
        let path = self.dir.file(SegmentFile::Log, self.base);
        let log = self.view(SegmentFile::Log, is_mapped).doing("open", &path)?;
        let len = log.size().doing("measure", &path)?;
        let index = match self.stored_index(len, is_mapped)? {
            Some(index) => index,
            None => self.rebuild(&log, &path, len)?.offset,
        };
        let (index, time) = (Mutex::new(index), Mutex::new(None));
        let opened = Arc::new(Opened { log, path, is_mapped, len, index, time });
        Ok(Arc::clone(slot.insert(opened)))
    }

    /// The index file, unless it is missing or obviously not this log's.
    fn stored_index(&self, log_len: u64, is_mapped: bool) -> Result<Option<IndexView<OffsetEntry>>> {
        let path = self.dir.file(SegmentFile::OffsetIndex, self.base);
        let index = IndexView::of_file(self.view(SegmentFile::OffsetIndex, is_mapped), &path)?;
        let Some(index) = index else { return Ok(None) };
        Ok(index.fits(log_len).doing("read", &path)?.then_some(index))
    }

    /// Makes the indexes again from the log, in memory: the files of a sealed segment are not written.
    fn rebuild(&self, log: &FileView, path: &Path, len: u64) -> Result<Rebuilt> {
        let (mut offset, mut time, mut last) = (Vec::new(), Vec::new(), None);
        let mut indexer = SparseIndexer::new(self.base, self.index_interval, None);
        let mut take_time = |entry: Option<TimeEntry>| {
            if let Some(entry) = entry.filter(|entry| entry.rises_above(last)) {
                entry.write(&mut time);
                last = Some(entry);
            }
        };
        let mut scan = self.dir.scan(log.clone(), self.base, 0, len);
        while let Some(header) = scan.peek()? {
            let position = u32::try_from(scan.position()).unwrap_or(u32::MAX);
            if let Some(entries) = indexer.on_batch(&header, position) {
                entries.offset.write(&mut offset);
                take_time(entries.time);
            }
            scan.skip(&header);
        }
        take_time(indexer.newest());
        Ok(Rebuilt { offset: in_memory(offset, path)?, time: in_memory(time, path)? })
    }

    fn view(&self, file: SegmentFile, is_mapped: bool) -> io::Result<FileView> {
        let opened = self.dir.vfs.open(&self.dir.file(file, self.base), OpenMode::Read)?;
        if is_mapped { opened.map().map(FileView::Mapped) } else { Ok(FileView::Read(opened)) }
    }
}

/// The indexes as the log gives them.
struct Rebuilt {
    offset: IndexView<OffsetEntry>,
    time: IndexView<TimeEntry>,
}

fn in_memory<E: IndexEntry>(entries: Vec<u8>, log: &Path) -> Result<IndexView<E>> {
    let view = IndexView::new(FileView::Mapped(Bytes::from(entries))).doing("rebuild the index of", log)?;
    view.ok_or_else(|| Error::corrupt("an index was rebuilt to no whole number of entries").in_file(log))
}
