//! Reads a partition batch by batch.

use std::iter::FusedIterator;
use std::sync::Arc;

use super::cursor::Cursor;
use super::transactions::{Outcome, Outcomes};
use super::{Life, PartitionLog};
use crate::error::{Error, Result};
use crate::model::{Isolation, Offset, Position, Start};
use crate::record_batch::{BatchHeader, RecordBatch};

/// The batches of a partition up to some end, an iterator. After an error it ends.
///
/// Batches in which no record is for an application (markers of Kafka's own, batches that compaction emptied)
/// are passed over, and, for a reader of committed records, those of transactions that were aborted. Its end is then where
/// the first transaction begins that has not ended.
#[derive(Debug)]
pub struct BatchReader {
    log: Arc<PartitionLog>,
    /// Stands behind what was read.
    cursor: Cursor,
    /// The next offset to be given out; a batch that begins before it is cut.
    next: Offset,
    until: Offset,
    /// The one of the log in which the position was true.
    life: Arc<Life>,
    isolation: Isolation,
    /// Whether transactions that have not ended are passed over, as if they had been aborted.
    passes_open: bool,
    /// Made with the first batch that is part of a transaction.
    outcomes: Option<Box<Outcomes>>,
}

impl BatchReader {
    pub(super) fn new(log: Arc<PartitionLog>, life: Arc<Life>, from: Offset, isolation: Isolation) -> Self {
        let until = log.readable_end(isolation).max(from);
        let cursor = Cursor::at(from);
        Self { log, cursor, next: from, until, life, isolation, passes_open: false, outcomes: None }
    }

    /// Reads on to the high watermark: what is in a transaction that has not ended is passed over, and what stands behind its
    /// beginning is not.
    pub fn passing_open_transactions(mut self) -> Self {
        self.passes_open = true;
        self.until = self.end().max(self.next);
        self
    }

    /// Where reading ends now.
    fn end(&self) -> Offset {
        if self.passes_open { self.log.high_watermark() } else { self.log.readable_end(self.isolation) }
    }

    pub fn log(&self) -> &Arc<PartitionLog> {
        &self.log
    }

    /// Where the next batch begins, or the end.
    pub fn position(&self) -> Position {
        self.position_at(self.next)
    }

    /// An offset that was read, with the leader epoch of what stands before it.
    pub fn position_at(&self, offset: Offset) -> Position {
        self.life.position_at(offset, self.log.log_start_offset())
    }

    /// Lets the reading go on to where it ends now. Fails if what was read was taken back.
    pub fn extend(&mut self) -> Result<()> {
        self.live_on().map_err(|error| self.log.place(error))?;
        self.until = self.until.max(self.end());
        Ok(())
    }

    /// After the partition was reopened: goes on if what was read is still there.
    fn live_on(&mut self) -> Result<()> {
        let life = self.log.life();
        if Arc::ptr_eq(&life, &self.life) {
            return Ok(());
        }
        self.stand_still();
        let position = Self::position(self);
        self.log.resolve(Start::Resume(position), self.isolation)?;
        self.life = life;
        // The end of the life before may lie within a batch of this one.
        self.until = self.end().max(self.next);
        Ok(())
    }

    fn has_ended_life(&self) -> bool {
        !Arc::ptr_eq(&self.log.life(), &self.life)
    }

    /// Forgets what was read ahead.
    fn stand_still(&mut self) {
        self.cursor = Cursor::at(self.next);
        self.outcomes = None;
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.next < self.until {
            if self.has_ended_life() {
                self.live_on()?;
                // The end may have come down to where the position is.
                continue;
            }
            match self.next_readable() {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => {}
                Err(error) => {
                    let failure = self.log.failure_at(self.next);
                    // Else what it has read was being taken back.
                    if !self.has_ended_life() {
                        return Err(failure.unwrap_or(error));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The next batch, if there is something in it for the reader; `None` means: look again. The position moves on with
    /// what was read.
    fn next_readable(&mut self) -> Result<Option<RecordBatch>> {
        let Some(header) = self.cursor.peek(&self.log, &self.life, self.until)? else {
            self.next = self.cursor.offset().max(self.next);
            return Ok(None);
        };
        if !self.is_committed(&header)? {
            self.cursor.skip(&header);
            self.next = header.next_offset();
            return Ok(None);
        }
        let Some(batch) = self.cursor.take(&self.log.context.codecs)? else { return Ok(None) };
        let is_control = batch.is_control();
        let from = self.next;
        self.next = batch.next_offset();
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.pass(header.producer_id, self.next);
        }
        let batch = batch.starting_at(from);
        Ok((!is_control && batch.iter().next().is_some()).then_some(batch))
    }

    fn was_left_open(&self, producer: i64, header: &BatchHeader) -> bool {
        let mut open = self.log.open_transactions().iter();
        open.any(|open| open.producer_id == producer && open.first_offset <= header.base_offset)
    }

    /// Whether the batch is part of no transaction, or of one that the reader is to see.
    fn is_committed(&mut self, header: &BatchHeader) -> Result<bool> {
        let Some(producer) = header.transaction() else { return Ok(true) };
        if self.isolation == Isolation::ReadUncommitted || header.records_count == 0 {
            return Ok(true);
        }
        self.cursor.check_whole(header)?;
        let outcomes = self.outcomes.get_or_insert_with(|| Box::new(Outcomes::from(header.next_offset())));
        match outcomes.of(producer, header, &self.log, &self.life, self.log.high_watermark())? {
            Outcome::Committed => Ok(true),
            Outcome::Aborted => Ok(false),
            Outcome::Open if self.passes_open && self.was_left_open(producer, header) => Ok(false),
            Outcome::Open => {
                let what = format!(
                    "the transaction of producer {producer} has not ended, and the last stable offset lies behind it"
                );
                Err(self.cursor.place(Error::corrupt(what).at_offset(header.base_offset)))
            }
        }
    }
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_batch() {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.stand_still();
                self.until = self.next;
                Some(Err(self.log.place(error)))
            }
        }
    }
}

impl FusedIterator for BatchReader {}
