//! Taking over the directory of a stopped Kafka broker: what was in it is in ours, or it stays Kafka's, as it was.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on, undo_adoption_on};
use ottla::{Broker, BrokerOptions, Durability, ErrorKind, Record, Result, Start, TopicConfig, TopicId};

use crate::support::{ROOT, encode_batch, get, options, put, send_all, tree, values};

const TIMEOUT: Duration = Duration::from_secs(10);
pub const META: &str = "version=1\nnode.id=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\n";

fn open_with(vfs: &MemoryVfs, options: BrokerOptions) -> Result<Broker> {
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT))
}

pub fn open(vfs: &MemoryVfs) -> Result<Broker> {
    open_with(vfs, options())
}

pub fn adopt(vfs: &MemoryVfs) -> Result<Broker> {
    open_with(vfs, options().adopt(true))
}

fn remove(vfs: &MemoryVfs, name: &str) {
    let path = Path::new(ROOT).join(name);
    vfs.remove_file(&path).unwrap();
    vfs.sync_dir(path.parent().unwrap()).unwrap();
}

fn number(number: usize) -> Vec<u8> {
    vec![u8::try_from(number).unwrap(); 200]
}

/// The directory of a stopped broker: a topic of two partitions, of which the first has fifteen records in several
/// segments of epoch 3, and an empty one. It differs from one of Kafka's own in what a log does not hold.
pub struct Kafkas {
    pub vfs: MemoryVfs,
    pub id: TopicId,
}

impl Kafkas {
    pub fn stopped_in_order() -> Self {
        let vfs = MemoryVfs::new();
        let broker = open(&vfs).unwrap();
        let orders =
            broker.create_topic("orders", TopicConfig::new().partitions(2).segment_bytes(1024)).unwrap();
        broker.create_topic("empty", TopicConfig::new()).unwrap();
        for record in 0..15 {
            send_all(&orders, [number(record)]).unwrap();
        }
        let id = orders.id();
        broker.close(TIMEOUT).unwrap();
        for name in ["ottla.manifest", "ottla.ends"] {
            remove(&vfs, name);
        }
        put(&vfs, "meta.properties", META.as_bytes());
        // The epoch lies outside the checksum.
        for name in logs(&vfs) {
            let mut log = get(&vfs, &name);
            for position in batches(&log) {
                log[position + 12..position + 16].copy_from_slice(&3_i32.to_be_bytes());
            }
            put(&vfs, &name, &log);
        }
        put(&vfs, "orders-0/leader-epoch-checkpoint", b"0\n1\n3 0\n");
        put(&vfs, "orders-1/leader-epoch-checkpoint", b"0\n1\n3 0\n");
        Self { vfs, id }
    }

    /// As after `kill -9`: no marker, the recovery point at the last roll, the active indexes padded with zeros, and a
    /// batch that was about to be written.
    pub fn killed() -> Self {
        let kafkas = Self::stopped_in_order();
        let Self { vfs, .. } = &kafkas;
        remove(vfs, ".kafka_cleanshutdown");
        let last = logs(vfs).pop().unwrap();
        let base: u64 = last["orders-0/".len()..][..20].parse().unwrap();
        put(vfs, "recovery-point-offset-checkpoint", format!("0\n1\norders 0 {base}\n").as_bytes());
        for suffix in ["index", "timeindex"] {
            let name = last.replace("log", suffix);
            let mut padded = get(vfs, &name);
            padded.resize(12 * 1024, 0);
            put(vfs, &name, &padded);
        }
        let torn = encode_batch(15, &[(15, 1, Record::new("torn"))]);
        put(vfs, &last, &[&get(vfs, &last)[..], &torn[..torn.len() - 1]].concat());
        kafkas
    }
}

/// The logs of the first partition, in order.
fn logs(vfs: &MemoryVfs) -> Vec<String> {
    let entries = vfs.read_dir(&Path::new(ROOT).join("orders-0")).unwrap();
    let mut logs: Vec<_> = entries.into_iter().map(|entry| format!("orders-0/{}", entry.name)).collect();
    logs.retain(|name| name.ends_with(".log"));
    logs.sort();
    logs
}

