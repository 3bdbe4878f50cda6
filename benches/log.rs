//! How long the main operations take, on the disk of the temporary directory, with random payloads of 100 bytes.

#[path = "log/concurrent.rs"]
mod concurrent;
#[path = "log/latency.rs"]
mod latency;

use std::hint::black_box;
use std::time::Duration;

use concurrent::concurrent;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ottla::{Broker, Record, Start, Topic, TopicConfig};

const PAYLOAD: usize = 100;

// The last one ends with the latencies.
criterion_group!(benches, append, read, concurrent);
criterion_main!(benches);

fn append(criterion: &mut Criterion) {
    let bench = Bench::new("append");
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one record, durable", |bencher| {
        let producer = bench.topic.producer();
        let mut payloads = bench.payloads.chunks(PAYLOAD).cycle();
        bencher.iter(|| {
            let payload = payloads.next().unwrap_or_default();
            producer.send(Record::new(payload)).and_then(ottla::Delivery::wait)
        });
    });
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1000 records, one flush", |bencher| {
        let producer = bench.topic.producer();
        bencher.iter(|| -> ottla::Result<()> {
            for payload in bench.payloads.chunks(PAYLOAD) {
                _ = producer.send(Record::new(payload))?;
            }
            producer.flush()
        });
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    const RECORDS: u32 = 200_000;
    let bench = Bench::new("read");
    let producer = bench.topic.producer();
    for (payload, _) in bench.payloads.chunks(PAYLOAD).cycle().zip(0..RECORDS) {
        _ = producer.send(Record::new(payload)).expect("the benchmark's disk takes records");
    }
    producer.flush().expect("the benchmark's disk can sync");
    let partition = bench.topic.partition(0).expect("there is one partition");

    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(RECORDS.into()));
    group.bench_function("200,000 records in order", |bencher| {
        bencher.iter(|| -> ottla::Result<usize> {
            let mut bytes = 0;
            for batch in partition.read(Start::Earliest)? {
                bytes +=
                    (&batch?).into_iter().map(|record| record.value().map_or(0, <[u8]>::len)).sum::<usize>();
            }
            Ok(black_box(bytes))
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("one record anywhere", |bencher| {
        let mut offset = 0u32;
        bencher.iter(|| {
            // A step that visits every offset, in no order that a cache would foresee.
            offset = (offset + 77_773) % RECORDS;
            partition.read(Start::At(offset.into())).map(|mut batches| batches.next())
        });
    });
    group.finish();
}

/// A topic on the disk that goes with the benchmark, and a thousand payloads.
struct Bench {
    broker: Broker,
    topic: Topic,
    payloads: Vec<u8>,
    dir: std::path::PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        Self::with(name, TopicConfig::new())
    }

    fn with(name: &str, config: TopicConfig) -> Self {
        let dir = std::env::temp_dir().join(format!("ottla-bench-{name}-{}", std::process::id()));
        let broker = Broker::open(&dir).expect("the temporary directory is writable");
        let topic = broker
            .create_topic("bench", config.segment_bytes(64 * 1024 * 1024))
            .expect("the directory is new");
        // xorshift: bytes that do not compress.
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let payloads = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let payloads = payloads.flatten().take(1000 * PAYLOAD).collect();
        Self { broker, topic, payloads, dir }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        _ = self.broker.close(Duration::from_secs(30));
        _ = std::fs::remove_dir_all(&self.dir);
    }
}
