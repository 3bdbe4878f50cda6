//! Walks over the batches of a log file, damaged or not: what is damaged is a step of its own, and the walk goes on
//! where a batch stands for certain.
//!
//! Behind a damaged batch that is where its length leads, if the batch there has the offset that follows. Else it is the
//! first place behind it with a whole batch that others confirm: batches one behind the other from there on come to the
//! end of the file, to a place that the offset index knows, or to a damaged batch with the offset that is due. For a value
//! may hold the bytes of a batch, and must not be taken for one.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::io;
use std::ops::Range;
use std::sync::Arc;

use byteorder::{BigEndian, ByteOrder};
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::model::Offset;
use crate::record_batch::{BatchHeader, Codecs, HEADER_LEN, RecordBatch};
use crate::segment::{IndexView, OffsetEntry};
use crate::vfs::{FileView, ReadAhead};

/// How far an offset may lie from its segment's base: 31 bits of an index entry.
const MAX_REACH: u64 = i32::MAX as u64;
/// A batch of more bytes is not brought into memory before its checksum was seen to be right.
const LARGE: usize = 4 * 1024 * 1024;
/// How much is read at a time where no batch is.
const CHUNK: usize = 256 * 1024;
/// Where the magic byte of a header lies.
const MAGIC: usize = 16;

/// What is found from a position of a log on.
#[derive(Debug)]
pub enum Step {
    Batch(Found),
    Damaged(DamagedPlace),
    /// Nothing but zeros to the end of the file, as they are set aside ahead of the data.
    Zeros(Range<u64>),
}

/// A batch that is whole.
#[derive(Debug)]
pub struct Found {
    pub position: u64,
    pub header: BatchHeader,
    /// Header and records, as they stand in the file.
    pub bytes: Bytes,
    /// Its records, or why they cannot be read though the batch is whole: this build lacks the codec, or they are too many.
    /// `None` where nobody wants them.
    pub batch: Option<Result<RecordBatch>>,
    /// The offsets between it and the batch before; mostly none.
    pub missing: Range<Offset>,
}

impl Found {
    /// The batch with its records, in a walk that reads them.
    pub fn batch(&self) -> Result<&RecordBatch> {
        match &self.batch {
            Some(batch) => batch.as_ref().map_err(Clone::clone),
            None => Err(Error::corrupt("the records of the batch were passed over")),
        }
    }
}

/// A place with no batch that could be read.
#[derive(Debug)]
pub struct DamagedPlace {
    pub bytes: Range<u64>,
    /// The offsets of the records that stood there; an empty range if only the first is known.
    pub offsets: Range<Offset>,
    pub error: Error,
}

/// The size of the largest segment.
const MAX_SEGMENT: u64 = i32::MAX as u64;

/// The steps over a log file.
#[derive(Debug)]
pub struct LogWalk {
    log: ReadAhead,
    view: FileView,
    /// Where the file ends, or as much of it as is looked at.
    len: u64,
    base: Offset,
    /// The offset that is due, where it is known.
    next: Option<Offset>,
    /// The offset that is due behind the last batch, where it is known.
    successor: Option<Offset>,
    codecs: Arc<Codecs>,
    /// Whether batches are decompressed, and their records given out.
    reads_records: bool,
    /// To confirm a place behind damage.
    index: Option<IndexView<OffsetEntry>>,
    /// How many bytes may still be read to confirm places, so that a file which is made to deceive ends, too.
    patience: u64,
}

/// Why there is no batch, and what its header still tells.
struct Bad {
    error: Error,
    size: Option<usize>,
    /// The offset that is due behind it.
    behind: Option<Offset>,
    /// Whether its bytes are right, and so its length is.
    is_whole: bool,
}

impl LogWalk {
    /// Over the first `len` bytes of the log of the segment at `base`; `None` for a file that is a part of some log.
    pub fn new(view: FileView, base: Option<Offset>, len: u64, codecs: &Arc<Codecs>) -> Self {
        let codecs = Arc::clone(codecs);
        // Behind that no segment goes on, however far somebody has extended the file.
        let len = len.min(MAX_SEGMENT);
        let log = ReadAhead::of_whole(view.clone());
        let patience = len.saturating_mul(4).saturating_add(1 << 20);
        let (first, next) = (base.unwrap_or_default(), base);
        Self {
            log,
            view,
            len,
            base: first,
            next,
            successor: None,
            codecs,
            reads_records: true,
            index: None,
            patience,
        }
    }

    /// The offset that is due behind the last batch: the base of the next segment, say.
    pub fn before(mut self, successor: Option<Offset>) -> Self {
        self.successor = successor;
        self
    }

    /// Without records, nothing is decompressed: header and checksum tell that a batch is whole.
    pub fn with_records(mut self, on: bool) -> Self {
        self.reads_records = on;
        self
    }

