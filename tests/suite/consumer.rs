//! The consumer without a group: limits, pausing, positions, and the ways in which a wait ends.

use std::io;
use std::time::Duration;

use ottla::{Broker, ConsumerBuilder, ErrorKind, ManualClock, Partition, Record, Start, Topic, TopicConfig};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{ScriptedVfs, encode_batch, send_all};

const LOG: &str = "00000000000000000000.log";
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

fn topic(partitions: u32) -> (Broker, Topic) {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new().partitions(partitions)).unwrap();
    (broker, topic)
}

fn send_batch(topic: &Topic, partition: u32, count: usize) {
    let records: Vec<_> = (0..count).map(|_| Record::new("v").partition(partition)).collect();
    topic.producer().send_batch(&records).unwrap().wait().unwrap();
}

/// What happens to a consumer of two partitions.
#[derive(Clone, Debug)]
enum Step {
    Send { partition: u32, count: usize },
    Poll,
    Seek { partition: u32, to: u64 },
    Pause(u32),
    Resume(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2u32, 1..6usize).prop_map(|(partition, count)| Step::Send { partition, count }),
        6 => Just(Step::Poll),
        1 => (0..2u32, 0..40u64).prop_map(|(partition, to)| Step::Seek { partition, to }),
        1 => (0..2u32).prop_map(Step::Pause),
        2 => (0..2u32).prop_map(Step::Resume),
    ]
}

/// Where a partition should stand.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    next: u64,
    end: u64,
    is_paused: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the limits: every record comes once, in order, and the position is that of the next one.
    #[test]
    fn polls_of_any_size_hand_out_every_record_once(
        steps in vec(step(), 1..60),
        most in prop_oneof![1..8usize, Just(usize::MAX)],
        bytes in prop_oneof![0..300usize, Just(1 << 20)],
    ) {
        let (broker, topic) = topic(2);
        let partitions: Vec<Partition> = topic.partitions().collect();
        let builder = broker.consumer().max_poll_records(most).fetch_max_bytes(bytes);
        let mut consumer = builder.assign(partitions.clone()).unwrap();
        let mut expected = [Expected::default(); 2];
        for step in steps {
            match step {
                Step::Send { partition, count } => {
                    send_batch(&topic, partition, count);
                    expected[partition as usize].end += count as u64;
                }
                Step::Poll => {
                    let left = |expected: &Expected| expected.end > expected.next && !expected.is_paused;
                    let is_due = expected.iter().any(left);
                    let records = consumer.poll(Duration::ZERO).unwrap();
                    prop_assert!(records.len() <= most);
                    prop_assert_eq!(records.len(), records.iter().count());
                    prop_assert_eq!(records.is_empty(), !is_due);
                    for record in &records {
                        let partition = &mut expected[record.partition() as usize];
                        prop_assert!(!partition.is_paused);
                        prop_assert_eq!(record.offset(), partition.next);
                        partition.next += 1;
                    }
                }
                Step::Seek { partition, to } => {
                    let expected = &mut expected[partition as usize];
                    let sought = consumer.seek(&partitions[partition as usize], Start::At(to));
                    prop_assert_eq!(sought.is_ok(), to <= expected.end);
                    if sought.is_ok() {
                        expected.next = to;
                    }
                }
                Step::Pause(partition) => {
                    consumer.pause(&partitions[partition as usize..][..1]).unwrap();
                    expected[partition as usize].is_paused = true;
                }
                Step::Resume(partition) => {
                    consumer.resume(&partitions[partition as usize..][..1]).unwrap();
                    expected[partition as usize].is_paused = false;
                }
            }
            for (partition, expected) in partitions.iter().zip(&expected) {
                prop_assert_eq!(consumer.position(partition).unwrap().offset(), expected.next);
                prop_assert_eq!(consumer.lag(partition).unwrap(), expected.end - expected.next);
            }
            prop_assert_eq!(consumer.paused().len(), expected.iter().filter(|it| it.is_paused).count());
        }
    }
}

