//! The synchronisation of every build but the model checker's.

use std::io;
use std::thread;
use std::time::Instant;

pub use parking_lot::{Mutex, MutexGuard, RwLock};
pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub use thread::ThreadId;

pub type JoinHandle = thread::JoinHandle<()>;

/// Starts a thread that somebody joins.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// The thread that asks.
pub fn current_thread() -> ThreadId {
    thread::current().id()
}

/// Which thread it is.
pub fn id_of(thread: &JoinHandle) -> ThreadId {
    thread.thread().id()
}

/// A condition variable.
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// Releases the lock, waits for a notification, and takes the lock again: a wait without a deadline, that a leader
    /// is bound to end.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.0.wait(guard);
    }

    /// [`wait`](Self::wait) until a deadline; true if that has passed.
    pub(super) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> bool {
        self.0.wait_until(guard, deadline).timed_out()
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
