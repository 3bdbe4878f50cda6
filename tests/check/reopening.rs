//! A partition that fails and is reopened while others send, wait, read and poll: everybody has an answer, and it is true.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use ottla::{
    ConsumerRecords, Delivery, Durability, Error, ErrorKind, LeaderEpoch, Offset, Record, Result, Start,
};
use shuttle::thread;

use crate::explore::Check;
use crate::schedule::lock;
use crate::told::Value;
use crate::world::{SYNCED, World, chance, value, values};

pub const CHECKS: &[Check] =
    &[Check { name: "reopen_synced", run: synced }, Check { name: "reopen_unsynced", run: unsynced }];

/// What readers saw: under one leader epoch an offset shows one record.
type Seen = Mutex<BTreeMap<(LeaderEpoch, Offset), Value>>;

/// The last record, with which whoever polls ends.
const LAST: u8 = 99;

fn synced() {
    let world = World::new();
    match chance(3) {
        0 => world.disk.fail_write(chance(3)),
        _ => world.disk.lose_sync(chance(3)),
    }
    let seen = fail_and_reopen(&world);
    for ((_, offset), value) in seen {
        world.told.saw(offset, value);
    }
    world.recover();
    world.close_and_reopen();
}

/// What was acknowledged, and seen, before it was synced may be lost, and is then cut for everybody. One of the senders
/// waits for stable storage.
fn unsynced() {
    let world = World::with(Durability::Os, chance(2) == 0);
    world.disk.lose_sync(chance(4));
    fail_and_reopen(&world);
    let log = values(&world.partition);
    for (offset, value) in world.told.facts().acknowledged {
        if value[0] == 1 {
            assert_eq!(log.get(usize::try_from(offset).unwrap()), Some(&value), "it was durable: {log:?}");
        }
    }
}

/// Something fails at some time. Two who send, one who reads, one who polls, and one who reopens.
fn fail_and_reopen(world: &World) -> BTreeMap<(LeaderEpoch, Offset), Value> {
    let seen = Seen::default();
    settle(world, value(1, 9, 100));
    // Nobody waits for this one before it is known what has become of it.
    let late = value(1, 8, 200);
    let delivery = take(world, &late);
    thread::scope(|scope| {
        let senders = [1, 2].map(|sender| {
            scope.spawn(move || (1..=3).for_each(|number| settle(world, value(sender, number, 200))))
        });
        scope.spawn(|| read(world, &seen));
        scope.spawn(|| poll(world, &seen));
        while !senders.iter().all(thread::ScopedJoinHandle::is_finished) {
            // One that fails can be tried again.
            _ = world.partition.reopen();
            thread::yield_now();
        }
        end(world);
    });
    if let Some(delivery) = delivery {
        learn(world, delivery, late);
    }
    let (facts, seen) = (world.told.facts(), seen.into_inner().unwrap());
    let log = values(&world.partition);
    for value in log.iter().chain(seen.values()) {
        let is_there = !facts.not_written.contains(value) && !facts.refused.contains(value);
        assert!(is_there, "it was not written, and is read: {value:?} in {log:?}, {seen:?}");
    }
    seen
}

/// Sends a record, and waits if it is taken.
fn settle(world: &World, value: Value) {
    if let Some(delivery) = take(world, &value) {
        learn(world, delivery, value);
    }
}

/// Sends a record, of sender 1 for stable storage.
fn take(world: &World, value: &Value) -> Option<Delivery> {
    world.told.sends(value);
    let producer = world.topic.producer();
    let producer = if value[0] == 1 { producer.synced() } else { producer };
    match producer.send(Record::new(value)) {
        Ok(delivery) => Some(delivery),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::StorageError, "{error}");
            world.told.refused(value.clone());
            thread::yield_now();
            None
        }
    }
}

/// Waits for a record.
fn learn(world: &World, delivery: Delivery, value: Value) {
    let failed = match world.topic.name() == SYNCED || value[0] == 1 {
        true => world.told.wait(delivery, value),
        false => world.told.wait_for_what_may_go(delivery, value),
    };
    let lawful = [None, Some(ErrorKind::NotWritten), Some(ErrorKind::Indeterminate)];
    assert!(lawful.contains(&failed), "{failed:?}");
}

/// The disk is well again, and the partition, too.
fn end(world: &World) {
    world.disk.is_well();
    world.partition.reopen().unwrap();
    assert!(world.partition.reopen().unwrap().is_none(), "it has not failed again");
    let delivery = world.send(&vec![LAST; 100]).unwrap();
    assert_eq!(world.told.wait(delivery, vec![LAST; 100]), None);
    // What was not written is told once more to the next who flushes.
    _ = world.broker.producer().flush();
}

fn saw(seen: &Seen, epoch: Option<LeaderEpoch>, offset: Offset, value: &[u8]) {
    let before = lock(seen).insert((epoch.unwrap(), offset), value.to_vec());
    assert!(before.is_none_or(|before| before == value), "{offset} of {epoch:?} shows two records");
}

/// Reads to the end again and again, from where it stands.
fn read(world: &World, seen: &Seen) {
    let mut from = Start::Earliest;
    for _ in 0..3 {
        from = match read_on(world, from, seen) {
            Ok(next) => next,
            Err(error) => after(&error),
        };
    }
}

fn read_on(world: &World, from: Start, seen: &Seen) -> Result<Start> {
    let mut batches = world.partition.read(from)?;
    for batch in batches.by_ref() {
        let batch = batch?;
        for record in &batch {
            saw(seen, batch.leader_epoch(), record.offset(), record.value().unwrap());
        }
    }
    Ok(Start::Resume(batches.position()))
}

/// Where somebody goes on whose reading has failed.
fn after(error: &Error) -> Start {
    match error.kind() {
        ErrorKind::LogTruncated => Start::At(error.offset().unwrap()),
        // The fault was this read's.
        ErrorKind::StorageError => Start::Earliest,
        kind => panic!("{kind:?}: {error}"),
    }
}

/// Polls until the last record comes, without a gap.
fn poll(world: &World, seen: &Seen) {
    let mut consumer = world.broker.consumer().assign([world.partition.clone()]).unwrap();
    let mut next = 0;
    loop {
        match consumer.poll(Duration::MAX) {
            Ok(records) => {
                next = note(&records, next, seen);
                if records.iter().any(|record| record.value().unwrap()[0] == LAST) {
                    return;
                }
            }
            Err(error) => {
                // Until it is reopened it may fail again and again.
                thread::yield_now();
                let start = after(&error);
                // It may be cut once more meanwhile.
                next = match start {
                    Start::At(end) if consumer.seek(&world.partition, start).is_ok() => {
                        assert!(end < next, "it is cut below what was read");
                        end
                    }
                    _ => {
                        consumer.seek(&world.partition, Start::Earliest).unwrap();
                        0
                    }
                };
            }
        }
    }
}

fn note(records: &ConsumerRecords, mut next: Offset, seen: &Seen) -> Offset {
    for record in records {
        assert_eq!(record.offset(), next, "in order, without a gap");
        saw(seen, record.leader_epoch(), next, record.value().unwrap());
        next += 1;
    }
    next
}
