//! Why a partition takes nothing more.

use crate::error::{Error, ErrorKind};

/// Why a partition takes no more records.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The broker was closed.
    Closed,
    /// The topic was deleted.
    Deleted,
    /// A write or a sync failed: what was not durable before may or may not be there.
    Failed(Error),
}

impl Stop {
    pub fn error(&self) -> Error {
        match self {
            Self::Closed => Error::new(ErrorKind::Closed, "the broker is closed"),
            Self::Deleted => Error::new(ErrorKind::UnknownTopicOrPartition, "the topic was deleted"),
            Self::Failed(error) => error.clone(),
        }
    }

    /// Readers keep what was durable when a write fails; of a closed or deleted partition they keep nothing.
    pub fn ends_reading(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    pub fn failed(cause: Error) -> Self {
        Self::Failed(
            cause
                .with_kind(ErrorKind::Indeterminate)
                .advise("records not yet acknowledged may or may not be there: reopen the broker, and look"),
        )
    }
}
