//! A producer snapshot: what is known of each producer with an id, up to an offset. Bytes only; it knows no files.
//!
//! Kafka writes one named after that offset, `<offset>.snapshot`, at every roll and at an orderly stop
//! (`ProducerStateManager`). Big-endian:
//!
//! | Off | Size | Field | |
//! |----:|----:|---|---|
//! | 0 | 2 | version | 1 |
//! | 2 | 4 | CRC | CRC-32C of everything behind it |
//! | 6 | 4 | count | of the producers |
//! | 10 | 46 each | producers | nothing behind the last one |
//!
//! A producer:
//!
//! | Off | Size | Field | |
//! |----:|----:|---|---|
//! | 0 | 8 | producer id | |
//! | 8 | 2 | producer epoch | |
//! | 10 | 4 | last sequence | of its newest batch; −1: only markers |
//! | 14 | 8 | last offset | of that batch; −1 likewise |
//! | 22 | 4 | offset delta | last sequence − first sequence of that batch |
//! | 26 | 8 | timestamp | of its newest batch or marker; −1: none |
//! | 34 | 4 | coordinator epoch | of its newest marker; −1: none |
//! | 38 | 8 | first offset of the open transaction | −1: none is open |
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![deny(clippy::little_endian_bytes, clippy::host_endian_bytes)]

use std::io;

use byteorder::{BigEndian, ByteOrder, ReadBytesExt, WriteBytesExt};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Offset, Timestamp};

const VERSION: i16 = 1;
const CRC: usize = 2;
const COUNT: usize = CRC + 4;
const HEADER_LEN: usize = COUNT + 4;
const ENTRY_LEN: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;
const _: () = assert!(HEADER_LEN == 10 && ENTRY_LEN == 46);

/// The producers of a snapshot, in the order in which they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerSnapshot {
    pub producers: Vec<ProducerState>,
}

/// What a snapshot says of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerState {
    /// The producer's id.
    pub producer_id: i64,
    /// The epoch of the producer's newest batch or marker.
    pub producer_epoch: i16,
    /// The last sequence of its newest batch; `None` if there are only markers of it.
    pub last_sequence: Option<i32>,
    /// The last offset of that batch.
    pub last_offset: Option<Offset>,
    /// The last sequence of that batch less its first one.
    pub offset_delta: i32,
    /// When it last wrote: the greatest timestamp of its newest batch or marker.
    pub timestamp: Option<Timestamp>,
    /// The epoch of the transaction coordinator that wrote its newest marker.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins; `None` if none is open.
    pub current_txn_first_offset: Option<Offset>,
}

impl ProducerSnapshot {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(HEADER_LEN.saturating_add(self.producers.len().saturating_mul(ENTRY_LEN)));
        // Writing to a vector does not fail.
        _ = self.write(&mut bytes);
        let crc = crc_fast::crc32_iscsi(bytes.get(COUNT..).unwrap_or_default());
        if let Some(field) = bytes.get_mut(CRC..COUNT) {
            BigEndian::write_u32(field, crc);
        }
        bytes
    }

    fn write(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.write_i16::<BigEndian>(VERSION)?;
        bytes.write_u32::<BigEndian>(0)?;
        bytes.write_i32::<BigEndian>(i32::try_from(self.producers.len()).unwrap_or(i32::MAX))?;
        self.producers.iter().try_for_each(|producer| producer.write(bytes))
    }

    /// Reads the bytes of a file, and checks all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut head, mut rest) =
            bytes.split_at_checked(HEADER_LEN).ok_or_else(|| malformed("it is shorter than its header"))?;
        let (version, crc, count) = read_header(&mut head).map_err(|_| malformed("it has no header"))?;
        if version != VERSION {
            let what = format!("a producer snapshot has version {version}, and only {VERSION} can be read");
            return Err(Error::new(ErrorKind::UnsupportedVersion, what));
        }
        if crc != crc_fast::crc32_iscsi(bytes.get(COUNT..).unwrap_or_default()) {
            return Err(malformed("its checksum is wrong"));
        }
        let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_LEN));
        if len != Some(rest.len()) {
            return Err(malformed(&format!(
                "it is to hold {count} producers, and has {} bytes for them",
                rest.len()
            )));
        }
        let mut producers = Vec::with_capacity(rest.len().div_euclid(ENTRY_LEN));
        while !rest.is_empty() {
            producers.push(ProducerState::read(&mut rest)?);
        }
        Ok(Self { producers })
    }
}

fn read_header(head: &mut &[u8]) -> io::Result<(i16, u32, i32)> {
    Ok((head.read_i16::<BigEndian>()?, head.read_u32::<BigEndian>()?, head.read_i32::<BigEndian>()?))
}

