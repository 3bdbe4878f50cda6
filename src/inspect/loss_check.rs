//! What is gone of a partition of Kafka's, by what is left of it: for who verifies it, and who salvages it.

use std::ops::Range;

use super::Verifying;
use super::finding::{Finding, FindingKind, Severity};
use super::survey::{DirectoryKind, PartitionPlace, Survey};
use crate::broker::{Loss, SegmentNames, Weight, Witness, last_indexed};
use crate::file_name::{CLEANER_POINTS, LEADER_EPOCH_CHECKPOINT, SegmentFile};
use crate::model::Offset;

/// A partition, and what stands in its directory.
#[derive(Clone, Copy, Debug)]
pub struct LossCheck<'a> {
    pub survey: &'a Survey,
    pub place: &'a PartitionPlace,
    pub names: &'a SegmentNames,
    /// What to do about what was on stable storage, and is gone.
    pub advice: &'static str,
}

impl LossCheck<'_> {
    /// Tells what is gone by the names of the files, and, in a directory of Kafka's, of a log that ends at `end`: in a
    /// directory of ours, of what Kafka has written. A broker that runs removes and makes files while they are looked at,
    /// and what was synced is there all the same.
    pub fn tell(&self, end: Option<Offset>, first_epoch: Option<Offset>, out: &mut Verifying<'_>) {
        let last = self.names.logs.last().copied().or(end).unwrap_or_default();
        let losses = self.losses(end, first_epoch);
        for loss in losses.into_iter().filter(|loss| loss.offsets.start < self.place.kafka_end) {
            let is_end =
                matches!(loss.by, Witness::RecoveryPoint | Witness::HighWatermark | Witness::LogStart);
            if !(is_end && out.has_damage_up_to(loss.offsets.end)) {
                self.report(&loss, last, out);
            }
        }
    }

    /// Tells what is gone between the segment at `before`, whose log ends at an offset, and the next one. What Kafka has
    /// written need not be without a gap; but it may be seen that there was none.
    pub fn tell_gap(&self, before: Offset, gap: Range<Offset>, out: &mut Verifying<'_>) {
        if gap.is_empty() || gap.end > self.place.kafka_end {
            return;
        }
        let is_told =
            self.names.lost_logs(self.start(), gap.end).iter().any(|lost| lost.offsets.end == gap.end);
        if is_told {
            return;
        }
        let indexed = last_indexed(self.survey.vfs.as_ref(), &self.place.dir, before);
        let evidence = self.survey.evidence.of(&self.place.topic, self.place.partition);
        let synced = if self.survey.kind == DirectoryKind::Ottla { Offset::MAX } else { evidence.synced() };
        if let Some(loss) = self.names.in_gap(before, gap, indexed, synced, evidence.cleaned) {
            self.report(&loss, before, out);
        }
    }

    fn losses(&self, end: Option<Offset>, first_epoch: Option<Offset>) -> Vec<Loss> {
        match self.survey.kind {
            DirectoryKind::Kafka => {
                let evidence = self.survey.evidence.of(&self.place.topic, self.place.partition);
                let mut losses = evidence.losses(self.names, end, first_epoch);
                losses.retain(|loss| !self.survey.is_live || loss.by == Witness::RecoveryPoint);
                losses
            }
            DirectoryKind::Ottla => {
                let mut losses = self.names.lost_logs(self.start(), self.reach());
                // That the first segment is missing was told.
                losses.retain(|loss| self.names.logs.first().is_some_and(|first| loss.offsets.end > *first));
                losses
            }
        }
    }

    fn start(&self) -> Offset {
        self.place.proven.map_or(0, |proven| proven.log_start)
    }

    /// Up to where Kafka's part of a log of ours reaches; where all of it is Kafka's, nothing but the slot says so.
    fn reach(&self) -> Offset {
        match self.place.kafka_end {
            Offset::MAX => self.place.proven.map_or(0, |proven| proven.offset),
            end => end,
        }
    }

    fn report(&self, loss: &Loss, last: Offset, out: &mut Verifying<'_>) {
        let kind = match loss.by {
            Witness::RecoveryPoint | Witness::HighWatermark | Witness::LogStart => FindingKind::End,
            Witness::CleanerPoint => FindingKind::OffsetCheckpoint,
            Witness::FirstEpoch => FindingKind::LeaderEpochs,
            _ => FindingKind::Segment,
        };
        let file = match kind {
            FindingKind::OffsetCheckpoint => self.survey.root.join(CLEANER_POINTS),
            FindingKind::LeaderEpochs => self.place.dir.join(LEADER_EPOCH_CHECKPOINT),
            _ => self.place.dir.join(SegmentFile::Log.name(loss.segment(last))),
        };
        let advice = match (loss.weight, loss.by) {
            (Weight::Proven, _) => self.advice,
            (Weight::Unproven, _) => {
                "nothing says that it was on stable storage: a power cut may have taken it, and Kafka goes on without it"
            }
            (Weight::Hint, Witness::FirstSegment | Witness::FirstEpoch) => {
                "a retention that was interrupted leaves it like that; if nobody has deleted records, segments are missing"
            }
            (Weight::Hint, Witness::CleanerPoint) => {
                "no record is concerned: Kafka then compacts from the beginning again"
            }
            (Weight::Hint, _) => {
                "the replica of a log that another broker has compacted is like that; if this is none, segments are missing"
            }
        };
        let finding = Finding::new(kind, severity_of(loss.weight), file, loss.to_string(), advice);
        out.add(finding.offsets(loss.offsets.clone()));
    }
}

/// How bad it is that something is gone.
pub fn severity_of(weight: Weight) -> Severity {
    match weight {
        Weight::Hint => Severity::Note,
        Weight::Unproven => Severity::Unrecovered,
        Weight::Proven => Severity::Damage,
    }
}
