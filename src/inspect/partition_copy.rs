//! Copies what is sound of a partition, and tells what is left.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::finding::{Finding, FindingKind, Severity};
use super::items::offset_index;
use super::log_copy::{Copied, LogCopy};
use super::log_walk::{Found, LogWalk, Step};
use super::loss_check::LossCheck;
use super::segment_check::{Proof, is_missing, plain};
use super::small_files::most;
use super::survey::{PartitionPlace, Survey};
use super::{FileKind, Verifying};
use crate::broker::SegmentNames;
use crate::config::TopicConfig;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{LeaderEpoch, Offset};
use crate::partition_log::LeaderEpochs;
use crate::segment::AbortedTransaction;
use crate::vfs::{FileView, OpenMode, read_file, write_all_at};

/// A partition that is being copied.
pub struct PartitionCopy<'a, 'b> {
    pub survey: &'a Survey,
    pub place: &'a PartitionPlace,
    pub proof: Proof,
    /// Where its readers begin, if that is not where the first segment does.
    pub log_start: Option<Offset>,
    /// The new directory, which is there.
    pub to: &'a Path,
    pub config: &'a TopicConfig,
    /// Whether what stands whole behind a tear above the proven end is kept, too.
    pub keeps_behind: bool,
    /// Whether there was such a tear.
    pub is_behind: bool,
    pub out: &'a mut Verifying<'b>,
}

const LEFT: &str = "it was left out";
const HOLE: &str =
    "it was left out; an empty batch stands in its place, so that its offsets are nobody else's";

const GONE: &str =
    "it was gone before, and nothing of it could be copied: restore the files from a copy, and salvage again";
const TORN_HOLE: &str =
    "it was left out; where something was kept behind it, an empty batch stands in its place";
const LEFT_BEHIND: &str = "they were left out, as a recovery leaves them; salvage can keep them, if asked to";
const KEPT_BEHIND: &str = "they were kept, as was asked for; a recovery would have left them";

/// The whole batches of a segment that stand behind a tear.
#[derive(Debug, Default)]
struct Behind {
    bytes: Option<Range<u64>>,
    offsets: Range<Offset>,
    batches: u64,
    records: u64,
}

impl Behind {
    fn take(&mut self, found: &Found) {
        let header = &found.header;
        let end = found.position.saturating_add(header.size as u64);
        match &mut self.bytes {
            Some(bytes) => bytes.end = end,
            None => {
                self.bytes = Some(found.position..end);
                self.offsets.start = header.base_offset;
            }
        }
        self.offsets.end = header.next_offset();
        self.batches = self.batches.saturating_add(1);
        self.records = self.records.saturating_add(header.records_count.into());
    }
}

impl PartitionCopy<'_, '_> {
    /// Copies the partition.
    pub fn run(mut self) -> Result<Copied> {
        let mut copy = LogCopy::new(Arc::clone(&self.survey.vfs), self.to, self.config.clone());
        let epochs = self.epochs();
        let stored = LeaderEpochs::read(self.survey.vfs.as_ref(), &self.place.dir).ok().flatten();
        let slot = self.place.proven;
        let mut start = self.log_start.unwrap_or_default();
        if let Some(names) = self.names() {
            let losses = LossCheck { survey: self.survey, place: self.place, names: &names, advice: GONE };
            let end = self.copy_segments(&losses, epochs.as_ref(), &mut copy)?;
            let first_epoch =
                stored.as_ref().and_then(|epochs| epochs.entries().next()).map(|(_, start)| start);
            start = self.start_within(start, copy.next_offset());
            losses.tell(end, first_epoch, self.out);
            self.tell_lost(&names.logs);
        }
        self.fill_to_proof(&mut copy, epochs.as_ref())?;
        let epoch = stored.and_then(|epochs| epochs.latest()).unwrap_or_default();
        copy.finish(start, epoch, slot.map_or(1, |slot| slot.generation.saturating_add(1)))
    }

    /// Copies one segment after the other; returns where they end, without what a recovery would cut.
    fn copy_segments(
        &mut self,
        losses: &LossCheck<'_>,
        epochs: Option<&LeaderEpochs>,
        copy: &mut LogCopy,
    ) -> Result<Option<Offset>> {
        let bases = &losses.names.logs;
        self.check_first(bases.first().copied());
        let mut due = bases.first().copied();
        let (mut end, mut before) = (None, None);
        for (number, base) in bases.iter().copied().enumerate() {
            let next = bases.get(number.saturating_add(1)).copied();
            let was_left = self.is_left();
            if !was_left {
                if let (Some(before), Some(due)) = (before, due) {
                    losses.tell_gap(before, due..base, self.out);
                }
                self.check_follows(base, due);
            }
            before = Some(base);
            due = match self.copy_segment(base, next, due, epochs, copy) {
                Ok(end) => Some(end),
                Err(error) if is_of(&error, self.to) => return Err(error),
                Err(error) => {
                    let offsets = base..next.unwrap_or(base);
                    let is_proven = !self.is_behind;
                    let finding = self.left(FindingKind::Unreadable, is_proven, base, plain(&error));
                    self.out.add(finding.offsets(offsets));
                    next
                }
            };
            if !was_left {
                end = due.or(end);
            }
        }
        Ok(end)
    }

