//! Copies a partition's files for Kafka, and compares the copy with what it was made of.

use std::path::Path;

use super::report::HandedOver;
use super::source::SourcePartition;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{LeaderEpoch, Offset};
use crate::partition_log::{LeaderEpochs, producer_snapshots};
use crate::record_batch::LEADER_EPOCH_FIELD;
use crate::segment::{SegmentDir, segment_bases};
use crate::vfs::{FileView, OpenMode, Vfs, write_all_at};

/// So much is written at once.
const PIECE: usize = 1024 * 1024;

/// Copies the logs with no leader epoch above `epoch`, and everything that belongs to them, durably but for the names.
pub fn copy(
    source: &SourcePartition,
    to: &SegmentDir,
    epoch: LeaderEpoch,
    progress: &mut dyn FnMut(u64),
) -> Result<HandedOver> {
    let mut copied = HandedOver {
        partition: 0,
        log_start: source.ends.log_start,
        end: source.ends.offset,
        ..HandedOver::default()
    };
    let bases = segment_bases(&source.dir)?;
    let mut has_producers = false;
    for base in &bases {
        has_producers |= copy_log(source, to, *base, epoch, &mut copied, progress)?;
        for file in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::TransactionIndex] {
            copy_file(&source.dir, to, file, *base)?;
        }
    }
    copy_snapshots(source, to, &bases, has_producers)?;
    let vfs = to.vfs().as_ref();
    let epochs = LeaderEpochs::load(vfs, source.dir.path(), 0)?;
    epochs.capped_at(epoch).stage(vfs, to.path())?;
    LeaderEpochs::commit(vfs, to.path())?;
    Ok(copied)
}

/// Whether there are batches of producers with an id.
fn copy_log(
    source: &SourcePartition,
    to: &SegmentDir,
    base: Offset,
    epoch: LeaderEpoch,
    copied: &mut HandedOver,
    progress: &mut dyn FnMut(u64),
) -> Result<bool> {
    let path = to.file(SegmentFile::Log, base);
    let log = to.vfs().open(&path, OpenMode::CreateEmpty).doing("create", &path)?;
    let mut scan = source.dir.scan_all(base)?;
    let (mut piece, mut position, mut has_producers) = (Vec::with_capacity(PIECE), 0_u64, false);
    loop {
        let next = scan.next_unread().map_err(ours)?;
        if next.is_none() || piece.len() >= PIECE {
            write_all_at(log.as_ref(), &piece, position).doing("write", &path)?;
            position = position.saturating_add(piece.len() as u64);
            progress(piece.len() as u64);
            piece.clear();
        }
        let Some((header, bytes)) = next else { break };
        has_producers |= header.producer_id >= 0;
        let from = piece.len();
        piece.extend_from_slice(&bytes);
        let stamp = stamp(header.leader_epoch, epoch);
        if let Some(field) = piece.get_mut(from..).and_then(|batch| batch.get_mut(LEADER_EPOCH_FIELD)) {
            field.copy_from_slice(&stamp.to_be_bytes());
        }
        copied.batches += 1;
        copied.restamped += u64::from(stamp != header.leader_epoch);
    }
    copied.bytes = copied.bytes.saturating_add(position);
    log.sync_all().doing("sync", &path)?;
    Ok(has_producers)
}

/// The leader epoch that a batch has in the copy.
fn stamp(epoch: i32, highest: LeaderEpoch) -> i32 {
    epoch.min(highest.cast_signed())
}

/// Copies a file as it is, if it is there.
fn copy_file(from: &SegmentDir, to: &SegmentDir, file: SegmentFile, base: Offset) -> Result<()> {
    let path = from.file(file, base);
    if from.vfs().kind(&path).doing("look at", &path)?.is_none() {
        return Ok(());
    }
    let view = from.vfs().open(&path, OpenMode::Read).map(FileView::Read).doing("open", &path)?;
    let to_path = to.file(file, base);
    let copy = to.vfs().open(&to_path, OpenMode::CreateEmpty).doing("create", &to_path)?;
    let mut position = 0;
    loop {
        let bytes = view.read(position, PIECE).doing("read", &path)?;
        if bytes.is_empty() {
            return copy.sync_all().doing("sync", &to_path);
        }
        write_all_at(copy.as_ref(), &bytes, position).doing("write", &to_path)?;
        position = position.saturating_add(bytes.len() as u64);
    }
}

/// Kafka's own, where the log was Kafka's once. Without any, one that is true: that there are no producers, or, where
/// batches have some, that there were none before the first segment, so that Kafka reads on from there.
fn copy_snapshots(
    source: &SourcePartition,
    to: &SegmentDir,
    bases: &[Offset],
    has_producers: bool,
) -> Result<()> {
    let path = source.dir.path();
    let entries = source.dir.vfs().read_dir(path).doing("list", path)?;
    let offsets = producer_snapshots::offsets(&entries);
    if offsets.is_empty() {
        let first = bases.first().copied().unwrap_or_default();
        return producer_snapshots::write_empty(to, if has_producers { first } else { source.ends.offset });
    }
    offsets.iter().try_for_each(|at| copy_file(&source.dir, to, SegmentFile::ProducerSnapshot, *at))
}

