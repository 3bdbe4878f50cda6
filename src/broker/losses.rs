//! What of a partition of Kafka's is gone, as what is left of it tells. Decisions, which read nothing: verifying, adopting
//! and undoing an adoption judge by the same ones.
//!
//! Evidence is of three weights. What was synced, or closed in order, has to be there. What was only written a power cut
//! may take, and Kafka goes on without it. And there are traces that a loss leaves, and a lawful life as well: a replica
//! of a compacted log has gaps, and a retention that was interrupted leaves old log starts.

use std::fmt;
use std::ops::Range;

use crate::file_name::{Replacement, SegmentFile};
use crate::model::Offset;
use crate::vfs::{DirEntry, EntryKind};

/// How sure it is that something is gone that has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// There is a lawful reason, too.
    Hint,
    /// It was written, and nothing says that it was synced: a power cut may take it.
    Unproven,
    /// It was synced, or the log was closed with it in order.
    Proven,
}

/// What tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A file that stands beside a log, without that log.
    Orphan {
        file: SegmentFile,
        base: Offset,
    },
    /// An index of the segment at `base` names a batch that the log has not.
    Index {
        base: Offset,
    },
    /// A producer snapshot that was taken where no batch is any more.
    Snapshot {
        at: Offset,
    },
    /// Nothing but the gap between the segments.
    Gap,
    RecoveryPoint,
    HighWatermark,
    /// The log ends before it begins.
    LogStart,
    /// The log begins behind its beginning.
    FirstSegment,
    /// Likewise, by the first leader epoch.
    FirstEpoch,
    CleanerPoint,
}

/// Offsets that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub weight: Weight,
    pub by: Witness,
    pub offsets: Range<Offset>,
}

impl Loss {
    fn new(weight: Weight, by: Witness, offsets: Range<Offset>) -> Self {
        Self { weight, by, offsets }
    }

    /// The base of the segment that it is about, of a log whose last one begins at `last`.
    pub fn segment(&self, last: Offset) -> Offset {
        match self.by {
            Witness::Orphan { base, .. } | Witness::Index { base } => base,
            Witness::Snapshot { .. } | Witness::Gap | Witness::FirstSegment | Witness::FirstEpoch => {
                self.offsets.start
            }
            _ => last,
        }
    }

    /// Whether it is more than this, and a trace of the other one's cause.
    fn covers(&self, other: &Self) -> bool {
        self.weight >= other.weight
            && self.offsets.start <= other.offsets.start
            && self.offsets.end >= other.offsets.end
    }
}

/// What is wrong, in a sentence without the place.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.offsets;
        match self.by {
            Witness::Orphan { file, base } => {
                write!(f, "the log of a segment is gone: {} is there without it", file.name(base))
            }
            Witness::Index { base } => write!(
                f,
                "the log of the segment at {base} ends at offset {start}, and its index names a batch behind that, \
                 before the next segment begins at {end}"
            ),
            Witness::Snapshot { at } => write!(
                f,
                "the log ends at offset {start}, and goes on at {end}, though it went on when the producer snapshot of \
                 offset {at} was taken, and compaction has not come there"
            ),
            Witness::Gap => write!(
                f,
                "the log ends at offset {start}, and goes on at {end}, where this broker has not compacted it"
            ),
            Witness::RecoveryPoint => {
                write!(f, "the log ends at offset {start}, and the broker had synced it up to offset {end}")
            }
            Witness::HighWatermark => {
                write!(f, "the log ends at offset {start}, and its high watermark had come to {end}")
            }
            Witness::LogStart => {
                write!(f, "the log ends at offset {start}, and is to begin at offset {end}")
            }
            Witness::FirstSegment => {
                write!(f, "the log is to begin at offset {start}, and its first segment begins at {end}")
            }
            Witness::FirstEpoch => {
                write!(
                    f,
                    "the first leader epoch begins at offset {start}, and the first segment at offset {end}"
                )
            }
            Witness::CleanerPoint => {
                write!(f, "the log ends at offset {start}, and compaction had come to {end}")
            }
        }
    }
}

/// What the broker's checkpoints say of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionEvidence {
    /// Whether the broker has closed everything in order. Then the log ends at the recovery point.
    pub clean: bool,
    /// Whether segments may lie elsewhere, so that a log begins before its first segment.
    pub is_tiered: bool,
    /// Where a log ended that was closed in order, if a checkpoint says so.
    pub closed_at: Option<Offset>,
    /// Up to where the log was synced; 0 if nothing says so, as for Kafka.
    pub recovery_point: Offset,
    /// Where the log begins, if that is not where its first segment does.
    pub log_start: Option<Offset>,
    pub high_watermark: Option<Offset>,
    /// Up to where compaction has come; 0 where it never was.
    pub cleaned: Offset,
}

