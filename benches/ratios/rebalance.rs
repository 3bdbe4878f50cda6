//! Sharing out 64 partitions among 16 members, each a thread that is blocked in `poll`: from the moment in which the last
//! one joins until everybody has what it is to have.
//!
//! Partitions move by cooperation, so there are two rounds: those that are to move are given back in the first and handed
//! over in the second. The twin does what both come to: the threads say one after the other that they are there, what is
//! decided is written and synced, and each of them is told, twice.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ottla::{
    Broker, Committer, Consumer, Partition, PartitionId, RebalanceListener, TopicConfig, WakeupHandle,
};

use crate::Outcome;
use crate::raw::Raw;
use crate::row::Row;
use crate::workplace::Workplace;

const MEMBERS: usize = 16;
const PARTITIONS: usize = 64;
const SHARE: usize = PARTITIONS / MEMBERS;
const LONG: Duration = Duration::from_secs(10);

pub const ROWS: &[Row] = &[
    Row {
        name: "the last of 16 members joins, 64 partitions",
        unit: "ms",
        floor: None,
        ours: |place| ours(place, 1),
        raw: |place| raw(place, 2),
    },
    Row {
        name: "16 members join at once, 64 partitions",
        unit: "ms",
        floor: None,
        ours: |place| ours(place, MEMBERS),
        raw: |place| raw(place, 2),
    },
];

/// How many partitions each member has.
#[derive(Default)]
struct Shares(Mutex<Vec<usize>>);

impl Shares {
    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once so many members have shared out everything, as evenly as it can be.
    fn wait_for(&self, members: usize) {
        let is_settled = |shares: &[usize]| {
            let least = PARTITIONS / members.max(1);
            shares.len() == members
                && shares.iter().sum::<usize>() == PARTITIONS
                && shares.iter().all(|share| *share >= least)
        };
        while members > 0 && !is_settled(&self.lock()) {
            std::thread::yield_now();
        }
    }
}

/// Tells what its member has.
struct Listener {
    number: usize,
    shares: Arc<Shares>,
}

impl RebalanceListener for Listener {
    fn assigned(&mut self, partitions: &[Partition]) {
        self.shares.lock()[self.number] += partitions.len();
    }

    fn revoked(&mut self, partitions: &[Partition], _: &mut Committer<'_>) {
        self.shares.lock()[self.number] -= partitions.len();
    }
}

/// `late` of them join when the others have settled.
fn ours(place: &Workplace, late: usize) -> Outcome<f64> {
    let config = TopicConfig::new().partitions(PartitionId::try_from(PARTITIONS)?);
    let (broker, _topic) = place.topic_with(config)?;
    let shares = Arc::new(Shares::default());
    let before = MEMBERS - late;
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        let mut join = |count| -> Outcome<()> {
            for _ in 0..count {
                let consumer = member(&broker, &shares)?;
                handles.push(consumer.wakeup_handle());
                scope.spawn(|| poll(consumer));
            }
            Ok(())
        };
        join(before)?;
        shares.wait_for(before);
        let start = Instant::now();
        join(late)?;
        shares.wait_for(MEMBERS);
        let took = start.elapsed();
        handles.iter().for_each(WakeupHandle::wake);
        Ok(took.as_secs_f64() * 1e3)
    })
}

fn member(broker: &Broker, shares: &Arc<Shares>) -> Outcome<Consumer> {
    let mut consumer = broker.consumer().group("readers").subscribe(["ratios"])?;
    let number = shares.lock().len();
    shares.lock().push(0);
    consumer.set_rebalance_listener(Listener { number, shares: Arc::clone(shares) })?;
    Ok(consumer)
}

/// Until it is woken.
fn poll(mut consumer: Consumer) {
    while let Ok(records) = consumer.poll(LONG) {
        assert!(records.is_empty(), "nothing was sent");
    }
}

fn raw(place: &Workplace, rounds: usize) -> Outcome<f64> {
    let file = Raw::create(&place.dir.join("raw"))?;
    let (sender, coordinator) = channel::<Sender<[u8; SHARE]>>();
    std::thread::scope(|scope| {
        let start = Instant::now();
        for _ in 0..MEMBERS {
            let sender = sender.clone();
            scope.spawn(move || -> Outcome<()> {
                for _ in 0..rounds {
                    let (answer, told) = channel();
                    sender.send(answer)?;
                    std::hint::black_box(told.recv()?);
                }
                Ok(())
            });
        }
        for _ in 0..rounds {
            let members: Vec<_> = coordinator.iter().take(MEMBERS).collect();
            file.append(std::iter::once(&[0; 2048][..]))?;
            file.sync()?;
            for member in members {
                member.send([0; SHARE])?;
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    })
}
