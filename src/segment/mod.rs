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
#[cfg_attr(not(test), expect(dead_code, reason = "the next change reads it"))]
mod transaction_index;
mod unsynced;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{Offset, Timestamp};
use crate::vfs::{EntryKind, LazyFile, OpenMode, Vfs};

pub use active::{ActiveReader, ActiveSegment, Finished};
pub use next::NextLog;
pub use resume::StoredIndexes;
pub use scan::BatchScan;
pub use sealed::SealedSegment;
#[expect(unused_imports, reason = "the next change reads it")]
pub use transaction_index::AbortedTransaction;
pub use unsynced::Unsynced;

/// The directory of a partition, where segments live.
#[derive(Clone, Debug)]
pub struct SegmentDir {
    vfs: Arc<dyn Vfs>,
    path: Arc<Path>,
    /// Whether files that can no longer change are mapped.
    maps: bool,
}

impl SegmentDir {
    pub fn new(vfs: Arc<dyn Vfs>, path: &Path, maps: bool) -> Self {
        Self { vfs, path: path.into(), maps }
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
