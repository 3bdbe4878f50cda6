//! What a crash may do: the profiles, and the things that each of them leaves to chance.

use std::collections::{BTreeMap, BTreeSet};

use super::content::end_of;
use super::disk::Disk;
use super::file::{File, SectorWrite};
use super::tree::{EntryChange, Id};

/// How a disk and its file system treat what was not synced, when the power goes. What was synced is there in
/// all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashProfile {
    /// Nothing else is there.
    Strict,
    /// All changes up to some point are there, in the order in which they were made; a write at that point is
    /// torn at any sector. A sync makes everything before it durable.
    Prefix,
    /// Names and lengths are there up to some point, in the order in which they were made, and a sync of
    /// anything commits all of them so far. Of the unsynced data any sectors are there: a length without its
    /// data makes a tail of zeros.
    Ordered,
    /// Each unsynced sector is old, new, zeros or garbage, each file has any of its lengths, and of the changes
    /// of names any are there. The bytes of a sector that nobody wrote to stay.
    Adversarial,
    /// [`Adversarial`](Self::Adversarial), and a sector that is written may lose its other bytes as well. No
    /// log that appends to a partly filled sector survives this one.
    AdversarialTornSectors,
}

/// What becomes of one sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// As it was at the last sync.
    Old,
    /// As the change with this sequence number left it.
    Written(u64),
    Zeros,
    Garbage,
}

/// A length that a crash may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// The changes of the length up to this one have happened.
    pub changed_up_to: u64,
    /// The length, which a torn write may have brought a bit further.
    pub len: u64,
}

/// A place where all that was done before is there, and nothing behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub up_to: u64,
    /// Of the change behind it, one of this file, so many sectors are there as well.
    pub torn: Option<(Id, usize)>,
}

/// A thing that is left to chance, with what can become of it: first the one with which nothing has happened.
#[derive(Clone, Debug)]
pub enum Item {
    Point(Vec<Point>),
    /// Names and lengths up to which change.
    Journal(Vec<u64>),
    Length(Id, Vec<Length>),
    Sector(Id, u64, Vec<Choice>),
    /// A change of names, by its number: not done, or done.
    Entry(u64),
}

impl Item {
    /// How many things can become of it.
    pub fn options(&self) -> usize {
        match self {
            Self::Point(options) => options.len(),
            Self::Journal(options) => options.len(),
            Self::Length(_, options) => options.len(),
            Self::Sector(_, _, options) => options.len(),
            Self::Entry(_) => 2,
        }
    }

    /// The option with which everything has happened.
    pub fn newest(&self) -> usize {
        let last = self.options().saturating_sub(1);
        match self {
            Self::Sector(_, _, options) => {
                options.iter().rposition(|choice| matches!(choice, Choice::Written(_))).unwrap_or(last)
            }
            _ => last,
        }
    }

    /// The number of the change at which everything of it has happened.
    fn complete_at(&self) -> u64 {
        match self {
            Self::Point(options) => options.last().map_or(0, |point| point.up_to),
            Self::Journal(options) => options.last().copied().unwrap_or_default(),
            Self::Length(_, options) => options.last().map_or(0, |length| length.changed_up_to),
            Self::Sector(_, _, options) => match options.get(self.newest()) {
                Some(Choice::Written(sequence)) => *sequence,
                _ => 0,
            },
            Self::Entry(sequence) => *sequence,
        }
    }
}

/// Everything that one crash did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The changes of names that are there.
    pub entries: BTreeSet<u64>,
    pub files: BTreeMap<Id, FileOutcome>,
}

/// What became of a file with pending changes.
#[derive(Clone, Debug)]
pub struct FileOutcome {
    pub length: Length,
    /// The sectors that are not as at the last sync.
    pub sectors: BTreeMap<u64, Choice>,
}

