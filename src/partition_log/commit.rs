//! How records are written and become durable: a leader writes and syncs for all whose records have gathered.

use std::time::Duration;

use super::accumulator::Filled;
use super::append::LINGER;
use super::fallbacks::Fallbacks;
use super::log::PartitionLog;
use super::rolling::Ended;
use super::stop::Stop;
use super::waiting::Waiting;
use super::writer::{LogEnd, WriteError, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Offset;
use crate::mutant::{self, Mutant};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// How far the log has come, and who is working at it.
#[derive(Debug)]
pub struct Commit {
    pub(super) state: Mutex<State>,
    /// Woken when a leader or a sync has finished, and when the partition stops.
    pub(super) changed: Condvar,
    /// The leader's.
    pub(super) leader: Mutex<Leader>,
}

/// `durable ≤ written`.
#[derive(Debug)]
pub(super) struct State {
    /// What the operating system has ends here.
    pub written: LogEnd,
    /// What is on stable storage ends here.
    pub durable: LogEnd,
    /// Whether somebody writes at this moment.
    pub leading: bool,
    /// Whether somebody syncs at this moment who does not lead.
    pub syncing: bool,
    /// Whether somebody makes the next log at this moment.
    pub preparing: bool,
    /// Whether the broker's threads were asked to lead, and found somebody at work: they look again when he has finished.
    pub asked: bool,
    pub upkeep: Upkeep,
    pub stop: Option<Stop>,
    /// That the broker was closed, or the topic deleted, whatever had stopped the partition before.
    pub gone: Option<Stop>,
    /// How far readers saw before a reopening that has failed.
    pub seen: Offset,
    pub fallbacks: Fallbacks,
    /// Whether the next announcement may concern everybody who waits, whatever the ends are.
    pub wakes_all: bool,
    /// Whether something is still to be announced, by the broker's threads or the next tick.
    pub is_unannounced: bool,
    pub waiting: Waiting,
}

/// What is still to be done for a topic whose records are acknowledged before they are synced.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Since when, in monotonic time, there is something that was written and is not synced.
    pub unsynced_since: Option<Duration>,
    /// How many segments were rolled and not synced.
    pub rolled: usize,
    /// Since when the visible end has been elsewhere than the slot says.
    pub unpublished_since: Option<Duration>,
    /// Since when something was written on a synced topic that a batch was full, and that nobody waits for.
    pub lingering_since: Option<Duration>,
    /// Segments that were rolled on a synced topic, whose indexes may still have to be synced.
    pub ended: Vec<Ended>,
    /// Up to where the indexes are durable, while a reopening makes those behind it again, or has failed at that.
    pub rebuilding: Option<LogEnd>,
    /// Whether the next log is to be made.
    pub wants_next: bool,
    /// The segment for which it was asked for last.
    pub nearing: Option<Offset>,
}

/// How far a record has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The operating system has it.
    Written,
    /// It is on stable storage.
    Durable,
}

impl State {
    /// Whether somebody is at the files.
    pub fn is_at_work(&self) -> bool {
        self.leading || self.syncing || self.preparing
    }

    pub fn end(&self, reach: Reach) -> LogEnd {
        match reach {
            Reach::Written => self.written,
            Reach::Durable => self.durable,
        }
    }
}

#[derive(Debug)]
pub(super) struct Leader {
    pub writer: Writer,
    spare: Filled,
    /// Room for batches that are compressed.
    packed: Vec<u8>,
}

/// What a leader has achieved.
struct Led {
    /// How far the log is written; `None` once the writer has stopped.
    written: Option<LogEnd>,
    /// Whether that is durable.
    durable: bool,
    /// How many segments were rolled and are not synced.
    rolled: usize,
    /// Segments that were rolled, of which the indexes are not synced.
    ended: Vec<Ended>,
    /// Whether the next roll is near.
    is_near_end: bool,
    /// The round that ended, and why: the end fell back to what is written.
    fell_back: Option<(u64, Error)>,
}

