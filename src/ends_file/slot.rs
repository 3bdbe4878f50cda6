//! One slot of the ends file: a sector of 512 bytes, big-endian.
//!
//! | Off | Size | Field | |
//! |----:|----:|---|---|
//! | 0 | 4 | magic | `OEND` |
//! | 4 | 4 | version | 1 |
//! | 8 | 8 | sequence | rises with each writing; of two valid twins the higher one counts |
//! | 16 | 16 | topic id | |
//! | 32 | 4 | partition | |
//! | 36 | 4 | generation | how often the partition was opened |
//! | 40 | 8 | log start offset | |
//! | 48 | 8 | segment | base offset of the segment in which the proven end lies |
//! | 56 | 8 | durable offset | the proven end: every record below it is on stable storage |
//! | 64 | 8 | durable position | where in that segment's log it lies |
//! | 72 | 8 | log end offset | what readers may see ends here; the durable offset on a synced topic |
//! | 80 | 4 | CRC-32 (IEEE) | of the bytes 0 to 79 |
//! | 84 | 428 | zeros | |
//!
//! A slot lies in a sector of its own, so that writing one never touches another. A power cut may still leave it torn: the
//! checksum tells, and the twin holds what was durable before.

use byteorder::{BigEndian, ReadBytesExt, WriteBytesExt};

use crate::model::{Offset, PartitionId, TopicId};

/// The size of a slot.
pub const SLOT_LEN: usize = 512;

const MAGIC: u32 = u32::from_be_bytes(*b"OEND");
const VERSION: u32 = 1;
const CRC: usize = 80;
const _: () = assert!(CRC + 4 <= SLOT_LEN && CRC == 4 + 4 + 8 + 16 + 4 + 4 + 5 * 8);

/// Whose slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub topic: TopicId,
    pub partition: PartitionId,
}

/// What of a partition is proven to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProvenEnd {
    /// How often the partition was opened.
    pub generation: u32,
    pub log_start: Offset,
    /// The base offset of the segment in which the end lies.
    pub segment: Offset,
    /// Every record below it is on stable storage.
    pub offset: Offset,
    /// Where in the segment's log that is.
    pub position: u64,
    /// What readers may see ends here.
    pub log_end: Offset,
}

/// The content of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub sequence: u64,
    pub owner: Owner,
    pub end: ProvenEnd,
}

impl Slot {
    pub fn encode(&self) -> [u8; SLOT_LEN] {
        let mut slot = [0; SLOT_LEN];
        let (body, rest) = slot.split_at_mut(CRC);
        // A slice takes as many bytes as it has, and the constants above say that these fit.
        _ = self.write_body(body);
        let crc = crc32fast::hash(body);
        let mut rest = rest;
        _ = rest.write_u32::<BigEndian>(crc);
        slot
    }

    fn write_body(&self, mut body: &mut [u8]) -> std::io::Result<()> {
        let Self { sequence, owner, end } = self;
        body.write_u32::<BigEndian>(MAGIC)?;
        body.write_u32::<BigEndian>(VERSION)?;
        body.write_u64::<BigEndian>(*sequence)?;
        body.write_u128::<BigEndian>(owner.topic.as_u128())?;
        body.write_u32::<BigEndian>(owner.partition)?;
        body.write_u32::<BigEndian>(end.generation)?;
        for field in [end.log_start, end.segment, end.offset, end.position, end.log_end] {
            body.write_u64::<BigEndian>(field)?;
        }
        Ok(())
    }

    /// `None` for anything that was not written whole, and by this version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let body = bytes.get(..CRC)?;
        let crc = bytes.get(CRC..)?.read_u32::<BigEndian>().ok()?;
        if bytes.len() != SLOT_LEN || crc != crc32fast::hash(body) {
            return None;
        }
        Self::read_body(body).ok().flatten()
    }

    fn read_body(mut body: &[u8]) -> std::io::Result<Option<Self>> {
        if body.read_u32::<BigEndian>()? != MAGIC || body.read_u32::<BigEndian>()? != VERSION {
            return Ok(None);
        }
        let sequence = body.read_u64::<BigEndian>()?;
        let topic = TopicId::from_u128(body.read_u128::<BigEndian>()?);
        let owner = Owner { topic, partition: body.read_u32::<BigEndian>()? };
        let end = ProvenEnd {
            generation: body.read_u32::<BigEndian>()?,
            log_start: body.read_u64::<BigEndian>()?,
            segment: body.read_u64::<BigEndian>()?,
            offset: body.read_u64::<BigEndian>()?,
            position: body.read_u64::<BigEndian>()?,
            log_end: body.read_u64::<BigEndian>()?,
        };
        Ok(Some(Self { sequence, owner, end }))
    }
}
