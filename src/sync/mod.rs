//! The only door to locks, conditions, atomics and threads.
//!
//! Everything above takes its synchronisation from here: the real one, or under `cfg(ottla_check)` one that is a model
//! checker's in its executions, which decides at every step who goes on. Both halves offer the same, and nothing else knows which one it
//! has. Locks do not poison: the state that a panic could leave half changed is guarded where it lives.

#[cfg(ottla_check)]
mod checked;
#[cfg(ottla_check)]
mod checked_atomic;
#[cfg(not(ottla_check))]
mod real;
mod signal;

#[cfg(ottla_check)]
use checked as chosen;
#[cfg(not(ottla_check))]
use real as chosen;

pub use chosen::{
    AtomicBool, AtomicU64, AtomicUsize, Condvar, JoinHandle, Mutex, MutexGuard, OnceLock, Ordering, RwLock,
    ThreadId, current_thread, id_of, spawn,
};
pub use signal::Signal;