impl PartitionEvidence {
    /// Where the log begins, as far as it is written down.
    pub fn log_start(&self) -> Offset {
        self.log_start.unwrap_or_default()
    }

    /// Up to where nothing may be gone.
    pub fn synced(&self) -> Offset {
        if self.clean { Offset::MAX } else { self.recovery_point }
    }

    /// Where the log ended when it was closed, if it ends behind that now. Of a partition that was empty then it is not
    /// asked: a hand-over that was interrupted has put a log there, and not yet changed the checkpoints.
    pub fn closed_before(&self, end: Offset) -> Option<Offset> {
        self.closed_at.filter(|closed| (1..end).contains(closed))
    }

    /// What is gone by the names of the files, and by the end of the log, if there is one. The gravest come first.
    pub fn losses(
        &self,
        names: &SegmentNames,
        end: Option<Offset>,
        first_epoch: Option<Offset>,
    ) -> Vec<Loss> {
        let closed = self.high_watermark.filter(|_| self.clean).unwrap_or_default();
        let mut losses = names.lost_logs(self.log_start(), self.recovery_point.max(closed));
        let end = end.unwrap_or(self.log_start());
        let more = self.behind_the_end(end).into_iter().chain(self.before_the_beginning(names, first_epoch));
        for loss in more.collect::<Vec<_>>() {
            if !losses.iter().any(|known| known.covers(&loss)) {
                losses.push(loss);
            }
        }
        losses.sort_by_key(|loss| std::cmp::Reverse(loss.weight));
        losses
    }

    fn behind_the_end(&self, end: Offset) -> Vec<Loss> {
        let if_clean = |weight| if self.clean { Weight::Proven } else { weight };
        let said = [
            (Some(self.recovery_point), Weight::Proven, Witness::RecoveryPoint),
            // The file is synced each five seconds, and the log is not.
            (self.high_watermark, if_clean(Weight::Unproven), Witness::HighWatermark),
            // Kafka drops such a log, and begins it anew; what is before its beginning was deleted.
            (self.log_start, if_clean(Weight::Unproven), Witness::LogStart),
            // A log that was truncated, or made anew, keeps it: Kafka then compacts from the beginning.
            (Some(self.cleaned), Weight::Hint, Witness::CleanerPoint),
        ];
        let behind = said.into_iter().filter_map(|(offset, weight, by)| {
            let offset = offset.filter(|offset| *offset > end)?;
            Some(Loss::new(weight, by, end..offset))
        });
        behind.collect()
    }

    fn before_the_beginning(&self, names: &SegmentNames, first_epoch: Option<Offset>) -> Option<Loss> {
        let first = *names.logs.first()?;
        match (self.log_start, first_epoch) {
            // Only a start behind the first segment's base is written down. A retention that was interrupted has moved
            // the segments, and not the checkpoint.
            (Some(start), _) if start < first => {
                let is_proven = self.clean && !self.is_tiered;
                let weight = if is_proven { Weight::Proven } else { Weight::Hint };
                Some(Loss::new(weight, Witness::FirstSegment, start..first))
            }
            // The epochs of what retention has removed go a little later than the segments, if the broker still runs.
            (None, Some(start)) if start < first && !self.is_tiered => {
                Some(Loss::new(Weight::Hint, Witness::FirstEpoch, start..first))
            }
            _ => None,
        }
    }
}

/// That a log ends behind where it was closed, in a sentence without the place.
pub fn behind_closed_end(end: Offset, closed: Offset) -> String {
    format!("the log ends at offset {end}, and the broker has closed it in order at {closed}")
}

/// The files of segments in the directory of a partition, by their names.
#[derive(Clone, Debug, Default)]
pub struct SegmentNames {
    /// Rising.
    pub logs: Vec<Offset>,
    /// The indexes, those of transactions included.
    beside: Vec<(Offset, SegmentFile)>,
    /// Rising.
    pub snapshots: Vec<Offset>,
    /// Logs that Kafka has removed or replaced, and that are still there.
    removed: Vec<Offset>,
    /// Whether a compaction is about to put its result in the place of others.
    is_replacing: bool,
}

