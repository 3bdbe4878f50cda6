//! The shape of Kafka's text checkpoints: version 0, the number of entries, an entry a line (Kafka: `CheckpointFile`).
//!
//! ```text
//! 0            version
//! 2            number of entries
//! orders 0 17  an entry
//! orders 1 4
//! ```
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::fmt::{Display, Write};

use crate::error::{Error, Result};

/// The text of these entries.
pub fn encode<E: Display>(entries: impl ExactSizeIterator<Item = E>) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        // Writing to a string does not fail.
        _ = writeln!(text, "{entry}");
    }
    text
}

/// The entries of a text, each read by `entry`.
pub fn decode<E>(bytes: &[u8], entry: impl Fn(&str) -> Option<E>) -> Result<Vec<E>> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is no text"))?;
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err(malformed("its version is not 0"));
    }
    let count: usize =
        lines.next().and_then(|line| line.parse().ok()).ok_or_else(|| malformed("it has no count"))?;
    let entries = lines.map(&entry).collect::<Option<Vec<E>>>();
    let entries = entries.ok_or_else(|| malformed("a line is no entry"))?;
    if entries.len() == count { Ok(entries) } else { Err(malformed("its count is wrong")) }
}

pub fn malformed(reason: &str) -> Error {
    Error::corrupt(format!("a checkpoint cannot be read: {reason}"))
}
