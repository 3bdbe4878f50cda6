//! The entries of the two indexes, big-endian, without header or checksum.
//!
//! `.index`, 8 bytes:
//!
//! | Off | Size | Field |
//! |---|---|---|
//! | 0 | 4 | last offset of a batch − base offset of the segment |
//! | 4 | 4 | where in the `.log` that batch begins |
//!
//! `.timeindex`, 12 bytes:
//!
//! | Off | Size | Field |
//! |---|---|---|
//! | 0 | 8 | greatest timestamp of the segment's records up to that offset's batch |
//! | 8 | 4 | last offset of the batch that holds it − base offset of the segment |
//!
//! In a file, the first field strictly rises; offsets and positions of the second rise with it.

use byteorder::{BigEndian, ByteOrder};

use crate::model::Timestamp;

/// An entry of a sparse index.
pub trait IndexEntry: Copy {
    /// What the index is searched by.
    type Key: Ord + Copy;
    const SIZE: usize;

    fn key(&self) -> Self::Key;
    /// `bytes` holds exactly [`SIZE`](Self::SIZE) bytes.
    fn read(bytes: &[u8]) -> Self;
    fn write(&self, buffer: &mut Vec<u8>);
}

/// Where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    pub relative_offset: u32,
    pub position: u32,
}

/// Which timestamps lie before an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    pub timestamp: Timestamp,
    pub relative_offset: u32,
}

impl IndexEntry for OffsetEntry {
    type Key = u32;
    const SIZE: usize = 4 + 4;

    fn key(&self) -> u32 {
        self.relative_offset
    }

    fn read(bytes: &[u8]) -> Self {
        let (relative_offset, position) = bytes.split_at(4);
        Self {
            relative_offset: BigEndian::read_u32(relative_offset),
            position: BigEndian::read_u32(position),
        }
    }

    fn write(&self, buffer: &mut Vec<u8>) {
        let mut bytes = [0; Self::SIZE];
        let (relative_offset, position) = bytes.split_at_mut(4);
        BigEndian::write_u32(relative_offset, self.relative_offset);
        BigEndian::write_u32(position, self.position);
        buffer.extend_from_slice(&bytes);
    }
}

impl IndexEntry for TimeEntry {
    type Key = Timestamp;
    const SIZE: usize = 8 + 4;

    fn key(&self) -> Timestamp {
        self.timestamp
    }

    fn read(bytes: &[u8]) -> Self {
        let (timestamp, relative_offset) = bytes.split_at(8);
        Self {
            timestamp: BigEndian::read_i64(timestamp),
            relative_offset: BigEndian::read_u32(relative_offset),
        }
    }

    fn write(&self, buffer: &mut Vec<u8>) {
        let mut bytes = [0; Self::SIZE];
        let (timestamp, relative_offset) = bytes.split_at_mut(8);
        BigEndian::write_i64(timestamp, self.timestamp);
        BigEndian::write_u32(relative_offset, self.relative_offset);
        buffer.extend_from_slice(&bytes);
    }
}

impl TimeEntry {
    /// Whether it may stand behind `last`: only greater timestamps do.
    pub fn rises_above(&self, last: Option<Self>) -> bool {
        last.is_none_or(|last| self.timestamp > last.timestamp)
    }
}
