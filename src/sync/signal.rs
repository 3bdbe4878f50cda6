//! A counter that can be waited on.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use super::{Condvar, Mutex};

/// A counter that can be waited on: the one wait with a deadline.
///
/// A waiter reads [`generation`](Self::generation), looks at the world, and waits for a later generation; what
/// happens between the look and the wait has already moved the counter, so no wake-up is missed.
#[derive(Debug, Default)]
pub struct Signal {
    state: Mutex<State>,
    raised: Condvar,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    /// Who is woken beside those who wait.
    relay: Option<Waker>,
}

impl Signal {
    /// A signal that nobody has raised yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// How often the signal was raised.
    pub fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// Has whoever raises it wake `relay` as well, in the place of the one before. It is called with locks in hand, and so is
    /// never a user's.
    #[cfg(feature = "async")]
    pub fn relay_to(&self, relay: Option<Waker>) {
        let before = std::mem::replace(&mut self.state.lock().relay, relay);
        drop(before);
    }

    /// Wakes everybody who waits for a generation later than the one before this call.
    pub fn raise(&self) {
        let relay = {
            let mut state = self.state.lock();
            state.generation = state.generation.wrapping_add(1);
            state.relay.clone()
        };
        // Whoever wakes takes the lock first.
        self.raised.notify_all();
        if let Some(relay) = relay {
            relay.wake();
        }
    }

    /// Waits until the generation is no longer `seen`, or until the deadline, if there is one.
    pub fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let mut state = self.state.lock();
        while state.generation == seen {
            match deadline {
                None => self.raised.wait(&mut state),
                Some(at) => {
                    if self.raised.wait_until(&mut state, at) {
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
