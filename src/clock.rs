//! Time, injected: wall time is data (record timestamps), monotonic time drives every interval and deadline.
//!
//! Nothing else in the crate asks the operating system what time it is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;
use crate::sync::Signal;
#[cfg(feature = "test-util")]
use {crate::sync::Mutex, std::sync::Weak};

/// The clock of a broker: the system's, or one that a test drives by hand.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System {
        origin: Instant,
    },
    #[cfg(feature = "test-util")]
    Manual(Arc<Manual>),
}

impl Clock {
    /// The operating system's clock.
    pub(crate) fn system() -> Self {
        Self(Source::System { origin: Instant::now() })
    }

    /// Wall time in milliseconds since the Unix epoch.
    pub(crate) fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => {
                milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
            }
            #[cfg(feature = "test-util")]
            Source::Manual(manual) => manual.state.lock().wall,
        }
    }

    /// Time since some fixed moment; never goes back.
    pub(crate) fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { origin } => origin.elapsed(),
            #[cfg(feature = "test-util")]
            Source::Manual(manual) => manual.state.lock().monotonic,
        }
    }

    /// Waits until the signal has left generation `seen` or monotonic time has reached `deadline`.
    pub(crate) fn wait(&self, signal: &Arc<Signal>, seen: u64, deadline: Duration) {
        self.wait_as(signal, seen, deadline, true);
    }

    /// The same for a thread of the library's own, which no test waits for.
    pub(crate) fn wait_in_background(&self, signal: &Arc<Signal>, seen: u64, deadline: Duration) {
        self.wait_as(signal, seen, deadline, false);
    }

    #[cfg_attr(not(feature = "test-util"), expect(unused_variables, reason = "only a test counts waiters"))]
    fn wait_as(&self, signal: &Arc<Signal>, seen: u64, deadline: Duration, is_callers: bool) {
        match &self.0 {
            // A deadline beyond what an instant can hold is no deadline.
            Source::System { origin } => signal.wait(seen, origin.checked_add(deadline)),
            #[cfg(feature = "test-util")]
            Source::Manual(manual) => {
                if manual.enlist(signal, deadline, is_callers) {
                    signal.wait(seen, None);
                }
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::System { .. } => "Clock::system",
            #[cfg(feature = "test-util")]
            Source::Manual(_) => "Clock::manual",
        })
    }
}

fn milliseconds(duration: Duration) -> Timestamp {
    Timestamp::try_from(duration.as_millis()).unwrap_or(Timestamp::MAX)
}

/// A clock that stands still until a test moves it; see [`ManualClock::advance`].
///
/// ```
/// use ottla::{Broker, ManualClock, Record, TopicConfig};
/// use std::time::Duration;
///
/// let clock = ManualClock::at(1_700_000_000_000);
/// let broker = Broker::options().clock(clock.clock()).in_memory()?;
/// let topic = broker.ensure_topic("orders", TopicConfig::new())?;
/// clock.advance(Duration::from_secs(60));
/// let metadata = topic.producer().send(Record::new("paid"))?.wait()?;
/// assert_eq!(metadata.timestamp(), 1_700_000_060_000);
/// # Ok::<(), ottla::Error>(())
/// ```
#[cfg(feature = "test-util")]
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

#[cfg(feature = "test-util")]
#[derive(Debug)]
struct Manual {
    state: Mutex<ManualState>,
}

#[cfg(feature = "test-util")]
#[derive(Debug)]
struct ManualState {
    wall: Timestamp,
    monotonic: Duration,
    waiting: Vec<Waiting>,
}

/// Somebody who is woken when time moves.
#[cfg(feature = "test-util")]
#[derive(Debug)]
struct Waiting {
    signal: Weak<Signal>,
    /// The earliest, if the signal is waited for more than once.
    deadline: Duration,
    /// Whether a caller of the library waits, rather than a thread of its own.
    is_callers: bool,
}

#[cfg(feature = "test-util")]
impl Manual {
    /// Has time raise the signal once it reaches the deadline; false if the deadline is already reached.
    fn enlist(&self, signal: &Arc<Signal>, deadline: Duration, is_callers: bool) -> bool {
        let mut state = self.state.lock();
        if state.monotonic >= deadline {
            return false;
        }
        state.waiting.retain(|waiting| waiting.signal.strong_count() > 0);
        let known = state.waiting.iter_mut().find(|waiting| waiting.signal.as_ptr() == Arc::as_ptr(signal));
        match known {
            Some(waiting) => waiting.deadline = waiting.deadline.min(deadline),
            None => state.waiting.push(Waiting { signal: Arc::downgrade(signal), deadline, is_callers }),
        }
        true
    }
}

#[cfg(feature = "test-util")]
impl ManualClock {
    /// A clock whose wall time is `wall`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        let state = ManualState { wall, monotonic: Duration::ZERO, waiting: Vec::new() };
        Self(Arc::new(Manual { state: Mutex::new(state) }))
    }

    /// The clock to give to a broker.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves wall and monotonic time forward, and wakes everybody whose deadline has come.
    pub fn advance(&self, by: Duration) {
        let woken = {
            let mut state = self.0.state.lock();
            state.wall = state.wall.saturating_add(milliseconds(by));
            state.monotonic = state.monotonic.saturating_add(by);
            let now = state.monotonic;
            let all = std::mem::take(&mut state.waiting).into_iter();
            let (woken, waiting): (Vec<_>, Vec<_>) = all.partition(|waiting| waiting.deadline <= now);
            state.waiting = waiting;
            woken
        };
        for signal in woken.iter().filter_map(|waiting| waiting.signal.upgrade()) {
            signal.raise();
        }
    }

    /// Sets wall time alone, forwards or backwards, as an operator who corrects a clock does.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.state.lock().wall = wall;
    }

    /// How many distinct waits of callers an [`advance`](Self::advance) to their deadlines will wake.
    #[must_use]
    pub fn waiters(&self) -> usize {
        let state = self.0.state.lock();
        state.waiting.iter().filter(|waiting| waiting.is_callers && waiting.signal.strong_count() > 0).count()
    }
}
