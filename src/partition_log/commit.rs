//! How records become durable: whoever waits leads, for all who wait at that moment.

use super::accumulator::Filled;
use super::log::{Assigned, PartitionLog};
use super::stop::Stop;
use super::writer::{LogEnd, WriteError, Writer};
use crate::ends_file::ProvenEnd;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Offset;
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Once this much waits, senders wait until the leader at work has finished.
const MOST_BUFFERED: usize = 32 * 1024 * 1024;

/// What is visible, and who is working at it.
#[derive(Debug)]
pub struct Commit {
    state: Mutex<State>,
    /// Woken when a leader has finished, and when the partition stops.
    changed: Condvar,
    /// The leader's.
    leader: Mutex<Leader>,
}

#[derive(Debug)]
struct State {
    /// What readers see ends here, and all of it is durable.
    high_watermark: LogEnd,
    /// Whether somebody writes and syncs at this moment.
    leading: bool,
    stop: Option<Stop>,
    fallbacks: Fallbacks,
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
struct Leader {
    writer: Writer,
    spare: Filled,
}

/// What a leader has achieved.
enum Led {
    /// What had gathered is written.
    Written,
    /// Everything up to here is durable.
    Durable(LogEnd),
    /// The end fell back to `from`.
    FellBack { round: u64, from: Offset, error: Error },
}

/// Whether a leader syncs what it has written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    Written,
    Synced,
}

impl Commit {
    pub fn new(end: LogEnd, writer: Writer) -> Self {
        Self {
            state: Mutex::new(State {
                high_watermark: end,
                leading: false,
                stop: None,
                fallbacks: Fallbacks::default(),
            }),
            changed: Condvar::default(),
            leader: Mutex::new(Leader { writer, spare: Filled::default() }),
        }
    }

    pub fn high_watermark(&self) -> LogEnd {
        self.state.lock().high_watermark
    }

    /// The error of a reader, if there is nothing to read any more.
    pub fn ends_reading(&self) -> Option<Error> {
        self.state.lock().stop.as_ref().and_then(Stop::ends_reading)
    }
}

impl PartitionLog {
    /// Returns once the record is on stable storage.
    pub fn wait(&self, record: Assigned) -> Result<()> {
        let Assigned { offset, round, .. } = record;
        let mut state = self.commit.state.lock();
        loop {
            if let Some(error) = state.fallbacks.find(round, offset) {
                return Err(self.place(error.clone()).at_offset(offset));
            }
            if offset < state.high_watermark.offset {
                return Ok(());
            }
            if let Some(stop) = &state.stop {
                return Err(self.place(stop.error()).at_offset(offset));
            }
            if state.leading {
                self.commit.changed.wait(&mut state);
            } else {
                self.lead(&mut state, Durability::Synced);
            }
        }
    }

    /// Returns once every record taken before is on stable storage. A record that could not be written is an
    /// error of the next flush, whether somebody waits for it or not.
    pub fn flush(&self) -> Result<()> {
        let wait = || self.last_assigned().map_or(Ok(()), |last| self.wait(last));
        let waited = match wait() {
            // What was written before the end fell back is not durable yet.
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

    /// Returns once everything below `end` is on stable storage.
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
            Some(offset) => self.wait(Assigned { offset, round, timestamp: 0 }),
        }
    }

    /// Leads for a reader who waits at the end, if there is anything to lead for.
    pub fn make_visible(&self) {
        if let Some(last) = self.last_assigned() {
            // What goes wrong concerns those who have sent it.
            _ = self.wait(last);
        }
    }

    /// The last record that was taken, if it is not durable yet.
    fn last_assigned(&self) -> Option<Assigned> {
        let (end, round) = {
            let appends = self.appends.lock();
            (appends.assigned, appends.round)
        };
        let offset = end.checked_sub(1).filter(|last| *last >= self.high_watermark())?;
        Some(Assigned { offset, round, timestamp: 0 })
    }

    /// Writes what has gathered, without syncing, or waits for the leader at work if too much has. A failure
    /// shows when somebody waits for a record, and at the next append.
    pub(super) fn write_behind(&self) {
        let mut state = self.commit.state.lock();
        while state.leading && self.buffered() >= MOST_BUFFERED {
            self.commit.changed.wait(&mut state);
        }
        if !state.leading && state.stop.is_none() {
            self.lead(&mut state, Durability::Written);
        }
    }

