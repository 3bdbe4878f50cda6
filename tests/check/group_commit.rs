//! Group commit: several senders, one leader at a time, and nobody is forgotten.

use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, chance, value};

pub const CHECKS: &[Check] =
    &[Check { name: "group_commit", run: group_commit }, Check { name: "group_flush", run: group_flush }];

/// Three senders with two records each, and perhaps a power cut. That nobody writes beside the leader is the disk's to see.
fn group_commit() {
    let world = World::new();
    thread::scope(|scope| {
        for sender in 1..=3 {
            let world = &world;
            scope.spawn(move || {
                if chance(2) == 0 {
                    (1..=2).for_each(|number| _ = world.send_and_wait(&value(sender, number, 150)));
                } else {
                    wait_for_both(world, sender);
                }
            });
        }
    });
    world.recover();
    assert_eq!(world.told.facts().acknowledged.len(), 6, "each once");
    assert_eq!(world.close_and_reopen().len(), 6);
}

/// The last one first: it leads for both.
fn wait_for_both(world: &World, sender: u8) {
    let values = [1, 2].map(|number| value(sender, number, 150));
    let deliveries = values.each_ref().map(|value| world.send(value).unwrap());
    assert!(deliveries[0].offset() < deliveries[1].offset(), "a sender's records keep their order");
    for (delivery, value) in deliveries.into_iter().zip(values).rev() {
        assert_eq!(world.wait(delivery, value), None);
    }
}

/// What was sent before a flush is durable after it.
fn group_flush() {
    let world = World::new();
    thread::scope(|scope| {
        for sender in 1..=3 {
            let world = &world;
            scope.spawn(move || {
                let value = value(sender, 1, 150);
                let delivery = world.send(&value).unwrap();
                world.broker.producer().flush().unwrap();
                assert!(world.partition.high_watermark() > delivery.offset(), "flushed is visible");
                assert_eq!(world.wait(delivery, value), None);
                world.power_cut().recover();
            });
        }
    });
}
