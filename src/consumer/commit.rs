//! A commit on its way to the disk.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::broker::PendingCommit;
use crate::error::Result;
use crate::partition_log::Registration;

/// A commit that was made and is not on stable storage yet: [`wait`](Self::wait) for it, or `.await` it in any executor; made by
/// [`Consumer::commit_async`](crate::Consumer::commit_async).
///
/// Dropping it does not take the commit back.
#[must_use = "it is committed once it was waited for"]
pub struct Commit {
    /// `None` if there was nothing to commit.
    pending: Option<PendingCommit>,
    registration: Option<Registration>,
}

impl Commit {
    pub(super) fn new(pending: Option<PendingCommit>) -> Self {
        Self { pending, registration: None }
    }

    /// Returns once the commit is on stable storage.
    ///
    /// # Errors
    /// Those of [`Delivery::wait`](crate::Delivery::wait), of the internal topic.
    pub fn wait(self) -> Result<()> {
        self.pending.as_ref().map_or(Ok(()), PendingCommit::wait)
    }

    /// The same, at most so long.
    ///
    /// # Errors
    /// Those of [`Delivery::wait_timeout`](crate::Delivery::wait_timeout), of the internal topic.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        self.pending.as_ref().map_or(Ok(()), |pending| pending.wait_timeout(timeout))
    }
}

/// The broker's threads write and sync; [without them](crate::BrokerOptions::background) somebody waits without a timeout, or ticks.
impl Future for Commit {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { pending, registration } = &mut *self;
        match pending {
            Some(pending) => pending.poll(registration, context.waker()),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.forget(&mut self.registration);
        }
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("pending", &self.pending).finish()
    }
}
