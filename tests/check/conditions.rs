//! Conditional appends: of several that expect one offset, one wins, and the others see what was faster.

use ottla::{Error, ErrorKind, Offset, Record, Start};
use shuttle::thread;

use crate::explore::Check;
use crate::told::Value;
use crate::world::{World, value};

pub const CHECKS: &[Check] = &[Check { name: "expected_offset", run: expected_offset }];

/// Two threads that decide by what is there: who loses waits for what came, reads it, and decides again.
fn expected_offset() {
    let world = World::new();
    let wins = thread::scope(|scope| {
        let threads = [1, 2, 3].map(|sender| {
            let world = &world;
            scope.spawn(move || decide(world, &value(sender, 1, 100)))
        });
        threads.map(|thread| thread.join().unwrap())
    });
    let mut sorted = wins;
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2], "one wins at each offset");
    assert_eq!(world.close_and_reopen().len(), 3);
}

/// Appends at the end that it has read up to; returns where.
fn decide(world: &World, value: &Value) -> Offset {
    world.told.sends(value);
    let mut end = 0;
    loop {
        match world.topic.producer().send(Record::new(value).expected_offset(end)) {
            Ok(delivery) => {
                assert_eq!(delivery.offset(), end, "where it was expected");
                assert_eq!(world.wait(delivery, value.clone()), None);
                return end;
            }
            Err(error) => end = catch_up(world, end, &error),
        }
    }
}

fn catch_up(world: &World, end: Offset, error: &Error) -> Offset {
    assert_eq!(error.kind(), ErrorKind::UnexpectedOffset, "{error}");
    let ends_at = error.offset().unwrap();
    assert!(ends_at > end, "somebody was faster");
    world.partition.wait_for(ends_at).unwrap();
    assert!(world.partition.high_watermark() >= ends_at, "waited for");
    let batches = world.partition.read(Start::At(end)).unwrap();
    let read = batches.map(|batch| batch.unwrap().next_offset()).last().unwrap_or(end);
    assert!(read >= ends_at, "what was waited for can be read");
    ends_at
}
