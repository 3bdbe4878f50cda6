//! Adding partitions to a topic that is used: who sees them, what a failure leaves, and what the next opening finds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind::Other;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, Durability, ErrorKind, Record, Topic, TopicConfig};

use crate::support::{EndGuard, ROOT, ScriptedVfs, options, values};

const TIMEOUT: Duration = Duration::from_secs(10);

fn open(vfs: &MemoryVfs) -> Broker {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

fn directories(vfs: &MemoryVfs) -> BTreeSet<String> {
    let entries = vfs.read_dir(Path::new(ROOT)).unwrap();
    entries
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.contains('-'))
        .filter(|name| !name.ends_with("checkpoint"))
        .collect()
}

fn grow(broker: &Broker, partitions: u32) -> ottla::Result<Topic> {
    broker.alter_topic("t", broker.topic("t")?.config().partitions(partitions))
}

/// Sends a record to each partition, and returns how many there are.
fn use_all(topic: &Topic) -> u32 {
    let count = topic.partition_count();
    for partition in 0..count {
        let record = Record::new("used").partition(partition);
        topic.producer().send(record).unwrap().wait().unwrap();
    }
    assert!(topic.producer().send(Record::new("none").partition(count)).is_err());
    assert_eq!(topic.partitions().count(), count as usize);
    assert_eq!(topic.config(), topic.config().partitions(count));
    count
}

#[test]
fn handles_that_are_there_see_new_partitions_at_once() {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    let topic = broker.create_topic("t", TopicConfig::new().partitions(2)).unwrap();
    let (producer, bound) = (broker.producer(), topic.producer());
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    let error = bound.send(Record::new("early").partition(4)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    let snapshot = topic.partitions();

    assert_eq!(grow(&broker, 5).unwrap().id(), topic.id());
    assert_eq!(snapshot.count(), 2);
    assert_eq!(use_all(&topic), 5);
    producer.send(&topic, Record::new("late").partition(4)).unwrap().wait().unwrap();
    bound.send(Record::new("late").partition(3)).unwrap().wait().unwrap();
    assert_eq!(values(&topic.partition(4).unwrap()).unwrap(), [&b"used"[..], b"late"]);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2, "it has what it was assigned");
    // Records without a key reach all of them.
    let reached: BTreeSet<_> =
        (0..400).map(|_| bound.send(Record::new(&[0; 8192])).unwrap().wait().unwrap().partition()).collect();
    assert_eq!(reached.len(), 5);

    broker.close(TIMEOUT).unwrap();
    let broker = open(&vfs);
    assert!(broker.recovery_report().is_clean());
    assert_eq!(use_all(&broker.topic("t").unwrap()), 5);
}

/// The price that the documentation names.
#[test]
fn most_keys_go_elsewhere_and_what_was_written_stays() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().partitions(3)).unwrap();
    let keys: Vec<_> = (0..100).map(|number| format!("key-{number}")).collect();
    let place = |key: &String| {
        let metadata = topic.producer().send(Record::new(key).key(key)).unwrap().wait().unwrap();
        assert_eq!(metadata.partition(), topic.partition_for_key(key).unwrap().id());
        (metadata.partition(), metadata.offset())
    };
    let before: BTreeMap<_, _> = keys.iter().map(|key| (key, place(key))).collect();
    grow(&broker, 5).unwrap();
    let moved = keys.iter().filter(|key| place(key).0 != before[key].0).count();
    assert!((60..100).contains(&moved), "{moved} of 100 moved");
    for (key, (partition, offset)) in before {
        let found = values(&topic.partition(partition).unwrap()).unwrap();
        assert_eq!(found[usize::try_from(offset).unwrap()], key.as_bytes());
    }
}

/// The evidence comes before the name, the name before the directories, and the commit behind all of them.
#[test]
fn the_steps_are_durable_one_after_the_other() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    broker.create_topic("t", TopicConfig::new()).unwrap();
    vfs.take_calls();
    grow(&broker, 3).unwrap();
    let calls = vfs.take_calls();
    let at = |wanted: &str| {
        calls.iter().position(|call| call == wanted).unwrap_or_else(|| panic!("no {wanted}: {calls:#?}"))
    };
    let steps = [
        "write ottla.ends",
        "sync ottla.ends",
        "manifest: t is growing",
        "create_dir t-1",
        "sync_dir t-1",
        "create_dir t-2",
        "sync_dir t-2",
        "manifest: t is live",
    ];
    assert!(steps.map(at).is_sorted(), "{calls:#?}");
    let root_synced =
        calls[at("sync_dir t-2")..at("manifest: t is live")].iter().any(|call| call == "sync_dir data");
    assert!(root_synced, "{calls:#?}");
    assert!(!calls.iter().any(|call| call.contains("t-0")), "the first one is left alone: {calls:#?}");
}

