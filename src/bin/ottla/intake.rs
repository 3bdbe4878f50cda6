//! Reads standard input on a thread of its own, which may wait there for as long as it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::failure::Failure;
use crate::sender::Sender;

/// The thread, as its reporter sees it.
pub struct Intake {
    sent: Arc<Sent>,
    outcome: Receiver<Result<(), Failure>>,
}

/// What was read and sent so far.
#[derive(Debug, Default)]
struct Sent {
    lines: AtomicU64,
    bytes: AtomicU64,
}

impl Sent {
    fn publish(&self, lines: u64, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        // Whoever sees the number finds the records in the log.
        self.lines.store(lines, Ordering::Release);
    }
}

/// Nothing more is sent, and whether that is as it should be.
pub struct End(pub Result<(), Failure>);

impl Intake {
    pub fn start(mut sender: Sender) -> Result<Self, Failure> {
        let sent = Arc::new(Sent::default());
        let (ended, outcome) = mpsc::channel();
        let shared = Arc::clone(&sent);
        let reporter = thread::current();
        let run = move || {
            // Dropped last, also in a panic, when the channel has said what there is to say.
            let reporter = Unpark(reporter);
            let ended = ended;
            let outcome = sender.send_all(|lines, bytes| {
                shared.publish(lines, bytes);
                reporter.0.unpark();
            });
            _ = ended.send(outcome);
        };
        let failed = |error| Failure::Stream { doing: "start a thread", error };
        thread::Builder::new().name("ottla-intake".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { sent, outcome })
    }

    /// The lines that were sent: their records have offsets.
    pub fn lines(&self) -> u64 {
        self.sent.lines.load(Ordering::Acquire)
    }

    pub fn bytes(&self) -> u64 {
        self.sent.bytes.load(Ordering::Relaxed)
    }

    /// Waits for more than `known` lines, or the end.
    pub fn wait_for_more(&self, known: u64) -> Option<End> {
        while self.lines() == known {
            match self.outcome.try_recv() {
                Ok(outcome) => return Some(End(outcome)),
                Err(TryRecvError::Disconnected) => return Some(End(Err(lost()))),
                // The thread unparks this one with each number and at its end.
                Err(TryRecvError::Empty) => thread::park(),
            }
        }
        None
    }

    /// Waits until `due`, or for the end.
    pub fn wait_until(&self, due: Instant) -> Option<End> {
        match self.outcome.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(outcome) => Some(End(outcome)),
            Err(RecvTimeoutError::Disconnected) => Some(End(Err(lost()))),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }
}

fn lost() -> Failure {
    Failure::Refused("the thread that reads standard input has panicked".to_owned())
}

struct Unpark(Thread);

impl Drop for Unpark {
    fn drop(&mut self) {
        self.0.unpark();
    }
}
