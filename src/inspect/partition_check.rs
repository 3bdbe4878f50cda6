//! Holds a partition together: its directory, its segments in order, where they end, and what is said of them.

use std::path::PathBuf;

use super::finding::{Finding, FindingKind, Severity};
use super::kafka_epochs::KafkaEpochs;
use super::loss_check::LossCheck;
use super::segment_check::{Checked, Proof, SegmentCheck, is_missing, plain};
use super::small_files::most;
use super::survey::{DirectoryKind, PartitionPlace, Survey, read_topic_id};
use super::{FileKind, Verifying};
use crate::broker::{SegmentNames, behind_closed_end, encode_partition_metadata};
use crate::error::{Error, IoContext, Result};
use crate::file_name::{ENDS, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, Replacement, SegmentFile};
use crate::model::Offset;
use crate::partition_log::LeaderEpochs;
use crate::producer_snapshot::ProducerSnapshot;
use crate::vfs::{DirEntry, EntryKind, read_file};

/// A partition that is being checked.
pub struct PartitionCheck<'a, 'b> {
    survey: &'a Survey,
    place: &'a PartitionPlace,
    out: &'a mut Verifying<'b>,
}

const RESTORE: &str = "nothing can make it again: restore it from a copy, or salvage the directory";
const SALVAGE: &str = "these records were acknowledged, and are not there: restore the files from a copy, or salvage the \
                       directory to go on without them";

impl<'a, 'b> PartitionCheck<'a, 'b> {
    pub fn new(survey: &'a Survey, place: &'a PartitionPlace, out: &'a mut Verifying<'b>) -> Self {
        Self { survey, place, out }
    }

    /// Reads all of it.
    pub fn run(&mut self) {
        self.out.partition = Some((self.place.topic.as_str().to_owned(), self.place.partition));
        self.out.report.partitions += 1;
        if let Err(error) = self.check() {
            self.out.add(unreadable(&error, &self.place.dir));
        }
        self.out.partition = None;
    }

    fn check(&mut self) -> Result<()> {
        let (vfs, dir) = (self.survey.vfs.as_ref(), &self.place.dir);
        let entries = match vfs.read_dir(dir).doing("list", dir) {
            Err(error) if is_missing(&error) => {
                let what = "the directory of the partition is missing";
                self.damage(FindingKind::Partition, dir.clone(), what, RESTORE);
                return Ok(());
            }
            listed => listed?,
        };
        self.check_topic_id();
        if self.is_ours() && self.place.proven.is_none() && self.survey.ends.is_ok() {
            let what = "the ends file says nothing of the partition: both of its slots are damaged, or gone";
            self.damage(FindingKind::Ends, self.survey.root.join(ENDS), what, RESTORE);
        }
        let epochs = self.epochs();
        let names = SegmentNames::of(&entries);
        self.check_names(&entries, &names);
        let end = self.check_segments(&names, epochs.as_ref())?;
        if let (Some(epochs), Some(end)) = (&epochs, end) {
            self.check_epochs(epochs, names.logs.first().copied(), end);
        }
        let first_epoch = epochs.as_ref().and_then(|epochs| epochs.entries().next()).map(|(_, start)| start);
        self.losses(&names).tell(end, first_epoch, self.out);
        self.check_snapshots(&entries, end);
        self.check_kafka_segments(&names)
    }

