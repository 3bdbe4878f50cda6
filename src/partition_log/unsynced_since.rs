//! Since when there are records that are not durable: a number for whoever watches the disk.
//!
//! It lies under the append lock. The clock is asked with the first record behind a sync, and not with each.

use std::time::Duration;

/// When the oldest records were taken that are not durable, in monotonic time.
#[derive(Debug, Default)]
pub(super) struct UnsyncedSince {
    /// Of those that a sync under way is to cover.
    syncing: Option<Duration>,
    /// Of those that none covers yet.
    waiting: Option<Duration>,
}

impl UnsyncedSince {
    /// A record was taken.
    pub fn note(&mut self, now: impl FnOnce() -> Duration) {
        self.waiting.get_or_insert_with(now);
    }

    /// A sync begins that covers what there is, but for what is `left` since that moment.
    pub fn begin_sync(&mut self, left: Option<Duration>) {
        let waiting = std::mem::replace(&mut self.waiting, left);
        self.syncing = self.syncing.or(waiting);
    }

    /// The sync that was to begin does not, for not everything could be written.
    pub fn put_off(&mut self) {
        self.waiting = self.syncing.take().or(self.waiting);
    }

    /// The sync has succeeded.
    pub fn end_sync(&mut self) {
        self.syncing = None;
    }

    /// There is nothing that no sync covers.
    pub fn forget_waiting(&mut self) {
        self.waiting = None;
    }

    /// When the oldest of all was taken.
    pub fn oldest(&self) -> Option<Duration> {
        self.syncing.or(self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_stays_until_a_sync_covers_it() {
        let mut since = UnsyncedSince::default();
        assert_eq!(since.oldest(), None);
        since.note(|| at(1));
        since.note(|| unreachable!("the clock is asked once"));
        since.begin_sync(None);
        since.note(|| at(2));
        assert_eq!(since.oldest(), Some(at(1)));
        since.end_sync();
        assert_eq!(since.oldest(), Some(at(2)));
        since.begin_sync(Some(at(3)));
        since.end_sync();
        assert_eq!(since.oldest(), Some(at(3)));
    }

    #[test]
    fn a_sync_that_is_put_off_leaves_the_oldest_waiting() {
        let mut since = UnsyncedSince::default();
        since.note(|| at(1));
        since.begin_sync(None);
        since.note(|| at(2));
        since.put_off();
        assert_eq!(since.oldest(), Some(at(1)));
        since.forget_waiting();
        assert_eq!(since.oldest(), None);
    }
}
