//! How the sender of a record learns what became of it: waits with and without a deadline, futures, full buffers; with
//! the broker's threads, and without any.

use std::future::Future;
use std::io::ErrorKind::{Other, StorageFull};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ottla::{
    Broker, BrokerOptions, Delivery, Durability, ErrorKind, ManualClock, Record, Topic, TopicConfig,
};

use crate::support::{Counting, ScriptedVfs, options, values};

const SYNC: &str = "sync 00000000000000000000.log";
const WRITE: &str = "write 00000000000000000000.log";
const TIMEOUT: Duration = Duration::from_secs(60);
const LINGER: Duration = Duration::from_millis(1);

/// A broker on a scripted disk. One with threads has the system's time, one without stands still until it is ticked.
struct Place {
    vfs: Arc<ScriptedVfs>,
    clock: ManualClock,
    broker: Broker,
    topic: Topic,
    has_threads: bool,
}

impl Place {
    fn new(has_threads: bool) -> Self {
        Self::with(has_threads, Durability::Synced, |options| options)
    }

    fn with(has_threads: bool, level: Durability, change: impl Fn(BrokerOptions) -> BrokerOptions) -> Self {
        let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(0));
        let options = change(options().background(has_threads));
        let options = if has_threads { options } else { options.clock(clock.clock()) };
        let broker = vfs.open_with(options).unwrap();
        let topic = broker.create_topic("t", TopicConfig::new().durability(level)).unwrap();
        Self { vfs, clock, broker, topic, has_threads }
    }

    /// The same for both: what comes with the broker's threads comes with a tick without them.
    fn both(test: impl Fn(&Self)) {
        [true, false].iter().for_each(|has_threads| test(&Self::new(*has_threads)));
    }

    /// Lets those work who work for others.
    fn tick(&self) {
        if !self.has_threads {
            self.clock.advance(LINGER);
            self.broker.tick().unwrap();
        }
    }

    fn send(&self, value: &str) -> Delivery {
        self.topic.producer().send(Record::new(value)).unwrap()
    }

    fn found(&self) -> Vec<Vec<u8>> {
        values(&self.topic.partition(0).unwrap()).unwrap()
    }
}

/// The twenty lines that an executor takes at least: it parks the thread until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(std::thread::current()));
    let waker = Waker::from(unpark);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn poll(delivery: &mut Delivery, waker: &Arc<Counting>) -> Poll<ottla::Result<ottla::RecordMetadata>> {
    pin!(delivery).poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))))
}

#[test]
fn a_delivery_is_a_future_for_any_executor() {
    let place = Place::new(true);
    assert_eq!(block_on(place.send("a")).unwrap().offset(), 0);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let topic = place.topic.clone();
    let offsets = runtime.block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let producer = topic.producer();
                tokio::spawn(async move { producer.try_send(Record::new("b"))?.await })
            })
            .collect();
        let mut offsets = Vec::new();
        for task in tasks {
            offsets.push(task.await.unwrap().unwrap().offset());
        }
        offsets.sort_unstable();
        offsets
    });
    assert_eq!(offsets, (1..=100).collect::<Vec<_>>());

    let mut pool = futures_executor::LocalPool::new();
    let both = async { (place.send("c").await, place.send("d").await) };
    let (one, other) = pool.run_until(both);
    assert_eq!((one.unwrap().offset(), other.unwrap().offset()), (101, 102));
    assert_eq!(place.topic.partition(0).unwrap().high_watermark(), 103);
}

#[test]
fn without_threads_a_future_completes_with_a_tick() {
    let place = Place::new(false);
    let (mut delivery, waker) = (place.send("a"), Arc::new(Counting::default()));
    assert!(poll(&mut delivery, &waker).is_pending());
    assert_eq!((waker.count(), place.found().len()), (0, 0));
    // Somebody waits: the tick has not to wait for the linger.
    assert!(place.broker.tick().unwrap().is_some());
    assert_eq!((waker.count(), place.found().len()), (1, 1));
    assert!(poll(&mut delivery, &waker).is_ready());
    assert_eq!(delivery.wait().unwrap().offset(), 0);
}

