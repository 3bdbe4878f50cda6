//! Kafka's producer snapshots in a partition's directory: a log that was closed in order has to have one.
//!
//! Kafka takes a log without any for one without producers, and would forget those whose batches it holds; with one it
//! reads on from there. What Kafka has written stays as it is: nothing of ours has a producer id.

use std::io;

use crate::error::{IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::producer_snapshot::ProducerSnapshot;
use crate::segment::SegmentDir;
use crate::vfs::{DirEntry, EntryKind, read_file, replace_file};

/// More is no snapshot: it takes 46 bytes a producer.
const MAX_LEN: u64 = 256 * 1024 * 1024;

/// The offsets of the snapshots that are there, rising.
pub fn offsets(entries: &[DirEntry]) -> Vec<Offset> {
    let offset = |entry: &DirEntry| match SegmentFile::parse(&entry.name) {
        Some((SegmentFile::ProducerSnapshot, offset)) if entry.kind == EntryKind::File => Some(offset),
        _ => None,
    };
    let mut offsets: Vec<_> = entries.iter().filter_map(offset).collect();
    offsets.sort_unstable();
    offsets
}

/// What the one at `offset` says; `None` if it cannot be read: then an older one, and the log, tell as well.
pub fn read(dir: &SegmentDir, offset: Offset) -> Result<Option<ProducerSnapshot>> {
    let path = dir.file(SegmentFile::ProducerSnapshot, offset);
    match read_file(dir.vfs().as_ref(), &path, MAX_LEN) {
        Ok(bytes) => Ok(ProducerSnapshot::decode(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error).doing("read", &path),
    }
}

/// Writes one that says that before `offset` there are no producers, durably.
pub fn write_empty(dir: &SegmentDir, offset: Offset) -> Result<()> {
    let name = SegmentFile::ProducerSnapshot.name(offset);
    let bytes = ProducerSnapshot::default().encode();
    replace_file(dir.vfs().as_ref(), dir.path(), &name, &bytes).doing("write", &dir.path().join(&name))
}
