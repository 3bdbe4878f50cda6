//! Gives batches the leader epoch that Kafka had when the partition was adopted: Kafka takes one above its own for a sign
//! of another leader, and drops what contradicts it from its checkpoint. The field lies outside the checksum.

use crate::broker::manifest::AdoptedEnd;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{LeaderEpoch, Offset};
use crate::partition_log::LeaderEpochs;
use crate::record_batch::LEADER_EPOCH_FIELD;
use crate::segment::{SegmentDir, segment_bases};
use crate::vfs::{FileView, OpenMode, write_all_at};

/// Restamps every batch behind what Kafka has written, durably, and the checkpoint of the epochs; returns how many batches
/// had another one. Doing it again changes nothing.
pub fn restamp(dir: &SegmentDir, adopted: AdoptedEnd) -> Result<u64> {
    let epoch = adopted.epoch.unwrap_or_default();
    let bases = segment_bases(dir)?;
    let ours = bases.into_iter().filter(|base| *base >= adopted.offset);
    let restamped = ours.map(|base| restamp_segment(dir, base, epoch)).sum::<Result<u64>>()?;
    let (vfs, path) = (dir.vfs().as_ref(), dir.path());
    if let Some(epochs) = LeaderEpochs::read(vfs, path)? {
        epochs.capped_at(epoch).stage(vfs, path)?;
        LeaderEpochs::commit(vfs, path)?;
    }
    Ok(restamped)
}

/// Whether what lies behind Kafka's part is whole, batch by batch, and nothing is missing between.
pub fn check(dir: &SegmentDir, adopted: AdoptedEnd) -> Result<()> {
    let mut next = adopted.offset;
    for base in segment_bases(dir)?.into_iter().filter(|base| *base >= adopted.offset) {
        if base != next {
            let what = format!("a segment begins at {base}, and the log before it ends at {next}");
            let path = dir.file(SegmentFile::Log, base);
            return Err(Error::corrupt(what).in_file(&path).advise(UNCHANGED));
        }
        let mut scan = dir.scan_all(base)?;
        while let Some(header) = scan.next_whole().map_err(|error| error.advise(UNCHANGED))? {
            next = header.next_offset();
        }
    }
    Ok(())
}

const UNCHANGED: &str = "nothing was changed; salvaging the directory copies what is sound into a new one";

fn restamp_segment(dir: &SegmentDir, base: Offset, epoch: LeaderEpoch) -> Result<u64> {
    let path = dir.file(SegmentFile::Log, base);
    let log = dir.vfs().open(&path, OpenMode::Write).doing("open", &path)?;
    let size = log.size().doing("measure", &path)?;
    let mut scan = dir.scan(FileView::Read(log.clone()), base, 0, size);
    let epoch = epoch.cast_signed();
    let mut restamped = 0;
    while let Some(header) = scan.peek()? {
        if header.leader_epoch != epoch {
            let position = scan.position().saturating_add(LEADER_EPOCH_FIELD.start as u64);
            write_all_at(log.as_ref(), &epoch.to_be_bytes(), position).doing("write", &path)?;
            restamped += 1;
        }
        scan.skip(&header);
    }
    // Also where nothing is left to be done: an attempt before may have come as far as the writing.
    log.sync_data().doing("sync", &path)?;
    Ok(restamped)
}
