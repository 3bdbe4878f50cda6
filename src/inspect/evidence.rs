//! Where a partition begins, and where the part of it ends that a Kafka broker has written, by what is left to tell.
//!
//! The ends file and the manifest say both. Where one of them is lost, other files do: Kafka's checkpoints, and what Kafka
//! has left in the partition, for nothing of ours has a producer, and what is ours begins with a segment and a leader
//! epoch of its own.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::HashMap;
use std::path::Path;

use super::Verifying;
use super::file_kind::FileKind;
use super::finding::{Finding, FindingKind, Severity};
use super::log_walk::{LogWalk, Step};
use super::segment_check::{is_missing, plain};
use super::small_files::{decode_offsets, most};
use super::survey::{DirectoryKind, PartitionPlace, Survey};
use crate::error::{IoContext, Result};
use crate::file_name::{ADOPTED_PROPERTIES, CLEANER_POINTS, LOG_STARTS, SegmentFile};
use crate::model::{Offset, PartitionId};
use crate::partition_log::LeaderEpochs;
use crate::vfs::{EntryKind, FileView, OpenMode, Vfs, read_file};

type Offsets = HashMap<(String, PartitionId), Offset>;

/// What is known of partitions beside manifest and ends file.
#[derive(Debug)]
pub struct Evidence<'a> {
    survey: &'a Survey,
    log_starts: Offsets,
    /// Up to where Kafka has compacted each partition.
    compacted: Offsets,
    /// Whether the directory was taken over from Kafka, and what is Kafka's of it has to be found.
    is_searched: bool,
}

impl<'a> Evidence<'a> {
    /// Reads what is needed where slots or the manifest are not there.
    pub fn read(survey: &'a Survey, out: &mut Verifying<'_>) -> Self {
        let is_adopted = survey.entries.iter().any(|entry| entry.name == ADOPTED_PROPERTIES);
        let is_searched = survey.kind == DirectoryKind::Ottla && is_adopted && survey.manifest.is_err();
        let lacks_start = |place: &PartitionPlace| place.proven.is_none();
        let log_starts = match survey.partitions.iter().any(lacks_start) {
            true => read_or_tell(survey, LOG_STARTS, out),
            false => Offsets::new(),
        };
        // Without it the other evidence has to do.
        let compacted = match is_searched {
            true => read_offsets(survey, CLEANER_POINTS).unwrap_or_default(),
            false => Offsets::new(),
        };
        Self { survey, log_starts, compacted, is_searched }
    }

    /// Where the log begins for its readers; `None` if that is where its first segment does.
    pub fn log_start(&self, place: &PartitionPlace) -> Option<Offset> {
        let slot = place.proven.map(|proven| proven.log_start);
        slot.or_else(|| self.log_starts.get(&key(place)).copied())
    }

    /// Up to where a Kafka broker has written the partition.
    pub fn kafka_end(&self, place: &PartitionPlace) -> Offset {
        if !self.is_searched {
            return place.kafka_end;
        }
        if place.topic.is_internal() {
            // Nobody else writes it.
            return Offset::MAX;
        }
        let vfs = self.survey.vfs.as_ref();
        let (logs, snapshots) = segments(vfs, &place.dir);
        let compacted = self.compacted.get(&key(place)).copied().unwrap_or_default();
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

fn key(place: &PartitionPlace) -> (String, PartitionId) {
    (place.topic.as_str().to_owned(), place.partition)
}

/// The base offsets of the logs of a partition, and the offsets of its producer snapshots, rising.
fn segments(vfs: &dyn Vfs, dir: &Path) -> (Vec<Offset>, Vec<Offset>) {
    let (mut logs, mut snapshots) = (Vec::new(), Vec::new());
    let entries = vfs.read_dir(dir).unwrap_or_default();
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        match SegmentFile::parse(&entry.name) {
            Some((SegmentFile::Log, base)) => logs.push(base),
            Some((SegmentFile::ProducerSnapshot, offset)) => snapshots.push(offset),
            _ => {}
        }
    }
    logs.sort_unstable();
    snapshots.sort_unstable();
    (logs, snapshots)
}

/// The offsets of a checkpoint of Kafka's; one that is not there has none.
fn read_offsets(survey: &Survey, name: &str) -> Result<Offsets> {
    let path = survey.root.join(name);
    let read = read_file(survey.vfs.as_ref(), &path, most(FileKind::OffsetCheckpoint)).doing("read", &path);
    let bytes = match read {
        Err(error) if is_missing(&error) => return Ok(Offsets::new()),
        read => read?,
    };
    let entries = decode_offsets(&bytes)?;
    Ok(entries.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect())
}

fn read_or_tell(survey: &Survey, name: &str, out: &mut Verifying<'_>) -> Offsets {
    read_offsets(survey, name).unwrap_or_else(|error| {
        let advice = "a log begins where its first segment does: records may be there that had been deleted";
        let kind = FindingKind::OffsetCheckpoint;
        out.add(Finding::new(kind, Severity::Damage, survey.root.join(name), plain(&error), advice));
        Offsets::new()
    })
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
