//! The only door to locks, conditions, atomics and threads.
//!
//! Everything above takes its synchronisation from here, so that one build can swap the whole set for a model
//! checker's. Locks do not poison: the state that a panic could leave half changed is guarded where it lives.

use std::io;
use std::sync::Arc;
use std::task::Wake;
use std::thread;
use std::time::Instant;

pub use parking_lot::{Mutex, MutexGuard, RwLock};
pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub type JoinHandle = thread::JoinHandle<()>;

/// Starts a thread that somebody joins.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// The thread that asks.
pub fn current_thread() -> thread::ThreadId {
    thread::current().id()
}

/// A condition variable without a deadline, for waits that a leader is bound to end.
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// Releases the lock, waits for a notification, and takes the lock again.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.0.wait(guard);
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A counter that can be waited on: the one wait with a deadline.
///
/// A waiter reads [`generation`](Self::generation), looks at the world, and waits for a later generation; what
/// happens between the look and the wait has already moved the counter, so no wake-up is missed.
#[derive(Debug, Default)]
pub struct Signal {
    generation: Mutex<u64>,
    raised: parking_lot::Condvar,
}

impl Signal {
    /// A signal that nobody has raised yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// How often the signal was raised.
    pub fn generation(&self) -> u64 {
        *self.generation.lock()
    }

    /// Wakes everybody who waits for a generation later than the one before this call.
    pub fn raise(&self) {
        let mut generation = self.generation.lock();
        *generation = generation.wrapping_add(1);
        self.raised.notify_all();
    }

    /// Waits until the generation is no longer `seen`, or until the deadline, if there is one.
    pub fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let mut generation = self.generation.lock();
        while *generation == seen {
            match deadline {
                None => self.raised.wait(&mut generation),
                Some(at) => {
                    if self.raised.wait_until(&mut generation, at).timed_out() {
                        return;
                    }
                }
            }
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}
