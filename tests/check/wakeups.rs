//! Readers that wait, and are woken: by a handle, by what comes, by the end of the broker, and none of them is missed.

use std::time::Duration;

use ottla::{ErrorKind, Start};
use shuttle::thread;

use crate::explore::Check;
use crate::world::{TIMEOUT, World, value};

pub const CHECKS: &[Check] = &[
    Check { name: "wake_a_poll", run: wake_a_poll },
    Check { name: "wake_a_follower", run: wake_a_follower },
];

/// Woken twice beside a record, and then closed: a poll for each that was not yet heard of, and the end.
fn wake_a_poll() {
    let world = World::new();
    let mut consumer = world.broker.consumer().assign([world.partition.clone()]).unwrap();
    let handle = consumer.wakeup_handle();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut woken, mut read) = (0, 0);
            while woken == 0 || read == 0 {
                match consumer.poll(Duration::MAX) {
                    Ok(records) => read += records.len(),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Wakeup, "{error}");
                        woken += 1;
                    }
                }
            }
            assert!(read == 1 && woken <= 2, "{read} records, and woken {woken} times");
            // What is left of the two.
            if let Err(error) = consumer.poll(Duration::ZERO) {
                assert_eq!((error.kind(), woken), (ErrorKind::Wakeup, 1), "{error}");
            }
        });
        scope.spawn(|| (0..2).for_each(|_| handle.wake()));
        scope.spawn(|| world.send_and_wait(&value(1, 1, 20)));
    });
    world.close_and_reopen();
}

/// A follower ends once it is woken, or the broker is closed, whichever comes first.
fn wake_a_follower() {
    let world = World::new();
    let mut follow = world.partition.read(Start::Earliest).unwrap().follow();
    let handle = follow.wakeup_handle();
    thread::scope(|scope| {
        scope.spawn(|| {
            let end = follow.by_ref().find_map(Result::err);
            assert!(end.is_none_or(|error| error.kind() == ErrorKind::Closed));
            assert!(follow.next().is_none(), "it has ended");
        });
        scope.spawn(|| handle.wake());
        scope.spawn(|| match world.send(&value(1, 1, 20)) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
        });
        scope.spawn(|| world.broker.close(TIMEOUT).unwrap());
    });
}