/// Where each batch of a log begins.
pub fn batches(log: &[u8]) -> Vec<usize> {
    let (mut positions, mut position) = (Vec::new(), 0);
    while position < log.len() {
        positions.push(position);
        let length = u32::from_be_bytes(log[position + 8..position + 12].try_into().unwrap());
        position += usize::try_from(length).unwrap() + 12;
    }
    positions
}

fn partition(broker: &Broker, number: u32) -> ottla::Partition {
    broker.topic("orders").unwrap().partition(number).unwrap()
}

/// Reads the fifteen records at their offsets, appends, and reads everything again after a reopening.
pub fn assert_taken_over(vfs: &MemoryVfs, broker: Broker, what: &str) {
    let expected: Vec<_> = (0..15).map(number).collect();
    assert_eq!(values(&partition(&broker, 0)).unwrap(), expected, "{what}");
    assert_eq!(partition(&broker, 1).log_end_offset(), 0);
    let orders = broker.topic("orders").unwrap();
    let metadata = orders.producer().send(Record::new("ours").partition(0)).unwrap().wait().unwrap();
    assert_eq!(metadata.offset(), 15, "{what}");
    let batch = partition(&broker, 0).read(Start::At(15)).unwrap().next().unwrap().unwrap();
    assert!(batch.leader_epoch() > Some(3), "{what}: {:?}", batch.leader_epoch());
    broker.close(TIMEOUT).unwrap();
    drop(orders);

    let again = open(vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
    let expected = [expected, vec![b"ours".to_vec()]].concat();
    assert_eq!(values(&partition(&again, 0)).unwrap(), expected, "{what}");
    for offset in 0..16 {
        let batch = partition(&again, 0).read(Start::At(offset)).unwrap().next().unwrap().unwrap();
        let first = batch.into_iter().next().unwrap().offset();
        assert_eq!(first, offset, "{what}");
    }
    again.close(TIMEOUT).unwrap();
}

#[test]
fn a_stopped_brokers_directory_becomes_ours() {
    for (kafkas, clean) in [(Kafkas::stopped_in_order(), true), (Kafkas::killed(), false)] {
        let Kafkas { vfs, id } = kafkas;
        let config = TopicConfig::new().segment_bytes(2048).partitions(9);
        let options = options()
            .adopt(true)
            .adopted_topics(config)
            .adopted_topic("empty", TopicConfig::new().durability(Durability::Os));
        let broker = open_with(&vfs, options).unwrap();
        let report = broker.recovery_report();
        assert_eq!((report.is_adopted(), report.is_clean()), (true, clean));
        let cut: Vec<_> = report.partitions().iter().map(|cut| (cut.topic(), cut.end_offset())).collect();
        assert_eq!(cut, if clean { vec![] } else { vec![("orders", 15)] });
        let orders = broker.topic("orders").unwrap();
        assert_eq!((orders.id(), orders.partition_count()), (id, 2));
        assert_eq!(orders.config().get("segment.bytes").as_deref(), Some("2048"));
        let empty = broker.topic("empty").unwrap().config();
        assert_eq!(empty.get("durability").as_deref(), Some("os"));
        assert_eq!(get(&vfs, "meta.properties.adopted"), META.as_bytes());
        drop(orders);
        assert_taken_over(&vfs, broker, "adopted");
        // A service may ask for it at each start.
        let again = adopt(&vfs).unwrap();
        assert!(!again.recovery_report().is_adopted());
    }
}

/// What a process leaves that is killed right after the adoption is recovered as any other.
#[test]
fn a_kill_after_the_adoption_changes_nothing_of_what_was_taken_over() {
    for kafkas in [Kafkas::stopped_in_order(), Kafkas::killed()] {
        let broker = adopt(&kafkas.vfs).unwrap();
        std::mem::forget(broker);
        let vfs = kafkas.vfs.restart();
        let broker = open(&vfs).unwrap();
        assert!(!broker.recovery_report().is_clean());
        assert_taken_over(&vfs, broker, "killed after the adoption");
    }
}

#[test]
fn a_brokers_directory_is_left_alone_where_nobody_adopts() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let before = tree(&vfs, Path::new(ROOT));
    let error = open(&vfs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryNotOurs);
    assert!(error.to_string().contains("can be adopted"), "{error}");
    assert_eq!(tree(&vfs, Path::new(ROOT)), before);
}

