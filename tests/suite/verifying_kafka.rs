//! `verify` of what a real Kafka has written: sound as it was left, and whatever is gone is found by what is left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::Record;
use ottla::inspect::{Finding, FindingKind, Severity, VerifyReport};
use ottla::internals::{MemoryVfs, Vfs, open_on, undo_adoption_on};

use crate::adopting_fixtures::directory;
use crate::support::{ROOT, get, options, put, tree};
use crate::verifying::verify;

pub type Deed = fn(&MemoryVfs);

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

pub fn remove(vfs: &MemoryVfs, name: &str) {
    vfs.remove_file(&path(name)).unwrap();
}

/// Removes every file of a directory that ends so, and the directory, if nothing is left in it.
pub fn remove_all(vfs: &MemoryVfs, dir: &str, ends: &str) {
    let entries = vfs.read_dir(&path(dir)).unwrap();
    for entry in entries.iter().filter(|entry| entry.name.ends_with(ends)) {
        remove(vfs, &format!("{dir}/{}", entry.name));
    }
    if ends.is_empty() {
        vfs.remove_dir(&path(dir)).unwrap();
    }
}

/// Removes a log and its indexes.
pub fn remove_segment(vfs: &MemoryVfs, name: &str) {
    for end in ["log", "index", "timeindex"] {
        remove(vfs, &format!("{name}.{end}"));
    }
}

/// Cuts a log behind its first batches.
pub fn cut(vfs: &MemoryVfs, name: &str, batches: usize) {
    let log = get(vfs, name);
    put(vfs, name, &log[..crate::adopting::batches(&log)[batches]]);
}

fn line(vfs: &MemoryVfs, checkpoint: &str, line: &str) {
    let text = String::from_utf8(get(vfs, checkpoint)).unwrap();
    let topic = line.split_once(' ').unwrap().0;
    let mut lines: Vec<_> =
        text.lines().skip(2).filter(|line| !line.starts_with(&format!("{topic} "))).collect();
    lines.push(line);
    put(vfs, checkpoint, format!("0\n{}\n{}\n", lines.len(), lines.join("\n")).as_bytes());
}

/// The gravest finding, of which there is one.
#[track_caller]
pub fn only(report: &VerifyReport, what: &str) -> Finding {
    let gravest = report.findings.iter().map(|finding| finding.severity).max();
    let found = report.findings.iter().filter(|finding| Some(finding.severity) == gravest);
    let [finding] = &found.collect::<Vec<_>>()[..] else { panic!("{what}: {:#?}", report.findings) };
    (*finding).clone()
}

#[test]
fn what_a_real_broker_has_left_is_sound() {
    for name in ["stopped", "killed"] {
        let report = verify(&directory(name));
        assert!(report.findings.is_empty(), "{name}: {:#?}", report.findings);
        assert!(report.partitions >= 4 && report.index_entries > 0);
    }
}

const SEGMENTS: &str = "segments-0/000000000000000000";

/// What is done to the directory of a stopped broker, and what it is found to be: the kind, the severity, the file, the
/// first offset, and words of it.
pub type Gone = (&'static str, Deed, FindingKind, Severity, &'static str, Option<u64>);

