//! The leader epochs of what Kafka has written, held to its checkpoint before anything is taken over.
//!
//! Our readers hold each batch to the epoch of its offset, so that one with another epoch could not be read once the
//! directory is ours. Of segments of which nothing else has to be read the headers are: a pass over them all, which
//! neither decompresses nor computes checksums.

use crate::error::{Error, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::partition_log::EpochCheck;
use crate::record_batch::BatchHeader;
use crate::segment::SegmentDir;

/// Where a batch stands: the base of its segment, and a position in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    base: Offset,
    position: u64,
}

/// Reads the headers of segments that lie one behind the other; `next` is where the one behind them begins, if there is one.
pub fn take_headers(
    dir: &SegmentDir,
    bases: &[Offset],
    next: Option<Offset>,
    epochs: &mut EpochCheck<Place>,
) -> Result<()> {
    let nexts = bases.iter().skip(1).copied().map(Some).chain([next]);
    for (base, next) in bases.iter().copied().zip(nexts) {
        let mut scan = dir.scan_all(base)?;
        while let Some(header) = scan.peek().map_err(damage)? {
            take(dir, base, scan.position(), &header, epochs)?;
            if let Some(next) = next.filter(|next| header.next_offset() > *next) {
                let (first, last) = (header.base_offset, header.last_offset());
                let what = format!(
                    "a batch with the offsets {first} to {last} reaches into the next segment, which begins at {next}"
                );
                return Err(damage(scan.place(Error::corrupt(what).at_offset(first))));
            }
            scan.skip(&header);
        }
    }
    Ok(())
}

/// Takes note of a batch, at a position of its segment's log.
pub fn take(
    dir: &SegmentDir,
    base: Offset,
    position: u64,
    header: &BatchHeader,
    epochs: &mut EpochCheck<Place>,
) -> Result<()> {
    let taken = epochs.take(header.base_offset, header.leader_epoch, Place { base, position });
    taken.map_err(|wrong| {
        Error::corrupt(wrong.what())
            .at_offset(wrong.first)
            .in_file(&dir.file(SegmentFile::Log, wrong.place.base))
            .at_position(wrong.place.position)
            .advise(
                "nothing was changed; restore the file from a copy, or salvage the directory, which keeps the records, \
                 with the epoch of their offset",
            )
    })
}

/// What is to be said of epochs that the checkpoint lacks.
pub fn notes(epochs: &EpochCheck<Place>) -> impl Iterator<Item = String> + '_ {
    epochs.newer().iter().map(|newer| {
        format!(
            "from offset {} on batches have the leader epoch {}, which leader-epoch-checkpoint lacks: it was taken over",
            newer.start, newer.epoch
        )
    })
}

fn damage(error: Error) -> Error {
    error.advise("nothing was changed; restore the file from a copy, or salvage the directory")
}
