//! Moves over the batches of a partition, from segment to segment.

use bytes::Bytes;

use super::{Life, PartitionLog, wrong_epoch};
use crate::error::{Error, Result};
use crate::model::{MAX_OFFSET, Offset};
use crate::record_batch::{BatchHeader, Codecs, RecordBatch};
use crate::segment::BatchScan;

/// A place in a partition, and the file that is read there.
#[derive(Debug)]
pub struct Cursor {
    /// The next batch holds it, or lies behind it where compaction has left a gap.
    next: Offset,
    scan: Option<BatchScan>,
    /// Where the segment ends that is read, unless it is the last one.
    segment_end: Offset,
}

impl Cursor {
    pub fn at(next: Offset) -> Self {
        Self { next, scan: None, segment_end: MAX_OFFSET }
    }

    /// Where the next batch begins, unless it began before.
    pub fn offset(&self) -> Offset {
        self.next
    }

    /// Lets go of the file, and finds the place anew with the next batch.
    pub fn release(&mut self) {
        self.scan = None;
    }

    /// The header of the next batch below `until`, which is the end of a batch; `None` if there is none: then it stands
    /// at `until` or behind it. After an error it stands where it stood.
    pub fn peek(&mut self, log: &PartitionLog, life: &Life, until: Offset) -> Result<Option<BatchHeader>> {
        let peeked = self.peek_in_segments(log, life, until);
        if peeked.is_err() {
            self.release();
        }
        peeked
    }

    /// The batch that [`peek`](Self::peek) showed, checked and moved past.
    pub fn take(&mut self, codecs: &Codecs) -> Result<Option<RecordBatch>> {
        let taken = self.scan.as_mut().map_or(Ok(None), |scan| scan.next_batch(codecs));
        match &taken {
            Ok(Some(batch)) => self.next = batch.next_offset(),
            _ => self.release(),
        }
        taken
    }

    /// Checks the checksum of the batch that [`peek`](Self::peek) showed: only then what its header says is so.
    pub fn check_whole(&mut self, header: &BatchHeader) -> Result<()> {
        self.scan.as_mut().map_or(Ok(()), |scan| scan.check_whole(header))
    }

    /// Moves past the batch that [`peek`](Self::peek) showed.
    pub fn skip(&mut self, header: &BatchHeader) {
        if let Some(scan) = &mut self.scan {
            scan.skip(header);
            self.next = header.next_offset();
        }
    }

    /// The batch that [`peek`](Self::peek) showed, with nothing but its checksum checked, and moved past.
    pub fn take_unread(&mut self) -> Result<Option<(BatchHeader, Bytes)>> {
        let taken = self.scan.as_mut().map_or(Ok(None), BatchScan::next_unread);
        match &taken {
            Ok(Some((header, _))) => self.next = header.next_offset(),
            _ => self.release(),
        }
        taken
    }

    /// Says where an error lies about the batch that [`peek`](Self::peek) showed.
    pub fn place(&self, error: Error) -> Error {
        match &self.scan {
            Some(scan) => scan.place(error),
            None => error,
        }
    }

    fn peek_in_segments(
        &mut self,
        log: &PartitionLog,
        life: &Life,
        until: Offset,
    ) -> Result<Option<BatchHeader>> {
        while self.next < until {
            log.check_readable()?;
            let is_new = self.scan.is_none();
            let scan = match &mut self.scan {
                Some(scan) => scan,
                none => {
                    self.segment_end = log.base_behind(self.next).unwrap_or(MAX_OFFSET);
                    none.insert(log.scan_at(self.next)?)
                }
            };
            match scan.peek()? {
                Some(header) => return self.check(header, log, life, until).map(Some),
                None if is_new => self.next = self.behind_segment(log, until)?,
                None => {}
            }
            self.scan = None;
        }
        Ok(None)
    }

    /// The scan holds the batches to their order; these are the ends, which it does not know.
    fn check(
        &self,
        header: BatchHeader,
        log: &PartitionLog,
        life: &Life,
        until: Offset,
    ) -> Result<BatchHeader> {
        // The epoch lies outside the checksum, like the offset; that it is the one of this offset is known here.
        let known = life.epochs.at(header.base_offset);
        let (first, last) = (header.base_offset, header.last_offset());
        let what = if known.map(u32::cast_signed) != Some(header.leader_epoch) {
            (wrong_epoch(header.leader_epoch, known), first)
        } else if last < self.next
            || header.next_offset() > until.min(self.segment_end)
            || first > self.next && !log.may_lack(self.next)
        {
            let what = format!("a batch with the offsets {first} to {last}");
            (format!("{what} stands where {} is expected", self.next), self.next)
        } else {
            return Ok(header);
        };
        let (what, offset) = what;
        Err(self.place(Error::corrupt(what).at_offset(offset)))
    }

    /// Where to go on if no batch of the segment lies at the place or behind it.
    fn behind_segment(&self, log: &PartitionLog, until: Offset) -> Result<Offset> {
        match log.base_behind(self.next) {
            Some(base) if log.may_lack(self.next) => Ok(base.min(until)),
            // What is below the high watermark was written, and nothing has removed it since.
            _ => {
                let error = Error::corrupt("the segment ends before the offset that it should hold");
                Err(self.place(error).at_offset(self.next))
            }
        }
    }
}

impl PartitionLog {
    /// The batches from the one that holds `offset` on, in its segment.
    fn scan_at(&self, offset: Offset) -> Result<BatchScan> {
        let (segment, limit) = self.segment_at(offset)?;
        let scan = segment.scan_from(offset, limit);
        self.tenancy.note_use();
        let scan = scan?;
        // Had the topic been deleted before the files were opened, their names could be another one's by now.
        self.check_readable()?;
        Ok(scan)
    }

    fn may_lack(&self, offset: Offset) -> bool {
        self.context.dir.may_lack(offset)
    }
}
