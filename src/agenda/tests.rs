//! When chores run, and on how many threads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Agenda, Chore, Crew, Reminder};
use crate::clock::Clock;
use crate::sync::{AtomicUsize, Mutex, Ordering, Signal};

const SECOND: Duration = Duration::from_secs(1);

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

/// Hangs until it is let go, and says how many hang at once.
#[derive(Default)]
struct Hanging {
    running: AtomicUsize,
    most: AtomicUsize,
    runs: AtomicUsize,
    changed: Arc<Signal>,
    let_go: Arc<Signal>,
}

impl Chore for Hanging {
    fn run(&self, _now: Duration) -> Option<Duration> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.changed.raise();
        self.let_go.wait(0, None);
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.changed.raise();
        None
    }
}

fn add<C: Chore + 'static>(agenda: &Arc<Agenda>, chore: &Arc<C>) -> Reminder {
    let weak: Weak<C> = Arc::downgrade(chore);
    agenda.add(weak)
}

fn wait_until(signal: &Arc<Signal>, mut is_so: impl FnMut() -> bool) {
    loop {
        let seen = signal.generation();
        if is_so() {
            return;
        }
        signal.wait(seen, None);
    }
}

#[cfg(feature = "test-util")]
#[test]
fn a_chore_runs_when_it_is_due_and_a_reminder_only_brings_it_forward() {
    let clock = crate::clock::ManualClock::at(0);
    let agenda = Agenda::new(clock.clock());
    let chore = counting(&[2 * SECOND]);
    let reminder = add(&agenda, &chore);
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
    assert!(!format!("{agenda:?}").contains("1s"), "a chore that has gone is forgotten");
}

#[test]
fn a_chore_is_forgotten_with_its_reminder() {
    let agenda = Agenda::new(Clock::system());
    let chore = counting(&[]);
    let reminder = add(&agenda, &chore);
    reminder.set(3600 * SECOND);
    assert!(agenda.run_due().is_some());
    drop(reminder);
    assert_eq!(agenda.run_due(), None);
}

#[test]
fn a_thread_runs_what_is_due_and_ends_when_it_is_told_to() {
    let agenda = Agenda::new(Clock::system());
    let chore = counting(&[Duration::ZERO, Duration::from_millis(1)]);
    let reminder = add(&agenda, &chore);
    let crew = Crew::start(&agenda, 1).unwrap();
    reminder.set(Duration::ZERO);
    wait_until(&chore.ran, || chore.runs.load(Ordering::SeqCst) == 3);
    reminder.set(3600 * SECOND);
    crew.dismiss();
    assert!(crew.join(Duration::MAX));
}

/// Somebody else keeps the time while a chore hangs, and no chore ever runs twice at once.
#[test]
fn a_chore_that_hangs_stops_no_other() {
    let agenda = Agenda::new(Clock::system());
    let (hanging, other) = (Arc::new(Hanging::default()), counting(&[]));
    let (hang, reminder) = (add(&agenda, &hanging), add(&agenda, &other));
    let crew = Crew::start(&agenda, 3).unwrap();
    let later = agenda.clock.monotonic() + Duration::from_millis(5);
    reminder.set(later);
    hang.set(Duration::ZERO);
    wait_until(&hanging.changed, || hanging.running.load(Ordering::SeqCst) == 1);
    wait_until(&other.ran, || other.runs.load(Ordering::SeqCst) == 1);

    // Asked for again while it runs: it runs again afterwards.
    hang.set(Duration::ZERO);
    reminder.set(Duration::ZERO);
    wait_until(&other.ran, || other.runs.load(Ordering::SeqCst) == 2);
    assert_eq!(hanging.runs.load(Ordering::SeqCst), 1);
    crew.dismiss();
    assert!(!crew.join(Duration::ZERO), "one of them hangs");
    hanging.let_go.raise();
    assert!(crew.join(Duration::MAX));
    assert_eq!(hanging.most.load(Ordering::SeqCst), 1);
}

/// What is asked for while the chore runs must not be forgotten when it ends, though somebody keeps the time already
/// for something later.
#[test]
fn what_is_asked_for_while_a_chore_runs_is_not_forgotten() {
    let agenda = Agenda::new(Clock::system());
    let (hanging, other) = (Arc::new(Hanging::default()), counting(&[]));
    let (hang, reminder) = (add(&agenda, &hanging), add(&agenda, &other));
    let crew = Crew::start(&agenda, 2).unwrap();
    reminder.set(3600 * SECOND);
    hang.set(Duration::ZERO);
    wait_until(&hanging.changed, || hanging.running.load(Ordering::SeqCst) == 1);
    hang.set(agenda.clock.monotonic() + Duration::from_millis(1));
    hanging.let_go.raise();
    wait_until(&hanging.changed, || hanging.runs.load(Ordering::SeqCst) == 2);
    crew.dismiss();
    assert!(crew.join(Duration::MAX));
}

#[test]
fn no_more_threads_are_started_than_there_may_be() {
    let agenda = Agenda::new(Clock::system());
    let changed = Signal::new();
    let hanging = || Hanging { changed: Arc::clone(&changed), ..Hanging::default() };
    let chores: Vec<_> = (0..5).map(|_| Arc::new(hanging())).collect();
    let reminders: Vec<_> = chores.iter().map(|chore| add(&agenda, chore)).collect();
    let crew = Crew::start(&agenda, 2).unwrap();
    reminders.iter().for_each(|reminder| reminder.set(Duration::ZERO));
    let running = || chores.iter().filter(|chore| chore.running.load(Ordering::SeqCst) == 1).count();
    wait_until(&changed, || running() == 2);
    chores.iter().for_each(|chore| chore.let_go.raise());
    wait_until(&changed, || chores.iter().all(|chore| chore.runs.load(Ordering::SeqCst) == 1));
    crew.dismiss();
    assert!(crew.join(Duration::MAX));
}
