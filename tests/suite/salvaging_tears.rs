//! `salvage` of what stands whole behind a tear above the proven end: it is left as a recovery leaves it, and listed, or
//! kept if that is asked for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ottla::inspect::{FindingKind, Salvage, SalvageReport, Severity};
use ottla::internals::{MemoryVfs, Vfs, open_on, salvage_with, verify_on};
use ottla::{Offset, TopicConfig};

use crate::adopting::batches;
use crate::salvaging::{OUT, kafkas, records};
use crate::support::{ROOT, get, options, put, send_all};
use crate::verifying::{files, path};

/// Twelve records, three in a segment, of which four are proven to be durable, as after a kill.
fn unproven() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).unwrap();
    let send = |number: u8| send_all(&topic, [[number; 250]]).unwrap();
    (0..4).for_each(send);
    let ends = get(&vfs, "ottla.ends");
    (4..12).for_each(send);
    // As a kill leaves it.
    std::mem::forget((topic, broker));
    let vfs = vfs.restart();
    put(&vfs, "ottla.ends", &ends);
    vfs.restart()
}

fn logs(vfs: &MemoryVfs, of: &str) -> Vec<String> {
    let mut files = files(vfs);
    files.retain(|name| name.starts_with(of) && name.ends_with(".log"));
    files
}

/// Salvages a copy; returns what was said, and what readers get.
fn salvaged(vfs: &MemoryVfs, topic: &str, keeps: bool) -> (SalvageReport, BTreeMap<Offset, Vec<u8>>) {
    let vfs = vfs.restart();
    let work = Salvage::new().keep_behind_tears(keeps);
    let report = salvage_with(work, Arc::new(vfs.clone()), Path::new(ROOT), Path::new(OUT)).unwrap();
    let verified = verify_on(Arc::new(vfs.clone()), Path::new(OUT)).unwrap();
    assert_eq!(verified.findings, []);
    let broker = open_on(options(), Arc::new(vfs), Path::new(OUT)).unwrap();
    let topic = broker.topic(topic).unwrap();
    let found = records(&topic.partition(0).unwrap());
    if !topic.name().starts_with("__") {
        send_all(&topic, ["goes on"]).unwrap();
    }
    (report, found)
}

/// The offsets that are listed as left or kept behind a tear, with the batches and records that are counted.
fn listed(report: &SalvageReport, says: &str) -> Vec<Offset> {
    let behind = report.left.iter().filter(|left| left.kind == FindingKind::BehindTear);
    let offsets = behind.flat_map(|left| {
        assert_eq!(left.severity, Severity::Unrecovered);
        assert!(left.advice.contains(says), "{left}");
        let offsets = left.offsets.clone().unwrap();
        let count = offsets.end - offsets.start;
        assert!(left.what.starts_with(&format!("{count} whole batches, {count} records, st")), "{left}");
        offsets
    });
    offsets.collect()
}

