//! What an unclean stop has left of a partition: read, judged, mended.
//!
//! Three steps. *Settle* ([`settle`]) reads, and makes sure that what it reads is on the disk; it changes no
//! content. *Plan* ([`plan`]) is a pure function over the facts. *Apply* does what the plan says, and doing it twice is
//! doing it once: it first keeps a copy of what goes ([`preserve`]), for every partition, before anything is cut
//! ([`cut_back`]), so that a disk without room for the copies is left as it was.
//!
//! The proven end, from the ends file, tells a torn tail from rot. What is invalid below it was acknowledged and
//! is damaged: nothing is cut, and opening fails. What is invalid above it was never promised: it is copied to a
//! quarantine file, and cut.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::writer::LogEnd;
use super::{LeaderEpochs, LogContext, wrong_epoch};
use crate::ends_file::ProvenEnd;
use crate::error::{Error, IoContext, Result};
use crate::file_name::{QUARANTINE, SegmentFile, quarantine, temporary};
use crate::model::Offset;
use crate::mutant::{self, Mutant};
use crate::segment::{ActiveSegment, NextLog, SealedSegment, SegmentDir, StoredIndexes, segment_bases};
use crate::vfs::{
    EntryKind, FileView, OpenMode, VfsFile, read_exact_at, read_file, replace_file, write_all_at,
};

/// At most so much of a cut is copied; a tail is rarely longer than what one group commit holds.
const MOST_QUARANTINED: u64 = 64 * 1024 * 1024;
/// At most so much is kept in all; what comes then is cut without a copy, and the report shows none.
const MOST_IN_QUARANTINE: u64 = 1024 * 1024 * 1024;
/// Longer than any segment is.
const MOST_LOOKED_AT: u64 = 1 << 31;
/// How much is read at a time to see whether a tail is zeros.
const CHUNK: usize = 256 * 1024;

/// What was read of a partition.
#[derive(Clone, Debug)]
pub struct Facts {
    pub proven: ProvenEnd,
    /// The base offsets of the segments that are there, rising.
    pub bases: Vec<Offset>,
    /// The first segment below the proven one that does not reach to the next.
    pub gap: Option<Offset>,
    /// What a scan from the proven segment on found; `None` if that segment is missing.
    pub scan: Option<Scan>,
}

/// How far the batches are whole, from the base of the proven segment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Where the last whole batch ends.
    pub end: LogEnd,
    /// Whether a batch ends at the proven position with the proven offset.
    pub meets_proven: bool,
    /// The length of the file in which the end lies.
    pub file_len: u64,
    /// What stands behind the end in that file.
    pub tail: Tail,
    /// Why the next batch is none, where there are bytes for one.
    pub reason: Option<String>,
}

/// What stands behind the last whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    Nothing,
    Zeros,
    Data,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Acknowledged records are damaged. Nothing may be changed.
    Damaged(Damage),
    /// Everything up to the end is whole; what lies behind it goes.
    Cut(Cut),
}

/// Damage below the proven end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub segment: Offset,
    pub position: u64,
    /// The first offset that cannot be read, and the end of those that were acknowledged.
    pub offsets: (Offset, Offset),
    pub reason: String,
}

/// Where a log ends, and what is taken off behind that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub end: LogEnd,
    /// The length of the file in which the end lies.
    pub file_len: u64,
    pub tail: Tail,
    /// Segments behind the one with the end.
    pub later: Vec<Offset>,
    /// Segments before the one with the end whose indexes may not have come to the disk.
    pub unproven: Vec<Offset>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many bytes were cut that were not zeros, later segments included.
    pub cut_bytes: u64,
    /// Where they are now.
    pub quarantined: Vec<PathBuf>,
    /// How many bytes are there.
    pub kept_bytes: u64,
}

