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
        let scan = |position| dir.scan(FileView::Read(log.clone()), base, position, size);
        let first = scan(0).peek()?;
        let first_timestamp = first.map(|first| first.max_timestamp).filter(|timestamp| *timestamp >= 0);

        if let Some(stored) = stored_indexes(dir, base, size, indexes)? {
            let taken_over = Some((stored.offset, stored.time));
            let contents = Contents { size, first_timestamp, indexes: taken_over };
            let mut segment = Self::over(dir, base, config, now, contents);
            if stored.describe(scan(stored.from), base, |header| segment.pass(header))? {
                return Ok(segment);
            }
        }
        let contents = Contents { size, first_timestamp, indexes: None };
        let mut segment = Self::over(dir, base, config, now, contents);
        let mut batches = scan(0);
        while let Some(header) = batches.peek()? {
            segment.note(&header, batches.position());
            batches.skip(&header);
        }
        Ok(segment)
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

/// What the index files say.
struct Stored {
    offset: Written<OffsetEntry>,
    time: Written<TimeEntry>,
    /// Where, by the offset index, a batch begins before which nothing has to be looked at: the last one that has an
    /// entry, or the one with the greatest timestamp, whichever comes first.
    from: u64,
}

impl Stored {
    /// Visits the headers from `from` to the end of the file, which must be the end of a batch; false if they are not
    /// those that the indexes describe. A time index that lacks its last entries would hide records of their times once
    /// others stand behind it.
    fn describe(
        &self,
        mut scan: BatchScan,
        base: Offset,
        mut visit: impl FnMut(&BatchHeader),
    ) -> Result<bool> {
        let (mut offset_is_there, mut time_is_there) = (self.offset.last.is_none(), self.time.last.is_none());
        loop {
            let header = match scan.peek() {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(offset_is_there && time_is_there),
                Err(error) if error.io_error().is_some() => return Err(error),
                // Reading from the beginning tells whether it is the log.
                Err(_) => return Ok(false),
            };
            let newest = self.time.last.map(|last| last.timestamp);
            if newest.is_some_and(|newest| header.max_timestamp > newest) {
                return Ok(false);
            }
            let is_at = |relative: u32| base.saturating_add(relative.into()) == header.last_offset();
            offset_is_there |= self.offset.last.is_some_and(|last| {
                is_at(last.relative_offset) && u64::from(last.position) == scan.position()
            });
            time_is_there |= self
                .time
                .last
                .is_some_and(|last| is_at(last.relative_offset) && last.timestamp == header.max_timestamp);
            visit(&header);
            scan.skip(&header);
        }
    }
}

/// What the index files say; `None` if they are not to be trusted or missing, or cannot belong to a log of this size.
fn stored_indexes(
    dir: &SegmentDir,
    base: Offset,
    size: u64,
    indexes: StoredIndexes,
) -> Result<Option<Stored>> {
    if indexes == StoredIndexes::Rebuilt {
        return Ok(None);
    }
    let offset = stored::<OffsetEntry>(dir, SegmentFile::OffsetIndex, base)?;
    let time = stored::<TimeEntry>(dir, SegmentFile::TimeIndex, base)?;
    let (Some(offset_index), Some(time_index)) = (offset, time) else { return Ok(None) };
    let path = dir.file(SegmentFile::OffsetIndex, base);
    let fits = offset_index.fits(size).doing("read", &path)?;
    let offset = written(&offset_index).doing("read", &path)?;
    let time = written(&time_index).doing("read", &path)?;
    // An orderly stop leaves the greatest timestamp in the time index.
    let timed = size == 0 || time.last.is_some_and(|last| last.timestamp >= 0);
    let before_newest = match time.last {
        Some(last) => offset_index.floor(last.relative_offset).doing("read", &path)?,
        None => None,
    };
    let position = |entry: Option<OffsetEntry>| entry.map_or(0, |entry| entry.position.into());
    let from = position(offset.last).min(position(before_newest));
    Ok((fits && timed).then_some(Stored { offset, time, from }))
}

fn stored<E: IndexEntry>(dir: &SegmentDir, file: SegmentFile, base: Offset) -> Result<Option<IndexView<E>>> {
    let path = dir.file(file, base);
    IndexView::of_file(dir.vfs.open(&path, OpenMode::Read).map(FileView::Read), &path)
}

fn written<E: IndexEntry>(view: &IndexView<E>) -> io::Result<Written<E>> {
    Ok(Written { count: view.count(), last: view.last()? })
}
