//! One image: what is on the disk after a crash, and the words for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::sync::Arc;

use super::MemoryVfs;
use super::content::{Content, SECTOR, Sector, cut_sector};
use super::crash::{Choice, CrashProfile, FileOutcome, Outcome, writes};
use super::disk::Disk;
use super::file::{File, SectorWrite};
use super::tree::{EntryChange, Id, Tree};

/// What a crash left.
#[derive(Clone, Debug)]
pub struct Image {
    /// A file system in that state, with nothing pending, no lock held and no call failing.
    pub vfs: MemoryVfs,
    /// What became of the unsynced changes, for the report of a failure.
    pub description: String,
    /// What occurs in it, for the statistics of a suite.
    pub classes: BTreeSet<ImageClass>,
}

/// What an image may show, as far as one can tell without knowing formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageClass {
    /// Some sectors of a write are there, and others are not.
    TornWrite,
    /// Zeros where something was written, with something that was written behind them.
    Hole,
    /// The file ends with zeros that nobody wrote.
    ZeroTail,
    /// A sector holds what nobody wrote.
    Garbage,
    /// A file or directory that was created is not there.
    LostEntry,
    /// A rename has not happened: the old name is there, or what it replaced.
    UndoneRename,
    /// A file or directory that was removed is there.
    UndoneRemoval,
    /// A file that was cut is longer than that.
    UndoneTruncation,
    /// Bytes that reads saw up to the crash are not there, because a failed sync had lost them.
    Ghost,
}

impl fmt::Display for ImageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TornWrite => "torn write",
            Self::Hole => "hole",
            Self::ZeroTail => "zero tail",
            Self::Garbage => "garbage",
            Self::LostEntry => "lost entry",
            Self::UndoneRename => "undone rename",
            Self::UndoneRemoval => "undone removal",
            Self::UndoneTruncation => "undone truncation",
            Self::Ghost => "ghost",
        })
    }
}

/// The disk as the crash leaves it.
pub fn crashed(disk: &Disk, profile: CrashProfile, outcome: &Outcome) -> Disk {
    let mut names = disk.durable.clone();
    for (_, change) in disk.changes.iter().filter(|(sequence, _)| outcome.entries.contains(sequence)) {
        names.apply(change);
    }
    let there: BTreeSet<_> = names.walk().into_iter().map(|(_, id)| id).collect();
    names.retain(&there);
    let files = disk.files.iter().filter(|(id, _)| there.contains(id));
    let left = |id: &Id, file: &File| match outcome.files.get(id) {
        Some(outcome) => content(*id, file, profile, outcome),
        None => file.durable.clone(),
    };
    let files = files.map(|(id, file)| (*id, File::settled(left(id, file)))).collect();
    Disk::settled(names, files).with_chance_of(disk)
}

fn content(id: Id, file: &File, profile: CrashProfile, outcome: &FileOutcome) -> Content {
    let mut content = file.durable.clone();
    for len in lengths_behind(file, outcome, 0) {
        content.set_len(len);
    }
    let written = if outcome.sectors.is_empty() { BTreeMap::new() } else { writes(file) };
    for (sector, choice) in &outcome.sectors {
        let Some(writes) = written.get(sector) else { continue };
        let (sequence, mut bytes) = match choice {
            Choice::Old => continue,
            Choice::Written(change) => {
                let write = writes.iter().find(|(sequence, _)| sequence == change);
                let Some((sequence, write)) = write else { continue };
                (*sequence, *write.bytes)
            }
            Choice::Zeros => damaged(writes, &file.durable.sector(*sector), profile, &[0; SECTOR]),
            Choice::Garbage => damaged(writes, &file.durable.sector(*sector), profile, &garbage(id, *sector)),
        };
        for len in lengths_behind(file, outcome, sequence) {
            cut_sector(&mut bytes, *sector, len);
        }
        content.put(*sector, Arc::new(bytes));
    }
    // A sector may have come to the disk, and the length that reaches it not.
    content.set_len(outcome.length.len);
    content
}

