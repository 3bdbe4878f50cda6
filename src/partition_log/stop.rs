//! Why a partition takes nothing more.

use crate::error::{Error, ErrorKind, Result};
use crate::vfs::ProcessMark;

/// Why a partition takes no more records.
#[derive(Clone, Debug)]
pub enum Stop {
    /// The broker was closed.
    Closed,
    /// The broker was closed, and there was no time for what had gathered.
    Abandoned,
    /// The topic was deleted.
    Deleted,
    /// Its files are damaged, and it was opened all the same, so that others can be used.
    Damaged(Error),
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
            Self::Damaged(error) => error.clone(),
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

    /// For a reader of what was not durable when a write or a sync failed, and may be gone.
    pub fn loss(&self) -> Option<Error> {
        match self {
            Self::Failed(error) => Some(error.clone().with_kind(ErrorKind::StorageError).advise(
                "what stands there was not on stable storage when that failed, and may be gone: reopen the partition",
            )),
            _ => None,
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

/// Fails in a process that was forked off the one which made the mark: the directory is its parent's, and threads that
/// held locks are not there to release them.
pub fn check_process(mark: &ProcessMark) -> Result<()> {
    if mark.is_ours() {
        return Ok(());
    }
    let what = "the broker belongs to the process that this one was forked off";
    Err(Error::new(ErrorKind::ForkedProcess, what)
        .advise("open brokers after forking, and one directory in one process"))
}

const LOOK: &str = "it may or may not be there: reopen the broker, and look";
