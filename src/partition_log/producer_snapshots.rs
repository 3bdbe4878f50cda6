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

/// The newest that can be read and is not from behind `end`, with its offset. What it tells was true when the log ended
/// there, and what lies below has not changed since; one from behind the end tells of what was lost.
pub fn newest(dir: &SegmentDir, end: Offset) -> Result<Option<(Offset, ProducerSnapshot)>> {
    let entries = dir.vfs().read_dir(dir.path()).doing("list", dir.path())?;
    for offset in offsets(&entries).into_iter().rev().filter(|offset| *offset <= end) {
        if let Some(snapshot) = read(dir, offset)? {
            return Ok(Some((offset, snapshot)));
        }
    }
    Ok(None)
}

/// Writes one that says that before `offset` there are no producers, durably.
pub fn write_empty(dir: &SegmentDir, offset: Offset) -> Result<()> {
    let name = SegmentFile::ProducerSnapshot.name(offset);
    let bytes = ProducerSnapshot::default().encode();
    replace_file(dir.vfs().as_ref(), dir.path(), &name, &bytes).doing("write", &dir.path().join(&name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::producer_snapshot::ProducerState;
    use crate::vfs::{MemoryVfs, Vfs};

    #[test]
    fn the_newest_snapshot_below_the_end_tells_most() {
        let (vfs, root) = (MemoryVfs::new(), Path::new("/t-0"));
        vfs.create_dir(root).unwrap();
        let dir = SegmentDir::new(Arc::new(vfs.clone()), root, false);
        assert_eq!(newest(&dir, 30).unwrap(), None);
        let of = |producer| ProducerSnapshot { producers: vec![ProducerState::new(producer, 0)] };
        let put = |name: &str, bytes: &[u8]| replace_file(&vfs, root, name, bytes).unwrap();
        for offset in [10, 30, 20] {
            put(&SegmentFile::ProducerSnapshot.name(offset), &of(offset.cast_signed()).encode());
        }
        for other in ["00000000000000000015.txnindex", "00000000000000000025.snapshot.deleted"] {
            put(other, &of(1).encode());
        }
        assert_eq!(newest(&dir, 30).unwrap(), Some((30, of(30))));
        assert_eq!(newest(&dir, 29).unwrap(), Some((20, of(20))), "30 tells of records that were lost");
        assert_eq!(newest(&dir, 9).unwrap(), None);
        put(&SegmentFile::ProducerSnapshot.name(20), b"damaged");
        assert_eq!(newest(&dir, 29).unwrap(), Some((10, of(10))), "the one before it tells as well");
    }
}
