//! The directory into which a salvage copies: nobody else's, and marked as unfinished until all of it is there.
//!
//! The marker comes first and goes last, so that what a killed salvage has left is told from damage, and from anything
//! that somebody else keeps there. A salvage of the same source takes it up again, from the beginning.

use std::io;
use std::path::Path;

use super::FileKind;
use super::small_files::most;
use super::survey::Survey;
use crate::broker::{take_lock, unfinished_salvage};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{ENDS, LOCK, MANIFEST, SALVAGING, is_salvage_mark, parse_partition_dir, temporary};
use crate::vfs::{DirEntry, EntryKind, Vfs, VfsLock, read_file, replace_file};

/// A target that is held locked.
#[derive(Debug)]
pub struct Target<'a> {
    vfs: &'a dyn Vfs,
    root: &'a Path,
    _lock: Box<dyn VfsLock>,
}

/// What stands at the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    /// At most what a salvage has made that did not come to its marker.
    Empty,
    /// A salvage of the same source was not finished.
    Unfinished,
}

impl<'a> Target<'a> {
    /// Fails if the directory is anything but empty, missing, or what a salvage of this source has left; changes nothing.
    pub fn check(vfs: &dyn Vfs, from: &Path, to: &Path) -> Result<()> {
        state(vfs, from, to).map(|_| ())
    }

    /// Makes it an empty directory with a marker, durably, that is locked.
    pub fn claim(vfs: &'a dyn Vfs, from: &Path, to: &'a Path) -> Result<Self> {
        if state(vfs, from, to)? == State::Missing {
            vfs.create_dir(to).doing("create the directory", to)?;
        }
        if let Some(parent) = to.parent() {
            vfs.sync_dir(parent).doing("sync", parent)?;
        }
        let lock = take_lock(vfs, to)?;
        // Once more, now that nobody else can change it.
        let state = state(vfs, from, to)?;
        let holder = format!("process {}, which salvages into it\n", std::process::id());
        lock.write_text(&holder).doing("write", &to.join(LOCK))?;
        match state {
            State::Unfinished => clear(vfs, to)?,
            State::Missing | State::Empty => {
                replace_file(vfs, to, SALVAGING, marker(from).as_bytes())
                    .doing("write", &to.join(SALVAGING))?;
            }
        }
        Ok(Self { vfs, root: to, _lock: lock })
    }

    /// Removes the marker, durably: all of it is there, and on stable storage.
    pub fn finish(self) -> Result<()> {
        let marker = self.root.join(SALVAGING);
        self.vfs.remove_file(&marker).doing("remove", &marker)?;
        self.vfs.sync_dir(self.root).doing("sync", self.root)
    }
}

/// Fails if a salvage into the directory was not finished.
pub fn require_finished(survey: &Survey) -> Result<()> {
    match survey.entries.iter().any(|entry| is_salvage_mark(&entry.name)) {
        true => Err(unfinished_salvage(&survey.root)),
        false => Ok(()),
    }
}

/// What the marker says: its form, and what was being salvaged.
fn marker(from: &Path) -> String {
    format!("ottla salvaging 1\nfrom {from:?}\n")
}

fn state(vfs: &dyn Vfs, from: &Path, to: &Path) -> Result<State> {
    if to.starts_with(from) {
        return Err(refused(to, "the new directory would lie in the one that is to be salvaged"));
    }
    if from.starts_with(to) {
        return Err(refused(to, "the directory that is to be salvaged lies in the new one"));
    }
    let entries = match vfs.read_dir(to) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Missing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(refused(to, "there is something that is no directory"));
        }
        Err(error) => return Err(error).doing("list", to),
    };
    if !entries.iter().any(|entry| entry.name == SALVAGING) {
        let is_empty = entries.iter().all(|entry| entry.name == LOCK || is_salvage_mark(&entry.name));
        return match is_empty {
            true => Ok(State::Empty),
            false if entries.iter().any(|entry| entry.name == MANIFEST) => Err(taken(to)),
            false => Err(refused(to, "the directory is not empty")),
        };
    }
    let path = to.join(SALVAGING);
    let text = read_file(vfs, &path, most(FileKind::Salvaging)).doing("read", &path)?;
    if text != marker(from).as_bytes() {
        let text = String::from_utf8_lossy(&text);
        let other = text.lines().nth(1).and_then(|line| line.strip_prefix("from ")).unwrap_or("another one");
        return Err(refused(to, &format!("a salvage of {other} into this directory was not finished")));
    }
    for entry in &entries {
        check_entry(vfs, to, entry)?;
    }
    Ok(State::Unfinished)
}

/// What no salvage has made is somebody's, and is not removed.
fn check_entry(vfs: &dyn Vfs, to: &Path, entry: &DirEntry) -> Result<()> {
    let refuse = |name: &str| {
        let what = format!(
            "a salvage into this directory was not finished, and it holds {name:?}, which no salvage makes"
        );
        Err(refused(to, &what))
    };
    let name = entry.name.as_str();
    if entry.kind == EntryKind::Directory && parse_partition_dir(name).is_some() {
        let dir = to.join(name);
        let inside = vfs.read_dir(&dir).doing("list", &dir)?;
        let foreign = inside.iter().find(|file| file.kind != EntryKind::File || !is_of_partition(&file.name));
        return foreign.map_or(Ok(()), |file| refuse(&format!("{name}/{}", file.name)));
    }
    let at_root = [LOCK, ENDS, MANIFEST, &temporary(MANIFEST)];
    if entry.kind == EntryKind::File && (is_salvage_mark(name) || at_root.contains(&name)) {
        return Ok(());
    }
    refuse(name)
}

fn is_of_partition(name: &str) -> bool {
    use FileKind::{
        LeaderEpochs, Log, OffsetIndex, PartitionMetadata, Temporary, TimeIndex, TransactionIndex,
    };
    let kind = FileKind::of(name).0;
    [Log, OffsetIndex, TimeIndex, TransactionIndex, LeaderEpochs, PartitionMetadata, Temporary]
        .contains(&kind)
}

/// Removes what a salvage has left, durably, but for the marker and the lock.
fn clear(vfs: &dyn Vfs, to: &Path) -> Result<()> {
    for entry in vfs.read_dir(to).doing("list", to)? {
        let path = to.join(&entry.name);
        if entry.kind == EntryKind::Directory {
            for file in vfs.read_dir(&path).doing("list", &path)? {
                let file = path.join(&file.name);
                vfs.remove_file(&file).doing("remove", &file)?;
            }
            vfs.remove_dir(&path).doing("remove", &path)?;
        } else if ![SALVAGING, LOCK].contains(&entry.name.as_str()) {
            vfs.remove_file(&path).doing("remove", &path)?;
        }
    }
    vfs.sync_dir(to).doing("sync", to)
}

/// A salvage that was killed behind its last step has not said that it is done. What it has made may have been used since.
fn taken(to: &Path) -> Error {
    Error::new(ErrorKind::DirectoryNotOurs, "the directory is not empty: it is a data directory")
        .in_file(to)
        .advise(
            "if a salvage has made it, that one was finished: verify it, and use it; else name a directory that is empty, \
             or not there yet; nothing was written",
        )
}

fn refused(to: &Path, what: &str) -> Error {
    Error::new(ErrorKind::DirectoryNotOurs, what)
        .in_file(to)
        .advise("name a directory that is empty, or not there yet; nothing was written")
}
