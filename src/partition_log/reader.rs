//! Reads a partition batch by batch.

use std::iter::FusedIterator;
use std::sync::Arc;

use super::{Life, PartitionLog};
use crate::error::{Error, Result};
use crate::model::{Offset, Position, Start};
use crate::record_batch::RecordBatch;
use crate::segment::BatchScan;

/// The batches of a partition up to some high watermark, an iterator. After an error it ends.
///
/// Batches in which no record is for an application (markers of Kafka's own, batches that compaction emptied)
/// are passed over.
#[derive(Debug)]
pub struct BatchReader {
    log: Arc<PartitionLog>,
    /// The next offset to be given out; a batch that begins before it is cut.
    next: Offset,
    until: Offset,
    scan: Option<BatchScan>,
    /// The one of the log in which the position was true.
    life: Arc<Life>,
}

impl BatchReader {
    pub(super) fn new(log: Arc<PartitionLog>, life: Arc<Life>, from: Offset, until: Offset) -> Self {
        Self { log, next: from, until, scan: None, life }
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

    /// Lets the reading go on to the high watermark of now. Fails if what was read was taken back.
    pub fn extend(&mut self) -> Result<()> {
        self.live_on().map_err(|error| self.log.place(error))?;
        self.until = self.until.max(self.log.high_watermark());
        Ok(())
    }

    /// After the partition was reopened: goes on if what was read is still there.
    fn live_on(&mut self) -> Result<()> {
        let life = self.log.life();
        if Arc::ptr_eq(&life, &self.life) {
            return Ok(());
        }
        self.scan = None;
        let position = Self::position(self);
        self.log.resolve(Start::Resume(position))?;
        self.life = life;
        self.until = self.until.min(self.log.high_watermark());
        Ok(())
    }

    fn has_ended_life(&self) -> bool {
        !Arc::ptr_eq(&self.log.life(), &self.life)
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.next < self.until {
            if self.has_ended_life() {
                self.live_on()?;
                // The end may have come down to where the position is.
                continue;
            }
            let from = self.next;
            let batch = match self.next_in_segment() {
                Ok(None) => continue,
                Ok(Some(batch)) => batch,
                // What it has read was being taken back.
                Err(_) if self.has_ended_life() => continue,
                Err(error) => return Err(error),
            };
            if !batch.is_control() {
                // Before the position moves on: what cannot be read is not passed over.
                batch.require_readable()?;
            }
            self.next = batch.next_offset();
            let is_control = batch.is_control();
            let batch = batch.starting_at(from);
            if !is_control && batch.iter().next().is_some() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// `None` means: look again, for the segment was read to its end.
    fn next_in_segment(&mut self) -> Result<Option<RecordBatch>> {
        self.log.check_readable()?;
        if let Some(mut scan) = self.scan.take() {
            let batch = self.next_of(&mut scan)?;
            self.scan = batch.is_some().then_some(scan);
            return Ok(batch);
        }
        let (segment, limit) = self.log.segment_at(self.next)?;
        let scan = segment.scan_from(self.next, limit);
        self.log.tenancy.note_use();
        let mut scan = scan?;
        // Had the topic been deleted before the files were opened, their names could be another one's by now.
        self.log.check_readable()?;
        match self.next_of(&mut scan)? {
            Some(batch) => {
                self.scan = Some(scan);
                Ok(Some(batch))
            }
            // What is below the high watermark was written, and nothing has removed it since.
            None => {
                let error = Error::corrupt("the segment ends before the offset that it should hold");
                Err(scan.place(error).at_offset(self.next))
            }
        }
    }

    fn next_of(&self, scan: &mut BatchScan) -> Result<Option<RecordBatch>> {
        let Some(header) = scan.peek()? else { return Ok(None) };
        // The epoch lies outside the checksum, like the offset; that it is the one of this offset is known here.
        let known = self.life.epochs.at(header.base_offset);
        if known.map(u32::cast_signed) != Some(header.leader_epoch) {
            let what = format!("a batch has the leader epoch {}", header.leader_epoch);
            let error = Error::corrupt(format!("{what}, and its offset the epoch {known:?}"));
            return Err(scan.place(error.at_offset(header.base_offset)));
        }
        // The scan holds the batches to their order; these are the ends, which it does not know.
        if (header.base_offset..=header.last_offset()).contains(&self.next)
            && header.next_offset() <= self.until
        {
            return scan.next_batch();
        }
        let what = format!("a batch with the offsets {} to {}", header.base_offset, header.last_offset());
        let error = Error::corrupt(format!("{what} stands where {} is expected", self.next));
        Err(scan.place(error.at_offset(self.next)))
    }
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_batch() {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.scan = None;
                self.until = self.next;
                Some(Err(self.log.place(error)))
            }
        }
    }
}

impl FusedIterator for BatchReader {}
