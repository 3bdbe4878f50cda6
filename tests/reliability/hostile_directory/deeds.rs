//! What strangers do to a directory.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::posix::make_node;

/// This machine, or this user, cannot do it.
pub struct Impossible(pub &'static str);

/// Something that stands where nothing of it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A link to a file like the one that was there, outside.
    Link,
    LinkToNothing,
    LinkToItself,
    /// Another name of a file outside.
    HardLink,
    Pipe,
    Socket,
    Directory,
    /// `/dev/null`, `/dev/zero` and `/dev/full`, by their numbers.
    Device(u32),
    Empty,
    /// A terabyte of nothing.
    Huge,
    /// What this user may not read, or nobody may write.
    Unreadable,
    Text,
}

const THINGS: [Thing; 14] = [
    Thing::Link,
    Thing::LinkToNothing,
    Thing::LinkToItself,
    Thing::HardLink,
    Thing::Pipe,
    Thing::Socket,
    Thing::Directory,
    Thing::Device(3),
    Thing::Device(5),
    Thing::Device(7),
    Thing::Empty,
    Thing::Huge,
    Thing::Unreadable,
    Thing::Text,
];

#[derive(Clone, Debug)]
pub enum Deed {
    /// In the place of a file.
    Replace(String, Thing),
    /// Beside ours.
    Add(String, Thing),
    /// In the place of the directory of a partition.
    ReplaceDirectory(&'static str, Thing),
    Remove(String),
    RemoveDirectory(&'static str),
}

/// Names that have nothing to do with us, or nearly.
const NAMES: [&str; 22] = [
    ".DS_Store",
    "Thumbs.db",
    "notes.txt",
    "a name with spaces\nand a line break",
    "lost+found",
    ".hidden",
    "synced-00",
    "synced-2.bak",
    "synced",
    "SYNCED-0",
    "synced--1",
    "synced-4294967296",
    "synced-99999999999999999999",
    "00000000000000000000.log",
    "synced-0/.DS_Store",
    "synced-0/00000000000000000000.log~",
    "synced-0/0.log",
    "synced-0/99999999999999999999.log",
    "synced-0/00000000000000000000.log.bak",
    "synced-0/00000000000000000000.LOG",
    "synced-0/00000000000000000000.log (copy)",
    "os-0/sub.directory",
];

/// Everything that is done to a directory that nobody has open.
pub fn all(files: &[String]) -> Vec<Deed> {
    let replaced = files.iter().flat_map(|file| THINGS.map(|thing| Deed::Replace(file.clone(), thing)));
    let added = NAMES.iter().flat_map(|name| {
        [Thing::Text, Thing::Directory, Thing::Pipe, Thing::Link]
            .map(|thing| Deed::Add((*name).to_owned(), thing))
    });
    let long = Deed::Add("x".repeat(255), Thing::Text);
    let odd = Deed::Add(String::from_utf8_lossy(b"not \xff utf-8").into_owned(), Thing::Text);
    let directories = ["synced-0", "os-0", "__consumer_offsets-0"].into_iter().flat_map(|name| {
        [Thing::Link, Thing::LinkToNothing, Thing::Pipe, Thing::Text, Thing::Directory]
            .map(|thing| Deed::ReplaceDirectory(name, thing))
    });
    replaced.chain(added).chain([long, odd]).chain(directories).collect()
}

/// What is done while somebody has it open.
pub fn edits(files: &[String]) -> Vec<Deed> {
    let removed = files.iter().map(|file| Deed::Remove(file.clone()));
    let things = [Thing::Empty, Thing::Link, Thing::Pipe, Thing::Text, Thing::Directory];
    let some = |file: &&String| !file.ends_with(".txnindex");
    let replaced = files
        .iter()
        .filter(some)
        .flat_map(move |file| things.map(|thing| Deed::Replace(file.clone(), thing)));
    let directories = ["synced-0", "os-0", "__consumer_offsets-0"].map(Deed::RemoveDirectory);
    removed.chain(replaced).chain(directories).collect()
}

impl Deed {
    pub fn apply(&self, data: &Path, outside: &Path) -> Result<(), Impossible> {
        match self {
            Self::Replace(file, thing) => {
                let path = data.join(file);
                match thing {
                    Thing::Huge => fs::File::options()
                        .write(true)
                        .open(path)
                        .and_then(|file| file.set_len(1 << 40))
                        .map_err(|_| Impossible("huge files refused by the file system")),
                    Thing::Unreadable => hide(&path),
                    // A file that is emptied in place, as an editor does.
                    Thing::Empty => fs::write(path, []).map_err(|_| Impossible("not emptied")),
                    _ => {
                        _ = fs::remove_file(&path);
                        thing.put(&path, &outside.join(file))
                    }
                }
            }
            Self::Add(name, thing) => {
                // The one name that is no text stands for all of them.
                let name = if name.starts_with("not ") {
                    OsStr::from_bytes(b"not \xff utf-8")
                } else {
                    OsStr::new(name)
                };
                let path = data.join(name);
                if path.symlink_metadata().is_ok() {
                    return Err(Impossible("names that are taken"));
                }
                thing.put(&path, &outside.join(".lock"))
            }
            Self::ReplaceDirectory(name, thing) => {
                fs::remove_dir_all(data.join(name)).unwrap();
                thing.put(&data.join(name), &outside.join(name))
            }
            Self::Remove(file) => fs::remove_file(data.join(file)).map_err(|_| Impossible("not there")),
            Self::RemoveDirectory(name) => {
                fs::remove_dir_all(data.join(name)).map_err(|_| Impossible("not there"))
            }
        }
    }

    /// Whether everything has to work as if nothing had been done: files that are foreign, and files that are none where
    /// they do not matter.
    pub fn is_harmless(&self) -> bool {
        match self {
            Self::Add(name, Thing::Text) => !name.contains("99999999999999999999.log"),
            Self::Add(name, _) => {
                [".DS_Store", "Thumbs.db", "notes.txt", ".hidden"].iter().any(|known| name == known)
            }
            _ => false,
        }
    }

    pub fn is_still_there(&self, data: &Path) -> bool {
        match self {
            Self::Add(name, _) if !name.starts_with("not ") => data.join(name).symlink_metadata().is_ok(),
            _ => true,
        }
    }

    /// Whether it is done in every size.
    pub fn is_rare(&self) -> bool {
        matches!(self, Self::ReplaceDirectory(..))
            || matches!(self, Self::Replace(file, Thing::Pipe | Thing::Link) if !file.contains("-0/") && !file.contains("-1/"))
    }
}

impl Thing {
    fn put(self, path: &Path, like: &Path) -> Result<(), Impossible> {
        let done = match self {
            Self::Link => symlink(like, path),
            Self::LinkToNothing => symlink(like.with_file_name("nothing"), path),
            Self::LinkToItself => symlink(path, path),
            // What is written in place is written under every name: only of the others nothing may change.
            Self::HardLink if is_written_in_place(path) => {
                return Err(Impossible("hard links of files that are written in place"));
            }
            Self::HardLink => fs::hard_link(like, path),
            Self::Pipe => make_node(path, libc::S_IFIFO, None),
            Self::Socket => UnixListener::bind(path).map(drop),
            Self::Directory => fs::create_dir(path),
            Self::Device(minor) => make_node(path, libc::S_IFCHR, Some((1, minor))),
            Self::Text => fs::write(path, "what somebody has left here\n"),
            Self::Empty | Self::Huge | Self::Unreadable => unreachable!("done to what is there"),
        };
        done.map_err(|_| Impossible("things that cannot be made here"))
    }
}

/// The lock, the ends file, the last log of a partition with its indexes, the epochs: what an owner appends to.
fn is_written_in_place(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let is_last = || {
        let stem = name.split('.').next().unwrap();
        let inside = fs::read_dir(path.parent().unwrap()).unwrap();
        inside.map(|entry| entry.unwrap().file_name()).all(|other| {
            let other = other.to_str().unwrap().to_owned();
            !other.starts_with("0000") || other.split('.').next().unwrap() <= stem
        })
    };
    [".lock", "ottla.ends", "ottla.reserve"].contains(&name) || name.starts_with("0000") && is_last()
}

/// Root reads everything, unless nobody may.
fn hide(path: &Path) -> Result<(), Impossible> {
    if crate::posix::is_root() {
        return Err(Impossible("unreadable files, which root reads"));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o000))
        .map_err(|_| Impossible("modes that cannot be changed"))
}