pub const OF_A_STOPPED_ONE: [Gone; 15] = [
    (
        "a segment in the middle",
        |vfs| remove(vfs, &format!("{SEGMENTS}40.log")),
        FindingKind::Segment,
        Severity::Damage,
        "segments-0/00000000000000000040.log",
        Some(40),
    ),
    (
        "a segment in the middle with its indexes",
        |vfs| remove_segment(vfs, &format!("{SEGMENTS}40")),
        FindingKind::Segment,
        Severity::Damage,
        "segments-0/00000000000000000040.log",
        Some(40),
    ),
    (
        "the same with its snapshot",
        |vfs| {
            let ends = ["log", "index", "timeindex", "snapshot"];
            ends.iter().for_each(|end| remove(vfs, &format!("{SEGMENTS}40.{end}")));
        },
        FindingKind::Segment,
        Severity::Note,
        "segments-0/00000000000000000040.log",
        Some(40),
    ),
    (
        "the last segment with its indexes",
        |vfs| remove_segment(vfs, &format!("{SEGMENTS}80")),
        FindingKind::End,
        Severity::Damage,
        "segments-0/00000000000000000040.log",
        Some(80),
    ),
    (
        "the last segment",
        |vfs| remove(vfs, &format!("{SEGMENTS}80.log")),
        FindingKind::Segment,
        Severity::Damage,
        "segments-0/00000000000000000080.log",
        Some(80),
    ),
    (
        "the first segment",
        |vfs| remove(vfs, &format!("{SEGMENTS}00.log")),
        FindingKind::Segment,
        Severity::Damage,
        "segments-0/00000000000000000000.log",
        Some(0),
    ),
    (
        "every segment",
        |vfs| remove_all(vfs, "ongoing-0", "00000000.log"),
        FindingKind::Segment,
        Severity::Damage,
        "ongoing-0/00000000000000000000.log",
        Some(0),
    ),
    (
        "every file",
        |vfs| {
            let ends = ["00.log", ".index", ".timeindex", ".txnindex", ".snapshot"];
            ends.iter().for_each(|end| remove_all(vfs, "ongoing-0", end));
        },
        FindingKind::End,
        Severity::Damage,
        "ongoing-0/00000000000000000000.log",
        Some(0),
    ),
    (
        "the first segment with its indexes, of a log that is to begin in it",
        |vfs| {
            line(vfs, "log-start-offset-checkpoint", "segments 0 35");
            remove_segment(vfs, &format!("{SEGMENTS}00"));
        },
        FindingKind::Segment,
        Severity::Damage,
        "segments-0/00000000000000000035.log",
        Some(35),
    ),
    (
        "the first segment with its indexes",
        |vfs| remove_segment(vfs, &format!("{SEGMENTS}00")),
        FindingKind::LeaderEpochs,
        Severity::Note,
        "segments-0/leader-epoch-checkpoint",
        Some(0),
    ),
    (
        "a partition",
        |vfs| remove_all(vfs, "segments-0", ""),
        FindingKind::Partition,
        Severity::Damage,
        "segments-0",
        Some(0),
    ),
    (
        "the epochs",
        |vfs| remove(vfs, "segments-0/leader-epoch-checkpoint"),
        FindingKind::LeaderEpochs,
        Severity::Derived,
        "segments-0/leader-epoch-checkpoint",
        None,
    ),
    (
        "records that were visible, and the recovery points",
        |vfs| {
            remove(vfs, "recovery-point-offset-checkpoint");
            line(vfs, "replication-offset-checkpoint", "shapes 0 22");
        },
        FindingKind::End,
        Severity::Damage,
        "shapes-0/00000000000000000000.log",
        Some(20),
    ),
    (
        "a log that ends where compaction has not come",
        |vfs| line(vfs, "cleaner-offset-checkpoint", "shapes 0 21"),
        FindingKind::OffsetCheckpoint,
        Severity::Note,
        "cleaner-offset-checkpoint",
        Some(20),
    ),
    (
        "partitions that are elsewhere",
        |vfs| {
            vfs.create_dir(&path("shapes-2")).unwrap();
            put(vfs, "shapes-2/partition.metadata", &get(vfs, "shapes-0/partition.metadata"));
        },
        FindingKind::Partition,
        Severity::Note,
        "shapes-1",
        None,
    ),
];

#[test]
fn what_is_gone_after_an_orderly_stop_is_found() {
    for (what, deed, kind, severity, file, first) in OF_A_STOPPED_ONE {
        let vfs = directory("stopped");
        deed(&vfs);
        let finding = only(&verify(&vfs), what);
        assert_eq!((finding.kind, finding.severity), (kind, severity), "{what}: {finding}");
        assert_eq!(finding.file, path(file), "{what}: {finding}");
        assert_eq!(finding.offsets.as_ref().map(|offsets| offsets.start), first, "{what}: {finding}");
        assert!(finding.partition.is_some(), "{what}: {finding}");
    }
}

#[test]
fn a_log_that_was_cut_is_found_at_every_batch() {
    let vfs = directory("stopped");
    let names = tree(&vfs, Path::new(ROOT))
        .into_keys()
        .filter(|path| path.extension().is_some_and(|ext| ext == "log"));
    let (mut cuts, mut unnoticed) = (0, 0);
    for file in names.collect::<Vec<_>>() {
        let name = file.strip_prefix(ROOT).unwrap().to_str().unwrap();
        let log = get(&vfs, name);
        for (number, position) in crate::adopting::batches(&log).into_iter().enumerate() {
            put(&vfs, name, &log[..position]);
            let report = verify(&vfs);
            // Between segments nothing but an index tells: of a batch that has no entry, compaction may have taken it.
            let is_last = !tree(&vfs, file.parent().unwrap())
                .into_keys()
                .any(|other| other.extension() == file.extension() && other > file);
            let is_found = report.findings.iter().any(|finding| finding.severity == Severity::Damage);
            assert!(is_found || !is_last, "{name}, batch {number}: {:#?}", report.findings);
            cuts += 1;
            unnoticed += u32::from(!is_found);
        }
        put(&vfs, name, &log);
    }
    println!("{cuts} cuts, {unnoticed} where compaction may have been");
    assert!(cuts > 100 && unnoticed < cuts / 8, "{cuts} {unnoticed}");
}

