//! One partition is opened anew after a failure, while the broker and every handle live on.

use std::io::ErrorKind::Other;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{Fault, MemoryVfs, Operation, Repeat, open_on};
use ottla::{Broker, Durability, ErrorKind, Record, Start, Topic, TopicConfig};

use crate::support::{ROOT, ScriptedVfs, options, send_all, values};

const LOG: &str = "00000000000000000000.log";
const SYNC: &str = "sync 00000000000000000000.log";
const TIMEOUT: Duration = Duration::from_secs(10);

struct Place {
    vfs: Arc<ScriptedVfs>,
    broker: Broker,
    topic: Topic,
}

impl Place {
    fn new(level: Durability) -> Self {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        let config = TopicConfig::new().segment_bytes(1024).durability(level);
        let topic = broker.create_topic("t", config).unwrap();
        Self { vfs, broker, topic }
    }

    /// Sends a value whose sync fails.
    fn fail(&self, value: &str) -> ottla::Delivery {
        self.vfs.fail(SYNC, 0, Other);
        let delivery = self.topic.producer().synced().send(Record::new(value)).unwrap();
        assert!(delivery.clone().wait().unwrap_err().is_indeterminate());
        self.vfs.fail_no_more();
        delivery
    }

    fn partition(&self) -> ottla::Partition {
        self.topic.partition(0).unwrap()
    }

    fn found(&self) -> Vec<Vec<u8>> {
        values(&self.partition()).unwrap()
    }
}

#[test]
fn a_partition_that_has_not_failed_is_left_alone() {
    let place = Place::new(Durability::Synced);
    send_all(&place.topic, ["a"]).unwrap();
    place.vfs.take_calls();
    assert_eq!(place.partition().reopen().unwrap(), None);
    assert_eq!(place.vfs.take_calls(), Vec::<String>::new());
}

/// Every handle from before works on, beside a partition that was never stopped.
#[test]
fn a_failed_partition_takes_records_again_once_it_was_reopened() {
    let place = Place::new(Durability::Synced);
    let producer = place.topic.producer();
    let mut consumer = place.broker.consumer().assign([place.partition()]).unwrap();
    send_all(&place.topic, ["a"]).unwrap();
    let epoch = producer.send(Record::new("b")).unwrap().wait().unwrap().leader_epoch();
    let doubtful = place.fail("doubtful");
    assert_eq!(producer.send(Record::new("refused")).unwrap_err().kind(), ErrorKind::StorageError);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2, "readers keep what was durable");

    // What the failed sync left was there after all: it is settled, and acknowledged.
    let recovery = place.partition().reopen().unwrap().expect("it had failed");
    assert_eq!((recovery.topic(), recovery.partition(), recovery.end_offset()), ("t", 0, 3));
    assert_eq!(doubtful.wait().unwrap().leader_epoch(), epoch, "it was written before");
    let after = producer.send(Record::new("after")).unwrap().wait().unwrap();
    assert_eq!((after.offset(), after.leader_epoch()), (3, epoch + 1));
    assert_eq!(consumer.poll(TIMEOUT).unwrap().len(), 2);
    let all = [&b"a"[..], b"b", b"doubtful", b"after"];
    assert_eq!(place.found(), all);

    place.broker.close(TIMEOUT).unwrap();
    let broker = place.vfs.open_broker().unwrap();
    assert!(broker.recovery_report().is_clean(), "it was closed in order");
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), all);
}

/// On a disk that loses what it fails to sync, although the page cache still serves it.
fn lossy(level: Durability) -> (MemoryVfs, Broker, Topic) {
    let vfs = MemoryVfs::new();
    let broker = open_on(options(), Arc::new(vfs.clone()), ROOT.as_ref()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().durability(level)).unwrap();
    send_all(&topic, ["a", "b"]).unwrap();
    topic.producer().synced().flush().unwrap();
    (vfs, broker, topic)
}