    /// Tells that the first segments of a log of ours are missing.
    fn check_first(&mut self, first: Option<Offset>) {
        let start = self.log_start.unwrap_or_default();
        if let Some(first) = first.filter(|first| *first > start && self.place.proven.is_some()) {
            let what = "the first segment is missing";
            let finding = self.left(FindingKind::Segment, true, start, what).offsets(start..first);
            self.out.add(Finding { advice: "the log begins behind it", ..finding });
        }
    }

    /// Tells which segments of Kafka's are not what they were when the directory was taken over, where that was not told.
    fn tell_lost(&mut self, bases: &[Offset]) {
        let Some(first) = bases.first() else { return };
        let start = self.place.proven.map(|proven| proven.log_start);
        let losses = match self.place.lost_segments(&self.survey.vfs, start) {
            Ok(losses) => losses,
            Err(error) => {
                let advice = "whether segments of Kafka's are missing is not known: look at the disk";
                let (kind, severity) = (FindingKind::Unreadable, Severity::Damage);
                self.out.add(Finding::new(kind, severity, &self.place.dir, plain(&error), advice));
                return;
            }
        };
        for loss in losses.into_iter().filter(|loss| loss.offsets.end > *first) {
            let finding = self.left(FindingKind::Segment, true, loss.base, loss.to_string());
            if !self.out.has_damage_of(&finding.file, &loss.offsets) {
                self.out.add(Finding { advice: LEFT, ..finding.offsets(loss.offsets) });
            }
        }
    }

    /// Where readers begin. A start behind the end is not believed, for it would hide everything: no checksum covers
    /// Kafka's checkpoint.
    fn start_within(&mut self, start: Offset, end: Option<Offset>) -> Offset {
        let Some(end) = end.filter(|end| *end < start && self.place.proven.is_none()) else { return start };
        let what = format!("the log is to begin at offset {start}, and ends at {end}");
        let advice = "it begins where its first segment does: records may be there that had been deleted";
        let (kind, severity) = (FindingKind::OffsetCheckpoint, Severity::Damage);
        self.out.add(Finding::new(kind, severity, &self.place.dir, what, advice).offsets(end..start));
        0
    }

    /// The leader epochs as the checkpoint has them, where it can be read. Without it batches keep those that they have.
    fn epochs(&mut self) -> Option<LeaderEpochs> {
        match LeaderEpochs::load(self.survey.vfs.as_ref(), &self.place.dir, 0) {
            Ok(epochs) => epochs.latest().map(|_| epochs),
            Err(error) => {
                let file = error.file().unwrap_or(&self.place.dir).to_owned();
                let advice = "the epochs were taken from the batches";
                let (kind, severity) = (FindingKind::LeaderEpochs, Severity::Damage);
                self.out.add(Finding::new(kind, severity, file, plain(&error), advice));
                None
            }
        }
    }

    /// What stands in the directory, if it can be listed.
    fn names(&mut self) -> Option<SegmentNames> {
        let dir = &self.place.dir;
        let error = match self.survey.vfs.read_dir(dir).doing("list", dir) {
            Ok(entries) => return Some(SegmentNames::of(&entries)),
            Err(error) => error,
        };
        let (kind, is_missing) = (FindingKind::Partition, is_missing(&error));
        // That a directory is gone which a checkpoint names was told.
        if !is_missing || !self.out.has_told(kind) {
            let what = if is_missing { "the directory is missing".to_owned() } else { plain(&error) };
            self.out.add(Finding::new(kind, Severity::Damage, dir, what, LEFT));
        }
        None
    }

    /// Whether the copy goes on behind what is not whole, or missing: a recovery cuts there above what is proven.
    fn goes_on(&mut self, is_proven: bool) -> bool {
        self.is_behind |= !is_proven;
        !self.is_left()
    }

    /// Whether what comes is only counted.
    fn is_left(&self) -> bool {
        self.is_behind && !self.keeps_behind
    }