    /// The offset index of the segment, which confirms places behind damage.
    pub fn with_index(mut self, index: Option<IndexView<OffsetEntry>>) -> Self {
        self.index = index;
        self
    }

    /// From a place on that is known to be the end of a batch, behind which the offset is due.
    pub fn behind(mut self, position: u64, due: Offset) -> Self {
        self.log.skip(usize::try_from(position).unwrap_or(usize::MAX));
        self.next = Some(due);
        self
    }

    /// From a batch on that does not lie behind an offset: the last one that the offset index has, if it is there.
    pub fn near(mut self, offset: Offset) -> Self {
        match self.indexed_before(offset) {
            Ok(Some((position, first))) => self.behind(position, first),
            // What cannot be read there is told by who comes there.
            Ok(None) | Err(_) => self,
        }
    }

    fn indexed_before(&mut self, offset: Offset) -> io::Result<Option<(u64, Offset)>> {
        let relative = offset.checked_sub(self.base).and_then(|far| u32::try_from(far).ok());
        let (Some(index), Some(relative)) = (&self.index, relative) else { return Ok(None) };
        let Some(entry) = index.floor(relative)? else { return Ok(None) };
        let position = u64::from(entry.position);
        let Some(header) = self.header_at(position)? else { return Ok(None) };
        let is_described = header.last_offset() == self.base.saturating_add(entry.relative_offset.into());
        let is_there = is_described && self.is_whole_at(position, &header)?;
        Ok(is_there.then_some((position, header.base_offset)))
    }

    /// Where the next step begins.
    pub fn position(&self) -> u64 {
        self.log.position()
    }

    /// The next step; `None` at the end. What the disk cannot read is damaged, up to the end of the file.
    pub fn step(&mut self) -> Option<Step> {
        if self.position() >= self.len {
            return None;
        }
        let position = self.position();
        let step = self.read().and_then(|read| match read {
            Ok(found) => Ok(Step::Batch(found)),
            Err(bad) => self.pass(position, bad),
        });
        Some(step.unwrap_or_else(|error| {
            let error = Error::corrupt("the disk cannot read the log").caused_by(error);
            self.damaged(position, self.len, error)
        }))
    }

    /// The batch that stands next, or why there is none.
    fn read(&mut self) -> io::Result<Result<Found, Bad>> {
        let position = self.position();
        self.log.fill(HEADER_LEN, self.left())?;
        let header = match BatchHeader::read(self.log.bytes()) {
            Ok(header) => header,
            Err(error) => return Ok(Err(Bad { error, size: None, behind: None, is_whole: false })),
        };
        let due = self.next.unwrap_or(header.base_offset);
        let behind = due.saturating_add(header.last_offset_delta.into()).saturating_add(1);
        let bad = |error: Error, is_whole| {
            Ok(Err(Bad { error, size: Some(header.size), behind: Some(behind), is_whole }))
        };
        if header.size as u64 > self.left() {
            let what = format!("a record batch of {} bytes runs past the end of its segment", header.size);
            return bad(Error::corrupt(what).at_offset(due), false);
        }
        if header.size > LARGE && !self.is_whole_at(position, &header)? {
            return bad(Error::corrupt("the checksum of a record batch is wrong").at_offset(due), false);
        }
        if !self.log.fill(header.size, self.left())? {
            return bad(Error::corrupt("the file became shorter while it was read").at_offset(due), false);
        }
        let bytes = self.log.share(header.size);
        let batch = match self.reads_records {
            true => Some(RecordBatch::parse(bytes.clone(), &self.codecs)),
            false => RecordBatch::check_whole(bytes.clone()).err().map(Err),
        };
        let batch = match batch {
            Some(Err(error)) if error.is_corruption() => return bad(error, false),
            batch => batch,
        };
        if self.has_other_offsets(&header, due, behind)? {
            let (first, last) = (header.base_offset, header.last_offset());
            let what = format!("a batch with the offsets {first} to {last} stands where {due} is expected");
            return bad(Error::corrupt(what).at_offset(due), true);
        }
        self.log.skip(header.size);
        self.next = Some(header.next_offset());
        Ok(Ok(Found { position, header, bytes, batch, missing: due..header.base_offset }))
    }

