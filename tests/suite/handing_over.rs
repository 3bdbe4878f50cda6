//! Handing a topic over to a stopped Kafka broker: its partitions hold what ours held, or are as they were.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, hand_over_on, open_on};
use ottla::{Broker, ErrorKind, HandOver, HandOverReport, Record, Result, TopicConfig};

use crate::adopting::{META, batches, open};
use crate::support::{ROOT, options, send_all, tree, values};

const TIMEOUT: Duration = Duration::from_secs(10);
pub const KAFKA: &str = "/kafka";
const ID: &str = "rE6H2AcSSMCQ7GdNHWIEMQ";
const POINTS: &[u8] = b"0\n3\nother 0 0\norders 0 0\norders 1 0\n";

fn write(vfs: &MemoryVfs, path: &Path, bytes: &[u8]) {
    let file = vfs.open(path, OpenMode::CreateEmpty).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file.sync_all().unwrap();
    vfs.sync_dir(path.parent().unwrap()).unwrap();
}

pub fn kafka(name: &str) -> std::path::PathBuf {
    Path::new(KAFKA).join(name)
}

fn read(vfs: &MemoryVfs, name: &str) -> Vec<u8> {
    vfs.open(&kafka(name), OpenMode::Read).unwrap().map().unwrap().to_vec()
}

/// The log directory of a stopped broker that has made the topic with two partitions, and another one.
fn make_kafka(vfs: &MemoryVfs) {
    vfs.create_dir(Path::new(KAFKA)).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    write(vfs, &kafka("meta.properties"), META.as_bytes());
    write(vfs, &kafka(".kafka_cleanshutdown"), br#"{"version":0,"brokerEpoch":7}"#);
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        write(vfs, &kafka(name), POINTS);
    }
    write(vfs, &kafka("log-start-offset-checkpoint"), b"0\n0\n");
    for name in ["orders-0", "orders-1", "other-0"] {
        vfs.create_dir(&kafka(name)).unwrap();
        let file = |file: &str| kafka(name).join(file);
        let id = if name == "other-0" { "OTHER2AcSSMCQ7GdNHWIEQ" } else { ID };
        let metadata = format!("version: 0\ntopic_id: {id}");
        write(vfs, &file("partition.metadata"), metadata.as_bytes());
        write(vfs, &file("leader-epoch-checkpoint"), b"0\n1\n1 0\n");
        for suffix in ["log", "index", "timeindex"] {
            write(vfs, &file(&format!("00000000000000000000.{suffix}")), b"");
        }
    }
    vfs.sync_dir(Path::new(KAFKA)).unwrap();
}

/// A topic with records of three leader epochs in several segments of partition 0, and one in partition 1.
pub fn both() -> MemoryVfs {
    let mut vfs = MemoryVfs::new();
    for life in 0..3 {
        let broker = open(&vfs).unwrap();
        let config = TopicConfig::new().partitions(2).segment_bytes(1024);
        let orders = broker.ensure_topic("orders", config).unwrap();
        send_all(&orders, (0..5).map(|number| vec![life * 5 + number; 200])).unwrap();
        if life == 2 {
            orders.producer().send(Record::new("one").partition(1)).unwrap().wait().unwrap();
            broker.close(TIMEOUT).unwrap();
        } else {
            std::mem::forget((broker, orders));
            vfs = vfs.restart();
        }
    }
    make_kafka(&vfs);
    vfs
}

pub fn of(topic: &str) -> HandOver {
    HandOver::new(topic).from(ROOT).to(KAFKA)
}

pub fn run(vfs: &MemoryVfs, hand_over: HandOver) -> Result<HandOverReport> {
    hand_over_on(hand_over, Arc::new(vfs.clone()))
}

pub fn expected() -> Vec<Vec<u8>> {
    (0..15).map(|number| vec![number; 200]).collect()
}

pub fn read_all(vfs: &MemoryVfs, root: &str, adopts: bool) -> Option<Vec<Vec<u8>>> {
    let options = options().adopt(adopts);
    let broker: Broker = open_on(options, Arc::new(vfs.fork().restart()), Path::new(root)).unwrap();
    let topic = broker.topic("orders").ok()?;
    assert!(values(&topic.partition(1).unwrap()).unwrap().len() < 2);
    Some(values(&topic.partition(0).unwrap()).unwrap())
}