impl SegmentNames {
    pub fn of(entries: &[DirEntry]) -> Self {
        let mut names = Self::default();
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            let (name, replacement) = match Replacement::parse(&entry.name) {
                None => (entry.name.as_str(), None),
                found => (entry.name.rsplit_once('.').map_or("", |(name, _)| name), found),
            };
            match (SegmentFile::parse(name), replacement) {
                (Some((SegmentFile::Log, base)), None) => names.logs.push(base),
                (Some((SegmentFile::Log, base)), Some(Replacement::Deleted)) => names.removed.push(base),
                (Some((SegmentFile::Log, _)), Some(Replacement::Swap)) => names.is_replacing = true,
                (Some((SegmentFile::ProducerSnapshot, at)), None) => names.snapshots.push(at),
                (Some((file, base)), None) => names.beside.push((base, file)),
                _ => {}
            }
        }
        names.logs.sort_unstable();
        names.snapshots.sort_unstable();
        names.beside.sort_unstable_by_key(|(base, file)| (*base, *file as u8));
        names
    }

    /// The files that stand beside a log, and have none, rising.
    pub fn orphans(&self) -> impl Iterator<Item = (Offset, SegmentFile)> + '_ {
        self.beside.iter().copied().filter(|(base, _)| self.logs.binary_search(base).is_err())
    }

    /// The segments whose log is gone while something of them is there, of a log that has to begin at `start` at the
    /// latest, and to reach to `reach`.
    ///
    /// Kafka makes the log of a segment first, and removes it first: a log that is being removed is still there under
    /// another name. So of a segment before another one the log has to be there. One behind all others may have been made
    /// when the power was cut, and counts up to where the log was synced.
    pub fn lost_logs(&self, start: Offset, reach: Offset) -> Vec<Loss> {
        if self.is_replacing {
            return Vec::new();
        }
        let mut lost: Vec<Loss> = Vec::new();
        for (base, file) in self.orphans().filter(|(base, _)| !self.removed.contains(base)) {
            let next_log = self.logs.iter().copied().find(|log| *log > base);
            let next = self.orphans().map(|(other, _)| other).find(|other| *other > base);
            let until = next_log.unwrap_or(reach);
            let offsets = base.max(start)..until.min(next.unwrap_or(until));
            let is_known = lost.last().is_some_and(|last| last.offsets == offsets);
            if !offsets.is_empty() && !is_known {
                lost.push(Loss::new(Weight::Proven, Witness::Orphan { file, base }, offsets));
            }
        }
        lost
    }

    /// What the offsets mean that lie between the end of a segment and the next one. `indexed` is the last offset that the
    /// indexes of the segment name; below `cleaned` compaction has been at work, and below `synced` nothing may be gone.
    ///
    /// Compaction writes the indexes anew, so that one that names more than its log has lost it. It removes the snapshots of
    /// the segments that it merges; one in a gap that it has not made was taken when the log went on there.
    pub fn in_gap(
        &self,
        base: Offset,
        gap: Range<Offset>,
        indexed: Option<Offset>,
        synced: Offset,
        cleaned: Offset,
    ) -> Option<Loss> {
        if gap.is_empty() {
            return None;
        }
        let weight = if gap.start < synced { Weight::Proven } else { Weight::Unproven };
        if indexed.is_some_and(|indexed| gap.contains(&indexed)) {
            return Some(Loss::new(weight, Witness::Index { base }, gap));
        }
        if gap.start < cleaned {
            return None;
        }
        match self.snapshots.iter().copied().find(|at| gap.contains(at)) {
            Some(at) => Some(Loss::new(weight, Witness::Snapshot { at }, gap)),
            None => Some(Loss::new(Weight::Hint, Witness::Gap, gap)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> SegmentNames {
        let entry = |name: &&str| DirEntry {
            name: format!("{:0>20}{}", stem(name), rest(name)),
            kind: EntryKind::File,
        };
        SegmentNames::of(&names.iter().map(entry).collect::<Vec<_>>())
    }

    fn stem(name: &str) -> &str {
        name.split_once('.').unwrap().0
    }

    fn rest(name: &str) -> &str {
        &name[stem(name).len()..]
    }

    fn lost(files: &[&str], start: Offset, reach: Offset) -> Vec<(Offset, Offset)> {
        let losses = names(files).lost_logs(start, reach).into_iter();
        losses.map(|loss| (loss.offsets.start, loss.offsets.end)).collect()
    }

    #[test]
    fn an_index_tells_of_its_log_unless_that_may_be_gone() {
        let middle = ["0.log", "0.index", "40.index", "40.timeindex", "80.log", "80.index"];
        assert_eq!(lost(&middle, 0, 0), [(40, 80)]);
        assert_eq!(lost(&middle, 60, 0), [(60, 80)]);
        assert_eq!(lost(&middle, 80, 0), [], "deleted");
        assert_eq!(lost(&["0.log", "40.txnindex", "80.log"], 0, 0), [(40, 80)]);
        assert_eq!(lost(&["0.log", "40.index", "60.index", "80.log"], 0, 0), [(40, 60), (60, 80)]);
        assert_eq!(lost(&["0.index", "40.log"], 0, 0), [(0, 40)]);
        // Behind the last log it counts what was synced.
        let last = ["0.log", "40.index"];
        assert_eq!((lost(&last, 0, 40), lost(&last, 0, 41)), (vec![], vec![(40, 41)]));
        assert_eq!((lost(&["0.index"], 0, 9), lost(&["0.index"], 9, 9)), (vec![(0, 9)], vec![]));
        // A snapshot stands where the log was closed.
        assert_eq!(lost(&["0.log", "17.snapshot", "40.log"], 0, 100), []);
        // What Kafka is removing, or replacing.
        assert_eq!(lost(&["0.log", "40.log.deleted", "40.index", "80.log"], 0, 100), []);
        assert_eq!(lost(&["0.log.swap", "40.index", "80.log"], 0, 100), []);
        assert_eq!(lost(&["0.log.cleaned", "0.log", "40.index", "80.log"], 0, 100), [(40, 80)]);
    }

    #[test]
    fn what_the_checkpoints_say_weighs_by_what_they_know() {
        let files = names(&["40.log", "80.log"]);
        let evidence =
            |clean| PartitionEvidence { clean, recovery_point: 80, ..PartitionEvidence::default() };
        let weighed = |evidence: PartitionEvidence, end| {
            let losses = evidence.losses(&files, Some(end), None);
            losses.into_iter().map(|loss| (loss.weight, loss.by, loss.offsets)).collect::<Vec<_>>()
        };
        for clean in [true, false] {
            let said = evidence(clean);
            assert_eq!(weighed(said, 79), [(Weight::Proven, Witness::RecoveryPoint, 79..80)]);
            assert_eq!(weighed(said, 80), []);
            let said = PartitionEvidence { high_watermark: Some(90), ..evidence(clean) };
            let weight = if clean { Weight::Proven } else { Weight::Unproven };
            assert_eq!(weighed(said, 85), [(weight, Witness::HighWatermark, 85..90)]);
            assert_eq!(weighed(said, 90), []);
            let said = PartitionEvidence { log_start: Some(90), ..evidence(clean) };
            assert_eq!(weighed(said, 85), [(weight, Witness::LogStart, 85..90)]);
            let said = PartitionEvidence { cleaned: 90, ..evidence(clean) };
            assert_eq!(weighed(said, 85), [(Weight::Hint, Witness::CleanerPoint, 85..90)]);
            let said = PartitionEvidence { log_start: Some(30), ..evidence(clean) };
            let weight = if clean { Weight::Proven } else { Weight::Hint };
            assert_eq!(weighed(said, 85), [(weight, Witness::FirstSegment, 30..40)]);
            let tiered = PartitionEvidence { is_tiered: true, ..said };
            assert_eq!(weighed(tiered, 85), [(Weight::Hint, Witness::FirstSegment, 30..40)]);
        }
        let epochs = evidence(true).losses(&files, Some(80), Some(0));
        assert_eq!((epochs[0].weight, epochs[0].by), (Weight::Hint, Witness::FirstEpoch));
        assert_eq!(evidence(true).losses(&files, Some(80), Some(40)), []);
    }

    #[test]
    fn a_gap_is_a_loss_where_something_names_what_it_held() {
        let files = names(&["0.log", "60.snapshot", "80.log"]);
        let weighed = |gap: Range<Offset>, indexed, synced, cleaned| {
            files.in_gap(0, gap, indexed, synced, cleaned).map(|loss| (loss.weight, loss.by))
        };
        let index = Witness::Index { base: 0 };
        assert_eq!(weighed(80..80, Some(80), 80, 0), None);
        assert_eq!(weighed(60..80, Some(60), 80, 80), Some((Weight::Proven, index)));
        assert_eq!(weighed(60..80, Some(79), 60, 80), Some((Weight::Unproven, index)));
        assert_eq!(weighed(60..80, Some(59), 80, 61), None, "compacted");
        let snapshot = Witness::Snapshot { at: 60 };
        assert_eq!(weighed(60..80, Some(80), 80, 60), Some((Weight::Proven, snapshot)));
        assert_eq!(weighed(60..80, None, 60, 0), Some((Weight::Unproven, snapshot)));
        assert_eq!(weighed(61..80, None, 80, 0), Some((Weight::Hint, Witness::Gap)));
    }
}
