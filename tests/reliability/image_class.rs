//! What a crash has done to the files of a log, in the words of its format: which of an image's batches, indexes and
//! names are not as the process left them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ottla::internals::{Image, ImageClass, MemoryVfs};

use crate::support::{ROOT, tree};

/// Each of them is to be met.
pub const CLASSES: [&str; 8] = [
    "torn header",
    "torn payload",
    "hole",
    "zero tail",
    "lost directory entry",
    "index ahead",
    "old manifest",
    "ghost",
];

/// The bytes of every file.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What the process saw when it ended.
pub struct Seen(Files);

impl Seen {
    pub fn of(vfs: &MemoryVfs) -> Self {
        Self(files(vfs))
    }

    /// What the image shows of it no more.
    pub fn classes(&self, image: &Image) -> BTreeSet<&'static str> {
        let there = files(&image.vfs);
        let mut classes = BTreeSet::new();
        classes.extend(image.classes.contains(&ImageClass::Ghost).then_some("ghost"));
        classes.extend(image.classes.contains(&ImageClass::Hole).then_some("hole"));
        classes.extend(image.classes.contains(&ImageClass::ZeroTail).then_some("zero tail"));
        classes.extend(self.0.keys().any(|path| !there.contains_key(path)).then_some("lost directory entry"));
        for (path, bytes) in &there {
            let Some(seen) = self.0.get(path) else { continue };
            if path.ends_with("ottla.manifest") && bytes != seen {
                classes.insert("old manifest");
            }
            if path.extension().is_some_and(|extension| extension == "log") && bytes != seen {
                classes.extend(tear(bytes, seen));
                classes.extend(is_index_ahead(&there, path, bytes).then_some("index ahead"));
            }
        }
        classes
    }
}

fn files(vfs: &MemoryVfs) -> Files {
    let there = ottla::internals::Vfs::kind(vfs, Path::new(ROOT)).unwrap();
    if there.is_some() { tree(vfs, Path::new(ROOT)) } else { Files::new() }
}

/// The header of a batch, up to the number of its records.
const HEADER: usize = 61;

/// The end of the whole batch at a position, if there is one.
fn batch_end(log: &[u8], position: usize) -> Option<usize> {
    let batch = log.get(position..).filter(|batch| batch.len() >= HEADER)?;
    let length = i32::from_be_bytes(batch[8..12].try_into().unwrap());
    let end =
        usize::try_from(length).ok()?.checked_add(12).filter(|end| (HEADER..=batch.len()).contains(end))?;
    let crc = u32::from_be_bytes(batch[17..21].try_into().unwrap());
    (batch[16] == 2 && crc_fast::crc32_iscsi(&batch[21..end]) == crc).then_some(position + end)
}

/// Where the whole batches of a log begin, and where they end.
fn batches(log: &[u8]) -> (Vec<usize>, usize) {
    let (mut begins, mut position) = (Vec::new(), 0);
    while let Some(end) = batch_end(log, position) {
        begins.push(position);
        position = end;
    }
    (begins, position)
}

/// What stands at the first batch that the process saw and that is not whole.
fn tear(log: &[u8], seen: &[u8]) -> BTreeSet<&'static str> {
    let (end, (begins, _)) = (batches(log).1, batches(seen));
    let mut classes = BTreeSet::new();
    let rest = log.get(end..).unwrap_or_default();
    if !begins.contains(&end) || rest.iter().all(|byte| *byte == 0) {
        return classes;
    }
    let header = |log: &[u8]| log.get(end..end + HEADER).map(<[u8]>::to_vec);
    classes.insert(if header(log) == header(seen) { "torn payload" } else { "torn header" });
    let stands = |begin: &usize| *begin > end && batch_end(log, *begin).is_some();
    classes.extend(begins.iter().any(stands).then_some("hole"));
    classes
}

/// Whether the index of a log has an entry that its whole batches do not reach.
fn is_index_ahead(there: &Files, log: &Path, bytes: &[u8]) -> bool {
    let end = batches(bytes).1;
    let index = there.get(&log.with_extension("index"));
    let position = |entry: &[u8]| u32::from_be_bytes(entry[4..8].try_into().unwrap()) as usize;
    index.is_some_and(|index| index.chunks_exact(8).any(|entry| entry != [0; 8] && position(entry) >= end))
}