/// Whatever fails before the commit: the topic is as it was, nothing is left, and it can be tried again.
#[test]
fn a_failure_takes_the_growth_back() {
    let steps = [
        ("create ottla.manifest.tmp", 0),
        ("sync ottla.manifest.tmp", 0),
        ("create_dir t-2", 0),
        ("create_dir t-3", 0),
        ("create 00000000000000000000.log", 0),
        ("create 00000000000000000000.timeindex", 1),
        ("write partition.metadata.tmp", 0),
        ("rename to partition.metadata", 1),
        ("sync_dir t-2", 0),
        // Behind those of the announcement.
        ("sync_dir data", 1),
        ("sync ottla.manifest.tmp", 1),
    ];
    for (call, after) in steps {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        let topic =
            broker.create_topic("t", TopicConfig::new().partitions(2).durability(Durability::Os)).unwrap();
        use_all(&topic);
        let before = (topic.config(), directories(vfs.memory()));
        // Once only, so that it can be taken back.
        vfs.fail_once(call, after, Other);
        let more = topic.config().partitions(4).durability(Durability::Synced);
        let error = broker.alter_topic("t", more.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageError, "{call}: {error}");
        assert_eq!((topic.config(), directories(vfs.memory())), before, "{call}");
        assert_eq!(use_all(&topic), 2, "{call}");
        let killed = open(&vfs.memory().restart());
        assert_eq!(use_all(&killed.topic("t").unwrap()), 2, "{call}");

        broker.alter_topic("t", more.clone()).unwrap_or_else(|error| panic!("{call}: {error}"));
        assert_eq!(use_all(&topic), 4, "{call}");
        broker.close(TIMEOUT).unwrap();
        let broker = vfs.open_broker().unwrap();
        assert_eq!(broker.topic("t").unwrap().config(), more, "{call}");
        assert_eq!(values(&broker.topic("t").unwrap().partition(3).unwrap()).unwrap(), [b"used"], "{call}");
    }
}

/// What cannot be taken back, and a commit of which nobody knows, end changes, not records; the next opening decides.
#[test]
fn an_uncertain_growth_is_decided_by_the_next_opening() {
    // The commit's rename or its sync, or undoing fails.
    let cases = [
        (vec![("rename to ottla.manifest", 1)], 2),
        (vec![("sync_dir data", 2)], 4),
        (vec![("rename to ottla.manifest", 0)], 2),
        (vec![("sync_dir data", 0)], 2),
        (vec![("create_dir t-3", 0), ("remove_dir t-2", 0)], 2),
        (vec![("create_dir t-3", 0), ("sync ottla.manifest.tmp", 1)], 2),
    ];
    for (failures, count) in cases {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        let topic = broker.create_topic("t", TopicConfig::new().partitions(2)).unwrap();
        for (call, after) in &failures {
            vfs.fail_once(call, *after, Other);
        }
        grow(&broker, 4).unwrap_err();
        vfs.fail_no_more();
        assert_eq!(use_all(&topic), 2, "{failures:?}");
        assert!(grow(&broker, 4).is_err(), "{failures:?}");
        assert!(broker.close(TIMEOUT).is_err(), "{failures:?}");
        let broker = vfs.open_broker().unwrap_or_else(|error| panic!("{failures:?}: {error}"));
        let topic = broker.topic("t").unwrap();
        assert_eq!(use_all(&topic), count, "{failures:?}");
        assert_eq!(directories(vfs.memory()).len(), count as usize, "{failures:?}");
        grow(&broker, 5).unwrap();
        assert_eq!(use_all(&topic), 5, "{failures:?}");
        broker.close(TIMEOUT).unwrap();
        assert_eq!(use_all(&vfs.open_broker().unwrap().topic("t").unwrap()), 5, "{failures:?}");
    }
}

#[test]
fn what_stands_in_the_place_of_a_new_partition_is_left_alone() {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    let foreign = Path::new(ROOT).join("t-2");
    vfs.create_dir(&foreign).unwrap();
    let error = grow(&broker, 4).unwrap_err();
    assert_eq!((error.kind(), error.partition()), (ErrorKind::StorageError, Some(2)), "{error}");
    assert_eq!(directories(&vfs), ["t-0", "t-2"].map(str::to_owned).into());
    assert_eq!(use_all(&topic), 1);
    grow(&broker, 2).unwrap();
    vfs.remove_dir(&foreign).unwrap();
    grow(&broker, 4).unwrap();
    assert_eq!(use_all(&topic), 4);
}

