//! The transaction indexes of a partition that was not closed in order: made again from the log, as Kafka does.
//!
//! Of the segments that are looked at after such a stop, Kafka trusts no index. Once the directory is Kafka's again, it
//! trusts them all; a transaction that is missing there would be given out though it was aborted.

use std::collections::BTreeMap;

use crate::error::{IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::partition_log::{OpenTransactions, marker_in, producer_snapshots};
use crate::record_batch::Codecs;
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
    let aborted = if has_transactions { aborted(dir, codecs, from, end)? } else { BTreeMap::new() };
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
    from: Offset,
    end: Offset,
) -> Result<BTreeMap<Offset, Vec<AbortedTransaction>>> {
    let (begin, snapshot) = producer_snapshots::newest(dir, from)?.unwrap_or_default();
    let mut open = OpenTransactions::of(&snapshot);
    let bases = segment_bases(dir)?;
    let first = bases.partition_point(|base| *base <= begin).saturating_sub(1);
    let mut aborted: BTreeMap<Offset, Vec<AbortedTransaction>> = BTreeMap::new();
    for base in bases.iter().skip(first).copied().filter(|base| *base < end) {
        let mut scan = SealedSegment::new(dir.clone(), base, 0).scan_from(begin.max(base))?;
        while let Some((header, bytes)) = scan.next_unread()? {
            if header.base_offset < begin {
                continue;
            }
            let ended = open.take(&header, marker_in(&header, bytes, codecs)?);
            if base >= from {
                aborted.entry(base).or_default().extend(ended);
            }
        }
    }
    aborted.retain(|_, entries| !entries.is_empty());
    Ok(aborted)
}
