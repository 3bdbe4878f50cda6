//! The threads that run the chores: few, started as there is work for them, ended together.
//!
//! One of the idle threads keeps the time, the others wait to be called. Whoever takes up a chore, which may hang on a
//! disk that hangs, first sees to it that somebody else looks at what is still to come: an idle thread, or a new one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::agenda::{Agenda, Entries};
use crate::mutant::{self, Mutant};
use crate::sync::{JoinHandle, Signal, current_thread, id_of, spawn};

/// The threads of an agenda.
#[derive(Default)]
pub(super) struct Hands {
    /// How many there may be at most.
    most: usize,
    threads: Vec<JoinHandle>,
    /// Who waits for the next moment, and until when.
    timekeeper: Option<(Arc<Signal>, Duration)>,
    /// Who waits to be called.
    idle: Vec<Arc<Signal>>,
    /// How many have not ended.
    alive: usize,
    has_ended: bool,
    /// Raised when one has ended.
    left: Arc<Signal>,
}

/// The right to end the threads of an agenda.
#[derive(Debug)]
pub struct Crew {
    agenda: Arc<Agenda>,
}

impl Crew {
    /// Starts the first thread; there will be at most `most` of them.
    pub fn start(agenda: &Arc<Agenda>, most: usize) -> io::Result<Self> {
        let mut entries = agenda.entries.lock();
        entries.hands.most = most.max(1);
        agenda.hire(&mut entries)?;
        Ok(Self { agenda: Arc::clone(agenda) })
    }

    /// Has the threads end, each after the chore at which it is.
    pub fn dismiss(&self) {
        let hands = &mut self.agenda.entries.lock().hands;
        hands.has_ended = true;
        let timekeeper = hands.timekeeper.iter().map(|(signal, _)| signal);
        timekeeper.chain(&hands.idle).for_each(|signal| signal.raise());
    }

    /// Returns once all threads have ended, or at `deadline`; true if all have, and none has panicked.
    pub fn join(&self, deadline: Duration) -> bool {
        loop {
            let (left, seen, alive) = {
                let hands = &self.agenda.entries.lock().hands;
                (Arc::clone(&hands.left), hands.left.generation(), hands.alive)
            };
            if alive == 0 {
                let threads = std::mem::take(&mut self.agenda.entries.lock().hands.threads);
                return threads.into_iter().all(|thread| thread.join().is_ok());
            }
            if self.agenda.clock.monotonic() >= deadline {
                return false;
            }
            self.agenda.clock.wait(&left, seen, deadline);
        }
    }

    /// Whether it is one of the threads that asks.
    pub fn is_current(&self) -> bool {
        let current = current_thread();
        self.agenda.entries.lock().hands.threads.iter().any(|thread| id_of(thread) == current)
    }

    /// Forgets the threads, in a process that was forked off and does not have them.
    pub fn forget(&self) {
        std::mem::forget(std::mem::take(&mut self.agenda.entries.lock().hands.threads));
    }
}

impl Agenda {
    /// Has somebody look at what is to be done, since it has become more urgent. Without threads nobody does before
    /// the next `tick`.
    pub(super) fn call(self: &Arc<Self>, entries: &mut Entries) {
        if mutant::is(Mutant::CrewNotCalled) {
            return;
        }
        let hands = &mut entries.hands;
        if let Some((timekeeper, _)) = &hands.timekeeper {
            timekeeper.raise();
        } else if let Some(idle) = hands.idle.pop() {
            idle.raise();
        } else if hands.alive < hands.most && !hands.has_ended {
            // Without another thread it waits until one of those that there are is free.
            _ = self.hire(entries);
        }
    }

    fn hire(self: &Arc<Self>, entries: &mut Entries) -> io::Result<()> {
        let agenda = Arc::clone(self);
        let thread = spawn("ottla", move || agenda.work())?;
        entries.hands.threads.push(thread);
        entries.hands.alive += 1;
        Ok(())
    }

    /// What a thread does until it is dismissed.
    fn work(self: Arc<Self>) {
        // Also if a chore panics: whoever joins the threads is not to wait for this one.
        let _leaving = Leaving(Arc::clone(&self));
        let signal = Signal::new();
        loop {
            let now = self.clock.monotonic();
            let mut entries = self.entries.lock();
            if entries.hands.has_ended {
                return;
            }
            if let Some(taken) = entries.take_first(now) {
                if entries.first().is_some() {
                    self.call(&mut entries);
                }
                drop(entries);
                self.run(&taken, now);
                continue;
            }
            // In this order: what becomes more urgent from now on raises the signal before the wait.
            let seen = signal.generation();
            let first = entries.first().unwrap_or(Duration::MAX);
            let until = entries.hands.rest(&signal, first);
            drop(entries);
            self.clock.wait_in_background(&signal, seen, until);
            self.entries.lock().hands.take_back(&signal);
        }
    }
}

impl Hands {
    /// A thread is about to wait; returns until when. It keeps the time unless somebody does who wakes early enough.
    fn rest(&mut self, signal: &Arc<Signal>, first: Duration) -> Duration {
        if self.timekeeper.as_ref().is_some_and(|(_, until)| *until <= first) {
            self.idle.push(Arc::clone(signal));
            return Duration::MAX;
        }
        let before = self.timekeeper.replace((Arc::clone(signal), first));
        self.idle.extend(before.map(|(signal, _)| signal));
        first
    }

    /// A thread no longer waits.
    fn take_back(&mut self, signal: &Arc<Signal>) {
        if self.timekeeper.as_ref().is_some_and(|(keeper, _)| Arc::ptr_eq(keeper, signal)) {
            self.timekeeper = None;
        }
        self.idle.retain(|idle| !Arc::ptr_eq(idle, signal));
    }
}

/// Says that a thread has ended.
struct Leaving(Arc<Agenda>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut entries = self.0.entries.lock();
        entries.hands.alive -= 1;
        entries.hands.left.raise();
    }
}