    /// Whether the offset of a batch, which no checksum covers, is another one than it was: it does not rise, it lies out
    /// of reach, or what follows goes on below it.
    fn has_other_offsets(&mut self, header: &BatchHeader, due: Offset, behind: Offset) -> io::Result<bool> {
        if header.base_offset == due && self.reaches(header) {
            return Ok(false);
        }
        if header.base_offset < due || !self.reaches(header) {
            return Ok(true);
        }
        let end = self.position().saturating_add(header.size as u64);
        let Some(following) = self.header_at(end)? else {
            let ends = behind..header.next_offset();
            return Ok(self.successor.is_some_and(|successor| ends.contains(&successor)));
        };
        if following.base_offset == behind || following.base_offset >= header.next_offset() {
            return Ok(following.base_offset == behind);
        }
        // One of the two is wrong: not this one, if what comes then goes on as if the other one followed on it.
        let then = self.header_at(end.saturating_add(following.size as u64))?;
        let expected =
            header.next_offset().saturating_add(following.last_offset_delta.into()).saturating_add(1);
        Ok(then.is_none_or(|then| then.base_offset != expected))
    }

    fn reaches(&self, header: &BatchHeader) -> bool {
        header.base_offset >= self.base && header.last_offset().saturating_sub(self.base) <= MAX_REACH
    }

    /// Moves past what is no batch.
    fn pass(&mut self, position: u64, bad: Bad) -> io::Result<Step> {
        if bad.size.is_none() && self.is_zeros_from(position)? {
            self.log.skip(usize::try_from(self.left()).unwrap_or(usize::MAX));
            return Ok(Step::Zeros(position..self.len));
        }
        let end = match self.follower(position, &bad)? {
            Some(end) => end,
            None => {
                // What runs past the end may hold all that is left of the file: then none of its offsets is another's.
                let is_open = bad.size.is_some_and(|size| size as u64 > self.left());
                let least = bad.behind.filter(|_| is_open);
                self.search(position.saturating_add(1), least)?.unwrap_or(self.len)
            }
        };
        let behind = bad.behind.filter(|_| end >= self.len);
        let mut place = self.damaged(position, end, bad.error);
        if let (Step::Damaged(place), Some(behind), None) = (&mut place, behind, self.successor) {
            // Only its own header says so.
            place.offsets.end = behind.max(place.offsets.start);
        }
        Ok(place)
    }

    /// Where the length of a damaged batch leads, if the batch there is the one that follows, or nothing is.
    fn follower(&mut self, position: u64, bad: &Bad) -> io::Result<Option<u64>> {
        let (Some(size), Some(behind)) = (bad.size, bad.behind) else { return Ok(None) };
        let end = position.saturating_add(size as u64);
        if end > self.len {
            return Ok(None);
        }
        if bad.is_whole {
            return Ok(Some(end));
        }
        if end == self.len || self.is_zeros_if_patient(end)? {
            return Ok(self.successor.is_none_or(|successor| successor == behind).then_some(end));
        }
        let Some(following) = self.header_at(end)? else { return Ok(None) };
        let follows = following.base_offset == behind && self.is_whole_at(end, &following)?;
        Ok(follows.then_some(end))
    }

