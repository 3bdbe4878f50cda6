//! Closing a directory: partition by partition, with a deadline that holds also if the disk hangs.
//!
//! A broker with threads is closed by one more thread, for which the caller waits as long as he said. When that has
//! passed he gets his answer, everybody who waits for a record gets his, and the thread goes on: it keeps the lock of the
//! directory until nobody writes there any more, and writes no marker.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::marker;
use super::reserve::with_reserve;
use super::shared::{Shared, closed};
use super::topic_logs::all_logs;
use crate::agenda::Crew;
use crate::error::{Error, ErrorKind, Result, worse};
use crate::mutant::{self, Mutant};
use crate::partition_log::{PartitionLog, check_process};
use crate::sync::{AtomicUsize, JoinHandle, Mutex, Ordering, Signal, ThreadId, current_thread, spawn};

/// What every handle of a broker holds; the broker is closed when the last of them goes.
#[derive(Debug)]
pub struct Lease(Arc<Shared>);

impl Lease {
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self(shared))
    }

    /// Closes the broker for everybody.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        close(&self.0, timeout)
    }
}

impl Deref for Lease {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let shared = &self.0;
        if !shared.env.mark.is_ours() {
            // The directory is the parent's, and so are the threads, which cannot be joined from here.
            shared.crew.iter().for_each(Crew::forget);
            return;
        }
        // Whatever has panicked may have left half a change; the next opening looks at all of it. But what unwinds on a
        // thread of the broker's own is a waker of the user's, and none of its business.
        let ending = match std::thread::panicking() && !shared.is_own_thread() {
            true => Phase::Late,
            false => Phase::Begun,
        };
        // Nobody is left to hear of a failure; the marker then stays away, and the next opening recovers.
        _ = end(shared, shared.env.options.close_timeout, ending);
    }
}

/// How far closing has come.
#[derive(Debug, Default)]
pub struct Closing {
    phase: Mutex<Phase>,
    /// The thread that closes, if it is not the caller's.
    thread: Mutex<Option<JoinHandle>>,
    /// Those that close partitions.
    closers: Mutex<Vec<ThreadId>>,
    /// Raised when closing has ended.
    ended: Arc<Signal>,
}

#[derive(Clone, Debug, Default)]
enum Phase {
    #[default]
    Open,
    Begun,
    /// A caller's deadline has passed.
    Late,
    Ended(Result<()>),
}

impl Closing {
    /// True for the first who asks.
    fn begin(&self, as_phase: Phase) -> bool {
        let mut phase = self.phase.lock();
        let is_first = matches!(*phase, Phase::Open);
        if is_first {
            *phase = as_phase;
        }
        is_first
    }

    fn end(&self, outcome: Result<()>) {
        *self.phase.lock() = Phase::Ended(outcome);
        self.ended.raise();
    }

