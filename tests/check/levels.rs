//! Topics that acknowledge before they sync: syncs beside appends, beside rolls, beside readers.

use std::time::Duration;

use ottla::{Durability, Record};
use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, value};

pub const CHECKS: &[Check] =
    &[Check { name: "os_level", run: os_level }, Check { name: "interval_level", run: interval_level }];

const INTERVAL: Duration = Duration::from_millis(10);

fn os_level() {
    sync_beside_appends(Durability::Os);
}

fn interval_level() {
    sync_beside_appends(Durability::Interval(INTERVAL));
}

/// Rolls, a reader, somebody who wants stable storage all the same, and the time that passes.
fn sync_beside_appends(level: Durability) {
    let world = World::with(level, false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=4 {
                world.send_and_wait(&value(1, number, 450));
            }
        });
        scope.spawn(|| send_synced(&world));
        scope.spawn(|| (0..4).fold(0, |next, _| world.read(next)));
        scope.spawn(|| {
            for _ in 0..2 {
                world.clock.advance(INTERVAL);
                world.broker.tick().unwrap();
            }
        });
    });
    if level != Durability::Os {
        synced_in_time(&world);
    }
    assert_eq!(world.close_and_reopen().len(), 5);
}

/// What a synced producer was told is on the disk, whatever the topic asks for, and all that came before.
fn send_synced(world: &World) {
    let value = value(2, 1, 100);
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
fn synced_in_time(world: &World) {
    world.clock.advance(INTERVAL);
    world.broker.tick().unwrap();
    let there = world.power_cut().there();
    assert_eq!(there.len(), 5, "older than an interval");
    world.told.facts().hold(&there);
}
