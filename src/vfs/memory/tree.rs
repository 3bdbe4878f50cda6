//! The names of a file system: directories, and what can happen to their entries.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

/// A file or directory, whatever its name is now.
pub type Id = u64;
/// The root directory.
pub const ROOT: Id = 0;

/// The entries of one directory.
pub type Names = BTreeMap<OsString, Id>;

/// Directories with their entries; what is in no directory's entries has no name. Nothing has two.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<Id, Names>);

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub directory: Id,
    pub name: OsString,
}

/// A change of directory entries, which happens whole or not at all.
#[derive(Clone, Debug)]
pub enum EntryChange {
    /// A file or directory was created.
    Put(Place, Id),
    /// It was removed.
    Take(Place, Id),
    /// It was renamed, from the first place to the second.
    Move(Place, Place, Id),
}

impl EntryChange {
    pub fn id(&self) -> Id {
        match self {
            Self::Put(_, id) | Self::Take(_, id) | Self::Move(_, _, id) => *id,
        }
    }

    /// The directories whose entries it changes.
    pub fn directories(&self) -> [Id; 2] {
        match self {
            Self::Put(at, _) | Self::Take(at, _) => [at.directory; 2],
            Self::Move(from, to, _) => [from.directory, to.directory],
        }
    }
}

/// Those of the changes that are durable once `directory` is synced: its own, and, since a rename between two
/// directories is one change of both, whatever came before such a one in the other.
pub fn settled_with(directory: Id, changes: &[(u64, EntryChange)]) -> BTreeSet<u64> {
    let mut limits = BTreeMap::from([(directory, u64::MAX)]);
    let mut settled = BTreeSet::new();
    for (sequence, change) in changes.iter().rev() {
        let directories = change.directories();
        if directories.iter().any(|id| limits.get(id).is_some_and(|limit| sequence <= limit)) {
            settled.insert(*sequence);
            for id in directories {
                let limit = limits.entry(id).or_insert(*sequence);
                *limit = (*limit).max(*sequence);
            }
        }
    }
    settled
}

impl Tree {
    /// A root without entries.
    pub fn new() -> Self {
        Self(BTreeMap::from([(ROOT, Names::new())]))
    }

    pub fn add_directory(&mut self, id: Id) {
        self.0.entry(id).or_default();
    }

    /// The entries of a directory; `None` if it is a file.
    pub fn names(&self, id: Id) -> Option<&Names> {
        self.0.get(&id)
    }

    pub fn is_directory(&self, id: Id) -> bool {
        self.0.contains_key(&id)
    }

    pub fn find(&self, path: &Path) -> io::Result<Option<Id>> {
        let mut at = ROOT;
        for name in names_of(path)? {
            match self.names(at).ok_or(io::ErrorKind::NotADirectory)?.get(name) {
                Some(id) => at = *id,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The place that a path names, in a directory that exists.
    pub fn place(&self, path: &Path) -> io::Result<Place> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let directory = self.find(parent)?.ok_or(io::ErrorKind::NotFound)?;
        if !self.is_directory(directory) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Place { directory, name: name.to_owned() })
    }

    pub fn at(&self, place: &Place) -> Option<Id> {
        self.names(place.directory)?.get(&place.name).copied()
    }

    /// Makes a change that may have been preceded by others than at the time of its making: what it creates or
    /// moves gets its name, and loses any other; what it removes may have gone already.
    pub fn apply(&mut self, change: &EntryChange) {
        match change {
            EntryChange::Put(at, id) => self.put(at, *id),
            EntryChange::Take(at, id) if self.at(at) == Some(*id) => self.take(at),
            EntryChange::Take(..) => {}
            EntryChange::Move(_, to, id) if self.is_inside(to.directory, *id) => {}
            EntryChange::Move(_, to, id) => {
                self.0.values_mut().for_each(|names| names.retain(|_, named| named != id));
                self.put(to, *id);
            }
        }
    }

    fn put(&mut self, at: &Place, id: Id) {
        self.0.entry(at.directory).or_default().insert(at.name.clone(), id);
    }

    fn take(&mut self, at: &Place) {
        if let Some(names) = self.0.get_mut(&at.directory) {
            names.remove(&at.name);
        }
    }

    /// True if `inner` is `outer`, or lies somewhere below it.
    pub fn is_inside(&self, inner: Id, outer: Id) -> bool {
        let below = || self.names(outer).into_iter().flat_map(Names::values);
        inner == outer || below().any(|id| self.is_inside(inner, *id))
    }

    /// Everything that has a path, with it; a directory before what is in it.
    pub fn walk(&self) -> Vec<(PathBuf, Id)> {
        let mut found = vec![(PathBuf::from("/"), ROOT)];
        let mut at = 0;
        while at < found.len() {
            let (path, id) = found[at].clone();
            let names = self.names(id).into_iter().flatten();
            found.extend(names.map(|(name, id)| (path.join(name), *id)));
            at += 1;
        }
        found
    }

    /// Every file and directory that some entry names.
    pub fn named(&self) -> impl Iterator<Item = Id> {
        self.0.values().flat_map(Names::values).copied()
    }

    /// Forgets the directories that are not among `kept`.
    pub fn retain(&mut self, kept: &BTreeSet<Id>) {
        self.0.retain(|id, _| kept.contains(id));
    }
}

/// The names on an absolute path, the root's not among them.
fn names_of(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut components = path.components();
    if components.next() != Some(Component::RootDir) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let names = components.map(|component| match component {
        Component::Normal(name) => Ok(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    });
    names.collect()
}