/// Decides what a partition needs.
pub fn plan(facts: &Facts) -> Plan {
    let proven = &facts.proven;
    let damaged = |segment, position, from: Offset, reason: &str| {
        Plan::Damaged(Damage {
            segment,
            position,
            offsets: (from, proven.offset.max(from)),
            reason: reason.to_owned(),
        })
    };
    let missing = || damaged(proven.segment, 0, proven.segment, "the segment with the proven end is missing");
    let Some(first) = facts.bases.first() else { return missing() };
    if *first > proven.log_start {
        return damaged(proven.log_start, 0, proven.log_start, "the first segment is missing");
    }
    if let Some(base) = facts.gap {
        return damaged(
            base,
            0,
            base,
            "a segment does not reach to the next one, or the next one is missing",
        );
    }
    let Some(scan) = &facts.scan else { return missing() };
    if !scan.meets_proven && !is_forgiven(scan) {
        let reason = scan.reason.as_deref().unwrap_or("the file is shorter than what was acknowledged");
        return damaged(scan.end.segment, scan.end.position, scan.end.offset.min(proven.offset), reason);
    }
    Plan::Cut(Cut {
        end: scan.end,
        file_len: scan.file_len,
        tail: scan.tail,
        later: facts.bases.iter().copied().filter(|base| *base > scan.end.segment).collect(),
        unproven: facts
            .bases
            .iter()
            .copied()
            .filter(|base| (proven.segment..scan.end.segment).contains(base))
            .collect(),
    })
}

/// Whether a mutant takes damage for an end.
fn is_forgiven(scan: &Scan) -> bool {
    mutant::is(Mutant::DamageCut) || mutant::is(Mutant::ZerosAreTheEnd) && scan.tail == Tail::Zeros
}

/// Reads a partition from the proven segment on. Whatever is found valid there is on the disk when it returns.
pub fn settle(context: &LogContext, proven: ProvenEnd, epochs: &LeaderEpochs) -> Result<Facts> {
    let bases = segment_bases(&context.dir)?;
    let gap = find_gap(context, &bases, &proven)?;
    let mut end = LogEnd { offset: proven.segment, segment: proven.segment, position: 0 };
    let mut scan: Option<Scan> = None;
    for base in bases.iter().copied().filter(|base| *base >= proven.segment) {
        let expected = match &scan {
            None => base == proven.segment,
            // A segment that was rolled begins where the one before it ends, and that one ends with a batch.
            Some(before) => before.tail == Tail::Nothing && base == before.end.offset,
        };
        if !expected {
            break;
        }
        end = LogEnd { offset: end.offset, segment: base, position: 0 };
        let met_before = scan.is_some_and(|before| before.meets_proven);
        let mut found = scan_segment(context, end, &proven, epochs)?;
        found.meets_proven |= met_before;
        end = found.end;
        scan = Some(found);
    }
    Ok(Facts { proven, bases, gap, scan })
}

/// The first segment below the proven one that does not end where the next begins.
fn find_gap(context: &LogContext, bases: &[Offset], proven: &ProvenEnd) -> Result<Option<Offset>> {
    for pair in bases.windows(2) {
        let [base, next] = *pair else { continue };
        if next > proven.segment {
            break;
        }
        let segment = SealedSegment::new(context.dir.clone(), base, context.config.index_interval_bytes);
        let last = segment.scan_from(next.saturating_sub(1)).and_then(|mut scan| scan.peek());
        match last {
            Ok(Some(header)) if header.next_offset() == next => {}
            Ok(None) if context.dir.may_lack(next.saturating_sub(1)) => {}
            Err(error) if error.io_error().is_some() => return Err(error),
            _ => return Ok(Some(base)),
        }
    }
    Ok(None)
}

