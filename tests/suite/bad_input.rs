//! Bad input and bad directories: a clear error each, and nothing written or deleted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, ErrorKind, Record, Start, TopicConfig};

use crate::support::{ROOT, TempDir, send_all, values};

#[test]
fn unusable_taken_and_colliding_topic_names() {
    let dir = TempDir::new("names");
    let broker = Broker::open(dir.path()).unwrap();
    broker.create_topic("a.b", TopicConfig::new()).unwrap();
    let before = dir.content();
    let long = "x".repeat(250);
    for (name, kind) in [
        ("", ErrorKind::InvalidTopic),
        (".", ErrorKind::InvalidTopic),
        ("..", ErrorKind::InvalidTopic),
        ("a/../../b", ErrorKind::InvalidTopic),
        ("with space", ErrorKind::InvalidTopic),
        ("nul\0", ErrorKind::InvalidTopic),
        ("grün", ErrorKind::InvalidTopic),
        (&long, ErrorKind::InvalidTopic),
        ("a_b", ErrorKind::InvalidTopic),
        ("a.b", ErrorKind::TopicAlreadyExists),
    ] {
        let error = broker.create_topic(name, TopicConfig::new()).unwrap_err();
        assert_eq!(error.kind(), kind, "{name:?}: {error}");
    }
    assert_eq!(dir.content(), before);
}

#[test]
fn impossible_configurations() {
    let dir = TempDir::new("configs");
    let broker = Broker::open(dir.path()).unwrap();
    let before = dir.content();
    for (config, kind) in [
        (TopicConfig::new().partitions(0), ErrorKind::InvalidPartitions),
        (TopicConfig::new().partitions(10_001), ErrorKind::InvalidPartitions),
        (TopicConfig::new().partitions(u32::MAX), ErrorKind::InvalidPartitions),
        (TopicConfig::new().segment_bytes(1023), ErrorKind::InvalidConfig),
        (TopicConfig::new().segment_index_bytes(0), ErrorKind::InvalidConfig),
        (TopicConfig::new().segment_ms(Duration::ZERO), ErrorKind::InvalidConfig),
        (TopicConfig::new().segment_ms(Duration::MAX), ErrorKind::InvalidConfig),
        (TopicConfig::new().max_message_bytes(1 << 31), ErrorKind::InvalidConfig),
    ] {
        assert_eq!(broker.create_topic("t", config).unwrap_err().kind(), kind);
    }
    assert_eq!(dir.content(), before);
    let error = Broker::options().batch_size(usize::MAX).open(dir.path().join("other")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(!dir.path().join("other").exists());
}

#[test]
fn records_that_cannot_be_taken() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().max_message_bytes(1000)).unwrap();
    let producer = broker.producer();
    for (record, kind) in [
        (Record::new(&[0; 1000]), ErrorKind::MessageTooLarge),
        (Record::new("v").key(&[0; 1000]), ErrorKind::MessageTooLarge),
        (Record::new("v").header("h", &[0; 1000]), ErrorKind::MessageTooLarge),
        (Record::new("v").timestamp(-1), ErrorKind::InvalidTimestamp),
        (Record::new("v").timestamp(i64::MIN), ErrorKind::InvalidTimestamp),
        (Record::new("v").partition(1), ErrorKind::UnknownTopicOrPartition),
    ] {
        let error = producer.send(&topic, record).unwrap_err();
        assert_eq!((error.kind(), error.topic()), (kind, Some("t")), "{error}");
        assert!(error.partition().is_some() && !error.is_indeterminate());
    }
    assert_eq!(topic.partition(0).unwrap().log_end_offset(), 0, "nothing was taken");
}

/// The limit is on the batch with its header, and it is exact.
#[test]
fn the_largest_record_is_taken_and_the_next_larger_one_is_not() {
    let broker = Broker::in_memory().unwrap();
    for (limit, config) in
        [(5000, TopicConfig::new().max_message_bytes(5000)), (4096, TopicConfig::new().segment_bytes(4096))]
    {
        let topic = broker.create_topic(&format!("t{limit}"), config).unwrap();
        let most = (0..limit).rev().find(|size| topic.producer().send(Record::new(&vec![0; *size])).is_ok());
        topic.producer().flush().unwrap();
        let batch = topic.partition(0).unwrap().read(Start::Earliest).unwrap().next().unwrap().unwrap();
        assert_eq!(batch.size(), limit, "the largest value has {most:?} bytes");
    }
}

