//! A topic that is altered while others send and read: what they see never falls back, and each level is kept as long as
//! it holds.

use ottla::Durability;
use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, chance, value};

pub const CHECKS: &[Check] = &[Check { name: "alter", run: alter }];

/// Raises the level, perhaps grows, and lowers it again.
fn alter() {
    let world = World::with(Durability::Os, chance(2) == 0);
    world.send_and_wait(&value(9, 1, 100));
    let grown = if chance(2) == 0 { 1 } else { 2 };
    thread::scope(|scope| {
        for sender in 1..=2 {
            let world = &world;
            scope.spawn(move || {
                for number in 1..=2 {
                    world.send_and_wait(&value(sender, number, 400));
                }
            });
        }
        scope.spawn(|| watch(&world));
        scope.spawn(|| {
            set_level(&world, Durability::Synced, grown);
            // From here on nothing is acknowledged that is not durable, nor was anything that is not now.
            world.power_cut().recover();
            if chance(2) == 0 {
                set_level(&world, Durability::Os, grown);
            }
        });
    });
    assert_eq!(world.topic.partition_count(), grown);
    assert_eq!(world.close_and_reopen().len(), 5);
}

fn set_level(world: &World, level: Durability, partitions: u32) {
    let config = world.topic.config().clone().durability(level).partitions(partitions);
    world.broker.alter_topic(world.topic.name(), config).unwrap();
}

/// The end that is visible only ever rises, and what lies below it can be read.
fn watch(world: &World) {
    let mut end = 0;
    for _ in 0..3 {
        let next = world.read(end);
        let visible = world.partition.high_watermark();
        assert!(visible >= next && next >= end, "it fell from {next} to {visible}");
        end = next;
    }
}
