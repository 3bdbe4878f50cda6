//! What reading a partition around damage yields.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::Offset;
use crate::record_batch::RecordBatch;

/// A piece of a partition that is only read: a batch, or a gap where there is none to be had.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Records that are whole.
    Batch(RecordBatch),
    /// Offsets whose records cannot be read.
    Gap(Gap),
}

impl Piece {
    /// The batch, for whoever can do nothing with a partition that has gaps.
    ///
    /// # Errors
    /// That of the [gap](Gap::error).
    pub fn into_batch(self) -> Result<RecordBatch> {
        match self {
            Self::Batch(batch) => Ok(batch),
            Self::Gap(gap) => Err(gap.error),
        }
    }
}

/// Offsets of a partition whose records are damaged or missing.
#[derive(Clone, Debug)]
pub struct Gap {
    pub(super) offsets: Range<Offset>,
    pub(super) bytes: Range<u64>,
    pub(super) error: Error,
}

impl Gap {
    /// The offsets. They are empty where only the first is known: at the end of a log of Kafka's, of which nothing says how
    /// far it went.
    #[must_use]
    pub fn offsets(&self) -> Range<Offset> {
        self.offsets.clone()
    }

    /// The bytes of the [file](Error::file) of the error; empty where what should be there is missing.
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        self.bytes.clone()
    }

    /// What is wrong, of the kind [`CorruptMessage`](crate::ErrorKind::CorruptMessage): with topic, partition, first offset,
    /// file and position, the reason, and what to do.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}