/// Kafka's partitions hold everything, as Kafka wants it.
pub fn assert_handed_over(vfs: &MemoryVfs, what: &str) {
    let files = tree(vfs, Path::new(KAFKA));
    let names: Vec<_> =
        files.keys().map(|path| path.strip_prefix(KAFKA).unwrap().to_string_lossy()).collect();
    let (mut last, mut count) = (-1, 0);
    for name in names.iter().filter(|name| name.starts_with("orders-0/") && name.ends_with(".log")) {
        let log = read(vfs, name);
        for position in batches(&log) {
            let epoch = i32::from_be_bytes(log[position + 12..position + 16].try_into().unwrap());
            assert!((last..=1).contains(&epoch), "{what}: epoch {epoch} in {name}");
            (last, count) = (epoch, count + 1);
        }
        assert!(names.contains(&name.replace(".log", ".index").into()), "{what}: {names:?}");
    }
    assert!(count >= 3, "{what}: {count} batches");
    assert_eq!(read(vfs, "orders-0/leader-epoch-checkpoint"), b"0\n2\n0 0\n1 5\n", "{what}");
    let metadata = format!("version: 0\ntopic_id: {ID}");
    assert_eq!(read(vfs, "orders-0/partition.metadata"), metadata.as_bytes(), "{what}");
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        assert_eq!(read(vfs, name), b"0\n3\norders 0 15\norders 1 1\nother 0 0\n", "{what}: {name}");
    }
    assert_eq!(read(vfs, "orders-0/00000000000000000015.snapshot"), *b"\0\x01HgK\xc7\0\0\0\0", "{what}");
    let odd = names
        .iter()
        .find(|name| ["incoming", "-stray", "-delete", ".tmp"].iter().any(|part| name.contains(part)));
    assert_eq!(odd, None, "{what}");
    assert_eq!(read_all(vfs, KAFKA, true), Some(expected()), "{what}");
}

#[test]
fn a_topic_is_copied_with_kafkas_epochs_and_stays_ours() {
    let vfs = both();
    let ours = tree(&vfs, Path::new(ROOT));
    let (told, last) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new((0, 0))));
    let (times, newest) = (Arc::clone(&told), Arc::clone(&last));
    let hand_over = of("orders").progress(move |done, total| {
        times.fetch_add(1, Ordering::SeqCst);
        *newest.lock().unwrap() = (done, total);
    });
    let report = run(&vfs, hand_over).unwrap();
    assert_handed_over(&vfs, "copied");
    assert_eq!(tree(&vfs, Path::new(ROOT)), ours);
    let partitions: Vec<_> = report
        .partitions()
        .iter()
        .map(|it| (it.partition(), it.log_start_offset(), it.log_end_offset(), it.was_there()))
        .collect();
    assert_eq!(partitions, [(0, 0, 15, false), (1, 0, 1, false)]);
    assert!(report.partitions()[0].restamped_batches() > 0);
    assert!(!report.is_given_up() && report.next_step().contains("start the broker"), "{report:?}");
    let bytes: u64 = report.partitions().iter().map(ottla::HandedOver::bytes).sum();
    assert_eq!(*last.lock().unwrap(), (bytes, bytes));
    assert!(told.load(Ordering::SeqCst) > 1);
}

