//! Acquired records: each is worked on at least once, in order, and nothing is committed that is not settled.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ottla::{AcquiredRecord, Assignor, Broker, Consumer, Error, ErrorKind, ManualClock, Record, TopicConfig};

use crate::kitchen::{NOW, acquire, builder, committed, consumer, fails, of, place, send};
use crate::support::{TempDir, options};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn commits_move_over_a_prefix_without_gaps_and_what_is_released_comes_first() {
    let (_, broker, orders) = place(1);
    send(&orders, 5);
    let mut consumer = builder(&broker).max_poll_records(3).subscribe(["orders"]).unwrap();
    let mut records = acquire(&mut consumer);
    assert_eq!(of(&records), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!((records[0].key(), records[0].value()), (Some(&b"table"[..]), Some(&[0; 4][..])));
    records.remove(0).accept().unwrap();
    records.remove(1).accept().unwrap();
    assert_eq!(committed(&mut consumer, &orders), Some(1));
    drop(records);
    let records = acquire(&mut consumer);
    assert_eq!(of(&records), [(1, 2)]);
    assert!(acquire(&mut consumer).is_empty());
    records.into_iter().for_each(|record| record.accept().unwrap());
    assert_eq!(committed(&mut consumer, &orders), Some(3));
    assert_eq!(of(&acquire(&mut consumer)), [(3, 1), (4, 1)]);
    // What is dropped is released.
    assert_eq!(of(&acquire(&mut consumer)), [(3, 2), (4, 2)]);
}

#[test]
fn a_consumer_polls_or_acquires() {
    let (_, broker, orders) = place(1);
    send(&orders, 2);
    let mut polls = consumer(&broker);
    assert_eq!(polls.poll(NOW).unwrap().len(), 2);
    fails(ErrorKind::InvalidRequest, polls.acquire(NOW));
    drop(polls);
    let mut acquires = consumer(&broker);
    let records = acquire(&mut acquires);
    assert_eq!(records.len(), 2);
    fails(ErrorKind::InvalidRequest, acquires.poll(NOW));
    let (partition, offset) = (orders.partition(0).unwrap(), ottla::Position::new(2, None));
    let offsets = [(partition, ottla::OffsetAndMetadata::new(offset))];
    fails(ErrorKind::InvalidRequest, acquires.commit_offsets(offsets));
    let mut alone = broker.consumer().assign(orders.partitions()).unwrap();
    fails(ErrorKind::InvalidGroupId, alone.acquire(NOW));
    assert_eq!(alone.poll(NOW).unwrap().len(), 2);
}

#[test]
fn bad_settings_are_errors() {
    let (_, broker, _) = place(1);
    fails(ErrorKind::InvalidConfig, builder(&broker).delivery_count_limit(0).subscribe(["orders"]));
    let dead = |name| builder(&broker).dead_letter_topic(name).subscribe(["orders"]);
    fails(ErrorKind::UnknownTopicOrPartition, dead("none"));
    fails(ErrorKind::InvalidConfig, dead("orders"));
}

#[test]
fn who_does_not_acquire_is_told_that_nothing_reads_its_settings() {
    let (_, broker, orders) = place(1);
    let (limited, dead) =
        (|| broker.consumer().delivery_count_limit(5), || broker.consumer().dead_letter_topic("orders"));
    fails(ErrorKind::InvalidConfig, limited().assign(orders.partitions()));
    fails(ErrorKind::InvalidConfig, dead().assign(orders.partitions()));
    let mut polls = limited().group("kitchen").subscribe(["orders"]).unwrap();
    fails(ErrorKind::InvalidRequest, polls.poll(NOW));
    assert!(polls.acquire(NOW).unwrap().is_empty());
}

#[test]
fn what_was_revoked_can_not_be_settled_and_its_new_owner_is_given_it_again() {
    let (_, broker, orders) = place(2);
    for partition in 0..2 {
        let record = Record::new("tea").partition(partition);
        orders.producer().send_batch(&[record.clone(), record]).unwrap().wait().unwrap();
    }
    let mut one = consumer(&broker);
    let mut held = acquire(&mut one);
    assert_eq!(held.len(), 4);
    // The first of each is accepted, and committed on the way out.
    for at in [2, 0] {
        held.remove(at).accept().unwrap();
    }
    let mut two = consumer(&broker);
    let mut taken = Vec::new();
    for _ in 0..10 {
        assert!(one.acquire(NOW).unwrap().is_empty());
        taken.extend(two.acquire(NOW).unwrap());
    }
    assert_eq!(of(&taken), [(1, 2)]);
    for record in held {
        let is_revoked = record.partition() == taken[0].partition();
        match record.accept() {
            Ok(()) => assert!(!is_revoked),
            Err(error) => assert!(is_revoked && error.kind() == ErrorKind::InvalidRecordState, "{error}"),
        }
    }
    drop(two);
    let last = taken.remove(0);
    fails(ErrorKind::InvalidRecordState, last.accept());
}

#[test]
fn a_consumer_that_waits_commits_what_other_threads_settle() {
    let dir = TempDir::new("acquiring-threads");
    let broker = Broker::open(dir.path()).unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send(&orders, 100);
    let mut consumer = builder(&broker).max_poll_records(7).subscribe(["orders"]).unwrap();
    let wakeup = consumer.wakeup_handle();
    let (sender, work) = channel::<AcquiredRecord>();
    let loops = thread::spawn(move || -> (Consumer, Error) {
        loop {
            match consumer.acquire(LONG) {
                Ok(records) => records.into_iter().for_each(|record| sender.send(record).unwrap()),
                Err(error) => return (consumer, error),
            }
        }
    });
    let (mut last, mut accepted) = (BTreeMap::new(), 0);
    for at in 0.. {
        if accepted == 100 {
            break;
        }
        let record = work.recv_timeout(LONG).unwrap();
        let (offset, count) = (record.offset(), record.delivery_count());
        assert_eq!(last.insert(offset, count).map_or(1, |before| before + 1), count);
        if at % 10 == 3 && count == 1 {
            record.release().unwrap();
        } else {
            record.accept().unwrap();
            accepted += 1;
        }
    }
    let watcher = consumer_of_nothing(&broker);
    let partition = orders.partition(0).unwrap();
    while watcher.committed(&partition).unwrap().unwrap().position().offset() < 100 {
        thread::yield_now();
    }
    assert_eq!(last.len(), 100);
    wakeup.wake();
    let (consumer, error) = loops.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Wakeup);
    drop((consumer, watcher));
}