    fn losses<'c>(&self, names: &'c SegmentNames) -> LossCheck<'c>
    where
        'a: 'c,
    {
        LossCheck { survey: self.survey, place: self.place, names, advice: SALVAGE }
    }

    /// What of Kafka's segments is not what it was when the directory was taken over, where that was not told.
    fn check_kafka_segments(&mut self, names: &SegmentNames) -> Result<()> {
        let Some(first) = names.logs.first() else { return Ok(()) };
        let mut losses = self.place.lost_segments(&self.survey.vfs, Some(0))?;
        // An owner notes where the log begins before it removes a segment.
        let start = self.survey.log_start_now(self.place).unwrap_or(*first);
        losses.retain(|loss| loss.offsets.end > start.max(*first));
        for loss in losses {
            let file = self.place.dir.join(SegmentFile::Log.name(loss.base));
            let offsets = loss.offsets.start.max(start)..loss.offsets.end;
            if !self.out.has_damage_of(&file, &offsets) {
                let (kind, severity) = (FindingKind::Segment, Severity::Damage);
                let finding = Finding::new(kind, severity, file, loss.to_string(), SALVAGE);
                self.out.add(finding.offsets(offsets));
            }
        }
        Ok(())
    }

    fn is_ours(&self) -> bool {
        self.survey.kind == DirectoryKind::Ottla
    }

    fn damage(&mut self, kind: FindingKind, file: PathBuf, what: impl Into<String>, advice: &'static str) {
        self.out.add(Finding::new(kind, Severity::Damage, file, what, advice));
    }

    fn check_topic_id(&mut self) {
        let file = self.place.dir.join(PARTITION_METADATA);
        let kind = FindingKind::Partition;
        match (read_topic_id(self.survey.vfs.as_ref(), &self.place.dir), self.place.id) {
            (Err(error), _) => {
                let what =
                    if is_missing(&error) { "the topic id is missing".to_owned() } else { plain(&error) };
                let advice = "write it again from the manifest, or, in a directory of Kafka's, from the other partitions \
                              of the topic";
                self.damage(kind, file, what, advice);
            }
            (Ok(found), Some(id)) if found != id => {
                let what = format!("the directory belongs to topic id {found}, and the topic has {id}");
                self.damage(kind, file, what, RESTORE);
            }
            (Ok(id), _) => {
                let text = encode_partition_metadata(id);
                self.check_written(file, kind, FileKind::PartitionMetadata, &text);
            }
        }
    }

    /// A file of ours that reads right and is not as it was written has a changed byte.
    fn check_written(&mut self, file: PathBuf, kind: FindingKind, as_a: FileKind, text: &str) {
        let bytes = read_file(self.survey.vfs.as_ref(), &file, most(as_a)).unwrap_or_default();
        if self.is_ours() && bytes != text.as_bytes() && !self.survey.is_live {
            let what = "it reads right, and is not as it was written: a byte was changed";
            let advice = "nothing was lost; it is written anew with the next change";
            self.out.add(Finding::new(kind, Severity::Derived, file, what, advice));
        }
    }

    fn epochs(&mut self) -> Option<LeaderEpochs> {
        let (vfs, dir) = (self.survey.vfs.as_ref(), &self.place.dir);
        let holds = self.place.proven.map_or(0, |proven| proven.offset);
        let file = dir.join(LEADER_EPOCH_CHECKPOINT);
        match LeaderEpochs::load(vfs, dir, holds) {
            Ok(epochs) => {
                let text = epochs.encode();
                if epochs.latest().is_some() {
                    self.check_written(file, FindingKind::LeaderEpochs, FileKind::LeaderEpochs, &text);
                }
                Some(epochs)
            }
            Err(error) => {
                let severity = if self.is_ours() { Severity::Damage } else { Severity::Derived };
                let advice = "restore it from a copy, or salvage the directory, which takes the epochs from the batches";
                self.out.add(Finding::new(FindingKind::LeaderEpochs, severity, file, plain(&error), advice));
                None
            }
        }
    }

    /// Tells whatever does not belong there.
    fn check_names(&mut self, entries: &[DirEntry], names: &SegmentNames) {
        let is_orphan =
            |base: Offset| base >= self.place.kafka_end && names.logs.binary_search(&base).is_err();
        let is_proven = self.place.proven.is_some_and(|proven| proven.offset > 0);
        for entry in entries {
            let (kind, base) = FileKind::of(&entry.name);
            if Replacement::parse(&entry.name) == Some(Replacement::Swap) && !self.is_ours() {
                self.report_swap(&entry.name);
                continue;
            }
            let is_known = entry.kind == EntryKind::File && kind != FileKind::Unknown;
            let is_index =
                matches!(kind, FileKind::OffsetIndex | FileKind::TimeIndex | FileKind::TransactionIndex);
            let file = self.place.dir.join(&entry.name);
            let (severity, what) = if !is_known {
                (Severity::Note, "nothing of this name belongs into the directory of a partition")
            } else if is_index && base.is_some_and(is_orphan) && is_proven {
                (Severity::Note, "an index has no log")
            } else {
                continue;
            };
            // What an unclean stop interrupted may have left it.
            let is_left = !self.survey.is_clean() && is_known;
            if !is_left {
                let advice = "it is left alone; remove it if it is nobody's";
                self.out.add(Finding::new(FindingKind::Foreign, severity, file, what, advice));
            }
        }
    }

    /// A broker that runs is about to finish it.
    fn report_swap(&mut self, name: &str) {
        if !self.survey.is_live {
            let what =
                "what compaction has made was to take the place of segments when the broker was stopped";
            let advice = "only the broker can finish it: start it once, and stop it; until then an adoption refuses the \
                          directory";
            let file = self.place.dir.join(name);
            self.out.add(Finding::new(FindingKind::Segment, Severity::Unrecovered, file, what, advice));
        }
    }

    /// Reads every segment in order; returns the offset behind the last batch.
    fn check_segments(
        &mut self,
        names: &SegmentNames,
        epochs: Option<&LeaderEpochs>,
    ) -> Result<Option<Offset>> {
        let (proof, bases) = (Proof::of(self.survey, self.place), &names.logs);
        self.check_first(bases);
        let (mut end, mut meets) = (None, false);
        let mut kafkas = KafkaEpochs::of(self.survey, self.place, epochs);
        let mut before = None;
        for (number, base) in bases.iter().copied().enumerate() {
            let next = bases.get(number.saturating_add(1)).copied();
            if self.survey.is_live && matches!(proof, Proof::Slot(proven) if base > proven.segment) {
                break;
            }
            if let (Some(before), Some(end)) = (before, end) {
                self.losses(names).tell_gap(before, end..base, self.out);
            }
            before = Some(base);
            if !self.follows(base, end, proof) {
                break;
            }
            let next = next.filter(
                |next| !matches!(proof, Proof::Slot(proven) if self.survey.is_live && *next > proven.segment),
            );
            let check = SegmentCheck {
                vfs: self.survey.vfs.as_ref(),
                dir: &self.place.dir,
                base,
                next,
                proof,
                slot: self.place.proven,
                is_open: !self.survey.is_clean(),
                is_live: self.survey.is_live,
                kafka_end: self.place.kafka_end,
                epochs,
            };
            let Checked { end: found, position, meets_proof, is_cut } = match check.run(&mut kafkas, self.out)
            {
                Err(error) if self.survey.is_live && is_missing(&error) => break,
                checked => checked?,
            };
            end = Some(found);
            meets |= meets_proof;
            if is_cut {
                break;
            }
            if next.is_none() {
                self.check_end(base, found, position);
            }
        }
        kafkas.into_iter().flat_map(KafkaEpochs::finish).for_each(|finding| self.out.add(finding));
        self.check_proof(end, meets);
        Ok(end)
    }

    fn check_first(&mut self, bases: &[Offset]) {
        let Some(first) = bases.first() else {
            if self.is_ours() {
                let what = "the partition has no segment";
                self.damage(FindingKind::Segment, self.place.dir.clone(), what, SALVAGE);
            }
            return;
        };
        let start = self.place.proven.map_or(*first, |proven| proven.log_start);
        if *first > start {
            let file = self.place.dir.join(SegmentFile::Log.name(start));
            let finding = Finding::new(
                FindingKind::Segment,
                Severity::Damage,
                file,
                "the first segment is missing",
                SALVAGE,
            );
            self.out.add(finding.offsets(start..*first));
        }
    }

    /// Whether the segment begins where the one before it ends, or goes on behind what was damaged; false where nothing
    /// of it is proven, and recovery cuts it.
    fn follows(&mut self, base: Offset, end: Option<Offset>, proof: Proof) -> bool {
        let Some(end) = end.filter(|end| *end != base) else { return true };
        if base > end && base <= self.place.kafka_end {
            return true;
        }
        let file = self.place.dir.join(SegmentFile::Log.name(base));
        if proof.covers(base, 0, end.min(base)) || matches!(proof, Proof::Slot(slot) if base <= slot.segment)
        {
            let what = format!("the segment begins at offset {base}, and the one before it ends at {end}");
            let finding = Finding::new(FindingKind::Segment, Severity::Damage, file, what, SALVAGE);
            self.out.add(finding.offsets(end.min(base)..base.max(end)));
            return true;
        }
        if !self.survey.is_live {
            let what = "the segment does not follow on the one before it";
            let advice =
                "it lies above what is proven to be durable: the next opening moves it to a quarantine file";
            let finding = Finding::new(FindingKind::Segment, Severity::Unrecovered, file, what, advice);
            self.out.add(finding.offsets(base..base));
        }
        false
    }

    /// A directory that was closed in order ends where it says.
    fn check_end(&mut self, base: Offset, end: Offset, position: u64) {
        let closed = self.survey.evidence.of(&self.place.topic, self.place.partition).closed_before(end);
        if let Some(closed) = closed.filter(|_| !self.is_ours() && !self.survey.is_live) {
            let file = self.place.dir.join(SegmentFile::Log.name(base));
            let what = behind_closed_end(end, closed);
            let advice = "the offset of a batch was changed, which no checksum covers, or the log or the checkpoint is a copy \
                          of another time: restore the files from one copy";
            let finding = Finding::new(FindingKind::End, Severity::Damage, file, what, advice);
            self.out.add(finding.offsets(closed..end));
        }
        let Some(proven) = self.place.proven.filter(|_| self.is_ours() && self.survey.is_clean()) else {
            return;
        };
        if end > proven.offset {
            let what = format!(
                "the log ends at offset {end}, byte {position}; what was closed in order ended at offset {}, byte {}",
                proven.offset, proven.position
            );
            let file = self.place.dir.join(SegmentFile::Log.name(base));
            let advice =
                "the ends file or the log is a copy of another time, or damaged: restore both from one copy";
            let finding = Finding::new(FindingKind::End, Severity::Damage, file, what, advice);
            self.out.add(finding.offsets(proven.offset..end));
        }
    }

    /// What is proven has to be there.
    fn check_proof(&mut self, end: Option<Offset>, meets: bool) {
        let Some(proven) = self.place.proven.filter(|_| self.is_ours() && !meets) else { return };
        let end = end.unwrap_or(proven.log_start);
        let is_beyond = end > proven.offset;
        let was_told = self.out.has_damage_up_to(proven.offset) || is_beyond && self.survey.is_clean();
        if was_told {
            return;
        }
        let found = match is_beyond {
            // The log of another partition, for one.
            true => "no batch ends there".to_owned(),
            false => format!("the log ends at offset {end}"),
        };
        let what = format!(
            "it is proven to be durable up to offset {}, byte {} of segment {}, and {found}",
            proven.offset, proven.position, proven.segment
        );
        let file = self.place.dir.join(SegmentFile::Log.name(proven.segment));
        let finding = Finding::new(FindingKind::End, Severity::Damage, file, what, SALVAGE);
        self.out.add(finding.offsets(end.min(proven.offset)..proven.offset));
    }

    fn check_epochs(&mut self, epochs: &LeaderEpochs, first: Option<Offset>, end: Offset) {
        if !self.is_ours() && epochs.latest().is_none() && first.is_some_and(|first| first < end) {
            let is_proven =
                self.survey.is_clean() || self.place.recovery_point.is_some_and(|point| point > 0);
            let severity = if is_proven { Severity::Derived } else { Severity::Unrecovered };
            let what = "the leader epochs of a partition with records are missing";
            let advice = "no record is concerned: restore the file from a copy, or salvage the directory, which takes the \
                          epochs from the batches; a broker goes on without those of old records";
            let file = self.place.dir.join(LEADER_EPOCH_CHECKPOINT);
            self.out.add(Finding::new(FindingKind::LeaderEpochs, severity, file, what, advice));
        }
        let behind = epochs.entries().find(|(_, start)| *start > end);
        let Some((epoch, start)) = behind.filter(|_| self.survey.is_clean()) else { return };
        let severity = if self.is_ours() { Severity::Damage } else { Severity::Derived };
        let file = self.place.dir.join(LEADER_EPOCH_CHECKPOINT);
        let what =
            format!("leader epoch {epoch} begins at offset {start}, behind the end of the log at {end}");
        self.out.add(Finding::new(FindingKind::LeaderEpochs, severity, file, what, RESTORE));
    }

    fn check_snapshots(&mut self, entries: &[DirEntry], end: Option<Offset>) {
        let advice = "no record is changed: Kafka takes the one before it, and reads the log from there; of a producer whose \
                      records are all gone it knows nothing then";
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            let Some((SegmentFile::ProducerSnapshot, at)) = SegmentFile::parse(&entry.name) else { continue };
            let file = self.place.dir.join(&entry.name);
            let read = read_file(self.survey.vfs.as_ref(), &file, most(FileKind::ProducerSnapshot));
            let snapshot = read.doing("read", &file).and_then(|bytes| ProducerSnapshot::decode(&bytes));
            let what = match snapshot {
                Err(error) if self.survey.is_live && is_missing(&error) => continue,
                Err(error) => plain(&error),
                Ok(snapshot) => {
                    let late = snapshot.producers.iter().find(|producer| producer.last_offset >= Some(at));
                    match late {
                        Some(late) => {
                            format!("producer {} has written behind the snapshot's offset", late.producer_id)
                        }
                        None if self.survey.is_clean() && end.is_some_and(|end| at > end) => {
                            "the snapshot is of an offset behind the end of the log".to_owned()
                        }
                        None => continue,
                    }
                }
            };
            self.out.add(Finding::new(FindingKind::ProducerSnapshot, Severity::Derived, file, what, advice));
        }
    }
}

/// A failure of the file system.
pub fn unreadable(error: &Error, place: &std::path::Path) -> Finding {
    let file = error.file().unwrap_or(place);
    let advice = "nothing is known of what it holds: look at the disk, and at the rights of the file";
    Finding::new(FindingKind::Unreadable, Severity::Damage, file, plain(error), advice)
}