#[test]
fn topics_and_partitions_that_do_not_exist() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().partitions(2)).unwrap();
    let unknown = ErrorKind::UnknownTopicOrPartition;
    assert_eq!(broker.topic("T").unwrap_err().kind(), unknown);
    assert_eq!(broker.delete_topic("other").unwrap_err().kind(), unknown);
    assert_eq!(broker.topic("not/a/name").unwrap_err().kind(), ErrorKind::InvalidTopic);
    assert_eq!(topic.partition(2).unwrap_err().kind(), unknown);
    let mut consumer = broker.consumer().assign([topic.partition(0).unwrap()]).unwrap();
    let other = topic.partition(1).unwrap();
    assert_eq!(consumer.seek(&other, Start::Earliest).unwrap_err().kind(), unknown);
    assert_eq!(consumer.position(&other).unwrap_err().kind(), unknown);
    assert_eq!(broker.consumer().assign([]).unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[test]
fn offsets_out_of_range_carry_the_choices() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["a", "b", "c"]).unwrap();
    _ = topic.producer().send(Record::new("not durable")).unwrap();
    let partition = topic.partition(0).unwrap();
    let mut consumer = broker.consumer().assign([partition.clone()]).unwrap();
    for offset in [4, 1 << 40, u64::MAX] {
        for error in [
            partition.read(Start::At(offset)).unwrap_err(),
            consumer.seek(&partition, Start::At(offset)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
            assert_eq!((error.offset(), error.available_offsets()), (Some(offset), Some(0..=3)), "{error}");
        }
    }
    assert_eq!(consumer.position(&partition).unwrap().offset(), 0, "the position stays");
    assert_eq!(partition.read(Start::At(3)).unwrap().count(), 0, "the end is a place to begin");
}

/// Opening fails with the kind, and leaves the directory as it was.
fn assert_refused(dir: &TempDir, path: &Path, kind: ErrorKind) {
    let before = dir.content();
    let error = Broker::open(path).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let mut after = dir.content();
    // An empty lock file is all that an attempt may leave.
    after.retain(|path, content| before.contains_key(path) || !path.ends_with(".lock") || content.len > 0);
    assert_eq!(after, before, "{error}");
}

#[test]
fn a_path_that_is_a_file_or_cannot_be_made() {
    let dir = TempDir::new("file");
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    assert_refused(&dir, &file, ErrorKind::DirectoryNotOurs);
    assert_refused(&dir, &file.join("below"), ErrorKind::StorageError);
    // Not writable, for root neither.
    assert_refused(&dir, Path::new("/proc/ottla"), ErrorKind::StorageError);
    assert_refused(&dir, Path::new("/proc"), ErrorKind::DirectoryNotOurs);
}

#[test]
fn nothing_is_made_where_nothing_is_to_be_made() {
    let dir = TempDir::new("not-made");
    let open = |path: &Path| Broker::options().create_if_missing(false).open(path);
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    for path in ["empty", "missing", "missing/below"].map(|name| dir.path().join(name)) {
        let error = open(&path).unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::DirectoryNotOurs, Some(path.as_path())));
    }
    assert!(dir.content().is_empty() && !dir.path().join("missing").exists(), "not even a lock file");
    drop(Broker::open(dir.path().join("empty")).unwrap());
    drop(open(&dir.path().join("empty")).unwrap());
}

#[test]
fn a_directory_with_foreign_data() {
    for (name, content) in
        [("notes.txt", "mine"), ("orders-0/00000000000000000000.log", ""), ("meta.properties", "")]
    {
        let dir = TempDir::new("foreign");
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        assert_refused(&dir, dir.path(), ErrorKind::DirectoryNotOurs);
        assert!(!dir.path().join(".lock").exists(), "not even a lock file");
    }
}

#[test]
fn a_directory_with_nothing_to_lose_is_taken() {
    let dir = TempDir::new("negligible");
    std::fs::create_dir(dir.path().join("lost+found")).unwrap();
    std::fs::write(dir.path().join(".DS_Store"), "").unwrap();
    drop(Broker::open(dir.path()).unwrap());
    drop(Broker::open(dir.path().join("made/with/its/parents")).unwrap());
}

#[test]
fn foreign_files_that_come_later_are_left_alone() {
    let dir = TempDir::new("later");
    let broker = Broker::open(dir.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["a"]).unwrap();
    drop((broker, topic));
    let foreign = ["notes.txt", "t-0/notes.txt", "t-0/00000000000000000009.logs", "t-1"]
        .map(|name| dir.path().join(name));
    foreign.iter().for_each(|path| std::fs::write(path, "mine").unwrap());
    let broker = Broker::open(dir.path()).unwrap();
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"a"]);
    drop(broker);
    assert!(foreign.iter().all(|path| std::fs::read(path).unwrap() == b"mine"));
}

#[test]
fn a_second_opener_is_refused_and_told_who_holds_the_directory() {
    let dir = TempDir::new("second");
    let broker = Broker::open(dir.path()).unwrap();
    let error = Broker::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryInUse);
    assert!(error.is_retriable());
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    broker.close(Duration::from_secs(10)).unwrap();
    drop(Broker::open(dir.path()).unwrap());
}

