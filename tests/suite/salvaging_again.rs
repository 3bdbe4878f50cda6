//! `salvage` that was killed: its target says that it is not finished, whenever that was, and the same salvage finishes it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::{Content, Inspect, SalvageReport};
use ottla::internals::{
    CrashProfile, MemoryVfs, OpenMode, Vfs, inspect_on, open_on, open_read_only_on, salvage_on, verify_on,
};
use ottla::{Error, ErrorKind, Result};

use crate::salvaging::{OUT, all_of_a, records};
use crate::support::{ROOT, options, tree};
use crate::verifying::complete;

const MARKER: &str = "ottla.salvaging";

fn salvage(vfs: &MemoryVfs) -> Result<SalvageReport> {
    salvage_on(Arc::new(vfs.clone()), Path::new(ROOT), Path::new(OUT))
}

fn out(name: &str) -> std::path::PathBuf {
    Path::new(OUT).join(name)
}

fn create(vfs: &MemoryVfs, name: &str, bytes: &[u8]) {
    vfs.open(&out(name), OpenMode::CreateNew).unwrap().write_at(bytes, 0).unwrap();
}

/// How far a target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotBegun,
    Unfinished,
    Finished,
}

/// Judges by the names, and holds everybody who opens it to that.
fn state(vfs: &MemoryVfs, what: &str) -> State {
    let entries = vfs.read_dir(Path::new(OUT)).unwrap_or_default();
    if entries.iter().all(|entry| entry.name == ".lock") {
        return State::NotBegun;
    }
    let vfs = vfs.fork();
    let shared = || Arc::new(vfs.clone());
    if entries.iter().any(|entry| entry.name.starts_with(MARKER)) {
        let before = tree(&vfs, Path::new(OUT));
        let is_told = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::DirectoryNotOurs, "{what}: {error}");
            let text = error.to_string();
            assert!(text.contains("a salvage into this directory was not finished"), "{what}: {text}");
            assert!(text.contains("run the salvage again, or delete the directory"), "{what}: {text}");
        };
        is_told(open_on(options(), shared(), Path::new(OUT)).map(drop).unwrap_err());
        is_told(open_on(options().adopt(true), shared(), Path::new(OUT)).map(drop).unwrap_err());
        is_told(verify_on(shared(), Path::new(OUT)).unwrap_err());
        is_told(open_read_only_on(shared(), Path::new(OUT)).map(drop).unwrap_err());
        is_told(salvage_on(shared(), Path::new(OUT), Path::new("/elsewhere")).unwrap_err());
        assert_eq!(tree(&vfs, Path::new(OUT)), before, "{what}: it is left as it was");
        return State::Unfinished;
    }
    let verified = verify_on(shared(), Path::new(OUT)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(verified.is_sound(), "{what}: {:#?}", verified.findings);
    let broker =
        open_on(options(), shared(), Path::new(OUT)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(records(&broker.topic("a").unwrap().partition(0).unwrap()), all_of_a(), "{what}");
    State::Finished
}

/// What is on the disk after the salvage was killed, or the power failed, at some call.
fn left(vfs: &MemoryVfs, seed: u64) -> Vec<(String, MemoryVfs)> {
    let mut left = vec![("killed".to_owned(), vfs.restart())];
    for profile in [CrashProfile::Ordered, CrashProfile::Adversarial] {
        let images = vfs.images(profile, 2, seed);
        left.extend(images.map(|image| (format!("{profile:?}: {}", image.description), image.vfs)));
    }
    left
}

/// Salvages until it is done, whatever was left; what comes of it is the same.
fn check_again(vfs: &MemoryVfs, expected: &SalvageReport, what: &str) -> State {
    let found = state(vfs, what);
    let vfs = vfs.fork();
    if found == State::Finished {
        let error = salvage(&vfs).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("not empty") && text.contains("that one was finished"), "{what}: {text}");
        return found;
    }
    let report = salvage(&vfs).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    assert_eq!(&report, expected, "{what}, again");
    assert_eq!(state(&vfs.restart(), what), State::Finished, "{what}, again");
    found
}

