//! Buffer memory that is full: whoever waits for room gets it, or hears why not.

use std::time::Duration;

use ottla::{BrokerOptions, Delivery, Durability, ErrorKind};
use shuttle::thread;

use crate::explore::Check;
use crate::world::{TIMEOUT, World, chance, value};

pub const CHECKS: &[Check] =
    &[Check { name: "full_memory", run: full }, Check { name: "full_memory_ends", run: ends }];

/// A broker that takes one record, and another one once that is written. Who waits for room does so for ever if he is
/// not woken.
fn world() -> World {
    let level = if chance(2) == 0 { Durability::Synced } else { Durability::Os };
    let adjust =
        |options: BrokerOptions| options.background(true).buffer_memory(100).max_block(Duration::MAX);
    World::with_options(level, adjust)
}

/// What nobody waits for leaves as time passes.
fn linger<'scope>(world: &World, senders: &[thread::ScopedJoinHandle<'scope, ()>]) {
    while !senders.iter().all(thread::ScopedJoinHandle::is_finished) {
        world.clock.advance(Duration::from_millis(1));
        thread::yield_now();
    }
}

/// Room comes as records are written, whether somebody waits for them or not.
fn full() {
    let world = world();
    thread::scope(|scope| {
        let senders = [1, 2, 3].map(|sender| {
            let world = &world;
            scope.spawn(move || {
                let values = [1, 2].map(|number| value(sender, number, 150));
                let deliveries = values.each_ref().map(|value| world.send(value).unwrap());
                if sender == 1 {
                    for (delivery, value) in deliveries.into_iter().zip(values) {
                        assert_eq!(world.wait(delivery, value), None);
                    }
                }
            })
        });
        linger(&world, &senders);
    });
    assert_eq!(world.close_and_reopen().len(), 6);
}

/// Blocked senders while the broker is closed, the topic deleted, or the partition fails.
fn ends() {
    let world = world();
    let how = chance(3);
    if how == 2 {
        world.disk.fail_sync(0);
    }
    thread::scope(|scope| {
        let senders = [1, 2, 3].map(|sender| {
            let world = &world;
            scope.spawn(move || {
                for number in 1..=2 {
                    let value = value(sender, number, 150);
                    match world.send(&value) {
                        Ok(delivery) => settle(world, delivery, value),
                        Err(error) => {
                            let lawful = [
                                ErrorKind::Closed,
                                ErrorKind::UnknownTopicOrPartition,
                                ErrorKind::StorageError,
                            ];
                            assert!(lawful.contains(&error.kind()), "{error}");
                        }
                    }
                }
            })
        });
        scope.spawn(|| match how {
            0 => world.broker.close(TIMEOUT).unwrap(),
            1 => world.broker.delete_topic(world.topic.name()).unwrap(),
            _ => {}
        });
        linger(&world, &senders);
    });
}

/// Half of the records are waited for.
fn settle(world: &World, delivery: Delivery, value: Vec<u8>) {
    if chance(2) == 0 {
        let failed = world.wait(delivery, value);
        let lawful = [None, Some(ErrorKind::UnknownTopicOrPartition), Some(ErrorKind::Indeterminate)];
        assert!(lawful.contains(&failed), "{failed:?}");
    }
}
