//! Rejected records: each ends in the dead-letter topic, with the reason, or comes again; nothing passes it before.

use std::time::Duration;

use ottla::{Broker, Consumer, ErrorKind, ManualClock, Record, Start, TopicConfig};

use crate::kitchen::{NOW, acquire, builder, committed, consumer, fails, header, of, place, records, send};
use crate::support::{ROOT, options};

#[test]
fn a_record_that_ends_the_process_is_counted_and_ends_in_the_dead_letter_topic() {
    let (mut disk, mut broker, orders) = place(1);
    broker.create_topic("dead", TopicConfig::new()).unwrap();
    send(&orders, 2);
    drop(orders);
    let subscribe = |broker: &Broker| {
        builder(broker).dead_letter_topic("dead").max_poll_records(1).subscribe(["orders"]).unwrap()
    };
    for count in 1..=5 {
        let mut consumer = subscribe(&broker);
        let records = acquire(&mut consumer);
        assert_eq!(of(&records), [(0, count)]);
        // It is killed with the record in its hands.
        let after = disk.restart();
        broker = options().open_on(&after, ROOT).unwrap();
        disk = after;
    }
    let mut consumer = subscribe(&broker);
    let mut rest = acquire(&mut consumer);
    assert_eq!(of(&rest), [(1, 1)]);
    rest.remove(0).reject("no table").unwrap();
    assert_eq!(committed(&mut consumer, &broker.topic("orders").unwrap()), Some(2));
    let dead = records(&broker.topic("dead").unwrap());
    let reasons: Vec<_> = dead.iter().map(|dead| header(dead, "__dlq.errors.message")).collect();
    assert_eq!(reasons, ["delivered 5 times, and never accepted", "no table"]);
    let first = &dead[0];
    assert_eq!((first.key.as_deref(), first.value.as_deref()), (Some(&b"table"[..]), Some(&[0; 4][..])));
    assert_eq!(first.timestamp, Some(7));
    let context = ["tip", "__dlq.errors.topic", "__dlq.errors.partition", "__dlq.errors.offset"];
    assert_eq!(context.map(|name| header(first, name)), ["1", "orders", "0", "0"]);
    let context = ["__dlq.errors.group", "__dlq.errors.delivery.count"];
    assert_eq!(context.map(|name| header(first, name)), ["kitchen", "5"]);
}

#[test]
fn without_a_dead_letter_topic_the_partition_stops_at_a_rejected_record_until_a_seek() {
    let (_, broker, orders) = place(1);
    send(&orders, 3);
    let mut consumer = builder(&broker).max_poll_records(2).subscribe(["orders"]).unwrap();
    let mut records = acquire(&mut consumer);
    records.remove(1).reject("no table").unwrap();
    // What lies before it is not settled.
    assert!(acquire(&mut consumer).is_empty());
    records.remove(0).accept().unwrap();
    for _ in 0..2 {
        let error = fails(ErrorKind::RejectedRecord, consumer.acquire(NOW));
        assert_eq!((error.topic(), error.partition(), error.offset()), (Some("orders"), Some(0), Some(1)));
        assert!(error.to_string().contains("no table"), "{error}");
    }
    let partition = orders.partition(0).unwrap();
    assert_eq!(consumer.committed(&partition).unwrap().unwrap().position().offset(), 1);
    consumer.seek(&partition, Start::At(2)).unwrap();
    assert_eq!(of(&acquire(&mut consumer)), [(2, 1)]);
    assert_eq!(committed(&mut consumer, &orders), Some(2));
}

#[test]
fn nothing_passes_a_record_that_the_dead_letter_topic_did_not_take() {
    let (_, broker, orders) = place(1);
    broker.create_topic("dead", TopicConfig::new()).unwrap();
    send(&orders, 2);
    let mut consumer = builder(&broker).dead_letter_topic("dead").subscribe(["orders"]).unwrap();
    let mut records = acquire(&mut consumer);
    broker.delete_topic("dead").unwrap();
    records.remove(0).reject("no table").unwrap();
    records.remove(0).accept().unwrap();
    fails(ErrorKind::UnknownTopicOrPartition, consumer.commit());
    fails(ErrorKind::UnknownTopicOrPartition, consumer.acquire(NOW));
    let partition = orders.partition(0).unwrap();
    assert_eq!(consumer.committed(&partition).unwrap().map_or(0, |at| at.position().offset()), 0);
    let dead = broker.create_topic("dead", TopicConfig::new()).unwrap();
    assert_eq!(committed(&mut consumer, &orders), Some(2));
    assert_eq!(dead.partition(0).unwrap().high_watermark(), 1);
}

#[test]
fn what_is_rejected_before_its_consumer_goes_is_in_the_dead_letter_topic() {
    let (_, broker, orders) = place(1);
    let dead = broker.create_topic("dead", TopicConfig::new()).unwrap();
    send(&orders, 2);
    let subscribe = || builder(&broker).dead_letter_topic("dead").subscribe(["orders"]).unwrap();
    let mut one = subscribe();
    acquire(&mut one).remove(0).reject("no table").unwrap();
    drop(one);
    assert_eq!(dead.partition(0).unwrap().high_watermark(), 1);
    assert_eq!(of(&acquire(&mut subscribe())), [(1, 2)]);
    // Without one it comes again.
    let mut one = consumer(&broker);
    acquire(&mut one).remove(0).reject("no table").unwrap();
    drop(one);
    assert_eq!(of(&acquire(&mut consumer(&broker))), [(1, 4)]);
}