#[test]
fn what_was_synced_is_missed_after_a_kill_and_what_was_not_may_be_gone() {
    let found = |deed: Deed, what: &str| {
        let vfs = directory("killed");
        deed(&vfs);
        let finding = only(&verify(&vfs), what);
        (finding.kind, finding.severity, finding.offsets.unwrap().start)
    };
    let (end, damage, left) = (FindingKind::End, Severity::Damage, Severity::Unrecovered);
    let gone = found(|vfs| remove_all(vfs, "killed-ongoing-0", "00000000.log"), "the log");
    assert_eq!(gone, (FindingKind::Segment, damage, 0));
    // The recovery point is 60, the high watermark 150.
    let below = found(
        |vfs| {
            for base in ["080", "120"] {
                remove_segment(vfs, &format!("killed-0/{base:0>20}"));
            }
            cut(vfs, "killed-0/00000000000000000040.log", 1);
        },
        "below the recovery point",
    );
    assert_eq!((below.0, below.1), (end, damage));
    let above = found(|vfs| cut(vfs, "killed-0/00000000000000000120.log", 1), "above the recovery point");
    assert_eq!((above.0, above.1), (end, left));
    let middle = found(|vfs| remove(vfs, "killed-0/00000000000000000080.log"), "in the middle");
    assert_eq!(middle, (FindingKind::Segment, damage, 80));
    // Of the offsets of consumers only the high watermark tells.
    let made = found(|vfs| remove_all(vfs, "__consumer_offsets-0", ""), "made a moment ago");
    assert_eq!(made, (FindingKind::Partition, left, 0));
    let known = found(|vfs| remove_all(vfs, "killed-ongoing-0", ""), "known to be synced");
    assert_eq!(known, (FindingKind::Partition, damage, 0));
    let start =
        found(|vfs| line(vfs, "log-start-offset-checkpoint", "killed 0 160"), "begins behind its end");
    assert_eq!(start, (end, left, 150));
}

/// What a broker leaves that was stopped in the midst of removing something, and what its directories hold beside.
#[test]
fn what_kafka_may_leave_is_sound() {
    let id = "0123456789abcdef0123456789abcdef";
    for suffix in ["delete", "stray", "future"] {
        let vfs = directory("killed");
        vfs.rename(&path("killed-0"), &path(&format!("killed-0.{id}-{suffix}"))).unwrap();
        let finding = only(&verify(&vfs), suffix);
        assert_eq!((finding.kind, finding.severity), (FindingKind::Foreign, Severity::Note), "{finding}");
    }
    let vfs = directory("killed");
    let first = "killed-0/00000000000000000000.log";
    vfs.rename(&path(first), &path(&format!("{first}.deleted"))).unwrap();
    let finding = only(&verify(&vfs), "retention was interrupted");
    assert_eq!((finding.kind, finding.severity), (FindingKind::LeaderEpochs, Severity::Note), "{finding}");
    line(&vfs, "log-start-offset-checkpoint", "killed 0 20");
    let finding = only(&verify(&vfs), "the checkpoint is older");
    assert_eq!((finding.kind, finding.severity), (FindingKind::Segment, Severity::Note), "{finding}");

    // Segments that lie elsewhere begin before the first one that lies here.
    let vfs = directory("stopped");
    vfs.create_dir(&path("remote-log-index-cache")).unwrap();
    line(&vfs, "log-start-offset-checkpoint", "segments 0 35");
    remove_segment(&vfs, &format!("{SEGMENTS}00"));
    assert_eq!(only(&verify(&vfs), "tiered").severity, Severity::Note);
}

/// What is done to Kafka's part of a directory that was taken over, and the first offset that is gone then.
pub const OF_KAFKAS_PART: [(&str, Deed, u64); 5] = [
    ("the first", |vfs| remove(vfs, &format!("{SEGMENTS}00.log")), 0),
    ("one in the middle", |vfs| remove(vfs, &format!("{SEGMENTS}40.log")), 40),
    ("Kafka's last", |vfs| remove(vfs, &format!("{SEGMENTS}80.log")), 80),
    ("one with its indexes", |vfs| remove_segment(vfs, &format!("{SEGMENTS}40")), 40),
    ("what an index names", |vfs| cut(vfs, &format!("{SEGMENTS}40.log"), 1), 0),
];

