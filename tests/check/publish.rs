//! Publish and read: what is acknowledged is visible and durable, and readers see nothing else.

use ottla::Record;
use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, value};

pub const CHECKS: &[Check] = &[
    Check { name: "publish_and_read", run: publish_and_read },
    Check { name: "publish_and_poll", run: publish_and_poll },
    Check { name: "poll_for_one", run: poll_for_one },
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
        scope.spawn(|| (0..4).fold(0, |next, _| world.read(next)));
    });
    world.recover();
    assert_eq!(world.close_and_reopen().len(), 4);
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
