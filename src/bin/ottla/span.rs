//! From where to where something goes.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// Bytes or offsets: in JSON `start` and `end`, which does not belong to it any more.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Span {
    Bytes(Range<u64>),
    /// Of records; an empty range where only the first one is known.
    Offsets(Range<u64>),
}

/// In the words of a [`Finding`](ottla::inspect::Finding).
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} to {}", bytes.start, bytes.end),
            Self::Offsets(offsets) if offsets.is_empty() => write!(f, "from {}", offsets.start),
            Self::Offsets(offsets) => write!(f, "{} to {}", offsets.start, offsets.end - 1),
        }
    }
}
