//! The decision to begin a new segment: facts in, reason out (Kafka: `LogSegment.shouldRoll`).

use crate::config::TopicConfig;
use crate::model::{Offset, Timestamp};

/// Why a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollReason {
    /// The batch would take the file above `segment.bytes`.
    Size,
    /// The batch is `segment.ms` younger than the segment's first one.
    Age,
    /// One of the indexes is full.
    IndexFull,
    /// The batch's offsets are too far from the base offset for 31 bits.
    OffsetRange,
}

/// What is known of the active segment.
#[derive(Clone, Copy, Debug)]
pub struct RollFacts {
    pub base: Offset,
    pub size: u64,
    /// The greatest timestamp of the first batch, if the segment holds one with a timestamp.
    pub first_timestamp: Option<Timestamp>,
    pub created: Timestamp,
    pub offset_entries: u64,
    pub time_entries: u64,
}

/// The batch that is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    pub size: u64,
    /// Negative: none.
    pub max_timestamp: Timestamp,
    pub last_offset: Offset,
}

/// Whether the segment ends before `incoming`. The time of now counts, and is asked for, only where the data has no timestamps: a
/// segment ages with its records, and one that nobody appends to does not age.
pub fn roll_reason(
    facts: &RollFacts,
    incoming: &Incoming,
    config: &TopicConfig,
    now: impl Fn() -> Timestamp,
) -> Option<RollReason> {
    let age = match facts.first_timestamp {
        Some(first) => incoming.max_timestamp.saturating_sub(first),
        None => now().saturating_sub(facts.created),
    };
    let too_old = u64::try_from(age).is_ok_and(|age| age > config.segment_ms);
    let offset_capacity = config.segment_index_bytes / 8;
    // One slot stays free for the entry that the segment gets when it is sealed.
    let time_capacity = (config.segment_index_bytes / 12).saturating_sub(1);
    let reach = incoming.last_offset.saturating_sub(facts.base);

    if facts.size == 0 {
        // An empty segment can still be too far from its base.
        (reach > MAX_REACH).then_some(RollReason::OffsetRange)
    } else if facts.size.saturating_add(incoming.size) > config.segment_bytes {
        Some(RollReason::Size)
    } else if too_old {
        Some(RollReason::Age)
    } else if facts.offset_entries >= offset_capacity || facts.time_entries >= time_capacity {
        Some(RollReason::IndexFull)
    } else if reach > MAX_REACH {
        Some(RollReason::OffsetRange)
    } else {
        None
    }
}

const MAX_REACH: u64 = i32::MAX as u64;