fn scan_segment(
    context: &LogContext,
    from: LogEnd,
    proven: &ProvenEnd,
    epochs: &LeaderEpochs,
) -> Result<Scan> {
    let path = context.dir.file(SegmentFile::Log, from.segment);
    let file = context.dir.vfs().open(&path, OpenMode::Write).doing("open", &path)?;
    let file_len = file.size().doing("measure", &path)?;
    let known = if from.segment == proven.segment { proven.position } else { 0 };
    let view = settled_view(&context.dir, &path, file, known, file_len)?;

    let mut batches = context.dir.scan(view.clone(), from.segment, 0, file_len);
    let mut end = from;
    let is_proven = |end: &LogEnd| {
        (end.segment, end.position, end.offset) == (proven.segment, proven.position, proven.offset)
    };
    let mut meets_proven = is_proven(&end);
    let reason = loop {
        match batches.next_whole() {
            Ok(None) => break None,
            Ok(Some(batch)) if batch.known_epoch() != epochs.at(end.offset) => {
                break Some(wrong_epoch(batch.leader_epoch, epochs.at(end.offset)));
            }
            Ok(Some(batch)) => {
                end.offset = batch.next_offset();
                end.position = batches.position();
                meets_proven |= is_proven(&end);
            }
            Err(error) if error.io_error().is_some() => return Err(error),
            Err(error) => break Some(error.what().to_owned()),
        }
    };
    let tail = tail_of(&view, end.position, file_len).doing("read", &path)?;
    Ok(Scan { end, meets_proven, file_len, tail, reason })
}

/// A view of the file in which nothing is seen that is not on the disk.
///
/// What a killed process has left in the page cache is valid, and not on the disk yet: it is synced. What a sync
/// has failed to write is still served from the page cache, and no later sync tells: it is read past the cache.
/// Where the file system refuses that, a file with anything behind its known end is written anew.
pub fn settled_view(
    dir: &SegmentDir,
    path: &Path,
    file: Arc<dyn VfsFile>,
    known: u64,
    file_len: u64,
) -> Result<FileView> {
    file.sync_data().doing("sync", path)?;
    file.drop_cache().doing("drop the cache of", path)?;
    match file.read_uncached_at(&mut [0], 0) {
        Ok(_) if mutant::is(Mutant::ScanThroughPageCache) => return Ok(FileView::Read(file)),
        Ok(_) => return Ok(FileView::Uncached(file)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(error) => return Err(error).doing("read", path),
    }
    let view = FileView::Read(file);
    if tail_of(&view, known, file_len).doing("read", path)? != Tail::Data {
        return Ok(view);
    }
    rewrite(dir, path, &view)
}

/// Copies a log to a new file, which takes its name once it is durable.
fn rewrite(dir: &SegmentDir, path: &Path, view: &FileView) -> Result<FileView> {
    let vfs = dir.vfs();
    let temporary = temporary_of(path);
    let copy = vfs.open(&temporary, OpenMode::CreateEmpty).doing("create", &temporary)?;
    let mut position = 0;
    loop {
        let bytes = view.read(position, CHUNK).doing("read", path)?;
        if bytes.is_empty() {
            break;
        }
        write_all_at(copy.as_ref(), &bytes, position).doing("write", &temporary)?;
        position += bytes.len() as u64;
    }
    copy.sync_all().doing("sync", &temporary)?;
    vfs.rename(&temporary, path).doing("rename", &temporary)?;
    vfs.sync_dir(dir.path()).doing("sync", dir.path())?;
    Ok(FileView::Read(copy))
}

fn temporary_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(temporary(&name))
}

/// What stands between two positions.
pub fn tail_of(view: &FileView, from: u64, to: u64) -> io::Result<Tail> {
    if from >= to {
        return Ok(Tail::Nothing);
    }
    // No segment is so long: what somebody has made of the file is kept, and not looked at, which could take days.
    if to > MOST_LOOKED_AT {
        return Ok(Tail::Data);
    }
    let mut position = from;
    while position < to {
        let bytes = view.read(position, CHUNK)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(Tail::Data);
        }
        position += bytes.len() as u64;
    }
    Ok(Tail::Zeros)
}