/// The next but so many calls fails, and is a sync.
fn fail_sync(vfs: &MemoryVfs, after: u64, act: impl FnOnce()) {
    vfs.fail_nth(after + 1, Fault::Io, Repeat::Once);
    act();
    assert_eq!(vfs.failed_call().unwrap().operation, Operation::SyncData);
}

#[test]
fn what_the_failed_sync_has_lost_is_never_served_again() {
    let (vfs, broker, topic) = lossy(Durability::Synced);
    let partition = topic.partition(0).unwrap();
    let lost = topic.producer().send(Record::new("lost")).unwrap();
    fail_sync(&vfs, 1, || assert!(lost.clone().wait().unwrap_err().is_indeterminate()));
    let recovery = partition.reopen().unwrap().unwrap();
    assert_eq!(recovery.end_offset(), 2);
    // Now it is known: nobody has ever read it, and it is not there.
    assert_eq!(lost.clone().wait().unwrap_err().kind(), ErrorKind::NotWritten);
    assert_eq!(lost.wait_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::NotWritten);
    assert_eq!(topic.producer().flush().unwrap_err().kind(), ErrorKind::NotWritten, "told once");
    topic.producer().flush().unwrap();
    assert_eq!(topic.producer().send(Record::new("c")).unwrap().wait().unwrap().offset(), 2);
    assert_eq!(values(&partition).unwrap(), [b"a", b"b", b"c"]);
    broker.close(TIMEOUT).unwrap();
}

/// The high watermark of a topic that is not synced falls with the reopening, and whoever stands above it is told.
#[test]
fn a_reader_above_the_new_end_gets_an_error_with_the_choices() {
    let (vfs, broker, topic) = lossy(Durability::Os);
    let partition = topic.partition(0).unwrap();
    let mut consumer = broker.consumer().assign([partition.clone()]).unwrap();
    let mut below = partition.read(Start::At(1)).unwrap();
    send_all(&topic, ["seen"]).unwrap();
    let seen = topic.producer().send(Record::new("seen, too")).unwrap();
    seen.clone().wait().unwrap();
    let mut read = partition.read(Start::Earliest).unwrap();
    while read.next().is_some() {}
    let resume = read.position();
    assert_eq!((consumer.poll(Duration::ZERO).unwrap().len(), resume.offset()), (4, 4));
    fail_sync(&vfs, 0, || assert!(topic.producer().synced().flush().unwrap_err().is_indeterminate()));
    assert_eq!(partition.high_watermark(), 4, "it does not fall before");

    partition.reopen().unwrap().unwrap();
    assert_eq!(partition.high_watermark(), 2);
    for error in [
        consumer.poll(Duration::ZERO).unwrap_err(),
        consumer.poll(Duration::ZERO).unwrap_err(),
        partition.read(Start::Resume(resume)).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.offset()), (ErrorKind::LogTruncated, Some(2)), "{error}");
        assert_eq!(error.available_offsets(), Some(0..=2));
    }
    assert!(seen.wait().unwrap_err().is_indeterminate(), "somebody may have read it");
    send_all(&topic, ["new"]).unwrap_err();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::LogTruncated, "still");
    assert_eq!(below.next().unwrap().unwrap().records().count(), 1, "what is still there is read on");
    consumer.seek(&partition, Start::At(2)).unwrap();
    assert_eq!(consumer.poll(TIMEOUT).unwrap().iter().next().unwrap().value(), Some(&b"new"[..]));
    let mut follow = partition.read(Start::At(0)).unwrap().follow();
    assert_eq!(follow.next().unwrap().unwrap().base_offset(), 0);
    broker.close(TIMEOUT).unwrap();
}