#[test]
fn a_running_broker_keeps_its_directory() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let running = vfs.lock(&Path::new(ROOT).join(".lock")).unwrap().unwrap();
    let before = tree(&vfs, Path::new(ROOT));
    let error = adopt(&vfs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
    assert_eq!(tree(&vfs, Path::new(ROOT)), before);
    drop(running);
    assert_taken_over(&vfs, adopt(&vfs).unwrap(), "stopped since");
}

/// What is wrong with a directory, and what the error says of it.
type Damage = (&'static str, fn(&MemoryVfs), ErrorKind, &'static str);

const DAMAGES: [Damage; 23] = [
    (
        "a batch that is looked at for open transactions",
        |vfs| {
            let snapshots = vfs.read_dir(&Path::new(ROOT).join("orders-0")).unwrap();
            let is_snapshot = |name: &String| name.ends_with(".snapshot");
            let names = snapshots.into_iter().map(|entry| entry.name).filter(is_snapshot);
            names.for_each(|name| remove(vfs, &format!("orders-0/{name}")));
            let log = &logs(vfs)[1];
            let mut bytes = get(vfs, log);
            // Within the last of its batches, so that no index names one behind it.
            let last = *batches(&bytes).last().unwrap();
            bytes[last + 100] ^= 1;
            put(vfs, log, &bytes);
        },
        ErrorKind::CorruptMessage,
        "checksum",
    ),
    (
        "a topic id of two topics",
        |vfs| put(vfs, "empty-0/partition.metadata", &get(vfs, "orders-0/partition.metadata")),
        ErrorKind::CorruptMessage,
        "the same topic id as topic empty",
    ),
    (
        "no topic id",
        |vfs| remove(vfs, "orders-1/partition.metadata"),
        ErrorKind::CorruptMessage,
        "orders-1/partition.metadata",
    ),
    (
        "a topic id that is none",
        |vfs| put(vfs, "orders-0/partition.metadata", b"version: 0\n"),
        ErrorKind::CorruptMessage,
        "orders-0/partition.metadata",
    ),
    (
        "two topic ids",
        |vfs| put(vfs, "orders-1/partition.metadata", &get(vfs, "empty-0/partition.metadata")),
        ErrorKind::CorruptMessage,
        "two topics",
    ),
    (
        "a partition too few",
        |vfs| {
            move_away(vfs, "orders-0");
            put(vfs, "recovery-point-offset-checkpoint", b"0\n0\n");
            put(vfs, "replication-offset-checkpoint", b"0\n0\n");
        },
        ErrorKind::StorageError,
        "partition 0",
    ),
    (
        "a first partition that is gone",
        |vfs| move_away(vfs, "orders-0"),
        ErrorKind::CorruptMessage,
        "recovery-point-offset-checkpoint names the partition, of which the log had come to offset 15",
    ),
    (
        "a last partition that is gone",
        |vfs| move_away(vfs, "orders-1"),
        ErrorKind::CorruptMessage,
        "its directory is missing",
    ),
    (
        "a topic that is gone, as the cleaner tells after a kill",
        |vfs| {
            remove(vfs, ".kafka_cleanshutdown");
            put(vfs, "cleaner-offset-checkpoint", b"0\n1\ngone 3 7\n");
        },
        ErrorKind::CorruptMessage,
        "cleaner-offset-checkpoint names the partition",
    ),
    (
        "a segment that is gone, and not its index",
        |vfs| remove(vfs, &logs(vfs)[1]),
        ErrorKind::CorruptMessage,
        "the log of a segment is gone",
    ),
    (
        "the same after a kill",
        |vfs| {
            remove(vfs, ".kafka_cleanshutdown");
            remove(vfs, &logs(vfs)[1]);
        },
        ErrorKind::CorruptMessage,
        "the log of a segment is gone",
    ),
    (
        "a segment in the middle that ends too early",
        |vfs| {
            let name = &logs(vfs)[1];
            let log = get(vfs, name);
            let last = *batches(&log).last().unwrap();
            let entry =
                [batches(&log).len() - 1, last].map(|field| u32::try_from(field).unwrap().to_be_bytes());
            put(vfs, &name.replace("log", "index"), &entry.concat());
            put(vfs, name, &log[..last]);
        },
        ErrorKind::CorruptMessage,
        "its index names a batch behind that",
    ),
    (
        "recovery points",
        |vfs| put(vfs, "recovery-point-offset-checkpoint", b"0\n1\norders 0\n"),
        ErrorKind::CorruptMessage,
        "recovery-point-offset-checkpoint",
    ),
    (
        "log starts",
        |vfs| put(vfs, "log-start-offset-checkpoint", b"1\n0\n"),
        ErrorKind::CorruptMessage,
        "log-start-offset-checkpoint",
    ),
    (
        "epochs",
        |vfs| put(vfs, "orders-0/leader-epoch-checkpoint", b"0\n2\n3 0\n"),
        ErrorKind::CorruptMessage,
        "leader-epoch-checkpoint",
    ),
    (
        "no epochs",
        |vfs| remove(vfs, "orders-0/leader-epoch-checkpoint"),
        ErrorKind::CorruptMessage,
        "epochs of a partition with records are missing",
    ),
    (
        "a log cut within a batch",
        |vfs| {
            let last = logs(vfs).pop().unwrap();
            let log = get(vfs, &last);
            put(vfs, &last, &log[..log.len() - 1]);
        },
        ErrorKind::CorruptMessage,
        ".log",
    ),
    (
        "a log cut behind a batch",
        |vfs| {
            let last = logs(vfs).pop().unwrap();
            let log = get(vfs, &last);
            put(vfs, &last, &log[..*batches(&log).last().unwrap()]);
        },
        ErrorKind::CorruptMessage,
        "synced it up to offset 15",
    ),
    (
        "a byte of the last batch",
        |vfs| {
            let last = logs(vfs).pop().unwrap();
            let mut log = get(vfs, &last);
            *log.last_mut().unwrap() ^= 1;
            put(vfs, &last, &log);
        },
        ErrorKind::CorruptMessage,
        "checksum",
    ),
    (
        "a log start behind the end",
        |vfs| put(vfs, "log-start-offset-checkpoint", b"0\n1\norders 0 16\n"),
        ErrorKind::CorruptMessage,
        "is to begin at offset 16",
    ),
    (
        "an interrupted compaction",
        |vfs| put(vfs, "orders-0/00000000000000000000.log.swap", b""),
        ErrorKind::StorageError,
        "00000000000000000000.log.swap); start the broker once",
    ),
    (
        "an interrupted compaction that was at the next one already",
        |vfs| {
            put(vfs, "orders-0/00000000000000000000.log.swap", b"");
            put(vfs, "orders-0/00000000000000000000.log.cleaned", b"");
        },
        ErrorKind::StorageError,
        "only it can finish",
    ),
    (
        "rot below the recovery point",
        |vfs| {
            remove(vfs, ".kafka_cleanshutdown");
            put(vfs, "recovery-point-offset-checkpoint", b"0\n1\norders 0 2\n");
            let mut log = get(vfs, "orders-0/00000000000000000000.log");
            log[100] ^= 1;
            put(vfs, "orders-0/00000000000000000000.log", &log);
        },
        ErrorKind::CorruptMessage,
        "had synced are damaged",
    ),
];

