//! Holds the indexes of a segment against the batches of its log, both read once, from front to back.

use std::ops::Range;
use std::path::Path;

use super::entries::EntryReader;
use super::log_walk::Found;
use crate::error::{IoContext, Result};
use crate::model::Offset;
use crate::record_batch::{BatchHeader, ControlRecord, RecordBatch};
use crate::segment::{AbortedTransaction, IndexEntry, OffsetEntry, TimeEntry};
use crate::vfs::{FileView, OpenMode, Vfs};

/// What is wrong with an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the index.
    pub position: u64,
    pub what: String,
}

/// Whose rules the segment follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// An entry names one batch.
    Ours,
    /// An entry of a broker that took several batches at once may name the first of them by position, and the last by
    /// offset; and a time may be named by the offset of its record.
    Kafkas,
}

/// An index file that is being held against a log.
#[derive(Debug)]
struct Following<E> {
    entries: EntryReader<E>,
    /// The entry that comes next, and where it lies.
    next: Option<(u64, E)>,
    last: Option<E>,
    problem: Option<Problem>,
    /// So many entries were right.
    right: u64,
}

impl<E: IndexEntry> Following<E> {
    fn open(vfs: &dyn Vfs, path: &Path) -> Result<Self> {
        let file = vfs.open(path, OpenMode::Read).doing("open", path)?;
        let len = file.size().doing("measure", path)?;
        let entries = EntryReader::new(FileView::Read(file), len);
        let mut following = Self { entries, next: None, last: None, problem: None, right: 0 };
        following.advance();
        Ok(following)
    }

    fn advance(&mut self) {
        let position = self.entries.position();
        self.next = match self.entries.next_entry() {
            Ok(next) => next,
            Err(error) => {
                self.fail(position, format!("the disk cannot read the index: {error}"));
                None
            }
        };
    }

    /// The next entry is right.
    fn accept(&mut self, entry: E) {
        self.right = self.right.saturating_add(1);
        self.last = Some(entry);
        self.advance();
    }

    /// The first problem is told; what comes then is not looked at.
    fn fail(&mut self, position: u64, what: String) {
        self.problem.get_or_insert(Problem { position, what });
        self.next = None;
    }

    /// What is left behind the last batch.
    fn finish(&mut self) {
        if let Some((position, _)) = self.next {
            self.fail(position, "an entry names a place behind the end of the log".to_owned());
        } else if self.problem.is_none() && self.entries.left() > 0 {
            let what = format!("the file ends with {} bytes of an entry", self.entries.left());
            self.fail(self.entries.position(), what);
        }
    }
}

/// The offset index of a segment.
#[derive(Debug)]
pub struct OffsetIndexCheck(Following<OffsetEntry>, Rules);

impl OffsetIndexCheck {
    pub fn open(vfs: &dyn Vfs, path: &Path, rules: Rules) -> Result<Self> {
        Following::open(vfs, path).map(|following| Self(following, rules))
    }

    /// The next batch of the log.
    pub fn on_batch(&mut self, position: u64, relative: u64) {
        let Self(following, rules) = self;
        while let Some((at, entry)) = following.next {
            let names = u64::from(entry.position);
            let rises = following.last.is_none_or(|last| {
                entry.relative_offset > last.relative_offset && entry.position > last.position
            });
            let is_it = match rules {
                Rules::Ours => u64::from(entry.relative_offset) == relative,
                Rules::Kafkas => u64::from(entry.relative_offset) >= relative,
            };
            match names {
                _ if !rises => following.fail(at, "the entries do not rise".to_owned()),
                _ if names > position => return,
                _ if names == position && is_it => following.accept(entry),
                _ if names == position => following.fail(
                    at,
                    format!(
                        "an entry says that the batch at byte {position} of the log ends with offset +{}, and it ends \
                         with +{relative}",
                        entry.relative_offset
                    ),
                ),
                _ => following.fail(at, format!("an entry names byte {names} of the log, where no batch begins")),
            }
        }
    }

    /// A place without batches: what is said of it cannot be told.
    pub fn on_damage(&mut self, bytes: &Range<u64>) {
        while let Some((_, entry)) = self.0.next.filter(|(_, entry)| u64::from(entry.position) < bytes.end) {
            self.0.last = Some(entry);
            self.0.advance();
        }
    }

