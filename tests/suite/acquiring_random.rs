//! What any run of steps makes of acquired records: each is accepted or rejected in the end, exactly once if nobody has failed, and no
//! commit passes one that is not.

use std::collections::{BTreeMap, BTreeSet};

use ottla::internals::DeliveryCounts;
use ottla::simulator::{CrashProfile, Disk};
use ottla::{
    AcquiredRecord, Broker, Consumer, ErrorKind, OffsetAndMetadata, OwnedRecord, Record, Result, TopicConfig,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::kitchen::{NOW, builder, fails, header, place, records};
use crate::support::{ROOT, options};

const LIMIT: u32 = 3;

/// What happens to a kitchen; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Send(u32),
    Acquire,
    Accept(usize),
    Release(usize),
    /// A record is dropped.
    Drop(usize),
    Reject(usize),
    Commit,
    /// The consumer goes, and another one comes.
    Leave,
    /// The process is killed.
    Kill,
    /// The power fails, and what was not synced is gone.
    PowerCut,
}

/// A partition and an offset.
type Dish = (u32, u64);

struct Kitchen {
    disk: Disk,
    broker: Broker,
    consumer: Consumer,
    held: Vec<AcquiredRecord>,
    sent: BTreeMap<u32, u64>,
    /// Up to where records were handed out by this consumer.
    reached: BTreeMap<u32, u64>,
    deliveries: BTreeMap<Dish, u32>,
    accepted: BTreeSet<Dish>,
    /// How often each was rejected, or has come as often as it may.
    rejected: BTreeMap<Dish, usize>,
    /// Those that have come as often as they may: if the process is killed then, they are rejected without a word.
    worn: BTreeSet<Dish>,
    /// What was settled, and never comes again.
    settled: BTreeSet<Dish>,
    was_killed: bool,
}

impl Kitchen {
    fn new() -> Self {
        let (disk, broker, _) = place(2);
        broker.create_topic("dead", TopicConfig::new()).unwrap();
        let consumer = Self::subscribe(&broker);
        Self {
            disk,
            broker,
            consumer,
            held: Vec::new(),
            sent: BTreeMap::new(),
            reached: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            accepted: BTreeSet::new(),
            rejected: BTreeMap::new(),
            worn: BTreeSet::new(),
            settled: BTreeSet::new(),
            was_killed: false,
        }
    }

