//! A segment that no longer changes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::SegmentDir;
use super::entry::{IndexEntry, OffsetEntry};
use super::index::IndexView;
use super::scan::{BatchScan, scan_from_hint};
use super::sparse::SparseIndexer;
use crate::error::{IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::sync::Mutex;
use crate::vfs::{FileView, OpenMode};

/// A sealed segment: opened, and mapped where maps are on, when it is first read.
#[derive(Debug)]
pub struct SealedSegment {
    dir: SegmentDir,
    base: Offset,
    index_interval: u64,
    opened: Mutex<Option<Arc<Opened>>>,
}

#[derive(Debug)]
struct Opened {
    log: FileView,
    path: PathBuf,
    len: u64,
    index: Mutex<IndexView<OffsetEntry>>,
}

impl SealedSegment {
    pub fn new(dir: SegmentDir, base: Offset, index_interval: u64) -> Self {
        Self { dir, base, index_interval, opened: Mutex::new(None) }
    }

    pub fn base_offset(&self) -> Offset {
        self.base
    }

    /// Closes its files, unless they are mapped: a map needs no descriptor. False if somebody is opening them.
    pub fn release(&self) -> bool {
        self.dir.maps || self.opened.try_lock().map(|mut opened| opened.take()).is_some()
    }

    /// The batches from the one that holds `offset` on.
    pub fn scan_from(&self, offset: Offset) -> Result<BatchScan> {
        let opened = self.opened()?;
        let hint = self.hint(&opened, offset)?;
        let scan =
            |hint| scan_from_hint(opened.log.clone(), &opened.path, opened.len, self.base, hint, offset);
        match scan(hint)? {
            Some(scan) => Ok(scan),
            None => {
                // The index is not this log's: the log gives another one.
                *opened.index.lock() = self.rebuild(&opened.log, &opened.path, opened.len)?;
                match scan(self.hint(&opened, offset)?)? {
                    Some(scan) => Ok(scan),
                    None => Ok(BatchScan::new(opened.log.clone(), &opened.path, self.base, 0, opened.len)),
                }
            }
        }
    }

    fn hint(&self, opened: &Opened, offset: Offset) -> Result<Option<OffsetEntry>> {
        let relative = u32::try_from(offset.saturating_sub(self.base)).unwrap_or(u32::MAX);
        let found = opened.index.lock().floor(relative);
        found.doing("read", &self.dir.file(SegmentFile::OffsetIndex, self.base))
    }

    fn opened(&self) -> Result<Arc<Opened>> {
        let mut slot = self.opened.lock();
        if let Some(opened) = &*slot {
            return Ok(Arc::clone(opened));
        }
        let path = self.dir.file(SegmentFile::Log, self.base);
        let log = self.view(SegmentFile::Log).doing("open", &path)?;
        let len = log.size().doing("measure", &path)?;
        let index = match self.stored_index(len)? {
            Some(index) => index,
            None => self.rebuild(&log, &path, len)?,
        };
        let opened = Arc::new(Opened { log, path, len, index: Mutex::new(index) });
        Ok(Arc::clone(slot.insert(opened)))
    }

    /// The index file, unless it is missing or obviously not this log's.
    fn stored_index(&self, log_len: u64) -> Result<Option<IndexView<OffsetEntry>>> {
        let path = self.dir.file(SegmentFile::OffsetIndex, self.base);
        let index = IndexView::of_file(self.view(SegmentFile::OffsetIndex), &path)?;
        let Some(index) = index else { return Ok(None) };
        Ok(index.fits(log_len).doing("read", &path)?.then_some(index))
    }

    /// Makes the index again from the log, in memory: the files of a sealed segment are not written.
    fn rebuild(&self, log: &FileView, path: &std::path::Path, len: u64) -> Result<IndexView<OffsetEntry>> {
        let mut bytes = Vec::new();
        let mut indexer = SparseIndexer::new(self.base, self.index_interval, None);
        let mut scan = BatchScan::new(log.clone(), path, self.base, 0, len);
        while let Some(header) = scan.peek()? {
            let position = u32::try_from(scan.position()).unwrap_or(u32::MAX);
            if let Some(entries) = indexer.on_batch(&header, position) {
                entries.offset.write(&mut bytes);
            }
            scan.skip(&header);
        }
        let view =
            IndexView::new(FileView::Mapped(Bytes::from(bytes))).doing("rebuild the index of", path)?;
        view.ok_or_else(|| crate::error::Error::corrupt("an index was rebuilt to no whole number of entries"))
    }

    fn view(&self, file: SegmentFile) -> io::Result<FileView> {
        let opened = self.dir.vfs.open(&self.dir.file(file, self.base), OpenMode::Read)?;
        if self.dir.maps { opened.map().map(FileView::Mapped) } else { Ok(FileView::Read(opened)) }
    }
}
