//! Reads a sealed segment once more, to see whether the disk still has what was written: a piece at a time.
//!
//! Nothing is changed, and nobody else's reading is: what is found is told.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Gap, Life, PartitionLog, wrong_epoch};
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::record_batch::BatchHeader;
use crate::segment::{BatchScan, Segment};
use crate::vfs::{FileView, OpenMode};

/// A sealed segment that is being read.
#[derive(Debug)]
pub struct SegmentScrub {
    log: Arc<PartitionLog>,
    life: Arc<Life>,
    /// Its offsets.
    offsets: Range<Offset>,
    path: PathBuf,
    scan: BatchScan,
    size: u64,
    /// The offset that is due.
    next: Offset,
    /// Whether the file system lets the page cache be passed.
    pub is_past_cache: bool,
    pub gaps: Vec<Gap>,
}

impl PartitionLog {
    /// The sealed segments below the proven end, each as its offsets.
    pub fn proven_segments(&self) -> Vec<Range<Offset>> {
        let proven = self.commit.state.lock().proven().offset;
        let segments = self.segments.read();
        let followed = segments.iter().zip(segments.iter().skip(1));
        let proven = followed.filter(|(segment, next)| {
            matches!(segment, Segment::Sealed(sealed) if sealed.is_durable() && next.base_offset() <= proven)
        });
        proven.map(|(segment, next)| segment.base_offset()..next.base_offset()).collect()
    }

    fn gap(&self, offsets: Range<Offset>, path: &Path, bytes: Range<u64>, error: Error) -> Gap {
        Gap::new((&self.context.topic, self.context.partition), offsets, path, bytes, error)
    }
}

impl SegmentScrub {
    /// Opens the log of a sealed segment; the error is that it cannot be.
    pub fn begin(log: &Arc<PartitionLog>, offsets: Range<Offset>) -> Result<Self, Gap> {
        let dir = &log.context.dir;
        let path = dir.file(SegmentFile::Log, offsets.start);
        let opened = dir.vfs().open(&path, OpenMode::Read).doing("open", &path);
        let opened = opened.and_then(|file| Ok((file.size().doing("measure", &path)?, file)));
        let (size, file) = opened.map_err(|error| log.gap(offsets.clone(), &path, 0..0, error))?;
        let view = match file.read_uncached_at(&mut [0], 0) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => FileView::Read(file),
            // What the disk cannot read is told where the scan comes upon it.
            _ => FileView::Uncached(file),
        };
        let is_past_cache = matches!(view, FileView::Uncached(_));
        let scan = dir.scan(view, offsets.start, 0, size);
        let (log, life, next) = (Arc::clone(log), log.life(), offsets.start);
        Ok(Self { log, life, offsets, path, scan, size, next, is_past_cache, gaps: Vec::new() })
    }

    /// Reads on for about so many bytes; returns how many it were, and whether the end was reached.
    pub fn advance(&mut self, bytes: u64) -> (u64, bool) {
        let from = self.scan.position();
        loop {
            let position = self.scan.position();
            let passed = position.saturating_sub(from);
            if passed >= bytes {
                return (passed, false);
            }
            match self.scan.peek() {
                Ok(Some(header)) if self.pass(&header, position) => {}
                Ok(Some(_)) => return (self.size.saturating_sub(from), true),
                Ok(None) => {
                    self.end(position);
                    return (passed, true);
                }
                Err(error) => {
                    self.give_up(position, error);
                    return (self.size.saturating_sub(from), true);
                }
            }
        }
    }

    /// Passes the next batch, whether it is whole or not; false where nobody knows any more where the one behind it begins.
    fn pass(&mut self, header: &BatchHeader, position: u64) -> bool {
        let (first, next) = (header.base_offset, header.next_offset());
        let bytes = position..position.saturating_add(header.size as u64);
        let checked = self.scan.check_whole(header);
        self.scan.skip(header);
        match checked {
            Ok(()) => {
                // The epoch lies outside the checksum, like the offset; that it is the one of this offset is known here.
                let known = self.life.epochs.at(first);
                if known.map(u32::cast_signed) != Some(header.leader_epoch) {
                    let what = wrong_epoch(header.leader_epoch, known);
                    self.note(first..next, bytes, Error::corrupt(what));
                }
            }
            Err(error) if error.is_corruption() && self.is_followed(next) => {
                self.note(first..next, bytes, error);
            }
            Err(error) => {
                self.give_up(position, error);
                return false;
            }
        }
        self.next = next;
        true
    }

    /// Whether the batch that follows stands where a damaged one has said.
    fn is_followed(&mut self, next: Offset) -> bool {
        match self.scan.peek() {
            Ok(Some(_)) => true,
            Ok(None) => next == self.offsets.end,
            Err(_) => false,
        }
    }

    fn end(&mut self, position: u64) {
        let may_lack = self.log.context.dir.may_lack(self.offsets.end.saturating_sub(1));
        if self.next < self.offsets.end && !may_lack {
            let what = "the segment ends before the offset at which the next one begins";
            self.note(self.next..self.offsets.end, position..position, Error::corrupt(what));
        }
    }

    /// What is behind a damaged header, or what the disk cannot read, is looked for by nobody.
    fn give_up(&mut self, position: u64, error: Error) {
        self.note(self.next..self.offsets.end, position..self.size, error);
    }

    fn note(&mut self, offsets: Range<Offset>, bytes: Range<u64>, error: Error) {
        // A topic that was deleted meanwhile has nothing any more.
        if self.log.check_readable().is_ok() {
            let offsets = offsets.start..offsets.end.min(self.offsets.end).max(offsets.start);
            self.gaps.push(self.log.gap(offsets, &self.path, bytes, error));
        }
    }
}