#[test]
fn a_poll_ends_with_the_batch_that_reaches_its_bytes() {
    let (broker, topic) = topic(1);
    send_batch(&topic, 0, 1);
    let size = topic.partition(0).unwrap().read(Start::Earliest).unwrap().next().unwrap().unwrap().size();
    for _ in 1..10 {
        send_batch(&topic, 0, 1);
    }
    for (bytes, batches) in [(0, 1), (size, 1), (size + 1, 2), (3 * size, 3), (100 * size, 10)] {
        let builder = broker.consumer().fetch_max_bytes(bytes);
        let mut consumer = builder.assign(topic.partitions()).unwrap();
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), batches, "{bytes} bytes");
    }
}

#[test]
fn polls_of_no_records_are_refused() {
    let (broker, topic) = topic(1);
    let error = broker.consumer().max_poll_records(0).assign(topic.partitions()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn the_rest_of_a_batch_is_not_read_again() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let partition = topic.partition(0).unwrap();
    send_batch(&topic, 0, 3);
    let mut consumer = broker.consumer().max_poll_records(1).assign(topic.partitions()).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    send_batch(&topic, 0, 1);
    vfs.fail(&format!("read {LOG}"), 0, io::ErrorKind::Other);
    for offset in 1..3 {
        let records = consumer.poll(Duration::ZERO).unwrap();
        assert_eq!(records.iter().map(|record| record.offset()).collect::<Vec<_>>(), [offset]);
    }
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::StorageError);
    assert_eq!(consumer.position(&partition).unwrap().offset(), 3, "the position stays");
    vfs.fail_no_more();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().iter().next().unwrap().offset(), 3);
}

#[test]
fn a_position_inside_a_batch_comes_back() {
    let (broker, topic) = topic(1);
    let partition = topic.partition(0).unwrap();
    send_batch(&topic, 0, 5);
    let mut consumer = broker.consumer().max_poll_records(2).assign(topic.partitions()).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    let position = consumer.position(&partition).unwrap();
    assert_eq!((position.offset(), position.leader_epoch()), (2, Some(0)));
    assert_eq!(consumer.seek(&partition, Start::At(6)).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    assert_eq!(consumer.position(&partition).unwrap(), position, "the position stays");
    let mut other = broker.consumer().assign(topic.partitions()).unwrap();
    other.seek(&partition, Start::Resume(position)).unwrap();
    assert_eq!(other.poll(Duration::ZERO).unwrap().iter().next().unwrap().offset(), 2);
}

#[test]
fn a_paused_partition_is_neither_read_nor_waited_for() {
    let clock = ManualClock::at(0);
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(crate::support::options().clock(clock.clock())).unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let partition = topic.partition(0).unwrap();
    send_all(&topic, ["durable"]).unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    consumer.pause(std::slice::from_ref(&partition)).unwrap();
    assert_eq!(consumer.paused()[0].id(), 0);
    let unwritten = topic.producer().send(Record::new("sent")).unwrap();
    vfs.take_calls();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| consumer.poll(Duration::from_secs(1)).unwrap().len());
        wait_for_waiter(&clock);
        clock.advance(Duration::from_secs(1));
        assert_eq!(poll.join().unwrap(), 0);
    });
    assert_eq!(vfs.take_calls(), [""; 0], "it was read or written for");
    assert_eq!(partition.high_watermark(), 1, "nobody has waited for the record");
    assert_eq!(consumer.lag(&partition).unwrap(), 1);
    consumer.resume(&[partition]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    unwritten.wait().unwrap();
}

