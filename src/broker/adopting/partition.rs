//! One partition of a Kafka broker: what is whole of it, judged by Kafka's own rules, before anything is changed.
//!
//! After an orderly stop the log ends where its last segment does. After any other the batches are checked from the
//! segment with the recovery point on, and what is not whole is cut (Kafka: `LogLoader`, `LogSegment.recover`). One thing
//! is stricter than Kafka: below the recovery point everything was synced, so that what is not whole there is damage,
//! and not cut.

use std::path::PathBuf;

use super::epochs::{self, Place};
use crate::broker::kafka_evidence::losses_between;
use crate::broker::losses::{Loss, PartitionEvidence, SegmentNames, Weight, Witness, behind_closed_end};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{Replacement, SegmentFile};
use crate::model::{LeaderEpoch, Offset};
use crate::partition_log::{
    Cut, EpochCheck, LeaderEpochs, LogEnd, Tail, left_open, marker_in, settled_view, tail_of,
};
use crate::record_batch::Codecs;
use crate::segment::{SealedSegment, SegmentDir, segment_bases};
use crate::vfs::{DirEntry, EntryKind, OpenMode};

/// What is taken over of a partition, and what has to be done for it.
#[derive(Clone, Debug)]
pub struct Taken {
    pub log_start: Offset,
    pub end: LogEnd,
    /// False if there is no segment at all.
    pub has_segments: bool,
    /// What an unclean stop has left.
    pub cut: Option<Cut>,
    /// Whether there are transactions in what was looked at.
    pub has_transactions: bool,
    /// The leader epochs, where the checkpoint lacks some that batches have.
    pub more_epochs: Option<LeaderEpochs>,
    /// The newest leader epoch.
    pub epoch: Option<LeaderEpoch>,
    /// Files that compaction or retention has replaced.
    pub deleted: Vec<PathBuf>,
    /// Indexes of which the log was replaced, or never came.
    pub orphans: Vec<PathBuf>,
    /// What is gone and may be.
    pub notes: Vec<String>,
}

/// Looks at a partition; changes nothing of what its files hold.
pub fn judge(dir: &SegmentDir, codecs: &Codecs, evidence: PartitionEvidence) -> Result<Taken> {
    // Whatever stands there was written by Kafka.
    let dir = &dir.clone().with_kafka_end(Offset::MAX);
    let entries = dir.vfs().read_dir(dir.path()).doing("list", dir.path())?;
    check_regular(dir, &entries)?;
    let deleted = leftovers(dir, &entries)?;
    let names = SegmentNames::of(&entries);
    let bases = segment_bases(dir)?;
    let stored = LeaderEpochs::read(dir.vfs().as_ref(), dir.path()).map_err(unreadable)?.unwrap_or_default();
    let open_from = (!evidence.clean).then_some(evidence.recovery_point);
    let (mut epochs, mut has_transactions) = (EpochCheck::new(stored.clone(), open_from), false);
    let (end, cut) = match (bases.last(), evidence.clean) {
        (None, _) => {
            let start = evidence.log_start();
            (LogEnd { offset: start, segment: start, position: 0 }, None)
        }
        (Some(last), true) => {
            let end = closed_end(dir, *last)?;
            epochs::take_headers(dir, &bases, None, &mut epochs)?;
            if let Some(closed) = evidence.closed_before(end.offset) {
                return Err(damage(dir, end, &behind_closed_end(end.offset, closed)));
            }
            (end, None)
        }
        (Some(_), false) => {
            let mut seen = Seen { epochs: &mut epochs, has_transactions: &mut has_transactions, codecs };
            let cut = recovered_end(dir, &bases, evidence.recovery_point, &mut seen)?;
            (cut.end, Some(cut))
        }
    };
    let mut notes = check_losses(dir, &names, end, &evidence)?;
    notes.extend(epochs::notes(&epochs));
    let epochs = epochs.into_epochs();
    let log_start = evidence.log_start();
    let log_start = log_start.max(bases.first().copied().unwrap_or(log_start));
    // What opening will ask for: what cannot be read then is refused now, while the directory is Kafka's.
    let unscanned = cut.as_ref().and_then(|cut| cut.unproven.first()).copied().unwrap_or(end.offset);
    left_open(dir, codecs, &bases, log_start, unscanned).map_err(unreadable)?;
    if end.offset > log_start && epochs.latest().is_none() {
        // Says so.
        LeaderEpochs::load(dir.vfs().as_ref(), dir.path(), end.offset).map_err(unreadable)?;
    }
    Ok(Taken {
        log_start,
        end,
        has_segments: !bases.is_empty(),
        cut,
        has_transactions,
        epoch: epochs.latest(),
        more_epochs: (epochs != stored).then_some(epochs),
        deleted,
        orphans: names.orphans().map(|(base, file)| dir.file(file, base)).collect(),
        notes,
    })
}