/// A waker is called by whoever leads, too, and only once; a dropped future is forgotten, and its record is not.
#[test]
fn wakers_are_called_once_and_dropped_futures_are_forgotten() {
    let place = Place::new(false);
    let wakers: Vec<_> = (0..3).map(|_| Arc::new(Counting::default())).collect();
    let mut deliveries: Vec<_> = ["a", "b", "c"].map(|value| place.send(value)).into();
    for (delivery, waker) in deliveries.iter_mut().zip(&wakers) {
        assert!(poll(delivery, waker).is_pending());
        assert!(poll(delivery, waker).is_pending(), "polled again before it was woken");
        assert_eq!(Arc::strong_count(waker), 2, "held once");
    }
    drop(deliveries.remove(1));
    assert_eq!(Arc::strong_count(&wakers[1]), 1, "dropped");
    place.send("d").wait().unwrap();
    assert_eq!(wakers.iter().map(|waker| waker.count()).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!(wakers.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1, 1, 1], "nothing leaks");
    assert_eq!(place.found(), [b"a", b"b", b"c", b"d"]);
}

/// It may be called on any thread, and do anything: wake others, send, drop the last handle, panic.
#[test]
fn a_waker_may_do_anything() {
    struct Sending(Topic, mpsc::Sender<u64>);
    impl Wake for Sending {
        fn wake(self: Arc<Self>) {
            self.1
                .send(self.0.producer().send(Record::new("woken")).unwrap().wait().unwrap().offset())
                .unwrap();
        }
    }
    struct Panicking;
    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a waker of the user's"));
        }
    }
    for has_threads in [true, false] {
        let place = Place::new(has_threads);
        let (sender, receiver) = mpsc::channel();
        place.vfs.pause(WRITE);
        let mut deliveries = ["a", "b", "c"].map(|value| place.send(value));
        let counting = Arc::new(Counting::default());
        let wakers = [
            Waker::from(Arc::new(Panicking)),
            Waker::from(Arc::new(Sending(place.topic.clone(), sender))),
            Waker::from(Arc::clone(&counting)),
        ];
        for (delivery, waker) in deliveries.iter_mut().zip(&wakers) {
            assert!(pin!(delivery).poll(&mut Context::from_waker(waker)).is_pending());
        }
        place.vfs.resume();
        place.tick();
        assert_eq!(receiver.recv_timeout(TIMEOUT).unwrap(), 3);
        while counting.count() == 0 {
            std::thread::yield_now();
        }
        place.broker.close(TIMEOUT).unwrap();
    }
}

