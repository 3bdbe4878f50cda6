//! Who wants to know which partitions come and go.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::assigned::Assigned;
use super::committing;
use super::offset_and_metadata::OffsetAndMetadata;
use super::subscribed::Subscribed;
use crate::broker::{Broker, Partition};
use crate::error::{Error, ErrorKind, Result};

/// Hears which partitions a consumer in a group is given, and which are taken from it (Kafka: `ConsumerRebalanceListener`); see
/// [`Consumer::set_rebalance_listener`](crate::Consumer::set_rebalance_listener).
///
/// It is called by [`poll`](crate::Consumer::poll), on the thread that polls, with no lock held; as long as it takes, the others in
/// the group wait for what is taken. If it panics, that poll returns
/// [`ListenerPanicked`](ErrorKind::ListenerPanicked); the group goes on as if it had returned.
pub trait RebalanceListener: Send + Sync {
    /// These are the consumer's from now on; each poll that brings some says so once.
    fn assigned(&mut self, partitions: &[Partition]) {
        _ = partitions;
    }

    /// These go to others when this has returned. What was handed out of them can still be committed, with `committer`.
    fn revoked(&mut self, partitions: &[Partition], committer: &mut Committer<'_>) {
        _ = (partitions, committer);
    }

    /// These are others' by now, or were deleted: nothing of them can be committed any more.
    fn lost(&mut self, partitions: &[Partition]) {
        _ = partitions;
    }
}

/// Commits what is about to be taken from a consumer; lent to [`RebalanceListener::revoked`].
pub struct Committer<'a> {
    pub(super) broker: &'a Broker,
    pub(super) group: &'a Subscribed,
    pub(super) assigned: &'a mut [Assigned],
}

impl Committer<'_> {
    /// Commits what the polls so far have handed out; see [`Consumer::commit`](crate::Consumer::commit).
    ///
    /// # Errors
    /// Those of [`Consumer::commit`](crate::Consumer::commit).
    pub fn commit(&mut self) -> Result<()> {
        committing::commit(self.broker, self.group, self.assigned)
    }

    /// Commits these offsets; see [`Consumer::commit_offsets`](crate::Consumer::commit_offsets).
    ///
    /// # Errors
    /// Those of [`Consumer::commit_offsets`](crate::Consumer::commit_offsets).
    pub fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (Partition, OffsetAndMetadata)>,
    ) -> Result<()> {
        committing::commit_offsets(self.broker, self.group, self.assigned, offsets)
    }
}

impl fmt::Debug for Committer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").finish_non_exhaustive()
    }
}

/// Calls code of the user's, which may panic.
pub fn call<T>(what: &str, call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let words = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let what = format!("{what} has panicked: {}", words.unwrap_or("without a word"));
        Error::new(ErrorKind::ListenerPanicked, what).advise("the group goes on; poll again")
    })
}
