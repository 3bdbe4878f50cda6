//! How a partition ends: closed, given up, deleted, or stopped by a failure.

use super::commit::{Reach, State};
use super::log::PartitionLog;
use super::stop::Stop;
use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::sync::MutexGuard;
use crate::vfs::Holder;

impl PartitionLog {
    /// Takes no more records; those that were taken are still written and synced by [`close`](Self::close).
    pub fn refuse_appends(&self) {
        supersede(&mut self.appends.lock().stop, &Stop::Closed);
        // Whoever waits for room is not to wait for it any longer.
        self.context.buffer.interrupt();
    }

    /// Writes and syncs what was taken, seals the last segment, and takes nothing more. What the disk did not take
    /// leaves the log as it was, it is closed in order, and says [`ErrorKind::NotWritten`](crate::error::ErrorKind).
    pub fn close(&self) -> Result<()> {
        self.refuse_appends();
        let flushed = mutant::unless(Mutant::ClosedUnflushed, || self.flush(Reach::Durable));
        let closed = match self.stop(&Stop::Closed) {
            Stop::Closed => self.seal(),
            Stop::Abandoned | Stop::Deleted | Stop::Damaged(_) => return Ok(()),
            failed @ Stop::Failed(_) => Err(failed.error()),
        };
        closed.map_err(|error| self.place(error)).and(flushed)
    }

    /// Seals the last segment, and says in the ends file that it is where the log ends: a roll after which the
    /// disk took nothing more has moved the end without a commit.
    fn seal(&self) -> Result<()> {
        let mut leader = self.commit.leader.lock();
        let end = leader.writer.end();
        leader.writer.close()?;
        drop(leader);
        if let Some(end) = end {
            let mut state = self.commit.state.lock();
            (state.written, state.durable) = (end, end);
            self.publish_ends(&mut state);
        }
        self.release();
        Ok(())
    }

    /// Gives up what was taken and is not written, as a crash would, and returns at once: whoever waits is told so, and
    /// a thread that hangs at the disk finds it when it comes back.
    pub fn abandon(&self) {
        drop(self.halt(&Stop::Abandoned));
    }

    /// Takes no more records and lends none; when it returns, nobody writes to the files any more.
    pub fn delete(&self) {
        self.stop(&Stop::Deleted);
        self.commit.leader.lock().writer.discard();
        // Their space is free once nobody has them open.
        self.release();
    }

    /// Takes no more records, since the disk may say that the topic is being deleted.
    pub fn fail(&self, error: Error) {
        self.stop(&Stop::Failed(error));
    }

    /// Stops the partition, for this reason unless it has one already, and returns the one that holds. Nobody
    /// leads or syncs when it returns, nor will anybody again.
    pub(super) fn stop(&self, stop: &Stop) -> Stop {
        let mut state = self.halt(stop);
        while state.is_at_work() {
            self.commit.changed.wait(&mut state);
        }
        state.stop.clone().unwrap_or_else(|| stop.clone())
    }

    /// Returns once nobody writes to the files, nor will anybody again.
    pub fn quiesce(&self) {
        self.stop(&Stop::Abandoned);
    }

    fn halt(&self, stop: &Stop) -> MutexGuard<'_, State> {
        let mut state = self.commit.state.lock();
        // Before the records go that have gathered: whoever waits for one would lead again and again, for nothing.
        state.stop.get_or_insert_with(|| stop.clone());
        MutexGuard::unlocked(&mut state, || self.refuse(stop));
        if stop.ends_reading().is_some() {
            state.gone.get_or_insert_with(|| stop.clone());
        }
        match stop {
            // The caller holds the lock of the topics, and wakers may do anything: he tells them when he has let go.
            Stop::Deleted | Stop::Failed(_) => self.announce_by_others(&mut state),
            _ => self.announce(&mut state),
        }
        state
    }

    /// Stops the partition because nobody knows any more what the disk holds.
    pub(super) fn poison(&self, state: &mut MutexGuard<'_, State>, error: Error) {
        let stop = Stop::Failed(error);
        state.stop.get_or_insert_with(|| stop.clone());
        MutexGuard::unlocked(state, || self.refuse(&stop));
    }

    /// Takes no more records; what has gathered is nobody's any more, unless the partition closes in order.
    fn refuse(&self, stop: &Stop) {
        let mut appends = self.appends.lock();
        supersede(&mut appends.stop, stop);
        if !matches!(stop, Stop::Closed) {
            appends.accumulator.clear();
        }
        drop(appends);
        self.context.buffer.interrupt();
    }
}

/// The first reason holds, but a failure is none any more once the broker is closed, or the topic deleted.
fn supersede(current: &mut Option<Stop>, stop: &Stop) {
    if matches!(current, None | Some(Stop::Failed(_))) {
        *current = Some(stop.clone());
    }
}
