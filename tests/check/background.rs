//! The broker's own thread: it does what is due beside everybody else, sleeps without missing anything, and is joined.

use std::time::Duration;

use ottla::Durability;
use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, value};

pub const CHECKS: &[Check] =
    &[Check { name: "background_synced", run: synced }, Check { name: "background_interval", run: interval }];

const INTERVAL: Duration = Duration::from_millis(10);

fn synced() {
    beside_the_thread(Durability::Synced);
}

fn interval() {
    beside_the_thread(Durability::Interval(INTERVAL));
}

/// Appends while time passes, somebody who polls, and a close that the thread does not hold up.
fn beside_the_thread(level: Durability) {
    let world = World::with(level, true);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=3 {
                world.send_and_wait(&value(1, number, 450));
            }
        });
        scope.spawn(|| world.poll(3));
        scope.spawn(|| {
            world.clock.advance(INTERVAL);
            world.clock.advance(Duration::from_secs(1));
        });
    });
    if level == Durability::Synced {
        world.recover();
    }
    assert_eq!(world.close_and_reopen().len(), 3);
}
