//! Where a consumer begins that finds commits of its group: Kafka's, such as lie outside the log, and such as a crash has overtaken.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, open_on, undo_adoption_on};
use ottla::{
    Broker, Consumer, ConsumerBuilder, ErrorKind, OffsetReset, Position, Record, Start, Topic, TopicConfig,
};

use crate::adopting_fixtures::directory;
use crate::support::{ROOT, options, put, rewrite_commit, send_all};

const NOW: Duration = Duration::ZERO;

fn open(vfs: &MemoryVfs) -> Broker {
    open_on(options().adopt(true), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

fn subscribe(broker: &Broker, group: &str) -> Consumer {
    broker.consumer().group(group).subscribe(["t0", "t1"]).unwrap()
}

/// What each group has committed, but for partitions of which it has committed nothing.
fn commits(broker: &Broker) -> Vec<(String, String, u32, u64)> {
    let mut commits = Vec::new();
    for group in broker.groups().unwrap() {
        for partition in broker.describe_group(group.name()).unwrap().partitions() {
            let Some(committed) = partition.committed() else { continue };
            let (name, topic) = (group.name().to_owned(), partition.topic().to_owned());
            commits.push((name, topic, partition.partition(), committed.offset()));
        }
    }
    commits
}

#[test]
fn a_consumer_of_a_kafka_group_begins_at_kafkas_commits_and_what_it_commits_is_kept() {
    let vfs = directory("groups");
    let broker = open(&vfs);
    let kafkas = commits(&broker);
    assert!(kafkas.len() >= 30, "{kafkas:?}");
    let mut resumed = 0;
    for group in broker.groups().unwrap() {
        let mut consumer = subscribe(&broker, group.name());
        let mut first: Vec<((String, u32), u64)> = Vec::new();
        loop {
            let records = consumer.poll(NOW).unwrap();
            if records.is_empty() {
                break;
            }
            for record in &records {
                let place = (record.topic().to_owned(), record.partition());
                if !first.iter().any(|(known, _)| *known == place) {
                    first.push((place, record.offset()));
                }
            }
        }
        assert_eq!(consumer.assignment().len(), 6);
        for partition in consumer.assignment() {
            let place = (partition.topic().to_owned(), partition.id());
            let committed = kafkas
                .iter()
                .find(|(name, topic, id, _)| name == group.name() && (topic, *id) == (&place.0, place.1));
            let begins = committed.map_or(partition.log_start_offset(), |commit| commit.3);
            let read = first.iter().find(|(known, _)| *known == place).map(|(_, offset)| *offset);
            let expected = Some(begins).filter(|begins| *begins < partition.high_watermark());
            assert_eq!(read, expected, "{} {place:?}", group.name());
            resumed += usize::from(committed.is_some() && expected.is_some());
        }
        consumer.commit().unwrap();
    }
    assert!(resumed >= 10, "{resumed} began at a commit with something behind it");
    let open_transactions =
        broker.topic("__consumer_offsets").unwrap().partition(0).unwrap().open_transactions();
    assert_ne!(open_transactions, [], "no commit stands behind a transaction that is open");
    let ours = commits(&broker);
    drop(broker);
    let broker = open(&vfs);
    assert_eq!(commits(&broker), ours);
    for group in broker.groups().unwrap() {
        let mut consumer = subscribe(&broker, group.name());
        assert!(
            (0..4).all(|_| consumer.poll(NOW).unwrap().is_empty()),
            "{} reads something again",
            group.name()
        );
    }
}

/// A directory in which the group `billing` has committed this of `orders`, which has two partitions, the one with `a` and `b`, the
/// other with `c`; nobody was so careless, but another leader of a Kafka cluster may have been.
fn committed(offset: u64, epoch: Option<u32>) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    {
        let broker = open(&vfs);
        let orders = broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap();
        send_all(&orders, ["a", "b"]).unwrap();
        orders.producer().send(Record::new("c").partition(1)).unwrap().wait().unwrap();
        let at = (orders.partition(0).unwrap(), Position::new(1, None));
        broker.alter_group_offsets("billing", [at]).unwrap();
    }
    rewrite_commit(&vfs, (1, None), (offset, epoch));
    vfs
}

fn billing(broker: &Broker) -> ConsumerBuilder {
    broker.consumer().group("billing").max_poll_records(1)
}

/// The values that are read until there is nothing more.
fn drain(consumer: &mut Consumer) -> Vec<String> {
    let mut values = Vec::new();
    loop {
        let records = consumer.poll(NOW).unwrap();
        if records.is_empty() {
            return values;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        values.extend(records.iter().map(|record| text(record.value().unwrap())));
    }
}

/// Polls say so, each of them, and hand out the other partition's in between; whoever seeks goes on.
fn says_so_until_somebody_seeks(broker: &Broker, kind: ErrorKind, check: impl Fn(&ottla::Error)) {
    let mut consumer = billing(broker).subscribe(["orders"]).unwrap();
    let (mut others, mut errors) = (0, 0);
    for _ in 0..6 {
        match consumer.poll(NOW) {
            Ok(records) => others += records.iter().filter(|record| record.partition() == 1).count(),
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.topic(), error.partition()),
                    (kind, Some("orders"), Some(0)),
                    "{error}"
                );
                check(&error);
                errors += 1;
            }
        }
    }
    assert_eq!(others, 1);
    assert!(errors >= 4, "{errors} polls say that the commit cannot be read from");
    consumer.commit().unwrap();
    let partition = consumer.assignment().into_iter().find(|partition| partition.id() == 0).unwrap();
    consumer.seek(&partition, Start::At(1)).unwrap();
    assert_eq!(drain(&mut consumer), ["b"]);
    consumer.commit().unwrap();
    drop(consumer);
    assert_eq!(drain(&mut billing(broker).subscribe(["orders"]).unwrap()), [""; 0]);
}