/// Whoever has begun to read before is not told of damage where another batch reaches beyond the end that he knew.
#[test]
fn a_reader_from_before_a_reopening_reads_the_batches_that_came_after_it() {
    let (vfs, broker, topic) = lossy(Durability::Os);
    let partition = topic.partition(0).unwrap();
    send_all(&topic, ["lost"]).unwrap();
    let mut reader = partition.read(Start::At(2)).unwrap();
    fail_sync(&vfs, 0, || assert!(topic.producer().synced().flush().unwrap_err().is_indeterminate()));
    partition.reopen().unwrap().unwrap();
    topic.producer().flush().expect_err("what was lost is told once");
    topic.producer().send_batch(&[Record::new("c"), Record::new("d")]).unwrap().wait().unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert_eq!(batch.iter().map(|record| record.value().unwrap()).collect::<Vec<_>>(), [b"c", b"d"]);
    assert!(reader.next().is_none());
    broker.close(TIMEOUT).unwrap();
}

/// What was visible and not durable may be gone after a failed sync: that is no damage.
#[test]
fn what_a_failed_sync_has_taken_is_not_called_damaged() {
    let place = Place::new(Durability::Os);
    send_all(&place.topic, ["a"]).unwrap();
    place.topic.producer().synced().flush().unwrap();
    send_all(&place.topic, ["b"]).unwrap();
    let mut consumer = place.broker.consumer().assign([place.partition()]).unwrap();
    _ = place.fail("c");
    place.vfs.damage(&format!("t-0/{LOG}"), 130);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    let error = consumer.poll(Duration::ZERO).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::StorageError, Some(1)), "{error}");
    assert!(error.to_string().contains("reopen the partition"), "{error}");
    place.partition().reopen().unwrap().unwrap();
    assert_eq!(place.found(), [b"a"]);
    // Below what is durable it is.
    place.vfs.damage(&format!("t-0/{LOG}"), 65);
    assert_eq!(values(&place.partition()).unwrap_err().kind(), ErrorKind::CorruptMessage);
}

/// Segments that were rolled, and not synced when the failure came, go as well.
#[test]
fn segments_behind_the_durable_end_are_taken_over_or_cut() {
    for keeps in [true, false] {
        let place = Place::new(Durability::Os);
        send_all(&place.topic, ["a"]).unwrap();
        place.topic.producer().synced().flush().unwrap();
        let large = "x".repeat(700);
        send_all(&place.topic, [&large, &large, &large]).unwrap();
        place.vfs.fail("sync 0", 0, Other);
        place.topic.producer().synced().flush().unwrap_err();
        place.vfs.fail_no_more();
        if !keeps {
            place.vfs.damage(&format!("t-0/{LOG}"), 200);
        }
        let recovery = place.partition().reopen().unwrap().unwrap();
        let end = if keeps { 4 } else { 1 };
        assert_eq!((recovery.end_offset(), recovery.cut_bytes() > 0), (end, !keeps));
        assert_eq!(recovery.quarantined().count(), if keeps { 0 } else { 3 });
        _ = place.topic.producer().flush();
        send_all(&place.topic, ["b"]).unwrap();
        assert_eq!(place.found().len(), usize::try_from(end).unwrap() + 1);
        place.broker.close(TIMEOUT).unwrap();
        assert!(place.vfs.open_broker().unwrap().recovery_report().is_clean());
    }
}

#[test]
fn damage_of_what_was_durable_is_an_error_and_nothing_is_changed() {
    let place = Place::new(Durability::Synced);
    send_all(&place.topic, ["a", "b"]).unwrap();
    _ = place.fail("doubtful");
    place.vfs.damage(&format!("t-0/{LOG}"), 30);
    let before = place.vfs.content(&format!("t-0/{LOG}"));
    let error = place.partition().reopen().unwrap_err();
    assert_eq!((error.is_corruption(), error.offset()), (true, Some(0)), "{error}");
    assert_eq!(place.vfs.content(&format!("t-0/{LOG}")), before);
    assert_eq!(place.topic.producer().send(Record::new("c")).unwrap_err().kind(), ErrorKind::StorageError);
    // Restored, it can be tried again.
    place.vfs.damage(&format!("t-0/{LOG}"), 30);
    place.partition().reopen().unwrap().unwrap();
    assert_eq!(place.found().len(), 3);
}

