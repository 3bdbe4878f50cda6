//! The file of slots: where each lies, which twin is written next, and what a sync settles.
//!
//! | Place | Content |
//! |---|---|
//! | 0 to 4095 | magic `OTTLAEND`, version 1 (u32), CRC-32 of both (u32), zeros |
//! | 4096 + 8192·g | the first twins of the partitions 8·g to 8·g + 7, 512 bytes each |
//! | 8192 + 8192·g | their second twins |

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use byteorder::{BigEndian, WriteBytesExt};

use super::slot::{Owner, ProvenEnd, SLOT_LEN, Slot};
use crate::agenda::{Agenda, Chore, Reminder};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::ENDS;
use crate::mutant::{self, Mutant};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::vfs::{OpenMode, Vfs, VfsFile, read_file, replace_file, write_all_at};

pub(super) const BLOCK: usize = 4096;
pub(super) const SLOTS_PER_BLOCK: usize = BLOCK / SLOT_LEN;
const MAGIC: u64 = u64::from_be_bytes(*b"OTTLAEND");
const VERSION: u32 = 1;
/// More is no ends file: two slots a partition, and room for millions of them.
const MAX_LEN: u64 = 1 << 32;
/// How long after it was written the file is synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The ends of all partitions of a broker.
#[derive(Debug)]
pub struct EndsFile {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cells: Vec<Cell>,
    /// Asks for the next sync.
    reminder: Option<Reminder>,
    /// While a sync runs, no twin is written.
    syncing: bool,
    /// How many are written at this moment; a sync waits for them.
    writing: usize,
    /// Why the file is no longer written: a write or a sync failed. What it holds stays true.
    failed: Option<Error>,
}

/// The two slots of a partition.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// The newest content, written or waiting for the sync to end; `None` for a free cell.
    newest: Option<(Owner, ProvenEnd)>,
    /// Of a free cell the last owner, whom the twins still name.
    last: Option<Owner>,
    /// Of the newest content, or of the last owner's: a new owner goes on from it.
    sequence: u64,
    /// The twin that holds the newest durable content; the other one is written.
    durable: Twin,
    /// Whether the other twin was written since the last sync.
    written: bool,
    /// Whether `newest` still has to be written.
    waiting: bool,
    /// Whether somebody writes it at this moment.
    writing: bool,
    /// Whether only one of the twins could be read: the other was never written, or it is damaged, and was the newer one.
    alone: bool,
}