    fn subscribe(broker: &Broker) -> Consumer {
        let builder = builder(broker).dead_letter_topic("dead").delivery_count_limit(LIMIT);
        builder.max_poll_records(3).subscribe(["orders"]).unwrap()
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send(partition) => {
                let orders = self.broker.topic("orders").unwrap().producer();
                orders.send(Record::new("tea").partition(partition)).unwrap().wait().unwrap();
                *self.sent.entry(partition).or_default() += 1;
            }
            Step::Acquire => _ = self.acquire(),
            Step::Accept(which) => self.settle(which, Self::accept),
            Step::Release(which) => self.settle(which, |kitchen, record| {
                kitchen.give_back(&record);
                record.release()
            }),
            Step::Drop(which) => self.settle(which, |kitchen, record| {
                kitchen.give_back(&record);
                drop(record);
                Ok(())
            }),
            Step::Reject(which) => self.settle(which, |kitchen, record| {
                kitchen.reject(dish(&record));
                record.reject("no table")
            }),
            Step::Commit => self.consumer.commit().unwrap(),
            Step::Leave => {
                self.consumer = Self::subscribe(&self.broker);
                for record in std::mem::take(&mut self.held) {
                    self.give_back(&record);
                    fails(ErrorKind::InvalidRecordState, record.accept());
                }
                self.begin_again();
            }
            Step::Kill => self.open(self.disk.restart()),
            Step::PowerCut => {
                let image = self.disk.crash_images(CrashProfile::Strict, 1, 0).next().unwrap();
                self.open(image.disk);
            }
        }
        self.check();
    }

    fn open(&mut self, disk: Disk) {
        self.disk = disk;
        self.broker = options().open_on(&self.disk, ROOT).unwrap();
        self.consumer = Self::subscribe(&self.broker);
        self.held.clear();
        self.was_killed = true;
        self.begin_again();
    }

    /// What lies behind the commit comes again, also what was settled; how often it has come is not forgotten.
    fn begin_again(&mut self) {
        self.reached.clear();
        let dead = self.dead();
        for partition in 0..2 {
            let (committed, words) = self.commit(partition);
            let counts = DeliveryCounts::decode(&words, committed);
            for (dish, deliveries) in self.deliveries.range_mut((partition, committed)..(partition + 1, 0)) {
                let kept = counts.of(dish.1);
                let is_settled = self.settled.remove(dish) || dead.contains_key(dish);
                assert!(
                    is_settled || kept == *deliveries,
                    "{dish:?} was handed out {deliveries} times: {words}"
                );
                *deliveries = kept;
            }
        }
    }

    fn committed(&self, partition: u32) -> u64 {
        self.commit(partition).0
    }

    fn commit(&self, partition: u32) -> (u64, String) {
        let partition = self.broker.topic("orders").unwrap().partition(partition).unwrap();
        let committed = self.consumer.committed(&partition).unwrap();
        let parts =
            |committed: OffsetAndMetadata| (committed.position().offset(), committed.words().to_owned());
        committed.map(parts).unwrap_or_default()
    }

    fn acquire(&mut self) -> usize {
        let records = self.consumer.acquire(NOW).unwrap();
        let count = records.len();
        for record in records {
            let dish = dish(&record);
            assert!(!self.settled.contains(&dish), "{record:?} was settled, and comes again");
            let deliveries = self.deliveries.entry(dish).or_default();
            *deliveries += 1;
            assert_eq!(record.delivery_count(), *deliveries, "{record:?}");
            assert!(*deliveries <= LIMIT, "{record:?}");
            if *deliveries == LIMIT {
                self.worn.insert(dish);
            }
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

    fn accept(&mut self, record: AcquiredRecord) -> Result<()> {
        self.settled.insert(dish(&record));
        self.accepted.insert(dish(&record));
        record.accept()
    }

    fn give_back(&mut self, record: &AcquiredRecord) {
        if record.delivery_count() == LIMIT {
            self.reject(dish(record));
        }
    }

    fn reject(&mut self, dish: Dish) {
        self.settled.insert(dish);
        *self.rejected.entry(dish).or_default() += 1;
    }

    /// What is in the dead-letter topic, and how often.
    fn dead(&self) -> BTreeMap<Dish, usize> {
        let dish = |record: &OwnedRecord| {
            let number = |name| header(record, name).parse::<u64>().unwrap();
            (u32::try_from(number("__dlq.errors.partition")).unwrap(), number("__dlq.errors.offset"))
        };
        let mut dead = BTreeMap::new();
        for record in &records(&self.broker.topic("dead").unwrap()) {
            *dead.entry(dish(record)).or_default() += 1;
        }
        dead
    }

    fn check(&self) {
        let dead = self.dead();
        for partition in 0..2 {
            for dish in (0..self.committed(partition)).map(|offset| (partition, offset)) {
                assert!(self.accepted.contains(&dish) || dead.contains_key(&dish), "{dish:?} was passed");
            }
        }
    }

    /// Works until there is nothing more.
    fn finish(&mut self) {
        let mut empty = 0;
        while empty < 2 {
            for record in std::mem::take(&mut self.held) {
                self.accept(record).unwrap();
            }
            empty = if self.acquire() == 0 { empty + 1 } else { 0 };
        }
        self.consumer.commit().unwrap();
        self.check();
        self.sent.iter().for_each(|(partition, count)| assert_eq!(self.committed(*partition), *count));
        let dead = self.dead();
        if self.was_killed {
            let is_rejected = |dish: &Dish| self.rejected.contains_key(dish) || self.worn.contains(dish);
            assert!(dead.keys().all(is_rejected), "{dead:?} were not rejected");
        } else {
            assert_eq!(dead, self.rejected);
        }
    }
}

fn dish(record: &AcquiredRecord) -> Dish {
    (record.partition(), record.offset())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..6_usize;
    let step = prop_oneof![
        4 => (0..2_u32).prop_map(Step::Send),
        5 => Just(Step::Acquire),
        4 => which.clone().prop_map(Step::Accept),
        2 => which.clone().prop_map(Step::Release),
        1 => which.clone().prop_map(Step::Drop),
        1 => which.prop_map(Step::Reject),
        1 => Just(Step::Commit),
    ];
    let whole = step.clone().boxed();
    let failing =
        prop_oneof![18 => step, 1 => Just(Step::Leave), 1 => Just(Step::Kill), 1 => Just(Step::PowerCut)];
    let leaving = prop_oneof![19 => whole.clone(), 1 => Just(Step::Leave)];
    prop_oneof![vec(whole, 0..60), vec(leaving, 0..60), vec(failing, 0..60)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_accepted_or_dead_and_nothing_is_passed(steps in steps()) {
        let mut kitchen = Kitchen::new();
        steps.iter().for_each(|step| kitchen.run(step));
        kitchen.finish();
    }
}