impl ProducerState {
    /// A producer of which nothing is known but its id and epoch.
    #[must_use]
    pub fn new(producer_id: i64, producer_epoch: i16) -> Self {
        Self {
            producer_id,
            producer_epoch,
            last_sequence: None,
            last_offset: None,
            offset_delta: 0,
            timestamp: None,
            coordinator_epoch: None,
            current_txn_first_offset: None,
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let offset = |offset: Option<Offset>| offset.map_or(-1, Offset::cast_signed);
        bytes.write_i64::<BigEndian>(self.producer_id)?;
        bytes.write_i16::<BigEndian>(self.producer_epoch)?;
        bytes.write_i32::<BigEndian>(self.last_sequence.unwrap_or(-1))?;
        bytes.write_i64::<BigEndian>(offset(self.last_offset))?;
        bytes.write_i32::<BigEndian>(self.offset_delta)?;
        bytes.write_i64::<BigEndian>(self.timestamp.unwrap_or(-1))?;
        bytes.write_i32::<BigEndian>(self.coordinator_epoch.unwrap_or(-1))?;
        bytes.write_i64::<BigEndian>(offset(self.current_txn_first_offset))
    }

    fn read(rest: &mut &[u8]) -> Result<Self> {
        let raw = RawState::read(rest).map_err(|_| malformed("a producer does not end"))?;
        let state = (|| {
            Some(Self {
                producer_id: raw.producer_id,
                producer_epoch: raw.producer_epoch,
                last_sequence: present(raw.last_sequence)?,
                last_offset: present(raw.last_offset)?.map(i64::cast_unsigned),
                offset_delta: raw.offset_delta,
                timestamp: (raw.timestamp != -1).then_some(raw.timestamp),
                coordinator_epoch: present(raw.coordinator_epoch)?,
                current_txn_first_offset: present(raw.current_txn_first_offset)?.map(i64::cast_unsigned),
            })
        })();
        let is_possible = raw.producer_id >= 0 && raw.offset_delta >= 0;
        state.filter(|_| is_possible).ok_or_else(|| {
            malformed(&format!("producer {} has a number that is not possible", raw.producer_id))
        })
    }
}

/// A producer as it stands in the file.
struct RawState {
    producer_id: i64,
    producer_epoch: i16,
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
    coordinator_epoch: i32,
    current_txn_first_offset: i64,
}

impl RawState {
    fn read(rest: &mut &[u8]) -> io::Result<Self> {
        Ok(Self {
            producer_id: rest.read_i64::<BigEndian>()?,
            producer_epoch: rest.read_i16::<BigEndian>()?,
            last_sequence: rest.read_i32::<BigEndian>()?,
            last_offset: rest.read_i64::<BigEndian>()?,
            offset_delta: rest.read_i32::<BigEndian>()?,
            timestamp: rest.read_i64::<BigEndian>()?,
            coordinator_epoch: rest.read_i32::<BigEndian>()?,
            current_txn_first_offset: rest.read_i64::<BigEndian>()?,
        })
    }
}

/// −1 is Kafka's "none"; the outer `None` is for other negative numbers, which stand for nothing.
fn present<N: Copy + Into<i64>>(number: N) -> Option<Option<N>> {
    match number.into() {
        -1 => Some(None),
        0.. => Some(Some(number)),
        _ => None,
    }
}

fn malformed(reason: &str) -> Error {
    Error::corrupt(format!("a producer snapshot cannot be read: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked bytes: no producer.
    const EMPTY: &str = "000148674bc700000000";
    /// Worked bytes: producer 4000, epoch 3, last sequence 9 at offset 120, a batch of three, no transaction.
    const ONE: &str = "00016694554e000000010000000000000fa000030000000900000000000000780000\
                       00020000018bcfe56800ffffffffffffffffffffffff";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn one() -> ProducerState {
        ProducerState {
            last_sequence: Some(9),
            last_offset: Some(120),
            offset_delta: 2,
            timestamp: Some(1_700_000_000_000),
            ..ProducerState::new(4000, 3)
        }
    }

    #[test]
    fn the_worked_bytes_are_read_and_written() {
        for (hex, producers) in [(EMPTY, vec![]), (ONE, vec![one()])] {
            let snapshot = ProducerSnapshot { producers };
            assert_eq!(ProducerSnapshot::decode(&bytes(hex)).unwrap(), snapshot);
            assert_eq!(snapshot.encode(), bytes(hex));
        }
    }

    #[test]
    fn every_field_reads_back() {
        let markers = ProducerState {
            coordinator_epoch: Some(7),
            current_txn_first_offset: Some(i64::MAX.cast_unsigned()),
            ..ProducerState::new(i64::MAX, i16::MAX)
        };
        let snapshot = ProducerSnapshot { producers: vec![one(), markers, ProducerState::new(0, 0)] };
        assert_eq!(ProducerSnapshot::decode(&snapshot.encode()).unwrap(), snapshot);
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_an_error() {
        let sound = bytes(ONE);
        for bit in 0..sound.len() * 8 {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ProducerSnapshot::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..sound.len() {
            assert!(ProducerSnapshot::decode(&sound[..len]).is_err(), "{len} bytes");
        }
        assert!(ProducerSnapshot::decode(&[&sound[..], &[0]].concat()).is_err());
    }

    #[test]
    fn another_version_a_count_that_lies_and_impossible_numbers_are_errors() {
        let mut newer = bytes(EMPTY);
        newer[1] = 2;
        assert_eq!(ProducerSnapshot::decode(&newer).unwrap_err().kind(), ErrorKind::UnsupportedVersion);
        let sealed = |change: fn(&mut Vec<u8>)| {
            let mut bytes = bytes(ONE);
            change(&mut bytes);
            let crc = crc_fast::crc32_iscsi(&bytes[COUNT..]);
            BigEndian::write_u32(&mut bytes[CRC..COUNT], crc);
            ProducerSnapshot::decode(&bytes).unwrap_err()
        };
        for error in [
            sealed(|bytes| bytes[COUNT..HEADER_LEN].fill(0x7f)),
            sealed(|bytes| bytes[COUNT..HEADER_LEN].fill(0xff)),
            sealed(|bytes| bytes[HEADER_LEN] = 0x80),
            sealed(|bytes| bytes[HEADER_LEN + 10] = 0x80),
            sealed(|bytes| bytes[HEADER_LEN + 22] = 0x80),
        ] {
            assert!(error.is_corruption(), "{error}");
        }
    }
}
