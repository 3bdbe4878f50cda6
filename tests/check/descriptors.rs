//! Partitions that take each other's descriptors, since there are not enough for all: nothing is lost by it.

use ottla::{Durability, Record, Start, TopicConfig};
use shuttle::thread;

use crate::explore::Check;
use crate::world::{TIMEOUT, World, chance};

pub const CHECKS: &[Check] = &[Check { name: "descriptors", run: descriptors }];

/// Each has three files open while it is written to, and there is room for fewer than five of them.
const PARTITIONS: u32 = 6;

fn descriptors() {
    let level = if chance(2) == 0 { Durability::Synced } else { Durability::Os };
    let background = chance(2) == 0;
    let world = World::with_options(level, |options| options.background(background).open_files(16));
    let config = TopicConfig::new().partitions(PARTITIONS).durability(level);
    let topic = world.broker.create_topic("many", config).unwrap();
    let send = |partition, value: &str| {
        let delivery = topic.producer().send(Record::new(value).partition(partition)).unwrap();
        let metadata = delivery.wait().unwrap();
        assert!(topic.partition(partition).unwrap().high_watermark() > metadata.offset());
    };
    thread::scope(|scope| {
        scope.spawn(|| (0..PARTITIONS).for_each(|partition| send(partition, "up")));
        scope.spawn(|| (0..PARTITIONS).rev().for_each(|partition| send(partition, "down")));
        scope.spawn(|| {
            for partition in topic.partitions() {
                let read: u64 =
                    partition.read(Start::Earliest).unwrap().map(|batch| count(&batch.unwrap())).sum();
                assert!(read <= partition.high_watermark());
            }
        });
    });
    world.broker.close(TIMEOUT).unwrap();
    let again = world.try_open().unwrap();
    assert!(again.recovery_report().is_clean(), "closed in order");
    for partition in again.topic("many").unwrap().partitions() {
        let read: u64 = partition.read(Start::Earliest).unwrap().map(|batch| count(&batch.unwrap())).sum();
        assert_eq!(read, 2, "{partition:?}");
    }
}

fn count(batch: &ottla::RecordBatch) -> u64 {
    batch.iter().count() as u64
}
