//! The agenda and its threads alone: every chore that was asked for runs, in time, on one thread at a time, whoever keeps
//! the time, and the threads end.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ottla::ManualClock;
use ottla::internals::{Agenda, Chore, Crew, Reminder};
use shuttle::sync::{Condvar, Mutex as CheckedMutex};
use shuttle::thread;

use crate::explore::Check;
use crate::schedule::lock;
use crate::world::chance;

pub const CHECKS: &[Check] = &[
    Check { name: "agenda_asked", run: asked },
    Check { name: "agenda_moments", run: moments },
    Check { name: "agenda_hangs", run: hangs },
    Check { name: "agenda_ends", run: ends },
];

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A chore that knows what it was asked for.
#[derive(Default)]
struct Job {
    /// The moments for which it was asked, and at which it has not run. Never held while the library works.
    asked: Mutex<Vec<Duration>>,
    is_running: Mutex<bool>,
    /// How often it ran. Who waits for that waits for ever if the agenda forgets the chore, which is a deadlock.
    runs: CheckedMutex<usize>,
    ran: Condvar,
    /// The run of this one for which this one's waits, as a disk that hangs until somebody else has done something.
    waits_for: Option<Arc<Job>>,
}

impl Chore for Job {
    fn run(&self, now: Duration) -> Option<Duration> {
        assert!(!std::mem::replace(&mut *lock(&self.is_running), true), "two threads are at one chore");
        let next = {
            let mut asked = lock(&self.asked);
            asked.retain(|at| *at > now);
            asked.iter().min().copied()
        };
        thread::yield_now();
        if let Some(other) = &self.waits_for {
            other.wait(|_| true);
        }
        *lock(&self.is_running) = false;
        *self.runs.lock().unwrap() += 1;
        self.ran.notify_all();
        next
    }
}

impl Job {
    fn ask(&self, reminder: &Reminder, at: Duration) {
        lock(&self.asked).push(at);
        reminder.set(at);
    }

    /// Returns once it has run, and is as it should be.
    fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        let runs = self.runs.lock().unwrap();
        drop(self.ran.wait_while(runs, |runs| *runs == 0 || !is_so(self)).unwrap());
    }

    fn wait_until_done(&self) {
        self.wait(|job| lock(&job.asked).is_empty());
    }
}

/// An agenda with threads, and time that stands still.
struct Office {
    clock: ManualClock,
    agenda: Arc<Agenda>,
    crew: Crew,
}

impl Office {
    fn of(threads: usize) -> Self {
        let clock = ManualClock::at(0);
        let agenda = Agenda::new(clock.clock());
        let crew = Crew::start(&agenda, threads).unwrap();
        Self { clock, agenda, crew }
    }

    fn add(&self, job: &Arc<Job>) -> Reminder {
        let weak: Weak<Job> = Arc::downgrade(job);
        self.agenda.add(weak)
    }

    fn end(self) {
        self.crew.dismiss();
        assert!(self.crew.join(Duration::MAX), "all threads have ended");
    }
}

/// Asked from two threads, also while they run, and beside somebody who ticks.
fn asked() {
    let office = Office::of(2);
    let jobs = [Arc::new(Job::default()), Arc::new(Job::default())];
    let reminders = jobs.each_ref().map(|job| office.add(job));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for (job, reminder) in jobs.iter().zip(&reminders) {
                    job.ask(reminder, Duration::ZERO);
                }
            });
        }
        if chance(2) == 0 {
            scope.spawn(|| _ = office.agenda.run_due());
        }
    });
    jobs.iter().for_each(|job| job.wait_until_done());
    office.end();
}

/// For later, then for earlier, while time passes: whoever keeps the time hears of what comes before his moment.
fn moments() {
    let office = Office::of(2);
    let jobs = [Arc::new(Job::default()), Arc::new(Job::default())];
    let reminders = jobs.each_ref().map(|job| office.add(job));
    thread::scope(|scope| {
        scope.spawn(|| {
            jobs[0].ask(&reminders[0], seconds(9));
            jobs[1].ask(&reminders[1], seconds(1 + chance(4)));
        });
        scope.spawn(|| jobs[0].ask(&reminders[0], seconds(1 + chance(4))));
        scope.spawn(|| {
            office.clock.advance(seconds(2));
            office.clock.advance(seconds(2));
        });
    });
    // What lies further ahead does not hide what is due.
    jobs[0].wait(|job| *lock(&job.asked) == [seconds(9)]);
    jobs[1].wait_until_done();
    office.clock.advance(seconds(5));
    jobs[0].wait_until_done();
    office.end();
}

/// A chore that hangs until another one has run, which is due now, or later: somebody else sees to it.
fn hangs() {
    let office = Office::of(2);
    let other = Arc::new(Job::default());
    let hanging = Arc::new(Job { waits_for: Some(Arc::clone(&other)), ..Job::default() });
    let (reminder, hangs) = (office.add(&other), office.add(&hanging));
    thread::scope(|scope| {
        scope.spawn(|| other.ask(&reminder, seconds(chance(2))));
        scope.spawn(|| hanging.ask(&hangs, seconds(chance(2))));
        scope.spawn(|| office.clock.advance(seconds(1)));
    });
    other.wait_until_done();
    hanging.wait_until_done();
    office.end();
}

/// Dismissed while chores are asked for and run: the threads end, and nothing runs any more.
fn ends() {
    let office = Office::of(2);
    let job = Arc::new(Job::default());
    let reminder = office.add(&job);
    thread::scope(|scope| {
        scope.spawn(|| (0..2).for_each(|_| job.ask(&reminder, Duration::ZERO)));
        scope.spawn(|| office.crew.dismiss());
        scope.spawn(|| assert!(office.crew.join(Duration::MAX), "all threads have ended"));
    });
    let runs = *job.runs.lock().unwrap();
    job.ask(&reminder, Duration::ZERO);
    assert_eq!(*job.runs.lock().unwrap(), runs, "they have ended");
}
