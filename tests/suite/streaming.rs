//! A consumer's records as a stream: no wake-up is missed, no record is lost by whoever gives up, and nobody is woken in vain.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use ottla::{
    Broker, Consumer, ConsumerRecords, ConsumerStream, ErrorKind, ManualClock, Record, Result, Start, Topic,
    TopicConfig,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{Counting, options};

/// So long no test waits for what has to happen.
pub const LONG: Duration = Duration::from_secs(60);

/// Polls a future of the next item once, and gives it up.
pub fn poll_next<C>(
    stream: &mut ConsumerStream<C>,
    waker: &Arc<Counting>,
) -> Poll<Option<Result<ConsumerRecords>>>
where
    C: std::borrow::BorrowMut<Consumer>,
{
    pin!(stream.next()).poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))))
}

pub fn ready(polled: Poll<Option<Result<ConsumerRecords>>>) -> ConsumerRecords {
    let Poll::Ready(Some(item)) = polled else { panic!("no item: {polled:?}") };
    item.unwrap()
}

/// What there is to run futures with: of several threads, and of one.
pub type Spawn = fn(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);

pub const EXECUTORS: [Spawn; 2] = [
    |task| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let task = runtime.spawn(task);
        runtime.block_on(task).unwrap();
    },
    |task| futures_executor::LocalPool::new().run_until(task),
];

/// Runs a task on a thread; a wake-up that it misses is a test that fails, and does not hang.
fn run<T: Send + 'static>(executor: Spawn, task: impl Future<Output = T> + Send + 'static) -> T {
    let (done, outcome) = channel();
    thread::spawn(move || executor(Box::pin(async move { done.send(task.await).unwrap() })));
    outcome.recv_timeout(LONG).expect("the task has ended, and was not left waiting")
}

fn orders(broker: &Broker) -> Topic {
    broker.create_topic("orders", TopicConfig::new()).unwrap()
}

fn stream(broker: &Broker, topic: &Topic) -> ConsumerStream {
    broker.consumer().assign(topic.partitions()).unwrap().into_stream()
}

fn send(topic: &Topic, count: usize) {
    let records: Vec<_> = (0..count).map(|_| Record::new("v")).collect();
    _ = topic.producer().send_batch(&records).unwrap();
}

#[test]
fn a_stream_can_be_sent_to_another_thread_and_moved() {
    fn is_both<T: Send + Unpin>() {}
    is_both::<ConsumerStream>();
    is_both::<ConsumerStream<&mut Consumer>>();
    fn is_sent<T: Send>(_: T) {}
    let broker = Broker::in_memory().unwrap();
    let topic = orders(&broker);
    is_sent(stream(&broker, &topic).next());
}

#[test]
fn it_is_a_stream_of_the_futures_crates() {
    let broker = Broker::in_memory().unwrap();
    let topic = orders(&broker);
    send(&topic, 3);
    let stream = broker.consumer().max_poll_records(1).assign(topic.partitions()).unwrap().into_stream();
    let one_by_one = futures_executor::block_on_stream(stream).take(3);
    let offsets: Vec<_> = one_by_one.map(|item| item.unwrap().iter().next().unwrap().offset()).collect();
    assert_eq!(offsets, [0, 1, 2]);
}

/// Each record is sent once the one before was received, so that every append meets a task that is about to wait.
#[test]
fn no_wake_up_is_missed() {
    const ROUNDS: u64 = 1000;
    for executor in EXECUTORS {
        let broker = Broker::in_memory().unwrap();
        let topic = orders(&broker);
        let mut stream = stream(&broker, &topic);
        let (heard, next): (Sender<()>, Receiver<()>) = channel();
        let sender = thread::spawn(move || {
            for () in next {
                _ = topic.producer().send(Record::new("v")).unwrap();
            }
        });
        run(executor, async move {
            for offset in 0..ROUNDS {
                heard.send(()).unwrap();
                let records = stream.next().await.unwrap().unwrap();
                let offsets: Vec<_> = records.iter().map(|record| record.offset()).collect();
                assert_eq!(offsets, [offset]);
            }
        });
        sender.join().unwrap();
    }
}