/// Of the directories beyond the partitions that the topic has, only its own go.
#[test]
fn opening_takes_an_interrupted_growth_back() {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    let topic = broker.create_topic("t", TopicConfig::new().partitions(4)).unwrap();
    use_all(&topic);
    broker.create_topic("u", TopicConfig::new().partitions(2)).unwrap();
    broker.close(TIMEOUT).unwrap();
    edit_manifest(&vfs, |text| text.replacen(" live 4", " growing 1 8", 1));
    let root = Path::new(ROOT);
    // Not finished; of another topic; with something that is nobody's.
    for (name, file) in [("t-4", "00000000000000000000.log"), ("t-6", "notes.txt")] {
        vfs.create_dir(&root.join(name)).unwrap();
        vfs.open(&root.join(name).join(file), OpenMode::CreateNew).unwrap();
    }
    vfs.rename(&root.join("t-2"), &root.join("kept-2")).unwrap();
    vfs.rename(&root.join("u-1"), &root.join("t-5")).unwrap();
    edit_manifest(&vfs, |text| text.replacen(" live 2", " live 1", 1));

    let broker = open(&vfs);
    let found = directories(&vfs);
    assert_eq!(found, ["kept-2", "t-0", "t-5", "t-6", "u-0"].map(str::to_owned).into());
    let topic = broker.topic("t").unwrap();
    assert_eq!(topic.partition_count(), 1);
    assert_eq!(values(&topic.partition(0).unwrap()).unwrap(), [b"used"]);
    grow(&broker, 5).unwrap();
    assert_eq!(use_all(&topic), 5);
    assert_eq!(topic.partition(1).unwrap().high_watermark(), 1, "it was made anew");
    broker.close(TIMEOUT).unwrap();
    let broker = open(&vfs);
    assert!(broker.recovery_report().is_clean());
    assert_eq!(use_all(&broker.topic("t").unwrap()), 5);
}

fn edit_manifest(vfs: &MemoryVfs, edit: impl Fn(&str) -> String) {
    let file = vfs.open(&Path::new(ROOT).join("ottla.manifest"), OpenMode::Write).unwrap();
    let text = String::from_utf8(file.map().unwrap().to_vec()).unwrap();
    let body = edit(text.rsplit_once("crc32 ").unwrap().0);
    let text = format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes()));
    file.set_len(0).unwrap();
    file.write_at(text.as_bytes(), 0).unwrap();
}

/// The old evidence of a partition that did not come says nothing of the one that came later.
#[test]
fn a_growth_that_failed_leaves_no_evidence_behind() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    broker.create_topic("gone", TopicConfig::new().partitions(5)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    vfs.fail("create_dir t-3", 0, Other);
    grow(&broker, 4).unwrap_err();
    vfs.fail_no_more();
    // Its places in the ends file come before those that were given up.
    broker.delete_topic("gone").unwrap();
    grow(&broker, 4).unwrap();
    use_all(&topic);
    broker.close(TIMEOUT).unwrap();
    let broker = vfs.open_broker().unwrap();
    assert!(broker.recovery_report().is_clean());
    for partition in broker.topic("t").unwrap().partitions() {
        assert_eq!(values(&partition).unwrap(), [b"used"]);
    }
}

/// From one partition to eight, while four threads send, with keys and without, and four read what is there.
#[test]
fn a_topic_grows_beside_senders_and_readers() {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    let config = TopicConfig::new().segment_bytes(2048).durability(Durability::Os);
    let topic = broker.create_topic("t", config).unwrap();
    let done = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let send = |sender: u32| {
            let (producer, mut sent) = (topic.producer(), BTreeSet::new());
            for number in 0u32.. {
                if done.load(Ordering::SeqCst) && number > 200 {
                    break;
                }
                let value = [sender.to_be_bytes(), number.to_be_bytes()].concat();
                let record = Record::new(&value);
                let record = if sender.is_multiple_of(2) { record.key(&value) } else { record };
                let metadata = producer.send(record).unwrap().wait().unwrap();
                sent.insert((metadata.partition(), metadata.offset(), value));
            }
            sent
        };
        let read = || {
            let mut most = 0;
            while !done.load(Ordering::SeqCst) {
                let count = topic.partition_count();
                assert!(count >= most && topic.partitions().count() >= count as usize);
                most = count;
                let partition = topic.partition(count - 1).unwrap();
                let high_watermark = partition.high_watermark();
                assert!(values(&partition).unwrap().len() as u64 >= high_watermark);
            }
        };
        let senders: Vec<_> = (0..4).map(|sender| scope.spawn(move || send(sender))).collect();
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
        let end = EndGuard(&done);
        for partitions in 2..=8 {
            let level = if partitions % 2 == 0 { Durability::Synced } else { Durability::Os };
            broker.alter_topic("t", topic.config().partitions(partitions).durability(level)).unwrap();
            assert_eq!(topic.partition_count(), partitions);
            let newest = topic.partition(partitions - 1).unwrap();
            while newest.high_watermark() < 10 {
                std::thread::yield_now();
            }
        }
        drop(end);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect::<BTreeSet<_>>()
    });
    broker.close(TIMEOUT).unwrap();
    let broker = open(&vfs);
    let topic = broker.topic("t").unwrap();
    assert_eq!(topic.partition_count(), 8);
    let found: BTreeSet<_> = topic
        .partitions()
        .flat_map(|partition| {
            let values = values(&partition).unwrap();
            (0..).zip(values).map(move |(offset, value)| (partition.id(), offset, value)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, acknowledged);
}
