//! The segments that a Kafka broker has written of a partition, as they were when it was taken over.
//!
//! Nobody writes to them again: what is missing, or has another length, was lost since. Without that nothing could tell it
//! from a gap of Kafka's compaction. The manifest keeps them, a line a partition behind its `adopted`, each segment with
//! its base offset and the length of its log in bytes:
//!
//! ```text
//! segments 0 0:1048576 1200:734003
//! ```
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::io;
use std::ops::Range;

use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{MAX_OFFSET, Offset, PartitionId};
use crate::segment::SegmentDir;
use crate::vfs::{EntryKind, OpenMode};

/// So many losses are told in the text of an error.
const MOST_TOLD: usize = 8;

/// The lengths of the logs in bytes, by base offset.
pub type Lengths = BTreeMap<Offset, u64>;

/// What a Kafka broker has written of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaSegments {
    /// Behind the last of it.
    end: Offset,
    logs: Lengths,
}

/// A segment of them that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLoss {
    pub base: Offset,
    /// What may be lost of it: of a log that is shorter, what lies behind its last whole batch.
    pub offsets: Range<Offset>,
    /// The length that its log had.
    pub had: u64,
    /// The length that it has; `None` if it is missing.
    pub has: Option<u64>,
}

impl KafkaSegments {
    /// Those that are there below `end`.
    pub fn measure(dir: &SegmentDir, end: Offset) -> Result<Self> {
        Ok(Self { end, logs: lengths(dir, |base| base < end)? })
    }

    /// What of them is lost, where readers begin at `start`: what retention has removed is not. Without a `start` that is
    /// where the first segment begins.
    pub fn lost(&self, dir: &SegmentDir, start: Option<Offset>) -> Result<Vec<SegmentLoss>> {
        let found = lengths(dir, |_| true)?;
        let start = start.or_else(|| found.keys().next().copied()).unwrap_or_default();
        let mut losses = self.losses(&found, start);
        for loss in &mut losses {
            if loss.has.is_some_and(|has| has < loss.had) {
                let end = whole_end(dir, loss.base);
                loss.offsets.start = end.clamp(loss.offsets.start, loss.offsets.end);
            }
        }
        Ok(losses)
    }

    /// Fails if something of them is lost.
    pub fn require(&self, dir: &SegmentDir, start: Offset) -> Result<()> {
        match together(&self.lost(dir, Some(start))?) {
            None => Ok(()),
            Some((loss, what)) => Err(Error::corrupt(what)
                .at_offset(loss.offsets.start)
                .in_file(&dir.file(SegmentFile::Log, loss.base))),
        }
    }

    /// What differs from what was found, of that which does not lie before `start`.
    fn losses(&self, found: &Lengths, start: Offset) -> Vec<SegmentLoss> {
        let ends = self.logs.keys().skip(1).copied().chain([self.end]);
        let kept = self.logs.iter().zip(ends).filter(|(_, end)| *end > start);
        let losses = kept.filter_map(|((base, had), end)| {
            let has = found.get(base).copied();
            (has != Some(*had)).then(|| SegmentLoss {
                base: *base,
                offsets: (*base).max(start)..end,
                had: *had,
                has,
            })
        });
        losses.collect()
    }

    /// The line of the manifest, behind its first word.
    pub fn encode(&self, partition: PartitionId) -> String {
        let mut text = partition.to_string();
        // Writing to a string does not fail.
        self.logs.iter().for_each(|(base, len)| _ = write!(text, " {base}:{len}"));
        text
    }

    /// Reads back what [`encode`](Self::encode) writes, of a partition that Kafka has written up to `end`.
    pub fn decode(text: &str, partition: PartitionId, end: Offset) -> Option<Self> {
        let mut words = text.split(' ');
        words.next().filter(|word| word.parse() == Ok(partition))?;
        let mut logs = Lengths::new();
        for word in words {
            let (base, len) = word.split_once(':')?;
            let base: Offset = base.parse().ok().filter(|base| *base < end && *base <= MAX_OFFSET)?;
            if logs.last_key_value().is_some_and(|(last, _)| *last >= base) {
                return None;
            }
            logs.insert(base, len.parse().ok()?);
        }
        Some(Self { end, logs })
    }
}

