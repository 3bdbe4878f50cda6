//! How records are written and become durable: whoever waits leads, for all who wait at that moment.

use std::time::Duration;

use super::accumulator::Filled;
use super::log::{Assigned, PartitionLog};
use super::stop::{Stop, check_process};
use super::writer::{LogEnd, WriteError, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Offset;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Once this much waits, senders wait until the leader at work has finished.
const MOST_BUFFERED: usize = 32 * 1024 * 1024;

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
    pub upkeep: Upkeep,
    pub stop: Option<Stop>,
    fallbacks: Fallbacks,
}

/// What is still to be done for a topic whose records are acknowledged before they are synced.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Since when, in monotonic time, there is something that was written and is not synced.
    pub unsynced_since: Option<Duration>,
    /// How many segments were rolled and not synced.
    pub rolled: usize,
    /// Whether the visible end has moved since the slot was written.
    pub unpublished: bool,
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
    pub fn end(&self, reach: Reach) -> LogEnd {
        match reach {
            Reach::Written => self.written,
            Reach::Durable => self.durable,
        }
    }
}

/// Where the end has fallen back, because a write failed and what it had left was cut.
#[derive(Debug, Default)]
struct Fallbacks {
    /// Of records that were assigned in this round or an earlier one, those from this offset on were not
    /// written. Both rise: what a later fallback covers of an earlier one is dropped.
    entries: Vec<(u64, Offset, Error)>,
    /// A failure that a flush has still to report, since perhaps nobody waits for the records.
    unreported: Option<Error>,
}

impl Fallbacks {
    fn add(&mut self, round: u64, from: Offset, error: &Error) {
        self.entries.retain(|(_, earlier, _)| *earlier < from);
        self.entries.push((round, from, error.clone()));
        self.unreported = Some(error.clone());
    }

    /// Why a record was not written, if it was not.
    fn find(&self, round: u64, offset: Offset) -> Option<&Error> {
        let mut later = self.entries.iter().filter(|(until, _, _)| *until >= round);
        later.find(|(_, from, _)| *from <= offset).map(|(_, _, error)| error)
    }
}

#[derive(Debug)]
pub(super) struct Leader {
    pub writer: Writer,
    spare: Filled,
}

/// What a leader has achieved.
struct Led {
    /// How far the log is written; `None` once the writer has stopped.
    written: Option<LogEnd>,
    /// Whether that is durable.
    durable: bool,
    /// How many segments were rolled and are not synced.
    rolled: usize,
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
            upkeep: Upkeep::default(),
            stop,
            fallbacks: Fallbacks::default(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::default(),
            leader: Mutex::new(Leader { writer, spare: Filled::default() }),
        }
    }

    pub fn end(&self, reach: Reach) -> LogEnd {
        self.state.lock().end(reach)
    }

    /// The error of a reader, if there is nothing to read any more.
    pub fn ends_reading(&self) -> Option<Error> {
        self.state.lock().stop.as_ref().and_then(Stop::ends_reading)
    }
}

impl PartitionLog {
    /// Returns once the record has come so far.
    pub fn wait(&self, record: Assigned, reach: Reach) -> Result<()> {
        let Assigned { offset, round, .. } = record;
        check_process(&self.context.mark)?;
        let reach = self.at_least(reach);
        let mut state = self.commit.state.lock();
        loop {
            if let Some(error) = state.fallbacks.find(round, offset) {
                return Err(self.place(error.clone()).at_offset(offset));
            }
            if offset < state.end(reach).offset {
                return Ok(());
            }
            if let Some(stop) = &state.stop {
                return Err(self.place(stop.error()).at_offset(offset));
            }
            let is_written = offset < state.written.offset;
            self.advance(&mut state, if is_written { Reach::Durable } else { self.visible_reach() });
        }
    }

    /// Takes a step towards having everything so far, or waits for somebody else's.
    fn advance(&self, state: &mut MutexGuard<'_, State>, reach: Reach) {
        let syncs_apart = self.visible_reach() == Reach::Written;
        if syncs_apart && (reach == Reach::Durable || self.must_sync_first(state)) {
            if state.syncing {
                self.commit.changed.wait(state);
            } else {
                self.sync_written(state);
            }
        } else if state.leading {
            self.commit.changed.wait(state);
        } else {
            self.lead(state, reach);
        }
    }

