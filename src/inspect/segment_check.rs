//! Reads a segment once, and holds everything that is said of it against what is there.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::finding::{Finding, FindingKind, Severity};
use super::index_check::{OffsetIndexCheck, Problem, Rules, TimeIndexCheck, TransactionIndexCheck};
use super::items::offset_index;
use super::kafka_epochs::KafkaEpochs;
use super::log_walk::{DamagedPlace, Found, LogWalk, Step};
use super::small_files::most;
use super::survey::{DirectoryKind, PartitionPlace, Survey};
use super::{FileKind, Verifying};
use crate::ends_file::ProvenEnd;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::partition_log::LeaderEpochs;
use crate::segment::AbortedTransaction;
use crate::vfs::{FileView, OpenMode, Vfs, read_file};

/// What of a partition is to be sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// All of it: it was closed in order, or nothing says how far it was synced.
    All,
    /// What the ends file says.
    Slot(ProvenEnd),
    /// What lies below Kafka's recovery point.
    RecoveryPoint(Offset),
}

impl Proof {
    /// What is known of a partition.
    pub fn of(survey: &Survey, place: &PartitionPlace) -> Self {
        match (place.proven, survey.kind) {
            _ if survey.is_clean() => Self::All,
            (Some(proven), DirectoryKind::Ottla) => Self::Slot(proven),
            (None, DirectoryKind::Ottla) => Self::All,
            (_, DirectoryKind::Kafka) => Self::RecoveryPoint(place.recovery_point.unwrap_or_default()),
        }
    }

    /// Whether what stands there was proven to be durable.
    pub fn covers(&self, segment: Offset, position: u64, offset: Offset) -> bool {
        match self {
            Self::All => true,
            Self::Slot(end) => (segment, position) < (end.segment, end.position),
            Self::RecoveryPoint(point) => offset < *point,
        }
    }

    /// Whether it was proven of a segment that it had ended, its indexes included.
    fn covers_segment(&self, segment: Offset, next: Option<Offset>) -> bool {
        match self {
            Self::All => true,
            Self::Slot(end) => segment < end.segment,
            Self::RecoveryPoint(point) => next.is_some_and(|next| next <= *point),
        }
    }
}

/// A segment that is to be checked.
#[derive(Debug)]
pub struct SegmentCheck<'a> {
    pub vfs: &'a dyn Vfs,
    pub dir: &'a Path,
    pub base: Offset,
    /// Where the next segment begins.
    pub next: Option<Offset>,
    pub proof: Proof,
    /// What the ends file says.
    pub slot: Option<ProvenEnd>,
    /// Whether zeros may stand behind the last batch: the log was not closed.
    pub is_open: bool,
    /// Whether somebody has the directory open: what is not proven is not looked at.
    pub is_live: bool,
    /// Below it a Kafka broker has written: offsets may be missing.
    pub kafka_end: Offset,
    pub epochs: Option<&'a LeaderEpochs>,
}

/// What is left of a segment when it was read.
#[derive(Debug)]
pub struct Checked {
    /// The offset behind the last batch.
    pub end: Offset,
    /// Where the last batch ends in the file.
    pub position: u64,
    /// Whether a batch ends where the proof says.
    pub meets_proof: bool,
    /// Whether nothing behind it is to be looked at: recovery cuts it.
    pub is_cut: bool,
}

/// The indexes of a segment, as far as there are any to be looked at.
#[derive(Debug, Default)]
struct Indexes {
    offset: Option<OffsetIndexCheck>,
    time: Option<TimeIndexCheck>,
    transactions: Option<TransactionIndexCheck>,
}

/// A run of batches with the same wrong leader epoch.
#[derive(Debug)]
struct OddEpochs {
    found: i32,
    known: Option<u32>,
    bytes: Range<u64>,
    offsets: Range<Offset>,
    is_proven: bool,
}

