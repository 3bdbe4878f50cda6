//! `salvage`: what is sound is there, at its offset, in a directory that ottla opens; the source stays as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::{FindingKind, SalvageReport, Severity, salvage};
use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on, salvage_on, verify_on};
use ottla::{Broker, ErrorKind, Isolation, Partition, Record, Start, TopicConfig};

use crate::adopting::batches;
use crate::inspecting::{BATCHES, hex};
use crate::kafka_fixtures::{Line, Read};
use crate::support::{ROOT, TempDir, encode_batch, options, send_all, values};
use crate::verifying::{complete, content, files, path, replace};

pub const OUT: &str = "/salvaged";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Salvages a copy of the directory, and opens what comes of it.
pub fn salvaged(vfs: &MemoryVfs) -> (SalvageReport, MemoryVfs, Broker) {
    let vfs = vfs.restart();
    let before: Vec<_> = files(&vfs).into_iter().map(|name| (content(&vfs, &name), name)).collect();
    let report = salvage_on(Arc::new(vfs.clone()), Path::new(ROOT), Path::new(OUT)).unwrap();
    let after: Vec<_> = files(&vfs).into_iter().map(|name| (content(&vfs, &name), name)).collect();
    assert_eq!(after, before, "the source is not changed");
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(OUT)).unwrap();
    (report, vfs, broker)
}

/// The records of a partition with their offsets.
pub fn records(partition: &Partition) -> BTreeMap<u64, Vec<u8>> {
    let batches = partition.read(Start::Earliest).unwrap();
    let records = batches.flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>());
    records.map(|record| (record.offset, record.value.unwrap_or_default().to_vec())).collect()
}

/// The records of topic `a` of the complete directory.
pub fn all_of_a() -> BTreeMap<u64, Vec<u8>> {
    (0..18_u8).map(|number| (u64::from(number), vec![number; 150])).collect()
}

#[test]
fn an_undamaged_directory_is_copied_whole() {
    let source = complete();
    let (report, vfs, broker) = salvaged(&source);
    assert!(report.left.is_empty(), "{:#?}", report.left);
    assert_eq!((report.topics, report.partitions, report.records), (2, 3, 30));
    let original = open_on(options(), Arc::new(source.restart()), Path::new(ROOT)).unwrap();
    for name in ["a", "b"] {
        let (topic, was) = (broker.topic(name).unwrap(), original.topic(name).unwrap());
        assert_eq!((topic.id(), topic.config()), (was.id(), was.config()));
        for (partition, was) in topic.partitions().zip(was.partitions()) {
            assert_eq!(records(&partition), records(&was));
            assert_eq!(partition.log_end_offset(), was.log_end_offset());
        }
    }
    assert_ne!(broker.directory_id(), original.directory_id());
    for base in [0, 4] {
        let log = format!("{base:020}.log");
        let read = |root: &str| {
            vfs.open(&Path::new(root).join("a-0").join(&log), OpenMode::Read).unwrap().map().unwrap()
        };
        assert_eq!(read(OUT), read(ROOT), "batch by batch as it was");
    }
    // What comes then has a leader epoch of its own.
    send_all(&broker.topic("a").unwrap(), ["more"]).unwrap();
    let batch = broker
        .topic("a")
        .unwrap()
        .partition(0)
        .unwrap()
        .read(Start::At(18))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(batch.leader_epoch(), Some(2));
    broker.close(TIMEOUT).unwrap();
    let verified = verify_on(Arc::new(vfs), Path::new(OUT)).unwrap();
    assert!(verified.findings.is_empty(), "{:#?}", verified.findings);
}

#[test]
fn whatever_byte_is_flipped_everything_else_is_salvaged() {
    let source = complete();
    let all = all_of_a();
    let mut lost = 0;
    for name in files(&source) {
        let bytes = content(&source, &name);
        for position in 0..bytes.len().min(if name == "ottla.ends" { 10_000 } else { usize::MAX }) {
            // Every byte of a batch, and some of the others.
            let is_first = name == "a-0/00000000000000000000.log" && position < 300;
            if !is_first && (position % 7 != 0 || name == "ottla.ends" && position % 512 > 90) {
                continue;
            }
            let mut damaged = bytes.clone();
            damaged[position] ^= if position % 2 == 0 { 1 } else { 0x80 };
            replace(&source, &name, &damaged);
            let (report, _, broker) = salvaged(&source);
            let what = format!("{name}, byte {position}: {:#?}", report.left);
            let Ok(topic) = broker.topic("a") else { panic!("{what}") };
            let found = records(&topic.partition(0).unwrap());
            assert!(found.iter().all(|(offset, value)| all.get(offset) == Some(value)), "{what}");
            let missing: Vec<u64> =
                all.keys().copied().filter(|offset| !found.contains_key(offset)).collect();
            let is_log = name.starts_with("a-0") && name.ends_with(".log");
            assert!(missing.len() <= usize::from(is_log), "{what}: {missing:?}");
            for offset in &missing {
                let names = |offsets: &std::ops::Range<u64>| offsets.contains(offset);
                assert!(report.left.iter().any(|left| left.offsets.as_ref().is_some_and(names)), "{what}");
            }
            lost += missing.len();
            assert_eq!(topic.partition(0).unwrap().log_end_offset(), 18, "{what}");
            send_all(&topic, ["goes on"]).unwrap();
        }
        replace(&source, &name, &bytes);
    }
    assert!(lost > 0);
}

