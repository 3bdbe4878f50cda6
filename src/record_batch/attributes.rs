//! The attribute bits of a batch header.
//!
//! | Bits | Meaning |
//! |---|---|
//! | 0–2 | codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd |
//! | 3 | timestamp type: 0 `CreateTime`, 1 `LogAppendTime` |
//! | 4 | transactional |
//! | 5 | control batch |
//! | 6 | the base timestamp is a delete horizon (written by compaction) |
//! | 7–15 | zero; ignored when read |

use crate::model::{Compression, TimestampType};

const CODEC_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The attribute bits, as they stand in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    pub fn new(timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(0),
            TimestampType::LogAppendTime => Self(LOG_APPEND_TIME),
        }
    }

    /// `None` for the codec numbers that nobody defined.
    pub fn compression(self) -> Option<Compression> {
        usize::try_from(self.0 & CODEC_MASK).ok().and_then(|number| Compression::ALL.get(number)).copied()
    }

    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !CODEC_MASK | i16::from(compression.number()))
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }
}

/// What only Kafka's own batches have so far.
impl Attributes {
    const DELETE_HORIZON: i16 = 1 << 6;

    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

#[cfg(test)]
impl Attributes {
    pub fn transactional(self) -> Self {
        Self(self.0 | TRANSACTIONAL)
    }

    pub fn control(self) -> Self {
        Self(self.0 | CONTROL)
    }

    pub fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }
}
