//! Many records on their way, many threads, and a reader at the end of the log; with the latencies of each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, Throughput};
use ottla::{Durability, PartitionId, Record, Result, TopicConfig};

use crate::latency::{self, Latencies};
use crate::{Bench, PAYLOAD};

const IN_FLIGHT: usize = 10_000;
const THREADS: usize = 16;
const PARTITIONS: PartitionId = 64;

type Measure = fn(&mut Bencher<'_>, &mut Latencies);

pub fn concurrent(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("concurrent");
    group.throughput(Throughput::Elements(1));
    let mut rows = Vec::new();
    let measures: [(_, Measure); 3] = [
        ("pipelined sends, durable", pipelined),
        ("16 threads over 64 partitions, durable", spread),
        ("tail hand-over and back, os", hand_over),
    ];
    for (name, measure) in measures {
        let mut latencies = Latencies::new(name);
        group.bench_function(name, |bencher| measure(bencher, &mut latencies));
        rows.push(latencies);
    }
    group.finish();
    latency::print(&rows);
}

/// One thread keeps so many records on their way; their latency is from the send to the end of the wait.
fn pipelined(bencher: &mut Bencher<'_>, latencies: &mut Latencies) {
    let bench = Bench::new("pipelined");
    let producer = bench.topic.producer();
    bencher.iter_custom(|count| {
        let mut in_flight = VecDeque::with_capacity(IN_FLIGHT);
        let mut wait = |(start, delivery): (Instant, ottla::Delivery)| -> Result<()> {
            delivery.wait()?;
            latencies.record_since(start);
            Ok(())
        };
        timed(|| {
            for (payload, _) in bench.payloads.chunks(PAYLOAD).cycle().zip(0..count) {
                if in_flight.len() == IN_FLIGHT {
                    in_flight.pop_front().map_or(Ok(()), &mut wait)?;
                }
                in_flight.push_back((Instant::now(), producer.send(Record::new(payload))?));
            }
            in_flight.drain(..).try_for_each(&mut wait)
        })
    });
}

/// Each thread sends to any partition, and waits.
fn spread(bencher: &mut Bencher<'_>, latencies: &mut Latencies) {
    let bench = Bench::with("spread", TopicConfig::new().partitions(PARTITIONS));
    bencher.iter_custom(|count| {
        let taken = AtomicU64::new(0);
        let work = || -> Result<Latencies> {
            let (producer, mut own) = (bench.topic.producer(), Latencies::new(""));
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(own);
                }
                let at = usize::try_from(number % 1000).unwrap_or(0) * PAYLOAD;
                let payload = &bench.payloads[at..at + PAYLOAD];
                let start = Instant::now();
                producer.send(Record::new(payload).partition(anywhere(number)))?.wait()?;
                own.record_since(start);
            }
        };
        timed(|| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
                for thread in threads {
                    latencies.add(&thread.join().expect("a sender does not panic")?);
                }
                Ok(())
            })
        })
    });
}

/// From the send until a reader who waits has the record, and has said so.
fn hand_over(bencher: &mut Bencher<'_>, latencies: &mut Latencies) {
    let bench = Bench::with("hand-over", TopicConfig::new().durability(Durability::Os));
    let (producer, partition) = (bench.topic.producer(), bench.topic.partition(0));
    let partition = partition.expect("there is one partition");
    bencher.iter_custom(|count| {
        let follow = partition.read(ottla::Start::Latest).expect("the partition can be read").follow();
        let (seen, receiver) = channel();
        let reader = std::thread::spawn(move || -> Result<()> {
            let mut left = count;
            for batch in follow {
                for _ in &batch? {
                    left -= 1;
                    _ = seen.send(());
                }
                if left == 0 {
                    break;
                }
            }
            Ok(())
        });
        let took = timed(|| {
            for (payload, _) in bench.payloads.chunks(PAYLOAD).cycle().zip(0..count) {
                let start = Instant::now();
                producer.send(Record::new(payload))?.wait()?;
                receiver.recv().expect("the reader reads everything");
                latencies.record_since(start);
            }
            Ok(())
        });
        reader.join().expect("the reader does not panic").expect("the benchmark's disk can be read");
        took
    });
}

/// A partition that the number does not foretell (half of splitmix64's finish); the same in every run.
fn anywhere(number: u64) -> PartitionId {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    u32::try_from((mixed >> 32) % u64::from(PARTITIONS)).unwrap_or(0)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Duration {
    let start = Instant::now();
    work().expect("the benchmark's disk takes records");
    start.elapsed()
}