#[test]
fn a_hole_is_an_empty_batch_that_readers_pass_over() {
    let source = complete();
    let log = "a-0/00000000000000000000.log";
    let mut damaged = content(&source, log);
    let batch = damaged.len() / 4;
    // The second and the third record.
    damaged[batch + 70] ^= 1;
    damaged[2 * batch + 70] ^= 1;
    replace(&source, log, &damaged);
    // And the segment behind it.
    source.remove_file(&path("a-0/00000000000000000004.log")).unwrap();
    let (report, vfs, broker) = salvaged(&source);
    let holes: Vec<_> = report.left.iter().map(|left| (left.kind, left.offsets.clone().unwrap())).collect();
    assert_eq!(holes, [(FindingKind::Batch, 1..3), (FindingKind::Segment, 4..8)]);
    let topic = broker.topic("a").unwrap();
    let expected: BTreeMap<_, _> =
        all_of_a().into_iter().filter(|(at, _)| [0, 3].contains(at) || *at >= 8).collect();
    assert_eq!(records(&topic.partition(0).unwrap()), expected);
    let mut consumer = broker.consumer().assign([topic.partition(0).unwrap()]).unwrap();
    consumer.seek(&topic.partition(0).unwrap(), Start::At(5)).unwrap();
    let first = consumer.poll(Duration::ZERO).unwrap().iter().next().map(|record| record.offset());
    assert_eq!(first, Some(8));
    send_all(&topic, ["more"]).unwrap();
    broker.close(TIMEOUT).unwrap();
    let verified = verify_on(Arc::new(vfs), Path::new(OUT)).unwrap();
    assert!(verified.findings.is_empty(), "{:#?}", verified.findings);
}

#[test]
fn a_partition_without_its_first_segments_begins_behind_them_and_one_without_any_keeps_its_offsets() {
    let source = complete();
    for base in [0, 4] {
        source.remove_file(&path(&format!("a-0/{base:020}.log"))).unwrap();
    }
    let (report, _, broker) = salvaged(&source);
    assert_eq!(report.left.len(), 1, "{:#?}", report.left);
    let partition = broker.topic("a").unwrap().partition(0).unwrap();
    assert_eq!((partition.log_start_offset(), partition.log_end_offset()), (8, 18));
    assert_eq!(records(&partition).len(), 10);

    for name in files(&source).iter().filter(|name| name.starts_with("a-0") && name.ends_with(".log")) {
        source.remove_file(&path(name)).unwrap();
    }
    let (_, _, broker) = salvaged(&source);
    let partition = broker.topic("a").unwrap().partition(0).unwrap();
    assert_eq!((partition.log_end_offset(), records(&partition).len()), (18, 0));
    send_all(&broker.topic("a").unwrap(), ["more"]).unwrap();
    assert_eq!(records(&partition), BTreeMap::from([(18, b"more".to_vec())]));
}

#[test]
fn without_manifest_and_ends_the_directories_say_what_there_is() {
    let source = complete();
    let id =
        open_on(options(), Arc::new(source.restart()), Path::new(ROOT)).unwrap().topic("b").unwrap().id();
    for gone in [&["ottla.manifest"][..], &["ottla.ends"], &["ottla.manifest", "ottla.ends"]] {
        let source = source.restart();
        gone.iter().for_each(|name| source.remove_file(&path(name)).unwrap());
        source.open(&path("ottla.reserve"), OpenMode::Create).unwrap();
        source.remove_file(&path("b-0/partition.metadata")).unwrap();
        let (report, _, broker) = salvaged(&source);
        assert!(report.left.len() >= gone.len(), "{:#?}", report.left);
        assert_eq!(records(&broker.topic("a").unwrap().partition(0).unwrap()), all_of_a());
        let b = broker.topic("b").unwrap();
        assert_eq!((b.id(), b.partition_count()), (id, 2));
        assert_eq!(records(&b.partition(1).unwrap()).len(), 12);
    }
}