/// A task that owns the broker, and is dropped with its waker on one of the broker's own threads.
#[test]
fn the_last_handle_may_go_on_a_thread_of_the_brokers_own() {
    struct Owner(#[expect(dead_code, reason = "held until the waker is dropped")] Broker, mpsc::Sender<()>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.send(()).unwrap();
        }
    }
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().background(true)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    let (sender, receiver) = mpsc::channel();
    vfs.pause(WRITE);
    let mut delivery = topic.producer().send(Record::new("a")).unwrap();
    drop(topic);
    let waker = Waker::from(Arc::new(Owner(broker, sender)));
    assert!(pin!(&mut delivery).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    vfs.resume();
    receiver.recv_timeout(TIMEOUT).unwrap();
    let reopened = loop {
        match vfs.open_broker() {
            Err(error) if error.kind() == ErrorKind::DirectoryInUse => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(values(&reopened.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"a"]);
}

#[test]
fn what_nobody_waits_for_is_acknowledged_after_a_moment() {
    Place::both(|place| {
        let delivery = place.send("a");
        while place.found().is_empty() {
            place.tick();
            std::thread::yield_now();
        }
        place.vfs.fail("", 0, Other);
        assert_eq!(delivery.wait_timeout(Duration::ZERO).unwrap().offset(), 0, "the disk is not asked again");
        place.vfs.fail_no_more();
    });
    let place = Place::new(false);
    _ = place.send("lingers");
    place.broker.tick().unwrap();
    assert!(place.found().is_empty(), "a batch may wait a moment for more");
    place.clock.advance(LINGER);
    place.broker.tick().unwrap();
    assert_eq!(place.found().len(), 1);
}

#[test]
fn a_full_batch_leaves_at_once() {
    let place = Place::new(false);
    let value = "x".repeat(17_000);
    place.vfs.take_calls();
    _ = place.send(&value);
    assert_eq!(place.broker.tick().unwrap(), Some(LINGER));
    let calls = place.vfs.take_calls();
    assert!(calls.iter().any(|call| call == WRITE) && !calls.iter().any(|call| call == SYNC), "{calls:?}");
    _ = place.send(&value);
    place.clock.advance(LINGER);
    place.broker.tick().unwrap();
    assert_eq!(place.found().len(), 2, "synced with what has come meanwhile");
    // With somebody who waits, at once.
    let mut delivery = place.send(&value);
    assert!(poll(&mut delivery, &Arc::new(Counting::default())).is_pending());
    place.broker.tick().unwrap();
    assert_eq!(place.found().len(), 3);
}

/// The caller has his answer when his time has passed, whatever the disk does.
#[test]
fn a_wait_with_a_deadline_never_hangs_with_the_disk() {
    let place = Place::new(true);
    place.vfs.pause(SYNC);
    let (one, other) = (place.send("a"), place.send("b"));
    let error = one.wait_timeout(Duration::from_millis(5)).unwrap_err();
    assert_eq!((error.kind(), error.offset(), error.is_retriable()), (ErrorKind::TimedOut, Some(0), false));
    place.vfs.wait_until_paused();
    assert_eq!(other.wait_timeout(Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::TimedOut);
    // The disk hangs at one partition; those beside it go on.
    let beside = place.broker.create_topic("beside", TopicConfig::new());
    assert!(beside.is_ok(), "{beside:?}");
    place.vfs.resume();
    assert_eq!(one.wait_timeout(TIMEOUT).unwrap().offset(), 0, "it was still on its way");
    assert_eq!(other.wait().unwrap().offset(), 1);
}

#[test]
fn one_file_that_hangs_does_not_stop_the_others() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().background(true).sync_threads(2)).unwrap();
    let config = TopicConfig::new().partitions(3);
    let topic = broker.create_topic("t", config).unwrap();
    vfs.pause_in("t-1", "sync");
    let send = |partition| topic.producer().send(Record::new("a").partition(partition)).unwrap();
    let hanging = send(1);
    assert!(hanging.wait_timeout(Duration::from_millis(1)).is_err());
    vfs.wait_until_paused();
    for _ in 0..10 {
        send(0).wait_timeout(TIMEOUT).unwrap();
        send(2).wait_timeout(TIMEOUT).unwrap();
    }
    vfs.resume();
    hanging.wait_timeout(TIMEOUT).unwrap();
}

#[test]
fn without_threads_a_wait_with_a_deadline_leaves_the_work_to_a_tick() {
    let place = Place::new(false);
    let delivery = place.send("a");
    assert_eq!(delivery.wait_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::TimedOut);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| delivery.wait_timeout(TIMEOUT));
        while place.clock.waiters() == 0 {
            std::thread::yield_now();
        }
        assert!(place.found().is_empty(), "it does not lead");
        place.broker.tick().unwrap();
        assert_eq!(waits.join().unwrap().unwrap().offset(), 0);
    });
    let late = place.send("b");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| late.wait_timeout(TIMEOUT));
        while place.clock.waiters() == 0 {
            std::thread::yield_now();
        }
        place.clock.advance(TIMEOUT);
        assert_eq!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

/// Each gets the same answer, whichever way it waits.
#[test]
fn a_thousand_wait_for_one_record() {
    Place::both(|place| {
        let delivery = place.send("a");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let tasks: Vec<_> = (0..500).map(|_| runtime.spawn(delivery.clone())).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..500)
                .map(|number| {
                    let delivery = delivery.clone();
                    scope.spawn(move || match number % 2 {
                        0 => delivery.wait(),
                        _ => delivery.wait_timeout(TIMEOUT),
                    })
                })
                .collect();
            let answers = threads.into_iter().map(|thread| thread.join().unwrap());
            assert!(answers.map(|answer| answer.unwrap().offset()).all(|offset| offset == 0));
        });
        runtime.block_on(async {
            for task in tasks {
                assert_eq!(task.await.unwrap().unwrap().offset(), 0);
            }
        });
    });
}

