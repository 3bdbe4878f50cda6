//! How many bytes of records a broker holds that were taken and not yet written, and how many it may hold.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::mutant::{self, Mutant};
use crate::sync::{AtomicUsize, Ordering, Signal};

/// The memory that all partitions of a broker share for records on their way to the files.
///
/// Records are taken as long as there are fewer than `limit` bytes, so that one of any size finds a place; what is
/// held beyond the limit is at most a record or a batch for each thread that sends.
#[derive(Debug)]
pub struct BufferMemory {
    limit: usize,
    used: AtomicUsize,
    /// How many senders wait for room.
    blocked: AtomicUsize,
    /// Raised when there is more room, if somebody waits for it.
    freed: Arc<Signal>,
}

impl BufferMemory {
    /// `limit` in bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        let (used, blocked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { limit, used, blocked, freed: Signal::new() })
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn is_full(&self) -> bool {
        self.used.load(Ordering::SeqCst) >= self.limit
    }

    /// Waits until there is room, `is_over`, or time has reached `deadline`; false if time has. `is_over` is asked again
    /// after [`interrupt`](Self::interrupt). Whoever has found room once goes on, though others may be faster: looking
    /// again would be to fail before the deadline.
    pub fn wait(&self, clock: &Clock, deadline: Duration, is_over: impl Fn() -> bool) -> bool {
        self.blocked.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            // In this order: what is freed from now on has raised the signal before the wait.
            let seen = self.freed.generation();
            if !self.is_full() || is_over() {
                break true;
            }
            if clock.monotonic() >= deadline {
                break false;
            }
            clock.wait(&self.freed, seen, deadline);
        };
        self.blocked.fetch_sub(1, Ordering::SeqCst);
        found
    }

    /// Has those who wait look whether it is over.
    pub fn interrupt(&self) {
        if self.blocked.load(Ordering::SeqCst) > 0 {
            self.freed.raise();
        }
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
        if !mutant::is(Mutant::RoomNotTold) {
            self.interrupt();
        }
    }
}

/// Bytes that are held; they are given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    memory: Arc<BufferMemory>,
    bytes: usize,
}

impl Held {
    /// Nothing yet.
    pub fn new(memory: &Arc<BufferMemory>) -> Self {
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    pub fn add(&mut self, bytes: usize) {
        self.memory.used.fetch_add(bytes, Ordering::SeqCst);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Moves what is held to somebody else.
    pub fn take(&mut self) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        Self { memory: Arc::clone(&self.memory), bytes }
    }

    pub fn release(&mut self) {
        match std::mem::take(&mut self.bytes) {
            0 => {}
            bytes => self.memory.release(bytes),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