    /// The step over a damaged place, behind which the walk goes on at `end`.
    fn damaged(&mut self, position: u64, end: u64, error: Error) -> Step {
        let from = self.next.unwrap_or(self.base);
        let following = match self.header_at(end) {
            Ok(Some(following)) => Some(following.base_offset),
            // Zeros, or the end, or nothing that can be read.
            _ => self.successor,
        };
        let to = following.unwrap_or(from).max(from);
        self.next = following.or(self.next).map(|next| next.max(from));
        self.log.skip(usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX));
        let error = error.at_position(position);
        Step::Damaged(DamagedPlace { bytes: position..end, offsets: from..to, error })
    }

    /// The first place from `from` on where a batch stands for certain, one with offsets from `least` on if that is given.
    fn search(&mut self, from: u64, least: Option<Offset>) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; CHUNK];
        let mut at = from;
        while at.saturating_add(HEADER_LEN as u64) <= self.len {
            let want = usize::try_from(self.len.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
            let read = self.view.read_into(buffer.get_mut(..want).unwrap_or_default(), at)?;
            let bytes = buffer.get(..read).unwrap_or_default();
            for (number, window) in bytes.windows(HEADER_LEN).enumerate() {
                let here = at.saturating_add(number as u64);
                if self.looks_like_a_header(window, here) {
                    let header = BatchHeader::read(window).ok().filter(|header| self.can_stand(header, here));
                    if let Some(header) = header
                        && least.is_none_or(|least| least <= header.base_offset)
                        && self.is_confirmed(here, header)?
                    {
                        return Ok(Some(here));
                    }
                }
            }
            if read < HEADER_LEN {
                break;
            }
            at = at.saturating_add(read as u64).saturating_sub(HEADER_LEN as u64).saturating_add(1);
        }
        Ok(None)
    }

    /// A quick look, for it is taken at every byte.
    fn looks_like_a_header(&self, window: &[u8], position: u64) -> bool {
        if window.get(MAGIC) != Some(&2) {
            return false;
        }
        let offset = BigEndian::read_u64(window);
        let length = window.get(8..).map_or(0, BigEndian::read_u32);
        offset >= self.next.unwrap_or(self.base)
            && u64::from(length) < self.len.saturating_sub(position)
            && length as usize >= HEADER_LEN.saturating_sub(12)
    }

    /// Whether a batch with this header may stand there.
    fn can_stand(&self, header: &BatchHeader, position: u64) -> bool {
        header.size as u64 <= self.len.saturating_sub(position)
            && self.next.is_none_or(|next| header.base_offset >= next)
            && (self.next.is_none() || self.reaches(header))
            && self.successor.is_none_or(|successor| header.last_offset() < successor)
    }

    /// Whether whole batches stand one behind the other from there to something that vouches for them.
    fn is_confirmed(&mut self, position: u64, mut header: BatchHeader) -> io::Result<bool> {
        let (mut at, mut due) = (position, None);
        loop {
            if !self.spend(header.size as u64) {
                return Ok(false);
            }
            if !self.is_whole_at(at, &header)? {
                return Ok(due == Some(header.base_offset));
            }
            if self.is_indexed(at, &header)? {
                return Ok(true);
            }
            at = at.saturating_add(header.size as u64);
            if at >= self.len {
                return Ok(true);
            }
            due = Some(header.next_offset());
            match self.header_at(at)? {
                Some(following) if Some(following.base_offset) >= due => header = following,
                Some(_) => return Ok(false),
                None => return Ok(self.offset_at(at)? == due || self.is_zeros_if_patient(at)?),
            }
        }
    }

    /// Whether the offset index knows the batch.
    fn is_indexed(&self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        let relative = header.last_offset().checked_sub(self.base).and_then(|far| u32::try_from(far).ok());
        let (Some(index), Some(relative)) = (&self.index, relative) else { return Ok(false) };
        let entry = index.floor(relative)?;
        Ok(entry
            .is_some_and(|entry| (entry.relative_offset, u64::from(entry.position)) == (relative, position)))
    }

    /// Whether the checksum of a batch is right; the batch is read piece by piece.
    fn is_whole_at(&self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        let size = header.size as u64;
        let mut buffer = vec![0; header.size.min(CHUNK)];
        let (mut at, mut crc) = (0, None);
        while at < size {
            let want = usize::try_from(size.saturating_sub(at)).unwrap_or(CHUNK).min(buffer.len());
            let part = buffer.get_mut(..want).unwrap_or_default();
            if self.view.read_into(part, position.saturating_add(at))? < want {
                return Ok(false);
            }
            match &mut crc {
                None => crc = Some(BatchHeader::begin_crc(part)),
                Some(crc) => crc.update(part),
            }
            at = at.saturating_add(want as u64);
        }
        Ok(crc.is_some_and(|crc| crc.is(header.crc)))
    }

    fn header_at(&self, position: u64) -> io::Result<Option<BatchHeader>> {
        let mut bytes = [0; HEADER_LEN];
        if position.saturating_add(HEADER_LEN as u64) > self.len
            || self.view.read_into(&mut bytes, position)? < HEADER_LEN
        {
            return Ok(None);
        }
        Ok(BatchHeader::read(&bytes).ok().filter(|header| self.can_stand(header, position)))
    }

    /// What stands there as an offset, whatever the rest of the batch is.
    fn offset_at(&self, position: u64) -> io::Result<Option<Offset>> {
        let mut bytes = [0; 8];
        let read = self.view.read_into(&mut bytes, position)?;
        Ok((read == bytes.len()).then(|| BigEndian::read_u64(&bytes)))
    }

    /// Takes so many bytes off the patience; false if it is at its end.
    fn spend(&mut self, bytes: u64) -> bool {
        let left = self.patience.checked_sub(bytes);
        self.patience = left.unwrap_or_default();
        left.is_some()
    }

    fn is_zeros_if_patient(&mut self, position: u64) -> io::Result<bool> {
        let zeros = self.zeros_from(position)?;
        Ok(self.spend(zeros) && position.saturating_add(zeros) >= self.len)
    }

    fn is_zeros_from(&self, position: u64) -> io::Result<bool> {
        Ok(position.saturating_add(self.zeros_from(position)?) >= self.len)
    }

    /// How many zeros stand there, in whole pieces where others follow.
    fn zeros_from(&self, position: u64) -> io::Result<u64> {
        let (mut at, mut piece) = (position, 512);
        while at < self.len {
            let want = usize::try_from(self.len.saturating_sub(at)).unwrap_or(piece).min(piece);
            let bytes = self.view.read(at, want)?;
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                break;
            }
            at = at.saturating_add(bytes.len() as u64);
            piece = CHUNK;
        }
        Ok(at.saturating_sub(position))
    }

    fn left(&self) -> u64 {
        self.len.saturating_sub(self.position())
    }
}
