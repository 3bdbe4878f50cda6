//! Taking records: what is checked, and what happens under the append lock.

use std::time::Duration;

use super::accumulator::{BatchKind, EncodedBatch};
use super::log::{Appends, Assigned, LogContext, PartitionLog};
use super::stop::check_process;
use super::urgency::Soon;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Compression, MAX_OFFSET, Offset, Record, Timestamp, TimestampType};
use crate::record_batch::{RecordParts, size_alone};

/// Once this much waits, and nobody but the senders writes, the one that brought it there does, without syncing.
const WRITE_BEHIND: usize = 1024 * 1024;
/// How long records wait for more, where nobody waits for them.
pub(super) const LINGER: Duration = Duration::from_millis(1);

/// What an append does while the buffer memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfFull {
    /// It waits for room, as long as the broker's options say.
    Wait,
    /// It fails at once.
    Fail,
}

impl PartitionLog {
    /// Gives the record its offset. It is durable once [`wait`](Self::wait) says so.
    ///
    /// It is compressed as the topic says, or as asked where the topic leaves that to the producer.
    pub fn append(&self, record: &Record<'_>, asked: Compression, if_full: IfFull) -> Result<Assigned> {
        let parts = parts(record);
        let encoded_len = parts.encoded_len();
        let kind = self.kind_of_batch(asked)?;
        // Whether a large one fits once it is compressed has to be known before it gets an offset.
        let is_large = kind.compression != Compression::None && self.is_large(size_alone(encoded_len));
        if record.expected_offset.is_some() || is_large {
            return self.append_batch(std::slice::from_ref(record), asked, if_full);
        }
        self.check_timestamp(record)?;
        self.check_size(size_alone(encoded_len), 1)?;
        let timestamp = self.timestamp_of(record, kind.timestamp_type);
        self.with_offsets(1, if_full, |appends| {
            let offset = appends.assigned;
            appends.accumulator.push(offset, timestamp, kind, &parts, encoded_len);
            Ok(timestamp)
        })
    }

