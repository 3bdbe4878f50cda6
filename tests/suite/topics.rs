//! Creating, finding and deleting topics, and what reopening finds of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, BrokerOptions, Durability, ErrorKind, Record, TopicConfig};

use crate::support::{ROOT, TempDir, send_all, values};

fn open(vfs: &MemoryVfs) -> Broker {
    open_on(BrokerOptions::default(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

fn names(vfs: &MemoryVfs) -> Vec<String> {
    let mut names: Vec<_> =
        vfs.read_dir(Path::new(ROOT)).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn topics_come_back_with_their_configuration_and_their_id() {
    let vfs = MemoryVfs::new();
    let config = TopicConfig::new()
        .partitions(3)
        .segment_bytes(4096)
        .max_message_bytes(2000)
        .durability(Durability::Os);
    let broker = open(&vfs);
    let id = broker.create_topic("orders", config.clone()).unwrap().id();
    broker.create_topic("audit", TopicConfig::new()).unwrap();
    drop(broker);

    let broker = open(&vfs);
    let found: Vec<_> = broker.topics().unwrap().iter().map(|topic| topic.name().to_owned()).collect();
    assert_eq!(found, ["audit", "orders"]);
    let orders = broker.topic("orders").unwrap();
    assert_eq!((orders.config(), orders.id(), orders.partition_count()), (config, id, 3));
    assert_eq!(orders.partitions().map(|partition| partition.id()).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn ensuring_a_topic_twice_is_one_topic_and_a_difference_is_an_error_that_lists_it() {
    let broker = Broker::in_memory().unwrap();
    let config = TopicConfig::new().partitions(2);
    let id = broker.ensure_topic("orders", config.clone()).unwrap().id();
    assert_eq!(broker.ensure_topic("orders", config.clone()).unwrap().id(), id);
    let error = broker.ensure_topic("orders", config.partitions(3).segment_bytes(2048)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicConfigDiffers);
    let text = error.to_string();
    assert!(
        text.contains("partitions is 2, not 3") && text.contains("segment.bytes is 1073741824, not 2048"),
        "{text}"
    );
}

#[test]
fn a_deleted_topic_is_gone_for_every_handle_and_its_name_is_free() {
    let vfs = MemoryVfs::new();
    // Threads could be faster than the deletion with the record that is never to be durable.
    let options = BrokerOptions::default().background(false);
    let broker = open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let before = names(&vfs);
    let topic = broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap();
    send_all(&topic, ["old"]).unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    let mut batches = topic.partition(0).unwrap().read(ottla::Start::Earliest).unwrap();
    let waiting = topic.producer().send(Record::new("never durable").partition(0)).unwrap();
    broker.delete_topic("orders").unwrap();

    let gone = ErrorKind::UnknownTopicOrPartition;
    assert_eq!(names(&vfs), before);
    assert_eq!(broker.topic("orders").unwrap_err().kind(), gone);
    assert_eq!(broker.delete_topic("orders").unwrap_err().kind(), gone);
    assert_eq!(topic.producer().send(Record::new("late")).unwrap_err().kind(), gone);
    assert_eq!(waiting.wait().unwrap_err().kind(), gone);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), gone);
    assert_eq!(batches.next().unwrap().unwrap_err().kind(), gone);
    assert!(batches.next().is_none(), "an error ends it");

    let again = broker.create_topic("orders", TopicConfig::new()).unwrap();
    assert_ne!(again.id(), topic.id());
    assert!(values(&again.partition(0).unwrap()).unwrap().is_empty());
    broker.close(Duration::from_secs(10)).unwrap();
    open(&vfs).topic("orders").unwrap();
}

/// A poll that waits hears of the end of its topic, and of its broker.
#[test]
fn a_blocked_poll_ends_with_its_topic_or_its_broker() {
    type End = (fn(&Broker), ErrorKind);
    let ends: [End; 2] = [
        (|broker| broker.delete_topic("orders").unwrap(), ErrorKind::UnknownTopicOrPartition),
        (|broker| broker.close(Duration::from_secs(10)).unwrap(), ErrorKind::Closed),
    ];
    for (end, kind) in ends {
        let clock = ottla::ManualClock::at(0);
        let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
        let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
        let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
        std::thread::scope(|scope| {
            let poll =
                scope.spawn(move || consumer.poll(Duration::from_secs(1)).map(|records| records.len()));
            while clock.waiters() == 0 {
                std::thread::yield_now();
            }
            end(&broker);
            assert_eq!(poll.join().unwrap().unwrap_err().kind(), kind);
        });
    }
}

#[test]
fn a_poll_ends_when_its_time_has_come_and_not_before() {
    let clock = ottla::ManualClock::at(0);
    let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    std::thread::scope(|scope| {
        let poll = scope.spawn(move || consumer.poll(Duration::from_secs(2)).unwrap().is_empty());
        for _ in 0..2 {
            while clock.waiters() == 0 {
                assert!(!poll.is_finished());
                std::thread::yield_now();
            }
            clock.advance(Duration::from_secs(1));
        }
        assert!(poll.join().unwrap());
    });
}

/// The manifest says `creating` or `deleting`, the directory was closed in order nevertheless: the next opening
/// undoes the one and finishes the other.
#[test]
fn opening_finishes_what_was_interrupted() {
    for state in ["creating", "deleting"] {
        let vfs = MemoryVfs::new();
        let broker = open(&vfs);
        broker.create_topic("doomed", TopicConfig::new().partitions(2)).unwrap();
        let kept = broker.create_topic("kept", TopicConfig::new()).unwrap();
        send_all(&kept, ["a"]).unwrap();
        drop((broker, kept));
        edit_manifest(&vfs, |text| text.replacen(" live 2", &format!(" {state} 2"), 1));

        let broker = open(&vfs);
        assert_eq!(broker.topic("doomed").unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
        assert!(!names(&vfs).iter().any(|name| name.starts_with("doomed")), "{:?}", names(&vfs));
        assert_eq!(values(&broker.topic("kept").unwrap().partition(0).unwrap()).unwrap(), [b"a"]);
        broker.create_topic("doomed", TopicConfig::new()).unwrap();
    }
}

fn edit_manifest(vfs: &MemoryVfs, edit: impl Fn(&str) -> String) {
    let file = vfs.open(&Path::new(ROOT).join("ottla.manifest"), OpenMode::Write).unwrap();
    let text = String::from_utf8(file.map().unwrap().to_vec()).unwrap();
    let body = edit(text.rsplit_once("crc32 ").unwrap().0);
    let text = format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes()));
    file.set_len(0).unwrap();
    file.write_at(text.as_bytes(), 0).unwrap();
}

/// What a topic costs before its first record; a thousand of them fit into the usual limits of a process.
#[test]
fn empty_topics_cost_almost_no_disk_and_no_descriptors() {
    const TOPICS: usize = 250;
    let dir = TempDir::new("empty");
    let broker = Broker::options().reserve_bytes(0).open(dir.path().join("data")).unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for number in 0..TOPICS {
        broker.create_topic(&format!("topic-{number}"), TopicConfig::new()).unwrap();
    }
    // Other tests of this process open files meanwhile.
    assert!(descriptors() < before + TOPICS / 2, "{} descriptors", descriptors() - before);
    let lengths: usize = dir.content().values().map(|content| content.len).sum();
    assert!(lengths < TOPICS * 1500, "{lengths} bytes in all files");
    broker.close(Duration::from_secs(60)).unwrap();
    assert_eq!(Broker::open(dir.path().join("data")).unwrap().topics().unwrap().len(), TOPICS);
}

#[test]
fn handles_are_send_and_sync_and_static() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Broker>();
    check::<ottla::Topic>();
    check::<ottla::Partition>();
    check::<ottla::Producer>();
    check::<ottla::TopicProducer>();
    check::<ottla::Delivery>();
    check::<ottla::Consumer>();
    check::<ottla::ConsumerRecords>();
    check::<ottla::Batches>();
    check::<ottla::RecordBatch>();
    check::<ottla::Error>();
}
