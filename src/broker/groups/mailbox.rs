//! What a member of this process is told, and how it is woken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::group::Generation;
use crate::sync::{AtomicBool, AtomicU64, Ordering, Signal};

/// What a member has been told and has not looked at.
#[derive(Debug, Default)]
pub struct Mail {
    /// What the leader has assigned to it, and in which generation.
    pub assignment: Option<(Generation, Bytes)>,
    /// The group is rebalancing: it is to join again, not before this time.
    pub rejoin: Option<Duration>,
    /// It is no longer in the group, and its partitions are lost to it.
    pub is_lost: bool,
    /// Topics have come, gone or grown.
    pub topics_changed: bool,
    /// Why the group could not be written.
    pub error: Option<Error>,
}

/// The part of a member that its coordinator looks at from outside.
#[derive(Debug)]
pub struct Mailbox {
    /// On which the member waits.
    signal: Arc<Signal>,
    has_mail: AtomicBool,
    /// When it was last in a poll, in nanoseconds of monotonic time; `IN_POLL` while it is in one.
    polled: AtomicU64,
}

const IN_POLL: u64 = u64::MAX;

impl Mailbox {
    /// Of a member that is in its first poll, or about to be.
    pub fn new(signal: Arc<Signal>, now: Duration) -> Self {
        Self { signal, has_mail: AtomicBool::new(false), polled: AtomicU64::new(nanos(now)) }
    }

    /// Tells the member that there is something for it.
    pub fn ring(&self) {
        // In this order: who wakes up finds out why.
        self.has_mail.store(true, Ordering::SeqCst);
        self.signal.raise();
    }

    /// Wakes the member for whatever it finds.
    pub fn wake(&self) {
        self.signal.raise();
    }

    /// True once after any number of rings; a member asks before it looks.
    pub fn take_ring(&self) -> bool {
        self.has_mail.load(Ordering::SeqCst) && self.has_mail.swap(false, Ordering::SeqCst)
    }

    pub fn enter_poll(&self) {
        self.polled.store(IN_POLL, Ordering::SeqCst);
    }

    pub fn leave_poll(&self, now: Duration) {
        self.polled.store(nanos(now), Ordering::SeqCst);
    }

    /// When it has last polled; `None` while it does.
    pub fn last_polled(&self) -> Option<Duration> {
        Some(self.polled.load(Ordering::SeqCst)).filter(|at| *at != IN_POLL).map(Duration::from_nanos)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(IN_POLL - 1).min(IN_POLL - 1)
}
