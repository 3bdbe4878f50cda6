//! Deliveries as futures, and waits with a deadline, beside waits that lead: each learns what became of its record once,
//! and whoever no longer waits leaves nothing behind.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla::{Delivery, Durability, ErrorKind};
use shuttle::thread;

use crate::explore::Check;
use crate::parked::Parked;
use crate::told::Value;
use crate::world::{World, chance, value};

pub const CHECKS: &[Check] = &[
    Check { name: "futures", run: futures },
    Check { name: "futures_and_waits", run: futures_and_waits },
    Check { name: "timeout", run: timeout },
];

fn poll(delivery: &mut Delivery, parked: &Arc<Parked>) -> Poll<ottla::Result<ottla::RecordMetadata>> {
    let waker = Waker::from(Arc::clone(parked));
    Pin::new(delivery).poll(&mut Context::from_waker(&waker))
}

/// Awaits some deliveries together, as one task does.
fn await_all(world: &World, parked: &Arc<Parked>, mut waiting: Vec<(Delivery, Value)>) {
    while !waiting.is_empty() {
        let mut later = Vec::new();
        for (mut delivery, value) in waiting {
            match poll(&mut delivery, parked) {
                Poll::Pending => later.push((delivery, value)),
                Poll::Ready(outcome) => {
                    assert_eq!(outcome.unwrap().offset(), delivery.offset());
                    // What is decided is so for whoever looks again.
                    assert_eq!(world.wait(delivery, value), None);
                }
            }
        }
        if !later.is_empty() {
            parked.park();
        }
        waiting = later;
    }
}

fn send_two(world: &World, sender: u8) -> Vec<(Delivery, Value)> {
    let values = [value(sender, 1, 150), value(sender, 2, 150)];
    values.map(|value| (world.send(&value).unwrap(), value)).into()
}

/// One that nobody awaits any more after the first look.
fn look_and_leave(world: &World, parked: &Arc<Parked>, sender: u8) {
    let value = value(sender, 1, 150);
    let mut delivery = world.send(&value).unwrap();
    if poll(&mut delivery, parked).is_ready() {
        assert_eq!(world.wait(delivery, value), None);
    }
}

fn assert_forgotten(parked: &[Arc<Parked>]) {
    for parked in parked {
        assert_eq!(Arc::strong_count(parked), 1, "a waker is left behind");
    }
}

/// Nobody waits but futures, and one with a deadline: the broker's threads lead, and nobody else does.
fn futures() {
    let level = if chance(2) == 0 { Durability::Synced } else { Durability::Os };
    let world = World::with(level, true);
    world.disk.is_the_brokers();
    let parked = [1, 2, 3].map(|_| Arc::new(Parked::default()));
    thread::scope(|scope| {
        scope.spawn(|| await_all(&world, &parked[0], send_two(&world, 1)));
        scope.spawn(|| await_all(&world, &parked[1], send_two(&world, 2)));
        scope.spawn(|| look_and_leave(&world, &parked[2], 3));
    });
    if level == Durability::Synced {
        world.recover();
    }
    assert!(world.told.facts().acknowledged.len() >= 4, "each once");
    world.disk.is_anybodys();
    let log = world.close_and_reopen();
    assert_eq!(log.len(), 5);
    assert_forgotten(&parked);
}

/// Futures beside one who leads, and, without threads, somebody who ticks.
fn futures_and_waits() {
    let background = chance(2) == 0;
    let world = World::with(Durability::Synced, background);
    let parked = [1, 2].map(|_| Arc::new(Parked::default()));
    thread::scope(|scope| {
        let awaits = scope.spawn(|| await_all(&world, &parked[0], send_two(&world, 1)));
        scope.spawn(|| look_and_leave(&world, &parked[1], 2));
        scope.spawn(|| {
            for (delivery, value) in send_two(&world, 3) {
                assert_eq!(world.wait(delivery, value), None);
            }
        });
        if !background {
            while !awaits.is_finished() {
                world.broker.tick().unwrap();
                thread::yield_now();
            }
        }
    });
    world.recover();
    let log = world.close_and_reopen();
    assert_eq!(log.len(), 5);
    assert_forgotten(&parked);
}

const TIME: Duration = Duration::from_secs(1);

/// A wait with a deadline that may come first: then it says so, and later the outcome is there.
fn timeout() {
    let world = World::with(Durability::Synced, true);
    thread::scope(|scope| {
        for sender in 1..=2 {
            let world = &world;
            scope.spawn(move || {
                let value = value(sender, 1, 150);
                let delivery = world.send(&value).unwrap();
                match delivery.wait_timeout(TIME) {
                    Ok(metadata) => assert!(world.partition.high_watermark() > metadata.offset()),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                }
                if chance(2) == 0 {
                    delivery.wait_timeout(Duration::MAX).unwrap();
                }
                assert_eq!(world.wait(delivery, value), None);
            });
        }
        scope.spawn(|| world.clock.advance(TIME));
    });
    world.recover();
    assert_eq!(world.close_and_reopen().len(), 2);
}
