//! What a Kafka broker has left as evidence: the clean-shutdown marker and its checkpoints, of all that it has in the
//! directory, and what is gone by it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::checkpoints;
use super::losses::{Loss, PartitionEvidence, SegmentNames, Weight};
use crate::checkpoint;
use crate::error::{Error, IoContext, Result};
use crate::file_name::{
    CLEAN_SHUTDOWN, CLEANER_POINTS, CLUSTER_METADATA, HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS,
    REMOTE_INDEXES, SegmentFile, is_leftover_of, partition_dir,
};
use crate::model::{Offset, PartitionId, TopicName};
use crate::segment::{IndexEntry, IndexView, OffsetEntry, SealedSegment, SegmentDir, TimeEntry};
use crate::vfs::{DirEntry, EntryKind, FileView, OpenMode, Vfs, read_file};

/// More is no checkpoint: a partition takes some 30 bytes.
const MAX_LEN: u64 = 256 * 1024 * 1024;

/// An offset for each partition that has one.
pub type Offsets = BTreeMap<(TopicName, PartitionId), Offset>;

/// How the broker stopped, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaEvidence {
    /// Whether every partition was synced and closed.
    pub clean: bool,
    /// Whether segments may lie elsewhere.
    is_tiered: bool,
    /// Up to where each partition is known to be synced.
    pub recovery_points: Offsets,
    /// Where a partition begins, if that is not where its first segment does.
    log_starts: Offsets,
    high_watermarks: Offsets,
    /// Up to where those partitions are compacted that ever were.
    cleaner_points: Offsets,
}

/// A partition that a checkpoint names, and whose directory is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostPartition {
    pub topic: TopicName,
    pub partition: PartitionId,
    /// The checkpoint that names it.
    pub checkpoint: &'static str,
    /// How far it had come, as far as it is known.
    pub offset: Offset,
    pub weight: Weight,
}

impl KafkaEvidence {
    /// Reads what is at the root, for somebody who is about to believe it.
    pub fn read(vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let marker = root.join(CLEAN_SHUTDOWN);
        // Whatever it holds: older brokers leave it empty.
        let clean = vfs.kind(&marker).doing("look at", &marker)? == Some(EntryKind::File);
        let (evidence, unread) = Self::readable(vfs, root, clean);
        let is_needed = |(name, _): &(&str, Error)| [RECOVERY_POINTS, LOG_STARTS].contains(name);
        match unread.into_iter().find(is_needed) {
            Some((_, error)) => Err(error),
            None => Ok(evidence),
        }
    }

