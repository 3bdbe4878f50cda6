//! Streams of consumers in a group: work is shared and moves, who waits stays a member, and no task waits for the disk.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use ottla::{
    Broker, Committer, Consumer, ConsumerRecords, ConsumerStream, ErrorKind, ManualClock, Partition,
    RebalanceListener, Record, Topic, TopicConfig,
};

use crate::streaming::{LONG, poll_next, ready};
use crate::support::{Counting, ScriptedVfs, options, send_all};

const INTERVAL: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const INTERNAL: &str = "__consumer_offsets-0";

/// A broker without threads, whose time a test moves.
fn place() -> (Broker, Topic, ManualClock) {
    let clock = ManualClock::at(0);
    let broker = options().clock(clock.clock()).in_memory().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap();
    (broker, topic, clock)
}

fn member(broker: &Broker) -> ConsumerStream {
    let builder = broker.consumer().group("billing").max_poll_interval(INTERVAL);
    builder.subscribe(["orders"]).unwrap().into_stream()
}

/// Polls until nothing is left to be done, by anybody.
fn settle(broker: &Broker, streams: &mut [&mut ConsumerStream]) -> Vec<Arc<Counting>> {
    let wakers: Vec<_> = streams.iter().map(|_| Arc::<Counting>::default()).collect();
    for _ in 0..10 {
        for (stream, waker) in streams.iter_mut().zip(&wakers) {
            assert!(poll_next(stream, waker).is_pending());
        }
        broker.tick().unwrap();
    }
    streams
        .iter_mut()
        .zip(&wakers)
        .for_each(|(stream, waker)| assert!(poll_next(stream, waker).is_pending()));
    wakers
}

fn members(broker: &Broker) -> usize {
    broker.describe_group("billing").unwrap().members().len()
}

/// Lets time pass, in which the broker does what is due.
fn pass(broker: &Broker, clock: &ManualClock, time: Duration) {
    for _ in 0..time.as_secs() {
        clock.advance(SECOND);
        broker.tick().unwrap();
    }
}

#[test]
fn who_waits_stays_a_member_is_not_woken_and_reads_what_comes() {
    let (broker, orders, clock) = place();
    let (mut one, mut two) = (member(&broker), member(&broker));
    let wakers = settle(&broker, &mut [&mut one, &mut two]);
    let before: Vec<_> = wakers.iter().map(|waker| waker.count()).collect();
    let generation = one.consumer().generation();
    for _ in 0..2 {
        // Asking for the consumer is to wait no longer.
        let wakers = settle(&broker, &mut [&mut one, &mut two]);
        let before: Vec<_> = wakers.iter().map(|waker| waker.count()).collect();
        pass(&broker, &clock, 20 * INTERVAL);
        assert_eq!(wakers.iter().map(|waker| waker.count()).collect::<Vec<_>>(), before, "woken in vain");
        assert_eq!(members(&broker), 2);
    }
    assert!(before.iter().all(|count| *count < 10), "{before:?}");
    let wakers = settle(&broker, &mut [&mut one, &mut two]);
    pass(&broker, &clock, 20 * INTERVAL);
    send_all(&orders, ["a"]).unwrap();
    broker.tick().unwrap();
    let (reader, waker) =
        if wakers[0].count() > wakers[1].count() { (&mut one, &wakers[0]) } else { (&mut two, &wakers[1]) };
    assert_eq!(ready(poll_next(reader, waker)).len(), 1);
    assert_eq!((members(&broker), one.consumer().generation()), (2, generation));
}

/// One that has partition 0, and the other one.
fn pair(broker: &Broker) -> (ConsumerStream, ConsumerStream, Arc<Counting>) {
    let (mut one, mut two) = (member(broker), member(broker));
    settle(broker, &mut [&mut one, &mut two]);
    let is_first = one.consumer().assignment()[0].id() == 0;
    let (mut slow, mut quick) = if is_first { (one, two) } else { (two, one) };
    let wakers = settle(broker, &mut [&mut slow, &mut quick]);
    (slow, quick, Arc::clone(&wakers[0]))
}