#[test]
fn what_the_disk_does_not_take_is_told_to_everybody_who_waits() {
    Place::both(|place| {
        place.vfs.pause(WRITE);
        place.vfs.fail(WRITE, 0, StorageFull);
        let waker = Arc::new(Counting::default());
        let (mut future, other) = (place.send("a"), place.send("b"));
        assert!(poll(&mut future, &waker).is_pending());
        place.vfs.resume();
        place.tick();
        assert_eq!(other.wait_timeout(TIMEOUT).unwrap_err().kind(), ErrorKind::NotWritten);
        while waker.count() == 0 {
            std::thread::yield_now();
        }
        let Poll::Ready(outcome) = poll(&mut future, &waker) else { panic!("it was woken") };
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotWritten);
        place.vfs.fail_no_more();
        assert_eq!(place.send("c").wait().unwrap().offset(), 0, "the offsets are given out again");
        assert_eq!(place.found(), [b"c"]);
        assert_eq!(
            future.wait_timeout(TIMEOUT).unwrap_err().kind(),
            ErrorKind::NotWritten,
            "and not taken for it"
        );
    });
}

#[test]
fn a_failed_sync_is_told_to_everybody_who_waits_and_healthy_partitions_go_on() {
    for has_threads in [true, false] {
        let place = Place::new(has_threads);
        let beside = place.broker.create_topic("beside", TopicConfig::new()).unwrap();
        place.vfs.pause(SYNC);
        place.vfs.fail(SYNC, 0, Other);
        let waker = Arc::new(Counting::default());
        let (mut future, other) = (place.send("a"), place.send("b"));
        assert!(poll(&mut future, &waker).is_pending());
        place.vfs.resume();
        place.tick();
        assert!(other.wait_timeout(TIMEOUT).unwrap_err().is_indeterminate());
        while waker.count() == 0 {
            std::thread::yield_now();
        }
        let Poll::Ready(outcome) = poll(&mut future, &waker) else { panic!("it was woken") };
        assert!(outcome.unwrap_err().is_indeterminate());
        place.vfs.fail_no_more();
        let refused = place.topic.producer().try_send(Record::new("c")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageError);
        assert_eq!(beside.producer().send(Record::new("fine")).unwrap().wait().unwrap().offset(), 0);
        assert!(place.broker.close(TIMEOUT).unwrap_err().is_indeterminate());
    }
}

/// `try_send` says so at once; `send` waits for room as long as it was told to, and goes on when there is some.
#[test]
fn a_full_buffer_is_an_error_or_a_wait() {
    let small = |options: BrokerOptions| options.buffer_memory(100).max_block(Duration::from_millis(5));
    let place = Place::with(true, Durability::Synced, small);
    place.vfs.pause(WRITE);
    let taken = place.send(&"x".repeat(200));
    assert!(taken.wait_timeout(Duration::from_millis(1)).is_err());
    place.vfs.wait_until_paused();
    let producer = place.topic.producer();
    for refused in [producer.try_send(Record::new("b")), producer.send(Record::new("b"))] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::BufferExhausted, true), "{error}");
        assert!(error.to_string().contains("100 bytes"), "{error}");
    }
    place.vfs.resume();
    assert_eq!(taken.wait().unwrap().offset(), 0);
    assert_eq!(
        producer.try_send(Record::new("b")).unwrap().wait().unwrap().offset(),
        1,
        "there is room again"
    );

    let patient = |options: BrokerOptions| options.buffer_memory(100).max_block(TIMEOUT);
    let place = Place::with(true, Durability::Synced, patient);
    let producer = place.topic.producer();
    for _ in 0..200 {
        _ = producer.send(Record::new(&"x".repeat(60))).unwrap();
    }
    producer.flush().unwrap();
    assert_eq!(place.found().len(), 200, "everything came through the small buffer");
}

#[test]
fn whoever_waits_for_room_learns_that_the_broker_was_closed() {
    let small = |options: BrokerOptions| options.buffer_memory(100).max_block(TIMEOUT);
    let place = Place::with(true, Durability::Synced, small);
    place.vfs.pause(WRITE);
    let taken = place.send(&"x".repeat(200));
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| place.topic.producer().send(Record::new("b")));
        place.vfs.wait_until_paused();
        let error = place.broker.close(Duration::from_millis(1)).unwrap_err();
        assert!(error.is_indeterminate(), "the disk hangs: {error}");
        assert_eq!(blocked.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(taken.wait().unwrap_err().is_indeterminate());
        place.vfs.resume();
    });
}