#[test]
fn damaged_partitions_of_every_kind_are_salvaged() {
    for (what, damage) in crate::damage::DAMAGES {
        for in_order in [true, false] {
            let vfs = crate::damage::filled(in_order);
            damage(&vfs);
            let (report, _, broker) = salvaged(&vfs);
            let kept = |topic: &str, partition| {
                values(&broker.topic(topic).unwrap().partition(partition).unwrap()).unwrap().len()
            };
            let expected = match what {
                "the log is shorter" | "the log is gone" => 1,
                _ => 2,
            };
            let is_cut = what.starts_with("the log");
            assert!(kept("a", 1) <= expected && (is_cut || kept("a", 1) == 2), "{what}: {:#?}", report.left);
            assert_eq!([kept("a", 0), kept("b", 0), kept("b", 1)], [2; 3], "{what}");
        }
    }
}

#[test]
fn a_torn_tail_is_left_as_recovery_leaves_it() {
    let source = complete();
    source.remove_file(&path(".kafka_cleanshutdown")).unwrap();
    let log = files(&source)
        .into_iter()
        .filter(|name| name.starts_with("a-0") && name.ends_with(".log"))
        .max()
        .unwrap();
    replace(&source, &log, &[content(&source, &log), vec![7; 100]].concat());
    let (report, _, broker) = salvaged(&source);
    let [left] = &report.left[..] else { panic!("{:#?}", report.left) };
    assert_eq!((left.severity, left.kind), (Severity::Unrecovered, FindingKind::Batch));
    assert_eq!(records(&broker.topic("a").unwrap().partition(0).unwrap()), all_of_a());
}

#[test]
fn kafkas_log_is_salvaged_with_its_gaps_and_epochs() {
    let source = MemoryVfs::new();
    for dir in ["", "t-0", "__cluster_metadata-0"] {
        source.create_dir(&path(dir)).unwrap();
    }
    let mut log: Vec<u8> = BATCHES.iter().flat_map(|batch| hex(batch)).collect();
    for position in batches(&log) {
        let epoch: i32 = if position == 0 { 0 } else { 7 };
        log[position + 12..position + 16].copy_from_slice(&epoch.to_be_bytes());
    }
    let put = |name: &str, bytes: &[u8]| {
        source.open(&path(name), OpenMode::CreateNew).unwrap().write_at(bytes, 0).unwrap();
    };
    put("meta.properties", b"version=1\n");
    put(".kafka_cleanshutdown", b"{\"version\":0,\"brokerEpoch\":7}");
    put("t-0/partition.metadata", b"version: 0\ntopic_id: rE6H2AcSSMCQ7GdNHWIEMQ");
    put("t-0/leader-epoch-checkpoint", b"0\n2\n0 0\n7 42\n");
    put("t-0/00000000000000000000.log", &log);
    put("t-0/00000000000000000000.index", &[]);
    // The greatest timestamp is that of the abort marker.
    put("t-0/00000000000000000000.timeindex", &hex("0000018bcfe568140000002c"));
    put(
        "t-0/00000000000000000000.txnindex",
        &hex("00000000000000000fa0000000000000002a000000000000002c000000000000002d"),
    );
    let report = verify_on(Arc::new(source.clone()), Path::new(ROOT)).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.batches, report.index_entries), (6, 2));

    let (report, vfs, broker) = salvaged(&source);
    assert!(report.left.is_empty(), "{:#?}", report.left);
    let topic = broker.topic("t").unwrap();
    assert_eq!(topic.id().to_string(), "rE6H2AcSSMCQ7GdNHWIEMQ");
    let partition = topic.partition(0).unwrap();
    assert_eq!(partition.log_end_offset(), 204);
    assert_eq!(records(&partition).keys().copied().collect::<Vec<_>>(), [0, 1, 2, 42, 102]);
    send_all(&topic, ["more"]).unwrap();
    broker.close(TIMEOUT).unwrap();
    let verified = verify_on(Arc::new(vfs), Path::new(OUT)).unwrap();
    assert!(verified.findings.is_empty(), "{:#?}", verified.findings);
}