/// The slow one is out in time and not before, the other one reads, and then it comes back.
fn is_evicted(broker: &Broker, clock: &ManualClock, mut slow: ConsumerStream, mut quick: ConsumerStream) {
    pass(broker, clock, INTERVAL - SECOND);
    assert_eq!(members(broker), 2);
    pass(broker, clock, 2 * SECOND);
    assert_eq!(members(broker), 1, "who does not poll any more is still a member");
    let waker = Arc::<Counting>::default();
    let mut records = 0;
    for _ in 0..5 {
        broker.tick().unwrap();
        if let std::task::Poll::Ready(Some(item)) = poll_next(&mut quick, &waker) {
            records += item.unwrap().len();
        }
    }
    assert_eq!((records, quick.consumer().assignment().len()), (1, 2));
    let error = slow.consumer().commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownMemberId);
    quick.consumer().commit().unwrap();
    settle(broker, &mut [&mut slow, &mut quick]);
    assert_eq!((slow.consumer().assignment().len(), quick.consumer().assignment().len()), (1, 1));
}

#[test]
fn who_has_got_records_and_does_not_ask_for_more_is_evicted() {
    let (broker, orders, clock) = place();
    let (mut slow, quick, waker) = pair(&broker);
    send_all(&orders, ["a"]).unwrap();
    assert_eq!(ready(poll_next(&mut slow, &waker)).len(), 1);
    is_evicted(&broker, &clock, slow, quick);
}

#[test]
fn who_was_woken_and_does_not_come_is_evicted() {
    let (broker, orders, clock) = place();
    let (slow, quick, waker) = pair(&broker);
    pass(&broker, &clock, 3 * INTERVAL);
    let before = waker.count();
    send_all(&orders, ["a"]).unwrap();
    broker.tick().unwrap();
    assert_eq!(waker.count(), before + 1);
    is_evicted(&broker, &clock, slow, quick);
}

/// Does not wait any more, and keeps the consumer.
type GiveUp = fn(ConsumerStream) -> Box<dyn std::any::Any>;

#[test]
fn who_waits_no_longer_is_evicted() {
    let ways: [GiveUp; 2] = [
        |stream| Box::new(stream.into_consumer()),
        |mut stream| {
            assert_eq!(stream.consumer().assignment().len(), 1);
            Box::new(stream)
        },
    ];
    for give_up in ways {
        let (broker, orders, clock) = place();
        let (slow, quick, waker) = pair(&broker);
        pass(&broker, &clock, 3 * INTERVAL);
        let slow = give_up(slow);
        assert_eq!(Arc::strong_count(&waker), 1);
        pass(&broker, &clock, INTERVAL - SECOND);
        assert_eq!(members(&broker), 2);
        send_all(&orders, ["a"]).unwrap();
        pass(&broker, &clock, 2 * SECOND);
        assert_eq!(members(&broker), 1);
        drop((slow, quick));
    }
}

/// What two tasks have read, and which of them.
type Heard = (usize, u32, u64);

async fn work(mut stream: ConsumerStream, name: usize, heard: Sender<Heard>) {
    while let Some(Ok(records)) = stream.next().await {
        for record in &records {
            heard.send((name, record.partition(), record.offset())).unwrap();
        }
        stream.consumer().commit_async().unwrap().await.unwrap();
    }
}

fn send(topic: &Topic, count: u32) {
    let producer = topic.producer();
    (0..count).for_each(|number| _ = producer.send(Record::new("v").partition(number % 4)).unwrap());
    producer.flush().unwrap();
}

