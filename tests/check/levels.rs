//! Topics that acknowledge before they sync: syncs beside appends, beside rolls, beside readers.

use std::time::Duration;

use ottla::{Durability, Record};
use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, chance, value};

pub const CHECKS: &[Check] = &[
    Check { name: "os_level", run: os_level },
    Check { name: "interval_level", run: interval_level },
    Check { name: "two_who_sync", run: two_who_sync },
    Check { name: "written_beside_a_sync", run: written_beside_a_sync },
];

const INTERVAL: Duration = Duration::from_millis(10);

fn os_level() {
    sync_beside_appends(Durability::Os);
}

fn interval_level() {
    sync_beside_appends(Durability::Interval(INTERVAL));
}

/// Rolls, a reader, somebody who wants stable storage all the same, and the time that passes.
fn sync_beside_appends(level: Durability) {
    let world = World::with(level, level == Durability::Os && chance(2) == 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=4 {
                world.send_and_wait(&value(1, number, 450));
            }
        });
        scope.spawn(|| send_synced(&world, 2));
        scope.spawn(|| (0..4).fold(0, |next, _| world.read(next)));
        scope.spawn(|| {
            for _ in 0..2 {
                world.clock.advance(INTERVAL);
                world.broker.tick().unwrap();
            }
        });
    });
    if level != Durability::Os {
        synced_in_time(&world, 5);
    }
    assert_eq!(world.close_and_reopen().len(), 5);
}

/// What a synced producer was told is on the disk, whatever the topic asks for, and all that came before.
fn send_synced(world: &World, sender: u8) {
    let value = value(sender, 1, 100);
    world.told.sends(&value);
    let delivery = world.topic.producer().synced().send(Record::new(&value)).unwrap();
    let offset = delivery.offset();
    assert_eq!(world.wait(delivery, value.clone()), None);
    let there = world.power_cut().there();
    assert_eq!(
        there.get(usize::try_from(offset).unwrap()),
        Some(&value),
        "acknowledged by a synced producer"
    );
}

/// After an interval without appends everything is on the disk.
fn synced_in_time(world: &World, count: usize) {
    world.clock.advance(INTERVAL);
    world.broker.tick().unwrap();
    let there = world.power_cut().there();
    assert_eq!(there.len(), count, "older than an interval");
    world.told.facts().hold(&there);
}

/// What is written while one of them syncs is the other's to sync.
fn two_who_sync() {
    let world = World::with(Durability::Os, chance(2) == 0);
    thread::scope(|scope| {
        scope.spawn(|| send_synced(&world, 1));
        scope.spawn(|| send_synced(&world, 2));
    });
}

/// What is written while an interval's sync runs is synced an interval later, though nobody sends any more.
fn written_beside_a_sync() {
    let world = World::with(Durability::Interval(INTERVAL), false);
    world.send_and_wait(&value(1, 1, 100));
    world.clock.advance(INTERVAL);
    thread::scope(|scope| {
        scope.spawn(|| world.broker.tick().unwrap());
        scope.spawn(|| world.send_and_wait(&value(1, 2, 100)));
    });
    synced_in_time(&world, 2);
}
