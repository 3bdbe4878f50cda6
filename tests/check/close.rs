//! Closing while others send, wait, poll and flush: every call returns, and what was taken is there.

use std::time::Duration;

use ottla::ErrorKind;
use shuttle::thread;

use crate::explore::Check;
use crate::world::{SYNCED, TIMEOUT, World, value, values};

pub const CHECKS: &[Check] = &[
    Check { name: "close", run: close },
    Check { name: "close_at_once", run: close_at_once },
    Check { name: "delete", run: delete },
];

fn close() {
    let world = World::new();
    thread::scope(|scope| {
        let world = &world;
        for sender in 1..=2 {
            scope.spawn(move || send_until_closed(world, sender));
        }
        scope.spawn(|| poll_until_closed(world));
        scope.spawn(|| match world.broker.producer().flush() {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
        });
        scope.spawn(|| world.broker.close(TIMEOUT).unwrap());
    });
    world.recover();
    let taken = world.told.facts().acknowledged.len();
    assert_eq!(world.close_and_reopen().len(), taken, "what was taken, and nothing else");
}

/// What was taken before the close is written and synced by it.
fn send_until_closed(world: &World, sender: u8) {
    for number in 1..=2 {
        let value = value(sender, number, 200);
        match world.send(&value) {
            Ok(delivery) => assert_eq!(world.wait(delivery, value), None),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                world.told.refused(value);
            }
        }
    }
}

fn poll_until_closed(world: &World) {
    let mut consumer = match world.broker.consumer().assign([world.partition.clone()]) {
        Ok(consumer) => consumer,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
    };
    loop {
        match consumer.poll(Duration::MAX) {
            Ok(records) => assert!(!records.is_empty(), "no time has passed"),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
        }
    }
}

/// There is no time for what was taken, unless the broker's threads are fast: whoever waits for it is told that nobody knows.
fn close_at_once() {
    let world = World::new();
    thread::scope(|scope| {
        let world = &world;
        for sender in 1..=2 {
            scope.spawn(move || {
                let value = value(sender, 1, 200);
                match world.send(&value) {
                    Ok(delivery) => {
                        let failed = world.wait(delivery, value);
                        assert!(matches!(failed, None | Some(ErrorKind::Indeterminate)), "{failed:?}");
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
                }
            });
        }
        scope.spawn(|| poll_until_closed(world));
        scope.spawn(|| {
            if let Err(closed) = world.broker.close(Duration::ZERO) {
                assert_eq!(closed.kind(), ErrorKind::Indeterminate, "{closed}");
            }
        });
    });
    world.recover();
}

/// A topic that is deleted ends every call on it, and another of its name begins empty.
fn delete() {
    let world = World::new();
    thread::scope(|scope| {
        let world = &world;
        scope.spawn(|| {
            let value = value(1, 1, 200);
            if let Ok(delivery) = world.send(&value) {
                let failed = world.wait(delivery, value);
                assert!(matches!(failed, None | Some(ErrorKind::UnknownTopicOrPartition)), "{failed:?}");
            }
        });
        scope.spawn(|| {
            let mut consumer = match world.broker.consumer().assign([world.partition.clone()]) {
                Ok(consumer) => consumer,
                Err(error) => return assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}"),
            };
            while let Ok(records) = consumer.poll(Duration::MAX) {
                assert!(!records.is_empty(), "no time has passed");
            }
        });
        scope.spawn(|| {
            world.broker.delete_topic(SYNCED).unwrap();
            let again = world.broker.create_topic(SYNCED, world.topic.config().clone()).unwrap();
            assert_eq!(values(&again.partition(0).unwrap()), [[0; 0]; 0]);
        });
    });
    world.broker.close(TIMEOUT).unwrap();
}
