//! What an acknowledgement survives, as a topic is configured.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::invalid;
use crate::error::{Error, Result};

/// What an acknowledgement survives: the level of a topic, named after it.
///
/// | Level | acknowledged when | a process crash loses | a power cut loses | readers see |
/// |---|---|---|---|---|
/// | `Synced` | an `fdatasync` that covers the record has succeeded | nothing | nothing | what is on stable storage |
/// | `Interval(d)` | the operating system has the bytes | nothing | at most `d`, and the sync under way | what is written |
/// | `Os` | the operating system has the bytes | nothing | what came after the last sync | what is written |
///
/// On an interval topic nothing more is written, and so acknowledged, once the oldest record that is not synced is older
/// than `2·d`, before it is synced; sends wait only when the [buffer memory](crate::BrokerOptions::buffer_memory) is full.
/// An `Os` topic is synced when a segment is full, when the broker closes, and when somebody
/// [asks for it](crate::Producer::synced).
///
/// In the configuration of a topic it is `durability`, with the values `synced`, `interval:` and milliseconds, or `os`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing that was acknowledged is ever lost.
    Synced,
    /// A power cut loses at most so much time; at least 1 ms, kept in whole milliseconds.
    Interval(Duration),
    /// A power cut loses what came after the last sync.
    Os,
}

impl Durability {
    pub(super) const EXPECTS: &str = "synced, os, or interval: and milliseconds from 1 on";

    /// Whether a record counts as acknowledged, and is visible, before it is synced.
    pub(crate) fn is_written_enough(self) -> bool {
        self != Self::Synced
    }

    /// The one way in which it is written: whole milliseconds, at least one.
    pub(super) fn is_valid(self) -> bool {
        match self {
            Self::Interval(every) => {
                let whole = Duration::from_millis(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
                every >= Duration::from_millis(1) && every == whole
            }
            Self::Synced | Self::Os => true,
        }
    }
}

/// Reads what [`Display`](fmt::Display) writes.
///
/// ```
/// use ottla::Durability;
/// use std::time::Duration;
/// assert_eq!("interval:100".parse::<Durability>()?, Durability::Interval(Duration::from_millis(100)));
/// # Ok::<(), ottla::Error>(())
/// ```
impl FromStr for Durability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let level = match text {
            "synced" => Some(Self::Synced),
            "os" => Some(Self::Os),
            _ => text
                .strip_prefix("interval:")
                .and_then(|millis| millis.parse().ok())
                .map(|millis| Self::Interval(Duration::from_millis(millis))),
        };
        level.filter(|level| level.is_valid()).ok_or_else(|| invalid("durability", text, Self::EXPECTS))
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synced => f.write_str("synced"),
            Self::Interval(every) => write!(f, "interval:{}", every.as_millis()),
            Self::Os => f.write_str("os"),
        }
    }
}
