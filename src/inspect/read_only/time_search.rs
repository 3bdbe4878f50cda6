//! Finds the first record of a time in a log that may be damaged.

use std::sync::Arc;

use super::found_log::FoundLog;
use super::partition_walk::{PartitionWalk, Passed};
use crate::error::Result;
use crate::inspect::log_walk::Found;
use crate::model::{Offset, Timestamp};

/// The offset of the first record whose timestamp is at least `time`, or of the gap right before it, which may hold an
/// earlier one; the end of the log if there is none. No index is believed: every batch is read.
pub fn first_of(log: &Arc<FoundLog>, time: Timestamp) -> Result<Offset> {
    let end = log.ends_at.map(|_| log.end);
    let mut walk = PartitionWalk::new(Arc::clone(log), log.log_start, end);
    let mut gap = None;
    while let Some(passed) = walk.step()? {
        match passed {
            Passed::Gap(found) => gap = gap.or(Some(found.offsets().start)),
            Passed::Batch(found) => {
                if let Some(offset) = record_of(&found, time, log.log_start)? {
                    return Ok(gap.unwrap_or(offset));
                }
                gap = None;
            }
        }
    }
    Ok(gap.unwrap_or(log.end))
}

fn record_of(found: &Found, time: Timestamp, log_start: Offset) -> Result<Option<Offset>> {
    let header = &found.header;
    if header.max_timestamp < time || header.attributes.is_control() {
        return Ok(None);
    }
    let batch = found.batch()?.clone().starting_at(log_start);
    let is_late = |timestamp: Timestamp| timestamp >= time;
    Ok(batch.iter().find(|record| record.timestamp().is_some_and(is_late)).map(|record| record.offset()))
}
