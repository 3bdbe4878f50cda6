//! Reads a partition batch by batch.

use std::iter::FusedIterator;
use std::sync::Arc;

use super::PartitionLog;
use crate::error::{Error, Result};
use crate::model::Offset;
use crate::record_batch::{BatchHeader, RecordBatch};
use crate::segment::BatchScan;

/// The batches of a partition up to some high watermark, an iterator. After an error it ends.
///
/// BatchReader in which no record is for an application (markers of Kafka's own, batches that compaction emptied)
/// are passed over.
#[derive(Debug)]
pub struct BatchReader {
    log: Arc<PartitionLog>,
    /// The next offset to be given out; a batch that begins before it is cut.
    next: Offset,
    /// Whether `next` is where a batch begins, rather than a place somebody asked for.
    aligned: bool,
    until: Offset,
    scan: Option<BatchScan>,
}

impl BatchReader {
    pub(super) fn new(log: Arc<PartitionLog>, from: Offset, until: Offset) -> Self {
        Self { log, next: from, aligned: false, until, scan: None }
    }

    /// The offset at which the next batch begins, or the end.
    pub fn position(&self) -> Offset {
        self.next
    }

    /// Lets the reading go on to the high watermark of now.
    pub fn extend(&mut self) {
        self.until = self.until.max(self.log.high_watermark());
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.next < self.until {
            let from = self.next;
            let Some(batch) = self.next_in_segment()? else { continue };
            self.next = batch.next_offset();
            self.aligned = true;
            if batch.is_control() {
                continue;
            }
            batch.require_readable()?;
            let batch = batch.starting_at(from);
            if batch.iter().next().is_some() {
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
        let mut scan = segment.scan_from(self.next, limit)?;
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
        match scan.peek()? {
            None => Ok(None),
            Some(header) => {
                self.check_order(&header).map_err(|error| scan.place(error))?;
                scan.next_batch()
            }
        }
    }

    /// The offset of a batch lies outside its checksum. Nothing leaves gaps between the batches of a log yet,
    /// so that a batch which does not follow on the one before it was damaged, or another is missing.
    fn check_order(&self, header: &BatchHeader) -> Result<()> {
        let offsets = header.base_offset..=header.last_offset();
        let follows =
            if self.aligned { header.base_offset == self.next } else { offsets.contains(&self.next) };
        if follows && header.next_offset() <= self.until {
            return Ok(());
        }
        let (first, last) = offsets.into_inner();
        let what =
            format!("a batch with the offsets {first} to {last} stands where {} is expected", self.next);
        Err(Error::corrupt(what).at_offset(self.next))
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