impl Cell {
    fn slot(&self) -> Option<Slot> {
        self.newest.map(|(owner, end)| Slot { sequence: self.sequence, owner, end })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Twin {
    #[default]
    First,
    Second,
}

impl Twin {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl EndsFile {
    /// Creates the file, without slots, durably.
    pub fn create(vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let path = root.join(ENDS);
        let file = vfs.open(&path, OpenMode::CreateEmpty).doing("create", &path)?;
        write_all_at(file.as_ref(), &header(), 0).doing("write", &path)?;
        file.sync_all().doing("sync", &path)?;
        vfs.sync_dir(root).doing("sync", root)?;
        Ok(Self { path, file, state: Mutex::default(), changed: Condvar::default() })
    }

    /// Opens the file and reads every slot; of two valid twins the newer one counts. Writes nothing.
    pub fn open(vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let path = root.join(ENDS);
        let bytes = read_file(vfs, &path, MAX_LEN).doing("read", &path)?;
        check_header(&bytes).map_err(|error| error.in_file(&path))?;
        let groups = bytes.get(BLOCK..).unwrap_or_default().chunks(2 * BLOCK);
        let cells = groups.flat_map(read_group).collect();
        let file = vfs.open(&path, OpenMode::Write).doing("open", &path)?;
        let state = State { cells, ..State::default() };
        Ok(Self { path, file, state: Mutex::new(state), changed: Condvar::default() })
    }

    /// Replaces the file by a new one with the same newest content, durably.
    ///
    /// After an unclean stop nobody knows which twins are on the disk and which only in the page cache, and
    /// where a sync has failed not even syncing again would tell. A new file is known.
    pub fn renew(self, vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let State { cells, .. } = self.state.into_inner();
        let mut bytes = header().to_vec();
        let end = usize::try_from(position(cells.len().next_multiple_of(SLOTS_PER_BLOCK), Twin::First));
        bytes.resize(end.unwrap_or(usize::MAX), 0);
        for (at, cell) in cells.iter().enumerate() {
            let from = usize::try_from(position(at, Twin::First)).unwrap_or(usize::MAX);
            let sector = bytes.get_mut(from..from.saturating_add(SLOT_LEN));
            if let (Some(sector), Some(slot)) = (sector, cell.slot()) {
                sector.copy_from_slice(&slot.encode());
            }
        }
        replace_file(vfs, root, ENDS, &bytes).doing("replace", &self.path)?;
        Self::open(vfs, root)
    }

    /// The slot of each partition that has one, with what it says.
    pub fn slots(self: &Arc<Self>) -> HashMap<Owner, (EndsSlot, ProvenEnd)> {
        let state = self.state.lock();
        let owned = state.cells.iter().enumerate().filter_map(|(at, cell)| Some((at, cell.newest?)));
        owned.map(|(cell, (owner, end))| (owner, (self.handle(owner, cell), end))).collect()
    }

    /// Whether a slot that counts has no twin, so that what it says may be old.
    pub fn may_be_old(&self) -> bool {
        self.state.lock().cells.iter().any(|cell| cell.newest.is_some() && cell.alone)
    }

    /// Frees the cells of all owners but those that are named: of topics that are no more.
    pub fn retain(&self, keep: impl Fn(&Owner) -> bool) {
        let mut state = self.state.lock();
        for cell in &mut state.cells {
            if cell.newest.is_some_and(|(owner, _)| !keep(&owner)) {
                // The slots stay as they are until the cell has a new owner; nobody asks for the old one.
                cell.last = cell.newest.map(|(owner, _)| owner);
                (cell.newest, cell.waiting) = (None, false);
            }
        }
    }

    /// Gives each of these new owners a free cell: the one that it had before, if there is one, for a partition
    /// whose making was taken back may be made again, and two cells must not name it.
    pub fn claim(self: &Arc<Self>, owners: impl IntoIterator<Item = Owner>) -> Vec<EndsSlot> {
        let mut state = self.state.lock();
        let named = |(at, cell): (usize, &Cell)| Some((cell.newest.map(|(of, _)| of).or(cell.last)?, at));
        let named: HashMap<Owner, usize> = state.cells.iter().enumerate().filter_map(named).collect();
        let is_free =
            |state: &State, at: usize| state.cells.get(at).is_some_and(|cell| cell.newest.is_none());
        let mut next = 0;
        let mut claim = |owner: Owner| {
            let had = named.get(&owner).copied().filter(|at| {
                is_free(&state, *at)
                    || state.cells.get(*at).and_then(Cell::slot).is_some_and(|slot| slot.owner == owner)
            });
            let at = had.unwrap_or_else(|| {
                while next < state.cells.len() && !is_free(&state, next) {
                    next = next.saturating_add(1);
                }
                next
            });
            if at == state.cells.len() {
                state.cells.push(Cell::default());
            }
            if let Some(cell) = state.cells.get_mut(at) {
                (cell.newest, cell.last) = (Some((owner, ProvenEnd::default())), None);
            }
            self.handle(owner, at)
        };
        owners.into_iter().map(&mut claim).collect()
    }

    /// A place for a partition that has no slot, and is not to get one: nothing is written there.
    pub fn without_slot(self: &Arc<Self>, owner: Owner) -> EndsSlot {
        self.handle(owner, usize::MAX)
    }

    fn handle(self: &Arc<Self>, owner: Owner, cell: usize) -> EndsSlot {
        EndsSlot { ends: Arc::clone(self), owner, cell }
    }

    /// Makes durable what was published before. A failure ends the writing of slots, for whatever the disk
    /// holds is true and may only be old.
    pub fn sync(&self) -> Result<()> {
        self.write_waiting();
        let mut state = self.state.lock();
        while state.syncing {
            self.changed.wait(&mut state);
        }
        // Nobody begins to write from now on; those who have come to an end.
        state.syncing = true;
        while state.writing > 0 {
            self.changed.wait(&mut state);
        }
        let outcome = match state.failed.clone() {
            Some(error) => Err(error),
            None => self.sync_written(&mut state),
        };
        state.syncing = false;
        drop(state);
        self.changed.notify_all();
        self.write_waiting();
        outcome
    }

    fn sync_written(&self, state: &mut MutexGuard<'_, State>) -> Result<()> {
        let covered: Vec<bool> = state.cells.iter().map(|cell| cell.written).collect();
        let outcome = MutexGuard::unlocked(state, || self.file.sync_data().doing("sync", &self.path));
        match &outcome {
            Ok(()) => {
                for (cell, _) in state.cells.iter_mut().zip(covered).filter(|(_, covered)| *covered) {
                    if !mutant::is(Mutant::NewestTwinRewritten) {
                        cell.durable = cell.durable.other();
                    }
                    cell.written = false;
                }
            }
            Err(error) => state.failed = Some(error.clone()),
        }
        outcome
    }

    /// Has the file synced a second after it was written.
    pub fn keep(self: &Arc<Self>, agenda: &Arc<Agenda>) {
        let file = Arc::downgrade(self);
        self.state.lock().reminder = Some(agenda.add(file as Weak<dyn Chore>));
    }

    fn note(&self, at: usize, owner: Owner, end: ProvenEnd, now: Duration) {
        let mut state = self.state.lock();
        if let Some(reminder) = &state.reminder {
            reminder.set(now.saturating_add(SYNC_INTERVAL));
        }
        if state.failed.is_some() {
            return;
        }
        let Some(cell) = state.cells.get_mut(at) else { return };
        // A topic that was deleted meanwhile has given its cell back.
        if cell.newest.is_none_or(|(of, _)| of != owner) {
            return;
        }
        cell.newest = Some((owner, end));
        cell.sequence = cell.sequence.saturating_add(1);
        cell.waiting = true;
    }

    fn write_waiting(&self) {
        let waiting: Vec<usize> = {
            let state = self.state.lock();
            let cells = state.cells.iter().enumerate();
            cells.filter(|(_, cell)| cell.waiting).map(|(at, _)| at).collect()
        };
        waiting.into_iter().for_each(|at| self.write(at));
    }

    /// Writes what a cell has waiting, without the lock: a disk that hangs hangs nobody else. While the file is synced it
    /// goes on waiting, for the end of the sync.
    fn write(&self, at: usize) {
        let mut state = self.state.lock();
        while let Some((slot, position)) = state.begin_write(at) {
            let outcome = MutexGuard::unlocked(&mut state, || {
                write_all_at(self.file.as_ref(), &slot.encode(), position)
            });
            state.end_write(at, outcome.map_err(|error| Error::storage("write", &self.path, error)));
            self.changed.notify_all();
        }
    }
}

impl State {
    /// What is to be written where, if anything is, and nobody is at it.
    fn begin_write(&mut self, at: usize) -> Option<(Slot, u64)> {
        if self.syncing && !mutant::is(Mutant::TwinWrittenDuringSync) || self.failed.is_some() {
            return None;
        }
        let cell = self.cells.get_mut(at).filter(|cell| cell.waiting && !cell.writing)?;
        let slot = cell.slot()?;
        (cell.waiting, cell.writing) = (false, true);
        self.writing = self.writing.saturating_add(1);
        Some((slot, position(at, cell.durable.other())))
    }

    fn end_write(&mut self, at: usize, outcome: Result<()>) {
        self.writing = self.writing.saturating_sub(1);
        if let Some(cell) = self.cells.get_mut(at) {
            (cell.writing, cell.written) = (false, cell.written || outcome.is_ok());
        }
        if let Err(error) = outcome {
            self.failed.get_or_insert(error);
        }
    }
}

impl Chore for EndsFile {
    fn run(&self, _now: Duration) -> Option<Duration> {
        // A failure ends the writing of slots, and shows in the next sync that somebody asks for.
        _ = self.sync();
        None
    }
}

/// The place of one partition in the ends file.
#[derive(Clone, Debug)]
pub struct EndsSlot {
    ends: Arc<EndsFile>,
    owner: Owner,
    cell: usize,
}

impl EndsSlot {
    /// Takes note of what is durable already; it is still to be [written](Self::write). Touches no file.
    pub fn note(&self, end: ProvenEnd, now: Duration) {
        self.ends.note(self.cell, self.owner, end, now);
    }

    /// Writes what was noted. It is evidence after a killed process at once, and after a power cut once the file was
    /// synced.
    pub fn write(&self) {
        self.ends.write(self.cell);
    }

    /// Takes note, and writes.
    pub fn publish(&self, end: ProvenEnd, now: Duration) {
        self.note(end, now);
        self.write();
    }

    /// Whose slot it is.
    pub fn owner(&self) -> Owner {
        self.owner
    }
}

fn header() -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut rest = block.as_mut_slice();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&MAGIC.to_be_bytes());
    crc.update(&VERSION.to_be_bytes());
    // The block has room for sixteen bytes.
    _ = rest.write_u64::<BigEndian>(MAGIC);
    _ = rest.write_u32::<BigEndian>(VERSION);
    _ = rest.write_u32::<BigEndian>(crc.finalize());
    block
}

pub(super) fn check_header(bytes: &[u8]) -> Result<()> {
    let expected = header();
    let fields = |bytes: &[u8]| bytes.get(..16).map(<[u8]>::to_vec);
    if fields(bytes) == fields(&expected) {
        return Ok(());
    }
    let magic = bytes.get(..8).is_some_and(|magic| magic == MAGIC.to_be_bytes());
    let crc_fits = bytes
        .get(12..16)
        .is_some_and(|stated| crc32fast::hash(bytes.get(..12).unwrap_or_default()).to_be_bytes() == stated);
    if magic && crc_fits {
        return Err(Error::new(ErrorKind::UnsupportedVersion, "the ends file is of another version")
            .advise("open the directory with the version of ottla that wrote it, or a newer one"));
    }
    Err(Error::corrupt("the ends file does not begin as one")
        .advise("restore it from a copy; nothing in the directory was changed"))
}

fn read_group(group: &[u8]) -> Vec<Cell> {
    let (first, second) = group.split_at(BLOCK.min(group.len()));
    let slot = |block: &[u8], number: usize| {
        let from = number.saturating_mul(SLOT_LEN);
        Slot::decode(block.get(from..from.saturating_add(SLOT_LEN))?)
    };
    (0..SLOTS_PER_BLOCK).map(|number| choose(slot(first, number), slot(second, number))).collect()
}

/// The newer of two twins counts; a bad one leaves it to the other.
fn choose(first: Option<Slot>, second: Option<Slot>) -> Cell {
    let second_is_newer = match (first, second) {
        (Some(_), Some(_)) if mutant::is(Mutant::OlderTwinCounts) => false,
        (Some(first), Some(second)) => second.sequence > first.sequence,
        (first, _) => first.is_none(),
    };
    let (newest, durable) = if second_is_newer { (second, Twin::Second) } else { (first, Twin::First) };
    Cell {
        newest: newest.map(|slot| (slot.owner, slot.end)),
        last: None,
        sequence: newest.map_or(0, |slot| slot.sequence),
        durable,
        written: false,
        waiting: false,
        writing: false,
        alone: first.is_none() || second.is_none(),
    }
}

/// Where the slot of a cell lies.
pub(super) fn position(cell: usize, twin: Twin) -> u64 {
    let group = cell.checked_div(SLOTS_PER_BLOCK).unwrap_or_default();
    let number = cell.checked_rem(SLOTS_PER_BLOCK).unwrap_or_default();
    let block = match twin {
        Twin::First => group.saturating_mul(2).saturating_add(1),
        Twin::Second => group.saturating_mul(2).saturating_add(2),
    };
    block.saturating_mul(BLOCK).saturating_add(number.saturating_mul(SLOT_LEN)) as u64
}