fn move_away(vfs: &MemoryVfs, name: &str) {
    vfs.rename(&Path::new(ROOT).join(name), Path::new("/elsewhere")).unwrap();
}

#[test]
fn a_damaged_directory_is_refused_with_its_reason_and_left_as_it_was() {
    for (what, damage, kind, says) in DAMAGES {
        let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
        damage(&vfs);
        let before = tree(&vfs, Path::new(ROOT));
        let error = adopt(&vfs).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains(says), "{what}: {error}");
        assert!(error.to_string().contains("nothing was changed"), "{what}: {error}");
        assert_eq!(tree(&vfs, Path::new(ROOT)), before, "{what}");
    }
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    remove(&vfs, &logs(&vfs)[1]);
    let error = open_with(&vfs, options().adopt(true).isolate_damage(true)).unwrap_err().to_string();
    for part in ["restore the file", "an adoption does not isolate damage"] {
        assert!(error.contains(part), "{error}");
    }
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let error =
        open_with(&vfs, options().adopt(true).adopted_topic("order", TopicConfig::new())).unwrap_err();
    assert_eq!((error.kind(), error.topic()), (ErrorKind::UnknownTopicOrPartition, Some("order")));
}

#[test]
fn leftovers_are_left_alone_and_reported_and_the_log_of_the_cluster_is_not_touched() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let id = "0123456789abcdef0123456789abcdef";
    let names = [
        format!("gone-0.{id}-delete"),
        format!("orders-0.{id}-future"),
        format!("lost-1.{id}-stray"),
        "__cluster_metadata-0".to_owned(),
    ];
    for name in &names {
        vfs.create_dir(&Path::new(ROOT).join(name)).unwrap();
        put(&vfs, &format!("{name}/00000000000000000000.log"), b"whatever");
    }
    put(&vfs, "orders-0/00000000000000000000.log.deleted", b"replaced");
    put(&vfs, "orders-0/00000000000000000000.log.cleaned", b"half of what was to replace it");
    let broker = adopt(&vfs).unwrap();
    let notes: Vec<_> = broker.recovery_report().notes().collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    for (note, name) in notes.iter().zip([&names[0], &names[2], &names[1]]) {
        assert!(note.starts_with(name.as_str()), "{notes:?}");
    }
    for name in &names {
        assert_eq!(get(&vfs, &format!("{name}/00000000000000000000.log")), b"whatever");
    }
    let left = tree(&vfs, Path::new(ROOT));
    assert!(
        !left.keys().any(|path| path.to_string_lossy().ends_with(".deleted")
            || path.to_string_lossy().ends_with(".cleaned"))
    );
    assert_taken_over(&vfs, broker, "with leftovers");
}

