//! The state of the file system: names, files, and the order in which everything was done to them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::content::Content;
use super::file::File;
use super::tree::{self, EntryChange, Id, Names, ROOT, Tree};
use crate::vfs::{EntryKind, OpenMode};

/// Everything that the file system knows.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The names that this process sees.
    pub cached: Tree,
    /// The names that are on the disk for certain.
    pub durable: Tree,
    /// What was done to the first and is not certain in the second, in the order of doing.
    pub changes: Vec<(u64, EntryChange)>,
    pub files: BTreeMap<Id, File>,
    /// Up to this change all are durable, on a disk that keeps the order of everything.
    pub ordered_up_to: u64,
    /// Up to this change those of lengths and names are durable, in a file system with one journal for them.
    pub journal_up_to: u64,
    sequence: u64,
    next_id: Id,
    /// How often somebody asked for chance; a crash does not take it back, or an id would come twice.
    randoms: u64,
}

impl Disk {
    pub fn new() -> Self {
        Self::settled(Tree::new(), BTreeMap::new())
    }

    /// A disk on which nothing is pending.
    pub fn settled(tree: Tree, files: BTreeMap<Id, File>) -> Self {
        let newest = tree.named().chain([ROOT]).max().unwrap_or(ROOT);
        Self {
            cached: tree.clone(),
            durable: tree,
            changes: Vec::new(),
            files,
            ordered_up_to: 0,
            journal_up_to: 0,
            sequence: 0,
            next_id: newest + 1,
            randoms: 0,
        }
    }

    /// The same disk, where chance goes on as on the other.
    pub fn with_chance_of(self, other: &Self) -> Self {
        Self { randoms: other.randoms, ..self }
    }

    /// Bytes that are not given out twice.
    pub fn random(&mut self) -> [u8; 16] {
        self.randoms += 1;
        fastrand::Rng::with_seed(self.randoms).u128(..).to_be_bytes()
    }

    /// A copy that shares no handle with this one.
    pub fn fork(&self) -> Self {
        let mut fork = self.clone();
        fork.files.values_mut().for_each(|file| file.open = Arc::default());
        fork
    }

    // ---- Names ----

    pub fn find(&self, path: &Path) -> io::Result<Id> {
        Ok(self.cached.find(path)?.ok_or(io::ErrorKind::NotFound)?)
    }

    pub fn kind(&self, id: Id) -> EntryKind {
        if self.cached.is_directory(id) { EntryKind::Directory } else { EntryKind::File }
    }

    pub fn open(&mut self, path: &Path, how: OpenMode) -> io::Result<Id> {
        match (self.cached.find(path)?, how) {
            (None, OpenMode::Read | OpenMode::Write) => Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateNew | OpenMode::CreateEmpty) => {
                let at = self.cached.place(path)?;
                let id = self.new_id();
                self.files.insert(id, File::default());
                self.change(EntryChange::Put(at, id));
                Ok(id)
            }
            (Some(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(id), _) if self.cached.is_directory(id) => Err(io::ErrorKind::IsADirectory.into()),
            (Some(id), OpenMode::CreateEmpty) => {
                self.set_len(id, 0);
                Ok(id)
            }
            (Some(id), OpenMode::Read | OpenMode::Write | OpenMode::Create) => Ok(id),
        }
    }

    pub fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.cached.find(path)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = self.cached.place(path)?;
        let id = self.new_id();
        self.cached.add_directory(id);
        self.durable.add_directory(id);
        self.change(EntryChange::Put(at, id));
        Ok(())
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (id, there) = (self.find(from)?, self.cached.find(to)?);
        match (self.kind(id), there.map(|there| self.kind(there))) {
            (_, None) | (EntryKind::File, Some(EntryKind::File)) => {}
            (EntryKind::File, Some(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            (_, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        let (from, to) = (self.cached.place(from)?, self.cached.place(to)?);
        if self.cached.is_inside(to.directory, id) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if there != Some(id) {
            self.change(EntryChange::Move(from, to, id));
        }
        Ok(())
    }

    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        if self.cached.is_directory(id) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let at = self.cached.place(path)?;
        self.change(EntryChange::Take(at, id));
        Ok(())
    }

    pub fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        if !self.cached.names(id).ok_or(io::ErrorKind::NotADirectory)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let at = self.cached.place(path)?;
        self.change(EntryChange::Take(at, id));
        Ok(())
    }

    /// The names in a directory, and whatever must come before them, are on the disk.
    pub fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        if !self.cached.is_directory(id) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let settled = tree::settled_with(id, &self.changes);
        for (_, change) in self.changes.iter().filter(|(sequence, _)| settled.contains(sequence)) {
            self.durable.apply(change);
        }
        self.changes.retain(|(sequence, _)| !settled.contains(sequence));
        self.note_synced(settled.last().copied());
        self.forget_nameless();
        Ok(())
    }

    /// Makes a change of names, and keeps it in mind until a sync.
    fn change(&mut self, change: EntryChange) {
        let sequence = self.next_sequence();
        self.cached.apply(&change);
        self.changes.push((sequence, change));
    }

    // ---- Files ----

    /// The file behind an open handle, which keeps it.
    pub fn file(&mut self, id: Id) -> &mut File {
        self.files.entry(id).or_default()
    }

    pub fn write(&mut self, id: Id, bytes: &[u8], position: u64) {
        let sequence = self.next_sequence();
        self.file(id).write(bytes, position, sequence);
    }

    pub fn set_len(&mut self, id: Id, len: u64) {
        let sequence = self.next_sequence();
        self.file(id).set_len(len, sequence);
    }

    pub fn sync(&mut self, id: Id) {
        let newest = self.file(id).sync();
        self.note_synced(newest);
    }

    // ---- Both ----

    /// A hash of every name and byte that this process sees.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, id) in self.cached.walk() {
            path.hash(&mut hasher);
            self.files.get(&id).map(|file: &File| -> &Content { &file.cached }).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn new_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id - 1
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// A sync that had something to do commits the journal, and with it every name and length so far.
    fn note_synced(&mut self, newest: Option<u64>) {
        if let Some(newest) = newest {
            self.ordered_up_to = self.ordered_up_to.max(newest);
            self.journal_up_to = self.sequence;
        }
    }

    /// Lets go of what has no name any more, cannot get one back in a crash, and is not open.
    fn forget_nameless(&mut self) {
        let kept = self.nameable();
        self.files.retain(|id, file| kept.contains(id) || Arc::strong_count(&file.open) > 1);
        self.changes.retain(|(_, change)| change.directories().iter().any(|id| kept.contains(id)));
        self.cached.retain(&kept);
        self.durable.retain(&kept);
    }

    /// Everything that has a path, or has one in some image.
    fn nameable(&self) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if !found.insert(id) {
                continue;
            }
            let trees = [&self.cached, &self.durable];
            open.extend(trees.iter().filter_map(|tree| tree.names(id)).flat_map(Names::values));
            let changes = self.changes.iter().map(|(_, change)| change);
            let inside = changes.filter(|change| change.directories().contains(&id));
            open.extend(inside.map(EntryChange::id));
        }
        found
    }
}
