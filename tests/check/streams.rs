//! Streams: a task that looks, leaves its waker and waits is woken by whatever comes meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ottla::{ConsumerRecords, ConsumerStream, ErrorKind, Result};
use shuttle::thread;

use crate::explore::Check;
use crate::parked::Parked;
use crate::world::{TIMEOUT, World, value};

pub const CHECKS: &[Check] =
    &[Check { name: "stream", run: stream }, Check { name: "stream_ends", run: stream_ends }];

/// Awaits the next item. Each look is a future of its own, which is given up.
fn next(stream: &mut ConsumerStream, parked: &Arc<Parked>) -> Option<Result<ConsumerRecords>> {
    let waker = Waker::from(Arc::clone(parked));
    loop {
        if let Poll::Ready(item) = pin!(stream.next()).poll(&mut Context::from_waker(&waker)) {
            return item;
        }
        parked.park();
    }
}

/// Two records, each of which comes while the task may be about to wait.
fn stream() {
    let world = World::with(ottla::Durability::Synced, true);
    let mut stream = world.broker.consumer().assign([world.partition.clone()]).unwrap().into_stream();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (parked, mut end) = (Arc::default(), 0);
            while end < 2 {
                for record in &next(&mut stream, &parked).expect("nobody closes").unwrap() {
                    assert_eq!(record.offset(), end, "in order, without a gap");
                    end += 1;
                }
            }
        });
        scope.spawn(|| {
            world.send_and_wait(&value(1, 1, 20));
            world.send_and_wait(&value(1, 2, 20));
        });
    });
    drop(stream);
    world.close_and_reopen();
}

/// The broker is closed beside a task that may be about to wait.
fn stream_ends() {
    let world = World::new();
    let mut stream = world.broker.consumer().assign([world.partition.clone()]).unwrap().into_stream();
    thread::scope(|scope| {
        scope.spawn(|| {
            let parked = Arc::default();
            let end = next(&mut stream, &parked).expect("an error before the end").unwrap_err();
            assert_eq!(end.kind(), ErrorKind::Closed);
            assert!(next(&mut stream, &parked).is_none(), "it has ended");
        });
        scope.spawn(|| world.broker.close(TIMEOUT).unwrap());
    });
}
