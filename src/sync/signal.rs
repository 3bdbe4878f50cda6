//! A counter that can be waited on.

use std::sync::Arc;
use std::task::Wake;
use std::time::Instant;

use super::{Condvar, Mutex};

/// A counter that can be waited on: the one wait with a deadline.
///
/// A waiter reads [`generation`](Self::generation), looks at the world, and waits for a later generation; what
/// happens between the look and the wait has already moved the counter, so no wake-up is missed.
#[derive(Debug, Default)]
pub struct Signal {
    generation: Mutex<u64>,
    raised: Condvar,
}

impl Signal {
    /// A signal that nobody has raised yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// How often the signal was raised.
    pub fn generation(&self) -> u64 {
        *self.generation.lock()
    }

    /// Wakes everybody who waits for a generation later than the one before this call.
    pub fn raise(&self) {
        {
            let mut generation = self.generation.lock();
            *generation = generation.wrapping_add(1);
        }
        // Whoever wakes takes the lock first.
        self.raised.notify_all();
    }

    /// Waits until the generation is no longer `seen`, or until the deadline, if there is one.
    pub fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let mut generation = self.generation.lock();
        while *generation == seen {
            match deadline {
                None => self.raised.wait(&mut generation),
                Some(at) => {
                    if self.raised.wait_until(&mut generation, at) {
                        return;
                    }
                }
            }
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}