    /// Tells what is missing before a segment. Above what is proven that is a tear.
    fn check_follows(&mut self, base: Offset, due: Option<Offset>) {
        let Some(due) = due.filter(|due| *due != base && (base < *due || base > self.place.kafka_end)) else {
            return;
        };
        let is_proven = self.proof.covers(base, 0, due.min(base))
            || matches!(self.proof, Proof::Slot(slot) if base <= slot.segment);
        let what = format!("the segment begins at offset {base}, and the one before it ends at {due}");
        let finding = self.left(FindingKind::Segment, is_proven, base, what);
        self.out.add(finding.offsets(due.min(base)..base.max(due)));
        self.goes_on(is_proven);
    }

    fn copy_segment(
        &mut self,
        base: Offset,
        next: Option<Offset>,
        due: Option<Offset>,
        epochs: Option<&LeaderEpochs>,
        copy: &mut LogCopy,
    ) -> Result<Offset> {
        let mut walk = self.walk(base, next)?;
        let (mut is_begun, mut end) = (false, due.unwrap_or(base).max(base));
        let mut behind = Behind::default();
        loop {
            let from = walk.position();
            let Some(step) = walk.step() else { break };
            self.out.advance(walk.position().saturating_sub(from));
            match step {
                Step::Batch(found) => {
                    let epoch = (!self.is_left()).then(|| self.accept(base, &found, end, epochs, copy));
                    if found.header.base_offset < end {
                        continue;
                    }
                    if self.is_behind {
                        behind.take(&found);
                    }
                    let Some(epoch) = epoch.flatten() else { continue };
                    if !is_begun {
                        copy.begin_segment(base, epoch)?;
                        is_begun = true;
                    }
                    copy.push(&found.header, &found.bytes, epoch)?;
                    self.out.count(&found);
                    end = found.header.next_offset();
                }
                Step::Damaged(_) | Step::Zeros(_) if self.is_left() => {}
                Step::Damaged(place) => {
                    let is_proven = self.proof.covers(base, place.bytes.start, place.offsets.start);
                    let finding = self.left(FindingKind::Batch, is_proven, base, plain(&place.error));
                    self.out.add(finding.bytes(place.bytes).offsets(place.offsets.clone()));
                    if self.goes_on(is_proven) {
                        end = end.max(place.offsets.end);
                    }
                }
                Step::Zeros(_) if next.is_some() && !self.proof.covers(base, from, end) => {
                    self.goes_on(false);
                }
                Step::Zeros(_) => {}
            }
        }
        if is_begun {
            self.copy_transactions(base, end)?;
        }
        self.tell_behind(base, behind);
        Ok(end)
    }

    fn walk(&self, base: Offset, next: Option<Offset>) -> Result<LogWalk> {
        let path = self.place.dir.join(SegmentFile::Log.name(base));
        let file = self.survey.vfs.open(&path, OpenMode::Read).doing("open", &path)?;
        let len = file.size().doing("measure", &path)?;
        let slot = self.place.proven.filter(|slot| self.proof == Proof::All && slot.segment == base);
        let index = offset_index(self.survey.vfs.as_ref(), &path, base);
        let walk = LogWalk::new(FileView::Read(file), Some(base), len, &self.out.codecs);
        Ok(walk.before(next.or(slot.map(|slot| slot.offset))).with_index(index))
    }

    /// Lists the whole batches of a segment that stand behind a tear.
    fn tell_behind(&mut self, base: Offset, behind: Behind) {
        let Behind { bytes: Some(bytes), offsets, batches, records } = behind else { return };
        let (are, advice) = match self.keeps_behind {
            true => ("stood", KEPT_BEHIND),
            false => ("stand", LEFT_BEHIND),
        };
        let what = format!(
            "{batches} whole batches, {records} records, {are} behind a tear, above what is proven to be durable"
        );
        let file = self.place.dir.join(SegmentFile::Log.name(base));
        let finding = Finding::new(FindingKind::BehindTear, Severity::Unrecovered, file, what, advice);
        self.out.add(finding.bytes(bytes).offsets(offsets));
        if !self.keeps_behind {
            self.out.count_left(batches, records);
        }
    }

