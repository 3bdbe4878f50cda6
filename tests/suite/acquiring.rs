//! Acquired records: each is worked on at least once, or goes to the dead-letter topic, in order, and nothing is committed that is not
//! settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ottla::simulator::Disk;
use ottla::{
    AcquiredRecord, AcquiredRecords, Broker, Consumer, ConsumerBuilder, Error, ErrorKind, OwnedRecord,
    Record, Result, Start, Topic, TopicConfig,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{ROOT, TempDir, options};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

fn place(partitions: u32) -> (Disk, Broker, Topic) {
    let disk = Disk::new();
    let broker = options().open_on(&disk, ROOT).unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new().partitions(partitions)).unwrap();
    (disk, broker, orders)
}

fn builder(broker: &Broker) -> ConsumerBuilder {
    broker.consumer().group("kitchen")
}

fn consumer(broker: &Broker) -> Consumer {
    builder(broker).subscribe(["orders"]).unwrap()
}

fn send(topic: &Topic, count: u32) {
    let producer = topic.producer();
    for number in 0..count {
        let value = number.to_be_bytes();
        let record = Record::new(&value).key("table").header("tip", "1").timestamp(7).partition(0);
        _ = producer.send(record).unwrap();
    }
    producer.flush().unwrap();
}

fn acquire(consumer: &mut Consumer) -> Vec<AcquiredRecord> {
    consumer.acquire(NOW).unwrap().into_iter().collect()
}

fn of(records: &[AcquiredRecord]) -> Vec<(u64, u32)> {
    records.iter().map(|record| (record.offset(), record.delivery_count())).collect()
}

fn committed(consumer: &mut Consumer, topic: &Topic) -> Option<u64> {
    consumer.commit().unwrap();
    let committed = consumer.committed(&topic.partition(0).unwrap()).unwrap();
    committed.map(|committed| committed.position().offset())
}

