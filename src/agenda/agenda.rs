//! The chores, and their moments.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::crew::Hands;
use crate::clock::Clock;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Something that has to be done from time to time.
pub trait Chore: Send + Sync {
    /// Does what is due at `now`, in monotonic time, and says when there is more to do.
    fn run(&self, now: Duration) -> Option<Duration>;
}

/// The chores of a broker, and their moments.
pub struct Agenda {
    pub(super) clock: Clock,
    pub(super) entries: Mutex<Entries>,
}

#[derive(Default)]
pub(super) struct Entries {
    /// When, and which; a chore that runs at this moment is in it once it has been asked for again.
    due: BTreeSet<(Duration, u64)>,
    chores: HashMap<u64, Entry>,
    next_id: u64,
    /// The threads.
    pub hands: Hands,
}

struct Entry {
    chore: Weak<dyn Chore>,
    moment: Arc<Moment>,
    /// Whether a thread is at it.
    is_running: bool,
}

/// A chore that was taken to be run.
pub(super) struct Taken {
    id: u64,
    chore: Weak<dyn Chore>,
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
    /// Without a chore yet.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, entries: Mutex::default() })
    }

    /// Takes up a chore, which nobody has asked for yet. It is forgotten when it is dropped.
    pub fn add(self: &Arc<Self>, chore: Weak<dyn Chore>) -> Reminder {
        let mut entries = self.entries.lock();
        let id = entries.next_id;
        entries.next_id = id.wrapping_add(1);
        let moment = Arc::new(Moment(AtomicU64::new(NEVER)));
        entries.chores.insert(id, Entry { chore, moment: Arc::clone(&moment), is_running: false });
        Reminder { agenda: Arc::clone(self), id, moment }
    }

    /// Runs every chore that is due, each at most once, but those at which a thread is; returns when the next one is.
    pub fn run_due(self: &Arc<Self>) -> Option<Duration> {
        let now = self.clock.monotonic();
        // What asks for itself again is left to the next time.
        let ids: Vec<u64> = self.entries.lock().due_ids(now).collect();
        for id in ids {
            let taken = self.entries.lock().take(id, now);
            if let Some(taken) = taken {
                self.run(&taken, now);
            }
        }
        let mut entries = self.entries.lock();
        let first = entries.first();
        if first.is_some() {
            // What was asked for while it ran is nobody's else.
            self.call(&mut entries);
        }
        first
    }

    pub(super) fn run(self: &Arc<Self>, taken: &Taken, now: Duration) {
        let chore = taken.chore.upgrade();
        let again = chore.as_ref().and_then(|chore| chore.run(now));
        let mut entries = self.entries.lock();
        entries.finish(taken.id, chore.is_some(), again);
        drop(entries);
        // Perhaps the last one who has it: what goes with it may ask for something.
        drop(chore);
    }

    fn bring_forward(self: &Arc<Self>, id: u64, at: Duration) {
        let mut entries = self.entries.lock();
        if entries.bring_forward(id, at) {
            self.call(&mut entries);
        }
    }
}

impl Entries {
    /// When the first chore is due at which no thread is.
    pub fn first(&self) -> Option<Duration> {
        self.ready().next().map(|(at, _)| at)
    }

    /// Takes the first chore that is due, if there is one.
    pub fn take_first(&mut self, now: Duration) -> Option<Taken> {
        let id = self.due_ids(now).next()?;
        self.take(id, now)
    }

    fn ready(&self) -> impl Iterator<Item = (Duration, u64)> {
        let is_free = |id: &u64| self.chores.get(id).is_none_or(|entry| !entry.is_running);
        self.due.iter().copied().filter(move |(_, id)| is_free(id))
    }

    fn due_ids(&self, now: Duration) -> impl Iterator<Item = u64> {
        self.ready().take_while(move |(at, _)| *at <= now).map(|(_, id)| id)
    }

    /// `None` if somebody else has taken it meanwhile.
    fn take(&mut self, id: u64, now: Duration) -> Option<Taken> {
        let entry = self.chores.get_mut(&id).filter(|entry| !entry.is_running)?;
        let at = entry.moment.get().filter(|at| *at <= now)?;
        entry.moment.set(None);
        entry.is_running = true;
        self.due.remove(&(at, id));
        Some(Taken { id, chore: Weak::clone(&entry.chore) })
    }

    fn finish(&mut self, id: u64, is_there: bool, again: Option<Duration>) {
        if !is_there {
            let entry = self.chores.remove(&id);
            if let Some(at) = entry.and_then(|entry| entry.moment.get()) {
                self.due.remove(&(at, id));
            }
            return;
        }
        if let Some(entry) = self.chores.get_mut(&id) {
            entry.is_running = false;
        }
        if let Some(at) = again {
            self.bring_forward(id, at);
        }
    }

    /// True if somebody has to look: the chore is now the first one that could be run.
    fn bring_forward(&mut self, id: u64, at: Duration) -> bool {
        // What a moment can hold.
        let at = at.min(Duration::from_nanos(NEVER - 1));
        let Some(entry) = self.chores.get(&id) else { return false };
        match entry.moment.get() {
            Some(before) if before <= at => return false,
            Some(before) => _ = self.due.remove(&(before, id)),
            None => {}
        }
        entry.moment.set(Some(at));
        let is_free = !entry.is_running;
        self.due.insert((at, id));
        is_free && self.ready().next() == Some((at, id))
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
        if self.moment.get().is_none_or(|before| before > at) {
            self.agenda.bring_forward(self.id, at);
        }
    }
}

/// Whoever had it asks for nothing any more, and has perhaps gone.
impl Drop for Reminder {
    fn drop(&mut self) {
        let mut entries = self.agenda.entries.lock();
        if let Some(at) = entries.chores.remove(&self.id).and_then(|entry| entry.moment.get()) {
            entries.due.remove(&(at, self.id));
        }
    }
}