#[test]
fn a_topic_that_is_given_up_is_kafkas_alone() {
    let vfs = both();
    let report = run(&vfs, of("orders").give_up(true)).unwrap();
    assert!(report.is_given_up());
    assert_handed_over(&vfs, "moved");
    assert_eq!(read_all(&vfs, ROOT, false), None);
    let left = tree(&vfs, Path::new(ROOT));
    assert!(!left.keys().any(|path| path.to_string_lossy().contains("orders")), "{left:?}");
    let error = run(&vfs, of("orders")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
}

#[test]
fn running_it_again_finds_everything_there() {
    let vfs = both();
    let first = run(&vfs, of("orders")).unwrap();
    let before = tree(&vfs, Path::new(KAFKA));
    let again = run(&vfs, of("orders")).unwrap();
    assert_eq!(tree(&vfs, Path::new(KAFKA)), before);
    assert!(again.partitions().iter().all(ottla::HandedOver::was_there));
    assert_eq!(again.partitions().len(), first.partitions().len());
    // Since then Kafka has deleted records, and what it says of that stays.
    let starts = kafka("log-start-offset-checkpoint");
    write(&vfs, &starts, b"0\n1\norders 0 1\n");
    run(&vfs, of("orders")).unwrap();
    assert_eq!(read(&vfs, "log-start-offset-checkpoint"), b"0\n1\norders 0 1\n");
    // Since then Kafka has gone on.
    let log = kafka("orders-1/00000000000000000000.log");
    let mut appended = read(&vfs, "orders-1/00000000000000000000.log");
    appended.extend(ottla::internals::encode_batch(1, &[(1, 1, Record::new("kafka's"))]));
    write(&vfs, &log, &appended);
    let error = run(&vfs, of("orders")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicAlreadyExists, "{error}");
}

/// What is wrong, and what the error says.
type Refusal = (&'static str, fn(&MemoryVfs), ErrorKind, &'static str);

const REFUSALS: [Refusal; 13] = [
    (
        "no broker's directory",
        |vfs| vfs.remove_file(&kafka("meta.properties")).unwrap(),
        ErrorKind::DirectoryNotOurs,
        "meta.properties",
    ),
    (
        "no such topic there",
        |vfs| move_away(vfs, &["orders-0", "orders-1"]),
        ErrorKind::UnknownTopicOrPartition,
        "create the topic with 2 partitions",
    ),
    ("a partition too few", |vfs| move_away(vfs, &["orders-1"]), ErrorKind::InvalidPartitions, "[0]"),
    (
        "a partition too many",
        |vfs| {
            vfs.create_dir(&kafka("orders-2")).unwrap();
        },
        ErrorKind::InvalidPartitions,
        "[0, 1, 2]",
    ),
    (
        "no topic id",
        |vfs| vfs.remove_file(&kafka("orders-1/partition.metadata")).unwrap(),
        ErrorKind::CorruptMessage,
        "partition.metadata",
    ),
    (
        "a topic id that is none",
        |vfs| write(vfs, &kafka("orders-1/partition.metadata"), b"?"),
        ErrorKind::CorruptMessage,
        "partition.metadata",
    ),
    (
        "two topic ids",
        |vfs| {
            write(
                vfs,
                &kafka("orders-1/partition.metadata"),
                b"version: 0\ntopic_id: rE6H2AcSSMCQ7GdNHWIEMA",
            );
        },
        ErrorKind::CorruptMessage,
        "different topic ids",
    ),
    (
        "records there",
        |vfs| {
            let batch = ottla::internals::encode_batch(0, &[(0, 1, Record::new("kafka's"))]);
            write(vfs, &kafka("orders-1/00000000000000000000.log"), &batch);
        },
        ErrorKind::TopicAlreadyExists,
        "not empty",
    ),
    (
        "records that are gone",
        |vfs| {
            for suffix in ["log", "index", "timeindex"] {
                let name = |base: u64| kafka(&format!("orders-0/{base:020}.{suffix}"));
                vfs.rename(&name(0), &name(9)).unwrap();
            }
        },
        ErrorKind::TopicAlreadyExists,
        "not empty",
    ),
    (
        "a damaged checkpoint",
        |vfs| write(vfs, &kafka("recovery-point-offset-checkpoint"), b"0\nx\n"),
        ErrorKind::CorruptMessage,
        "recovery-point",
    ),
    (
        "damaged epochs",
        |vfs| write(vfs, &kafka("orders-0/leader-epoch-checkpoint"), b"0\n9\n"),
        ErrorKind::CorruptMessage,
        "leader-epoch-checkpoint",
    ),
    (
        "our directory was not closed",
        |vfs| vfs.remove_file(&Path::new(ROOT).join(".kafka_cleanshutdown")).unwrap(),
        ErrorKind::DirectoryInUse,
        "closed in order",
    ),
    (
        "our log is damaged",
        |vfs| {
            let path = Path::new(ROOT).join("orders-0/00000000000000000000.log");
            let file = vfs.open(&path, OpenMode::Write).unwrap();
            assert_eq!(file.write_at(&[1], 100).unwrap(), 1);
        },
        ErrorKind::CorruptMessage,
        "checksum",
    ),
];

/// A hand-over was made already: then both sides hold the records, and the error names the one that is damaged.
#[test]
fn running_it_again_blames_the_side_that_is_damaged() {
    fn flip(vfs: &MemoryVfs, path: &Path) {
        let mut bytes = vfs.open(path, OpenMode::Read).unwrap().map().unwrap().to_vec();
        bytes[100] ^= 1;
        write(vfs, path, &bytes);
    }
    type Case = (&'static str, &'static str, fn(&MemoryVfs, &Path), &'static str);
    const SECOND: &str = "00000000000000000004.log";
    let cases: [Case; 5] = [
        (ROOT, SECOND, flip, "our log that is damaged"),
        (ROOT, SECOND, |vfs, path| vfs.remove_file(path).unwrap(), "our log that is damaged"),
        (ROOT, SECOND, |vfs, path| write(vfs, path, b""), "our log that is damaged"),
        (KAFKA, SECOND, flip, "Kafka's partition is not empty, and damaged: "),
        (
            KAFKA,
            SECOND,
            |vfs, path| write(vfs, path, b"no batch"),
            "Kafka's partition is not empty, and damaged: ",
        ),
    ];
    for (number, (root, name, deed, says)) in cases.into_iter().enumerate() {
        let vfs = both();
        run(&vfs, of("orders")).unwrap();
        let dir = Path::new(root).join("orders-0");
        deed(&vfs, &dir.join(name));
        let before = (tree(&vfs, Path::new(ROOT)), tree(&vfs, Path::new(KAFKA)));
        let error = run(&vfs, of("orders").give_up(true)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{number}: {error}");
        assert!(error.file().unwrap().starts_with(&dir), "{number}: {error}");
        assert!(error.to_string().contains(says), "{number}: {error}");
        assert_eq!((tree(&vfs, Path::new(ROOT)), tree(&vfs, Path::new(KAFKA))), before, "{number}");
    }
    // Without a copy on the other side, a segment that is gone is missed as well.
    let vfs = both();
    vfs.remove_file(&Path::new(ROOT).join("orders-0").join(SECOND)).unwrap();
    let error = run(&vfs, of("orders")).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("our log that is damaged"), "{error}");
}

fn move_away(vfs: &MemoryVfs, names: &[&str]) {
    names.iter().for_each(|name| vfs.rename(&kafka(name), &Path::new("/").join(name)).unwrap());
}

#[test]
fn what_cannot_be_handed_over_leaves_both_sides_as_they_were() {
    for (what, deed, kind, says) in REFUSALS {
        let vfs = both();
        deed(&vfs);
        let before = (tree(&vfs, Path::new(ROOT)), tree(&vfs, Path::new(KAFKA)));
        let error = run(&vfs, of("orders").give_up(true)).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains(says), "{what}: {error}");
        assert_eq!((tree(&vfs, Path::new(ROOT)), tree(&vfs, Path::new(KAFKA))), before, "{what}");
    }
    for (what, path, name) in [
        ("the broker runs", kafka(".lock"), "orders"),
        ("our broker runs", Path::new(ROOT).join(".lock"), "orders"),
    ] {
        let vfs = both();
        let held = vfs.lock(&path).unwrap().unwrap();
        let before = (tree(&vfs, Path::new(ROOT)), tree(&vfs, Path::new(KAFKA)));
        assert_eq!(run(&vfs, of(name)).expect_err(what).kind(), ErrorKind::DirectoryInUse, "{what}");
        assert_eq!((tree(&vfs, Path::new(ROOT)), tree(&vfs, Path::new(KAFKA))), before, "{what}");
        drop(held);
        run(&vfs, of(name)).unwrap();
    }
    let vfs = both();
    for (topic, kind) in [
        ("order", ErrorKind::UnknownTopicOrPartition),
        ("or/der", ErrorKind::InvalidTopic),
        ("__consumer_offsets", ErrorKind::InvalidTopic),
    ] {
        assert_eq!(run(&vfs, of(topic)).unwrap_err().kind(), kind, "{topic}");
    }
}

/// What Kafka knew of producers goes along; without it, Kafka is left to read the batches.
#[test]
fn producer_snapshots_go_along_and_none_says_more_than_is_true() {
    for (snapshot, expected) in
        [(true, "00000000000000000006.snapshot"), (false, "00000000000000000000.snapshot")]
    {
        let vfs = both();
        let log = Path::new(ROOT).join("orders-0/00000000000000000000.log");
        let bytes = vfs.open(&log, OpenMode::Read).unwrap().map().unwrap();
        let mut bytes = bytes.to_vec();
        // A producer with an id, in the first batch.
        let end = batches(&bytes).get(1).copied().unwrap_or(bytes.len());
        bytes[43..51].copy_from_slice(&4000_i64.to_be_bytes());
        let crc = crc_fast::crc32_iscsi(&bytes[21..end]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        write(&vfs, &log, &bytes);
        if snapshot {
            write(&vfs, &Path::new(ROOT).join("orders-0/00000000000000000006.snapshot"), b"Kafka's");
        }
        run(&vfs, of("orders")).unwrap();
        let files = tree(&vfs, &kafka("orders-0"));
        let snapshots: Vec<_> = files
            .keys()
            .filter_map(|path| path.file_name()?.to_str().filter(|name| name.ends_with(".snapshot")))
            .collect();
        assert_eq!(snapshots, [expected]);
    }
}
