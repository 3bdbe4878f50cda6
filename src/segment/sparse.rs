//! The rule that says which batches get an index entry; the same while appending and while rebuilding.

use super::entry::{OffsetEntry, TimeEntry};
use crate::model::{Offset, Timestamp};
use crate::record_batch::BatchHeader;

/// Follows the batches of one segment, in order.
///
/// Once more than `index.interval.bytes` went to the log since the last entry, the next batch gets one; so the
/// first batch of a segment never does (Kafka: `LogSegment.append`).
#[derive(Clone, Debug)]
pub struct SparseIndexer {
    base: Offset,
    interval: u64,
    since_entry: u64,
    newest: Option<TimeEntry>,
}

/// The entries that a batch gets. The time entry is only due if its timestamp is above the last one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    pub offset: OffsetEntry,
    pub time: Option<TimeEntry>,
}

impl SparseIndexer {
    /// Begins at an empty segment, or at one whose greatest timestamp is known.
    pub fn new(base: Offset, interval: u64, newest: Option<TimeEntry>) -> Self {
        Self { base, interval, since_entry: 0, newest }
    }

    /// The greatest timestamp so far, as the time index will hold it when the segment is sealed.
    pub fn newest(&self) -> Option<TimeEntry> {
        self.newest
    }

    /// Takes note of a batch that begins at `position`.
    pub fn on_batch(&mut self, header: &BatchHeader, position: u32) -> Option<Entries> {
        let relative_offset = self.relative(header.last_offset());
        if self.is_newest(header.max_timestamp) {
            self.newest = Some(TimeEntry { timestamp: header.max_timestamp, relative_offset });
        }
        let due = self.since_entry > self.interval;
        if due {
            self.since_entry = 0;
        }
        self.since_entry = self.since_entry.saturating_add(header.size as u64);
        due.then_some(Entries { offset: OffsetEntry { relative_offset, position }, time: self.newest })
    }

    /// Negative timestamps, −1 for "none" among them, are never stored.
    fn is_newest(&self, timestamp: Timestamp) -> bool {
        timestamp >= 0 && self.newest.is_none_or(|newest| timestamp > newest.timestamp)
    }

    fn relative(&self, offset: Offset) -> u32 {
        // A segment is rolled before its offsets leave 31 bits; a damaged log gets an entry that leads nowhere,
        // as a reader who follows it finds out.
        u32::try_from(offset.saturating_sub(self.base)).unwrap_or(u32::MAX)
    }
}