/// The lengths that the file was given behind a change, as far as they have come to the disk.
fn lengths_behind(file: &File, outcome: &FileOutcome, sequence: u64) -> impl Iterator<Item = u64> {
    let there = sequence + 1..=outcome.length.changed_up_to;
    file.pending.iter().filter(move |change| there.contains(&change.sequence)).filter_map(|change| change.len)
}

/// A sector whose writes went wrong, and the number of the last of them. Only a profile with torn sectors
/// touches bytes that nobody wrote to.
fn damaged(
    writes: &[(u64, &SectorWrite)],
    old: &Sector,
    profile: CrashProfile,
    with: &Sector,
) -> (u64, Sector) {
    let mut bytes = *old;
    for (_, write) in writes {
        let range = match profile {
            CrashProfile::AdversarialTornSectors => 0..SECTOR,
            _ => write.part.range.clone(),
        };
        bytes[range.clone()].copy_from_slice(&with[range]);
    }
    (writes.last().map_or(0, |(sequence, _)| *sequence), bytes)
}

fn garbage(id: Id, sector: u64) -> Sector {
    let mut bytes = [0; SECTOR];
    fastrand::Rng::with_seed(id.rotate_left(32) ^ sector).fill(&mut bytes);
    bytes
}

// ---- Words ----

/// Compares what the crash left with what the process saw.
pub fn classes(disk: &Disk, outcome: &Outcome, image: &Disk) -> BTreeSet<ImageClass> {
    let mut classes = BTreeSet::new();
    classes.extend(undone_entries(disk, outcome, &image.cached));
    for (id, there) in &image.files {
        let Some(file) = disk.files.get(id) else { continue };
        classes.extend(file.lost().next().map(|_| ImageClass::Ghost));
        if let Some(outcome) = outcome.files.get(id) {
            let seen = [
                (is_torn(file, outcome), ImageClass::TornWrite),
                (has_hole(file, outcome, &there.durable), ImageClass::Hole),
                (has_zero_tail(file, &there.durable), ImageClass::ZeroTail),
                (has_garbage(file, outcome), ImageClass::Garbage),
                (is_uncut(file, outcome), ImageClass::UndoneTruncation),
            ];
            classes.extend(seen.into_iter().filter(|(seen, _)| *seen).map(|(_, class)| class));
        }
    }
    classes
}

fn undone_entries(disk: &Disk, outcome: &Outcome, names: &Tree) -> BTreeSet<ImageClass> {
    use EntryChange::{Move, Put, Take};
    let ids = |tree: &Tree| -> BTreeSet<_> { tree.walk().into_iter().map(|(_, id)| id).collect() };
    let (seen, there) = (ids(&disk.cached), ids(names));
    let undone = disk.changes.iter().filter(|(sequence, _)| !outcome.entries.contains(sequence));
    let class = |change| match change {
        &Put(_, id) if seen.contains(&id) && !there.contains(&id) => Some(ImageClass::LostEntry),
        Move(_, to, id) if disk.cached.at(to) == Some(*id) && names.at(to) != Some(*id) => {
            Some(ImageClass::UndoneRename)
        }
        Take(_, id) if there.contains(id) => Some(ImageClass::UndoneRemoval),
        _ => None,
    };
    undone.filter_map(|(_, change)| class(change)).collect()
}

/// True if the sector is there as the change with this number left it, or newer.
fn has_arrived(outcome: &FileOutcome, write: &SectorWrite, sequence: u64) -> bool {
    let newer = |choice: &Choice| matches!(choice, Choice::Written(change) if *change >= sequence);
    is_inside(outcome, write) && outcome.sectors.get(&write.part.sector).is_some_and(newer)
}

fn is_inside(outcome: &FileOutcome, write: &SectorWrite) -> bool {
    write.part.position() < outcome.length.len
}

fn is_torn(file: &File, outcome: &FileOutcome) -> bool {
    file.pending.iter().any(|change| {
        let arrived = change.sectors.iter().filter(|write| has_arrived(outcome, write, change.sequence));
        (1..change.sectors.len()).contains(&arrived.count())
    })
}

