//! Taking records: what is checked, and what happens under the append lock.

use super::accumulator::EncodedBatch;
use super::log::{Appends, Assigned, PartitionLog};
use super::stop::check_process;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{MAX_OFFSET, Offset, Record, Timestamp, TimestampType};
use crate::record_batch::{RecordParts, size_alone};

/// Once this much waits, the sender that brought it there writes it, without syncing.
const WRITE_BEHIND: usize = 1024 * 1024;

impl PartitionLog {
    /// Gives the record its offset. It is durable once [`wait`](Self::wait) says so.
    pub fn append(&self, record: &Record<'_>) -> Result<Assigned> {
        if record.expected_offset.is_some() {
            return self.append_batch(std::slice::from_ref(record));
        }
        let parts = parts(record);
        let encoded_len = parts.encoded_len();
        self.check_timestamp(record)?;
        self.check_size(size_alone(encoded_len), 1)?;
        let timestamp = self.timestamp_of(record);
        self.with_offsets(1, |appends| {
            let offset = appends.assigned;
            appends.accumulator.push(offset, timestamp, &parts, encoded_len);
            Ok(timestamp)
        })
    }

    /// Gives the records their offsets, one behind the other, in a record batch of their own: all of them or
    /// none, also after a crash. What is returned is the last of them.
    pub fn append_batch(&self, records: &[Record<'_>]) -> Result<Assigned> {
        let mut batch = EncodedBatch::new(self.context.config.timestamp_type);
        for record in records {
            self.check_timestamp(record)?;
            batch.push(self.timestamp_of(record), &parts(record));
        }
        self.check_size(batch.size(), records.len())?;
        let taken = self.with_offsets(records.len() as u64, |appends| {
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
        take: impl FnOnce(&mut Appends) -> Result<Timestamp>,
    ) -> Result<Assigned> {
        check_process(&self.context.mark)?;
        let (assigned, buffered) = {
            let mut appends = self.appends.lock();
            if let Some(stop) = &appends.stop {
                return Err(self.place(stop.refusal()));
            }
            let end = appends.assigned.saturating_add(count);
            if end > MAX_OFFSET {
                let error = Error::new(ErrorKind::InvalidRecord, "the partition has used up its offsets");
                return Err(self.place(error));
            }
            let timestamp = take(&mut appends)?;
            appends.assigned = end;
            (Assigned { offset: end - 1, timestamp, round: appends.round }, appends.accumulator.len())
        };
        if buffered >= WRITE_BEHIND {
            self.write_behind();
        }
        self.listeners.raise();
        Ok(assigned)
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

    /// `size` is that of the smallest batch that holds the records.
    fn check_size(&self, size: usize, records: usize) -> Result<()> {
        let config = &self.context.config;
        let (name, most) = if config.max_message_bytes <= config.segment_bytes {
            ("max.message.bytes", config.max_message_bytes)
        } else {
            ("segment.bytes", config.segment_bytes)
        };
        if size as u64 <= most {
            return Ok(());
        }
        let noun =
            if records == 1 { "the record needs".to_owned() } else { format!("{records} records need") };
        Err(self
            .place(Error::new(ErrorKind::MessageTooLarge, format!("{noun} a batch of {size} bytes")))
            .advise(format!("{name} allows {most}: send less at a time, or raise it")))
    }

    fn timestamp_of(&self, record: &Record<'_>) -> Timestamp {
        match (self.context.config.timestamp_type, record.timestamp) {
            (TimestampType::CreateTime, Some(timestamp)) => timestamp,
            _ => self.context.clock.now(),
        }
    }
}

/// Fails if a record would get another offset than it expects, at a partition that ends at `end`.
fn check_expected(records: &[Record<'_>], end: Offset) -> Result<()> {
    for (offset, record) in (end..).zip(records) {
        if let Some(expected) = record.expected_offset.filter(|expected| *expected != offset) {
            let what = format!("the record was to get offset {expected}, and would get {offset}");
            let advice = if expected < offset {
                "somebody was faster: read what came (wait for it with `Partition::wait_for`), and decide again"
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