/// How a copy compares with what it was made of.
pub enum Comparison {
    /// What was compared.
    Same(HandedOver),
    /// Where and how it differs.
    Differs(Error),
}

/// Reads a copy, and what it was made of: whether every batch is there, and the same but for its leader epoch, which is not
/// above `epoch`. An error is that of reading one of the two, and names the file.
pub fn compare(source: &SourcePartition, copy: &SegmentDir, epoch: LeaderEpoch) -> Result<Comparison> {
    let copy = copy.clone().with_kafka_end(Offset::MAX);
    let mut compared =
        HandedOver { log_start: source.ends.log_start, end: source.ends.offset, ..HandedOver::default() };
    let bases = segment_bases(&source.dir)?;
    if segment_bases(&copy)? != bases {
        return Ok(Comparison::Differs(differs("it has other segments", copy.path())));
    }
    let mut end = source.ends.log_start;
    for base in bases {
        check_joined(source, end, base)?;
        let (mut of, mut is) = (source.dir.scan_all(base)?, copy.scan_all(base)?);
        loop {
            let (expected, found) = match (of.next_unread().map_err(ours)?, is.next_unread()?) {
                (None, None) => break,
                (Some(expected), Some(found)) => (expected, found),
                _ => {
                    let error = differs("a segment has another length", copy.path());
                    return Ok(Comparison::Differs(is.place(error)));
                }
            };
            let is_same = found.0.leader_epoch == stamp(expected.0.leader_epoch, epoch)
                && without_epoch(&found.1).eq(without_epoch(&expected.1));
            if !is_same {
                let error = differs("a batch is another one", copy.path()).at_offset(expected.0.base_offset);
                return Ok(Comparison::Differs(is.place(error)));
            }
            compared.batches += 1;
            compared.restamped += u64::from(found.0.leader_epoch != expected.0.leader_epoch);
            compared.bytes = compared.bytes.saturating_add(found.0.size as u64);
            end = expected.0.next_offset();
        }
        end = end.max(base);
    }
    check_end(source, end)?;
    Ok(Comparison::Same(compared))
}

/// Reads what is to be handed over: whether every batch is whole, and they reach from the log start to the end that was
/// acknowledged.
pub fn check(source: &SourcePartition) -> Result<()> {
    let mut end = source.ends.log_start;
    for base in segment_bases(&source.dir)? {
        check_joined(source, end, base)?;
        let mut scan = source.dir.scan_all(base)?;
        while let Some((header, _)) = scan.next_unread().map_err(ours)? {
            end = header.next_offset();
        }
        end = end.max(base);
    }
    check_end(source, end)
}

/// Only where a Kafka broker has written may there be nothing between two segments.
fn check_joined(source: &SourcePartition, end: Offset, base: Offset) -> Result<()> {
    if base <= end || source.dir.may_lack(end) {
        return Ok(());
    }
    let error = Error::corrupt(format!("the log has nothing between the offsets {end} and {base}"));
    Err(ours(error.at_offset(end).in_file(&source.dir.file(SegmentFile::Log, base))))
}

fn check_end(source: &SourcePartition, end: Offset) -> Result<()> {
    if end == source.ends.offset {
        return Ok(());
    }
    let what = format!("the log ends at offset {end}, and what was acknowledged at {}", source.ends.offset);
    Err(ours(Error::corrupt(what).in_file(source.dir.path())))
}

/// An error of reading what is to be handed over.
fn ours(error: Error) -> Error {
    match error.is_corruption() {
        true => error.advise(
            "it is our log that is damaged: `ottla verify` shows where, and `ottla salvage` copies what is sound; \
             nothing was changed",
        ),
        false => error,
    }
}

fn without_epoch(batch: &[u8]) -> impl Iterator<Item = &[u8]> {
    [batch.get(..LEADER_EPOCH_FIELD.start), batch.get(LEADER_EPOCH_FIELD.end..)].into_iter().flatten()
}

fn differs(what: &str, file: &Path) -> Error {
    Error::corrupt(format!("a copy is not what it was made of: {what}")).in_file(file)
}

/// How many bytes the logs of a partition have.
pub fn log_bytes(vfs: &dyn Vfs, dir: &SegmentDir) -> Result<u64> {
    let size = |base| {
        let path = dir.file(SegmentFile::Log, base);
        vfs.open(&path, OpenMode::Read).and_then(|file| file.size()).doing("measure", &path)
    };
    segment_bases(dir)?.into_iter().map(size).sum()
}
