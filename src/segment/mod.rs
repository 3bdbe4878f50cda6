//! One segment: the log file from a base offset on, with its sparse indexes.
//!
//! A segment is [`ActiveSegment`] while it takes batches, and [`SealedSegment`] for ever after: sealing consumes
//! the one and yields the other. The log file is the only authority; the indexes only say where to begin
//! looking, and a wrong one costs time and never changes an answer. Nothing here knows other segments, syncs a
//! directory, or takes a lock of the partition.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![deny(clippy::little_endian_bytes, clippy::host_endian_bytes)]

mod active;
mod entry;
mod index;
mod next;
mod resume;
mod roll;
mod scan;
mod sealed;
mod sparse;
#[cfg(test)]
mod tests;
mod transaction_index;
mod unsynced;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{Offset, Timestamp};
use crate::vfs::{EntryKind, FileView, LazyFile, OpenMode, Vfs};

pub use active::{ActiveReader, ActiveSegment, Finished};
pub use entry::{IndexEntry, OffsetEntry, TimeEntry};
pub use index::IndexView;
pub use next::NextLog;
pub use resume::StoredIndexes;
pub use scan::BatchScan;
pub use sealed::SealedSegment;
pub use transaction_index::AbortedTransaction;
pub use unsynced::Unsynced;

/// The directory of a partition, where segments live.
#[derive(Clone, Debug)]
pub struct SegmentDir {
    vfs: Arc<dyn Vfs>,
    path: Arc<Path>,
    /// Whether files that can no longer change are mapped.
    maps: bool,
    /// Where what a Kafka broker has written ends.
    kafka_end: Offset,
    /// Below it compaction may have left gaps.
    gaps_below: Offset,
}

impl SegmentDir {
    pub fn new(vfs: Arc<dyn Vfs>, path: &Path, maps: bool) -> Self {
        Self { vfs, path: path.into(), maps, kafka_end: 0, gaps_below: 0 }
    }

    /// The log of a partition that a Kafka broker wrote up to `end`: below it compaction may have left gaps, and there may
    /// be transactions. Elsewhere a batch that does not follow on the one before it was damaged, or another is missing.
    #[must_use]
    pub fn with_kafka_end(mut self, end: Offset) -> Self {
        self.kafka_end = end;
        self.gaps_below = end;
        self
    }

    /// Of such a partition, where compaction has come to: only below it there may be gaps. (Kafka keeps that in
    /// `cleaner-offset-checkpoint`; a partition that is not there was never compacted.)
    /// The suites hold Kafka's files to it; an adoption does not.
    #[must_use]
    #[cfg(feature = "test-util")]
    pub fn with_gaps_below(mut self, end: Offset) -> Self {
        self.gaps_below = end.min(self.kafka_end);
        self
    }

    pub fn kafka_end(&self) -> Offset {
        self.kafka_end
    }

    /// Whether it is no damage if no batch holds the offset.
    pub fn may_lack(&self, offset: Offset) -> bool {
        offset < self.gaps_below
    }

    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file of a segment.
    pub fn file(&self, file: SegmentFile, base: Offset) -> PathBuf {
        self.path.join(file.name(base))
    }

    /// The batches of the log of the segment at `base`, from the one at `position` on; see [`BatchScan::new`].
    pub fn scan(&self, log: FileView, base: Offset, position: u64, limit: u64) -> BatchScan {
        let path = self.file(SegmentFile::Log, base);
        BatchScan::new(log, &path, base, position, limit).with_gaps_below(self.gaps_below)
    }

    /// Every batch of the log of the segment at `base`, by its file alone.
    pub fn scan_all(&self, base: Offset) -> Result<BatchScan> {
        let path = self.file(SegmentFile::Log, base);
        let log = self.vfs.open(&path, OpenMode::Read).doing("open", &path)?;
        let size = log.size().doing("measure", &path)?;
        Ok(self.scan(FileView::Read(log), base, 0, size))
    }

    fn lazy(&self, file: SegmentFile, base: Offset, how: OpenMode) -> LazyFile {
        LazyFile::new(&self.vfs, self.file(file, base), how)
    }
}

/// The base offsets of the segments in a directory, rising.
pub fn segment_bases(dir: &SegmentDir) -> Result<Vec<Offset>> {
    let entries = dir.vfs.read_dir(&dir.path).doing("list", &dir.path)?;
    let mut bases = Vec::new();
    for entry in entries {
        let Some((SegmentFile::Log, base)) = SegmentFile::parse(&entry.name) else { continue };
        if entry.kind != EntryKind::File {
            return Err(
                Error::corrupt("a segment is not a regular file").in_file(&dir.path.join(&entry.name))
            );
        }
        bases.push(base);
    }
    bases.sort_unstable();
    Ok(bases)
}

/// What a reader sees of a segment.
#[derive(Clone, Debug)]
pub enum Segment {
    Active(Arc<ActiveReader>),
    Sealed(Arc<SealedSegment>),
}

impl Segment {
    pub fn base_offset(&self) -> Offset {
        match self {
            Self::Active(segment) => segment.base_offset(),
            Self::Sealed(segment) => segment.base_offset(),
        }
    }

    /// Closes the files that nobody reads at this moment; the next reader opens them again. Of an active segment the log
    /// MUST hold nothing unsynced. False if somebody is opening one.
    pub fn release(&self) -> Result<bool> {
        match self {
            Self::Active(segment) => segment.release(),
            Self::Sealed(segment) => Ok(segment.release()),
        }
    }

    /// The batches from the one that holds `offset` on, or the next one where compaction left a gap.
    ///
    /// An active segment is read up to `limit`, the position behind its last published batch; a sealed one to
    /// its end.
    pub fn scan_from(&self, offset: Offset, limit: u64) -> Result<BatchScan> {
        match self {
            Self::Active(segment) => segment.scan_from(offset, limit),
            Self::Sealed(segment) => segment.scan_from(offset),
        }
    }

    /// The batches from one on before which no record has a timestamp of `time` or later. The limit is that of
    /// [`scan_from`](Self::scan_from).
    pub fn scan_from_time(&self, time: Timestamp, limit: u64) -> Result<BatchScan> {
        match self {
            Self::Active(segment) => segment.scan_from_time(time, limit),
            Self::Sealed(segment) => segment.scan_from_time(time),
        }
    }
}