#[test]
fn nothing_is_overwritten_and_no_owner_disturbed() {
    let dir = TempDir::new("salvage-rules");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let broker = options().open(&from).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    topic.producer().send(Record::new("kept")).unwrap().wait().unwrap();
    let refused = |from: &PathBuf, to: &PathBuf| {
        let before = dir.content();
        let error = salvage(from, to).unwrap_err();
        assert_eq!(dir.content(), before, "{error}");
        error.kind()
    };
    assert_eq!(refused(&from, &to), ErrorKind::DirectoryInUse);
    broker.close(TIMEOUT).unwrap();
    assert_eq!(refused(&from, &from), ErrorKind::DirectoryNotOurs);
    assert_eq!(refused(&from, &from.join("inside")), ErrorKind::DirectoryNotOurs);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&from, &link).unwrap();
    assert_eq!(refused(&from, &link.join("inside")), ErrorKind::DirectoryNotOurs, "a link leads there");
    assert_eq!(refused(&link, &from.join("not/there/yet")), ErrorKind::DirectoryNotOurs);
    std::fs::remove_file(link).unwrap();
    assert_eq!(refused(&from.join("t-0"), &to), ErrorKind::DirectoryNotOurs);
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("notes"), "mine").unwrap();
    assert_eq!(refused(&from, &to), ErrorKind::DirectoryNotOurs);
    assert_eq!(refused(&from, &to.join("notes")), ErrorKind::DirectoryNotOurs);
    std::fs::remove_file(to.join("notes")).unwrap();
    let report = salvage(&from, &to).unwrap();
    assert_eq!((report.records, report.left.len()), (1, 0));
    let broker = options().open(&to).unwrap();
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"kept"]);
}

/// The log directory of a Kafka broker that was stopped, or killed, as the fixtures have it.
pub fn kafkas(dir: &str) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    vfs.create_dir(&path("")).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        vfs.open(&path(name), OpenMode::CreateNew).unwrap().write_at(bytes, 0).unwrap();
    };
    for entry in std::fs::read_dir(crate::kafka_fixtures::root().join(dir)).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_file() {
            put(&name, &std::fs::read(entry.path()).unwrap());
            continue;
        }
        vfs.create_dir(&path(&name)).unwrap();
        for file in std::fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
            let inside = format!("{name}/{}", file.file_name().to_str().unwrap());
            put(&inside, &std::fs::read(file.path()).unwrap());
        }
    }
    vfs
}

#[test]
fn what_a_real_kafka_wrote_is_sound_and_is_salvaged_whole() {
    for (dir, is_clean) in [("stopped", true), ("killed", false)] {
        let source = kafkas(dir);
        let report = verify_on(Arc::new(source.clone()), Path::new(ROOT)).unwrap();
        assert_eq!(report.findings, [], "{dir}");
        assert_eq!(report.is_clean, is_clean);
        println!(
            "{dir}: {} batches, {} records, {} index entries",
            report.batches, report.records, report.index_entries
        );

        let (report, _, broker) = salvaged(&source);
        assert_eq!(report.left, [], "{dir}");
        for fixture in crate::kafka_fixtures::all() {
            let name = fixture.name.strip_prefix(&format!("{dir}/"));
            let Some((topic, partition)) = name.and_then(|name| name.rsplit_once('-')) else { continue };
            let partition = broker.topic(topic).unwrap().partition(partition.parse().unwrap()).unwrap();
            for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
                let read = Read::all(&partition, isolation).unwrap();
                assert!(read.error.is_none(), "{}: {:?}", fixture.name, read.error);
                let content =
                    |line: &Line| (line.offset, line.timestamp, line.key.clone(), line.value.clone());
                let found: Vec<_> = read.lines.iter().map(content).collect();
                let expected: Vec<_> = fixture.expected.lines(isolation).iter().map(content).collect();
                assert_eq!(found, expected, "{}, {isolation:?}", fixture.name);
            }
        }
    }
}

#[test]
fn behind_a_torn_tail_nothing_is_kept_that_was_not_proven() {
    let source = complete();
    source.remove_file(&path(".kafka_cleanshutdown")).unwrap();
    let logs = files(&source).into_iter().filter(|name| name.starts_with("a-0") && name.ends_with(".log"));
    let log = logs.max().unwrap();
    let mut behind = encode_batch(19, &[(19, 1, Record::new("never promised"))]);
    behind[15] = 1;
    replace(&source, &log, &[content(&source, &log), vec![7; 100], behind].concat());
    let (report, _, broker) = salvaged(&source);
    let kinds: Vec<_> = report.left.iter().map(|left| left.kind).collect();
    assert_eq!(kinds, [FindingKind::Batch, FindingKind::BehindTear], "{:#?}", report.left);
    assert_eq!(records(&broker.topic("a").unwrap().partition(0).unwrap()), all_of_a());
}

#[test]
fn a_directory_that_was_taken_over_from_kafka_is_sound() {
    let vfs = kafkas("stopped");
    let broker = open_on(options().adopt(true), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    send_all(&broker.topic("compacted").unwrap(), ["ours"]).unwrap();
    broker.close(TIMEOUT).unwrap();
    let report = verify_on(Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    assert!(report.is_sound(), "{:#?}", report.findings);
    let (report, _, broker) = salvaged(&vfs);
    assert_eq!(report.left, []);
    let partition = broker.topic("compacted").unwrap().partition(0).unwrap();
    assert!(records(&partition).values().any(|value| value == b"ours"));
}
