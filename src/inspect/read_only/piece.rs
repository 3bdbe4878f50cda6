//! What reading a partition around damage yields.

use crate::error::Result;
use crate::partition_log::Gap;
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
            Self::Gap(gap) => Err(gap.into_error()),
        }
    }
}
