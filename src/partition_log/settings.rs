//! The configuration of a partition that is in use: what of it is asked before every append, and how it changes.

use std::time::Duration;

use super::commit::{Reach, State, Upkeep};
use super::log::PartitionLog;
use super::stop::Stop;
use super::writer::LogEnd;
use crate::config::{CompressionLevels, Durability, TopicConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Compression, TimestampType};
use crate::mutant::{self, Mutant};
use crate::sync::{AtomicBool, AtomicU64, MutexGuard, Ordering};

/// What is read without a lock; the rest lies with the [`Writer`](super::writer::Writer), under the leader's.
///
/// Each value stands for itself, so that no order among them matters: `Relaxed` is enough. The level is written under
/// the lock of the state alone, and where it decides on an end it is read there, too.
#[derive(Debug)]
pub(super) struct Settings {
    max_message_bytes: AtomicU64,
    segment_bytes: AtomicU64,
    appends_have_log_time: AtomicBool,
    compression: AtomicU64,
    compression_levels: AtomicU64,
    level: AtomicU64,
}

/// The levels as one number: an interval in milliseconds, or one of these. Never to sync is the longest interval.
const SYNCED: u64 = 0;
const OS: u64 = u64::MAX;

/// No codec's number: whatever the producer asks for.
const PRODUCER: u64 = Compression::ALL.len() as u64;

impl Settings {
    pub fn new(config: &TopicConfig) -> Self {
        let settings = Self {
            max_message_bytes: AtomicU64::default(),
            segment_bytes: AtomicU64::default(),
            appends_have_log_time: AtomicBool::default(),
            compression: AtomicU64::new(PRODUCER),
            compression_levels: AtomicU64::default(),
            level: AtomicU64::new(to_number(config.level())),
        };
        settings.set_for_appends(config);
        settings
    }

    /// The name of the limit that no batch exceeds, and the limit in bytes.
    pub fn batch_limit(&self) -> (&'static str, u64) {
        let message = self.max_message_bytes.load(Ordering::Relaxed);
        let segment = self.segment_bytes.load(Ordering::Relaxed);
        if message <= segment { ("max.message.bytes", message) } else { ("segment.bytes", segment) }
    }

    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes.load(Ordering::Relaxed)
    }

    pub fn timestamp_type(&self) -> TimestampType {
        match self.appends_have_log_time.load(Ordering::Relaxed) {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        }
    }

    /// How the records of a producer are compressed that asks for this codec.
    pub fn compression(&self, asked: Compression) -> Compression {
        let number = self.compression.load(Ordering::Relaxed);
        let of_topic = usize::try_from(number).ok().and_then(|number| Compression::ALL.get(number));
        of_topic.copied().unwrap_or(asked)
    }

    /// How hard codecs work.
    pub fn compression_levels(&self) -> CompressionLevels {
        let [gzip, zstd] = halves(self.compression_levels.load(Ordering::Relaxed));
        CompressionLevels { gzip, zstd }
    }

    fn set_for_appends(&self, config: &TopicConfig) {
        let is_log_time = config.timestamp_type == TimestampType::LogAppendTime;
        self.max_message_bytes.store(config.max_message_bytes, Ordering::Relaxed);
        self.segment_bytes.store(config.segment_bytes, Ordering::Relaxed);
        self.appends_have_log_time.store(is_log_time, Ordering::Relaxed);
        let number = config.compression_type.map_or(PRODUCER, |codec| codec.number().into());
        self.compression.store(number, Ordering::Relaxed);
        let CompressionLevels { gzip, zstd } = config.compression_levels;
        self.compression_levels.store(of_halves([gzip, zstd]), Ordering::Relaxed);
    }
}

/// Two numbers that are read and written together.
fn of_halves([one, other]: [i32; 2]) -> u64 {
    u64::from(one.cast_unsigned()) << 32 | u64::from(other.cast_unsigned())
}

fn halves(number: u64) -> [i32; 2] {
    [number >> 32, number & u64::from(u32::MAX)]
        .map(|half| u32::try_from(half).unwrap_or_default().cast_signed())
}

fn to_number(level: Durability) -> u64 {
    match level {
        Durability::Synced => SYNCED,
        Durability::Os => OS,
        Durability::Interval(most) => u64::try_from(most.as_millis()).unwrap_or(OS),
    }
}

fn from_number(number: u64) -> Durability {
    match number {
        SYNCED => Durability::Synced,
        OS => Durability::Os,
        millis => Durability::Interval(Duration::from_millis(millis)),
    }
}

