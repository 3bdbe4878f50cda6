//! What has to be done when: the chores of a broker, run by a thread of its own, or by whoever calls `tick`.
//!
//! A chore is asked for by a [`Reminder`], which only ever brings it forward, and says itself when it has more to do.
//! It may run on several threads, and once more after it has been dropped by its owner. Nothing here knows what the
//! chores are.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::Clock;
use crate::sync::{AtomicU64, JoinHandle, Mutex, Ordering, Signal, spawn};

/// Something that has to be done from time to time.
pub trait Chore: Send + Sync {
    /// Does what is due at `now`, in monotonic time, and says when there is more to do.
    fn run(&self, now: Duration) -> Option<Duration>;
}

/// The chores of a broker, and their moments.
pub struct Agenda {
    clock: Clock,
    entries: Mutex<Entries>,
    /// Raised when a chore was brought forward, and when the agenda ends.
    changed: Arc<Signal>,
}

#[derive(Default)]
struct Entries {
    /// When, and which.
    due: BTreeSet<(Duration, u64)>,
    chores: HashMap<u64, Entry>,
    next_id: u64,
    ended: bool,
}

struct Entry {
    chore: Weak<dyn Chore>,
    moment: Arc<Moment>,
}

/// When a chore runs next, in nanoseconds of monotonic time; `NEVER` if nobody has asked for it.
#[derive(Debug)]
struct Moment(AtomicU64);

const NEVER: u64 = u64::MAX;

impl Moment {
    fn get(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::SeqCst)).filter(|at| *at != NEVER).map(Duration::from_nanos)
    }

    fn set(&self, at: Option<Duration>) {
        let nanos = at.map_or(NEVER, |at| u64::try_from(at.as_nanos()).unwrap_or(NEVER - 1));
        self.0.store(nanos, Ordering::SeqCst);
    }
}

impl Agenda {
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, entries: Mutex::default(), changed: Signal::new() })
    }

    /// Takes up a chore, which nobody has asked for yet. It is forgotten when it is dropped.
    pub fn add(self: &Arc<Self>, chore: Weak<dyn Chore>) -> Reminder {
        let mut entries = self.entries.lock();
        let id = entries.next_id;
        entries.next_id = id.wrapping_add(1);
        let moment = Arc::new(Moment(AtomicU64::new(NEVER)));
        entries.chores.insert(id, Entry { chore, moment: Arc::clone(&moment) });
        Reminder { agenda: Arc::clone(self), id, moment }
    }

    /// Runs every chore that is due, once, on this thread; returns when the next one is.
    pub fn run_due(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        for id in self.take_due(now) {
            let chore = self.entries.lock().chores.get(&id).map(|entry| Weak::clone(&entry.chore));
            match chore.and_then(|chore| chore.upgrade()) {
                None => _ = self.entries.lock().chores.remove(&id),
                Some(chore) => {
                    if let Some(again) = chore.run(now) {
                        self.entries.lock().bring_forward(id, again);
                    }
                }
            }
        }
        self.entries.lock().due.first().map(|(at, _)| *at)
    }

    fn take_due(&self, now: Duration) -> Vec<u64> {
        let mut entries = self.entries.lock();
        let mut ids = Vec::new();
        while let Some((at, id)) = entries.due.first().copied().filter(|(at, _)| *at <= now) {
            entries.due.remove(&(at, id));
            if let Some(entry) = entries.chores.get(&id) {
                entry.moment.set(None);
            }
            ids.push(id);
        }
        ids
    }

    fn has_ended(&self) -> bool {
        self.entries.lock().ended
    }
}

impl Entries {
    /// True if the chore is now the first one.
    fn bring_forward(&mut self, id: u64, at: Duration) -> bool {
        let Some(entry) = self.chores.get(&id) else { return false };
        match entry.moment.get() {
            Some(before) if before <= at => return false,
            Some(before) => _ = self.due.remove(&(before, id)),
            None => {}
        }
        entry.moment.set(Some(at));
        self.due.insert((at, id));
        self.due.first() == Some(&(at, id))
    }
}

impl fmt::Debug for Agenda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agenda").field("due", &self.entries.lock().due).finish_non_exhaustive()
    }
}

