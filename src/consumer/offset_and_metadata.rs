//! What is committed of a partition.

use std::sync::Arc;

use crate::group::Committed;
use crate::model::{Position, Timestamp};

/// What a group commits, or has committed, of a partition: the position of the next record to read, and words of the committer's own.
///
/// ```
/// use ottla::{OffsetAndMetadata, Position};
/// let offset = OffsetAndMetadata::new(Position::new(42, Some(0))).metadata("host-7");
/// assert_eq!((offset.position().offset(), offset.words()), (42, "host-7"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    position: Position,
    metadata: Arc<str>,
    timestamp: Option<Timestamp>,
}

impl OffsetAndMetadata {
    /// A position without words.
    #[must_use]
    pub fn new(position: Position) -> Self {
        Self { position, metadata: "".into(), timestamp: None }
    }

    /// Adds words that are kept beside the position, at most 4096 bytes. Default: none.
    #[must_use]
    pub fn metadata(mut self, words: &str) -> Self {
        self.metadata = words.into();
        self
    }

    /// The position of the next record to read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The words beside it.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.metadata
    }

    /// When it was committed, in milliseconds since the Unix epoch; `None` before that.
    #[must_use]
    pub fn commit_timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    pub(super) fn into_parts(self) -> (Position, Arc<str>) {
        (self.position, self.metadata)
    }
}

impl From<Committed> for OffsetAndMetadata {
    fn from(committed: Committed) -> Self {
        let position = Position::new(committed.offset, committed.leader_epoch);
        Self { position, metadata: committed.metadata, timestamp: Some(committed.commit_timestamp) }
    }
}
