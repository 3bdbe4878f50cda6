//! The transaction indexes of a partition that was not closed in order: made again from the log, as Kafka does.
//!
//! Of the segments that are looked at after such a stop, Kafka trusts no index. Once the directory is Kafka's again, it
//! trusts them all; a transaction that is missing there would be given out though it was aborted.

use std::collections::BTreeMap;

use crate::broker::producer_snapshots;
use crate::error::{IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::record_batch::{BatchHeader, Codecs, ControlRecord, RecordBatch};
use crate::segment::{AbortedTransaction, SealedSegment, SegmentDir, segment_bases};
use crate::vfs::{DirEntry, EntryKind, replace_file};

/// Writes the index of every segment from the one at `from` on that has aborted transactions, and removes the others, as
/// well as producer snapshots from behind the end, which tell of what was cut. Without transactions in those segments
/// nothing of them is read.
pub fn rebuild(
    dir: &SegmentDir,
    codecs: &Codecs,
    from: Offset,
    end: Offset,
    has_transactions: bool,
) -> Result<()> {
    let entries = dir.vfs().read_dir(dir.path()).doing("list", dir.path())?;
    let stale = producer_snapshots::offsets(&entries).into_iter().filter(|offset| *offset > end);
    for offset in stale {
        remove(dir, SegmentFile::ProducerSnapshot, offset)?;
    }
    let aborted = if has_transactions { aborted(dir, codecs, &entries, from, end)? } else { BTreeMap::new() };
    for base in indexes(&entries).into_iter().filter(|base| *base >= from) {
        if !aborted.contains_key(&base) {
            remove(dir, SegmentFile::TransactionIndex, base)?;
        }
    }
    for (base, entries) in &aborted {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.write(&mut bytes));
        let name = SegmentFile::TransactionIndex.name(*base);
        replace_file(dir.vfs().as_ref(), dir.path(), &name, &bytes)
            .doing("write", &dir.file(SegmentFile::TransactionIndex, *base))?;
    }
    Ok(())
}

fn remove(dir: &SegmentDir, file: SegmentFile, offset: Offset) -> Result<()> {
    let path = dir.file(file, offset);
    dir.vfs().remove_file(&path).doing("remove", &path)
}

fn indexes(entries: &[DirEntry]) -> Vec<Offset> {
    let base = |entry: &DirEntry| match SegmentFile::parse(&entry.name) {
        Some((SegmentFile::TransactionIndex, base)) if entry.kind == EntryKind::File => Some(base),
        _ => None,
    };
    entries.iter().filter_map(base).collect()
}

/// The aborted transactions whose marker lies in a segment from the one at `from` on, by segment.
fn aborted(
    dir: &SegmentDir,
    codecs: &Codecs,
    entries: &[DirEntry],
    from: Offset,
    end: Offset,
) -> Result<BTreeMap<Offset, Vec<AbortedTransaction>>> {
    let (begin, mut open) = opening(dir, entries, from)?;
    let bases = segment_bases(dir)?;
    let first = bases.partition_point(|base| *base <= begin).saturating_sub(1);
    let mut aborted: BTreeMap<Offset, Vec<AbortedTransaction>> = BTreeMap::new();
    for base in bases.iter().skip(first).copied().filter(|base| *base < end) {
        let mut scan = SealedSegment::new(dir.clone(), base, 0).scan_from(begin.max(base))?;
        while let Some((header, bytes)) = scan.next_unread()? {
            if header.base_offset < begin {
                continue;
            }
            let is_control = header.attributes.is_control();
            let marker = if is_control { RecordBatch::parse(bytes, codecs)?.control_record() } else { None };
            let ended = open.take(&header, marker);
            if base >= from {
                aborted.entry(base).or_default().extend(ended);
            }
        }
    }
    aborted.retain(|_, entries| !entries.is_empty());
    Ok(aborted)
}

/// The newest snapshot that is not from behind `from`, with what was open there.
fn opening(dir: &SegmentDir, entries: &[DirEntry], from: Offset) -> Result<(Offset, Open)> {
    let offsets = producer_snapshots::offsets(entries);
    for offset in offsets.into_iter().rev().filter(|offset| *offset <= from) {
        if let Some(snapshot) = producer_snapshots::read(dir, offset)? {
            let open = snapshot.producers.iter();
            let open = open.filter_map(|one| Some((one.producer_id, one.current_txn_first_offset?)));
            return Ok((offset, Open(open.collect())));
        }
    }
    Ok((0, Open::default()))
}

/// Where the transactions begin that are open, by producer.
#[derive(Debug, Default)]
struct Open(BTreeMap<i64, Offset>);

impl Open {
    /// Takes in a batch; returns the transaction that it rolls back.
    fn take(&mut self, header: &BatchHeader, marker: Option<ControlRecord>) -> Option<AbortedTransaction> {
        let (producer_id, last_offset) = (header.producer_id, header.last_offset());
        match marker {
            Some(ControlRecord::Abort { .. }) => {
                let first_offset = self.0.remove(&producer_id)?;
                let oldest = self.0.values().min().copied();
                let last_stable_offset = oldest.unwrap_or(last_offset.saturating_add(1));
                Some(AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset })
            }
            Some(ControlRecord::Commit { .. }) => {
                self.0.remove(&producer_id);
                None
            }
            Some(ControlRecord::Other { .. }) | None => {
                if let Some(producer) = header.transaction() {
                    self.0.entry(producer).or_insert(header.base_offset);
                }
                None
            }
        }
    }
}