/// Copies what the plan cuts; nothing else is changed. Returns where the copy is, if there is one.
pub fn preserve(context: &LogContext, cut: &Cut) -> Result<Option<PathBuf>> {
    if cut.tail != Tail::Data {
        return Ok(None);
    }
    let vfs = context.dir.vfs().as_ref();
    let log = context.dir.file(SegmentFile::Log, cut.end.segment);
    let file = vfs.open(&log, OpenMode::Read).doing("open", &log)?;
    let len = (cut.file_len - cut.end.position).min(MOST_QUARANTINED);
    if len > MOST_IN_QUARANTINE.saturating_sub(in_quarantine(context)?) {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    // What is not copied is not cut.
    read_exact_at(file.as_ref(), &mut bytes, cut.end.position).doing("read", &log)?;
    let name = quarantine(&context.topic, context.partition, cut.end.segment, cut.end.position);
    let path = free_place(context, &name, Some(&bytes))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    replace_file(vfs, &context.root, &name, &bytes).doing("write", &path)?;
    Ok(Some(path))
}

fn in_quarantine(context: &LogContext) -> Result<u64> {
    let vfs = context.dir.vfs();
    let entries = vfs.read_dir(&context.root).doing("list", &context.root)?;
    let kept =
        entries.iter().filter(|entry| entry.name.starts_with(QUARANTINE) && entry.kind == EntryKind::File);
    let sizes = kept.map(|entry| {
        let path = context.root.join(&entry.name);
        vfs.open(&path, OpenMode::Read).and_then(|file| file.size()).doing("measure", &path)
    });
    sizes.sum()
}

/// A name at the root that nothing has, or a file with this very content: a recovery that was interrupted has been
/// here before.
fn free_place(context: &LogContext, name: &str, content: Option<&[u8]>) -> Result<PathBuf> {
    let vfs = context.dir.vfs().as_ref();
    let numbered = (1u32..).map(|number| format!("{name}.{number}"));
    for name in std::iter::once(name.to_owned()).chain(numbered) {
        let path = context.root.join(&name);
        match vfs.kind(&path).doing("look at", &path)? {
            None => return Ok(path),
            Some(EntryKind::File) if content.is_some() => {
                let is_same =
                    read_file(vfs, &path, MOST_QUARANTINED).is_ok_and(|bytes| Some(&bytes[..]) == content);
                if is_same {
                    return Ok(path);
                }
            }
            Some(_) => {}
        }
    }
    Err(Error::corrupt("there is no name left for what recovery cuts").in_file(&context.root))
}

/// Cuts the log where the plan says, durably.
pub fn cut_back(context: &LogContext, cut: &Cut, preserved: Option<PathBuf>) -> Result<Outcome> {
    let kept_bytes = match &preserved {
        Some(_) => cut.file_len.saturating_sub(cut.end.position).min(MOST_QUARANTINED),
        None => 0,
    };
    let mut outcome = Outcome { cut_bytes: 0, quarantined: preserved.into_iter().collect(), kept_bytes };
    let path = context.dir.file(SegmentFile::Log, cut.end.segment);
    // First what comes later, the last of it first: once a log is cut to its whole batches, and padding alone is cut of
    // it, nothing tells any more that what follows it was to go.
    let mut moved = Vec::new();
    for base in cut.later.iter().rev() {
        moved.push(move_segment(context, *base, &mut outcome)?);
    }
    if !cut.later.is_empty() {
        outcome.quarantined.extend(moved.into_iter().rev());
        for dir in [&*context.root, context.dir.path()] {
            context.dir.vfs().sync_dir(dir).doing("sync", dir)?;
        }
    }
    if cut.tail != Tail::Nothing {
        let file = context.dir.vfs().open(&path, OpenMode::Write).doing("open", &path)?;
        if cut.tail == Tail::Data {
            outcome.cut_bytes += cut.file_len - cut.end.position;
        }
        // A cut that was not synced can come back whole.
        file.set_len(cut.end.position).doing("cut", &path)?;
        file.sync_all().doing("sync", &path)?;
    }
    for base in &cut.unproven {
        rebuild_indexes(context, *base)?;
    }
    // What was made for a roll that has not come.
    NextLog::new(context.dir.clone()).remove()?;
    // The name of a segment that a killed process has left may not be on the disk, and is about to be proven.
    context.dir.vfs().sync_dir(context.dir.path()).doing("sync", context.dir.path())?;
    Ok(outcome)
}

/// Makes the indexes of a segment again that was rolled without being synced.
fn rebuild_indexes(context: &LogContext, base: Offset) -> Result<()> {
    let LogContext { dir, config, clock, .. } = context;
    let segment = ActiveSegment::open(dir, base, config, clock.now(), StoredIndexes::Rebuilt)?;
    segment.seal(config).map(|_| ())
}

/// Moves a later segment's log to the root, and removes its indexes. Returns where the log is then.
fn move_segment(context: &LogContext, base: Offset, outcome: &mut Outcome) -> Result<PathBuf> {
    let vfs = context.dir.vfs();
    let log = context.dir.file(SegmentFile::Log, base);
    let size = vfs.open(&log, OpenMode::Read).and_then(|file| file.size()).doing("measure", &log)?;
    for file in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex] {
        let path = context.dir.file(file, base);
        if vfs.kind(&path).doing("look at", &path)?.is_some() {
            vfs.remove_file(&path).doing("remove", &path)?;
        }
    }
    let to = free_place(context, &quarantine(&context.topic, context.partition, base, 0), None)?;
    vfs.rename(&log, &to).doing("rename", &log)?;
    outcome.cut_bytes += size;
    outcome.kept_bytes += size;
    Ok(to)
}

