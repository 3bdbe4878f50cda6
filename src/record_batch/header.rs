//! The header of a record batch: 61 bytes, big-endian.
//!
//! | Off | Size | Field | |
//! |----:|----:|---|---|
//! | 0 | 8 | base offset | of the first record ever in the batch |
//! | 8 | 4 | batch length | bytes behind this field |
//! | 12 | 4 | leader epoch | given by the log |
//! | 16 | 1 | magic | 2; at the same place in every version |
//! | 17 | 4 | CRC | CRC-32C of everything behind it |
//! | 21 | 2 | attributes | `attributes.rs` |
//! | 23 | 4 | last offset delta | last offset − base offset, kept through compaction |
//! | 27 | 8 | base timestamp | the deltas of the records count from it |
//! | 35 | 8 | max timestamp | of the records; the append time with `LogAppendTime` |
//! | 43 | 8 | producer id | −1: none |
//! | 51 | 2 | producer epoch | −1: none |
//! | 53 | 4 | base sequence | −1: none |
//! | 57 | 4 | records count | records present: 0 in a batch emptied by compaction |

use std::ops::Range;

use byteorder::{BigEndian, ByteOrder, ReadBytesExt};

use super::Attributes;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Compression, LeaderEpoch, MAX_OFFSET, Offset};
use crate::mutant::{self, Mutant};

/// The size of a batch header, and so the least size of a batch.
pub const HEADER_LEN: usize = RECORDS_COUNT + 4;
/// How much of a header tells where a batch ends and which format it has.
pub const FRAMING_LEN: usize = CRC;

const BASE_OFFSET: usize = 0;
const BATCH_LENGTH: usize = BASE_OFFSET + 8;
const LEADER_EPOCH: usize = BATCH_LENGTH + 4;
const MAGIC: usize = LEADER_EPOCH + 4;
const CRC: usize = MAGIC + 1;
const ATTRIBUTES: usize = CRC + 4;
const LAST_OFFSET_DELTA: usize = ATTRIBUTES + 2;
const BASE_TIMESTAMP: usize = LAST_OFFSET_DELTA + 4;
const MAX_TIMESTAMP: usize = BASE_TIMESTAMP + 8;
const PRODUCER_ID: usize = MAX_TIMESTAMP + 8;
const PRODUCER_EPOCH: usize = PRODUCER_ID + 8;
const BASE_SEQUENCE: usize = PRODUCER_EPOCH + 2;
const RECORDS_COUNT: usize = BASE_SEQUENCE + 4;
const _: () = assert!(HEADER_LEN == 61 && FRAMING_LEN == 17 && ATTRIBUTES == 21);

/// Where the leader epoch stands in a batch, big-endian, outside the checksum.
pub const LEADER_EPOCH_FIELD: Range<usize> = LEADER_EPOCH..MAGIC;

/// The message format that Kafka writes since 0.11.
const MAGIC_V2: u8 = 2;
/// The bytes that the batch length does not count: the base offset and itself.
const LENGTH_OVERHEAD: usize = LEADER_EPOCH;

/// Where a batch lies: what its first 17 bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    pub base_offset: Offset,
    /// Of the whole batch in bytes, at least [`HEADER_LEN`].
    pub size: usize,
}

impl Framing {
    /// Reads the framing from the front of `bytes`, which holds at least [`FRAMING_LEN`] bytes.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let Some(framing) = bytes.get(..FRAMING_LEN) else {
            return Err(Error::corrupt(format!(
                "a record batch needs {HEADER_LEN} bytes, and there are {}",
                bytes.len()
            )));
        };
        let base_offset = BigEndian::read_i64(field(framing, BASE_OFFSET));
        let length = BigEndian::read_i32(field(framing, BATCH_LENGTH));
        let magic = framing.get(MAGIC).copied().unwrap_or_default();
        let size = usize::try_from(length).unwrap_or(0).saturating_add(LENGTH_OVERHEAD);
        if magic < MAGIC_V2 && size > LENGTH_OVERHEAD {
            return Err(Error::new(
                ErrorKind::UnsupportedForMessageFormat,
                format!("unsupported record format: message format version {magic}, only 2 can be read"),
            ));
        }
        if size < HEADER_LEN {
            return Err(Error::corrupt(format!("a record batch cannot be {length} bytes long")));
        }
        if magic != MAGIC_V2 {
            return Err(Error::corrupt(format!("unknown message format version {magic}")));
        }
        match Offset::try_from(base_offset) {
            Ok(base_offset) => Ok(Self { base_offset, size }),
            Err(_) => Err(Error::corrupt(format!("negative base offset {base_offset}"))),
        }
    }
}

/// The fields of a batch header; −1 stands for "none" where the table says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Of the whole batch in bytes; the length field holds 12 less.
    pub size: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: u32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records_count: u32,
}

