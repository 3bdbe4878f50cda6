//! A place of a partition whose records cannot be read.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::model::{Offset, PartitionId};

const ADVICE: &str =
    "restore the file from a copy, or salvage what is sound into a new directory; nothing was changed";

/// Offsets of a partition whose records are damaged or missing.
#[derive(Clone, Debug)]
pub struct Gap {
    offsets: Range<Offset>,
    bytes: Range<u64>,
    error: Error,
}

impl Gap {
    /// A gap of a partition from `offsets.start` on, in a log file, for a reason.
    pub(crate) fn new(
        partition: (&str, PartitionId),
        offsets: Range<Offset>,
        file: &Path,
        bytes: Range<u64>,
        reason: Error,
    ) -> Self {
        let what = match offsets.end.checked_sub(1).filter(|_| !offsets.is_empty()) {
            Some(last) if last == offsets.start => format!("the offset {last} is damaged: {}", reason.what()),
            Some(last) => format!("the offsets {} to {last} are damaged: {}", offsets.start, reason.what()),
            None => format!("the log is damaged from offset {} on: {}", offsets.start, reason.what()),
        };
        let error = reason
            .reworded(what)
            .with_kind(ErrorKind::CorruptMessage)
            .in_partition(partition.0, partition.1)
            .at_offset(offsets.start)
            .in_file(file)
            .at_position(bytes.start)
            .advise(ADVICE);
        Self { offsets, bytes, error }
    }

    pub(crate) fn into_error(self) -> Error {
        self.error
    }

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
