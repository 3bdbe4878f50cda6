//! What a directory is, judged by the names in it, before anything is written to it.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::file_name::{MANIFEST, META_PROPERTIES, RETURNING, is_negligible_at_first_open, is_salvage_mark};
use crate::mutant::{self, Mutant};
use crate::vfs::{DirEntry, EntryKind};

/// What a directory is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing of anybody's: a manifest may be written.
    New,
    /// It has a manifest.
    Ours,
    /// A Kafka broker's, which is to be taken over.
    Kafkas,
}

/// A missing manifest never means "new" where there is anything to lose. A Kafka broker's directory is taken over only
/// where the caller adopts.
pub fn judge(root: &Path, entries: &[DirEntry], adopts: bool) -> Result<Verdict> {
    let holds = |name: &str| entries.iter().any(|entry| entry.name == name);
    if holds(META_PROPERTIES) {
        return if adopts { Ok(Verdict::Kafkas) } else { Err(kafkas(root)) };
    }
    if holds(RETURNING) {
        let what = "the directory is being given back to Kafka, which was interrupted";
        return Err(Error::new(ErrorKind::DirectoryNotOurs, what)
            .in_file(root)
            .advise("undo the adoption once more, which goes on where it was; nothing was changed"));
    }
    if entries.iter().any(|entry| is_salvage_mark(&entry.name)) {
        return Err(unfinished_salvage(root));
    }
    if entries.iter().any(|entry| entry.name == MANIFEST && entry.kind == EntryKind::File) {
        return Ok(Verdict::Ours);
    }
    match entries.iter().find(|entry| !is_negligible_at_first_open(&entry.name)) {
        None => Ok(Verdict::New),
        Some(_) if mutant::is(Mutant::MissingManifestMeansNew) => Ok(Verdict::New),
        Some(entry) if adopts => {
            let what = format!(
                "the directory is neither a Kafka broker's nor ours: it holds {:?}, and neither {META_PROPERTIES} nor \
                 {MANIFEST}",
                entry.name
            );
            let error = Error::new(ErrorKind::DirectoryNotOurs, what).in_file(root);
            Err(error.advise("name one of the broker's log.dirs; nothing was changed"))
        }
        Some(entry) => {
            let what =
                format!("the directory has no {MANIFEST}, and is not empty: it holds {:?}", entry.name);
            Err(not_ours(root, &what))
        }
    }
}

fn kafkas(root: &Path) -> Error {
    let what = "the directory belongs to a Kafka broker, for it holds meta.properties";
    Error::new(ErrorKind::DirectoryNotOurs, what)
        .in_file(root)
        .advise("only one that is stopped can be adopted, and is ours then; nothing was changed")
}

/// Whatever is there may be a part of what is to come.
pub fn unfinished_salvage(root: &Path) -> Error {
    Error::new(ErrorKind::DirectoryNotOurs, "a salvage into this directory was not finished")
        .in_file(root)
        .advise("run the salvage again, or delete the directory; nothing was changed")
}

pub fn not_ours(root: &Path, what: &str) -> Error {
    Error::new(ErrorKind::DirectoryNotOurs, what)
        .in_file(root)
        .advise("open an empty directory, or one that ottla made; nothing was changed")
}

pub fn absent(root: &Path, adopts: bool) -> Error {
    let what = match adopts {
        true => "there is no Kafka broker's directory here, and no data directory, and none is to be made",
        false => "there is no data directory here, and none is to be made",
    };
    Error::new(ErrorKind::DirectoryNotOurs, what).in_file(root).advise("nothing was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(names: &[&str], adopts: bool) -> Result<Verdict> {
        let entries: Vec<_> =
            names.iter().map(|name| DirEntry { name: (*name).to_owned(), kind: EntryKind::File }).collect();
        judge(Path::new("/data"), &entries, adopts)
    }

    #[test]
    fn only_a_directory_with_nothing_to_lose_is_new() {
        for new in [&[][..], &["lost+found", ".lock"], &[".DS_Store", "ottla.manifest.tmp"]] {
            assert_eq!(verdict(new, false).unwrap(), Verdict::New, "{new:?}");
        }
        assert_eq!(verdict(&["ottla.manifest", "anything"], true).unwrap(), Verdict::Ours);
        for foreign in [
            &["orders-0"][..],
            &["notes.txt"],
            &["ottla.manifest", "meta.properties"],
            &["ottla.manifest", "ottla.returning"],
            &["ottla.manifest", "ottla.ends", "ottla.salvaging"],
            &["ottla.salvaging.tmp"],
        ] {
            let error = verdict(foreign, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DirectoryNotOurs, "{foreign:?}");
        }
        for foreign in [&["orders-0"][..], &["notes.txt"]] {
            let error = verdict(foreign, true).unwrap_err().to_string();
            assert!(error.contains("meta.properties") && !error.contains("empty"), "{error}");
        }
    }

    #[test]
    fn a_kafka_brokers_directory_is_taken_over_only_where_the_caller_adopts() {
        for kafkas in [&["meta.properties"][..], &["meta.properties", "ottla.manifest", "ottla.returning"]] {
            let error = verdict(kafkas, false).unwrap_err();
            assert!(error.to_string().contains("can be adopted"), "{error}");
            assert_eq!(verdict(kafkas, true).unwrap(), Verdict::Kafkas);
        }
    }
}