impl SegmentCheck<'_> {
    fn path(&self, file: SegmentFile) -> PathBuf {
        self.dir.join(file.name(self.base))
    }

    /// Reads the segment.
    pub fn run(&self, kafkas: &mut Option<KafkaEpochs>, out: &mut Verifying<'_>) -> Result<Checked> {
        let path = self.path(SegmentFile::Log);
        let file = self.vfs.open(&path, OpenMode::Read).doing("open", &path)?;
        let len = file.size().doing("measure", &path)?;
        let limit = match self.proof {
            Proof::Slot(end) if self.is_live && self.base == end.segment => len.min(end.position),
            _ => len,
        };
        let index = offset_index(self.vfs, &path, self.base);
        let view = FileView::Read(file);
        let mut walk = LogWalk::new(view, Some(self.base), limit, &out.codecs)
            .before(self.successor())
            .with_index(index);
        let mut indexes = self.indexes(limit, out);
        let checked = self.walk(&mut walk, &path, &mut indexes, kafkas, out);
        self.finish(indexes, out);
        out.report.segments += 1;
        Ok(checked)
    }

    /// The offset that is due behind what is looked at, where it is known.
    fn successor(&self) -> Option<Offset> {
        let ends_with_slot = self.is_live || self.proof == Proof::All;
        let slot = self.slot.filter(|slot| ends_with_slot && slot.segment == self.base);
        self.next.or(slot.map(|slot| slot.offset))
    }

    fn walk(
        &self,
        walk: &mut LogWalk,
        path: &Path,
        indexes: &mut Indexes,
        kafkas: &mut Option<KafkaEpochs>,
        out: &mut Verifying<'_>,
    ) -> Checked {
        let mut checked = Checked { end: self.base, position: 0, meets_proof: false, is_cut: false };
        checked.meets_proof = self.is_proof(&checked);
        let mut odd: Option<OddEpochs> = None;
        loop {
            let from = walk.position();
            let Some(step) = walk.step() else { break };
            let position = walk.position();
            out.advance(position.saturating_sub(from));
            match step {
                Step::Batch(found) => {
                    if !self.is_contiguous(&found, path, out) {
                        checked.is_cut = true;
                        break;
                    }
                    match kafkas {
                        Some(kafkas) => {
                            kafkas.take(&found, path).into_iter().for_each(|wrong| out.add(wrong));
                        }
                        None => self.note_epoch(&found, &mut odd, path, out),
                    }
                    if odd.as_ref().is_some_and(|odd| !odd.is_proven) {
                        checked.is_cut = true;
                        break;
                    }
                    indexes.on_batch(&found, self.base);
                    out.count(&found);
                    (checked.end, checked.position) = (found.header.next_offset(), position);
                    checked.meets_proof |= self.is_proof(&checked);
                }
                Step::Damaged(place) => {
                    indexes.on_damage(&place.bytes);
                    checked.is_cut = !self.proof.covers(self.base, place.bytes.start, place.offsets.start);
                    self.report_damage(&place, path, out);
                    if checked.is_cut {
                        break;
                    }
                    (checked.end, checked.position) = (place.offsets.end.max(checked.end), position);
                    checked.meets_proof |= self.is_proof(&checked);
                }
                Step::Zeros(bytes) => checked.is_cut |= self.report_zeros(bytes, checked.end, path, out),
            }
        }
        if let Some(odd) = odd {
            out.add(odd.finding(path));
        }
        checked
    }

    fn is_proof(&self, checked: &Checked) -> bool {
        self.slot.is_some_and(|end| {
            (self.base, checked.position, checked.end) == (end.segment, end.position, end.offset)
        })
    }

    /// False where offsets are missing above the proven end, where recovery cuts.
    fn is_contiguous(&self, found: &Found, path: &Path, out: &mut Verifying<'_>) -> bool {
        let missing = found.missing.clone();
        if missing.is_empty() || missing.end <= self.kafka_end {
            return true;
        }
        let is_proven = self.proof.covers(self.base, found.position, missing.start);
        if !is_proven && self.is_live {
            return false;
        }
        let what =
            format!("no batch holds the offsets {} to {}", missing.start, missing.end.saturating_sub(1));
        let bytes = found.position..found.position;
        out.add(
            torn_or_damaged(FindingKind::MissingOffsets, is_proven, path, what).bytes(bytes).offsets(missing),
        );
        is_proven
    }

    /// The leader epoch of a batch lies outside its checksum; that it is the one of its offset is known here.
    fn note_epoch(&self, found: &Found, odd: &mut Option<OddEpochs>, path: &Path, out: &mut Verifying<'_>) {
        let header = &found.header;
        let known = self.epochs.map(|epochs| epochs.at(header.base_offset));
        let is_right = known.is_none_or(|known| known.map(u32::cast_signed) == Some(header.leader_epoch));
        let bytes = found.position..found.position.saturating_add(header.size as u64);
        let offsets = header.base_offset..header.next_offset();
        let known = known.flatten();
        if let Some(run) = odd {
            if !is_right && (run.found, run.known, run.bytes.end) == (header.leader_epoch, known, bytes.start)
            {
                (run.bytes.end, run.offsets.end) = (bytes.end, offsets.end);
                return;
            }
            out.add(run.finding(path));
            *odd = None;
        }
        if !is_right {
            let is_proven = self.proof.covers(self.base, bytes.start, offsets.start);
            *odd = Some(OddEpochs { found: header.leader_epoch, known, bytes, offsets, is_proven });
        }
    }

    fn report_damage(&self, place: &DamagedPlace, path: &Path, out: &mut Verifying<'_>) {
        let is_proven = self.proof.covers(self.base, place.bytes.start, place.offsets.start);
        if is_proven || !self.is_live {
            let what = plain(&place.error);
            let finding = torn_or_damaged(FindingKind::Batch, is_proven, path, what);
            out.add(finding.bytes(place.bytes.clone()).offsets(place.offsets.clone()));
        }
    }

    /// True where the log ends with them though segments follow that were not proven to be there.
    fn report_zeros(&self, bytes: Range<u64>, end: Offset, path: &Path, out: &mut Verifying<'_>) -> bool {
        let is_proven = match self.proof {
            Proof::Slot(proven) => (self.base, bytes.start) < (proven.segment, proven.position),
            Proof::All => !self.is_open || self.next.is_some(),
            Proof::RecoveryPoint(point) => end < point,
        };
        if is_proven {
            let what = "zeros stand where the log is to end, or where batches are to stand";
            let finding = torn_or_damaged(FindingKind::Batch, true, path, what);
            out.add(finding.bytes(bytes).offsets(end..end));
            return false;
        }
        let is_cut = self.next.is_some();
        if is_cut && matches!(self.proof, Proof::RecoveryPoint(_)) {
            let what = "zeros stand where batches are to stand, before the next segment";
            out.add(torn_or_damaged(FindingKind::Batch, false, path, what).bytes(bytes).offsets(end..end));
        }
        is_cut
    }

    fn rules(&self) -> Rules {
        if self.base < self.kafka_end { Rules::Kafkas } else { Rules::Ours }
    }

    /// Those that are proven to be complete; the others are made again when the directory is opened.
    fn indexes(&self, len: u64, out: &mut Verifying<'_>) -> Indexes {
        if !self.proof.covers_segment(self.base, self.next) {
            return Indexes::default();
        }
        let mut opened = |file: SegmentFile, error: Option<Error>| {
            let error = error.filter(|error| len > 0 || !is_missing(error));
            if let Some(error) = error {
                // A power cut may take the name of an index that was complete.
                let (severity, what) = match is_missing(&error) {
                    true => (Severity::Note, "the index is missing".to_owned()),
                    false => (Severity::Derived, plain(&error)),
                };
                out.add(Finding::new(FindingKind::Index, severity, self.path(file), what, REBUILT));
            }
        };
        let offset = OffsetIndexCheck::open(self.vfs, &self.path(SegmentFile::OffsetIndex), self.rules());
        let time = TimeIndexCheck::open(self.vfs, &self.path(SegmentFile::TimeIndex), self.rules());
        opened(SegmentFile::OffsetIndex, offset.as_ref().err().cloned());
        opened(SegmentFile::TimeIndex, time.as_ref().err().cloned());
        Indexes { offset: offset.ok(), time: time.ok(), transactions: self.transactions(out) }
    }

    fn transactions(&self, out: &mut Verifying<'_>) -> Option<TransactionIndexCheck> {
        let path = self.path(SegmentFile::TransactionIndex);
        let entries = read_file(self.vfs, &path, most(FileKind::TransactionIndex))
            .doing("read", &path)
            .and_then(|bytes| AbortedTransaction::read_all(&bytes, self.base));
        match entries {
            Ok(entries) => Some(TransactionIndexCheck::new(entries)),
            Err(error) if is_missing(&error) => None,
            Err(error) => {
                let kind = FindingKind::TransactionIndex;
                let mut finding = Finding::new(kind, Severity::Derived, path, plain(&error), REBUILT);
                finding.bytes = error.position().map(|position| position..position);
                out.add(finding);
                None
            }
        }
    }

    fn finish(&self, indexes: Indexes, out: &mut Verifying<'_>) {
        let advice = match self.rules() {
            Rules::Ours => REBUILT,
            Rules::Kafkas => CONTRADICTS,
        };
        let mut done = |file, kind, outcome: Option<(Option<Problem>, u64)>| {
            let Some((problem, right)) = outcome else { return };
            out.report.index_entries += right;
            if let Some(Problem { position, what }) = problem {
                let finding = Finding::new(kind, Severity::Derived, self.path(file), what, advice);
                out.add(finding.bytes(position..position));
            }
        };
        let Indexes { offset, time, transactions } = indexes;
        done(SegmentFile::OffsetIndex, FindingKind::Index, offset.map(OffsetIndexCheck::finish));
        done(SegmentFile::TimeIndex, FindingKind::Index, time.map(TimeIndexCheck::finish));
        let kind = FindingKind::TransactionIndex;
        done(SegmentFile::TransactionIndex, kind, transactions.map(TransactionIndexCheck::finish));
    }
}

