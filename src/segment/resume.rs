//! Taking over the last segment of a partition that was closed in order.

use std::io;

use super::SegmentDir;
use super::active::{ActiveSegment, Contents};
use super::entry::{IndexEntry, OffsetEntry, TimeEntry};
use super::index::{IndexView, Written};
use super::scan::BatchScan;
use crate::config::TopicConfig;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{Offset, Timestamp};
use crate::record_batch::BatchHeader;
use crate::vfs::{FileView, OpenMode};

impl ActiveSegment {
    /// Opens the segment at the end of a partition that was closed in order, or recovered: its file ends where
    /// its last batch ends. Indexes that are missing or do not fit are made again from the log.
    /// Writes nothing.
    pub fn open(
        dir: &SegmentDir,
        base: Offset,
        config: &TopicConfig,
        now: Timestamp,
        indexes: StoredIndexes,
    ) -> Result<Self> {
        let path = dir.file(SegmentFile::Log, base);
        let log = dir.vfs.open(&path, OpenMode::Read).doing("open", &path)?;
        let size = log.size().doing("measure", &path)?;
        if size > MAX_SIZE {
            return Err(Error::corrupt("a segment is larger than 2^31 − 1 bytes").in_file(&path));
        }
        let scan = |position| BatchScan::new(FileView::Read(log.clone()), &path, base, position, size);
        let first = scan(0).peek()?;
        let first_timestamp = first.map(|first| first.max_timestamp).filter(|timestamp| *timestamp >= 0);

        let stored = match indexes {
            StoredIndexes::Trusted => stored_indexes(dir, base, size)?,
            StoredIndexes::Rebuilt => None,
        };
        match stored {
            Some((offset_index, time_index))
                if fits(&mut scan(position(&offset_index)), base, &offset_index) =>
            {
                let contents = Contents { size, first_timestamp, indexes: Some((offset_index, time_index)) };
                let mut segment = Self::over(dir, base, config, now, contents);
                walk(scan(position(&offset_index)), |header, _| segment.pass(header))?;
                Ok(segment)
            }
            _ => {
                let contents = Contents { size, first_timestamp, indexes: None };
                let mut segment = Self::over(dir, base, config, now, contents);
                walk(scan(0), |header, position| segment.note(header, position))?;
                Ok(segment)
            }
        }
    }
}

/// What is made of the index files that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredIndexes {
    /// They are taken over if they fit the log: after an orderly stop.
    Trusted,
    /// They are made again from the log: after an unclean stop they may say anything.
    Rebuilt,
}

const MAX_SIZE: u64 = i32::MAX as u64;

/// Visits the headers up to the end of the file, which must be the end of a batch.
fn walk(mut scan: BatchScan, mut visit: impl FnMut(&BatchHeader, u64)) -> Result<()> {
    while let Some(header) = scan.peek()? {
        visit(&header, scan.position());
        scan.skip(&header);
    }
    Ok(())
}

type Stored = (Written<OffsetEntry>, Written<TimeEntry>);

/// What the index files say; `None` if they are missing, or cannot belong to a log of this size.
fn stored_indexes(dir: &SegmentDir, base: Offset, size: u64) -> Result<Option<Stored>> {
    let offset = stored::<OffsetEntry>(dir, SegmentFile::OffsetIndex, base)?;
    let time = stored::<TimeEntry>(dir, SegmentFile::TimeIndex, base)?;
    let (Some(offset), Some(time)) = (offset, time) else { return Ok(None) };
    let path = dir.file(SegmentFile::OffsetIndex, base);
    let fits = offset.fits(size).doing("read", &path)?;
    let (offset, time) = (written(&offset).doing("read", &path)?, written(&time).doing("read", &path)?);
    // An orderly stop leaves the greatest timestamp in the time index.
    let timed = size == 0 || time.last.is_some_and(|last| last.timestamp >= 0);
    Ok((fits && timed).then_some((offset, time)))
}

fn stored<E: IndexEntry>(dir: &SegmentDir, file: SegmentFile, base: Offset) -> Result<Option<IndexView<E>>> {
    let path = dir.file(file, base);
    IndexView::of_file(dir.vfs.open(&path, OpenMode::Read).map(FileView::Read), &path)
}

fn written<E: IndexEntry>(view: &IndexView<E>) -> io::Result<Written<E>> {
    Ok(Written { count: view.count(), last: view.last()? })
}

fn position(index: &Written<OffsetEntry>) -> u64 {
    index.last.map_or(0, |last| last.position.into())
}

/// True if the last entry describes the batch at which the scan stands.
fn fits(scan: &mut BatchScan, base: Offset, index: &Written<OffsetEntry>) -> bool {
    let Some(last) = index.last else { return true };
    let described = base.saturating_add(last.relative_offset.into());
    matches!(scan.peek(), Ok(Some(header)) if header.last_offset() == described)
}