/// Salvages, killed at each call; returns how many leftovers were unfinished, and the last of them.
fn check_every_call(source: &MemoryVfs, expected: &SalvageReport) -> (usize, MemoryVfs) {
    let (mut unfinished, mut finished, mut last) = (0, 0, source.restart());
    let begun = source.counts().changing;
    for point in 0.. {
        let vfs = source.fork();
        vfs.stop_after(begun + point);
        let is_done = salvage(&vfs).is_ok();
        for (what, left) in left(&vfs, point) {
            let what = format!("call {point}, {what}");
            let found = check_again(&left, expected, &what);
            assert!(!is_done || found == State::Finished, "{what}: it said that it was done");
            match found {
                State::Finished => finished += 1,
                State::Unfinished => (unfinished, last) = (unfinished + 1, left),
                State::NotBegun => {}
            }
        }
        if is_done {
            break;
        }
    }
    assert!(finished > 0);
    println!("salvage_crash: {unfinished} unfinished leftovers salvaged again");
    (unfinished, last)
}

#[test]
fn killed_at_any_call_it_is_unfinished_and_the_next_one_finishes_it() {
    let source = complete();
    let expected = salvage(&source.restart()).unwrap();
    let (unfinished, last) = check_every_call(&source.restart(), &expected);
    assert!(unfinished > 100);
    // The second one, which clears what the first one has left, is killed, too.
    assert_eq!(state(&last, "last"), State::Unfinished);
    assert!(check_every_call(&last.restart(), &expected).0 > 100);
}

/// A target that was left as the salvage was killed at its last calls.
fn unfinished() -> MemoryVfs {
    let source = complete().restart();
    let counted = source.fork();
    salvage(&counted).unwrap();
    source.stop_after(counted.counts().changing - 3);
    salvage(&source).unwrap_err();
    let left = source.restart();
    assert_eq!(state(&left, "unfinished"), State::Unfinished);
    left
}

#[test]
fn what_no_salvage_of_this_source_has_left_is_not_touched() {
    let refused = |vfs: &MemoryVfs, kind: ErrorKind, says: &str| {
        let before = tree(vfs, Path::new(OUT));
        let error = salvage(vfs).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert_eq!(tree(vfs, Path::new(OUT)), before, "{says}");
    };
    let not_ours = ErrorKind::DirectoryNotOurs;
    for (name, says) in [
        ("notes", "\"notes\""),
        ("a-0/notes", "\"a-0/notes\""),
        ("b-1/00000000000000000000.snapshot", ".snapshot\""),
        (".kafka_cleanshutdown", ".kafka_cleanshutdown"),
    ] {
        let vfs = unfinished();
        create(&vfs, name, b"mine");
        refused(&vfs, not_ours, says);
    }
    let vfs = unfinished();
    vfs.create_dir(&out("mine")).unwrap();
    refused(&vfs, not_ours, "\"mine\"");

    let vfs = unfinished();
    for other in [&b"ottla salvaging 1\nfrom \"/other\"\n"[..], b"ottla salvaging 2\n", b""] {
        vfs.remove_file(&out(MARKER)).unwrap();
        create(&vfs, MARKER, other);
        refused(
            &vfs,
            not_ours,
            if other.len() > 20 { "a salvage of \"/other\" into" } else { "of another one" },
        );
    }

    let vfs = unfinished();
    let lock = vfs.lock(&out(".lock")).unwrap().unwrap();
    refused(&vfs, ErrorKind::DirectoryInUse, "in use");
    drop(lock);
    salvage(&vfs).unwrap();
    // Neither lies in the other.
    let vfs = complete();
    let error = salvage_on(Arc::new(vfs.clone()), Path::new(ROOT), Path::new("/")).unwrap_err();
    assert!(error.to_string().contains("lies in the new one"), "{error}");
}

#[test]
fn a_dump_shows_what_was_being_salvaged() {
    let vfs = unfinished();
    let items = inspect_on(Inspect::new(), Arc::new(vfs), &out(MARKER)).unwrap();
    let says = items.filter_map(|item| match item.content {
        Content::Property { value, .. } => Some(value),
        _ => None,
    });
    assert_eq!(says.collect::<Vec<_>>(), ["ottla salvaging 1\nfrom \"/data\""]);
}

#[test]
fn the_target_is_locked_until_it_is_finished() {
    let vfs = complete().restart();
    let watched = vfs.clone();
    let work = ottla::inspect::Salvage::new().progress(move |_| {
        // Once all is copied, or somewhere in between.
        let error = salvage(&watched.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
        let error = verify_on(Arc::new(watched.clone()), Path::new(OUT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryNotOurs, "{error}");
    });
    ottla::internals::salvage_with(work, Arc::new(vfs.clone()), Path::new(ROOT), Path::new(OUT)).unwrap();
    let broker = open_on(options(), Arc::new(vfs), Path::new(OUT)).unwrap();
    broker.close(Duration::from_secs(10)).unwrap();
}