impl Commit {
    pub fn new(end: LogEnd, writer: Writer, stop: Option<Stop>) -> Self {
        let state = State {
            written: end,
            durable: end,
            leading: false,
            syncing: false,
            preparing: false,
            asked: false,
            upkeep: Upkeep::default(),
            stop,
            gone: None,
            seen: 0,
            fallbacks: Fallbacks::default(),
            wakes_all: false,
            is_unannounced: false,
            waiting: Waiting::default(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::default(),
            leader: Mutex::new(Leader { writer, spare: Filled::default(), packed: Vec::new() }),
        }
    }

    /// The error of a reader, if there is nothing to read any more.
    pub fn ends_reading(&self) -> Option<Error> {
        let state = self.state.lock();
        state.gone.as_ref().or(state.stop.as_ref()).and_then(Stop::ends_reading)
    }
}

impl PartitionLog {
    /// Takes a step towards having everything so far, or waits for somebody else's.
    pub(super) fn advance(&self, state: &mut MutexGuard<'_, State>, reach: Reach) {
        let syncs_apart = self.visible_reach() == Reach::Written;
        if syncs_apart && (reach == Reach::Durable || self.must_sync_first(state)) {
            if state.syncing {
                self.commit.changed.wait(state);
            } else {
                self.sync_written(state);
            }
        } else if state.leading && !mutant::is(Mutant::TwoLeaders) {
            self.commit.changed.wait(state);
        } else {
            self.lead(state, reach);
        }
    }

    /// Writes what has gathered without syncing it, unless somebody is at it. A failure shows when somebody waits for a
    /// record, and at the next append.
    pub(super) fn write_behind(&self) {
        let mut state = self.commit.state.lock();
        while state.stop.is_none() && self.must_sync_first(&state) {
            self.advance(&mut state, Reach::Durable);
        }
        if !state.leading && state.stop.is_none() {
            self.lead(&mut state, Reach::Written);
        }
    }

    /// Leads for all who wait without leading, and for the records that nobody waits for.
    pub(super) fn lead_for_others(&self, state: &mut MutexGuard<'_, State>) {
        let visible = self.visible_reach();
        if visible == Reach::Written && self.must_sync_first(state) {
            self.sync_for_others(state);
            if self.must_sync_first(state) {
                return;
            }
        }
        if state.stop.is_none() && self.log_end_offset() > state.end(visible).offset {
            if state.leading {
                state.asked = true;
            } else {
                self.lead(state, visible);
            }
        }
        // What was written before a batch that was not, and that perhaps nobody waits for.
        let is_left = state.durable.offset < state.written.offset && visible == Reach::Durable;
        if is_left && state.stop.is_none() && !state.leading {
            self.lead(state, visible);
        }
        let is_behind = state.durable.offset < state.written.offset;
        if visible == Reach::Written && is_behind && state.waiting.wants_durable() {
            self.sync_for_others(state);
        }
    }

    /// A batch is full: it is written, and on a synced topic, if nobody waits, synced a moment later, with what comes until
    /// then. Returns when that is.
    pub(super) fn write_full(
        &self,
        state: &mut MutexGuard<'_, State>,
        since: Duration,
        now: Duration,
    ) -> Option<Duration> {
        let since = *state.upkeep.lingering_since.get_or_insert(since);
        let until = since.saturating_add(LINGER);
        if self.visible_reach() == Reach::Written || !state.waiting.is_empty() || now >= until {
            self.lead_for_others(state);
            return None;
        }
        if state.leading {
            state.asked = true;
        } else {
            self.lead(state, Reach::Written);
        }
        Some(until)
    }

    fn sync_for_others(&self, state: &mut MutexGuard<'_, State>) {
        if state.syncing {
            state.asked = true;
        } else if state.stop.is_none() {
            self.sync_written(state);
        }
    }

    /// Has the broker's threads, or the next tick, lead now.
    pub(super) fn ask(&self) {
        self.reminder.set(self.context.clock.monotonic());
    }

    /// Writes what has gathered, syncs it if asked to, and publishes the outcome.
    pub(super) fn lead(&self, state: &mut MutexGuard<'_, State>, reach: Reach) {
        state.leading = true;
        mutant::does(Mutant::PublishBeforeWrite, || state.written.offset = self.log_end_offset());
        let outcome = MutexGuard::unlocked(state, || {
            // A leader that panics must not leave the others waiting for it.
            let unwinding = StopOnUnwind { log: self, working: |state| &mut state.leading };
            let outcome = self.write_gathered(reach);
            std::mem::forget(unwinding);
            outcome
        });
        match outcome {
            Ok(led) => self.note(state, led),
            Err(error) => self.poison(state, error),
        }
        state.leading = false;
        self.announce(state);
    }

    /// Tells everybody who may want to know that something has changed.
    pub(super) fn announce(&self, state: &mut MutexGuard<'_, State>) {
        state.is_unannounced = false;
        let (written, durable) = (state.written.offset, state.durable.offset);
        let woken = match state.stop.is_some() || std::mem::take(&mut state.wakes_all) {
            true => state.waiting.take_all(),
            false => state.waiting.take_reached(written, durable),
        };
        if !mutant::is(Mutant::LeaderNotAnnounced) {
            self.commit.changed.notify_all();
        }
        if std::mem::take(&mut state.asked) {
            self.ask();
        }
        if !woken.is_empty() || self.listeners.has_any() {
            // Whoever is woken looks at this state first.
            MutexGuard::unlocked(state, || {
                self.listeners.raise();
                woken.wake();
            });
        }
    }

