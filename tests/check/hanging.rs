//! A disk that hangs while the broker is closed: the deadline holds, and the lock stays until the disk comes back.

use std::time::Duration;

use ottla::ErrorKind;
use shuttle::thread;

use crate::explore::Check;
use crate::world::{World, chance, value};

pub const CHECKS: &[Check] = &[Check { name: "close_on_time", run: close_on_time }];

const TIME: Duration = Duration::from_secs(1);

/// A sync hangs at which a thread of the broker's is, or one that waits; others wait with a deadline, poll, and send.
fn close_on_time() {
    let world = World::with(ottla::Durability::Synced, true);
    world.send_and_wait(&value(9, 1, 100));
    world.disk.hang();
    thread::scope(|scope| {
        // Whoever leads himself is held up by the disk, and may find that his record is there after all.
        scope.spawn(|| {
            if let Ok(delivery) = world.send(&value(1, 1, 100)) {
                let failed = world.told.wait(delivery, value(1, 1, 100));
                assert!(matches!(failed, None | Some(ErrorKind::Indeterminate)), "{failed:?}");
            }
        });
        let waits = [2, 3].map(|sender| {
            let world = &world;
            scope.spawn(move || is_told(world, sender))
        });
        let polls = scope.spawn(|| poll_until_closed(&world));
        world.disk.wait_until_it_hangs();
        close(&world);
        // Before the disk comes back.
        waits.into_iter().chain([polls]).for_each(|thread| thread.join().unwrap());
        assert_eq!(world.try_open().unwrap_err().kind(), ErrorKind::DirectoryInUse);
        world.disk.let_go();
    });
    let closed = world.broker.close(Duration::MAX).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Indeterminate, "{closed}");
    let again = world.try_open().unwrap();
    assert!(!again.recovery_report().is_clean(), "nobody knew");
    world.recover();
}

/// At once, or once time has passed.
fn close(world: &World) {
    let closed = thread::scope(|scope| {
        if chance(2) == 0 {
            return world.broker.close(Duration::ZERO);
        }
        let closing = scope.spawn(|| world.broker.close(TIME));
        while !closing.is_finished() {
            world.clock.advance(TIME);
            thread::yield_now();
        }
        closing.join().unwrap()
    });
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::Indeterminate);
}

fn is_told(world: &World, sender: u8) {
    match world.send(&value(sender, 1, 100)) {
        Ok(delivery) => {
            let error = delivery.wait_timeout(Duration::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
    }
}

fn poll_until_closed(world: &World) {
    let mut consumer = match world.broker.consumer().assign([world.partition.clone()]) {
        Ok(consumer) => consumer,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
    };
    while let Ok(records) = consumer.poll(Duration::MAX) {
        assert!(!records.is_empty(), "no time has passed");
    }
}
