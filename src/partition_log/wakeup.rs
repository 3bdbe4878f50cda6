//! Ends the wait of a reader from outside.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::sync::{AtomicBool, Ordering, Signal};

/// The reader's half: the signal on which it waits, and whether somebody has asked it to come back.
#[derive(Debug, Default)]
pub struct Wakeup {
    signal: Arc<Signal>,
    asked: Arc<AtomicBool>,
}

impl Wakeup {
    pub fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    pub fn handle(&self) -> WakeupHandle {
        WakeupHandle { signal: Arc::downgrade(&self.signal), asked: Arc::clone(&self.asked) }
    }

    /// True once for any number of calls of [`WakeupHandle::wake`] since the last time. A reader asks after it has read
    /// the generation of its signal, so that no call is missed.
    pub fn take(&self) -> bool {
        self.asked.swap(false, Ordering::SeqCst)
    }
}

/// Ends the wait of a [`Consumer`](crate::Consumer) or of [`Follow`](crate::Follow) from any thread and any callback, also
/// from one that the reader knows nothing of; made by [`Consumer::wakeup_handle`](crate::Consumer::wakeup_handle) and
/// [`Follow::wakeup_handle`](crate::Follow::wakeup_handle).
///
/// It keeps neither the reader nor the broker alive, and does nothing once the reader has gone.
#[derive(Clone)]
pub struct WakeupHandle {
    signal: Weak<Signal>,
    asked: Arc<AtomicBool>,
}

impl WakeupHandle {
    /// Wakes the reader: the poll that waits, or the next one, ends with [`Wakeup`](crate::ErrorKind::Wakeup), once for
    /// all calls before; an iterator that follows a partition ends. No record is lost by it. Never blocks.
    pub fn wake(&self) {
        // In this order: who wakes up finds out why.
        self.asked.store(true, Ordering::SeqCst);
        if let Some(signal) = self.signal.upgrade() {
            signal.raise();
        }
    }
}

impl fmt::Debug for WakeupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeupHandle").field("asked", &self.asked.load(Ordering::SeqCst)).finish()
    }
}
