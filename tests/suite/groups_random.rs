//! Groups whose consumers come, work, fall silent, crash and go, in any order, on a directory that is opened again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, open_on};
use ottla::{Assignor, Broker, Consumer, GroupPartition, ManualClock, Partition, Record, TopicConfig};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{ROOT, options};

const NOW: Duration = Duration::ZERO;
const PARTITIONS: u32 = 4;
const SLOTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Send {
        partition: u32,
    },
    Join {
        slot: usize,
    },
    /// Polls, works on what it gets, and commits, as one that fails nowhere.
    Work {
        slot: usize,
    },
    /// Polls, and works on what it gets.
    Poll {
        slot: usize,
    },
    Commit {
        slot: usize,
    },
    /// Goes, with what it has not committed.
    Leave {
        slot: usize,
    },
    /// Is there and does nothing any more.
    Forget {
        slot: usize,
    },
    Pass {
        seconds: u64,
    },
    Tick,
    Reopen,
}

/// Steps in which nobody fails, or all of them.
fn step(fails: bool) -> impl Strategy<Value = Step> {
    let slot = 0..SLOTS;
    let orderly = prop_oneof![
        4 => (0..PARTITIONS).prop_map(|partition| Step::Send { partition }),
        2 => slot.clone().prop_map(|slot| Step::Join { slot }),
        8 => slot.clone().prop_map(|slot| Step::Work { slot }),
        1 => slot.clone().prop_map(|slot| Step::Leave { slot }),
        1 => (0..3u64).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Tick),
        1 => Just(Step::Reopen),
    ];
    let failing = prop_oneof![
        6 => slot.clone().prop_map(|slot| Step::Poll { slot }),
        3 => slot.clone().prop_map(|slot| Step::Commit { slot }),
        1 => slot.prop_map(|slot| Step::Forget { slot }),
        2 => (0..400u64).prop_map(|seconds| Step::Pass { seconds }),
    ];
    let weight = u32::from(fails);
    prop_oneof![2 => orderly, weight => failing]
}

struct Place {
    vfs: Arc<MemoryVfs>,
    clock: ManualClock,
    broker: Broker,
    assignor: Assignor,
    consumers: BTreeMap<usize, Worker>,
    sent: BTreeMap<u32, u64>,
    /// How often each record was worked on.
    seen: BTreeMap<(u32, u64), usize>,
}

struct Worker {
    consumer: Consumer,
    polled: Duration,
    /// By partition: in which generation it was last read, and up to where.
    read: BTreeMap<u32, (Option<u32>, u64)>,
}