impl Indexes {
    fn on_batch(&mut self, found: &Found, base: Offset) {
        let header = &found.header;
        if let Some(index) = &mut self.offset {
            index.on_batch(found.position, header.last_offset().saturating_sub(base));
        }
        if let Some(index) = &mut self.time {
            index.on_batch(header, base);
        }
        if let Some(index) = &mut self.transactions {
            index.on_batch(found);
        }
    }

    fn on_damage(&mut self, bytes: &Range<u64>) {
        if let Some(index) = &mut self.offset {
            index.on_damage(bytes);
        }
        if let Some(index) = &mut self.time {
            index.on_damage();
        }
    }
}

impl OddEpochs {
    fn finding(&self, path: &Path) -> Finding {
        let known = self.known.map_or_else(|| "none".to_owned(), |known| known.to_string());
        let what = format!("the batches have the leader epoch {}, and their offsets {known}", self.found);
        torn_or_damaged(FindingKind::LeaderEpoch, self.is_proven, path, what)
            .bytes(self.bytes.clone())
            .offsets(self.offsets.clone())
    }
}

const REBUILT: &str = "the index holds no record, and is made again from the log when it is needed; to have the file \
                       right, remove it while nobody has the directory open";

/// Of what Kafka has written offsets may be missing, so that nothing else may tell of a changed one.
const CONTRADICTS: &str = "the index holds no record, and can be made again from the log; but if its bytes are right, it is \
                           the log that has changed: no checksum covers the offset of a batch, and this may be all that \
                           tells of it; hold both against a copy before the index is removed";

fn torn_or_damaged(kind: FindingKind, is_proven: bool, path: &Path, what: impl Into<String>) -> Finding {
    if is_proven {
        let advice = "these records were acknowledged, and cannot be read: restore the file from a copy, or salvage the \
                      directory to go on without them";
        Finding::new(kind, Severity::Damage, path, what, advice)
    } else {
        let advice = "it lies above what is proven to be durable: the next opening keeps what is whole before it, and \
                      cuts the rest, of which it keeps a copy";
        Finding::new(kind, Severity::Unrecovered, path, what, advice)
    }
}

/// What an error says, without the place, which a finding has beside it.
pub fn plain(error: &Error) -> String {
    match error.io_error() {
        Some(cause) => format!("{}: {cause}", error.what()),
        None => error.what().to_owned(),
    }
}

pub fn is_missing(error: &Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
