//! What a partition does when time has passed, or when it is asked to: it leads for others, syncs what was acknowledged
//! before, and writes down how far readers may look.

use std::time::Duration;

use super::commit::{Reach, State, StopOnUnwind};
use super::log::PartitionLog;
use super::writer::{LogEnd, UnsyncedLog};
use crate::agenda::Chore;
use crate::config::Durability;
use crate::ends_file::ProvenEnd;
use crate::mutant::{self, Mutant};
use crate::sync::MutexGuard;

/// How long the slot may stay behind the visible end of a topic that is not synced.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(20);
/// How many segments may wait for their sync.
const MOST_ROLLED: usize = 8;
/// How long Kafka's checkpoints may stay behind.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

impl PartitionLog {
    /// Takes note that something was written and not synced.
    pub(super) fn note_unsynced(&self, state: &mut MutexGuard<'_, State>, rolled: usize) {
        let upkeep = &mut state.upkeep;
        if upkeep.unsynced_since.is_some() && upkeep.unpublished_since.is_some() && upkeep.rolled == rolled {
            return;
        }
        let now = self.context.clock.monotonic();
        if rolled > upkeep.rolled {
            self.reminder.set(now);
        }
        if upkeep.unpublished_since.is_none() {
            self.reminder.set(now.saturating_add(PUBLISH_INTERVAL));
        }
        upkeep.rolled = rolled;
        upkeep.unpublished_since.get_or_insert(now);
        upkeep.unsynced_since.get_or_insert(now);
        self.remind_of_sync(state);
    }

    pub(super) fn remind_of_sync(&self, state: &State) {
        if let Some(due) = self.sync_due(state) {
            self.reminder.set(due);
        }
    }

    /// When what is written has to be synced.
    fn sync_due(&self, state: &State) -> Option<Duration> {
        match self.level() {
            Durability::Interval(most) => Some(state.upkeep.unsynced_since?.saturating_add(most)),
            Durability::Synced | Durability::Os => None,
        }
    }

    /// Whether the next record has to wait for a sync: so much time has passed since the oldest one that is not synced,
    /// or so many segments wait for theirs, each with its files open.
    pub(super) fn must_sync_first(&self, state: &State) -> bool {
        if state.upkeep.rolled >= MOST_ROLLED {
            return true;
        }
        match (self.level(), state.upkeep.unsynced_since) {
            (Durability::Interval(most), Some(since)) => {
                self.context.clock.monotonic() > since.saturating_add(most).saturating_add(most)
            }
            _ => false,
        }
    }

    /// Syncs what is written, while others may write more, and publishes how far that was.
    pub(super) fn sync_written(&self, state: &mut MutexGuard<'_, State>) {
        self.sync_taken(state, || (self.commit.leader.lock().writer.take_unsynced(), ()));
        self.announce(state);
    }

    /// The same, of what `take` gives out, together with what it holds meanwhile. The caller announces it.
    pub(super) fn sync_taken<T>(
        &self,
        state: &mut MutexGuard<'_, State>,
        take: impl FnOnce() -> (Option<UnsyncedLog>, T),
    ) -> T {
        state.syncing = true;
        // Segments that are rolled from now on wait for the next sync.
        state.upkeep.rolled = 0;
        let began = self.context.clock.monotonic();
        self.begin_sync(state, began);
        let (outcome, held) = MutexGuard::unlocked(state, || {
            let unwinding = StopOnUnwind { log: self, working: |state| &mut state.syncing };
            let (unsynced, held) = take();
            let synced = unsynced.map(UnsyncedLog::sync).transpose();
            std::mem::forget(unwinding);
            (synced, held)
        });
        match outcome {
            Ok(None) => {}
            Ok(Some(end)) => {
                state.durable = if mutant::is(Mutant::SyncCoversLater) { state.written } else { end };
                self.end_sync(state);
                // What was written meanwhile was written after the sync began.
                let is_behind = state.written.offset > end.offset;
                state.upkeep.unpublished_since = None;
                state.upkeep.unsynced_since = is_behind.then_some(began);
                self.publish_ends(state);
                self.remind_of_sync(state);
            }
            Err(error) => self.poison(state, error),
        }
        state.syncing = false;
        held
    }

