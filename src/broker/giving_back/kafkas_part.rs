//! What Kafka has written of the partitions, before it gets them back: that nothing of it is gone.

use std::path::Path;
use std::sync::Arc;

use super::each_partition;
use crate::broker::kafka_evidence::{KafkaEvidence, losses_between};
use crate::broker::losses::{SegmentNames, Weight};
use crate::broker::manifest::Manifest;
use crate::ends_file::{self, newest_of};
use crate::error::{Error, IoContext, Result};
use crate::file_name::{ENDS, SegmentFile};
use crate::model::Offset;
use crate::segment::SegmentDir;
use crate::vfs::Vfs;

const UNCHANGED: &str =
    "nothing was changed; restore the file from a copy, or salvage what is sound into a new directory";

/// Fails if a segment is gone that was there at the adoption. Reads names and lengths, and the end of each log.
pub fn check(vfs: &Arc<dyn Vfs>, root: &Path, manifest: &Manifest) -> Result<()> {
    let places = ends_file::read(vfs.as_ref(), root).map_err(|error| error.advise(UNCHANGED))?;
    let ends = newest_of(&places);
    let evidence = KafkaEvidence::readable(vfs.as_ref(), root, true).0;
    each_partition(vfs, root, manifest, |dir, (name, owner), adopted| {
        let Some(proven) = ends.get(&owner) else {
            let what = "the ends file says nothing of the partition";
            return Err(Error::corrupt(what).in_file(&root.join(ENDS)).advise(UNCHANGED));
        };
        if let Some(segments) =
            manifest.topics.get(name).and_then(|entry| entry.segments.get(&owner.partition))
        {
            segments.require(dir, proven.log_start).map_err(|error| error.advise(UNCHANGED))?;
        }
        let cleaned = evidence.of(name, owner.partition).cleaned;
        check_partition(dir, proven.log_start, adopted.offset, cleaned)
    })
}

fn check_partition(dir: &SegmentDir, start: Offset, end: Offset, cleaned: Offset) -> Result<()> {
    let entries = dir.vfs().read_dir(dir.path()).doing("list", dir.path())?;
    let names = SegmentNames::of(&entries);
    if names.logs.first().is_none_or(|first| *first > start) {
        let file = dir.file(SegmentFile::Log, start);
        let error = Error::corrupt("the first segment is missing").at_offset(start).in_file(&file);
        return Err(error.advise(UNCHANGED));
    }
    let mut losses = names.lost_logs(start, end);
    losses.extend(losses_between(dir, &names, end, Offset::MAX, cleaned));
    match losses.iter().find(|loss| loss.weight == Weight::Proven) {
        None => Ok(()),
        Some(loss) => {
            let file = dir.file(SegmentFile::Log, loss.segment(end));
            let error = Error::corrupt(loss.to_string()).at_offset(loss.offsets.start).in_file(&file);
            Err(error.advise(UNCHANGED))
        }
    }
}