impl Place {
    fn new(assignor: Assignor) -> Self {
        let (vfs, clock) = (Arc::new(MemoryVfs::new()), ManualClock::at(0));
        let broker = open(&vfs, &clock);
        broker.create_topic("orders", TopicConfig::new().partitions(PARTITIONS)).unwrap();
        Self {
            vfs,
            clock,
            broker,
            assignor,
            consumers: BTreeMap::new(),
            sent: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    fn run(&mut self, step: &Step, now: &mut Duration) {
        match *step {
            Step::Send { partition } => self.send(partition),
            Step::Join { slot } => self.join(slot, *now),
            Step::Work { slot } => {
                self.poll(slot, *now);
                self.commit(slot, true);
            }
            Step::Poll { slot } => self.poll(slot, *now),
            Step::Commit { slot } => self.commit(slot, false),
            Step::Leave { slot } => drop(self.consumers.remove(&slot)),
            Step::Forget { slot } => self.consumers.remove(&slot).map_or((), std::mem::forget),
            Step::Pass { seconds } => {
                *now += Duration::from_secs(seconds);
                self.clock.advance(Duration::from_secs(seconds));
            }
            Step::Tick => _ = self.broker.tick().unwrap(),
            Step::Reopen => {
                self.broker.close(Duration::MAX).unwrap();
                self.consumers.clear();
                self.broker = open(&self.vfs, &self.clock);
            }
        }
        self.nothing_has_two_owners(*now);
    }

    fn send(&mut self, partition: u32) {
        let producer = self.broker.topic("orders").unwrap().producer();
        let metadata = producer.send(Record::new("order").partition(partition)).unwrap().wait().unwrap();
        self.sent.insert(partition, metadata.offset() + 1);
    }

    fn join(&mut self, slot: usize, now: Duration) {
        let builder = self.broker.consumer().group("billing").assignor(self.assignor);
        let consumer = builder.subscribe(["orders"]).unwrap();
        self.consumers.entry(slot).or_insert(Worker { consumer, polled: now, read: BTreeMap::new() });
    }

    fn poll(&mut self, slot: usize, now: Duration) {
        let Some(worker) = self.consumers.get_mut(&slot) else { return };
        let records = worker.consumer.poll(NOW).unwrap();
        worker.polled = now;
        let owned: BTreeSet<_> = worker.consumer.assignment().iter().map(Partition::id).collect();
        worker.read.retain(|partition, _| owned.contains(partition));
        for record in &records {
            let (partition, offset) = (record.partition(), record.offset());
            let before = worker.read.insert(partition, (worker.consumer.generation(), offset + 1));
            if let Some((generation, end)) = before
                && generation == worker.consumer.generation()
            {
                assert_eq!(end, offset, "partition {partition} is not read in order");
            }
            *self.seen.entry((partition, offset)).or_default() += 1;
        }
    }

    fn commit(&mut self, slot: usize, has_just_polled: bool) {
        let Some(worker) = self.consumers.get_mut(&slot) else { return };
        let committed = worker.consumer.commit();
        assert!(committed.is_ok() || !has_just_polled, "{committed:?}");
    }

    /// Who polls can count on it that nobody else has what he has.
    fn nothing_has_two_owners(&self, now: Duration) {
        let mut owners = BTreeMap::new();
        for (slot, worker) in &self.consumers {
            let may_be_out = now - worker.polled >= Duration::from_secs(300);
            for partition in worker.consumer.assignment().iter().filter(|_| !may_be_out) {
                let before = owners.insert(partition.id(), slot);
                assert_eq!(before, None, "partition {} has two owners", partition.id());
            }
        }
        let mut by_generation = BTreeSet::new();
        for worker in self.consumers.values() {
            for partition in worker.consumer.assignment() {
                let generation = worker.consumer.generation();
                assert!(by_generation.insert((generation, partition.id())), "two owners in {generation:?}");
            }
        }
    }

    /// Everybody works until all is read.
    fn finish(&mut self, now: &mut Duration) {
        self.run(&Step::Join { slot: 0 }, now);
        // Those that are silent are out by then.
        for round in 0..40 {
            if round == 10 {
                self.run(&Step::Pass { seconds: 301 }, now);
                self.run(&Step::Tick, now);
            }
            for slot in 0..SLOTS {
                self.run(&Step::Work { slot }, now);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (u32, u64)> {
        self.sent.iter().flat_map(|(partition, end)| (0..*end).map(|offset| (*partition, offset)))
    }
}

fn open(vfs: &Arc<MemoryVfs>, clock: &ManualClock) -> Broker {
    open_on(options().clock(clock.clock()), Arc::clone(vfs) as _, Path::new(ROOT)).unwrap()
}

fn assignor() -> impl Strategy<Value = Assignor> {
    prop_oneof![3 => Just(Assignor::CooperativeSticky), 1 => Just(Assignor::Range)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_read_twice_or_skipped_if_nobody_fails(assignor in assignor(), steps in vec(step(false), 0..80)) {
        let (mut place, mut now) = (Place::new(assignor), Duration::ZERO);
        steps.iter().for_each(|step| place.run(step, &mut now));
        place.run(&Step::Join { slot: 0 }, &mut now);
        for _ in 0..10 {
            (0..SLOTS).for_each(|slot| place.run(&Step::Work { slot }, &mut now));
        }
        for record in place.all() {
            prop_assert_eq!(place.seen.get(&record), Some(&1), "{:?}", record);
        }
    }

    #[test]
    fn everything_is_read_whoever_fails(assignor in assignor(), steps in vec(step(true), 0..80)) {
        let (mut place, mut now) = (Place::new(assignor), Duration::ZERO);
        steps.iter().for_each(|step| place.run(step, &mut now));
        place.finish(&mut now);
        for record in place.all() {
            prop_assert!(place.seen.contains_key(&record), "{:?} was skipped", record);
        }
        let group = place.broker.describe_group("billing");
        let lag: u64 = group.iter().flat_map(|group| group.partitions().iter().filter_map(GroupPartition::lag)).sum();
        prop_assert_eq!(lag, 0);
    }
}