impl Damage {
    /// As the error of opening the partition.
    pub fn error(&self, context: &LogContext) -> Error {
        let (from, to) = self.offsets;
        acknowledged(Error::corrupt(self.reason.as_str()), from, to)
            .in_partition(&context.topic, context.partition)
            .in_file(&context.dir.file(SegmentFile::Log, self.segment))
            .at_position(self.position)
    }
}

/// Damage with the offsets that were acknowledged from there on.
pub fn of_acknowledged(damage: Error, proven: &ProvenEnd) -> Error {
    let ProvenEnd { log_start, offset: end, .. } = *proven;
    // An offset above the end is that of a damaged header.
    let from = damage.offset().filter(|from| (log_start..end).contains(from)).unwrap_or(log_start);
    acknowledged(damage, from, end)
}

fn acknowledged(damage: Error, from: Offset, end: Offset) -> Error {
    if from >= end {
        return damage;
    }
    let last = end.saturating_sub(1);
    let what = format!("acknowledged records are damaged, offsets {from} to {last}: {}", damage.what());
    damage.reworded(what).at_offset(from)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(Damage { segment, position, offsets: (from, to), reason }) => {
                write!(f, "damaged at byte {position} of segment {segment}, offsets {from} to {to}: {reason}")
            }
            Self::Cut(Cut { end, file_len, tail, later, unproven }) => {
                let LogEnd { offset, segment, position } = end;
                write!(f, "ends at offset {offset}, byte {position} of segment {segment}")?;
                match tail {
                    Tail::Nothing => {}
                    Tail::Zeros => write!(f, "; trim {} zeros", file_len - position)?,
                    Tail::Data => write!(f, "; quarantine and cut {} bytes", file_len - position)?,
                }
                if !unproven.is_empty() {
                    write!(f, "; make the indexes of {} segments again", unproven.len())?;
                }
                match later.len() {
                    0 => Ok(()),
                    segments => write!(f, "; quarantine {segments} later segments"),
                }
            }
        }
    }
}
