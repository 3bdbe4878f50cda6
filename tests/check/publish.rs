//! Publish and read: what is acknowledged is visible and durable, and readers see nothing else.

use std::time::Duration;

use ottla::{Durability, Offset, Record, Start};
use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, value};

pub const CHECKS: &[Check] = &[
    Check { name: "publish_and_read", run: publish_and_read },
    Check { name: "publish_and_poll", run: publish_and_poll },
    Check { name: "poll_for_one", run: poll_for_one },
    Check { name: "follow_for_one", run: follow_for_one },
    Check { name: "full_batches", run: full_batches },
    Check { name: "read_beside_a_roll", run: read_beside_a_roll },
];

/// A writer, with batches and a roll, beside a reader, and perhaps a power cut.
fn publish_and_read() {
    let world = World::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            world.send_and_wait(&value(1, 1, 400));
            send_batch(&world);
            world.send_and_wait(&value(1, 4, 100));
        });
        scope.spawn(|| read_up_to(&world, 4));
    });
    world.recover();
    assert_eq!(world.close_and_reopen().len(), 4);
}

/// Looks again and again, so that nothing becomes visible unseen.
fn read_up_to(world: &World, end: Offset) {
    let mut next = 0;
    while next < end {
        next = world.read(next);
    }
}

fn send_batch(world: &World) {
    let values = [value(1, 2, 300), value(1, 3, 300)];
    values.iter().for_each(|value| world.told.sends(value));
    let records = values.each_ref().map(Record::new);
    let delivery = world.topic.producer().send_batch(&records).unwrap();
    world.told.wait_for_batch(delivery, values);
}

/// Nobody waits for what is sent: the consumers who wait at the end bring it to the disk, and none misses it.
fn publish_and_poll() {
    let world = World::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=3 {
                _ = world.send(&value(1, number, 200)).unwrap();
            }
        });
        scope.spawn(|| world.poll(3));
        scope.spawn(|| world.poll(2));
    });
    world.recover();
}

/// As small as it can be, so that every moment comes up at which a poll could miss what a sender brings to the disk.
fn poll_for_one() {
    let world = World::new();
    thread::scope(|scope| {
        scope.spawn(|| world.send_and_wait(&value(1, 1, 20)));
        scope.spawn(|| world.poll(1));
    });
    world.recover();
}

/// The same of a follower.
fn follow_for_one() {
    let world = World::new();
    let mut follow = world.partition.read(Start::Earliest).unwrap().follow();
    thread::scope(|scope| {
        scope.spawn(|| world.send_and_wait(&value(1, 1, 20)));
        scope.spawn(|| assert_eq!(follow.next().unwrap().unwrap().next_offset(), 1));
    });
    world.recover();
}

/// Batches are written as soon as they are full, and synced with what comes a moment later: until then nobody sees them.
fn full_batches() {
    let world = World::with_options(Durability::Synced, |options| options.background(true).batch_size(100));
    thread::scope(|scope| {
        scope.spawn(|| {
            (1..=2).for_each(|number| _ = world.send(&value(1, number, 150)).unwrap());
            world.clock.advance(Duration::from_millis(1));
            world.send_and_wait(&value(1, 3, 150));
        });
        scope.spawn(|| read_up_to(&world, 3));
    });
    world.recover();
}

/// A reader who looks for its segment at the moment at which another one begins.
fn read_beside_a_roll() {
    let world = World::new();
    world.send_and_wait(&value(1, 1, 700));
    thread::scope(|scope| {
        scope.spawn(|| world.send_and_wait(&value(1, 2, 700)));
        scope.spawn(|| world.read(world.read(0)));
    });
    world.recover();
}