#[test]
fn pausing_asks_for_assigned_partitions_and_else_changes_nothing() {
    let (broker, topic) = topic(3);
    let partitions: Vec<Partition> = topic.partitions().collect();
    let mut consumer = broker.consumer().assign(partitions[..2].to_vec()).unwrap();
    let ids = |partitions: Vec<Partition>| partitions.iter().map(Partition::id).collect::<Vec<_>>();
    assert_eq!(ids(consumer.assignment()), [0, 1]);
    let unknown = ErrorKind::UnknownTopicOrPartition;
    assert_eq!(consumer.pause(&partitions).unwrap_err().kind(), unknown);
    assert_eq!(ids(consumer.paused()), [0; 0]);
    consumer.pause(&partitions[1..2]).unwrap();
    assert_eq!(consumer.resume(&partitions[1..]).unwrap_err().kind(), unknown);
    assert_eq!(ids(consumer.paused()), [1]);
    assert_eq!(consumer.lag(&partitions[2]).unwrap_err().kind(), unknown);
    consumer.pause(&partitions[..1]).unwrap();
    broker.delete_topic("orders").unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), unknown);
}

#[test]
fn a_poll_of_paused_partitions_hears_of_the_end_of_its_broker() {
    let clock = ManualClock::at(0);
    let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    consumer.pause(&consumer.assignment()).unwrap();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| consumer.poll(LONG).unwrap_err().kind());
        wait_for_waiter(&clock);
        broker.close(Duration::from_secs(10)).unwrap();
        assert_eq!(poll.join().unwrap(), ErrorKind::Closed);
    });
}

#[test]
fn a_wake_up_ends_the_poll_that_waits_or_the_next_one_once() {
    let clock = ManualClock::at(0);
    let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    let handle = consumer.wakeup_handle();

    std::thread::scope(|scope| {
        let poll = scope.spawn(|| consumer.poll(LONG).unwrap_err().kind());
        wait_for_waiter(&clock);
        handle.clone().wake();
        assert_eq!(poll.join().unwrap(), ErrorKind::Wakeup);
    });
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty(), "once");

    send_all(&topic, ["one"]).unwrap();
    handle.wake();
    handle.wake();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::Wakeup);
    assert_eq!(consumer.poll(LONG).unwrap().len(), 1, "no record is lost, and two calls are one");

    drop((consumer, topic, broker));
    handle.wake();
}

/// Whatever the order in which records and wake-ups come: each is seen, and nothing is missed.
#[test]
fn wake_ups_beside_records_lose_neither() {
    const ROUNDS: u64 = 2000;
    let (broker, topic) = topic(1);
    let mut consumer = broker.consumer().max_poll_records(1).assign(topic.partitions()).unwrap();
    let handle = consumer.wakeup_handle();
    let (woken, seen) = std::sync::mpsc::sync_channel(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                _ = topic.producer().send(Record::new("v")).unwrap();
            }
        });
        scope.spawn(move || {
            // The next one only after the last one was seen, so that none falls together with another.
            for _ in 0..ROUNDS {
                handle.wake();
                if seen.recv().is_err() {
                    return;
                }
            }
        });
        let (mut records, mut wakes) = (0, 0);
        while records < ROUNDS || wakes < ROUNDS {
            match consumer.poll(LONG) {
                Ok(polled) => {
                    for record in &polled {
                        assert_eq!(record.offset(), records);
                        records += 1;
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Wakeup);
                    wakes += 1;
                    woken.send(()).unwrap();
                }
            }
        }
    });
}

/// The poll has asked for the wake-up, reads a batch in which there is nothing for it, and will wait: the call that comes
/// in between is not missed.
#[test]
fn a_wake_up_while_a_poll_reads_ends_its_wait() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let record = Record::new(&[0, 0, 0, 0, 0, 0]).key(&[0, 0, 0, 5]).timestamp(0);
    topic.producer().send(record.clone()).unwrap().wait().unwrap();
    vfs.overwrite(&format!("orders-0/{LOG}"), &marker(&record));

    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    let handle = consumer.wakeup_handle();
    let (done, is_done) = std::sync::mpsc::channel();
    vfs.pause(&format!("read {LOG}"));
    std::thread::spawn(move || done.send(consumer.poll(LONG).map(|records| records.len())));
    vfs.wait_until_paused();
    handle.wake();
    vfs.resume();
    let ended = is_done.recv_timeout(Duration::from_secs(60)).expect("the wake-up was missed");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Wakeup);
}