/// The first loss, with a sentence that tells of the others, too.
fn together(losses: &[SegmentLoss]) -> Option<(&SegmentLoss, String)> {
    let (first, others) = losses.split_first()?;
    let mut what = first.to_string();
    for loss in others.iter().take(MOST_TOLD) {
        let Range { start, end } = loss.offsets;
        _ = write!(what, "; offsets {start} to {}: {loss}", end.saturating_sub(1));
    }
    if let Some(more) = others.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        _ = write!(what, "; and {more} more");
    }
    Some((first, what))
}

/// What is wrong, in a sentence.
impl fmt::Display for SegmentLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { had, .. } = self;
        let name = SegmentFile::Log.name(self.base);
        match self.has {
            None => write!(f, "{name} is missing, which had {had} bytes when it was taken over from Kafka"),
            Some(has) => {
                write!(f, "{name} has {has} bytes, and had {had} when it was taken over from Kafka")
            }
        }
    }
}

/// The lengths of the logs that are there.
fn lengths(dir: &SegmentDir, is_meant: impl Fn(Offset) -> bool) -> Result<Lengths> {
    let entries = dir.vfs().read_dir(dir.path()).doing("list", dir.path())?;
    let mut lengths = Lengths::new();
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        let Some((SegmentFile::Log, base)) = SegmentFile::parse(&entry.name) else { continue };
        if !is_meant(base) {
            continue;
        }
        let path = dir.file(SegmentFile::Log, base);
        match dir.vfs().open(&path, OpenMode::Read).and_then(|file| file.size()) {
            Ok(len) => _ = lengths.insert(base, len),
            // An owner has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("measure", &path),
        }
    }
    Ok(lengths)
}

/// Behind the last whole batch of a segment, as far as it can be read.
fn whole_end(dir: &SegmentDir, base: Offset) -> Offset {
    let Ok(mut scan) = dir.scan_all(base) else { return base };
    while let Ok(Some(_)) = scan.next_unread() {}
    scan.next_offset().unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> KafkaSegments {
        KafkaSegments { end: 100, logs: [(0, 700), (40, 0), (60, 300)].into() }
    }

    /// What is lost of them, by base offset, with the offsets.
    fn lost(found: &[(Offset, u64)], start: Offset) -> Vec<(Offset, Range<Offset>)> {
        let losses = segments().losses(&found.iter().copied().collect(), start);
        losses.into_iter().map(|loss| (loss.base, loss.offsets)).collect()
    }

    #[test]
    fn what_is_missing_or_has_another_length_is_lost() {
        let all = [(0, 700), (40, 0), (60, 300), (100, 5)];
        assert_eq!(lost(&all, 0), []);
        assert_eq!(lost(&[(0, 700), (60, 300)], 0), [(40, 40..60)]);
        assert_eq!(lost(&[(0, 699), (40, 0), (60, 300)], 0), [(0, 0..40)]);
        assert_eq!(lost(&[(0, 700), (40, 1), (60, 301)], 0), [(40, 40..60), (60, 60..100)]);
        assert_eq!(lost(&[], 0), [(0, 0..40), (40, 40..60), (60, 60..100)]);
    }

    #[test]
    fn what_lies_before_the_beginning_is_not() {
        assert_eq!(lost(&[], 39), [(0, 39..40), (40, 40..60), (60, 60..100)]);
        assert_eq!(lost(&[], 40), [(40, 40..60), (60, 60..100)]);
        assert_eq!(lost(&[], 99), [(60, 99..100)]);
        assert_eq!(lost(&[], 100), []);
    }

    #[test]
    fn the_line_reads_back() {
        for segments in [segments(), KafkaSegments { end: 100, logs: Lengths::new() }] {
            assert_eq!(KafkaSegments::decode(&segments.encode(7), 7, 100), Some(segments));
        }
        for text in
            ["", "8 0:1", "7 0", "7 0:", "7 0:x", "7 0:1 0:2", "7 5:1 4:2", "7 100:1", "7 0:1 ", "7  0:1"]
        {
            assert_eq!(KafkaSegments::decode(text, 7, 100), None, "{text}");
        }
    }

    #[test]
    fn an_error_tells_of_a_bounded_number() {
        let logs = (0..100).map(|base| (base, 9)).collect();
        let losses = KafkaSegments { end: 100, logs }.losses(&Lengths::new(), 0);
        let (first, what) = together(&losses).unwrap();
        assert_eq!(first.base, 0);
        assert!(
            what.contains("00000000000000000008.log is missing") && what.ends_with("; and 91 more"),
            "{what}"
        );
        assert_eq!(together(&[]), None);
    }
}
