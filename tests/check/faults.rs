//! Faults of the disk while others send, wait and read: what becomes of each record is told, and true.

use ottla::ErrorKind;
use ottla::internals::{CrashProfile, Fault, Repeat};
use shuttle::thread;

use crate::explore::Check;
use crate::world::{TIMEOUT, World, chance, value, values};

pub const CHECKS: &[Check] = &[
    Check { name: "poison", run: poison },
    Check { name: "not_written", run: not_written },
    Check { name: "any_fault", run: any_fault },
];

/// A sync fails: from then on nothing is acknowledged, and what was visible stays.
fn poison() {
    let world = World::new();
    world.send_and_wait(&value(9, 1, 100));
    world.disk.fail_sync(chance(3));
    send_beside_readers(&world);
    let told = world.told.facts();
    assert_eq!(told.not_written.len(), 0, "nobody knows");
    if !world.disk.is_to_fail() {
        assert!(!told.indeterminate.is_empty(), "somebody waited for the sync that failed");
        assert_stopped(&world);
    }
    world.recover();
}

/// A stopped partition takes nothing, acknowledges nothing, and shows what it showed.
fn assert_stopped(world: &World) {
    let visible = values(&world.partition);
    world.told.facts().hold(&visible);
    let refused = world.send(&value(9, 2, 100)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageError);
    let flushed = world.broker.producer().flush().unwrap_err();
    assert_eq!(flushed.kind(), ErrorKind::Indeterminate);
    assert_eq!(values(&world.partition), visible, "readers keep what was durable, and no more");
    let closed = world.broker.close(TIMEOUT).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Indeterminate);
}

/// A disk that is full for a moment: those whose record it did not take are told, and the others go on.
fn not_written() {
    let world = World::new();
    world.send_and_wait(&value(9, 1, 100));
    world.disk.fail_write(chance(4));
    send_beside_readers(&world);
    assert_eq!(world.told.facts().indeterminate.len(), 0, "what the disk did not take was cut");
    world.power_cut_as(CrashProfile::Adversarial, chance(1 << 32)).recover();
    if !world.disk.is_to_fail() {
        world.send_and_wait(&value(9, 2, 100));
    }
    // What nobody waited for is told by a flush, and every sender has waited: the failure may be told once more.
    if let Err(error) = world.broker.producer().flush() {
        assert_eq!(error.kind(), ErrorKind::NotWritten, "{error}");
    }
    world.recover();
    world.close_and_reopen();
}

/// Any call fails, of any file.
fn any_fault() {
    let world = World::new();
    world.send_and_wait(&value(9, 1, 100));
    let fault = if chance(2) == 0 { Fault::Io } else { Fault::NoSpace };
    world.memory.fail_nth(1 + chance(40), fault, Repeat::Once);
    send_beside_readers(&world);
    world.memory.fail_no_more();
    let closed = world.broker.close(TIMEOUT);
    let told = world.told.facts();
    assert!(closed.is_err() || told.indeterminate.is_empty(), "closed in order, and somebody does not know");
    world.recover();
}

/// Three senders and a reader, who stops at nothing but the end.
fn send_beside_readers(world: &World) {
    thread::scope(|scope| {
        for sender in 1..=3 {
            scope.spawn(move || {
                for number in 1..=2 {
                    let value = value(sender, number, 200);
                    match world.send(&value) {
                        Ok(delivery) => {
                            let failed = world.wait(delivery, value);
                            let lawful = [None, Some(ErrorKind::NotWritten), Some(ErrorKind::Indeterminate)];
                            assert!(lawful.contains(&failed), "{failed:?}");
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::StorageError, "{error}");
                            world.told.refused(value);
                        }
                    }
                }
            });
        }
        scope.spawn(|| read_until_error(world));
    });
}

fn read_until_error(world: &World) {
    let mut next = 0;
    for _ in 0..3 {
        match world.try_read(next) {
            Ok(end) => next = end,
            // The fault was this read's.
            Err(error) => return assert_eq!(error.kind(), ErrorKind::StorageError, "{error}"),
        }
    }
}
