//! Who wants to know that a partition has something new.

use std::sync::{Arc, Weak};

use crate::sync::{AtomicUsize, Mutex, Ordering, Signal};

/// Signals that are raised when records are appended, become visible, or the partition stops.
#[derive(Debug, Default)]
pub struct Listeners {
    signals: Mutex<Vec<Weak<Signal>>>,
    /// How many signals there are, so that an append without listeners takes no lock.
    count: AtomicUsize,
}

impl Listeners {
    /// Raises `signal` from now on, until it is dropped.
    pub fn add(&self, signal: &Arc<Signal>) {
        let mut signals = self.signals.lock();
        signals.retain(|known| known.strong_count() > 0);
        if !signals.iter().any(|known| known.as_ptr() == Arc::as_ptr(signal)) {
            signals.push(Arc::downgrade(signal));
        }
        self.count.store(signals.len(), Ordering::SeqCst);
    }

    /// Whether somebody listens, or did until it was last raised.
    pub fn has_any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    pub fn raise(&self) {
        if !self.has_any() {
            return;
        }
        let mut signals = self.signals.lock();
        signals.retain(|signal| signal.upgrade().inspect(|signal| signal.raise()).is_some());
        self.count.store(signals.len(), Ordering::SeqCst);
    }
}
