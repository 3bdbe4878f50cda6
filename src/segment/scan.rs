//! Reads whole batches from a log file, one behind the other, without looking inside them.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::entry::{OffsetEntry, TimeEntry};
use crate::error::{Error, IoContext, Result};
use crate::model::Offset;
use crate::mutant::{self, Mutant};
use crate::record_batch::{BatchHeader, Codecs, HEADER_LEN, RecordBatch};
use crate::vfs::{FileView, ReadAhead};

/// How far an offset may lie from its segment's base: 31 bits of an index entry.
const MAX_REACH: u64 = i32::MAX as u64;

/// An iterator over the batches of a log file between two positions.
#[derive(Debug)]
pub struct BatchScan {
    /// Stands where the next batch begins.
    log: ReadAhead,
    path: PathBuf,
    /// Where the last batch ends.
    limit: u64,
    base: Offset,
    /// The offset at which the next batch begins, where that is known.
    next: Option<Offset>,
    /// Below it batches may leave gaps.
    gaps_below: Offset,
}

impl BatchScan {
    /// The log of the segment at `base`, from a batch at `position` on. `limit` is the end of a batch; what lies
    /// behind it is not looked at.
    pub fn new(log: FileView, path: &Path, base: Offset, position: u64, limit: u64) -> Self {
        let next = (position == 0).then_some(base);
        let log = ReadAhead::new(log, position);
        Self { log, path: path.to_owned(), limit, base, next, gaps_below: 0 }
    }

    /// Lets batches leave gaps below `end`: compaction has.
    pub fn with_gaps_below(mut self, end: Offset) -> Self {
        self.gaps_below = end;
        self
    }

    /// The offset behind the last batch that was passed, or the base offset at the beginning; `None` if the scan has begun
    /// further on and passed nothing yet.
    pub fn next_offset(&self) -> Option<Offset> {
        self.next
    }

    /// Where the next batch begins.
    pub fn position(&self) -> u64 {
        self.log.position()
    }

    /// The header of the next batch; `None` at the limit.
    pub fn peek(&mut self) -> Result<Option<BatchHeader>> {
        if self.log.position() >= self.limit {
            return Ok(None);
        }
        self.read_ahead(HEADER_LEN)?;
        let header = BatchHeader::read(self.log.bytes()).map_err(|error| self.place(error))?;
        mutant::does(Mutant::LengthTrusted, || make_room(header.size));
        if header.size as u64 > self.left() {
            let what = format!("a record batch of {} bytes runs past the end of its segment", header.size);
            return Err(self.place(Error::corrupt(what).at_offset(header.base_offset)));
        }
        self.check_order(&header)?;
        Ok(Some(header))
    }

    /// The next batch, checked and moved past; `None` at the limit.
    pub fn next_batch(&mut self, codecs: &Codecs) -> Result<Option<RecordBatch>> {
        self.next(|bytes| RecordBatch::parse(bytes, codecs))
    }

    /// The header of the next batch, which is whole and moved past; `None` at the limit. It needs no codec: what is
    /// compressed is not looked into.
    pub fn next_whole(&mut self) -> Result<Option<BatchHeader>> {
        self.next(RecordBatch::check_whole)
    }

    fn next<T>(&mut self, parse: impl FnOnce(Bytes) -> Result<T>) -> Result<Option<T>> {
        let Some(header) = self.peek()? else { return Ok(None) };
        if self.next.is_some_and(|next| next < header.base_offset) {
            self.check_behind(&header)?;
        }
        self.read_ahead(header.size)?;
        let parsed = parse(self.log.share(header.size)).map_err(|error| self.place(error))?;
        self.skip(&header);
        Ok(Some(parsed))
    }

    /// The header and the bytes of the next batch, of which nothing but the checksum was checked, and moved past: what
    /// Kafka's own recovery asks of a batch. `None` at the limit.
    pub fn next_unread(&mut self) -> Result<Option<(BatchHeader, Bytes)>> {
        let Some(header) = self.peek()? else { return Ok(None) };
        self.check_whole(&header)?;
        let bytes = self.log.share(header.size);
        self.skip(&header);
        Ok(Some((header, bytes)))
    }

    /// Checks the checksum of the batch that [`peek`](Self::peek) showed, and nothing else.
    pub fn check_whole(&mut self, header: &BatchHeader) -> Result<()> {
        self.read_ahead(header.size)?;
        if BatchHeader::compute_crc(&self.log.share(header.size)) == header.crc {
            return Ok(());
        }
        let error = Error::corrupt("the checksum of a record batch is wrong");
        Err(self.place(error.at_offset(header.base_offset)))
    }