/// What the profile leaves to chance, in the order in which it was done.
pub fn items(profile: CrashProfile, disk: &Disk) -> Vec<Item> {
    let mut items = match profile {
        CrashProfile::Strict => Vec::new(),
        CrashProfile::Prefix => vec![Item::Point(points(disk))],
        CrashProfile::Ordered => {
            let mut items = vec![Item::Journal(journal_ends(disk))];
            items.extend(unsettled(disk).flat_map(|(id, file)| sector_items(id, file, &[])));
            items
        }
        CrashProfile::Adversarial | CrashProfile::AdversarialTornSectors => {
            let mut items: Vec<_> = disk.changes.iter().map(|(sequence, _)| Item::Entry(*sequence)).collect();
            for (id, file) in unsettled(disk) {
                let lengths = lengths(file);
                items.extend((lengths.len() > 1).then_some(Item::Length(id, lengths)));
                items.extend(sector_items(id, file, &[Choice::Zeros, Choice::Garbage]));
            }
            items
        }
    };
    items.sort_by_key(Item::complete_at);
    items
}

/// The files with pending changes that may have a name after a crash.
pub fn unsettled(disk: &Disk) -> impl Iterator<Item = (Id, &File)> {
    let mut named: BTreeSet<_> = disk.durable.named().collect();
    named.extend(disk.changes.iter().map(|(_, change)| EntryChange::id(change)));
    let files = disk.files.iter().map(|(id, file)| (*id, file));
    files.filter(move |(id, file)| !file.pending.is_empty() && named.contains(id))
}

fn points(disk: &Disk) -> Vec<Point> {
    let mut points = vec![Point { up_to: disk.ordered_up_to, torn: None }];
    let mut steps: BTreeMap<u64, Option<(Id, usize)>> =
        disk.changes.iter().map(|(sequence, _)| (*sequence, None)).collect();
    for (id, file) in unsettled(disk) {
        steps.extend(file.pending.iter().map(|change| (change.sequence, Some((id, change.sectors.len())))));
    }
    for (sequence, write) in steps.split_off(&(disk.ordered_up_to + 1)) {
        if let Some((id, sectors)) = write {
            let tears = (1..sectors).map(|there| Point { up_to: sequence - 1, torn: Some((id, there)) });
            points.extend(tears);
        }
        points.push(Point { up_to: sequence, torn: None });
    }
    points
}

fn journal_ends(disk: &Disk) -> Vec<u64> {
    let names = disk.changes.iter().map(|(sequence, _)| *sequence);
    let lengths = unsettled(disk).flat_map(|(_, file)| &file.pending).filter(|change| change.len.is_some());
    let ends: BTreeSet<_> = names.chain(lengths.map(|change| change.sequence)).collect();
    [disk.journal_up_to].into_iter().chain(ends.into_iter().filter(|end| *end > disk.journal_up_to)).collect()
}

/// The lengths that a file went through since its last sync; a write that extends gets there sector by sector.
fn lengths(file: &File) -> Vec<Length> {
    let mut last = Length { changed_up_to: 0, len: file.durable.len() };
    let mut lengths = vec![last];
    for change in &file.pending {
        let Some(len) = change.len else { continue };
        let ends = change.sectors.iter().map(|write| end_of(write.part.sector));
        let on_the_way = ends.filter(|end| last.len < *end && *end < len);
        lengths.extend(on_the_way.map(|end| Length { len: end, ..last }));
        last = Length { changed_up_to: change.sequence, len };
        lengths.push(last);
    }
    lengths
}

fn sector_items(id: Id, file: &File, damage: &[Choice]) -> Vec<Item> {
    let sectors = writes(file).into_iter();
    let choices = |writes: Vec<(u64, &SectorWrite)>| {
        let written = writes.into_iter().map(|(sequence, _)| Choice::Written(sequence));
        [Choice::Old].into_iter().chain(written).chain(damage.iter().copied()).collect()
    };
    sectors.map(|(sector, writes)| Item::Sector(id, sector, choices(writes))).collect()
}