fn begins_where_the_builder_chose(vfs: &MemoryVfs, rest: &[&str]) {
    for (reset, expected) in [(OffsetReset::Earliest, rest), (OffsetReset::Latest, &[])] {
        let broker = open(&vfs.clone());
        let mut consumer = billing(&broker).auto_offset_reset(reset).subscribe(["orders"]).unwrap();
        let mut values = drain(&mut consumer);
        values.retain(|value| value != "c");
        assert_eq!(values, expected, "{reset:?}");
        let orders: Topic = broker.topic("orders").unwrap();
        send_all(&orders, ["new"]).unwrap();
        assert_eq!(drain(&mut consumer), ["new"], "{reset:?}");
    }
}

#[test]
fn a_commit_above_the_end_is_an_error_with_the_choices_unless_the_builder_chose() {
    let vfs = committed(7, None);
    says_so_until_somebody_seeks(&open(&vfs), ErrorKind::OffsetOutOfRange, |error| {
        assert_eq!((error.offset(), error.available_offsets()), (Some(7), Some(0..=2)), "{error}");
    });
    begins_where_the_builder_chose(&committed(7, None), &["a", "b"]);
}

/// Kafka's retention has removed what a group of the fixture has committed.
#[test]
fn a_commit_below_the_log_start_is_an_error_with_the_choices_unless_the_builder_chose() {
    let vfs = directory("groups");
    put(&vfs, "log-start-offset-checkpoint", b"0\n1\nt0 0 2\n");
    let broker = open(&vfs);
    let group = || broker.consumer().group("forgetful");
    let mut consumer = group().subscribe(["t0"]).unwrap();
    let error = (0..4).find_map(|_| consumer.poll(NOW).err()).expect("it would begin somewhere");
    assert_eq!((error.kind(), error.partition()), (ErrorKind::OffsetOutOfRange, Some(0)), "{error}");
    assert_eq!((error.offset(), error.available_offsets()), (Some(1), Some(2..=5)), "{error}");
    drop(consumer);
    for (reset, expected) in [(OffsetReset::Earliest, 2), (OffsetReset::Latest, 5)] {
        let mut consumer = group().auto_offset_reset(reset).subscribe(["t0"]).unwrap();
        let mut first = None;
        loop {
            let records = consumer.poll(NOW).unwrap();
            if records.is_empty() {
                break;
            }
            let here = records.iter().find(|record| record.partition() == 0);
            first = first.or(here.map(|record| record.offset()));
        }
        assert_eq!(first.unwrap_or(5), expected, "{reset:?}");
    }
}