    /// The outcome, if there is one.
    fn outcome(&self) -> Option<Result<()>> {
        match &*self.phase.lock() {
            Phase::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// True unless it has just ended.
    fn is_late_now(&self) -> bool {
        let mut phase = self.phase.lock();
        if matches!(*phase, Phase::Ended(_)) {
            return false;
        }
        *phase = Phase::Late;
        true
    }

    fn is_late(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Late)
    }
}

/// Closes every partition, and then the directory. The second call returns what the first one did.
fn close(shared: &Arc<Shared>, timeout: Duration) -> Result<()> {
    check_process(&shared.env.mark)?;
    end(shared, timeout, Phase::Begun)
}

/// Closes in order, or, if it is late already, as a crash would.
fn end(shared: &Arc<Shared>, timeout: Duration, ending: Phase) -> Result<()> {
    let deadline = shared.env.options.clock.monotonic().saturating_add(timeout);
    if shared.closing.begin(ending) {
        shared.is_open.store(false, Ordering::SeqCst);
        // Without the lock of the topics, which somebody may hold at whom the disk hangs.
        let logs = all_logs(&shared.topics.read());
        logs.iter().for_each(|log| log.refuse_appends());
        shared.groups.end();
        shared.logs.lock().extend(logs);
        let its = Arc::clone(shared);
        let thread = match shared.crew.is_some() {
            true => spawn("ottla-close", move || its.closing.end(close_all(&its, Duration::MAX))).ok(),
            false => None,
        };
        match thread {
            Some(thread) => *shared.closing.thread.lock() = Some(thread),
            // Without threads the deadline bounds what has not begun.
            None => shared.closing.end(close_all(shared, deadline)),
        }
    }
    if shared.is_own_thread() {
        // It would wait for its own end.
        return shared.closing.outcome().unwrap_or_else(|| Err(from_within()));
    }
    wait_for_end(shared, deadline)
}

fn wait_for_end(shared: &Shared, deadline: Duration) -> Result<()> {
    let Closing { ended, thread, .. } = &shared.closing;
    let clock = &shared.env.options.clock;
    loop {
        let seen = ended.generation();
        if let Some(outcome) = shared.closing.outcome() {
            // It has nothing left to do.
            let thread = thread.lock().take();
            return match thread.is_none_or(|thread| thread.join().is_ok()) {
                true => outcome,
                false => outcome.and(Err(panicked())),
            };
        }
        if clock.monotonic() >= deadline && shared.closing.is_late_now() {
            // Wakers may do anything, and are called without a lock.
            let logs = shared.logs.lock().clone();
            logs.iter().for_each(|log| log.abandon());
            shared.wake_parked();
            return Err(late());
        }
        clock.wait(ended, seen, deadline);
    }
}

/// What is done when it returns is done, and the lock is free.
fn close_all(shared: &Arc<Shared>, deadline: Duration) -> Result<()> {
    let failed = shared.admin.lock().begin_closing();
    let logs = all_logs(&std::mem::take(&mut *shared.topics.write()));
    // Those that were created meanwhile, too.
    shared.logs.lock().clone_from(&logs);
    shared.closing.closers.lock().push(current_thread());
    let outcome = close_partitions(shared, &logs, deadline);
    let outcome = worse(outcome, end_crew(shared));
    // Nobody else is left to do it.
    shared.wake_parked();
    let outcome = failed.map_or(outcome, Err);
    // Of those that were given up, too: whoever hangs there comes back before the lock goes.
    logs.iter().for_each(|log| log.quiesce());
    let outcome = if shared.closing.is_late() { worse(outcome, Err(late())) } else { outcome };
    // Records that were not written leave the log as it was. For the rest, the marker vouches for every
    // partition and for the evidence, so one failure leaves it out.
    let in_order = match &outcome {
        Err(error) if error.kind() != ErrorKind::NotWritten && !mutant::is(Mutant::MarkerInSpiteOfPoison) => {
            Err(error.clone())
        }
        _ => close_directory(shared, &logs),
    };
    shared.checkpoints.end();
    shared.scrubber.iter().for_each(|scrubber| scrubber.end());
    let outcome = in_order.and(outcome);
    let mut admin = shared.admin.lock();
    admin.failed = outcome.clone().err();
    admin.lock = None;
    outcome
}

fn close_directory(shared: &Shared, logs: &[Arc<PartitionLog>]) -> Result<()> {
    let (vfs, root) = (shared.env.vfs.as_ref(), &*shared.env.root);
    shared.ends.sync()?;
    with_reserve(vfs, root, || shared.checkpoints.close(logs))?;
    if logs.iter().any(|log| log.damage().is_some()) {
        // What could be closed is; the marker would vouch for all.
        return Ok(());
    }
    with_reserve(vfs, root, || marker::write(vfs, root))
}

/// The partitions that are still to be closed.
struct Queue {
    shared: Arc<Shared>,
    logs: Vec<Arc<PartitionLog>>,
    next: AtomicUsize,
    deadline: Duration,
    outcome: Mutex<Result<()>>,
}

/// On several threads where the broker has some, so that one file that hangs does not stop the others.
fn close_partitions(shared: &Arc<Shared>, logs: &[Arc<PartitionLog>], deadline: Duration) -> Result<()> {
    // First of all nobody gets an offset any more, so that no partition waits for the next one's senders.
    logs.iter().for_each(|log| log.refuse_appends());
    let queue = Arc::new(Queue {
        shared: Arc::clone(shared),
        logs: logs.to_vec(),
        next: AtomicUsize::new(0),
        deadline,
        outcome: Mutex::new(Ok(())),
    });
    let most = if shared.crew.is_some() { shared.env.options.sync_threads.min(logs.len()) } else { 1 };
    let others: Vec<_> = (1..most)
        .map_while(|_| {
            let queue = Arc::clone(&queue);
            spawn("ottla-close", move || {
                queue.shared.closing.closers.lock().push(current_thread());
                queue.close_next();
            })
            .ok()
        })
        .collect();
    queue.close_next();
    let panics = others.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
    let outcome = queue.outcome.lock().clone();
    if panics > 0 { worse(outcome, Err(panicked())) } else { outcome }
}

impl Queue {
    fn close_next(&self) {
        while let Some(log) = self.logs.get(self.next.fetch_add(1, Ordering::SeqCst)) {
            let closed = if self.is_over() {
                log.abandon();
                Err(log.place(late()))
            } else {
                log.close()
            };
            let mut outcome = self.outcome.lock();
            let before = std::mem::replace(&mut *outcome, Ok(()));
            *outcome = worse(before, closed);
        }
    }

    fn is_over(&self) -> bool {
        self.shared.closing.is_late() || self.shared.env.options.clock.monotonic() >= self.deadline
    }
}

impl Shared {
    /// Whether it is one of the broker's threads that asks: it runs a waker of the user's.
    fn is_own_thread(&self) -> bool {
        let current = current_thread();
        self.crew.as_ref().is_some_and(Crew::is_current) || self.closing.closers.lock().contains(&current)
    }
}

fn end_crew(shared: &Shared) -> Result<()> {
    let has_ended = shared.crew.as_ref().is_none_or(|crew| {
        crew.dismiss();
        crew.join(Duration::MAX)
    });
    if has_ended { Ok(()) } else { Err(panicked()) }
}

fn panicked() -> Error {
    Error::new(ErrorKind::StorageError, "a thread of the broker has panicked")
}

fn from_within() -> Error {
    let what = "the broker is being closed from one of its own threads, which cannot wait for its end";
    Error::new(ErrorKind::Indeterminate, what).advise("call it again on another thread to learn the outcome")
}

fn late() -> Error {
    Error::new(ErrorKind::Indeterminate, "not everything was closed in time").advise(
        "what was not acknowledged may or may not be there; the directory stays locked until nobody writes to it any \
         more, and is recovered when it is opened again",
    )
}

impl super::shared::Admin {
    /// Topics are no longer created or deleted; returns why they were not before.
    fn begin_closing(&mut self) -> Option<Error> {
        self.failed.replace(closed())
    }
}