    fn note(&self, state: &mut MutexGuard<'_, State>, led: Led) {
        if let Some((round, error)) = led.fell_back {
            let end = led.written.unwrap_or(state.written);
            state.fallbacks.add(round, end.offset, &error);
            state.wakes_all = true;
        }
        let Some(end) = led.written else { return };
        debug_assert!(end.offset >= state.written.offset, "the log never shrinks");
        if end.segment != state.written.segment {
            self.context.checkpoints.set(self.context.clock.monotonic());
        }
        state.written = end;
        self.note_ended(state, led.ended);
        // Where a roll waits for no sync, making the next log beside the appends holds them up longer than the roll.
        if led.is_near_end && self.visible_reach() == Reach::Durable {
            self.note_near_end(state);
        }
        if led.durable {
            state.durable = end;
            self.appends.lock().unsynced.end_sync();
            state.upkeep.lingering_since = None;
            self.publish_ends(state);
        } else if self.visible_reach() == Reach::Written {
            self.note_unsynced(state, led.rolled);
        }
    }

    fn write_gathered(&self, reach: Reach) -> Result<Led> {
        let mut leader = self.commit.leader.lock();
        self.tenancy.note_use();
        let Leader { writer, spare, packed } = &mut *leader;
        let mut appends = self.appends.lock();
        *spare = appends.accumulator.take(std::mem::take(spare));
        if reach == Reach::Durable {
            appends.unsynced.begin_sync(None);
        }
        drop(appends);
        let compressed = spare
            .compress(self.settings.compression_levels(), &self.context.codecs, packed)
            .map_err(WriteError::NotWritten);
        let written = compressed.and_then(|()| writer.write(spare));
        spare.held = None;
        let fell_back = match written {
            Ok(()) => None,
            Err(WriteError::NotWritten(error)) => Some(self.fall_back(writer, reach, error)),
            Err(WriteError::Indeterminate(error)) => return Err(error),
        };
        let mut led = Led {
            written: writer.end(),
            durable: false,
            rolled: writer.rolled(),
            ended: writer.take_news(),
            is_near_end: writer.is_near_end(),
            fell_back,
        };
        if reach == Reach::Durable
            && led.fell_back.is_none()
            && let Some(unsynced) = writer.take_written()
        {
            let end = unsynced.end;
            mutant::does(Mutant::PublishBeforeSync, || self.commit.state.lock().durable = end);
            mutant::does(Mutant::EvidenceBeforeSync, || self.publish_as_durable(end));
            mutant::unless(Mutant::AckBeforeSync, || unsynced.sync().map(|_| ()))?;
            led.durable = true;
        }
        Ok(led)
    }

    /// Takes back the offsets behind what is written: of the batches that failed, and of all that has gathered
    /// since, which would leave a gap.
    fn fall_back(&self, writer: &Writer, reach: Reach, error: Error) -> (u64, Error) {
        let end = writer.end().map(|end| end.offset);
        let durable = self.commit.state.lock().durable.offset;
        let mut appends = self.appends.lock();
        let round = appends.fall_back(end);
        if reach == Reach::Durable {
            appends.unsynced.put_off();
        }
        if appends.assigned <= durable {
            appends.unsynced.forget_waiting();
        }
        drop(appends);
        let error = error
            .with_kind(ErrorKind::NotWritten)
            .advise("the log is as it was; send the record again once the disk takes it");
        (round, error)
    }
}

impl super::log::Appends {
    /// Forgets what has gathered, and gives its offsets out again, from `end` on; returns the round that ends with it.
    pub(super) fn fall_back(&mut self, end: Option<Offset>) -> u64 {
        let round = self.round;
        self.round += 1;
        let end = end.filter(|_| !mutant::is(Mutant::OffsetsNotTakenBack));
        self.assigned = end.unwrap_or(self.assigned);
        self.accumulator.clear();
        round
    }
}

/// Stops the partition if the thread panics that works at it.
pub(super) struct StopOnUnwind<'a> {
    pub log: &'a PartitionLog,
    /// What says that it works.
    pub working: fn(&mut State) -> &mut bool,
}

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        let what = "a thread panicked while it wrote to the partition";
        *(self.working)(&mut self.log.commit.state.lock()) = false;
        self.log.stop(&Stop::Failed(Error::new(ErrorKind::Indeterminate, what)));
    }
}
