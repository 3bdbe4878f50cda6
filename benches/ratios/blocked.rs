//! How long a record takes from the thread that appends it to a consumer of a group that is blocked in `poll`.
//!
//! The record says when its appending began, and the reader how long ago that was when it has it in its hands; so it is
//! an append, the waking of a reader, and a read. Nothing is synced. The next one is sent once the reader has had time to
//! fall asleep. The twin hands the same bytes through a bare channel.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ottla::{Durability, Record, TopicConfig};

use crate::Outcome;
use crate::row::Row;
use crate::workplace::Workplace;

const TIMES: usize = 20_000;
/// Within this a thread that has nothing to do is asleep.
const ASLEEP: Duration = Duration::from_micros(50);
const LONG: Duration = Duration::from_secs(10);

pub const ROWS: &[Row] = &[
    Row {
        name: "blocked poll of a group, p50",
        unit: "µs",
        floor: Some(0.25),
        ours: |place| Ok(at(50, through_log(place)?)),
        raw: |_| Ok(at(50, through_channel()?)),
    },
    Row {
        name: "blocked poll of a group, p99",
        unit: "µs",
        floor: Some(0.25),
        ours: |place| Ok(at(99, through_log(place)?)),
        raw: |_| Ok(at(99, through_channel()?)),
    },
];

/// The latency that so many of a hundred do not exceed, in microseconds.
fn at(percentile: usize, mut latencies: Vec<Duration>) -> f64 {
    latencies.sort_unstable();
    latencies[(latencies.len() - 1) * percentile / 100].as_secs_f64() * 1e6
}

/// What a record holds.
fn now(start: Instant) -> [u8; 16] {
    start.elapsed().as_nanos().to_be_bytes()
}

fn since(start: Instant, sent: [u8; 16]) -> Duration {
    let nanos = start.elapsed().as_nanos().saturating_sub(u128::from_be_bytes(sent));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Sends one after the other, each when the one before was read.
fn latencies(
    start: Instant,
    mut send: impl FnMut([u8; 16]) -> Outcome<()>,
    read: impl FnOnce(Sender<Duration>) -> Outcome<()> + Send,
) -> Outcome<Vec<Duration>> {
    let (sender, receiver): (Sender<Duration>, Receiver<Duration>) = channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(sender));
        let mut latencies = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let asleep = Instant::now() + ASLEEP;
            while Instant::now() < asleep {
                std::hint::spin_loop();
            }
            send(now(start))?;
            latencies.push(receiver.recv()?);
        }
        reader.join().unwrap_or_else(|_| Err("the reader panicked".into()))?;
        Ok(latencies)
    })
}

fn through_log(place: &Workplace) -> Outcome<Vec<Duration>> {
    let start = Instant::now();
    let (broker, topic) = place.topic_with(TopicConfig::new().durability(Durability::Os))?;
    let mut consumer = broker.consumer().group("readers").subscribe(["ratios"])?;
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(1))?;
    }
    let producer = topic.producer();
    let send = |sent: [u8; 16]| {
        producer.send(Record::new(&sent[..]))?.wait()?;
        Ok(())
    };
    latencies(start, send, move |seen| {
        let mut count = 0;
        while count < TIMES {
            for record in &consumer.poll(LONG)? {
                let sent = record.value().ok_or("a record without its time")?.try_into()?;
                seen.send(since(start, sent))?;
                count += 1;
            }
        }
        Ok(())
    })
}

fn through_channel() -> Outcome<Vec<Duration>> {
    let start = Instant::now();
    let (sender, receiver) = channel();
    let send = move |sent: [u8; 16]| Ok(sender.send(sent)?);
    latencies(start, send, move |seen| {
        for _ in 0..TIMES {
            seen.send(since(start, receiver.recv()?))?;
        }
        Ok(())
    })
}