#[test]
fn the_newest_waker_is_woken_once_for_all_that_comes_and_nobody_in_vain() {
    let clock = ManualClock::at(0);
    let broker = options().clock(clock.clock()).in_memory().unwrap();
    let topic = orders(&broker);
    let mut stream = stream(&broker, &topic);
    let (old, new) = (Arc::<Counting>::default(), Arc::<Counting>::default());
    assert!(poll_next(&mut stream, &old).is_pending());
    assert!(poll_next(&mut stream, &new).is_pending());
    assert_eq!(Arc::strong_count(&old), 1, "the waker that was replaced is kept");
    for _ in 0..100 {
        clock.advance(Duration::from_secs(60));
        broker.tick().unwrap();
    }
    assert_eq!((old.count(), new.count()), (0, 0), "woken though nothing has come");
    for _ in 0..100 {
        send(&topic, 1);
        topic.producer().flush().unwrap();
        broker.tick().unwrap();
    }
    assert_eq!((old.count(), new.count()), (0, 1));
    assert_eq!(ready(poll_next(&mut stream, &new)).len(), 100);
    assert_eq!(Arc::strong_count(&new), 1, "the waker of a task that does not wait is kept");
    send(&topic, 1);
    topic.producer().flush().unwrap();
    broker.tick().unwrap();
    assert_eq!(new.count(), 1, "woken though it does not wait");
    assert!(poll_next(&mut stream, &new).is_ready());
    assert!(poll_next(&mut stream, &new).is_pending());
    drop(stream);
    send(&topic, 1);
    broker.tick().unwrap();
    assert_eq!((new.count(), Arc::strong_count(&new)), (1, 1), "a stream that has gone holds a waker");
}

/// What is behind the end is written and synced by others, not by the task.
#[test]
fn without_threads_a_tick_shows_records_and_wakes() {
    let broker = options().in_memory().unwrap();
    let topic = orders(&broker);
    let mut stream = stream(&broker, &topic);
    let waker = Arc::<Counting>::default();
    assert!(poll_next(&mut stream, &waker).is_pending());
    send(&topic, 1);
    assert!(poll_next(&mut stream, &waker).is_pending());
    assert_eq!(topic.partition(0).unwrap().high_watermark(), 0);
    for _ in 0..3 {
        broker.tick().unwrap();
    }
    assert!(waker.count() > 0);
    assert_eq!(ready(poll_next(&mut stream, &waker)).len(), 1);
}

#[test]
fn a_waker_that_panics_hurts_nobody() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker of the test's");
        }
    }
    let broker = Broker::in_memory().unwrap();
    let topic = orders(&broker);
    let mut stream = stream(&broker, &topic);
    assert!(pin!(stream.next()).poll(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
    topic.producer().send(Record::new("v")).unwrap().wait().unwrap();
    let records = run(EXECUTORS[0], async move { stream.next().await.unwrap().unwrap() });
    assert_eq!(records.len(), 1);
    broker.close(LONG).unwrap();
}

#[test]
fn a_stream_ends_with_the_broker() {
    for executor in EXECUTORS {
        for background in [true, false] {
            for group in [true, false] {
                let broker = Broker::options().background(background).reserve_bytes(0).in_memory().unwrap();
                let topic = orders(&broker);
                let consumer = match group {
                    true => broker.consumer().group("billing").subscribe(["orders"]),
                    false => broker.consumer().assign(topic.partitions()),
                };
                let mut stream = consumer.unwrap().into_stream();
                let waits = Arc::<Counting>::default();
                while poll_next(&mut stream, &waits).is_ready() {}
                let (begun, waiting) = channel();
                let task = thread::spawn(move || {
                    run(executor, async move {
                        begun.send(()).unwrap();
                        let end = stream.next().await.unwrap().unwrap_err();
                        (end.kind(), stream.next().await.is_none(), stream.next().await.is_none())
                    })
                });
                waiting.recv().unwrap();
                broker.close(LONG).unwrap();
                assert_eq!(task.join().unwrap(), (ErrorKind::Closed, true, true));
            }
        }
    }
}

#[test]
fn errors_are_items_and_what_caused_them_can_be_taken_away() {
    let broker = Broker::in_memory().unwrap();
    let topic = orders(&broker);
    let doomed = broker.create_topic("doomed", TopicConfig::new()).unwrap();
    let consumer = broker.consumer().assign(topic.partitions().chain(doomed.partitions())).unwrap();
    let handle = consumer.wakeup_handle();
    let mut stream = consumer.into_stream();
    let waker = Arc::<Counting>::default();
    let kind = |polled: Poll<Option<Result<ConsumerRecords>>>| match polled {
        Poll::Ready(Some(Err(error))) => Some(error.kind()),
        _ => None,
    };
    handle.wake();
    assert_eq!(kind(poll_next(&mut stream, &waker)), Some(ErrorKind::Wakeup));
    assert!(poll_next(&mut stream, &waker).is_pending());
    broker.delete_topic("doomed").unwrap();
    for _ in 0..3 {
        let kind = kind(poll_next(&mut stream, &waker));
        assert_eq!(kind, Some(ErrorKind::UnknownTopicOrPartition));
    }
    assert!(stream.consumer().unassign(&doomed.partition(0).unwrap()));
    assert!(poll_next(&mut stream, &waker).is_pending());
    topic.producer().send(Record::new("v")).unwrap().wait().unwrap();
    assert_eq!(ready(poll_next(&mut stream, &waker)).len(), 1);
    let mut consumer = stream.into_consumer();
    assert_eq!(consumer.position(&topic.partition(0).unwrap()).unwrap().offset(), 1);
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
}

/// What happens to a stream.
#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Flush,
    Tick,
    /// A future of the next item is polled so often, and given up.
    Next(usize),
    /// The stream goes, and a new one comes.
    Renew,
    /// The consumer itself is polled.
    PollConsumer,
    Seek,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5usize).prop_map(Step::Send),
        2 => Just(Step::Flush),
        3 => Just(Step::Tick),
        8 => (0..4usize).prop_map(Step::Next),
        2 => Just(Step::Renew),
        1 => Just(Step::PollConsumer),
        1 => Just(Step::Seek),
    ]
}

