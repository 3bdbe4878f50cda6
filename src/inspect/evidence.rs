//! Where a partition begins, and where the part of it ends that a Kafka broker has written, by what is left to tell.
//!
//! The ends file and the manifest say both. Where one of them is lost, other files do: Kafka's checkpoints, and what Kafka
//! has left in the partition, for nothing of ours has a producer, and what is ours begins with a segment and a leader
//! epoch of its own.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::path::Path;

use super::log_walk::{LogWalk, Step};
use super::survey::{DirectoryKind, PartitionPlace, Survey};
use crate::broker::SegmentNames;
use crate::error::{IoContext, Result};
use crate::file_name::{ADOPTED_PROPERTIES, SegmentFile};
use crate::model::Offset;
use crate::partition_log::LeaderEpochs;
use crate::vfs::{FileView, OpenMode};

/// What is known of partitions beside manifest and ends file.
#[derive(Debug)]
pub struct Evidence<'a> {
    survey: &'a Survey,
    /// Whether the directory was taken over from Kafka, and what is Kafka's of it has to be found.
    is_searched: bool,
}

impl<'a> Evidence<'a> {
    pub fn of(survey: &'a Survey) -> Self {
        let is_adopted = survey.entries.iter().any(|entry| entry.name == ADOPTED_PROPERTIES);
        let is_searched = survey.kind == DirectoryKind::Ottla && is_adopted && survey.manifest.is_err();
        Self { survey, is_searched }
    }

    /// A partition of the survey, with the end of Kafka's part where that has to be found.
    pub fn completed(&self, place: &PartitionPlace) -> PartitionPlace {
        PartitionPlace { kafka_end: self.kafka_end(place), ..place.clone() }
    }

    /// Where the log begins for its readers; `None` if that is where its first segment does.
    pub fn log_start(&self, place: &PartitionPlace) -> Option<Offset> {
        let slot = place.proven.map(|proven| proven.log_start);
        slot.or_else(|| self.survey.evidence.of(&place.topic, place.partition).log_start)
    }

    /// Up to where a Kafka broker has written the partition.
    fn kafka_end(&self, place: &PartitionPlace) -> Offset {
        if !self.is_searched {
            return place.kafka_end;
        }
        if place.topic.is_internal() {
            // Nobody else writes it.
            return Offset::MAX;
        }
        let vfs = self.survey.vfs.as_ref();
        let SegmentNames { logs, snapshots, .. } =
            SegmentNames::of(&vfs.read_dir(&place.dir).unwrap_or_default());
        let compacted = self.survey.evidence.of(&place.topic, place.partition).cleaned;
        let told = snapshots.last().copied().unwrap_or_default().max(compacted);
        let least = self.behind_producers(&place.dir, &logs, told).max(told);
        let epochs = LeaderEpochs::read(vfs, &place.dir).ok().flatten();
        first_of_ours(&logs, least, epochs.as_ref())
    }

    /// The base of the segment behind the last one that holds batches of producers, above `least`; 0 if none does.
    fn behind_producers(&self, dir: &Path, logs: &[Offset], least: Offset) -> Offset {
        let nexts = logs.iter().skip(1).copied().map(Some).chain([None]);
        let segments: Vec<_> = logs.iter().copied().zip(nexts).collect();
        let above = segments.into_iter().rev().take_while(|(_, next)| next.is_none_or(|next| next > least));
        let mut kafkas = above.filter(|(base, _)| self.has_producers(dir, *base).unwrap_or(false));
        kafkas.next().map_or(0, |(_, next)| next.unwrap_or(Offset::MAX))
    }

    fn has_producers(&self, dir: &Path, base: Offset) -> Result<bool> {
        let path = dir.join(SegmentFile::Log.name(base));
        let file = self.survey.vfs.open(&path, OpenMode::Read).doing("open", &path)?;
        let len = file.size().doing("measure", &path)?;
        let mut walk = LogWalk::new(FileView::Read(file), Some(base), len, &super::codecs());
        while let Some(step) = walk.step() {
            if matches!(step, Step::Batch(found) if found.header.producer_id >= 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Where what is ours begins, if `least` and what lies below is Kafka's: with the first segment from there on with which a
/// leader epoch begins.
fn first_of_ours(logs: &[Offset], least: Offset, epochs: Option<&LeaderEpochs>) -> Offset {
    if least == 0 {
        return 0;
    }
    let begins = |base: &Offset| {
        epochs.is_none_or(|epochs| epochs.entries().any(|(_, start)| start == *base)) && *base >= least
    };
    logs.iter().copied().find(begins).unwrap_or(Offset::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_begins_with_a_segment_and_an_epoch() {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in [(0, 0), (3, 20), (4, 25), (5, 40)] {
            epochs.begin(epoch, start);
        }
        let logs = [0, 10, 20, 30, 40];
        assert_eq!(first_of_ours(&logs, 0, Some(&epochs)), 0, "nothing is Kafka's");
        assert_eq!(first_of_ours(&logs, 5, Some(&epochs)), 20);
        assert_eq!(first_of_ours(&logs, 20, Some(&epochs)), 20);
        assert_eq!(first_of_ours(&logs, 21, Some(&epochs)), 40);
        assert_eq!(first_of_ours(&logs, 21, None), 30, "what the segments alone tell");
        assert_eq!(first_of_ours(&logs, 41, Some(&epochs)), Offset::MAX, "nothing is ours");
    }
}