#[test]
fn two_tasks_share_a_topic_and_what_one_leaves_the_other_takes_up() {
    let broker = Broker::in_memory().unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new().partitions(4)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (sender, heard) = channel();
    let member = || broker.consumer().group("billing").subscribe(["orders"]).unwrap().into_stream();
    let one = runtime.spawn(work(member(), 1, sender.clone()));
    // The other one on an executor of another kind.
    let other = member();
    let two = thread::spawn(move || futures_executor::block_on(work(other, 2, sender)));

    let mut seen = BTreeMap::new();
    let mut take = |count: usize, readers: &mut [usize; 3]| {
        while seen.len() < count {
            let (name, partition, offset) = heard.recv_timeout(LONG).expect("every record is read");
            readers[name] += 1;
            let before = seen.insert((partition, offset), name);
            // What the one that was cut off had read and not committed is read again.
            assert!(before.is_none_or(|before| before == 1 && name == 2), "{partition}@{offset} twice");
        }
    };
    let mut sent = 0;
    let mut readers = [0; 3];
    while readers[1] == 0 || readers[2] == 0 {
        send(&orders, 40);
        sent += 40;
        take(sent, &mut readers);
    }
    // Somewhere in the middle: it may be waiting for records, or for a commit.
    send(&orders, 400);
    one.abort();
    assert!(runtime.block_on(one).is_err_and(|error| error.is_cancelled()));
    send(&orders, 400);
    take(sent + 800, &mut readers);
    broker.close(LONG).unwrap();
    two.join().unwrap();
    for partition in 0..4 {
        let offsets = seen.keys().filter(|(at, _)| *at == partition).map(|(_, offset)| *offset);
        assert!(offsets.eq(0..(sent as u64 + 800) / 4));
    }
}