    /// Returns once every record taken before has come so far. A record that could not be written is an error of
    /// the next flush, whether somebody waits for it or not.
    pub fn flush(&self, reach: Reach) -> Result<()> {
        check_process(&self.context.mark)?;
        let wait = || self.last_assigned(reach).map_or(Ok(()), |last| self.wait(last, reach));
        let waited = match wait() {
            // What was written before the end fell back may not have come so far.
            Err(error) if error.kind() == ErrorKind::NotWritten => wait().and(Err(error)),
            waited => waited,
        };
        match waited {
            // Worse than what was not written: nobody knows.
            Err(error) if error.kind() != ErrorKind::NotWritten => Err(error),
            waited => match self.commit.state.lock().fallbacks.unreported.take() {
                Some(error) => Err(self.place(error)),
                None => waited,
            },
        }
    }

    /// Returns once everything below `end` is acknowledged, and so visible.
    pub fn wait_for(&self, end: Offset) -> Result<()> {
        let (assigned, round) = {
            let appends = self.appends.lock();
            (appends.assigned, appends.round)
        };
        if end > assigned {
            let what = format!(
                "nobody has sent a record yet that lies below the offset: the partition ends at {assigned}"
            );
            let error = Error::new(ErrorKind::OffsetOutOfRange, what).at_offset(end);
            return Err(self.place(error.available(self.log_start..=assigned)));
        }
        match end.checked_sub(1) {
            None => Ok(()),
            Some(offset) => self.wait(Assigned { offset, round, timestamp: 0 }, Reach::Written),
        }
    }

    /// Leads for a reader who waits at the end, if there is anything to lead for.
    pub fn make_visible(&self) {
        if let Some(last) = self.last_assigned(Reach::Written) {
            // What goes wrong concerns those who have sent it.
            _ = self.wait(last, Reach::Written);
        }
    }

    /// The last record that was taken, if it has not come so far.
    fn last_assigned(&self, reach: Reach) -> Option<Assigned> {
        let (end, round) = {
            let appends = self.appends.lock();
            (appends.assigned, appends.round)
        };
        let come = self.commit.end(self.at_least(reach)).offset;
        let offset = end.checked_sub(1).filter(|last| *last >= come)?;
        Some(Assigned { offset, round, timestamp: 0 })
    }

    /// What a record has to reach for the topic to acknowledge and show it.
    pub(super) fn visible_reach(&self) -> Reach {
        if self.context.config.level().is_written_enough() { Reach::Written } else { Reach::Durable }
    }

    /// What was asked for, or what the topic promises, whichever is more.
    fn at_least(&self, reach: Reach) -> Reach {
        if reach == Reach::Durable { reach } else { self.visible_reach() }
    }

    /// Writes what has gathered, without syncing, or waits for the leader at work if too much has. A failure
    /// shows when somebody waits for a record, and at the next append.
    pub(super) fn write_behind(&self) {
        let mut state = self.commit.state.lock();
        while state.leading && self.buffered() >= MOST_BUFFERED {
            self.commit.changed.wait(&mut state);
        }
        while state.stop.is_none() && self.must_sync_first(&state) {
            self.advance(&mut state, Reach::Durable);
        }
        if !state.leading && state.stop.is_none() {
            self.lead(&mut state, Reach::Written);
        }
    }