/// What has the name of a segment's file is one: a directory, or a link, could be neither replaced nor removed when it has to be.
fn check_regular(dir: &SegmentDir, entries: &[DirEntry]) -> Result<()> {
    let is_odd =
        |entry: &&DirEntry| entry.kind != EntryKind::File && SegmentFile::parse(&entry.name).is_some();
    match entries.iter().find(is_odd) {
        None => Ok(()),
        Some(odd) => Err(Error::corrupt("a file of a segment is not a regular file")
            .in_file(&dir.path().join(&odd.name))
            .advise("nothing was changed; move it away, and restore the file from a copy if it is a log")),
    }
}

/// What goes of earlier replacements, as with Kafka: what was replaced, and what was to replace something and is not
/// complete. Where segments are complete that are about to take the place of others, that is Kafka's to finish.
fn leftovers(dir: &SegmentDir, entries: &[DirEntry]) -> Result<Vec<PathBuf>> {
    let mut deleted = Vec::new();
    for entry in entries {
        let path = dir.path().join(&entry.name);
        match Replacement::parse(&entry.name) {
            Some(Replacement::Deleted | Replacement::Cleaned) if entry.kind == EntryKind::File => {
                deleted.push(path);
            }
            Some(Replacement::Swap) => {
                let what = "the broker was stopped while what compaction has made was to take the place of segments, which \
                            only it can finish";
                return Err(Error::new(ErrorKind::StorageError, what)
                    .in_file(&path)
                    .advise("start the broker once, and stop it; nothing was changed"));
            }
            _ => {}
        }
    }
    Ok(deleted)
}

/// The end of a log that was closed in order.
fn closed_end(dir: &SegmentDir, last: Offset) -> Result<LogEnd> {
    let segment = SealedSegment::new(dir.clone(), last, 0);
    let ended = segment.scan_near_end().and_then(|mut scan| {
        while scan.next_unread()?.is_some() {}
        Ok(LogEnd { offset: scan.next_offset().unwrap_or(last), segment: last, position: scan.position() })
    });
    ended.map_err(|error| {
        error.advise(
            "the broker says that it has closed the log in order, so that this is damage; nothing was changed",
        )
    })
}

/// What the batches tell that were looked at.
struct Seen<'a> {
    epochs: &'a mut EpochCheck<Place>,
    has_transactions: &'a mut bool,
    codecs: &'a Codecs,
}

/// Where the whole batches end, from the segment with the recovery point on, and what lies behind that.
fn recovered_end(
    dir: &SegmentDir,
    bases: &[Offset],
    recovery_point: Offset,
    seen: &mut Seen<'_>,
) -> Result<Cut> {
    let from = bases.partition_point(|base| *base <= recovery_point).saturating_sub(1);
    let (closed, open) = bases.split_at(from);
    epochs::take_headers(dir, closed, open.first().copied(), seen.epochs)?;
    let mut scanned = Vec::new();
    let mut cut: Option<Cut> = None;
    for base in open.iter().copied() {
        if let Some(before) = &cut {
            if before.tail != Tail::Nothing {
                break;
            }
            check_order(dir, base, before.end)?;
        }
        let (found, reason) = scan_segment(dir, base, seen)?;
        if let Some(reason) = reason.filter(|_| found.end.offset < recovery_point) {
            let what = format!("records that the broker had synced are damaged: {reason}");
            return Err(damage(dir, found.end, &what));
        }
        scanned.push(base);
        cut = Some(found);
    }
    let Some(mut cut) = cut else { return Err(Error::corrupt("there is no segment").in_file(dir.path())) };
    cut.later = bases.iter().copied().filter(|base| *base > cut.end.segment).collect();
    // An active index of Kafka's is padded with zeros.
    cut.unproven = scanned;
    Ok(cut)
}

