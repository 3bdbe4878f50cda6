//! Opening a partition anew after a failed write or sync, while the broker lives: what recovery does at the next opening
//! of the directory, for one partition, in place. Every handle goes on with it.

use std::path::PathBuf;
use std::sync::Arc;

use super::commit::{Leader, Upkeep};
use super::files::Files;
use super::log::{LastStop, PartitionLog};
use super::recovery::{Cut, Outcome, Plan, cut_back, plan, settle};
use super::stop::{Stop, check_process};
use super::unsynced_since::UnsyncedSince;
use super::writer::LogEnd;
use super::{LeaderEpochs, Life, LogContext};
use crate::ends_file::ProvenEnd;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::MutexGuard;

/// A partition that has failed, and at which nobody works until it is reopened, or this is dropped.
pub struct Failed<'a> {
    log: &'a PartitionLog,
    leader: MutexGuard<'a, Leader>,
    epochs: LeaderEpochs,
    /// What is to be done.
    pub cut: Cut,
}

impl PartitionLog {
    /// Looks at what a failure has left; `None` if there was none.
    pub fn look_at_failure(&self) -> Result<Option<Failed<'_>>> {
        check_process(&self.context.mark)?;
        let Some((leader, durable, indexed)) = self.take_failed()? else { return Ok(None) };
        let (vfs, dir) = (self.context.dir.vfs().as_ref(), self.context.dir.path());
        let looked = LeaderEpochs::load(vfs, dir, durable.offset)
            .and_then(|epochs| Ok((settle(&self.context, durable, &epochs)?, epochs)));
        let (facts, epochs) = looked.map_err(|error| self.place(error))?;
        match plan(&facts) {
            Plan::Cut(mut cut) => {
                // Also of segments whose logs were synced, and whose indexes were not.
                let unproven = indexed.segment..cut.end.segment;
                cut.unproven = facts.bases.iter().copied().filter(|base| unproven.contains(base)).collect();
                Ok(Some(Failed { log: self, leader, epochs, cut }))
            }
            Plan::Damaged(damage) => Err(damage.error(&self.context)),
        }
    }

    /// The leader's lock of a partition that has failed, what of it is durable, and up to where its indexes are, too.
    fn take_failed(&self) -> Result<Option<(MutexGuard<'_, Leader>, ProvenEnd, LogEnd)>> {
        loop {
            self.wait_until_left();
            let leader = self.commit.leader.lock();
            let state = self.commit.state.lock();
            match &state.stop {
                None => return Ok(None),
                // It was reopened meanwhile, and has failed again.
                Some(Stop::Failed(_)) if state.is_at_work() => {}
                Some(Stop::Failed(_)) => {
                    return Ok(Some((leader, self.ends_at(state.durable, &state), state.proven())));
                }
                Some(stop) => return Err(self.place(stop.refusal())),
            }
        }
    }

    /// Returns once nobody is at work at a partition that has failed: whoever is still has to say how far he came, which
    /// is nothing to the life that begins. Without the leader's lock, which he may wait for.
    fn wait_until_left(&self) {
        let mut state = self.commit.state.lock();
        while matches!(state.stop, Some(Stop::Failed(_))) && state.is_at_work() {
            self.commit.changed.wait(&mut state);
        }
    }
}

impl Failed<'_> {
    pub fn context(&self) -> &LogContext {
        &self.log.context
    }

    /// Takes back what is to be cut, and takes records again. `copy` is where that was kept.
    pub fn reopen(mut self, copy: Option<PathBuf>) -> Result<Outcome> {
        let log = self.log;
        // First of all readers stop at the new end: what is cut was never durable.
        self.begin_life();
        let outcome = self.take_over(copy).map_err(|error| log.place(error))?;

        let mut state = log.commit.state.lock();
        // Whoever has begun to read in this life before its files were cut begins once more.
        let life = Arc::new(Life::clone(&log.life()));
        *log.life.write() = life;
        state.upkeep = Upkeep::default();
        log.publish_ends(&mut state);
        let mut appends = log.appends.lock();
        let is_lost = appends.assigned > self.cut.end.offset;
        let round = appends.fall_back(Some(self.cut.end.offset));
        appends.unsynced = UnsyncedSince::default();
        if matches!(appends.stop, Some(Stop::Failed(_))) {
            appends.stop = None;
        }
        drop(appends);
        if is_lost {
            let end = self.cut.end.offset;
            let error = lost(state.seen > end);
            state.fallbacks.add(round, end, &error);
        }
        // A broker that was closed meanwhile, or gave the partition up, is not to find it at work again.
        state.stop = state.gone.clone();
        state.seen = 0;
        state.wakes_all = true;
        // Whoever leads now finds the new writer.
        drop(self.leader);
        log.announce_by_others(&mut state);
        Ok(outcome)
    }

    /// From now on the log ends where it is cut, for everybody who reads, and what comes then has a new leader epoch.
    fn begin_life(&self) {
        let Self { log, epochs, cut, .. } = self;
        let generation = log.life().generation.saturating_add(1);
        let life = Files::life_after(epochs.clone(), cut.end, generation);
        let mut state = log.commit.state.lock();
        state.seen = state.seen.max(state.end(log.visible_reach()).offset);
        // The indexes of what lies behind it are still to be made again, and may not be, this time.
        state.upkeep.rebuilding = Some(state.proven());
        (state.written, state.durable) = (cut.end, cut.end);
        *log.life.write() = Arc::new(life);
    }

    fn take_over(&mut self, copy: Option<PathBuf>) -> Result<Outcome> {
        let Self { log, leader, epochs, cut } = self;
        // It has nothing open any more, and writes nothing.
        leader.writer.discard();
        let outcome = cut_back(&log.context, cut, copy)?;
        let proven = log.ends_at(cut.end, &log.commit.state.lock());
        let config = leader.writer.config().clone();
        let unclean = LastStop::Unclean(cut.end);
        let files = Files::open(&log.context, &config, &proven, epochs.clone(), unclean)?;
        leader.writer = files.into_writer(&log.context, &config, &log.segments, &log.next);
        Ok(outcome)
    }
}

fn lost(was_seen: bool) -> Error {
    let what =
        "the record was not on stable storage when the partition failed, and was cut when it was reopened";
    if was_seen {
        let advice = "it may have been read before: decide whether to send it again";
        Error::new(ErrorKind::Indeterminate, what).advise(advice)
    } else {
        Error::new(ErrorKind::NotWritten, what).advise("it is not there: send it again")
    }
}