/// Asks for one chore.
#[derive(Debug)]
pub struct Reminder {
    agenda: Arc<Agenda>,
    id: u64,
    moment: Arc<Moment>,
}

impl Reminder {
    /// Has the chore run at `at`, or earlier if somebody has asked for that. Cheap where somebody has.
    pub fn set(&self, at: Duration) {
        if self.moment.get().is_some_and(|before| before <= at) {
            return;
        }
        let is_first = self.agenda.entries.lock().bring_forward(self.id, at);
        if is_first {
            self.agenda.changed.raise();
        }
    }
}

/// The thread that runs the chores of an agenda when they are due.
#[derive(Debug)]
pub struct Background {
    agenda: Arc<Agenda>,
    thread: JoinHandle,
}

impl Background {
    pub fn start(agenda: &Arc<Agenda>) -> io::Result<Self> {
        let agenda = Arc::clone(agenda);
        let its_agenda = Arc::clone(&agenda);
        let thread = spawn("ottla", move || keep(&its_agenda))?;
        Ok(Self { agenda, thread })
    }

    /// Ends the thread, after the chore at which it is; false if it has panicked.
    pub fn end(self) -> bool {
        self.agenda.entries.lock().ended = true;
        self.agenda.changed.raise();
        self.thread.join().is_ok()
    }
}

fn keep(agenda: &Agenda) {
    loop {
        // In this order: what is brought forward from now on has raised the signal before the wait.
        let seen = agenda.changed.generation();
        if agenda.has_ended() {
            return;
        }
        let next = agenda.run_due().unwrap_or(Duration::MAX);
        agenda.clock.wait_in_background(&agenda.changed, seen, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicUsize;

    /// Counts its runs, and asks to run again after each of the delays.
    struct Counting {
        runs: AtomicUsize,
        again: Mutex<Vec<Duration>>,
        ran: Arc<Signal>,
    }

    impl Chore for Counting {
        fn run(&self, now: Duration) -> Option<Duration> {
            self.runs.fetch_add(1, Ordering::SeqCst);
            self.ran.raise();
            self.again.lock().pop().map(|delay| now + delay)
        }
    }

    fn counting(again: &[Duration]) -> Arc<Counting> {
        let again = Mutex::new(again.to_vec());
        Arc::new(Counting { runs: AtomicUsize::new(0), again, ran: Signal::new() })
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[cfg(feature = "test-util")]
    #[test]
    fn a_chore_runs_when_it_is_due_and_a_reminder_only_brings_it_forward() {
        let clock = crate::clock::ManualClock::at(0);
        let agenda = Agenda::new(clock.clock());
        let chore = counting(&[2 * SECOND]);
        let weak: Weak<Counting> = Arc::downgrade(&chore);
        let reminder = agenda.add(weak);
        let runs = || chore.runs.load(Ordering::SeqCst);
        assert_eq!((agenda.run_due(), runs()), (None, 0), "nobody has asked for it");

        reminder.set(3 * SECOND);
        reminder.set(SECOND);
        reminder.set(5 * SECOND);
        assert_eq!((agenda.run_due(), runs()), (Some(SECOND), 0));
        clock.advance(SECOND);
        assert_eq!((agenda.run_due(), runs()), (Some(3 * SECOND), 1), "it has asked for itself");
        clock.advance(10 * SECOND);
        assert_eq!((agenda.run_due(), runs()), (None, 2));

        reminder.set(SECOND);
        drop(chore);
        assert_eq!(agenda.run_due(), None);
        assert!(agenda.entries.lock().chores.is_empty(), "a chore that has gone is forgotten");
    }

    #[test]
    fn the_thread_runs_what_is_due_and_ends_when_it_is_told_to() {
        let agenda = Agenda::new(Clock::system());
        let chore = counting(&[Duration::ZERO, Duration::from_millis(1)]);
        let weak: Weak<Counting> = Arc::downgrade(&chore);
        let reminder = agenda.add(weak);
        let background = Background::start(&agenda).unwrap();
        reminder.set(Duration::ZERO);
        loop {
            let seen = chore.ran.generation();
            if chore.runs.load(Ordering::SeqCst) == 3 {
                break;
            }
            chore.ran.wait(seen, None);
        }
        reminder.set(Duration::from_secs(3600));
        assert!(background.end());
    }
}
