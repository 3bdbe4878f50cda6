//! Commits that a stream has begun by itself, and that become durable beside it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::assigned::Assigned;
use super::commit::Commit;
use super::consumer::Consumer;
use super::subscribed::Subscribed;
use crate::error::Result;
use crate::group::Generation;
use crate::model::Position;
use crate::partition_log::PartitionLog;
use crate::sync::Signal;

/// A commit of what was handed out, on its way to the disk.
pub struct Begun {
    pub commit: Commit,
    pub generation: Option<Generation>,
    pub offsets: Vec<(Arc<PartitionLog>, Position)>,
}

impl Begun {
    fn note(&self, assigned: &mut [Assigned]) {
        for (log, position) in &self.offsets {
            // Unless it was another one's since.
            let is_it = |assigned: &Assigned| {
                Arc::ptr_eq(assigned.log(), log) && Some(assigned.progress.generation) <= self.generation
            };
            if let Some(assigned) = assigned.iter_mut().find(|assigned| is_it(assigned)) {
                assigned.progress.committed = Some(*position);
            }
        }
    }
}

impl Consumer {
    /// What became of the commits that were begun; the consumer's signal tells when there is more to hear.
    pub(super) fn hear_of_commits(&mut self) -> Result<()> {
        let Some(group) = self.group.as_mut().filter(|group| !group.begun.is_empty()) else { return Ok(()) };
        let mut heard = Ok(());
        for mut begun in std::mem::take(&mut group.begun) {
            match look_at(&mut begun.commit, self.wakeup.signal()) {
                Poll::Pending => group.begun.push(begun),
                Poll::Ready(Ok(())) => begun.note(&mut self.assigned),
                Poll::Ready(Err(error)) => heard = heard.and(Err(error)),
            }
        }
        heard
    }
}

impl Subscribed {
    /// Whether it is known what became of the group's commits that were under way, so that what is committed can be looked
    /// up; else the signal tells when there is more to hear. Where a poll may wait, it is found out there.
    pub fn knows_commits(&mut self, signal: &Arc<Signal>) -> bool {
        if self.may_wait {
            return true;
        }
        loop {
            if let Some(commit) = &mut self.under_way
                && look_at(commit, signal).is_pending()
            {
                return false;
            }
            // What became of it is for whoever has made it.
            self.under_way =
                self.membership.coordinator().under_way().map(|pending| Commit::new(Some(pending)));
            if self.under_way.is_none() {
                return true;
            }
        }
    }
}

fn look_at(commit: &mut Commit, signal: &Arc<Signal>) -> Poll<Result<()>> {
    let waker = Waker::from(Arc::clone(signal));
    Pin::new(commit).poll(&mut Context::from_waker(&waker))
}
