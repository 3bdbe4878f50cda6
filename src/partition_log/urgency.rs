//! How soon the records that have gathered are to leave, where nobody waits for them who would lead.

use std::time::Duration;

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// How urgently the broker's threads were asked; it only rises until they look.
#[derive(Debug, Default)]
pub struct Urgency {
    level: AtomicUsize,
    /// Since when, in nanoseconds of monotonic time and one more; 0 if that was not noted yet.
    since: AtomicU64,
}

/// How soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Soon {
    /// A batch that is being filled may wait a moment for more.
    Lingering = 1,
    /// A batch is full, and nobody waits.
    Full = 2,
    /// Readers wait, and whoever has sent it does not.
    Now = 3,
}

impl Urgency {
    /// True if it was less urgent before, so that somebody has to be asked. Called by whoever has added a record before:
    /// who resets it after that takes the record.
    pub fn raise(&self, soon: Soon) -> bool {
        let wanted = soon as usize;
        self.level.load(Ordering::SeqCst) < wanted && self.level.fetch_max(wanted, Ordering::SeqCst) < wanted
    }

    /// Takes note of when it was raised first.
    pub fn note(&self, now: Duration) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
        _ = self.since.compare_exchange(0, nanos, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Nothing is urgent any more; returns since when, if what was is that a batch is full. Called before what has
    /// gathered is taken.
    pub fn reset(&self) -> Option<Duration> {
        let is_full = self.level.swap(0, Ordering::SeqCst) == Soon::Full as usize;
        let since = self.since.swap(0, Ordering::SeqCst);
        is_full.then(|| Duration::from_nanos(since.saturating_sub(1)))
    }
}
