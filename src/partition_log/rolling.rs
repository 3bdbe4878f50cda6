//! What of a roll is done off the append path: before it, the next log is made; behind it, indexes are synced.
//!
//! Both are for synced topics. The log of a segment that ends is synced before the next one gets its name. Its indexes
//! are synced behind the roll, where threads do it at once, and else in it. Until they are, the proven end stays at the
//! end of that segment, though more is durable: so recovery makes the indexes again, and nobody takes them for whole,
//! Kafka's recovery point included.

use std::sync::Arc;

use super::commit::{State, StopOnUnwind};
use super::log::PartitionLog;
use super::writer::LogEnd;
use crate::model::Offset;
use crate::segment::{SealedSegment, Segment};
use crate::sync::MutexGuard;

/// A segment that was rolled, where it ends, and whose indexes may not be on stable storage.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub end: LogEnd,
    pub sealed: Arc<SealedSegment>,
}

impl State {
    /// How far the ends file may say that the log is durable.
    pub fn proven(&self) -> LogEnd {
        let ended = self.upkeep.ended.iter().find(|ended| !ended.sealed.is_durable()).map(|ended| ended.end);
        // What is durable, of those the first.
        let held_back = self.upkeep.rebuilding.into_iter().chain(ended).min_by_key(|end| end.offset);
        held_back.filter(|end| end.offset <= self.durable.offset).unwrap_or(self.durable)
    }

    /// Whether a segment was rolled whose indexes are still to be synced.
    pub fn has_ended(&self) -> bool {
        self.upkeep.ended.iter().any(|ended| !ended.sealed.is_durable())
    }
}

impl PartitionLog {
    /// Where Kafka is to begin if it has to recover: a segment whose files are not all synced is below nobody's.
    pub fn recovery_point(&self) -> Offset {
        let state = self.commit.state.lock();
        let proven = state.proven();
        if proven.segment < state.written.segment { proven.segment } else { proven.offset }
    }

    /// Takes note of segments that were rolled, and has the rest of it done.
    pub(super) fn note_ended(&self, state: &mut State, ended: Vec<Ended>) {
        if !ended.is_empty() {
            state.upkeep.ended.retain(|ended| !ended.sealed.is_durable());
            state.upkeep.ended.extend(ended);
            self.ask();
        }
    }

    /// Has the next log made, once for each segment: if that fails, the roll makes its own.
    pub(super) fn note_near_end(&self, state: &mut State) {
        if state.upkeep.nearing != Some(state.written.segment) {
            state.upkeep.nearing = Some(state.written.segment);
            state.upkeep.wants_next = true;
            self.ask();
        }
    }

    /// Syncs the indexes of segments that were rolled on a synced topic, and nothing else: a failed sync of the log is
    /// told once, and it is the leader who has to hear it.
    pub(super) fn complete_rolled(&self, state: &mut MutexGuard<'_, State>) {
        if !state.has_ended() || state.stop.is_some() {
            return;
        }
        if state.syncing {
            state.asked = true;
            return;
        }
        state.syncing = true;
        let outcome = MutexGuard::unlocked(state, || {
            let unwinding = StopOnUnwind { log: self, working: |state| &mut state.syncing };
            let ended = self.commit.leader.lock().writer.take_ended();
            let synced = ended.sync();
            std::mem::forget(unwinding);
            synced
        });
        match outcome {
            Ok(()) => self.publish_ends(state),
            Err(error) => self.poison(state, error),
        }
        state.syncing = false;
        self.announce(state);
    }

    /// Makes the next log if a roll is near, and opens the indexes that the roll completes.
    pub(super) fn prepare_next(&self, state: &mut MutexGuard<'_, State>) {
        if state.stop.is_some() || !std::mem::take(&mut state.upkeep.wants_next) {
            return;
        }
        state.preparing = true;
        MutexGuard::unlocked(state, || {
            let unwinding = StopOnUnwind { log: self, working: |state| &mut state.preparing };
            // Without it the roll does all of it, and says what is wrong.
            _ = self.next.prepare(self.settings.segment_bytes());
            let last = self.segments.read().last().cloned();
            if let Some(Segment::Active(active)) = last {
                _ = active.open_indexes();
                self.tenancy.note_use();
            }
            std::mem::forget(unwinding);
        });
        state.preparing = false;
        self.commit.changed.notify_all();
    }
}
