//! How often records were handed out, as it is kept in the metadata of a commit.
//!
//! ```text
//! metadata = "ottla-deliveries/1" run*
//! run      = " " first ["-" last] "x" count
//! ```
//!
//! `first` and `last` count offsets from the commit, which is 0; runs rise, and do not overlap; no count is 0. All numbers are decimal. With
//! a commit at offset 40, `ottla-deliveries/1 0-2x1 5x3` says that 40, 41 and 42 were handed out once, 45 three times, and nothing else.
//! Whatever is not exactly this is somebody's own words, and counts nothing.

use std::fmt::Write as _;

use crate::model::Offset;

/// How often records of a partition were handed out; those that are not in it never were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Rising, and not overlapping.
    runs: Vec<Run>,
}

/// Records that lie one behind the other, and were handed out equally often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: Offset,
    last: Offset,
    count: u32,
}

const PREFIX: &str = "ottla-deliveries/1";

impl DeliveryCounts {
    /// Reads the metadata of a commit at this offset.
    pub fn decode(metadata: &str, commit: Offset) -> Self {
        Self { runs: decode_runs(metadata, commit).unwrap_or_default() }
    }

    /// The metadata of a commit at this offset, in at most so many bytes: of what does not fit the first records are kept. Empty if there
    /// is nothing to say.
    pub fn encode(&self, commit: Offset, most: usize) -> String {
        let mut metadata = String::new();
        for Run { first, last, count } in &self.runs {
            let mut run = String::new();
            _ = write!(run, " {}", first.saturating_sub(commit));
            if last > first {
                _ = write!(run, "-{}", last.saturating_sub(commit));
            }
            _ = write!(run, "x{count}");
            let head = if metadata.is_empty() { PREFIX } else { "" };
            if metadata.len() + head.len() + run.len() > most {
                break;
            }
            metadata.push_str(head);
            metadata.push_str(&run);
        }
        metadata
    }

    /// How often the record was handed out.
    pub fn of(&self, offset: Offset) -> u32 {
        let at = self.runs.partition_point(|run| run.last < offset);
        self.runs.get(at).filter(|run| run.first <= offset).map_or(0, |run| run.count)
    }

    /// Adds a record that lies behind all the others.
    pub fn push(&mut self, offset: Offset, count: u32) {
        match self.runs.last_mut() {
            Some(run) if run.count == count && run.last + 1 == offset => run.last = offset,
            _ if count == 0 => {}
            _ => self.runs.push(Run { first: offset, last: offset, count }),
        }
    }

    /// Adds those that `others` has of this offset and behind it.
    pub fn extend_from(&mut self, others: &Self, offset: Offset) {
        let behind = others.runs.iter().filter(|run| run.last >= offset);
        self.runs.extend(behind.map(|run| Run { first: run.first.max(offset), ..*run }));
    }
}

fn decode_runs(metadata: &str, commit: Offset) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for words in metadata.strip_prefix(PREFIX)?.strip_prefix(' ')?.split(' ') {
        let (offsets, count) = words.split_once('x')?;
        let (first, last) = offsets.split_once('-').unwrap_or((offsets, offsets));
        let run = Run {
            first: commit.checked_add(number(first)?)?,
            last: commit.checked_add(number(last)?)?,
            count: number(count)?.try_into().ok()?,
        };
        let is_behind = runs.last().is_none_or(|before| before.last < run.first);
        if !is_behind || run.last < run.first || run.count == 0 {
            return None;
        }
        runs.push(run);
    }
    Some(runs)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