/// What is pending for each sector, oldest first, with the numbers of the changes.
pub fn writes(file: &File) -> BTreeMap<u64, Vec<(u64, &SectorWrite)>> {
    let mut sectors: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for change in &file.pending {
        for write in &change.sectors {
            sectors.entry(write.part.sector).or_default().push((change.sequence, write));
        }
    }
    sectors
}

/// What happens if each of the items becomes the option that was picked for it.
pub fn outcome(disk: &Disk, items: &[Item], picks: &[usize]) -> Outcome {
    let untouched = unsettled(disk).map(|(id, file)| (id, FileOutcome::at(file, 0)));
    let mut outcome = Outcome { entries: BTreeSet::new(), files: untouched.collect() };
    for (item, pick) in items.iter().zip(picks) {
        outcome.settle(disk, item, *pick);
    }
    outcome
}

impl Outcome {
    fn settle(&mut self, disk: &Disk, item: &Item, pick: usize) {
        match item {
            Item::Point(points) => points[pick..].iter().take(1).for_each(|point| self.reach(disk, *point)),
            Item::Journal(ends) => ends[pick..].iter().take(1).for_each(|end| self.commit(disk, *end)),
            Item::Entry(sequence) if pick > 0 => _ = self.entries.insert(*sequence),
            Item::Entry(_) => {}
            Item::Length(id, lengths) => {
                if let Some(file) = self.files.get_mut(id) {
                    file.length = lengths[pick];
                }
            }
            Item::Sector(id, sector, choices) => {
                if let Some(file) = self.files.get_mut(id).filter(|_| choices[pick] != Choice::Old) {
                    file.sectors.insert(*sector, choices[pick]);
                }
            }
        }
    }

    /// Names and lengths up to a change.
    fn commit(&mut self, disk: &Disk, end: u64) {
        let entries = disk.changes.iter().map(|(sequence, _)| *sequence);
        self.entries = entries.filter(|sequence| *sequence <= end).collect();
        for (id, outcome) in &mut self.files {
            outcome.length = disk.files.get(id).map_or(outcome.length, |file| length_at(file, end));
        }
    }

    /// Everything up to a point.
    fn reach(&mut self, disk: &Disk, point: Point) {
        self.commit(disk, point.up_to);
        for (id, outcome) in &mut self.files {
            let Some(file) = disk.files.get(id) else { continue };
            *outcome = FileOutcome::at(file, point.up_to);
            if let Some((_, there)) = point.torn.filter(|(torn, _)| torn == id) {
                outcome.tear(file, point.up_to + 1, there);
            }
        }
    }
}

impl FileOutcome {
    fn at(file: &File, end: u64) -> Self {
        let done = file.pending.iter().take_while(|change| change.sequence <= end);
        let written = |change: u64| move |write: &SectorWrite| (write.part.sector, Choice::Written(change));
        let sectors = done.flat_map(|change| change.sectors.iter().map(written(change.sequence))).collect();
        Self { length: length_at(file, end), sectors }
    }

    /// Adds the first sectors of a change.
    fn tear(&mut self, file: &File, sequence: u64, there: usize) {
        let Some(change) = file.pending.iter().find(|change| change.sequence == sequence) else { return };
        for write in change.sectors.iter().take(there) {
            self.sectors.insert(write.part.sector, Choice::Written(sequence));
            if let Some(len) = change.len {
                self.length.len = self.length.len.max(end_of(write.part.sector).min(len));
            }
        }
    }
}

fn length_at(file: &File, end: u64) -> Length {
    let changes = file.pending.iter().take_while(|change| change.sequence <= end);
    let newest = changes.filter_map(|change| change.len.map(|len| (change.sequence, len))).last();
    let (changed_up_to, len) = newest.unwrap_or((0, file.durable.len()));
    Length { changed_up_to, len }
}