    pub fn finish(mut self) -> (Option<Problem>, u64) {
        self.0.finish();
        (self.0.problem, self.0.right)
    }
}

/// The time index of a segment.
#[derive(Debug)]
pub struct TimeIndexCheck {
    following: Following<TimeEntry>,
    rules: Rules,
    /// What the index would say at this batch.
    newest: Option<TimeEntry>,
    /// Whether a batch was damaged, which may have held the greatest timestamp.
    is_blind: bool,
}

impl TimeIndexCheck {
    pub fn open(vfs: &dyn Vfs, path: &Path, rules: Rules) -> Result<Self> {
        let following = Following::open(vfs, path)?;
        Ok(Self { following, rules, newest: None, is_blind: false })
    }

    /// The next batch of the log.
    pub fn on_batch(&mut self, header: &BatchHeader, base: Offset) {
        let relative = |offset: Offset| u32::try_from(offset.saturating_sub(base)).unwrap_or(u32::MAX);
        let (first, last) = (relative(header.base_offset), relative(header.last_offset()));
        let entry = TimeEntry { timestamp: header.max_timestamp, relative_offset: last };
        if entry.timestamp >= 0 && entry.rises_above(self.newest) {
            self.newest = Some(entry);
        }
        let (newest, rules, following) = (self.newest, self.rules, &mut self.following);
        while let Some((at, entry)) = following.next.filter(|(_, entry)| entry.relative_offset <= last) {
            let named = match rules {
                Rules::Ours => Some(entry),
                Rules::Kafkas => (entry.relative_offset >= first)
                    .then_some(TimeEntry { timestamp: entry.timestamp, relative_offset: last }),
            };
            if named.is_some() && named == newest && entry.rises_above(following.last) {
                following.accept(entry);
            } else {
                let what = format!(
                    "an entry names the timestamp {} at offset +{}, and up to there the greatest is {}",
                    entry.timestamp,
                    entry.relative_offset,
                    newest.map_or_else(
                        || "none".to_owned(),
                        |newest| format!("{} at +{}", newest.timestamp, newest.relative_offset)
                    )
                );
                following.fail(at, what);
            }
        }
    }

    /// A place without batches: from here on nothing can be told.
    pub fn on_damage(&mut self) {
        self.is_blind = true;
        self.following.next = None;
    }

    pub fn finish(mut self) -> (Option<Problem>, u64) {
        if !self.is_blind {
            self.following.finish();
            let lacks =
                |newest: TimeEntry| self.following.last.is_none_or(|last| last.timestamp < newest.timestamp);
            if self.following.problem.is_none()
                && let Some(newest) = self.newest.filter(|newest| lacks(*newest))
            {
                let what = format!(
                    "the last entry is to name the greatest timestamp of the segment, {} at offset +{}",
                    newest.timestamp, newest.relative_offset
                );
                self.following.fail(self.following.entries.position(), what);
            }
        }
        (self.following.problem, self.following.right)
    }
}

/// The transaction index of a segment: markers that it names are held against those in the log. A marker that compaction
/// has taken may still be named.
#[derive(Debug)]
pub struct TransactionIndexCheck {
    entries: Vec<AbortedTransaction>,
    next: usize,
    problem: Option<Problem>,
}

const TRANSACTION_ENTRY_LEN: u64 = 34;

impl TransactionIndexCheck {
    pub fn new(entries: Vec<AbortedTransaction>) -> Self {
        Self { entries, next: 0, problem: None }
    }

    pub fn on_batch(&mut self, found: &Found) {
        let header = &found.header;
        while let Some(entry) = self.entries.get(self.next) {
            if entry.last_offset >= header.next_offset() {
                return;
            }
            let marker = found.batch().ok().and_then(RecordBatch::control_record);
            let is_abort = matches!(marker, Some(ControlRecord::Abort { .. }));
            let is_it = is_abort && header.producer_id == entry.producer_id;
            if entry.last_offset >= header.base_offset && !is_it {
                let what = format!(
                    "an entry names an abort marker of producer {} at offset {}, where none stands",
                    entry.producer_id, entry.last_offset
                );
                let position = TRANSACTION_ENTRY_LEN.saturating_mul(self.next as u64);
                self.problem.get_or_insert(Problem { position, what });
            }
            self.next = self.next.saturating_add(1);
        }
    }

    pub fn finish(self) -> (Option<Problem>, u64) {
        (self.problem, self.entries.len() as u64)
    }
}
