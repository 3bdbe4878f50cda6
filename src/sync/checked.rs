//! The synchronisation of the model checker's build: the same interface as the real one's. In an execution of the
//! checker, a scheduler of shuttle's chooses the order of locks and threads.
//!
//! Elsewhere it is the real one, so that the other suites run in this build, too, with a mutant. What is
//! shared lies in the real primitives always; in an execution the checker's say first whose turn it is, and then the
//! real ones are free, since all of an execution is one thread. No user compiles it.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Instant;

use shuttle::current::try_get_current_task;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{self as shuttle_sync, LockResult, TryLockError, TryLockResult};
use shuttle::thread;

// What initialises one takes no lock, so that nobody waits for it.
pub use std::sync::OnceLock;

pub use super::checked_atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Whether an execution of the checker asks.
pub(super) fn is_checked() -> bool {
    try_get_current_task().is_some()
}

// ---- Threads ----

#[derive(Debug)]
pub enum JoinHandle {
    Checked(thread::JoinHandle<()>),
    Real(std::thread::JoinHandle<()>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadId {
    Checked(thread::ThreadId),
    Real(std::thread::ThreadId),
}

/// Starts a thread that somebody joins.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
    let name = name.to_owned();
    match is_checked() {
        true => thread::Builder::new().name(name).spawn(run).map(JoinHandle::Checked),
        false => std::thread::Builder::new().name(name).spawn(run).map(JoinHandle::Real),
    }
}

/// The thread that asks.
pub fn current_thread() -> ThreadId {
    match is_checked() {
        true => ThreadId::Checked(thread::current().id()),
        false => ThreadId::Real(std::thread::current().id()),
    }
}

/// Which thread it is.
pub fn id_of(thread: &JoinHandle) -> ThreadId {
    match thread {
        JoinHandle::Checked(handle) => ThreadId::Checked(handle.thread().id()),
        JoinHandle::Real(handle) => ThreadId::Real(handle.thread().id()),
    }
}

impl JoinHandle {
    pub fn join(self) -> std::thread::Result<()> {
        match self {
            Self::Checked(handle) => handle.join(),
            Self::Real(handle) => handle.join(),
        }
    }
}

// ---- Locks ----

/// A lock that does not poison.
#[derive(Default)]
pub struct Mutex<T> {
    turn: shuttle_sync::Mutex<()>,
    value: parking_lot::Mutex<T>,
}

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Self {
        Self { turn: shuttle_sync::Mutex::new(()), value: parking_lot::Mutex::new(value) }
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, held: Some(self.hold()) }
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = match is_checked() {
            true => self.hold_in(Some(turn_if_free(self.turn.try_lock())?)),
            false => Held { value: self.value.try_lock()?, turn: None },
        };
        Some(MutexGuard { mutex: self, held: Some(held) })
    }

    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    fn hold(&self) -> Held<'_, T> {
        self.hold_in(is_checked().then(|| turn(self.turn.lock())))
    }

    #[expect(
        clippy::expect_used,
        reason = "of the checker's build alone: to wait here would be to wait for oneself"
    )]
    fn hold_in<'a>(&'a self, turn: Option<shuttle_sync::MutexGuard<'a, ()>>) -> Held<'a, T> {
        let value = match turn {
            Some(_) => self.value.try_lock().expect(FREE),
            None => self.value.lock(),
        };
        Held { value, turn }
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
    held: Option<Held<'a, T>>,
}

/// Given back in this order.
struct Held<'a, T> {
    value: parking_lot::MutexGuard<'a, T>,
    turn: Option<shuttle_sync::MutexGuard<'a, ()>>,
}

const FREE: &str = "whose turn it is finds the lock free";
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
        self.0.held = Some(self.0.mutex.hold());
    }
}

#[expect(clippy::expect_used, reason = "of the checker's build alone, and never without a guard")]
impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held.as_ref().expect(BORROWED).value
    }
}

#[expect(clippy::expect_used, reason = "of the checker's build alone, and never without a guard")]
impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held.as_mut().expect(BORROWED).value
    }
}

/// A lock of many readers or one writer, that does not poison.
#[derive(Default)]
pub struct RwLock<T> {
    turn: shuttle_sync::RwLock<()>,
    value: parking_lot::RwLock<T>,
}

type Reading<'a, T> = Turned<parking_lot::RwLockReadGuard<'a, T>, shuttle_sync::RwLockReadGuard<'a, ()>>;
type Writing<'a, T> = Turned<parking_lot::RwLockWriteGuard<'a, T>, shuttle_sync::RwLockWriteGuard<'a, ()>>;

/// A guard, and the turn in which it was taken; given back in this order.
pub struct Turned<G, T> {
    guard: G,
    _turn: Option<T>,
}

#[expect(
    clippy::expect_used,
    reason = "of the checker's build alone: to wait there would be to wait for oneself"
)]
impl<T> RwLock<T> {
    pub fn new(value: T) -> Self {
        Self { turn: shuttle_sync::RwLock::new(()), value: parking_lot::RwLock::new(value) }
    }

    pub fn read(&self) -> Reading<'_, T> {
        match is_checked() {
            true => self.read_in(turn(self.turn.read())),
            false => Turned { guard: self.value.read(), _turn: None },
        }
    }

    pub fn try_read(&self) -> Option<Reading<'_, T>> {
        match is_checked() {
            true => turn_if_free(self.turn.try_read()).map(|turn| self.read_in(turn)),
            false => self.value.try_read().map(|guard| Turned { guard, _turn: None }),
        }
    }

    pub fn write(&self) -> Writing<'_, T> {
        if !is_checked() {
            return Turned { guard: self.value.write(), _turn: None };
        }
        let turn = turn(self.turn.write());
        Turned { guard: self.value.try_write().expect(FREE), _turn: Some(turn) }
    }

    fn read_in<'a>(&'a self, turn: shuttle_sync::RwLockReadGuard<'a, ()>) -> Reading<'a, T> {
        Turned { guard: self.value.try_read().expect(FREE), _turn: Some(turn) }
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<G: Deref, T> Deref for Turned<G, T> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut, T> DerefMut for Turned<G, T> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

fn turn<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

fn turn_if_free<T>(tried: TryLockResult<T>) -> Option<T> {
    match tried {
        Ok(turn) => Some(turn),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A condition variable.
#[derive(Debug, Default)]
pub struct Condvar {
    checked: shuttle_sync::Condvar,
    real: parking_lot::Condvar,
}

impl Condvar {
    /// Releases the lock, waits for a notification, and takes the lock again. If nobody is left who could notify, the
    /// checker calls it a deadlock.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let Some(Held { mut value, turn: at_turn }) = guard.held.take() else { return };
        let held = match at_turn {
            Some(at_turn) => {
                drop(value);
                guard.mutex.hold_in(Some(turn(self.checked.wait(at_turn))))
            }
            None => {
                self.real.wait(&mut value);
                Held { value, turn: None }
            }
        };
        guard.held = Some(held);
    }

    /// [`wait`](Self::wait) until a deadline; true if that has passed. When that is, is for the schedule to say: after
    /// each step of the others it may be.
    pub(super) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> bool {
        match &mut guard.held {
            Some(Held { value, turn: None }) => self.real.wait_until(value, deadline).timed_out(),
            _ => {
                MutexGuard::unlocked(guard, thread::yield_now);
                thread_rng().gen_ratio(1, 8)
            }
        }
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        if is_checked() {
            self.checked.notify_all();
        } else {
            self.real.notify_all();
        }
    }
}
