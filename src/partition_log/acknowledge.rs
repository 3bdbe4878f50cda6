//! How the sender of a record learns what became of it: by a wait that leads where nobody else does, by one with a
//! deadline, which never does, or by being woken.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::commit::{Reach, State};
use super::log::{Assigned, PartitionLog};
use super::stop::{Stop, check_process};
use super::waiting::Registration;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Offset;
use crate::mutant::{self, Mutant};
use crate::sync::{MutexGuard, Signal};

impl PartitionLog {
    /// Returns once the record has come so far.
    pub fn wait(&self, record: Assigned, reach: Reach) -> Result<()> {
        check_process(&self.context.mark)?;
        let mut state = self.commit.state.lock();
        loop {
            // The topic's level may change meanwhile.
            let reach = self.at_least(reach);
            if let Some(outcome) = self.outcome(&state, record, reach) {
                return outcome;
            }
            let is_written = record.offset < state.written.offset;
            self.advance(&mut state, if is_written { Reach::Durable } else { self.visible_reach() });
        }
    }

    /// Returns once the record has come so far, or fails once `timeout` has passed: it has others lead, and so is never
    /// held up by the disk.
    pub fn wait_timeout(&self, record: Assigned, reach: Reach, timeout: Duration) -> Result<()> {
        let deadline = self.context.clock.monotonic().saturating_add(timeout);
        let signal = Signal::new();
        let waker = Waker::from(Arc::clone(&signal));
        let mut registration = None;
        loop {
            let seen = signal.generation();
            if let Poll::Ready(outcome) = self.poll(record, reach, &mut registration, &waker) {
                return outcome;
            }
            if self.context.clock.monotonic() >= deadline {
                break;
            }
            self.context.clock.wait(&signal, seen, deadline);
        }
        self.forget(&mut registration);
        let what = "the record was not acknowledged in time";
        Err(self.place(Error::new(ErrorKind::TimedOut, what).at_offset(record.offset)).advise(
            "it is still on its way: wait for it again, and do not send it again before its outcome is known",
        ))
    }

    /// The outcome, if there is one; else `waker` is called once there may be, and others are asked to lead.
    pub fn poll(
        &self,
        record: Assigned,
        reach: Reach,
        registration: &mut Option<Registration>,
        waker: &Waker,
    ) -> Poll<Result<()>> {
        if let Err(error) = check_process(&self.context.mark) {
            return Poll::Ready(Err(error));
        }
        // Wakers are the user's: they are cloned and dropped without a lock.
        let waker = waker.clone();
        let mut state = self.commit.state.lock();
        let reach = self.at_least(reach);
        if let Some(outcome) = self.outcome(&state, record, reach) {
            let before = registration.take().and_then(|registration| state.waiting.remove(registration));
            drop(state);
            drop((before, waker));
            return Poll::Ready(outcome);
        }
        mutant::does(Mutant::RegisteredAfterLook, || MutexGuard::unlocked(&mut state, || ()));
        let before = state.waiting.register(registration, record.offset, reach, waker);
        drop(state);
        drop(before);
        self.ask();
        Poll::Pending
    }

    /// The outcome, if there is one by now; nobody is asked for it.
    pub fn known_outcome(&self, record: Assigned, reach: Reach) -> Option<Result<()>> {
        let state = self.commit.state.lock();
        self.outcome(&state, record, self.at_least(reach))
    }

    /// Nobody waits there any more.
    pub fn forget(&self, registration: &mut Option<Registration>) {
        if let Some(registration) = registration.take() {
            let waker = self.commit.state.lock().waiting.remove(registration);
            drop(waker);
        }
    }

    /// Tells those who wait what has not been told yet; the caller holds no lock.
    pub fn tell(&self) {
        let mut state = self.commit.state.lock();
        if state.is_unannounced {
            self.announce(&mut state);
        }
    }

    /// What became of the record, once that is known.
    fn outcome(&self, state: &State, record: Assigned, reach: Reach) -> Option<Result<()>> {
        let Assigned { offset, round, .. } = record;
        if let Some(error) = state.fallbacks.find(round, offset) {
            return Some(Err(self.place(error.clone()).at_offset(offset)));
        }
        if offset < state.end(reach).offset {
            return Some(Ok(()));
        }
        state.stop.as_ref().map(|stop| Err(self.place(stop.error()).at_offset(offset)))
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
            waited => match self.commit.state.lock().fallbacks.take_unreported() {
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

    /// Returns once everything below `end`, which readers see already, is on stable storage.
    pub fn wait_durable(&self, end: Offset) -> Result<()> {
        let Some(offset) = end.checked_sub(1) else { return Ok(()) };
        let round = self.appends.lock().round;
        self.wait(Assigned { offset, round, timestamp: 0 }, Reach::Durable)
    }

    /// For a reader who waits at the end: has others lead where there is somebody, and else leads itself. True if
    /// something may have become visible.
    pub fn make_visible(&self) -> bool {
        let Some(last) = self.last_assigned(Reach::Written) else { return false };
        if self.context.has_crew {
            self.ask();
            return false;
        }
        // What goes wrong concerns those who have sent it.
        _ = self.wait(last, Reach::Written);
        true
    }

    /// For a task that waits at the end: has others lead, without ever doing so itself.
    #[cfg(feature = "async")]
    pub fn ask_to_show(&self) {
        if self.last_assigned(Reach::Written).is_some() {
            self.ask();
        }
    }

    /// Why a record that was visible can perhaps not be read: it was not durable, and a sync has failed, or is just failing.
    pub fn failure_at(&self, offset: Offset) -> Option<Error> {
        let mut state = self.commit.state.lock();
        while state.stop.is_none() && (state.leading || state.syncing) && offset >= state.durable.offset {
            self.commit.changed.wait(&mut state);
        }
        let loss = state.stop.as_ref().and_then(Stop::loss).filter(|_| offset >= state.durable.offset)?;
        Some(loss.at_offset(offset))
    }

    /// The last record that was taken, if it has not come so far.
    fn last_assigned(&self, reach: Reach) -> Option<Assigned> {
        let (end, round) = {
            let appends = self.appends.lock();
            (appends.assigned, appends.round)
        };
        let come = {
            let state = self.commit.state.lock();
            state.end(self.at_least(reach)).offset
        };
        let offset = end.checked_sub(1).filter(|last| *last >= come)?;
        Some(Assigned { offset, round, timestamp: 0 })
    }

    /// What a record has to reach for the topic to acknowledge and show it.
    pub(super) fn visible_reach(&self) -> Reach {
        if self.level().is_written_enough() { Reach::Written } else { Reach::Durable }
    }

    /// What was asked for, or what the topic promises, whichever is more.
    fn at_least(&self, reach: Reach) -> Reach {
        if reach == Reach::Durable { reach } else { self.visible_reach() }
    }
}