/// How far the batches of a segment are whole; why the next one is none, where there are bytes for one.
fn scan_segment(dir: &SegmentDir, base: Offset, seen: &mut Seen<'_>) -> Result<(Cut, Option<String>)> {
    let path = dir.file(SegmentFile::Log, base);
    let file = dir.vfs().open(&path, OpenMode::Write).doing("open", &path)?;
    let file_len = file.size().doing("measure", &path)?;
    let view = settled_view(dir, &path, file, 0, file_len)?;
    let mut scan = dir.scan(view.clone(), base, 0, file_len);
    let reason = loop {
        let position = scan.position();
        match scan.next_unread() {
            Ok(None) => break None,
            Ok(Some((header, bytes))) => {
                marker_in(&header, bytes, seen.codecs).map_err(unreadable)?;
                *seen.has_transactions |= header.attributes.is_transactional();
                epochs::take(dir, base, position, &header, seen.epochs)?;
            }
            Err(error) if error.io_error().is_some() => return Err(error),
            Err(error) if error.kind() == ErrorKind::UnsupportedForMessageFormat => return Err(error),
            Err(error) => break Some(error.to_string()),
        }
    };
    let end = LogEnd { offset: scan.next_offset().unwrap_or(base), segment: base, position: scan.position() };
    let tail = tail_of(&view, end.position, file_len).doing("read", &path)?;
    let cut = Cut { end, file_len, tail, later: Vec::new(), unproven: Vec::new() };
    Ok((cut, reason))
}

fn check_order(dir: &SegmentDir, base: Offset, before: LogEnd) -> Result<()> {
    if base >= before.offset {
        return Ok(());
    }
    Err(damage(dir, before, &format!("a segment ends behind offset {base}, at which the next one begins")))
}

/// Fails if something is gone that has to be there; returns what is gone and may be. A log that ends before it begins
/// would be begun anew by Kafka, without its records.
fn check_losses(
    dir: &SegmentDir,
    names: &SegmentNames,
    end: LogEnd,
    evidence: &PartitionEvidence,
) -> Result<Vec<String>> {
    let mut losses = evidence.losses(names, Some(end.offset), None);
    losses.extend(losses_between(dir, names, Offset::MAX, evidence.synced(), evidence.cleaned));
    let is_refused = |loss: &&Loss| loss.weight == Weight::Proven || loss.by == Witness::LogStart;
    if let Some(loss) = losses.iter().find(is_refused) {
        let base = loss.segment(end.segment);
        let file = dir.file(SegmentFile::Log, base);
        let error = Error::corrupt(loss.to_string()).at_offset(loss.offsets.start).in_file(&file);
        let error = if base == end.segment { error.at_position(end.position) } else { error };
        return Err(error.advise(RESTORE));
    }
    let unproven = losses.iter().filter(|loss| loss.weight == Weight::Unproven);
    Ok(unproven.map(|loss| format!("{loss}: a power cut may have taken that")).collect())
}

fn unreadable(error: Error) -> Error {
    error.advise("nothing was changed; restore the file from a copy")
}

fn damage(dir: &SegmentDir, end: LogEnd, what: &str) -> Error {
    Error::corrupt(what)
        .at_offset(end.offset)
        .in_file(&dir.file(SegmentFile::Log, end.segment))
        .at_position(end.position)
        .advise(RESTORE)
}

const RESTORE: &str = "nothing was changed; restore the file from a copy, or start the broker once, which keeps what it \
                       can, and stop it";
