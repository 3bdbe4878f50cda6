//! What a partition lets go of when descriptors are short: every file that holds nothing unsynced.

use super::commit::{State, StopOnUnwind};
use super::log::PartitionLog;
use super::stop::Stop;
use super::writer::Writer;
use crate::error::Result;
use crate::sync::MutexGuard;
use crate::vfs::Holder;

impl Holder for PartitionLog {
    /// Whoever asks may have a file opened for another partition, whose leader asks us: nobody is waited for, and a
    /// partition at work is passed over. What is written and not synced is synced first, for a failure of that sync is
    /// told once, and only to those who have the file open.
    fn release(&self) -> bool {
        let Some(mut leader) = self.commit.leader.try_lock() else { return false };
        let Some(mut state) = self.commit.state.try_lock() else { return false };
        if state.is_at_work() {
            return false;
        }
        if self.is_unsynced(&state, &leader.writer) {
            if state.stop.is_some() {
                // Whoever closes it syncs it.
                return false;
            }
            leader = self.sync_taken(&mut state, move || {
                let unsynced = leader.writer.take_unsynced();
                (unsynced, leader)
            });
            self.announce_by_others(&mut state);
            if self.is_unsynced(&state, &leader.writer) {
                return false;
            }
        }
        // It may sync indexes, which nobody is to wait for who only looks.
        state.syncing = true;
        let released = MutexGuard::unlocked(&mut state, || {
            let unwinding = StopOnUnwind { log: self, working: |state| &mut state.syncing };
            let released = leader.writer.release();
            let released = released.and_then(|active| Ok(self.release_segments()? && active));
            std::mem::forget(unwinding);
            released
        });
        let has_failed = released.is_err();
        let is_done = released.unwrap_or_else(|error| {
            self.poison(&mut state, error);
            false
        });
        state.syncing = false;
        if has_failed || state.asked {
            self.announce_by_others(&mut state);
        }
        self.commit.changed.notify_all();
        is_done
    }
}

impl PartitionLog {
    /// Wakers are the users', and not to be called from within another partition's work, nor with a lock in hand.
    pub(super) fn announce_by_others(&self, state: &mut MutexGuard<'_, State>) {
        state.is_unannounced = true;
        self.commit.changed.notify_all();
        self.listeners.raise();
        self.ask();
    }

    /// Whether something was written that somebody will still sync.
    fn is_unsynced(&self, state: &MutexGuard<'_, State>, writer: &Writer) -> bool {
        match state.stop {
            None | Some(Stop::Closed) => {
                writer.has_ended() || writer.end().is_some_and(|end| end != state.durable)
            }
            Some(Stop::Abandoned | Stop::Deleted | Stop::Damaged(_) | Stop::Failed(_)) => false,
        }
    }

    /// Has the segments forget their files; those that are mapped need no descriptor.
    fn release_segments(&self) -> Result<bool> {
        let Some(segments) = self.segments.try_read() else { return Ok(false) };
        let mut is_done = true;
        for segment in segments.iter() {
            is_done &= segment.release()?;
        }
        Ok(is_done)
    }
}
