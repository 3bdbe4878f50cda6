//! A task that waits for a consumer's records, and who wakes it.
//!
//! A consumer's signal is raised with locks in hand, and a task's waker is its executor's and may do anything. So whoever
//! raises the signal only asks for a chore, and the broker's threads, or a tick, wake the task in it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::groups::{Mailbox, Membership};
use super::shared::Shared;
use crate::agenda::{Chore, Reminder};
use crate::clock::Clock;
use crate::mutant::{self, Mutant};
use crate::sync::{AtomicBool, Mutex, OnceLock, Ordering, Signal};

/// The place where the task of a stream waits; left when it is dropped.
#[derive(Debug)]
pub struct Parking {
    parked: Arc<Parked>,
    /// Of the consumer.
    signal: Arc<Signal>,
}

/// Who is woken.
struct Parked {
    clock: Clock,
    place: Mutex<Option<Waiting>>,
    /// Whether a task waits for which nothing has come yet, for those who look without a lock.
    is_waiting: AtomicBool,
    reminder: OnceLock<Reminder>,
    /// Of a member of a group.
    mailbox: Option<Arc<Mailbox>>,
}

/// A task that waits.
struct Waiting {
    waker: Waker,
    /// When it is woken at the latest.
    until: Duration,
}

/// Every task that waits for a consumer of the broker.
#[derive(Debug, Default)]
pub struct ParkedTasks(Mutex<Vec<Weak<Parked>>>);

impl Parking {
    /// The place of a consumer with this signal.
    pub fn new(shared: &Shared, signal: &Arc<Signal>, membership: Option<&Membership>) -> Self {
        let parked = Arc::new(Parked {
            clock: shared.env.options.clock.clone(),
            place: Mutex::new(None),
            is_waiting: AtomicBool::new(false),
            reminder: OnceLock::new(),
            mailbox: membership.map(|membership| Arc::clone(membership.mailbox())),
        });
        let its: Weak<Parked> = Arc::downgrade(&parked);
        parked.reminder.get_or_init(|| shared.env.agenda.add(its));
        signal.relay_to(Some(Waker::from(Arc::new(Relay(Arc::downgrade(&parked))))));
        shared.parked.add(&parked);
        Self { parked, signal: Arc::clone(signal) }
    }

    /// Has the task wait, and be woken when the signal is raised, at `until` at the latest. False if the signal has left
    /// generation `seen` already.
    pub fn wait(&self, waker: &Waker, seen: u64, until: Duration) -> bool {
        let is_late = mutant::is(Mutant::ParkedAfterLook);
        if is_late && self.signal.generation() != seen {
            return false;
        }
        self.parked.put(waker, until);
        // In this order: who raises the signal after this look finds the waker.
        if !is_late && self.signal.generation() != seen {
            return false;
        }
        if until < Duration::MAX {
            self.parked.remind(until);
        }
        true
    }

    /// The task is back in a poll: nobody wakes it any more, or takes it for one that does not poll.
    pub fn return_to_poll(&self) {
        drop(self.parked.take());
    }

    /// The task waits no longer: it has been woken, or has given up.
    pub fn leave(&self) {
        drop(self.parked.take_woken());
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.signal.relay_to(None);
        self.leave();
    }
}

impl Parked {
    fn put(&self, waker: &Waker, until: Duration) {
        // Wakers are cloned and dropped without a lock.
        let waiting = Waiting { waker: waker.clone(), until };
        let before = {
            let mut place = self.place.lock();
            let before = place.replace(waiting);
            self.is_waiting.store(true, Ordering::SeqCst);
            before
        };
        drop(before);
    }

    fn take(&self) -> Option<Waiting> {
        let mut place = self.place.lock();
        self.is_waiting.store(false, Ordering::SeqCst);
        place.take()
    }

    /// The time runs from now on until its member has to poll.
    fn take_woken(&self) -> Option<Waiting> {
        self.take_woken_from(&mut self.place.lock())
    }

    /// Under this lock: a task that is polled has taken its waker out before it says that it polls.
    fn take_woken_from(&self, place: &mut Option<Waiting>) -> Option<Waiting> {
        self.is_waiting.store(false, Ordering::SeqCst);
        let waiting = place.take()?;
        self.mailbox.iter().for_each(|mailbox| mailbox.leave_poll(self.clock.monotonic()));
        Some(waiting)
    }

    fn remind(&self, at: Duration) {
        self.reminder.get().iter().for_each(|reminder| reminder.set(at));
    }
}

impl Waiting {
    /// The caller holds no lock.
    fn wake(self) {
        // One that panics hurts neither the others nor the thread.
        _ = catch_unwind(AssertUnwindSafe(|| self.waker.wake()));
    }
}

impl Chore for Parked {
    fn run(&self, now: Duration) -> Option<Duration> {
        let waiting = {
            let mut place = self.place.lock();
            let until = place.as_ref().map_or(Duration::MAX, |waiting| waiting.until);
            if self.is_waiting.load(Ordering::SeqCst) && now < until {
                // What was asked for concerned a wait that is over.
                return Some(until).filter(|until| *until < Duration::MAX);
            }
            self.take_woken_from(&mut place)
        };
        waiting.into_iter().for_each(Waiting::wake);
        None
    }
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_waiting = self.is_waiting.load(Ordering::SeqCst);
        f.debug_struct("Parked").field("is_waiting", &is_waiting).finish_non_exhaustive()
    }
}

/// What the signal wakes.
struct Relay(Weak<Parked>);

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let Some(parked) = self.0.upgrade() else { return };
        // Once, however often the signal is raised.
        if parked.is_waiting.swap(false, Ordering::SeqCst) {
            parked.remind(Duration::ZERO);
        }
    }
}

impl ParkedTasks {
    fn add(&self, parked: &Arc<Parked>) {
        let mut all = self.0.lock();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(parked));
    }

    /// Wakes every one, when nobody may be left who runs chores; the caller holds no lock.
    pub fn wake_all(&self) {
        let all = self.0.lock().clone();
        all.iter().filter_map(Weak::upgrade).filter_map(|parked| parked.take_woken()).for_each(Waiting::wake);
    }
}