#[test]
fn a_commit_of_records_that_a_crash_took_is_an_error_with_where_they_part_unless_the_builder_chose() {
    let taken = || {
        let vfs = committed(3, Some(0));
        // The next life begins behind `b`, and its first record has the offset that was committed.
        std::mem::forget(open(&vfs));
        let vfs = vfs.restart();
        let broker = open(&vfs);
        send_all(&broker.topic("orders").unwrap(), ["other"]).unwrap();
        drop(broker);
        vfs
    };
    let begun = open(&taken()).topic("orders").unwrap().partition(0).unwrap().high_watermark();
    assert_eq!(begun, 3);
    begins_where_the_builder_chose(&taken(), &["a", "b", "other"]);
    let broker = open(&taken());
    let mut consumer = billing(&broker).subscribe(["orders"]).unwrap();
    let error =
        (0..4).find_map(|_| consumer.poll(NOW).err()).expect("the records behind it would be skipped");
    assert_eq!((error.kind(), error.offset()), (ErrorKind::LogTruncated, Some(2)), "{error}");
    assert_eq!((error.topic(), error.partition()), (Some("orders"), Some(0)), "{error}");
    let partition = consumer.assignment().into_iter().find(|partition| partition.id() == 0).unwrap();
    consumer.seek(&partition, Start::At(2)).unwrap();
    assert!(drain(&mut consumer).contains(&"other".to_owned()));
}

/// Kafka's consumers wait for an epoch that Kafka has not come to, and the batches of ours get Kafka's when the directory goes back.
#[test]
fn what_is_committed_behind_kafkas_part_carries_no_epoch_and_holds_when_the_directory_comes_again() {
    let mut vfs = directory("groups");
    for life in 0..4 {
        let broker = open(&vfs);
        let t0 = broker.topic("t0").unwrap();
        let end = t0.partition(0).unwrap().high_watermark();
        let sent = t0.producer().send(Record::new("ours").partition(0)).unwrap().wait().unwrap().position();
        let committed = |position| {
            broker.alter_group_offsets("billing", [(t0.partition(0).unwrap(), position)]).unwrap();
            broker.describe_group("billing").unwrap().partitions()[0].committed().unwrap()
        };
        assert!(sent.leader_epoch().is_some());
        assert_eq!(
            committed(Position::new(sent.offset(), sent.leader_epoch())),
            Position::new(end + 1, None)
        );
        if life == 0 {
            let kafkas = t0.partition(0).unwrap().read(Start::At(end)).unwrap().position();
            assert!(kafkas.leader_epoch().is_some());
            assert_eq!(committed(kafkas), kafkas, "what Kafka has written keeps its epoch");
            committed(sent);
        }
        std::mem::forget((broker, t0));
        vfs = vfs.restart();
    }
    drop(open(&vfs));
    undo_adoption_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let broker = open(&vfs);
    let mut consumer = broker.consumer().group("billing").subscribe(["t0"]).unwrap();
    let values = drain(&mut consumer);
    assert_eq!(values.iter().filter(|value| *value == "ours").count(), 0, "they are committed");
    send_all(&broker.topic("t0").unwrap(), ["new"]).unwrap();
    assert_eq!(drain(&mut consumer), ["new"]);
}