fn has_hole(file: &File, outcome: &FileOutcome, there: &Content) -> bool {
    let mut missing = false;
    for writes in writes(file).into_values() {
        let Some((sequence, newest)) = writes.last().filter(|(_, write)| is_inside(outcome, write)) else {
            continue;
        };
        if missing && has_arrived(outcome, newest, *sequence) {
            return true;
        }
        let range = newest.part.range.clone();
        let zeros = |bytes: &Sector| bytes[range.clone()].iter().all(|byte| *byte == 0);
        missing |= zeros(&there.sector(newest.part.sector)) && !zeros(&newest.bytes);
    }
    false
}

fn has_zero_tail(file: &File, there: &Content) -> bool {
    let len = there.len();
    len <= file.cached.len() && there.zeros_before(len) > file.cached.zeros_before(len)
}

fn has_garbage(file: &File, outcome: &FileOutcome) -> bool {
    let is_garbage = |sector: &u64| outcome.sectors.get(sector) == Some(&Choice::Garbage);
    let mut writes = file.pending.iter().flat_map(|change| &change.sectors);
    writes.any(|write| is_garbage(&write.part.sector) && is_inside(outcome, write))
}

fn is_uncut(file: &File, outcome: &FileOutcome) -> bool {
    let mut before = file.durable.len();
    file.pending.iter().any(|change| {
        let len = change.len.unwrap_or(before);
        let is_cut = len < std::mem::replace(&mut before, len);
        is_cut && outcome.length.changed_up_to < change.sequence && outcome.length.len > len
    })
}

/// Names the profile, and whatever is not as the process saw it.
pub fn description(disk: &Disk, profile: CrashProfile, outcome: &Outcome) -> String {
    let paths = paths(disk);
    let path = |id: &Id| paths.get(id).map_or_else(|| format!("#{id}"), Clone::clone);
    let changes = disk.changes.iter().filter(|(sequence, _)| !outcome.entries.contains(sequence));
    let mut undone: Vec<_> = changes
        .map(|(_, change)| match change {
            EntryChange::Put(_, id) => format!("{} not created", path(id)),
            EntryChange::Take(at, id) => format!("{:?} not removed ({})", at.name, path(id)),
            EntryChange::Move(from, to, id) => {
                format!("{:?} not renamed to {:?} ({})", from.name, to.name, path(id))
            }
        })
        .collect();
    for (id, outcome) in &outcome.files {
        if let Some(file) = disk.files.get(id) {
            undone.extend(file_description(file, outcome).map(|what| format!("{}: {what}", path(id))));
        }
    }
    let what = if undone.is_empty() { "everything is there".to_owned() } else { undone.join("; ") };
    format!("{profile:?}: {what}")
}

/// A path for each file and directory: as the process saw it, or as it was before.
fn paths(disk: &Disk) -> BTreeMap<Id, String> {
    let walk = disk.durable.walk().into_iter().chain(disk.cached.walk());
    walk.map(|(path, id)| (id, path.display().to_string())).collect()
}

/// `None` if the file is as the process saw it.
fn file_description(file: &File, outcome: &FileOutcome) -> Option<String> {
    const MOST: usize = 16;
    let mut text = String::new();
    if outcome.length.len != file.cached.len() {
        _ = write!(text, " {} of {} bytes", outcome.length.len, file.cached.len());
    }
    let choices = writes(file).into_iter().filter_map(|(sector, writes)| {
        let choice = outcome.sectors.get(&sector).copied().unwrap_or(Choice::Old);
        let newest = writes.last().map(|(sequence, _)| Choice::Written(*sequence));
        (newest != Some(choice)).then_some((sector, choice))
    });
    let choices: Vec<_> = choices.collect();
    for (sector, choice) in choices.iter().take(MOST) {
        _ = write!(text, " sector {sector} {choice:?}");
    }
    if choices.len() > MOST {
        _ = write!(text, " and {} more sectors", choices.len() - MOST);
    }
    (!text.is_empty()).then(|| text.trim_start().to_owned())
}