    /// What can be read of it, and the checkpoints that cannot.
    pub fn readable(vfs: &dyn Vfs, root: &Path, clean: bool) -> (Self, Vec<(&'static str, Error)>) {
        let mut unread = Vec::new();
        let mut offsets = |name| match read_offsets(vfs, root, name) {
            Ok(offsets) => offsets,
            Err(error) => {
                unread.push((name, error));
                Offsets::new()
            }
        };
        let evidence = Self {
            clean,
            is_tiered: vfs.kind(&root.join(REMOTE_INDEXES)).is_ok_and(|kind| kind.is_some()),
            recovery_points: offsets(RECOVERY_POINTS),
            log_starts: offsets(LOG_STARTS),
            high_watermarks: offsets(HIGH_WATERMARKS),
            cleaner_points: offsets(CLEANER_POINTS),
        };
        (evidence, unread)
    }

    /// What it says of one partition.
    pub fn of(&self, topic: &TopicName, partition: PartitionId) -> PartitionEvidence {
        let key = (topic.clone(), partition);
        let offset = |offsets: &Offsets| offsets.get(&key).copied();
        PartitionEvidence {
            clean: self.clean,
            is_tiered: self.is_tiered,
            closed_at: offset(&self.recovery_points).filter(|_| self.clean),
            recovery_point: offset(&self.recovery_points).unwrap_or_default(),
            log_start: offset(&self.log_starts),
            high_watermark: offset(&self.high_watermarks),
            cleaned: offset(&self.cleaner_points).unwrap_or_default(),
        }
    }

    /// The partitions that the checkpoints name, and that are not among the entries of the directory, nor were on their way
    /// from it or to it. Each log directory of a broker has checkpoints of its own, of what it holds.
    pub fn lost_partitions(&self, entries: &[DirEntry]) -> Vec<LostPartition> {
        let is_dir = |entry: &&DirEntry| entry.kind == EntryKind::Directory;
        let dirs: BTreeSet<&str> = entries.iter().filter(is_dir).map(|entry| entry.name.as_str()).collect();
        let is_accounted_for = |topic: &TopicName, partition| {
            let dir = partition_dir(topic, partition);
            dirs.contains(dir.as_str())
                || dir == CLUSTER_METADATA
                || dirs.iter().any(|name| is_leftover_of(name, topic, partition))
        };
        let mut lost: BTreeMap<(TopicName, PartitionId), LostPartition> = BTreeMap::new();
        for (checkpoint, offsets, is_synced) in [
            (RECOVERY_POINTS, &self.recovery_points, true),
            (CLEANER_POINTS, &self.cleaner_points, true),
            (HIGH_WATERMARKS, &self.high_watermarks, false),
            (LOG_STARTS, &self.log_starts, false),
        ] {
            for ((topic, partition), offset) in offsets {
                if is_accounted_for(topic, *partition) {
                    continue;
                }
                // A directory that was made a moment ago a power cut may take, together with what was written in it.
                let is_proven = self.clean || is_synced && *offset > 0;
                let weight = if is_proven { Weight::Proven } else { Weight::Unproven };
                let known = lost.entry((topic.clone(), *partition)).or_insert_with(|| LostPartition {
                    topic: topic.clone(),
                    partition: *partition,
                    checkpoint,
                    offset: *offset,
                    weight,
                });
                known.offset = known.offset.max(*offset);
                if weight > known.weight {
                    (known.weight, known.checkpoint) = (weight, checkpoint);
                }
            }
        }
        lost.into_values().collect()
    }
}

/// The offsets of a checkpoint; one that is not there, or blank, has none.
pub fn read_offsets(vfs: &dyn Vfs, root: &Path, name: &str) -> Result<Offsets> {
    let path = root.join(name);
    let bytes = match read_file(vfs, &path, MAX_LEN) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offsets::new()),
        read => read.doing("read", &path)?,
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Offsets::new());
    }
    let entries = checkpoint::decode(&bytes, checkpoints::decode_line).map_err(|error| {
        error.in_file(&path).advise(
            "nothing was changed; a broker that is started on the directory and stopped again looks at every log \
             and writes the file anew",
        )
    })?;
    Ok(entries.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect())
}

/// What is gone between the segments up to `end`; see [`SegmentNames::in_gap`]. Looks at the end of each log, as its index finds it. Where a
/// log cannot be read nothing is said of it.
pub fn losses_between(
    dir: &SegmentDir,
    names: &SegmentNames,
    end: Offset,
    synced: Offset,
    cleaned: Offset,
) -> Vec<Loss> {
    let pairs = names.logs.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)));
    let inside = pairs.filter(|(base, next)| *base < end && *next <= end);
    let gaps = inside.filter_map(|(base, next)| {
        let segment = SealedSegment::new(dir.clone(), base, 0);
        let mut scan = segment.scan_near_end().ok()?;
        loop {
            match scan.next_unread() {
                Ok(Some(_)) => {}
                Err(error) if error.io_error().is_some() => return None,
                Ok(None) | Err(_) => break,
            }
        }
        let ends = scan.next_offset().unwrap_or(base);
        // Without a gap the index needs no second look.
        let indexed = (ends < next).then(|| last_indexed(dir.vfs().as_ref(), dir.path(), base)).flatten();
        names.in_gap(base, ends..next, indexed, synced, cleaned)
    });
    gaps.collect()
}

/// The last offset that the indexes of a segment name, as far as they can be read.
pub fn last_indexed(vfs: &dyn Vfs, dir: &Path, base: Offset) -> Option<Offset> {
    fn last<E: IndexEntry>(vfs: &dyn Vfs, path: &Path) -> Option<E> {
        let file = vfs.open(path, OpenMode::Read).ok()?;
        IndexView::new(FileView::Read(file)).ok()??.last().ok()?
    }
    let path = |file: SegmentFile| dir.join(file.name(base));
    let offset = last::<OffsetEntry>(vfs, &path(SegmentFile::OffsetIndex)).map(|last| last.relative_offset);
    let time = last::<TimeEntry>(vfs, &path(SegmentFile::TimeIndex)).map(|last| last.relative_offset);
    offset.max(time).map(|relative| base.saturating_add(relative.into()))
}