    /// Takes no more records, writes and syncs what was taken, and gives the files their final form.
    ///
    /// After a failed sync that is what it returns, and the files stay as they are. If records could not be
    /// written, and the log is as it was, it is closed in order, and says [`ErrorKind::NotWritten`].
    pub fn close(&self) -> Result<()> {
        self.refuse_appends();
        let flushed = self.flush();
        let closed = match self.stop(&Stop::Closed) {
            Stop::Closed => self.seal(),
            Stop::Abandoned | Stop::Deleted => Ok(()),
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
        if let Some(end) = end {
            self.publish_proven(end);
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

    /// Writes the end at which the partition was opened into its slot.
    pub fn publish(&self) {
        self.publish_proven(self.commit.high_watermark());
    }

    /// Stops the partition, for this reason unless it has one already, and returns the one that holds. Nobody
    /// leads when it returns, nor will anybody again.
    fn stop(&self, stop: &Stop) -> Stop {
        self.appends.lock().stop.get_or_insert_with(|| stop.clone());
        let mut state = self.commit.state.lock();
        let holds = state.stop.get_or_insert_with(|| stop.clone()).clone();
        self.commit.changed.notify_all();
        self.listeners.raise();
        while state.leading {
            self.commit.changed.wait(&mut state);
        }
        holds
    }

    /// Writes what has gathered, syncs it if asked to, and publishes the outcome.
    fn lead(&self, state: &mut MutexGuard<'_, State>, durability: Durability) {
        state.leading = true;
        let outcome = MutexGuard::unlocked(state, || {
            // A leader that panics must not leave the others waiting for it.
            let unwinding = StopOnUnwind(self);
            let outcome = self.write_gathered(durability);
            std::mem::forget(unwinding);
            outcome
        });
        state.leading = false;
        match outcome {
            Ok(Led::Durable(end)) => {
                debug_assert!(end.offset >= state.high_watermark.offset, "the high watermark never falls");
                state.high_watermark = end;
            }
            Ok(Led::Written) => {}
            Ok(Led::FellBack { round, from, error }) => state.fallbacks.add(round, from, &error),
            Err(error) => {
                let stop = Stop::Failed(error);
                state.stop.get_or_insert_with(|| stop.clone());
                MutexGuard::unlocked(state, || self.appends.lock().stop.get_or_insert(stop).clone());
            }
        }
        self.commit.changed.notify_all();
        self.listeners.raise();
    }

    fn write_gathered(&self, durability: Durability) -> Result<Led> {
        let mut leader = self.commit.leader.lock();
        let Leader { writer, spare } = &mut *leader;
        *spare = self.appends.lock().accumulator.take(std::mem::take(spare));
        match writer.write(spare, self.context.clock.now()) {
            Ok(()) => {}
            Err(WriteError::NotWritten(error)) => return Ok(self.fall_back(writer, error)),
            Err(WriteError::Indeterminate(error)) => return Err(error),
        }
        if durability == Durability::Written {
            return Ok(Led::Written);
        }
        writer.sync()?;
        match writer.end() {
            None => Ok(Led::Written),
            Some(end) => {
                self.publish_proven(end);
                Ok(Led::Durable(end))
            }
        }
    }

    /// Takes back the offsets behind what is written: of the batches that failed, and of all that has gathered
    /// since, which would leave a gap.
    fn fall_back(&self, writer: &Writer, error: Error) -> Led {
        let mut appends = self.appends.lock();
        let from = writer.end().map_or(appends.assigned, |end| end.offset);
        let round = appends.round;
        appends.round += 1;
        appends.assigned = from;
        appends.accumulator.clear();
        let error = error
            .with_kind(ErrorKind::NotWritten)
            .advise("the log is as it was; send the record again once the disk takes it");
        Led::FellBack { round, from, error }
    }

    /// Writes down what a sync has made durable, or recovery has found to be.
    fn publish_proven(&self, end: LogEnd) {
        self.context.slot.publish(ProvenEnd {
            generation: self.generation,
            log_start: self.log_start,
            segment: end.segment,
            offset: end.offset,
            position: end.position,
            log_end: end.offset,
        });
        self.context.slot.ends().sync_if_due(self.context.clock.monotonic());
    }
}

/// Stops the partition if a leader panics.
struct StopOnUnwind<'a>(&'a PartitionLog);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        let what = "a thread panicked while it wrote to the partition";
        self.0.commit.state.lock().leading = false;
        self.0.stop(&Stop::Failed(Error::new(ErrorKind::Indeterminate, what)));
    }
}
