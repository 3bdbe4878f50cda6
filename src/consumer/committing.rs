//! Committing: how far a group has come.

use std::sync::Arc;

use super::Consumer;
use super::subscribed::Subscribed;
use crate::broker::OffsetToCommit;
use crate::error::{Error, ErrorKind, Result};

impl Consumer {
    /// Commits what the polls so far have handed out, of all partitions, and returns once that is on stable storage: the group goes on
    /// behind it, whoever reads on, also after a crash. Nothing new to commit costs nothing.
    ///
    /// # Errors
    /// Nothing is committed then, but after [`Indeterminate`](ErrorKind::Indeterminate), when nobody knows.
    /// [`UnknownMemberId`](ErrorKind::UnknownMemberId) if the consumer has not polled for [too
    /// long](crate::ConsumerBuilder::max_poll_interval), and its partitions are others' now;
    /// [`RebalanceInProgress`](ErrorKind::RebalanceInProgress) if they are just being shared out: poll, and commit again;
    /// [`InvalidGroupId`](ErrorKind::InvalidGroupId) without a group; [`Closed`](ErrorKind::Closed); those of
    /// [`Delivery::wait`](crate::Delivery::wait), of the internal topic.
    pub fn commit(&mut self) -> Result<()> {
        let group = self.require_group()?;
        let uncommitted =
            self.assigned.iter().filter_map(|assigned| Some((assigned, assigned.uncommitted()?)));
        let offsets: Vec<_> = uncommitted
            .map(|(assigned, position)| OffsetToCommit {
                log: Arc::clone(assigned.log()),
                position,
                metadata: "".into(),
            })
            .collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let (shared, member) = (self.broker.shared(), group.membership.id());
        group.membership.coordinator().commit(shared, Some(member), &offsets)?.wait()?;
        for offset in &offsets {
            if let Some(assigned) =
                self.assigned.iter_mut().find(|assigned| Arc::ptr_eq(assigned.log(), &offset.log))
            {
                assigned.progress.committed = offset.position.offset();
            }
        }
        Ok(())
    }

    fn require_group(&self) -> Result<&Subscribed> {
        self.group.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidGroupId, "the consumer is in no group")
                .advise("name a group, and subscribe to topics")
        })
    }
}
