//! Why a partition takes nothing more.

use crate::error::{Error, ErrorKind};

/// Why a partition takes no more records.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The broker was closed.
    Closed,
    /// The broker was closed, and there was no time for what had gathered.
    Abandoned,
    /// The topic was deleted.
    Deleted,
    /// A write or a sync failed: what was not durable before may or may not be there.
    Failed(Error),
}

impl Stop {
    /// For a record that was taken and is not durable.
    pub fn error(&self) -> Error {
        match self {
            Self::Closed => Error::new(ErrorKind::Closed, "the broker is closed"),
            Self::Abandoned => {
                let what = "the broker was closed before the record was on stable storage";
                Error::new(ErrorKind::Indeterminate, what).advise(LOOK)
            }
            Self::Deleted => Error::new(ErrorKind::UnknownTopicOrPartition, "the topic was deleted"),
            Self::Failed(error) => error.clone().with_kind(ErrorKind::Indeterminate).advise(LOOK),
        }
    }

    /// For a record that is not taken, and certainly not written.
    pub fn refusal(&self) -> Error {
        match self {
            Self::Abandoned => Self::Closed.error(),
            Self::Failed(error) => error.clone().with_kind(ErrorKind::StorageError).advise(
                "the partition takes no records until the broker was reopened; this one was not taken",
            ),
            stop => stop.error(),
        }
    }

    /// Readers keep what was durable when a write fails; of a closed or deleted partition they keep nothing.
    pub fn ends_reading(&self) -> Option<Error> {
        match self {
            Self::Failed(_) => None,
            stop => Some(stop.refusal()),
        }
    }
}

const LOOK: &str = "it may or may not be there: reopen the broker, and look";