/// Nobody would make room: it is an error, and not a wait for ever.
#[test]
fn without_threads_a_full_buffer_is_written_by_the_sender_or_is_an_error() {
    let place = Place::with(false, Durability::Synced, |options| options.buffer_memory(100));
    let other = place.broker.create_topic("other", TopicConfig::new()).unwrap();
    let large = "x".repeat(200);
    _ = place.send(&large);
    assert_eq!(other.producer().send(Record::new("b")).unwrap_err().kind(), ErrorKind::BufferExhausted);
    let error = place.topic.producer().try_send(Record::new("b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BufferExhausted, "it never writes");
    _ = place.send(&large);
    place.clock.advance(LINGER);
    place.broker.tick().unwrap();
    assert_eq!(place.found().len(), 2);
    _ = other.producer().try_send(Record::new("b")).unwrap();
}

/// What is given up gives its room back.
#[test]
fn records_that_are_never_written_take_no_room_for_ever() {
    let place = Place::with(false, Durability::Synced, |options| options.buffer_memory(100));
    let doomed = place.broker.create_topic("doomed", TopicConfig::new()).unwrap();
    let large = "x".repeat(200);
    _ = doomed.producer().send(Record::new(&large)).unwrap();
    place.broker.delete_topic("doomed").unwrap();
    _ = place.topic.producer().try_send(Record::new("a")).unwrap();
    place.topic.producer().flush().unwrap();

    place.vfs.fail(SYNC, 0, Other);
    assert!(place.send(&large).wait().is_err());
    place.vfs.fail_no_more();
    let after = place.broker.create_topic("after", TopicConfig::new()).unwrap();
    _ = after.producer().try_send(Record::new("b")).unwrap();
}

#[test]
fn an_os_topic_is_synced_for_a_future_that_asks_for_it() {
    for has_threads in [true, false] {
        let place = Place::with(has_threads, Durability::Os, |options| options);
        place.vfs.take_calls();
        let waker = Arc::new(Counting::default());
        let mut written = place.send("a");
        let mut synced = place.topic.producer().synced().send(Record::new("b")).unwrap();
        for delivery in [&mut written, &mut synced] {
            if poll(delivery, &waker).is_pending() {
                place.tick();
            }
        }
        assert_eq!(written.wait_timeout(TIMEOUT).unwrap().offset(), 0);
        assert_eq!(synced.wait_timeout(TIMEOUT).unwrap().offset(), 1);
        assert!(place.vfs.take_calls().iter().any(|call| call == SYNC));
    }
}

/// A closed broker is an answer to every call.
#[test]
fn every_call_on_a_closed_broker_has_an_answer() {
    Place::both(|place| {
        let (delivery, producer) = (place.send("a"), place.topic.producer());
        let (partition, topic) = (place.topic.partition(0).unwrap(), place.topic.clone());
        let mut consumer = place.broker.consumer().assign([partition.clone()]).unwrap();
        place.broker.close(TIMEOUT).unwrap();
        assert_eq!(delivery.clone().wait().unwrap().offset(), 0, "it was written when the broker closed");
        assert_eq!(delivery.wait_timeout(TIMEOUT).unwrap().offset(), 0);
        assert_eq!(block_on(delivery).unwrap().offset(), 0);
        let closed = [
            producer.send(Record::new("b")).map(drop),
            producer.try_send(Record::new("b")).map(drop),
            producer.send_batch(&[Record::new("b")]).map(drop),
            place.broker.producer().send(&topic, Record::new("b")).map(drop),
            place.broker.producer().flush(),
            consumer.poll(TIMEOUT).map(drop),
            partition.read(ottla::Start::Earliest).map(drop),
            place.broker.create_topic("u", TopicConfig::new()).map(drop),
            place.broker.ensure_topic("t", TopicConfig::new()).map(drop),
            place.broker.topic("t").map(drop),
            place.broker.topics().map(drop),
            place.broker.delete_topic("t"),
            place.broker.tick().map(drop),
            place.broker.consumer().assign([partition.clone()]).map(drop),
        ];
        for (number, outcome) in closed.into_iter().enumerate() {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed, "call {number}");
        }
        producer.flush().unwrap();
        place.broker.close(TIMEOUT).unwrap();
    });
}

#[test]
fn options_out_of_their_bounds_are_refused() {
    let vfs = ScriptedVfs::new();
    for bad in [
        options().sync_threads(0),
        options().sync_threads(65),
        options().buffer_memory(0),
        options().batch_size(usize::MAX),
        options().durability(Durability::Interval(Duration::ZERO)),
    ] {
        let error = vfs.open_with(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
}
