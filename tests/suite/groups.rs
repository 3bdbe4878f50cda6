//! Consumer groups: the work is shared, the place is remembered, and work moves when one leaves.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use ottla::{Broker, Consumer, Record, Result, Topic, TopicConfig};

use crate::support::{TempDir, options};

const SECOND: Duration = Duration::from_secs(1);
/// So long no test waits for what has to happen.
const LONG: Duration = Duration::from_secs(60);

/// Records by partition and offset.
type Seen = BTreeMap<(u32, u64), Vec<u8>>;

/// A worker on its thread: it hands over what it reads, commits, and leaves when it is told.
struct Worker {
    thread: thread::JoinHandle<Result<()>>,
    leave: ottla::WakeupHandle,
    seen: Receiver<(u32, u64, Vec<u8>)>,
}

fn worker(broker: &Broker) -> Worker {
    let mut consumer = broker.consumer().group("billing").subscribe(["orders"]).unwrap();
    let leave = consumer.wakeup_handle();
    let (sender, seen) = channel();
    let thread = thread::spawn(move || work(&mut consumer, &sender));
    Worker { thread, leave, seen }
}

fn work(consumer: &mut Consumer, sender: &Sender<(u32, u64, Vec<u8>)>) -> Result<()> {
    loop {
        let records = match consumer.poll(LONG) {
            Err(error) if error.kind() == ottla::ErrorKind::Wakeup => return consumer.commit(),
            polled => polled?,
        };
        for record in &records {
            let value = record.value().unwrap_or_default().to_vec();
            sender.send((record.partition(), record.offset(), value)).unwrap();
        }
        consumer.commit()?;
    }
}

fn send(topic: &Topic, values: std::ops::Range<u32>) {
    let producer = topic.producer();
    for number in values {
        _ = producer.send(Record::new(&number.to_be_bytes()).partition(number % 4)).unwrap();
    }
    producer.flush().unwrap();
}

/// Takes in `count` records, each for the first time.
fn take(worker: &Worker, count: usize, seen: &mut Seen) {
    for _ in 0..count {
        let (partition, offset, value) = worker.seen.recv_timeout(LONG).unwrap();
        let before = seen.insert((partition, offset), value);
        assert_eq!(before, None, "{partition}@{offset} was read twice");
    }
}

fn settled(consumers: &mut [&mut Consumer]) {
    for _ in 0..10 {
        for consumer in consumers.iter_mut() {
            assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
        }
    }
}

#[test]
fn two_share_the_work_one_takes_over_and_a_reopened_broker_goes_on() {
    let dir = TempDir::new("groups-thread");
    let mut seen = Seen::new();
    {
        let broker = Broker::open(dir.path()).unwrap();
        let orders = broker.create_topic("orders", TopicConfig::new().partitions(4)).unwrap();
        send(&orders, 0..400);
        let (one, two) = (worker(&broker), worker(&broker));
        let (sender, both) = channel();
        let forward = |from: Receiver<(u32, u64, Vec<u8>)>, name: u8, to: Sender<_>| {
            thread::spawn(move || from.iter().for_each(|record| to.send((name, record)).unwrap()))
        };
        let relays = [forward(one.seen, 1, sender.clone()), forward(two.seen, 2, sender)];
        let mut readers = BTreeMap::new();
        let mut sent = 400;
        // Until both have read: the second joins at some time.
        while readers.len() < 2 || seen.len() < sent as usize {
            if seen.len() == sent as usize {
                send(&orders, sent..sent + 4);
                sent += 4;
            }
            let (name, (partition, offset, value)) = both.recv_timeout(LONG).unwrap();
            *readers.entry(name).or_insert(0) += 1;
            assert_eq!(seen.insert((partition, offset), value), None, "{partition}@{offset} was read twice");
        }
        one.leave.wake();
        one.thread.join().unwrap().unwrap();
        send(&orders, sent..sent + 400);
        for _ in 0..400 {
            let (name, (partition, offset, value)) = both.recv_timeout(LONG).unwrap();
            assert_eq!(name, 2, "the one that has left reads on");
            assert_eq!(seen.insert((partition, offset), value), None);
        }
        two.leave.wake();
        two.thread.join().unwrap().unwrap();
        relays.into_iter().for_each(|relay| relay.join().unwrap());
        drop(orders);
        broker.close(LONG).unwrap();
    }
    let broker = Broker::open(dir.path()).unwrap();
    let orders = broker.topic("orders").unwrap();
    let before = seen.len();
    let three = worker(&broker);
    send(&orders, 0..40);
    take(&three, 40, &mut seen);
    three.leave.wake();
    three.thread.join().unwrap().unwrap();
    assert!(three.seen.try_recv().is_err());
    for partition in orders.partitions() {
        let end = partition.high_watermark();
        for offset in 0..end {
            assert!(seen.contains_key(&(partition.id(), offset)), "{}@{offset} was skipped", partition.id());
        }
    }
    assert_eq!(seen.len(), before + 40);
}

#[test]
fn without_threads_polls_and_commits_do_it_all() {
    let broker = options().in_memory().unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new().partitions(4)).unwrap();
    let consumer = || broker.consumer().group("billing").subscribe(["orders"]).unwrap();
    let (mut one, mut two) = (consumer(), consumer());
    settled(&mut [&mut one]);
    assert_eq!(one.assignment().len(), 4);
    settled(&mut [&mut one, &mut two]);
    assert_eq!((one.assignment().len(), two.assignment().len()), (2, 2));
    send(&orders, 0..4);
    let first = one.poll(SECOND).unwrap().len();
    assert_eq!(first + two.poll(SECOND).unwrap().len(), 4);
    one.commit().unwrap();
    drop((one, two));
    // What was not committed comes again.
    let mut three = consumer();
    assert_eq!(three.poll(SECOND).unwrap().len(), 4 - first);
}
