//! The bytes of a file, sparse and in sectors: what was never written reads as zeros and takes no space.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;
const SECTOR_LEN: u64 = SECTOR as u64;
const ZEROS: Sector = [0; SECTOR];

/// The bytes of one sector.
pub type Sector = [u8; SECTOR];

/// A length and the sectors that hold something; whatever lies behind the length is zero. Copies share their
/// sectors until one of them is written.
#[derive(Clone, Debug, Default)]
pub struct Content {
    len: u64,
    sectors: Arc<BTreeMap<u64, Arc<Sector>>>,
}

/// Some bytes of one sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of the sector.
    pub sector: u64,
    /// The bytes in it.
    pub range: Range<usize>,
}

impl Part {
    /// The position in the file of its first byte.
    pub fn position(&self) -> u64 {
        self.sector * SECTOR_LEN + self.range.start as u64
    }
}

/// The bytes from `position` on, taken apart at the borders of the sectors.
pub fn parts(position: u64, len: usize) -> impl Iterator<Item = Part> {
    let end = position + len as u64;
    let sectors = position / SECTOR_LEN..end.div_ceil(SECTOR_LEN);
    sectors.filter(move |_| len > 0).map(move |sector| {
        let start = sector * SECTOR_LEN;
        Part { sector, range: within(start, position)..within(start, end) }
    })
}

/// Where in the file the sector ends.
pub fn end_of(sector: u64) -> u64 {
    (sector + 1) * SECTOR_LEN
}

/// Zeroes what lies behind the end of a file that is `len` bytes long.
pub fn cut_sector(bytes: &mut Sector, sector: u64, len: u64) {
    bytes[within(sector * SECTOR_LEN, len)..].fill(0);
}

/// The place in the sector that starts at `start` of a position in the file; its border if it lies elsewhere.
fn within(start: u64, position: u64) -> usize {
    position.saturating_sub(start).min(SECTOR_LEN) as usize
}

impl Content {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The bytes of one sector, shared.
    pub fn sector(&self, sector: u64) -> Arc<Sector> {
        self.sectors.get(&sector).map_or_else(|| Arc::new(ZEROS), Arc::clone)
    }

    /// Replaces a sector; the length stays, and so the caller sees to it that nothing stands behind it.
    pub fn put(&mut self, sector: u64, bytes: Arc<Sector>) {
        Arc::make_mut(&mut self.sectors).insert(sector, bytes);
    }

    pub fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let there = usize::try_from(self.len.saturating_sub(position)).unwrap_or(usize::MAX);
        let read = there.min(buffer.len());
        let mut rest = &mut buffer[..read];
        for part in parts(position, read) {
            let (now, behind) = rest.split_at_mut(part.range.len());
            now.copy_from_slice(&self.sectors.get(&part.sector).map_or(&ZEROS, Arc::as_ref)[part.range]);
            rest = behind;
        }
        read
    }

    pub fn write(&mut self, bytes: &[u8], position: u64) {
        let sectors = Arc::make_mut(&mut self.sectors);
        let mut rest = bytes;
        for part in parts(position, bytes.len()) {
            let (now, behind) = rest.split_at(part.range.len());
            let sector = sectors.entry(part.sector).or_insert_with(|| Arc::new(ZEROS));
            Arc::make_mut(sector)[part.range].copy_from_slice(now);
            rest = behind;
        }
        self.len = self.len.max(position + bytes.len() as u64);
    }

    pub fn set_len(&mut self, len: u64) {
        let border = len / SECTOR_LEN;
        if self.sectors.range(border..).next().is_some() {
            let sectors = Arc::make_mut(&mut self.sectors);
            sectors.split_off(&len.div_ceil(SECTOR_LEN));
            if let Some(bytes) = sectors.get_mut(&border) {
                cut_sector(Arc::make_mut(bytes), border, len);
            }
        }
        self.len = len;
    }

    /// How many of the bytes before `end` are zeros, counted backwards from it.
    pub fn zeros_before(&self, end: u64) -> u64 {
        for (sector, bytes) in self.sectors.range(..end.div_ceil(SECTOR_LEN)).rev() {
            let start = sector * SECTOR_LEN;
            if let Some(last) = bytes[..within(start, end)].iter().rposition(|byte| *byte != 0) {
                return end - start - last as u64 - 1;
            }
        }
        end
    }
}

impl Hash for Content {
    /// A sector of zeros is none.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        for (sector, bytes) in self.sectors.iter().filter(|(_, bytes)| ***bytes != ZEROS) {
            sector.hash(state);
            state.write(bytes.as_slice());
        }
    }
}