#[test]
fn what_is_rejected_before_its_partition_goes_is_in_the_dead_letter_topic() {
    let (_, broker, orders) = place(2);
    let dead = broker.create_topic("dead", TopicConfig::new()).unwrap();
    for partition in 0..2 {
        orders.producer().send(Record::new("tea").partition(partition)).unwrap().wait().unwrap();
    }
    let subscribe = || builder(&broker).dead_letter_topic("dead").subscribe(["orders"]).unwrap();
    let (mut one, mut two) = (subscribe(), subscribe());
    let held = acquire(&mut one);
    assert!(acquire(&mut two).is_empty());
    held.into_iter().for_each(|record| record.reject("no table").unwrap());
    for _ in 0..10 {
        assert_eq!((acquire(&mut one).len(), acquire(&mut two).len()), (0, 0));
    }
    assert_eq!((one.assignment().len(), two.assignment().len()), (1, 1));
    assert_eq!(dead.partition(0).unwrap().high_watermark(), 2);
}

#[test]
fn what_is_rejected_by_one_that_is_no_member_any_more_is_for_the_next() {
    let clock = ManualClock::at(0);
    let broker = options().clock(clock.clock()).in_memory().unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let dead = broker.create_topic("dead", TopicConfig::new()).unwrap();
    send(&orders, 1);
    let subscribe = || builder(&broker).dead_letter_topic("dead").subscribe(["orders"]).unwrap();
    let reject_too_late = |consumer: &mut Consumer, count| {
        let mut held = acquire(consumer);
        assert_eq!(of(&held), [(0, count)]);
        clock.advance(Duration::from_secs(301));
        broker.tick().unwrap();
        held.remove(0).reject("no table").unwrap();
    };
    let mut one = subscribe();
    reject_too_late(&mut one, 1);
    fails(ErrorKind::UnknownMemberId, one.commit());
    fails(ErrorKind::UnknownMemberId, one.acquire(NOW));
    reject_too_late(&mut one, 2);
    drop(one);
    assert_eq!(dead.partition(0).unwrap().high_watermark(), 0);
    let mut two = subscribe();
    acquire(&mut two).remove(0).accept().unwrap();
    assert_eq!(committed(&mut two, &orders), Some(1));
}

#[test]
fn what_holds_up_its_own_partition_holds_up_no_commit_of_another() {
    for name in ["dead", "none"] {
        let (_, broker, orders) = place(2);
        broker.create_topic("dead", TopicConfig::new()).unwrap();
        for partition in 0..2 {
            orders.producer().send(Record::new("tea").partition(partition)).unwrap().wait().unwrap();
        }
        let builder =
            if name == "dead" { builder(&broker).dead_letter_topic(name) } else { builder(&broker) };
        let mut consumer = builder.subscribe(["orders"]).unwrap();
        let held = acquire(&mut consumer);
        broker.delete_topic("dead").unwrap();
        for record in held {
            match record.partition() {
                0 => record.reject("no table").unwrap(),
                _ => record.accept().unwrap(),
            }
        }
        let expected =
            if name == "dead" { ErrorKind::UnknownTopicOrPartition } else { ErrorKind::RejectedRecord };
        fails(expected, consumer.commit());
        let committed = orders.partitions().map(|partition| {
            consumer.committed(&partition).unwrap().map_or(0, |committed| committed.position().offset())
        });
        assert_eq!(committed.collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn a_seek_passes_what_was_rejected_once_the_dead_letter_topic_has_it() {
    let (_, broker, orders) = place(1);
    broker.create_topic("dead", TopicConfig::new()).unwrap();
    send(&orders, 3);
    let mut consumer =
        builder(&broker).dead_letter_topic("dead").max_poll_records(1).subscribe(["orders"]).unwrap();
    acquire(&mut consumer).remove(0).reject("no table").unwrap();
    broker.delete_topic("dead").unwrap();
    let partition = orders.partition(0).unwrap();
    fails(ErrorKind::UnknownTopicOrPartition, consumer.seek(&partition, Start::At(2)));
    assert_eq!(consumer.position(&partition).unwrap().offset(), 1);
    let dead = broker.create_topic("dead", TopicConfig::new()).unwrap();
    consumer.seek(&partition, Start::At(2)).unwrap();
    assert_eq!(of(&acquire(&mut consumer)), [(2, 1)]);
    assert_eq!(dead.partition(0).unwrap().high_watermark(), 1);
}

#[test]
fn a_pattern_leaves_the_dead_letter_topic_out() {
    let (_, broker, orders) = place(1);
    let dead = broker.create_topic("orders.dead", TopicConfig::new()).unwrap();
    send(&orders, 3);
    let builder = builder(&broker).dead_letter_topic("orders.dead");
    let mut consumer = builder.subscribe_matching(|name| name.starts_with("orders")).unwrap();
    acquire(&mut consumer).into_iter().for_each(|record| record.reject("no table").unwrap());
    // Topics that come are looked at again.
    let more = broker.create_topic("orders.more", TopicConfig::new()).unwrap();
    send(&more, 1);
    let mut seen = Vec::new();
    for _ in 0..10 {
        for record in acquire(&mut consumer) {
            seen.push(record.topic().to_owned());
            record.reject("no table").unwrap();
        }
    }
    assert_eq!(seen, ["orders.more"]);
    assert_eq!(dead.partition(0).unwrap().high_watermark(), 4);
}