#[track_caller]
fn fails<T>(kind: ErrorKind, outcome: Result<T, Error>) -> Error {
    let error = outcome.err().expect("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

fn records(topic: &Topic) -> Vec<OwnedRecord> {
    let batches = topic.partition(0).unwrap().read(Start::Earliest).unwrap();
    batches.flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>()).collect()
}

fn header(record: &OwnedRecord, name: &str) -> String {
    let found = record.headers.iter().find(|(own, _)| **own == *name).unwrap();
    String::from_utf8(found.1.as_deref().unwrap().to_vec()).unwrap()
}

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
    let mut last = BTreeMap::new();
    for at in 0.. {
        let record = work.recv_timeout(LONG).unwrap();
        let (offset, count) = (record.offset(), record.delivery_count());
        assert_eq!(last.insert(offset, count).map_or(1, |before| before + 1), count);
        if at % 10 == 3 && count == 1 {
            record.release().unwrap();
        } else {
            record.accept().unwrap();
        }
        if offset == 99 {
            break;
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

/// What happens to a kitchen; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Send(u32),
    Acquire,
    Accept(usize),
    Release(usize),
    Reject(usize),
    Commit,
    /// The consumer goes, and another one comes.
    Leave,
    /// The process is killed.
    Kill,
}

struct Kitchen {
    disk: Disk,
    broker: Broker,
    consumer: Consumer,
    held: Vec<AcquiredRecord>,
    accepted: BTreeSet<(u32, u64)>,
    sent: BTreeMap<u32, u64>,
    /// Up to where records were handed out by this consumer.
    reached: BTreeMap<u32, u64>,
}

impl Kitchen {
    fn new() -> Self {
        let (disk, broker, _) = place(2);
        broker.create_topic("dead", TopicConfig::new()).unwrap();
        let consumer = Self::subscribe(&broker);
        let (held, accepted) = (Vec::new(), BTreeSet::new());
        let (sent, reached) = (BTreeMap::new(), BTreeMap::new());
        Self { disk, broker, consumer, held, accepted, sent, reached }
    }

    fn subscribe(broker: &Broker) -> Consumer {
        let builder = builder(broker).dead_letter_topic("dead").delivery_count_limit(3).max_poll_records(3);
        builder.subscribe(["orders"]).unwrap()
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send(partition) => {
                let orders = self.broker.topic("orders").unwrap().producer();
                orders.send(Record::new("tea").partition(partition)).unwrap().wait().unwrap();
                *self.sent.entry(partition).or_default() += 1;
            }
            Step::Acquire => _ = self.acquire(),
            Step::Accept(which) => self.settle(which, |kitchen, record| {
                kitchen.accepted.insert((record.partition(), record.offset()));
                record.accept()
            }),
            Step::Release(which) => self.settle(which, |_, record| record.release()),
            Step::Reject(which) => self.settle(which, |_, record| record.reject("no table")),
            Step::Commit => self.consumer.commit().unwrap(),
            Step::Leave => {
                self.consumer = Self::subscribe(&self.broker);
                for record in self.held.drain(..) {
                    fails(ErrorKind::InvalidRecordState, record.accept());
                }
                self.reached.clear();
            }
            Step::Kill => {
                self.disk = self.disk.restart();
                self.broker = options().open_on(&self.disk, ROOT).unwrap();
                self.consumer = Self::subscribe(&self.broker);
                self.held.clear();
                self.reached.clear();
            }
        }
        self.check();
    }

    fn acquire(&mut self) -> usize {
        let records: AcquiredRecords = self.consumer.acquire(NOW).unwrap();
        let count = records.len();
        for record in records {
            let reached = self.reached.entry(record.partition()).or_default();
            if record.offset() >= *reached {
                // Nothing new, while something before it has come again and is not settled.
                let again = |held: &&AcquiredRecord| {
                    held.delivery_count() > 1 && held.partition() == record.partition()
                };
                let before = self.held.iter().find(again);
                assert!(before.is_none() || record.delivery_count() > 1, "{record:?} passes {before:?}");
                *reached = record.offset() + 1;
            }
            self.held.push(record);
        }
        count
    }

    fn settle(&mut self, which: usize, settle: impl FnOnce(&mut Self, AcquiredRecord) -> Result<()>) {
        if !self.held.is_empty() {
            let record = self.held.remove(which % self.held.len());
            settle(self, record).unwrap();
        }
    }

    fn dead(&self) -> BTreeSet<(u32, u64)> {
        let place = |record: &OwnedRecord| {
            let number = |name| header(record, name).parse::<u64>().unwrap();
            (u32::try_from(number("__dlq.errors.partition")).unwrap(), number("__dlq.errors.offset"))
        };
        records(&self.broker.topic("dead").unwrap()).iter().map(place).collect()
    }

    fn check(&self) {
        let dead = self.dead();
        for partition in self.broker.topic("orders").unwrap().partitions() {
            let committed = self.consumer.committed(&partition).unwrap();
            for offset in 0..committed.map_or(0, |committed| committed.position().offset()) {
                let place = (partition.id(), offset);
                assert!(self.accepted.contains(&place) || dead.contains(&place), "{place:?} was passed");
            }
        }
    }

    /// Works until there is nothing more.
    fn finish(&mut self) {
        let mut empty = 0;
        while empty < 2 {
            for record in std::mem::take(&mut self.held) {
                self.accepted.insert((record.partition(), record.offset()));
                record.accept().unwrap();
            }
            empty = if self.acquire() == 0 { empty + 1 } else { 0 };
        }
        self.consumer.commit().unwrap();
        self.check();
        for (partition, count) in self.sent.clone() {
            let partition = self.broker.topic("orders").unwrap().partition(partition).unwrap();
            let committed = self.consumer.committed(&partition).unwrap().unwrap();
            assert_eq!(committed.position().offset(), count);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..6_usize;
    let step = prop_oneof![
        4 => (0..2_u32).prop_map(Step::Send),
        5 => Just(Step::Acquire),
        4 => which.clone().prop_map(Step::Accept),
        3 => which.clone().prop_map(Step::Release),
        1 => which.prop_map(Step::Reject),
        1 => Just(Step::Commit),
        1 => Just(Step::Leave),
        1 => Just(Step::Kill),
    ];
    vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_accepted_or_dead_and_nothing_is_passed(steps in steps()) {
        let mut kitchen = Kitchen::new();
        steps.iter().for_each(|step| kitchen.run(step));
        kitchen.finish();
    }
}
