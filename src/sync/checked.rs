//! The synchronisation of the model checker's build: the same interface as the real one's, over locks and threads
//! whose order a scheduler of shuttle's chooses.
//!
//! It works inside an execution of the checker alone. No user compiles it.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Instant;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{self as shuttle_sync, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use shuttle::thread;

// What initialises one takes no lock, so that nobody waits for it.
pub use std::sync::OnceLock;

pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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

/// A lock that does not poison.
#[derive(Default)]
pub struct Mutex<T>(shuttle_sync::Mutex<T>);

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Self {
        Self(shuttle_sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, held: Some(self.lock_inside()) }
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { mutex: self, held: Some(held) })
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_inside(&self) -> shuttle_sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Mutex").field(&*guard).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

/// A lock that is held.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` only while [`unlocked`](Self::unlocked) or a wait runs, to which the guard is borrowed meanwhile.
    held: Option<shuttle_sync::MutexGuard<'a, T>>,
}

const BORROWED: &str = "a guard that is unlocked is borrowed";

impl<T> MutexGuard<'_, T> {
    /// Runs `run` without the lock, and takes it again, also if `run` panics.
    pub fn unlocked<U>(guard: &mut Self, run: impl FnOnce() -> U) -> U {
        guard.held = None;
        let _again = LockAgain(guard);
        run()
    }
}

struct LockAgain<'g, 'a, T>(&'g mut MutexGuard<'a, T>);

impl<T> Drop for LockAgain<'_, '_, T> {
    fn drop(&mut self) {
        self.0.held = Some(self.0.mutex.lock_inside());
    }
}

#[expect(clippy::expect_used, reason = "of the checker's build alone, and never without a guard")]
impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect(BORROWED)
    }
}

#[expect(clippy::expect_used, reason = "of the checker's build alone, and never without a guard")]
impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect(BORROWED)
    }
}

/// A lock of many readers or one writer, that does not poison.
#[derive(Default)]
pub struct RwLock<T>(shuttle_sync::RwLock<T>);

impl<T> RwLock<T> {
    pub const fn new(value: T) -> Self {
        Self(shuttle_sync::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        match self.0.try_read() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A condition variable.
#[derive(Debug, Default)]
pub struct Condvar(shuttle_sync::Condvar);

impl Condvar {
    /// Releases the lock, waits for a notification, and takes the lock again. If nobody is left who could notify, the
    /// checker calls it a deadlock.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.held.take() {
            guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// [`wait`](Self::wait) until a deadline; true if that has passed. When that is, is for the schedule to say: after
    /// each step of the others it may be.
    pub(super) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _deadline: Instant) -> bool {
        MutexGuard::unlocked(guard, thread::yield_now);
        thread_rng().gen_ratio(1, 8)
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