/// Whatever fails while it is reopened: it can be reopened later, and nothing acknowledged is lost.
#[test]
fn a_reopening_that_fails_can_be_tried_again() {
    for number in 0.. {
        let place = Place::new(Durability::Synced);
        send_all(&place.topic, ["a", "b"]).unwrap();
        place.vfs.limit_writes(60);
        _ = place.fail(&"x".repeat(100));
        place.vfs.limit_writes(usize::MAX);
        place.vfs.fail_once("", number, Other);
        let outcome = place.partition().reopen();
        let has_failed = outcome.is_err();
        place.vfs.fail_no_more();
        if has_failed {
            assert!(place.found().starts_with(&[b"a".to_vec(), b"b".to_vec()]), "call {number}");
            assert!(place.topic.producer().send(Record::new("refused")).is_err());
            place.partition().reopen().unwrap().unwrap();
        }
        _ = place.topic.producer().flush();
        send_all(&place.topic, ["c"]).unwrap();
        let found = place.found();
        assert!(found.starts_with(&[b"a".to_vec(), b"b".to_vec()]) && found.ends_with(&[b"c".to_vec()]));
        // A failure of the ends file is the directory's, and is told when that is closed.
        let closed = place.broker.close(TIMEOUT);
        let broker = place.vfs.open_broker().unwrap();
        assert_eq!(broker.recovery_report().is_clean(), closed.is_ok(), "call {number}: {closed:?}");
        assert_eq!(
            values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(),
            found,
            "call {number}"
        );
        if !has_failed && number > 20 {
            return;
        }
    }
}

#[test]
fn a_partition_that_is_closed_deleted_or_damaged_is_not_reopened() {
    let place = Place::new(Durability::Synced);
    let partition = place.partition();
    place.broker.delete_topic("t").unwrap();
    assert_eq!(partition.reopen().unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
    place.broker.close(TIMEOUT).unwrap();
    assert_eq!(partition.reopen().unwrap_err().kind(), ErrorKind::Closed);

    // Where topics no longer change, the disk may say that this one is being deleted.
    let place = Place::new(Durability::Synced);
    place.vfs.fail("sync_dir data", 0, Other);
    place.broker.delete_topic("t").unwrap_err();
    place.vfs.fail_no_more();
    assert!(place.partition().reopen().is_err());
    assert!(place.topic.producer().send(Record::new("refused")).is_err());
}

/// Threads that wait and send while the partition fails and is reopened, again and again: each record is accounted for.
#[test]
fn everybody_has_an_answer_while_a_partition_fails_and_comes_back() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().background(true)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(4096)).unwrap();
    let partition = topic.partition(0).unwrap();
    let acknowledged = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (topic, acknowledged) = (topic.clone(), &acknowledged);
            scope.spawn(move || {
                for number in 0..200u32 {
                    let value = format!("{thread}-{number}");
                    loop {
                        let Ok(delivery) = topic.producer().send(Record::new(&value)) else {
                            std::thread::yield_now();
                            continue;
                        };
                        match if number % 2 == 0 { delivery.wait() } else { delivery.wait_timeout(TIMEOUT) } {
                            Ok(metadata) => acknowledged.lock().unwrap().push((metadata.offset(), value)),
                            Err(error) => assert!(
                                error.is_indeterminate() || error.kind() == ErrorKind::NotWritten,
                                "{error}"
                            ),
                        }
                        break;
                    }
                }
            });
        }
        for _ in 0..30 {
            vfs.fail_once("sync 0", 3, Other);
            while partition.reopen().unwrap().is_none() && acknowledged.lock().unwrap().len() < 500 {
                std::thread::yield_now();
            }
            vfs.fail_no_more();
        }
        while partition.reopen().unwrap().is_some() {}
    });
    let found = values(&partition).unwrap();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 300, "{}", acknowledged.len());
    for (offset, value) in acknowledged {
        assert_eq!(found[usize::try_from(offset).unwrap()], value.as_bytes());
    }
    _ = topic.producer().flush();
    broker.close(TIMEOUT).unwrap();
}