/// The directory of a stopped broker, taken over, with a record of ours in one of its topics.
pub fn adopted() -> MemoryVfs {
    let vfs = directory("stopped");
    let broker = open_on(options().adopt(true), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    broker.topic("segments").unwrap().producer().send(Record::new("ours")).unwrap().wait().unwrap();
    broker.close(Duration::from_secs(10)).unwrap();
    vfs
}

/// Of a directory that was taken over, what Kafka has written is held to the same; and undoing the adoption misses it, too.
#[test]
fn what_is_gone_of_kafkas_part_is_found_in_a_directory_of_ours() {
    for (what, deed, first) in OF_KAFKAS_PART {
        let vfs = adopted();
        let report = verify(&vfs);
        assert!(
            report.is_sound() && report.findings.iter().all(|found| found.kind == FindingKind::Foreign),
            "{report:?}"
        );
        deed(&vfs);
        let report = verify(&vfs);
        let damages = report.findings.iter().filter(|found| found.severity == Severity::Damage);
        let [finding] = &damages.collect::<Vec<_>>()[..] else { panic!("{what}: {:#?}", report.findings) };
        let offsets = finding.offsets.clone().unwrap();
        assert_eq!(
            (finding.kind, finding.partition.as_ref().unwrap().0.as_str()),
            (FindingKind::Segment, "segments")
        );
        assert!(first == 0 || offsets.start == first, "{what}: {finding}");

        let before = tree(&vfs, Path::new(ROOT));
        let error = undo_adoption_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).expect_err(what);
        assert_eq!(error.kind(), ottla::ErrorKind::CorruptMessage, "{what}: {error}");
        assert_eq!(
            (error.topic(), error.offset()),
            (Some("segments"), Some(offsets.start)),
            "{what}: {error}"
        );
        assert!(error.to_string().contains("nothing was changed"), "{what}: {error}");
        assert_eq!(tree(&vfs, Path::new(ROOT)), before, "{what}");
    }
}

/// An adoption is refused wherever verifying finds damage of what is gone.
#[test]
fn what_verify_misses_an_adoption_refuses() {
    let mut refused = 0;
    for (what, deed, kind, severity, ..) in OF_A_STOPPED_ONE {
        let vfs = directory("stopped");
        deed(&vfs);
        let before = tree(&vfs, Path::new(ROOT));
        let adopted = open_on(options().adopt(true), Arc::new(vfs.clone()), Path::new(ROOT));
        if severity == Severity::Note {
            // A partition that is elsewhere cannot be taken over.
            assert!(adopted.is_ok() || kind == FindingKind::Partition, "{what}: {adopted:?}");
            continue;
        }
        let error = adopted.expect_err(what);
        assert!(
            error.to_string().contains("nothing was changed") || kind == FindingKind::LeaderEpochs,
            "{error}"
        );
        assert!(error.topic().is_some() && error.file().is_some(), "{what}: {error}");
        assert_eq!(tree(&vfs, Path::new(ROOT)), before, "{what}");
        refused += 1;
    }
    assert!(refused >= 9, "{refused}");
}

/// Of a directory that is still Kafka's nothing is written anew by opening it.
#[test]
fn what_a_damaged_file_of_kafkas_brings_about_is_said() {
    let says = |vfs: &MemoryVfs, name: &str, advice: &str| {
        put(vfs, name, b"no such file");
        let report = verify(vfs);
        let finding = report.findings.iter().find(|finding| finding.file == path(name)).unwrap();
        assert_eq!(finding.severity, Severity::Derived, "{finding}");
        assert!(finding.advice.contains(advice), "{finding}");
    };
    for (name, advice) in [
        ("log-start-offset-checkpoint", "deleted come back"),
        ("recovery-point-offset-checkpoint", "every log from its beginning"),
        ("replication-offset-checkpoint", "the end of each log"),
        ("cleaner-offset-checkpoint", "compacts from the beginning"),
        ("segments-0/00000000000000000120.snapshot", "a producer whose records are all gone"),
    ] {
        says(&directory("stopped"), name, advice);
    }
    // What the ends file knows is written anew.
    says(&adopted(), "log-start-offset-checkpoint", "written anew");
}