    /// Writes and syncs what was taken, seals the last segment, and takes nothing more. What the disk did not take
    /// leaves the log as it was, it is closed in order, and says [`ErrorKind::NotWritten`].
    pub fn close(&self) -> Result<()> {
        self.refuse_appends();
        let flushed = self.flush(Reach::Durable);
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
            self.publish_ends(&state);
        }
        Ok(())
    }

    /// Closes without writing what was taken, as a crash would.
    pub fn abandon(&self) {
        self.stop(&Stop::Abandoned);
    }

    /// Takes no more records and lends none; when it returns, nobody writes to the files any more.
    pub fn delete(&self) {
        self.stop(&Stop::Deleted);
        self.commit.leader.lock().writer.discard();
    }

    /// Takes no more records, since the disk may say that the topic is being deleted.
    pub fn fail(&self, error: Error) {
        self.stop(&Stop::Failed(error));
    }

    /// Stops the partition, for this reason unless it has one already, and returns the one that holds. Nobody
    /// leads or syncs when it returns, nor will anybody again.
    fn stop(&self, stop: &Stop) -> Stop {
        self.appends.lock().stop.get_or_insert_with(|| stop.clone());
        let mut state = self.commit.state.lock();
        let holds = state.stop.get_or_insert_with(|| stop.clone()).clone();
        self.commit.changed.notify_all();
        self.listeners.raise();
        while state.leading || state.syncing {
            self.commit.changed.wait(&mut state);
        }
        holds
    }

    /// Stops the partition because nobody knows any more what the disk holds.
    pub(super) fn poison(&self, state: &mut MutexGuard<'_, State>, error: Error) {
        let stop = Stop::Failed(error);
        state.stop.get_or_insert_with(|| stop.clone());
        MutexGuard::unlocked(state, || self.appends.lock().stop.get_or_insert(stop).clone());
    }

    /// Writes what has gathered, syncs it if asked to, and publishes the outcome.
    fn lead(&self, state: &mut MutexGuard<'_, State>, reach: Reach) {
        state.leading = true;
        let outcome = MutexGuard::unlocked(state, || {
            // A leader that panics must not leave the others waiting for it.
            let unwinding = StopOnUnwind { log: self, working: |state| &mut state.leading };
            let outcome = self.write_gathered(reach);
            std::mem::forget(unwinding);
            outcome
        });
        state.leading = false;
        match outcome {
            Ok(led) => self.note(state, led),
            Err(error) => self.poison(state, error),
        }
        self.commit.changed.notify_all();
        self.listeners.raise();
    }

    fn note(&self, state: &mut MutexGuard<'_, State>, led: Led) {
        if let Some((round, error)) = led.fell_back {
            let end = led.written.unwrap_or(state.written);
            state.fallbacks.add(round, end.offset, &error);
        }
        let Some(end) = led.written else { return };
        debug_assert!(end.offset >= state.written.offset, "the log never shrinks");
        if end.segment != state.written.segment {
            self.context.checkpoints.set(self.context.clock.monotonic());
        }
        state.written = end;
        if led.durable {
            state.durable = end;
            self.publish_ends(state);
        } else if self.visible_reach() == Reach::Written {
            self.note_unsynced(state, led.rolled);
        }
    }

    fn write_gathered(&self, reach: Reach) -> Result<Led> {
        let mut leader = self.commit.leader.lock();
        let Leader { writer, spare } = &mut *leader;
        *spare = self.appends.lock().accumulator.take(std::mem::take(spare));
        let fell_back = match writer.write(spare) {
            Ok(()) => None,
            Err(WriteError::NotWritten(error)) => Some(self.fall_back(writer, error)),
            Err(WriteError::Indeterminate(error)) => return Err(error),
        };
        let mut led = Led { written: writer.end(), durable: false, rolled: writer.rolled(), fell_back };
        if reach == Reach::Durable
            && led.fell_back.is_none()
            && let Some(unsynced) = writer.take_unsynced()
        {
            unsynced.sync()?;
            led.durable = true;
        }
        Ok(led)
    }

    /// Takes back the offsets behind what is written: of the batches that failed, and of all that has gathered
    /// since, which would leave a gap.
    fn fall_back(&self, writer: &Writer, error: Error) -> (u64, Error) {
        let mut appends = self.appends.lock();
        let round = appends.round;
        appends.round += 1;
        appends.assigned = writer.end().map_or(appends.assigned, |end| end.offset);
        appends.accumulator.clear();
        let error = error
            .with_kind(ErrorKind::NotWritten)
            .advise("the log is as it was; send the record again once the disk takes it");
        (round, error)
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