    /// Moves past the batch that [`peek`](Self::peek) showed.
    pub fn skip(&mut self, header: &BatchHeader) {
        self.log.skip(header.size);
        self.next = Some(header.next_offset());
    }

    /// Moves to the first batch that holds `offset` or lies behind it.
    pub fn skip_to(&mut self, offset: Offset) -> Result<()> {
        while let Some(header) = self.peek()? {
            if header.last_offset() >= offset {
                break;
            }
            self.skip(&header);
        }
        Ok(())
    }

    /// The offset of a batch lies outside its checksum. Nothing but compaction leaves gaps between the batches of a log,
    /// so that elsewhere a batch which does not follow on the one before it was damaged, or another is missing.
    fn check_order(&self, header: &BatchHeader) -> Result<()> {
        let (first, last) = (header.base_offset, header.last_offset());
        let follows = |next| first == next || first > next && next < self.gaps_below;
        let follows = self.next.is_none_or(follows);
        if follows && first >= self.base && last.saturating_sub(self.base) <= MAX_REACH {
            return Ok(());
        }
        let expected = self.next.unwrap_or(self.base);
        let what = format!("a batch with the offsets {first} to {last} stands where {expected} is expected");
        Err(self.place(Error::corrupt(what).at_offset(expected)))
    }

    /// Where compaction may have left a gap, a batch whose offset was damaged can stand behind one all the same: then it
    /// reaches into the next batch.
    fn check_behind(&mut self, header: &BatchHeader) -> Result<()> {
        let len = header.size.saturating_add(HEADER_LEN);
        if len as u64 > self.left() {
            return Ok(());
        }
        self.read_ahead(len)?;
        let behind = self.log.bytes().get(header.size..).unwrap_or_default();
        match BatchHeader::read(behind) {
            Ok(behind) if behind.base_offset < header.next_offset() => {
                let (first, last) = (header.base_offset, header.last_offset());
                let what = format!("a batch with the offsets {first} to {last}");
                let what =
                    format!("{what} reaches into the next one, which begins at {}", behind.base_offset);
                Err(self.place(Error::corrupt(what).at_offset(first)))
            }
            // Whoever comes there is told what is wrong with it.
            _ => Ok(()),
        }
    }

    /// Sees to it that `len` bytes are ahead; asks for no more than the limit allows.
    fn read_ahead(&mut self, len: usize) -> Result<()> {
        if self.log.fill(len, self.left()).doing("read", &self.path)? {
            return Ok(());
        }
        Err(self.place(Error::corrupt("the log file is shorter than what was written to it")))
    }

    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.log.position())
    }

    pub fn place(&self, error: Error) -> Error {
        error.in_file(&self.path).at_position(self.log.position())
    }
}

/// What a mutant does before it looks whether there is so much.
fn make_room(size: usize) {
    _ = std::hint::black_box(Vec::<u8>::with_capacity(size));
}

/// Moves a scan, which is begun at a position, to the batch that holds `offset`, looking first where the index says;
/// `None` if what lies there is not the batch that the index describes.
pub fn scan_from_hint(
    scan: impl FnOnce(u64) -> BatchScan,
    hint: Option<OffsetEntry>,
    offset: Offset,
) -> Result<Option<BatchScan>> {
    let mut scan = scan(hint.map_or(0, |hint| u64::from(hint.position)));
    if scan.position() > scan.limit {
        return Ok(None);
    }
    if let Some(hint) = hint {
        let described = scan.base.saturating_add(hint.relative_offset.into());
        match scan.peek() {
            Ok(Some(header))
                if header.last_offset() == described || mutant::is(Mutant::StaleIndexTrusted) => {}
            Ok(_) => return Ok(None),
            Err(error) if error.io_error().is_some() => return Err(error),
            Err(_) => return Ok(None),
        }
    }
    scan.skip_to(offset)?;
    Ok(Some(scan))
}

/// Moves a scan that stands where an entry of the time index says behind the batch which the entry describes; `None`
/// if that is not the batch which lies there.
pub fn behind_time_entry(
    scan: Result<BatchScan>,
    base: Offset,
    entry: TimeEntry,
) -> Result<Option<BatchScan>> {
    let described = base.saturating_add(entry.relative_offset.into());
    let is_described =
        |header: &BatchHeader| (header.last_offset(), header.max_timestamp) == (described, entry.timestamp);
    let peeked = scan.and_then(|mut scan| Ok((scan.peek()?, scan)));
    match peeked {
        Ok((Some(header), mut scan)) if is_described(&header) => {
            scan.skip(&header);
            Ok(Some(scan))
        }
        Ok(_) => Ok(None),
        Err(error) if error.io_error().is_some() => Err(error),
        // Whoever reads there is told.
        Err(_) => Ok(None),
    }
}