/// Nobody writes to a partition, and all that was written is durable, until this is dropped.
#[must_use = "it lasts as long as this is kept"]
#[derive(Debug)]
pub struct Held<'a> {
    log: &'a PartitionLog,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.log.commit.state.lock();
        (state.leading, state.syncing) = (false, false);
        self.log.announce_by_others(&mut state);
    }
}

/// Stops a partition that is held if the thread panics that syncs it.
struct FailOnUnwind<'a>(&'a PartitionLog);

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Indeterminate, "a thread panicked while it synced the partition");
        let mut state = self.0.commit.state.lock();
        state.stop.get_or_insert_with(|| Stop::Failed(error.clone()));
        (state.leading, state.syncing) = (false, false);
        drop(state);
        self.0.fail(error);
    }
}

impl PartitionLog {
    /// What the topic promises at this moment.
    pub(super) fn level(&self) -> Durability {
        from_number(self.settings.level.load(Ordering::Relaxed))
    }

    /// The end up to which readers see. Level and end are read together: the rule may change between two reads.
    pub(super) fn visible_end(&self) -> LogEnd {
        let state = self.commit.state.lock();
        let reach = if mutant::is(Mutant::UnsyncedVisible) { Reach::Written } else { self.visible_reach() };
        state.end(reach)
    }

    /// Waits for whoever writes or syncs, and syncs what is written. Then the rule for the high watermark can change
    /// without its falling. A failure stops the partition; `None` for one whose files are damaged, which has no records.
    pub fn hold(&self) -> Result<Option<Held<'_>>> {
        let mut state = self.commit.state.lock();
        while (state.leading || state.syncing) && state.stop.is_none() {
            self.commit.changed.wait(&mut state);
        }
        match &state.stop {
            None => {}
            Some(Stop::Damaged(_)) => return Ok(None),
            Some(stop) => return Err(self.place(stop.refusal())),
        }
        (state.leading, state.syncing) = (true, true);
        self.begin_sync(&state, self.context.clock.monotonic());
        let outcome = MutexGuard::unlocked(&mut state, || {
            let unwinding = FailOnUnwind(self);
            let synced = self.sync_held();
            std::mem::forget(unwinding);
            synced
        });
        let held = Held { log: self };
        match outcome {
            Ok(end) => {
                debug_assert!(end.offset == state.written.offset, "nobody has written");
                (state.written, state.durable, state.upkeep) = (end, end, Upkeep::default());
                self.end_sync(&state);
                self.publish_ends(&mut state);
                drop(state);
                Ok(Some(held))
            }
            Err(error) => {
                // Before it is let go: nobody may sync again, and believe it.
                self.poison(&mut state, error.clone());
                self.announce_by_others(&mut state);
                drop(state);
                Err(self.place(error))
            }
        }
    }

    fn sync_held(&self) -> Result<LogEnd> {
        let unsynced = self.commit.leader.lock().writer.take_unsynced();
        let unsynced = unsynced.ok_or_else(|| Stop::Closed.error())?;
        unsynced.sync()
    }

    /// Takes over a configuration, for what is taken and written from now on. Where records come to be acknowledged
    /// only once they are durable, the partition is [held](Self::hold) meanwhile. One that has stopped keeps its level,
    /// for what its readers see stays as it is.
    pub fn configure(&self, config: &TopicConfig) {
        // What was taken already is written as it is: an empty segment takes a batch of any size.
        self.commit.leader.lock().writer.configure(config);
        self.appends.lock().accumulator.limit(self.context.batch_size, config);
        self.settings.set_for_appends(config);
        let mut state = self.commit.state.lock();
        if state.stop.is_none() {
            self.settings.level.store(to_number(config.level()), Ordering::Relaxed);
            self.follow_level(&mut state);
        }
        // A lower level acknowledges and shows more, at once.
        state.wakes_all = true;
        self.announce_by_others(&mut state);
    }

    /// Asks for the syncs that the level asks for.
    fn follow_level(&self, state: &mut MutexGuard<'_, State>) {
        if self.level().is_written_enough() {
            if state.written != state.durable {
                self.note_unsynced(state, state.upkeep.rolled);
            }
            self.remind_of_sync(state);
        } else {
            debug_assert!(
                state.leading || state.upkeep.unsynced_since.is_none(),
                "it was held, and is durable"
            );
        }
    }
}