    /// Gives the records their offsets, one behind the other, in a record batch of their own: all of them or
    /// none, also after a crash. What is returned is the last of them. The sender compresses them.
    pub fn append_batch(
        &self,
        records: &[Record<'_>],
        asked: Compression,
        if_full: IfFull,
    ) -> Result<Assigned> {
        let BatchKind { timestamp_type, compression } = self.kind_of_batch(asked)?;
        let mut batch = EncodedBatch::new(timestamp_type);
        for record in records {
            self.check_timestamp(record)?;
            batch.push(self.timestamp_of(record, timestamp_type), &parts(record));
        }
        if compression != Compression::None {
            self.check_decompressed_size(batch.size(), records.len())?;
            let levels = self.settings.compression_levels();
            batch.compress(compression, levels, &self.context.codecs).map_err(|error| self.place(error))?;
        }
        self.check_size(batch.size(), records.len())?;
        let taken = self.with_offsets(records.len() as u64, if_full, |appends| {
            check_expected(records, appends.assigned)?;
            Ok(appends.accumulator.push_batch(appends.assigned, batch))
        });
        // What can be read is asked outside the append lock.
        taken.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedOffset => {
                self.place(error.available(self.log_start_offset()..=self.high_watermark()))
            }
            _ => error,
        })
    }

    /// Runs `take` under the append lock, and gives out `count` offsets if it succeeds.
    fn with_offsets(
        &self,
        count: u64,
        if_full: IfFull,
        take: impl FnOnce(&mut Appends) -> Result<Timestamp>,
    ) -> Result<Assigned> {
        check_process(&self.context.mark)?;
        self.make_room(if_full)?;
        let (assigned, buffered, asks) = {
            let mut appends = self.appends.lock();
            if let Some(stop) = &appends.stop {
                return Err(self.place(stop.refusal()));
            }
            let end = appends.assigned.saturating_add(count);
            if end > MAX_OFFSET {
                return Err(self.place(used_up(appends.assigned, count)));
            }
            let timestamp = take(&mut appends)?;
            appends.assigned = end;
            appends.unsynced.note(|| self.context.clock.monotonic());
            let assigned = Assigned { offset: end - 1, timestamp, round: appends.round };
            (assigned, appends.accumulator.len(), self.asks(&appends))
        };
        self.after_append(buffered, if_full, asks);
        Ok(assigned)
    }

    /// How soon what has gathered is to leave, if nobody has been asked for that yet.
    fn asks(&self, appends: &Appends) -> Option<Soon> {
        let soon = if appends.accumulator.is_full() { Soon::Full } else { Soon::Lingering };
        self.urgency.raise(soon).then_some(soon)
    }

    /// The sender of a record does not wait for it: if it is not visible yet and readers wait at the end, others are to lead
    /// now. A sender who does wait leads itself, and anybody who was woken for that before would only be in its way.
    pub fn hasten(&self, record: Assigned) {
        let is_wanted = self.context.has_crew && self.listeners.has_any();
        if is_wanted && record.offset >= self.high_watermark() && self.urgency.raise(Soon::Now) {
            let now = self.context.clock.monotonic();
            self.urgency.note(now);
            self.reminder.set(now);
        }
    }

    fn after_append(&self, buffered: usize, if_full: IfFull, asks: Option<Soon>) {
        if let Some(soon) = asks {
            let now = self.context.clock.monotonic();
            self.urgency.note(now);
            self.reminder.set(if soon == Soon::Lingering { now.saturating_add(LINGER) } else { now });
        }
        if !self.context.has_crew {
            if buffered >= WRITE_BEHIND && if_full == IfFull::Wait {
                self.write_behind();
            }
            // Readers who wait at the end lead.
            self.listeners.raise();
        }
    }

    /// Returns once there is room for another record, or fails.
    pub fn make_room(&self, if_full: IfFull) -> Result<()> {
        let LogContext { buffer, clock, .. } = &self.context;
        if !buffer.is_full() {
            return Ok(());
        }
        match (if_full, self.context.has_crew) {
            (IfFull::Fail, _) => self.ask(),
            (IfFull::Wait, true) => {
                self.ask();
                let deadline = clock.monotonic().saturating_add(self.context.max_block);
                if buffer.wait(clock, deadline, || !self.takes_records()) {
                    return Ok(());
                }
            }
            (IfFull::Wait, false) => self.write_behind(),
        }
        // Why it takes no records is said where it would take one.
        if !buffer.is_full() || !self.takes_records() {
            return Ok(());
        }
        let what = format!("the {} bytes of buffer memory are full of records on their way", buffer.limit());
        let advice = match (if_full, self.context.has_crew) {
            (IfFull::Wait, true) => {
                "the disk is behind: send again later, or give the broker more buffer memory"
            }
            (IfFull::Wait, false) => "they are other partitions': flush, or call `tick`, and send again",
            (IfFull::Fail, true) => "the record was not taken: wait for some of them, and send again",
            (IfFull::Fail, false) => "the record was not taken: flush, or call `tick`, and send again",
        };
        Err(self.place(Error::new(ErrorKind::BufferExhausted, what)).advise(advice))
    }

    fn check_timestamp(&self, record: &Record<'_>) -> Result<()> {
        match record.timestamp.filter(|timestamp| *timestamp < 0) {
            None => Ok(()),
            Some(timestamp) => {
                let what = format!("a record cannot have the timestamp {timestamp}");
                Err(self.place(Error::new(ErrorKind::InvalidTimestamp, what)))
            }
        }
    }

    /// What a batch is for records of a producer that asks for this codec.
    fn kind_of_batch(&self, asked: Compression) -> Result<BatchKind> {
        let compression = self.settings.compression(asked);
        compression.check().map_err(|error| self.place(error))?;
        Ok(BatchKind { timestamp_type: self.settings.timestamp_type(), compression })
    }

    /// Whether a batch of this size is too large unless it is compressed, or even then.
    fn is_large(&self, size: usize) -> bool {
        size as u64 > self.settings.batch_limit().1 || size > self.context.codecs.limit()
    }

    /// `size` is that of the smallest batch that holds the records.
    fn check_size(&self, size: usize, records: usize) -> Result<()> {
        let (name, most) = self.settings.batch_limit();
        self.check_limit(size, records, name, most)
    }

    /// `size` is that of the batch before it is compressed: what nobody could read is not written.
    fn check_decompressed_size(&self, size: usize, records: usize) -> Result<()> {
        let most = self.context.codecs.limit() as u64;
        self.check_limit(size, records, "max_decompressed_bytes", most)
    }

    fn check_limit(&self, size: usize, records: usize, name: &str, most: u64) -> Result<()> {
        if size as u64 <= most {
            return Ok(());
        }
        let noun =
            if records == 1 { "the record needs".to_owned() } else { format!("{records} records need") };
        Err(self
            .place(Error::new(ErrorKind::MessageTooLarge, format!("{noun} a batch of {size} bytes")))
            .advise(format!("{name} allows {most}: send less at a time, or raise it")))
    }

    fn timestamp_of(&self, record: &Record<'_>, kind: TimestampType) -> Timestamp {
        match (kind, record.timestamp) {
            (TimestampType::CreateTime, Some(timestamp)) => timestamp,
            _ => self.context.clock.now(),
        }
    }
}

/// The offsets end: one behind the last cannot be given out.
fn used_up(end: Offset, count: u64) -> Error {
    let left = MAX_OFFSET.saturating_sub(end);
    let what = format!("the partition ends at {end}: {left} offsets are left, and {count} are needed");
    let advice = "nothing was written, and what is there can be read; send it to another partition, or topic";
    Error::new(ErrorKind::InvalidRecord, what).at_offset(end).advise(advice)
}

/// Fails if a record would get another offset than it expects, at a partition that ends at `end`.
fn check_expected(records: &[Record<'_>], end: Offset) -> Result<()> {
    for (offset, record) in (end..).zip(records) {
        if let Some(expected) = record.expected_offset.filter(|expected| *expected != offset) {
            let what = format!("the record was to get offset {expected}, and would get {offset}");
            let advice = if expected < offset {
                "somebody was faster: read what came, once it is acknowledged, and decide again"
            } else {
                "the expectation is ahead of the partition's end: expect no more than its log end offset"
            };
            return Err(Error::new(ErrorKind::UnexpectedOffset, what).at_offset(end).advise(advice));
        }
    }
    Ok(())
}

fn parts<'a>(record: &'a Record<'a>) -> RecordParts<'a> {
    RecordParts { key: record.key, value: record.value, headers: &record.headers }
}