/// The record in a batch of Kafka's own, which no consumer is given.
fn marker(record: &Record<'_>) -> Vec<u8> {
    let mut batch = encode_batch(0, &[(0, 0, record.clone())]);
    batch[22] |= 1 << 5;
    let crc = crc_fast::crc32_iscsi(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// No time passes but what the test lets pass.
#[test]
fn a_poll_that_waits_gets_what_its_sender_forgets_at_once_and_what_he_holds_in_a_moment() {
    let clock = ManualClock::at(0);
    let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let producer = topic.producer();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    let idle = clock.waiters();
    for moment in [Duration::ZERO, Duration::from_millis(1)] {
        std::thread::scope(|scope| {
            let (sender, polled) = std::sync::mpsc::channel();
            let consumer = &mut consumer;
            scope.spawn(move || sender.send(consumer.poll(LONG).unwrap().len()).unwrap());
            while clock.waiters() == idle {
                std::thread::yield_now();
            }
            let delivery = producer.send(Record::new("v")).unwrap();
            let held = (moment > Duration::ZERO).then_some(delivery);
            clock.advance(moment);
            // Waiting longer than any test takes, and hanging on if it is not woken.
            let count = polled.recv_timeout(Duration::from_secs(60));
            clock.advance(LONG);
            assert_eq!(count, Ok(1), "{held:?}");
        });
    }
}

#[test]
fn following_waits_for_more_until_it_is_woken() {
    let clock = ManualClock::at(0);
    let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&topic, ["one"]).unwrap();
    let mut follow = topic.partition(0).unwrap().read(Start::Earliest).unwrap().follow();
    assert_eq!(follow.next().unwrap().unwrap().base_offset(), 0);
    let handle = follow.wakeup_handle();
    std::thread::scope(|scope| {
        let rest = scope.spawn(move || {
            let offsets: Vec<_> = follow.by_ref().map(|batch| batch.unwrap().base_offset()).collect();
            assert!(follow.next().is_none(), "it has ended for good");
            (offsets, follow.position().offset())
        });
        wait_for_waiter(&clock);
        // Nobody waits for this record but the one who follows.
        _ = topic.producer().send(Record::new("two")).unwrap();
        while topic.partition(0).unwrap().high_watermark() < 2 {
            std::thread::yield_now();
        }
        handle.wake();
        let (offsets, position) = rest.join().unwrap();
        // It may have been woken before it has looked.
        assert!(offsets == [1] && position == 2 || offsets.is_empty() && position == 1);
    });
}

#[test]
fn following_ends_with_an_error_once_its_topic_or_its_broker_has_gone() {
    type End = (fn(&Broker), ErrorKind);
    let ends: [End; 2] = [
        (|broker| broker.delete_topic("orders").unwrap(), ErrorKind::UnknownTopicOrPartition),
        (|broker| broker.close(Duration::from_secs(10)).unwrap(), ErrorKind::Closed),
    ];
    for (end, kind) in ends {
        let clock = ManualClock::at(0);
        let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
        let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
        let mut follow = topic.partition(0).unwrap().read(Start::Latest).unwrap().follow();
        std::thread::scope(|scope| {
            let next = scope.spawn(move || (follow.next().map(Result::unwrap_err), follow.next().is_none()));
            wait_for_waiter(&clock);
            end(&broker);
            let (error, has_ended) = next.join().unwrap();
            assert_eq!((error.unwrap().kind(), has_ended), (kind, true));
        });
    }
}

fn wait_for_waiter(clock: &ManualClock) {
    while clock.waiters() == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn handles_go_to_any_thread() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    fn moves<T: Send + 'static>() {}
    check::<ottla::WakeupHandle>();
    check::<ConsumerBuilder>();
    moves::<ottla::Consumer>();
    moves::<ottla::Follow>();
}