impl BatchHeader {
    /// Reads the header from the front of `bytes`, and checks what can be checked without the records.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let Framing { base_offset, size } = Framing::read(bytes)?;
        let mut rest = bytes.get(LEADER_EPOCH..HEADER_LEN).unwrap_or_default();
        let header = (|| {
            let leader_epoch = rest.read_i32::<BigEndian>()?;
            let _magic = rest.read_u8()?;
            std::io::Result::Ok(Self {
                base_offset,
                size,
                leader_epoch,
                crc: rest.read_u32::<BigEndian>()?,
                attributes: Attributes(rest.read_i16::<BigEndian>()?),
                last_offset_delta: rest.read_u32::<BigEndian>()?,
                base_timestamp: rest.read_i64::<BigEndian>()?,
                max_timestamp: rest.read_i64::<BigEndian>()?,
                producer_id: rest.read_i64::<BigEndian>()?,
                producer_epoch: rest.read_i16::<BigEndian>()?,
                base_sequence: rest.read_i32::<BigEndian>()?,
                records_count: rest.read_u32::<BigEndian>()?,
            })
        })()
        .map_err(|_| Error::corrupt(format!("a record batch header needs {HEADER_LEN} bytes")))?;
        header.check_fields().map(|()| header)
    }

    /// Reads the header of exactly one batch, and checks its size and its checksum.
    pub fn check(batch: &[u8]) -> Result<Self> {
        let header = Self::read(batch)?;
        let problem = if header.size != batch.len() {
            format!("a batch of {} bytes stands in {} bytes", header.size, batch.len())
        } else if Self::compute_crc(batch) != header.crc && !mutant::is(Mutant::CrcNotChecked) {
            "the checksum of a record batch is wrong".to_owned()
        } else {
            return Ok(header);
        };
        Err(Error::corrupt(problem).at_offset(header.base_offset))
    }

    fn check_fields(&self) -> Result<()> {
        let most = i32::MAX.cast_unsigned();
        let problem = if self.last_offset_delta > most {
            "the last offset delta is negative"
        } else if self.records_count > most {
            "the records count is negative"
        } else if self.base_offset.saturating_add(self.last_offset_delta.into()) >= MAX_OFFSET {
            "the last offset is beyond the range of offsets"
        } else if self.attributes.compression().is_none() {
            "the codec is not one that Kafka defines"
        } else {
            return Ok(());
        };
        Err(Error::corrupt(problem).at_offset(self.base_offset))
    }

    /// Writes the header to the front of `batch`, checksum included, which is computed over the rest of it.
    ///
    /// `size` and `crc` are taken from `batch`, whatever the fields say.
    pub fn seal(&self, batch: &mut [u8]) {
        let size = batch.len();
        let Some((head, _)) = batch.split_first_chunk_mut::<HEADER_LEN>() else {
            debug_assert!(false, "a batch of {size} bytes has no room for its header");
            return;
        };
        let length = i32::try_from(size.saturating_sub(LENGTH_OVERHEAD)).unwrap_or(i32::MAX);
        BigEndian::write_i64(field_mut(head, BASE_OFFSET), self.base_offset.cast_signed());
        BigEndian::write_i32(field_mut(head, BATCH_LENGTH), length);
        BigEndian::write_i32(field_mut(head, LEADER_EPOCH), self.leader_epoch);
        head.iter_mut().skip(MAGIC).take(1).for_each(|magic| *magic = MAGIC_V2);
        BigEndian::write_i16(field_mut(head, ATTRIBUTES), self.attributes.0);
        BigEndian::write_u32(field_mut(head, LAST_OFFSET_DELTA), self.last_offset_delta);
        BigEndian::write_i64(field_mut(head, BASE_TIMESTAMP), self.base_timestamp);
        BigEndian::write_i64(field_mut(head, MAX_TIMESTAMP), self.max_timestamp);
        BigEndian::write_i64(field_mut(head, PRODUCER_ID), self.producer_id);
        BigEndian::write_i16(field_mut(head, PRODUCER_EPOCH), self.producer_epoch);
        BigEndian::write_i32(field_mut(head, BASE_SEQUENCE), self.base_sequence);
        BigEndian::write_u32(field_mut(head, RECORDS_COUNT), self.records_count);
        let crc = Self::compute_crc(batch);
        BigEndian::write_u32(field_mut(batch, CRC), crc);
    }

    /// The checksum that a batch with these bytes should carry.
    pub fn compute_crc(batch: &[u8]) -> u32 {
        crc_fast::crc32_iscsi(batch.get(ATTRIBUTES..).unwrap_or_default())
    }

    /// The leader epoch, if the batch names one.
    pub fn known_epoch(&self) -> Option<LeaderEpoch> {
        LeaderEpoch::try_from(self.leader_epoch).ok()
    }

    /// The same over the parts of a batch, one behind the other, of which the first holds the header.
    pub fn begin_crc(first: &[u8]) -> BatchCrc {
        let mut crc = BatchCrc(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi));
        crc.update(first.get(ATTRIBUTES..).unwrap_or_default());
        crc
    }

    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(self.last_offset_delta.into())
    }

    /// The offset behind the batch; compaction may have removed the record before it.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// The producer whose transaction the records are part of. Kafka's markers are part of none.
    pub fn transaction(&self) -> Option<i64> {
        (self.attributes.is_transactional() && !self.attributes.is_control()).then_some(self.producer_id)
    }

    /// How the records are compressed; a header that was read names a codec that there is.
    pub fn compression(&self) -> Compression {
        self.attributes.compression().unwrap_or_default()
    }
}

/// The checksum of a batch that is not in memory as a whole.
pub struct BatchCrc(crc_fast::Digest);

impl BatchCrc {
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    pub fn is(&self, crc: u32) -> bool {
        self.0.finalize() == u64::from(crc)
    }
}

/// The bytes from `at` on. Every caller passes a constant inside the slice it has just measured.
fn field(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

fn field_mut(bytes: &mut [u8], at: usize) -> &mut [u8] {
    bytes.get_mut(at..).unwrap_or_default()
}