/// What a test knows of a consumer, whoever reads from it.
#[derive(Default)]
struct Reading {
    next: u64,
    waker: Arc<Counting>,
    /// How often it had been woken when it began to wait.
    waits: Option<usize>,
}

impl Reading {
    fn take(&mut self, records: &ConsumerRecords) {
        for record in records {
            assert_eq!(record.offset(), self.next, "each record once, and in order");
            self.next += 1;
        }
    }

    fn poll(&mut self, stream: &mut ConsumerStream<&mut Consumer>, times: usize) {
        let waker = Waker::from(Arc::clone(&self.waker));
        let mut next = pin!(stream.next());
        for _ in 0..times {
            self.waits = None;
            match next.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(item) => return self.take(&item.unwrap().unwrap()),
                Poll::Pending => self.waits = Some(self.waker.count()),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever a future, or the stream, is given up: every record comes once, in order, and who waits is woken.
    #[test]
    fn nothing_is_lost_by_giving_up(
        steps in vec(step(), 1..80),
        most in prop_oneof![1..6usize, Just(usize::MAX)],
    ) {
        let broker = options().in_memory().unwrap();
        let topic = orders(&broker);
        let mut consumer = broker.consumer().max_poll_records(most).assign(topic.partitions()).unwrap();
        let partition = topic.partition(0).unwrap();
        let mut reading = Reading::default();
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() {
            let mut stream = consumer.stream();
            for step in steps.by_ref() {
                match step {
                    Step::Send(count) => send(&topic, count),
                    Step::Flush => topic.producer().flush().unwrap(),
                    Step::Tick => _ = broker.tick().unwrap(),
                    Step::Next(times) => reading.poll(&mut stream, times),
                    Step::Renew => break,
                    Step::PollConsumer => {
                        let records = stream.consumer().poll(Duration::ZERO).unwrap();
                        reading.take(&records);
                        reading.waits = None;
                    }
                    Step::Seek => {
                        let back = reading.next / 2;
                        stream.consumer().seek(&partition, Start::At(back)).unwrap();
                        (reading.next, reading.waits) = (back, None);
                    }
                }
                if let Some(before) = reading.waits && partition.high_watermark() > reading.next {
                    broker.tick().unwrap();
                    prop_assert!(reading.waker.count() > before, "it waits, and is not woken");
                }
            }
            reading.waits = None;
            drop(stream);
            prop_assert_eq!(consumer.position(&partition).unwrap().offset(), reading.next);
        }
        topic.producer().flush().unwrap();
        let end = partition.high_watermark();
        let mut stream = consumer.stream();
        while reading.next < end {
            let before = reading.next;
            reading.poll(&mut stream, 1);
            prop_assert!(reading.next > before, "what is visible is handed out");
        }
        prop_assert!(poll_next(&mut stream, &reading.waker).is_pending());
    }
}
