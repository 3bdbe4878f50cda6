//! What an ends file holds, place by place, for whoever only looks.

use std::collections::HashMap;
use std::path::Path;

use super::file::{BLOCK, SLOTS_PER_BLOCK, Twin, check_header, position};
use super::slot::{Owner, ProvenEnd, SLOT_LEN, Slot};
use crate::error::{IoContext, Result};
use crate::file_name::ENDS;
use crate::vfs::{Vfs, read_file};

/// More is no ends file.
const MAX_LEN: u64 = 256 * 1024 * 1024;

/// A place for a slot: one of the twins of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where in the file it lies.
    pub position: u64,
    pub cell: usize,
    /// `None` for a slot that is not whole.
    pub slot: Option<Slot>,
}

/// Every place of the file of a data directory.
pub fn read(vfs: &dyn Vfs, root: &Path) -> Result<Vec<Place>> {
    let path = root.join(ENDS);
    let bytes = read_file(vfs, &path, MAX_LEN).doing("read", &path)?;
    list(&bytes).map_err(|error| error.in_file(&path))
}

/// Every place of the file's bytes in which anything was written, the twins of a cell one behind the other. Fails if
/// it does not begin as an ends file.
pub fn list(bytes: &[u8]) -> Result<Vec<Place>> {
    check_header(bytes)?;
    let groups = bytes.len().saturating_sub(BLOCK).div_ceil(2 * BLOCK);
    let cells = 0..groups.saturating_mul(SLOTS_PER_BLOCK);
    let places = cells.flat_map(|cell| [(cell, Twin::First), (cell, Twin::Second)]);
    let written = places.filter_map(|(cell, twin)| {
        let position = position(cell, twin);
        let from = usize::try_from(position).ok()?;
        let sector = bytes.get(from..)?;
        let sector = sector.get(..SLOT_LEN).unwrap_or(sector);
        let is_written = sector.iter().any(|byte| *byte != 0);
        is_written.then(|| Place { position, cell, slot: Slot::decode(sector) })
    });
    Ok(written.collect())
}

/// What each partition has as its proven end: of two twins that are whole the newer one, as when the file is opened.
pub fn newest_of(places: &[Place]) -> HashMap<Owner, ProvenEnd> {
    let mut by_cell: HashMap<usize, Slot> = HashMap::new();
    for Place { cell, slot, .. } in places {
        let Some(slot) = slot else { continue };
        let newest = by_cell.entry(*cell).or_insert(*slot);
        if slot.sequence > newest.sequence {
            *newest = *slot;
        }
    }
    by_cell.into_values().map(|slot| (slot.owner, slot.end)).collect()
}