    /// The leader epoch that a batch gets; `None` where recovery would cut it.
    fn accept(
        &mut self,
        base: Offset,
        found: &Found,
        end: Offset,
        epochs: Option<&LeaderEpochs>,
        copy: &LogCopy,
    ) -> Option<LeaderEpoch> {
        let header = &found.header;
        let bytes = found.position..found.position.saturating_add(header.size as u64);
        let offsets = header.base_offset..header.next_offset();
        let is_proven = self.proof.covers(base, bytes.start, offsets.start);
        if header.base_offset < end {
            let what = "its offsets are those of another batch, which stands before it";
            let finding = self.left(FindingKind::Batch, is_proven, base, what).bytes(bytes).offsets(offsets);
            self.out.add(Finding { advice: LEFT, ..finding });
            return self.goes_on(is_proven).then_some(0);
        }
        if !found.missing.is_empty() && found.missing.end > self.place.kafka_end {
            let what = "no batch holds these offsets";
            let finding = self.left(FindingKind::MissingOffsets, is_proven, base, what);
            self.out.add(finding.offsets(found.missing.clone()));
            if !self.goes_on(is_proven) {
                return None;
            }
        }
        let known = epochs.and_then(|epochs| epochs.at(header.base_offset));
        let is_kafkas = header.base_offset < self.place.kafka_end;
        let stated = LeaderEpoch::try_from(header.leader_epoch).unwrap_or_default();
        let least = copy.latest_epoch().unwrap_or_default();
        let epoch = known.unwrap_or(stated).max(least);
        if i64::from(epoch) != i64::from(header.leader_epoch) {
            let what =
                format!("the batch has the leader epoch {}, and its offset {epoch}", header.leader_epoch);
            let mut finding =
                self.left(FindingKind::LeaderEpoch, is_proven, base, what).bytes(bytes).offsets(offsets);
            // A recovery of Kafka's keeps it.
            let goes_on = is_kafkas || self.goes_on(is_proven);
            if goes_on {
                finding.advice = "it was kept, with the epoch of its offset";
            }
            self.out.add(finding);
            if !goes_on {
                return None;
            }
        }
        Some(epoch)
    }

    /// Offsets that were acknowledged are given to nobody else, also where the end of the log is lost.
    fn fill_to_proof(&mut self, copy: &mut LogCopy, epochs: Option<&LeaderEpochs>) -> Result<()> {
        let Some(slot) = self.place.proven else { return Ok(()) };
        let end = copy.next_offset().unwrap_or(slot.log_start);
        if end >= slot.offset {
            return Ok(());
        }
        if !self.out.has_damage_up_to(slot.offset) {
            let what = "the log is shorter than what is proven to be durable";
            let finding = self.left(FindingKind::End, true, slot.segment, what);
            self.out.add(finding.offsets(end..slot.offset));
        }
        let epoch = epochs.and_then(|epochs| epochs.at(end)).max(copy.latest_epoch()).unwrap_or_default();
        if copy.next_offset().is_none() {
            copy.begin_segment(slot.log_start, epoch)?;
        }
        copy.fill(slot.offset, epoch)
    }

    /// What Kafka's readers need to pass over the records of aborted transactions.
    fn copy_transactions(&mut self, base: Offset, end: Offset) -> Result<()> {
        let from = self.place.dir.join(SegmentFile::TransactionIndex.name(base));
        let read =
            read_file(self.survey.vfs.as_ref(), &from, most(FileKind::TransactionIndex)).doing("read", &from);
        let entries = match read.and_then(|bytes| AbortedTransaction::read_all(&bytes, base)) {
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => {
                let (kind, severity) = (FindingKind::TransactionIndex, Severity::Damage);
                let finding = Finding::new(kind, severity, from, plain(&error), LEFT);
                self.out.add(finding.offsets(base..end));
                return Ok(());
            }
            Ok(entries) => entries,
        };
        let mut bytes = Vec::new();
        entries.iter().filter(|entry| entry.last_offset < end).for_each(|entry| entry.write(&mut bytes));
        let to = self.to.join(SegmentFile::TransactionIndex.name(base));
        let file = self.survey.vfs.open(&to, OpenMode::CreateEmpty).doing("create", &to)?;
        write_all_at(file.as_ref(), &bytes, 0).doing("write", &to)?;
        file.sync_all().doing("sync", &to)
    }

    /// Something of a log that is left.
    fn left(&self, kind: FindingKind, is_proven: bool, base: Offset, what: impl Into<String>) -> Finding {
        let (severity, advice) = match is_proven {
            true => (Severity::Damage, HOLE),
            false if self.keeps_behind => (Severity::Unrecovered, TORN_HOLE),
            false => (Severity::Unrecovered, LEFT),
        };
        Finding::new(kind, severity, self.place.dir.join(SegmentFile::Log.name(base)), what, advice)
    }
}

/// Whether an error is the target's, which ends the salvage.
pub fn is_of(error: &Error, target: &Path) -> bool {
    error.file().is_none_or(|file| file.starts_with(target))
}