/// Hears on which thread it is called.
#[derive(Clone, Default)]
struct Threads(Arc<Mutex<Vec<(&'static str, ThreadId)>>>);

impl RebalanceListener for Threads {
    fn assigned(&mut self, _: &[Partition]) {
        self.0.lock().unwrap().push(("assigned", thread::current().id()));
    }

    fn revoked(&mut self, _: &[Partition], committer: &mut Committer<'_>) {
        committer.commit().unwrap();
        self.0.lock().unwrap().push(("revoked", thread::current().id()));
    }
}

#[test]
fn the_listener_is_called_by_the_task_that_polls() {
    let (broker, orders, _) = place();
    let mut one = member(&broker);
    let heard = Threads::default();
    one.consumer().set_rebalance_listener(heard.clone()).unwrap();
    settle(&broker, &mut [&mut one]);
    send_all(&orders, ["a"]).unwrap();
    assert_eq!(ready(poll_next(&mut one, &Arc::default())).len(), 1);
    let mut two = member(&broker);
    settle(&broker, &mut [&mut one, &mut two]);
    let here = thread::current().id();
    assert_eq!(*heard.0.lock().unwrap(), [("assigned", here), ("revoked", here)]);
}

#[test]
fn a_stream_that_waits_commits_by_itself_in_time() {
    // What was asked for before it waits is no reason to wake it, and not all that is asked for.
    [true, false].into_iter().for_each(commits_in_time);
}

fn commits_in_time(ticks_before: bool) {
    let (broker, orders, clock) = place();
    let builder = broker.consumer().group("billing").auto_commit(5 * SECOND);
    let mut stream = builder.subscribe(["orders"]).unwrap().into_stream();
    let waker = settle(&broker, &mut [&mut stream]).remove(0);
    send_all(&orders, ["a"]).unwrap();
    assert_eq!(ready(poll_next(&mut stream, &waker)).len(), 1);
    if ticks_before {
        broker.tick().unwrap();
    }
    assert!(poll_next(&mut stream, &waker).is_pending());
    let partition = orders.partition(0).unwrap();
    let committed = || {
        let other = broker.consumer().group("billing").subscribe(["orders"]).unwrap();
        other.committed(&partition).unwrap().map(|committed| committed.position().offset())
    };
    let before = waker.count();
    pass(&broker, &clock, 4 * SECOND);
    assert_eq!((committed(), waker.count()), (None, before));
    pass(&broker, &clock, 2 * SECOND);
    assert_eq!(waker.count(), before + 1);
    assert!(poll_next(&mut stream, &waker).is_pending());
    assert_eq!(committed(), Some(1));
    broker.tick().unwrap();
    assert!(poll_next(&mut stream, &waker).is_pending());
    let before = waker.count();
    pass(&broker, &clock, 60 * SECOND);
    assert_eq!(waker.count(), before, "woken though all is committed");
}

/// A disk that hangs in the sync of the internal topic, and a stream for which commits are made.
fn hanging() -> (Arc<ScriptedVfs>, Broker, Topic, ConsumerStream) {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(Broker::options().reserve_bytes(0)).unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&orders, ["a", "b"]).unwrap();
    let stream = committing(&broker);
    (vfs, broker, orders, stream)
}

fn committing(broker: &Broker) -> ConsumerStream {
    let builder = broker.consumer().group("billing").max_poll_records(1).auto_commit(Duration::ZERO);
    builder.subscribe(["orders"]).unwrap().into_stream()
}

fn offset_of(records: &ConsumerRecords) -> u64 {
    records.iter().next().unwrap().offset()
}

#[test]
fn an_automatic_commit_holds_up_no_task_and_is_heard_of() {
    let (vfs, broker, orders, mut stream) = hanging();
    let next = futures_executor::block_on(stream.next()).unwrap().unwrap();
    assert_eq!(offset_of(&next), 0);
    vfs.pause_in(INTERNAL, "sync");
    // Says that the first one is done with, which is to be committed.
    assert_eq!(offset_of(&ready(poll_next(&mut stream, &Arc::default()))), 1);
    assert!(poll_next(&mut stream, &Arc::default()).is_pending());
    vfs.wait_until_paused();
    vfs.resume();
    send_all(&orders, ["c"]).unwrap();
    assert_eq!(offset_of(&futures_executor::block_on(stream.next()).unwrap().unwrap()), 2);
    let partition = orders.partition(0).unwrap();
    let committed = stream.consumer().committed(&partition).unwrap().unwrap();
    assert!(committed.position().offset() >= 1);
    drop((stream, partition, orders));
    broker.close(LONG).unwrap();
}

#[test]
fn an_automatic_commit_that_fails_is_an_item() {
    let (vfs, broker, orders, mut stream) = hanging();
    let next = futures_executor::block_on(stream.next()).unwrap().unwrap();
    assert_eq!(offset_of(&next), 0);
    vfs.fail("sync 00000000000000000000.log", 0, std::io::ErrorKind::Other);
    let failed = futures_executor::block_on(async {
        loop {
            if let Err(error) = stream.next().await.unwrap() {
                break error;
            }
        }
    });
    assert_eq!((failed.kind(), failed.topic()), (ErrorKind::Indeterminate, Some("__consumer_offsets")));
    drop((stream, orders));
    _ = broker.close(LONG);
}

#[test]
fn a_task_takes_over_once_it_is_known_what_was_committed_and_waits_for_it_without_a_thread() {
    let (vfs, broker, orders, mut one) = hanging();
    assert_eq!(offset_of(&futures_executor::block_on(one.next()).unwrap().unwrap()), 0);
    // Of the one that goes the commit is on its way to the disk.
    vfs.pause_in(INTERNAL, "sync");
    assert_eq!(offset_of(&ready(poll_next(&mut one, &Arc::default()))), 1);
    vfs.wait_until_paused();
    let mut two = committing(&broker);
    let waker = Arc::<Counting>::default();
    drop(one);
    for _ in 0..10 {
        // It would hang here.
        assert!(poll_next(&mut two, &waker).is_pending());
    }
    vfs.resume();
    let next = futures_executor::block_on(two.next()).unwrap().unwrap();
    assert_eq!(offset_of(&next), 1, "what was committed comes again, or something was skipped");
    drop((two, orders));
    broker.close(LONG).unwrap();
}

#[test]
fn a_borrowed_stream_of_a_group_gives_its_consumer_back() {
    let (broker, orders, _) = place();
    let mut consumer: Consumer = broker.consumer().group("billing").subscribe(["orders"]).unwrap();
    let waker = Arc::<Counting>::default();
    for _ in 0..5 {
        assert!(poll_next(&mut consumer.stream(), &waker).is_pending());
        broker.tick().unwrap();
    }
    assert_eq!(consumer.assignment().len(), 2);
    send_all(&orders, ["a", "b"]).unwrap();
    assert_eq!(ready(poll_next(&mut consumer.stream(), &waker)).len(), 2);
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
    consumer.commit().unwrap();
    assert_eq!(members(&broker), 1);
}
