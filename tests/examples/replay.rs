//! Appends records of 100 random bytes, closes, reopens, and replays them in order, each compared with what was
//! sent.
//!
//! `replay COUNT [DIR]`

use std::time::{Duration, Instant};

use ottla::{Broker, Record, Start, TopicConfig};

const PAYLOAD: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().ok_or("usage: replay COUNT [DIR]")?.parse()?;
    let dir = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let dir = dir.join(format!("ottla-replay-{}", std::process::id()));

    let start = Instant::now();
    let broker = Broker::open(&dir)?;
    let topic = broker.create_topic("events", TopicConfig::new().segment_bytes(256 * 1024 * 1024))?;
    let producer = topic.producer();
    let mut payloads = Payloads::new();
    for _ in 0..count {
        _ = producer.send(Record::new(payloads.next()))?;
    }
    producer.flush()?;
    report("appended and synced", count, start);

    let start = Instant::now();
    broker.close(Duration::from_secs(60))?;
    println!("closed after {:?}", start.elapsed());

    let start = Instant::now();
    let broker = Broker::open(&dir)?;
    println!("reopened after {:?}", start.elapsed());

    let start = Instant::now();
    let mut payloads = Payloads::new();
    let mut next = 0;
    for batch in broker.topic("events")?.partition(0)?.read(Start::Earliest)? {
        for record in &batch? {
            assert_eq!(record.offset(), next);
            assert_eq!(record.value(), Some(payloads.next()));
            next += 1;
        }
    }
    assert_eq!(next, count);
    report("replayed and compared", count, start);

    broker.close(Duration::from_secs(60))?;
    println!("peak memory {} of which anonymous at the end {}", status("VmHWM"), status("RssAnon"));
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn report(what: &str, count: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} records {what} after {seconds:.2} s, {:.2} M/s", count as f64 / seconds / 1e6);
}

fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or("unknown").trim().to_owned()
}

/// The same payloads each time: windows of random bytes, so that making them costs little.
struct Payloads {
    bytes: Vec<u8>,
    at: usize,
}

impl Payloads {
    fn new() -> Self {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self { bytes: words.flatten().take(1_000_003).collect(), at: 0 }
    }

    fn next(&mut self) -> &[u8] {
        self.at = (self.at + 7919) % (self.bytes.len() - PAYLOAD);
        &self.bytes[self.at..self.at + PAYLOAD]
    }
}