/// It only looks.
fn consumer_of_nothing(broker: &Broker) -> Consumer {
    consumer(broker)
}

#[test]
fn what_is_accepted_while_another_joins_is_committed_before_it_goes() {
    for assignor in [Assignor::CooperativeSticky, Assignor::Range] {
        let (_, broker, orders) = place(2);
        for partition in 0..2 {
            let record = Record::new("tea").partition(partition);
            orders.producer().send_batch(&[record.clone(), record]).unwrap().wait().unwrap();
        }
        let subscribe = || builder(&broker).assignor(assignor).subscribe(["orders"]).unwrap();
        let (mut one, mut two) = (subscribe(), subscribe());
        let held = acquire(&mut one);
        assert_eq!(held.len(), 4);
        // It has joined, and the first does not know yet what that takes from it.
        assert!(acquire(&mut two).is_empty());
        held.into_iter().for_each(|record| record.accept().unwrap());
        for _ in 0..10 {
            assert_eq!((acquire(&mut one).len(), acquire(&mut two).len()), (0, 0), "{assignor:?}");
        }
        assert_eq!((one.assignment().len(), two.assignment().len()), (1, 1));
        for partition in orders.partitions() {
            assert_eq!(one.committed(&partition).unwrap().unwrap().position().offset(), 2);
        }
    }
}

#[test]
fn what_is_accepted_by_one_that_is_no_member_any_more_is_an_error_and_not_anothers_commit() {
    let clock = ManualClock::at(0);
    let broker = options().clock(clock.clock()).in_memory().unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send(&orders, 2);
    let (mut one, mut two) = (consumer(&broker), consumer(&broker));
    let mut held = acquire(&mut one);
    assert_eq!(held.len(), 2);
    clock.advance(Duration::from_secs(301));
    broker.tick().unwrap();
    let mut taken = Vec::new();
    while taken.is_empty() {
        taken = acquire(&mut two);
    }
    assert_eq!(of(&taken), [(0, 2), (1, 2)]);
    // Nobody has told the first.
    held.remove(0).accept().unwrap();
    fails(ErrorKind::UnknownMemberId, one.commit());
    let error = fails(ErrorKind::UnknownMemberId, one.acquire(NOW));
    assert!(error.to_string().contains("was settled was not committed"), "{error}");
    fails(ErrorKind::InvalidRecordState, held.remove(0).accept());
    // It is told once, and goes on.
    assert!(acquire(&mut one).is_empty());
    let committed = |two: &Consumer| two.committed(&orders.partition(0).unwrap()).unwrap().unwrap();
    assert_eq!(committed(&two).position().offset(), 0);
    taken.into_iter().for_each(|record| record.accept().unwrap());
    two.commit().unwrap();
    assert_eq!(committed(&two).position().offset(), 2);
}