    /// Takes note that what is written is being synced: what has gathered meanwhile counts from now on.
    pub(super) fn begin_sync(&self, state: &State, now: Duration) {
        let mut appends = self.appends.lock();
        let gathers = appends.assigned > state.written.offset;
        appends.unsynced.begin_sync(gathers.then_some(now));
    }

    /// The same once it was.
    pub(super) fn end_sync(&self, state: &State) {
        let mut appends = self.appends.lock();
        appends.unsynced.end_sync();
        if appends.assigned <= state.durable.offset {
            appends.unsynced.forget_waiting();
        }
    }

    /// How long ago the oldest record was taken that is not durable.
    pub fn oldest_unsynced(&self) -> Option<Duration> {
        // Neither is ever held while the disk works.
        let state = self.commit.state.lock();
        let appends = self.appends.lock();
        let is_durable = appends.assigned <= state.durable.offset;
        let now = self.context.clock.monotonic();
        (!is_durable).then(|| now.saturating_sub(appends.unsynced.oldest().unwrap_or(now)))
    }

    /// Writes the ends at which the partition was opened into its slot.
    pub fn publish(&self) {
        self.publish_ends(&mut self.commit.state.lock());
    }

    /// What a mutant does before a sync.
    pub(super) fn publish_as_durable(&self, end: LogEnd) {
        let mut state = self.commit.state.lock();
        state.durable = end;
        self.publish_ends(&mut state);
    }

    /// The evidence that the log is durable up to `durable`.
    pub(super) fn ends_at(&self, durable: LogEnd, state: &State) -> ProvenEnd {
        ProvenEnd {
            generation: self.life.read().generation,
            log_start: self.log_start,
            segment: durable.segment,
            offset: durable.offset,
            position: durable.position,
            log_end: state.end(self.visible_reach()).offset.max(state.durable.offset),
        }
    }

    /// Writes down how far the log is durable, and how far readers may look. It is noted under the lock of the state, so
    /// that it never falls back, and written without: nobody is to wait for the disk who only looks.
    pub(super) fn publish_ends(&self, state: &mut MutexGuard<'_, State>) {
        let now = self.context.clock.monotonic();
        self.context.slot.note(self.ends_at(state.proven(), state), now);
        self.context.checkpoints.set(now.saturating_add(CHECKPOINT_INTERVAL));
        MutexGuard::unlocked(state, || self.context.slot.write());
    }
}

impl Chore for PartitionLog {
    fn run(&self, now: Duration) -> Option<Duration> {
        let full_since = self.urgency.reset();
        let mut state = self.commit.state.lock();
        if state.is_unannounced {
            self.announce(&mut state);
        }
        let mut lingers_until = None;
        match full_since {
            _ if state.stop.is_some() => {}
            Some(since) => lingers_until = self.write_full(&mut state, since, now),
            None => self.lead_for_others(&mut state),
        }
        if state.stop.is_some() {
            return None;
        }
        let syncs_apart = self.visible_reach() == Reach::Written;
        let is_due = self.sync_due(&state).is_some_and(|at| at <= now)
            || state.upkeep.rolled > 0
            || syncs_apart && state.has_ended();
        if is_due && !state.syncing {
            self.sync_written(&mut state);
        } else if publish_due(&state).is_some_and(|at| at <= now) {
            state.upkeep.unpublished_since = None;
            self.publish_ends(&mut state);
        }
        if !syncs_apart {
            self.complete_rolled(&mut state);
        }
        self.prepare_next(&mut state);
        if state.stop.is_some() {
            return None;
        }
        // Whoever syncs at this moment reminds of the next time.
        let sync_due = self.sync_due(&state).filter(|_| !is_due);
        sync_due.into_iter().chain(publish_due(&state)).chain(lingers_until).min()
    }
}

fn publish_due(state: &State) -> Option<Duration> {
    Some(state.upkeep.unpublished_since?.saturating_add(PUBLISH_INTERVAL))
}