/// What a crash in the midst of a deletion leaves, or a power cut of what was written last.
#[test]
fn what_kafka_may_leave_is_no_loss() {
    let Kafkas { vfs, .. } = Kafkas::killed();
    let id = "0123456789abcdef0123456789abcdef";
    vfs.create_dir(&Path::new(ROOT).join(format!("gone-3.{id}-delete"))).unwrap();
    let points = String::from_utf8(get(&vfs, "recovery-point-offset-checkpoint")).unwrap();
    let points = points.replacen("0\n1\n", "0\n2\ngone 3 7\n", 1);
    put(&vfs, "recovery-point-offset-checkpoint", points.as_bytes());
    put(&vfs, "replication-offset-checkpoint", b"0\n3\norders 0 17\nmade 0 3\ngone 3 7\n");
    put(&vfs, "cleaner-offset-checkpoint", b"0\n1\ngone 3 7\n");
    // Retention was renaming a segment, and another one was about to be made.
    let first = logs(&vfs)[0].clone();
    let second: u64 = logs(&vfs)[1]["orders-0/".len()..][..20].parse().unwrap();
    vfs.rename(&Path::new(ROOT).join(&first), &Path::new(ROOT).join(format!("{first}.deleted"))).unwrap();
    put(&vfs, "orders-0/00000000000000000016.index", b"");
    let broker = adopt(&vfs).unwrap();
    let notes: Vec<_> = broker.recovery_report().notes().collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    for (note, says) in notes.iter().zip(["-delete is a leftover", "made-0 is missing", "had come to 17"]) {
        assert!(note.contains(says), "{notes:?}");
    }
    assert_eq!(partition(&broker, 0).log_start_offset(), second);
    let left = tree(&vfs, &Path::new(ROOT).join("orders-0"));
    let is_left = |name: &str| left.keys().any(|path| path.to_string_lossy().contains(name));
    assert!(!is_left("00000000000000000000.") && !is_left("00000000000000000016."), "{:?}", left.keys());
}

