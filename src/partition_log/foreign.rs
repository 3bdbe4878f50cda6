//! A partition that a Kafka broker has left, for the project's own suites: read where it lies, whole or damaged.

use std::sync::Arc;

use super::log::{LastStop, PartitionLog};
use super::{LeaderEpochs, LogContext};
use crate::checkpoint;
use crate::ends_file::ProvenEnd;
use crate::error::{Error, IoContext, Result};
use crate::model::Offset;
use crate::segment::{SealedSegment, SegmentDir, segment_bases};
use crate::vfs::read_file;

impl PartitionLog {
    /// Opens the partition in a directory in the place of this one, in which nothing is written then. It ends where its
    /// last segment does.
    pub fn instead(&self, dir: SegmentDir) -> Result<Arc<Self>> {
        let bases = segment_bases(&dir)?;
        let (Some(first), Some(last)) = (bases.first(), bases.last()) else {
            return Err(Error::corrupt("the partition has no segment").in_file(dir.path()));
        };
        let (offset, position) = end_of(&dir, *last)?;
        let epochs = LeaderEpochs::load(dir.vfs().as_ref(), dir.path(), offset)?;
        let proven =
            ProvenEnd { generation: 1, log_start: *first, segment: *last, offset, position, log_end: offset };
        let gaps_below = compacted_below(&dir)?;
        let dir = dir.with_kafka_end(offset).with_gaps_below(gaps_below);
        let context = LogContext { dir, ..self.context.clone() };
        Self::open(context, proven, epochs, LastStop::Clean)
    }
}

/// Where compaction has come to, by the checkpoint beside the partition.
fn compacted_below(dir: &SegmentDir) -> Result<Offset> {
    let (root, name) = (dir.path().parent(), dir.path().file_name());
    let path = root.unwrap_or(dir.path()).join("cleaner-offset-checkpoint");
    let bytes = read_file(dir.vfs().as_ref(), &path, 1024 * 1024).doing("read", &path)?;
    if bytes.is_empty() {
        return Ok(0);
    }
    let entries = checkpoint::decode(&bytes, |line| {
        let (partition, offset) = line.rsplit_once(' ')?;
        Some((partition.replace(' ', "-"), offset.parse().ok()?))
    })?;
    let name = name.unwrap_or_default().to_string_lossy();
    Ok(entries.iter().find(|(partition, _)| *partition == name).map_or(0, |(_, offset)| *offset))
}

/// Where the last segment ends.
fn end_of(dir: &SegmentDir, base: Offset) -> Result<(Offset, u64)> {
    let dir = dir.clone().with_kafka_end(Offset::MAX).with_gaps_below(compacted_below(dir)?);
    let mut scan = SealedSegment::new(dir, base, 0).scan_from(base)?;
    let mut end = base;
    while let Some(header) = scan.peek()? {
        end = header.next_offset();
        scan.skip(&header);
    }
    Ok((end, scan.position()))
}