/// A directory with a topic of one partition and some records, closed in order.
fn closed_directory(name: &str) -> TempDir {
    let dir = TempDir::new(name);
    let broker = Broker::open(dir.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).unwrap();
    send_all(&topic, (0..20).map(|number| [number; 200])).unwrap();
    drop((broker, topic));
    dir
}

#[test]
fn a_directory_whose_truth_is_damaged() {
    type Damage = (&'static str, fn(&Path), ErrorKind);
    let damages: [Damage; 15] = [
        ("ottla.manifest", |path| std::fs::write(path, "").unwrap(), ErrorKind::CorruptMessage),
        ("ottla.manifest", |path| append(path, b"x"), ErrorKind::CorruptMessage),
        ("ottla.ends", |path| std::fs::write(path, "").unwrap(), ErrorKind::CorruptMessage),
        ("ottla.ends", |path| std::fs::remove_file(path).unwrap(), ErrorKind::StorageError),
        ("ottla.ends", zero_slots, ErrorKind::CorruptMessage),
        (
            "t-0/leader-epoch-checkpoint",
            |path| std::fs::remove_file(path).unwrap(),
            ErrorKind::CorruptMessage,
        ),
        (
            "t-0/00000000000000000000.log",
            |path| std::fs::remove_file(path).unwrap(),
            ErrorKind::CorruptMessage,
        ),
        ("last log", |path| std::fs::remove_file(path).unwrap(), ErrorKind::CorruptMessage),
        ("ottla.manifest", |path| std::fs::remove_file(path).unwrap(), ErrorKind::DirectoryNotOurs),
        ("t-0", |path| std::fs::rename(path, path.with_file_name("u-0")).unwrap(), ErrorKind::CorruptMessage),
        ("t-0/partition.metadata", |path| std::fs::remove_file(path).unwrap(), ErrorKind::CorruptMessage),
        (
            "t-0/partition.metadata",
            |path| std::fs::write(path, "version: 0\ntopic_id: rE6H2AcSSMCQ7GdNHWIEMQ").unwrap(),
            ErrorKind::CorruptMessage,
        ),
        ("t-0/leader-epoch-checkpoint", |path| append(path, b"x"), ErrorKind::CorruptMessage),
        ("last log", |path| append(path, &[0; 100]), ErrorKind::CorruptMessage),
        ("last log", |path| append(path, b"x"), ErrorKind::CorruptMessage),
    ];
    for (name, damage, kind) in damages {
        let dir = closed_directory("damaged");
        let path = if name == "last log" { last_log(&dir) } else { dir.path().join(name) };
        damage(&path);
        assert_refused(&dir, dir.path(), kind);
        // Without the marker it is judged by the evidence: a tail that is too long is a crash's, all else stays.
        if name != "last log" || !path.exists() {
            std::fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
            assert_refused(&dir, dir.path(), kind);
        }
    }
}

#[test]
fn a_flipped_bit_in_a_log_is_an_error_at_its_place_and_never_other_data() {
    let vfs = MemoryVfs::new();
    let open = |maps| {
        let options = Broker::options().memory_maps(maps);
        open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
    };
    let broker = open(true);
    let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).unwrap();
    send_all(&topic, (0..12).map(|number| [number; 200])).unwrap();
    let right = values(&topic.partition(0).unwrap()).unwrap();
    drop((broker, topic));

    let log = vfs.open(&Path::new(ROOT).join("t-0/00000000000000000000.log"), OpenMode::Write).unwrap();
    let good = log.map().unwrap();
    for bit in 0..good.len() * 8 {
        let flipped = good[bit / 8] ^ 1 << (bit % 8);
        log.write_at(&[flipped], (bit / 8) as u64).unwrap();
        for maps in [true, false] {
            match values(&open(maps).topic("t").unwrap().partition(0).unwrap()) {
                Err(error) => {
                    let known =
                        error.is_corruption() || error.kind() == ErrorKind::UnsupportedForMessageFormat;
                    assert!(
                        known && error.topic() == Some("t") && error.position().is_some(),
                        "bit {bit}: {error}"
                    );
                }
                // The leader epoch lies outside the checksum, and outside what is compared here.
                Ok(values) => assert_eq!(values, right, "bit {bit}"),
            }
        }
        log.write_at(&good[bit / 8..=bit / 8], (bit / 8) as u64).unwrap();
    }
}

fn zero_slots(path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    content[4096..].fill(0);
    std::fs::write(path, content).unwrap();
}

fn append(path: &Path, bytes: &[u8]) {
    let mut content = std::fs::read(path).unwrap();
    content.extend_from_slice(bytes);
    std::fs::write(path, content).unwrap();
}

fn last_log(dir: &TempDir) -> std::path::PathBuf {
    let logs = dir.content().into_keys().filter(|path| path.extension().is_some_and(|it| it == "log"));
    logs.max().unwrap()
}