/// Records that were deleted, in a segment that others keep, do not come back, and not for Kafka either.
#[test]
fn a_log_start_within_a_segment_is_kept() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    put(&vfs, "log-start-offset-checkpoint", b"0\n1\norders 0 1\n");
    let broker = adopt(&vfs).unwrap();
    assert_eq!(partition(&broker, 0).log_start_offset(), 1);
    assert_eq!(values(&partition(&broker, 0)).unwrap(), (1..15).map(number).collect::<Vec<_>>());
    broker.close(TIMEOUT).unwrap();
    undo_adoption_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    assert_eq!(get(&vfs, "log-start-offset-checkpoint"), b"0\n1\norders 0 1\n");
    assert_eq!(partition(&adopt(&vfs).unwrap(), 0).log_start_offset(), 1);
}

/// Compaction takes batches out of the middle of a segment, its first ones, and its last.
#[test]
fn gaps_that_compaction_has_left_are_no_damage() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let mut expected: Vec<_> = (0..15).collect();
    let last = logs(&vfs).len() - 1;
    for (at, name) in logs(&vfs).into_iter().enumerate().filter(|(at, _)| *at < last) {
        let log = get(&vfs, &name);
        let mut positions = batches(&log);
        let removed = at % positions.len();
        positions.push(log.len());
        let base = u64::from_be_bytes(log[positions[removed]..][..8].try_into().unwrap());
        expected.retain(|offset| *offset != usize::try_from(base).unwrap());
        put(&vfs, &name, &[&log[..positions[removed]], &log[positions[removed + 1]..]].concat());
        for suffix in ["index", "timeindex"] {
            put(&vfs, &name.replace("log", suffix), b"");
        }
    }
    assert!(expected.len() < 12, "{expected:?}");
    let broker = adopt(&vfs).unwrap();
    let expected: Vec<_> = expected.into_iter().map(number).collect();
    assert_eq!(values(&partition(&broker, 0)).unwrap(), expected);
    send_all(&broker.topic("orders").unwrap(), ["ours"]).unwrap();
    std::mem::forget(broker);
    let vfs = vfs.restart();
    let broker = open(&vfs).unwrap();
    let expected = [expected, vec![b"ours".to_vec()]].concat();
    assert_eq!(values(&partition(&broker, 0)).unwrap(), expected, "after a recovery");
}

#[test]
fn kafkas_own_topics_can_be_read_and_not_written() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    vfs.rename(&Path::new(ROOT).join("orders-0"), &Path::new(ROOT).join("__consumer_offsets-0")).unwrap();
    vfs.rename(&Path::new(ROOT).join("orders-1"), &Path::new(ROOT).join("__consumer_offsets-1")).unwrap();
    put(&vfs, "recovery-point-offset-checkpoint", b"0\n0\n");
    put(&vfs, "replication-offset-checkpoint", b"0\n0\n");
    let broker = adopt(&vfs).unwrap();
    let offsets = broker.topic("__consumer_offsets").unwrap();
    assert_eq!(values(&offsets.partition(0).unwrap()).unwrap().len(), 15);
    for refused in [
        offsets.producer().send(Record::new("mine")).map(|_| ()),
        offsets.producer().send_batch(&[Record::new("mine")]).map(|_| ()),
        broker.create_topic("__transaction_state", TopicConfig::new()).map(|_| ()),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidTopic);
    }
}

#[test]
fn what_is_found_of_an_index_is_made_again_after_a_kill() {
    let Kafkas { vfs, .. } = Kafkas::killed();
    let broker = adopt(&vfs).unwrap();
    drop(broker);
    for (path, bytes) in tree(&vfs, Path::new(ROOT)) {
        let name = path.to_string_lossy();
        if name.ends_with("index") {
            assert!(bytes.len() < 1024, "{name} has {} bytes", bytes.len());
        }
    }
    let log = logs(&vfs).pop().unwrap();
    assert_eq!(log, "orders-0/00000000000000000015.log", "ours begins behind Kafka's");
    assert!(vfs.open(&Path::new(ROOT).join(log), OpenMode::Read).is_ok());
}