/// What a tear does to the batch at some bytes of a log.
type Tear = (&'static str, fn(&MemoryVfs, &str, Range<usize>));

const TEARS: [Tear; 4] = [
    ("a flipped byte", |vfs, log, batch| {
        let mut bytes = get(vfs, log);
        bytes[batch.start + 70] ^= 1;
        put(vfs, log, &bytes);
    }),
    ("a block that never came", |vfs, log, batch| {
        let mut bytes = get(vfs, log);
        bytes[batch.start..batch.start + 100].fill(0);
        put(vfs, log, &bytes);
    }),
    ("a batch that is gone", |vfs, log, batch| {
        let bytes = get(vfs, log);
        put(vfs, log, &[&bytes[..batch.start], &bytes[batch.end..]].concat());
    }),
    ("zeros for the rest", |vfs, log, batch| {
        let mut bytes = get(vfs, log);
        bytes[batch.start..].fill(0);
        put(vfs, log, &bytes);
    }),
];

/// The bytes of a batch, the `at`th of its segment.
fn batch(at: usize) -> Range<usize> {
    at * 320..(at + 1) * 320
}

#[test]
fn behind_a_tear_it_keeps_what_a_recovery_keeps_and_lists_the_rest_or_keeps_that_too() {
    let whole = unproven();
    let logs = logs(&whole, "t-0/");
    assert_eq!(logs.len(), 4);
    for (name, tear) in TEARS {
        for torn in 4..12 {
            let what = format!("{name} at {torn}");
            let source = whole.restart();
            let (segment, at) = (torn / 3, usize::try_from(torn % 3).unwrap());
            tear(&source, &logs[usize::try_from(segment).unwrap()], batch(at));
            let lost: Range<Offset> = match name {
                "zeros for the rest" => torn..(segment + 1) * 3,
                _ => torn..torn + 1,
            };
            let behind: Vec<_> = (lost.end..12).collect();
            let recovered = open_on(options(), Arc::new(source.restart()), Path::new(ROOT)).unwrap();
            let recovered = records(&recovered.topic("t").unwrap().partition(0).unwrap());
            assert!(recovered.keys().copied().eq(0..lost.start), "{what}: {:?}", recovered.keys());

            let (report, found) = salvaged(&source, "t", false);
            assert_eq!(found, recovered, "{what}");
            assert_eq!(listed(&report, "as a recovery leaves them"), behind, "{what}: {:#?}", report.left);
            let count = behind.len() as u64;
            assert_eq!((report.left_batches, report.left_records), (count, count), "{what}");

            let (report, found) = salvaged(&source, "t", true);
            let expected = (0..12).filter(|offset| !lost.contains(offset));
            assert!(found.keys().copied().eq(expected), "{what}: {:?}, {:#?}", found.keys(), report.left);
            assert!(
                found.iter().all(|(at, value)| *value == vec![u8::try_from(*at).unwrap(); 250]),
                "{what}"
            );
            assert_eq!(listed(&report, "they were kept"), behind, "{what}: {:#?}", report.left);
            assert_eq!((report.left_batches, report.left_records), (0, 0), "{what}");
            assert!(report.left.iter().all(|left| left.severity < Severity::Derived), "{:#?}", report.left);
        }
    }
}

#[test]
fn a_segment_that_is_missing_above_the_proven_end_is_a_tear() {
    let source = unproven();
    source.remove_file(&path(&logs(&source, "t-0/")[2])).unwrap();
    let (report, found) = salvaged(&source, "t", false);
    assert!(found.keys().copied().eq(0..6), "{:?}", found.keys());
    assert_eq!(listed(&report, "as a recovery leaves them"), [9, 10, 11]);
    let (report, found) = salvaged(&source, "t", true);
    assert!(found.keys().copied().eq((0..6).chain(9..12)), "{:?}", found.keys());
    assert_eq!(listed(&report, "they were kept"), [9, 10, 11]);
}

#[test]
fn below_the_proven_end_nothing_is_a_tear() {
    let source = unproven();
    TEARS[0].1(&source, &logs(&source, "t-0/")[0], batch(1));
    let (report, found) = salvaged(&source, "t", false);
    assert!(found.keys().copied().eq((0..12).filter(|offset| *offset != 1)), "{:?}", found.keys());
    assert_eq!((listed(&report, ""), report.left_batches), (vec![], 0));
    assert_eq!(report.left[0].severity, Severity::Damage);
}

#[test]
fn what_kafka_would_cut_is_listed_and_kept_if_asked_for() {
    let source = kafkas("stopped");
    source.remove_file(&path(".kafka_cleanshutdown")).unwrap();
    put(&source, "recovery-point-offset-checkpoint", b"0\n1\nsegments 0 0\n");
    let log = &logs(&source, "segments-0/")[1];
    let bytes = get(&source, log);
    TEARS[0].1(&source, log, batches(&bytes).pop().unwrap()..bytes.len());
    let (report, found) = salvaged(&source, "segments", false);
    let end = *found.keys().last().unwrap() + 1;
    assert!((41..80).contains(&end) && found.len() as u64 == end, "{end}");
    assert_eq!(report.left_records, 40, "the whole last segment: {:#?}", report.left);
    let (report, found) = salvaged(&source, "segments", true);
    assert!(found.keys().copied().eq((0..end).chain(80..120)), "{:?}", found.keys());
    assert_eq!(report.left_records, 0);
}
