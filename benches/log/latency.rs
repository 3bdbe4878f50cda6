//! How long single operations took: what a mean does not show.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The latencies of one row, in nanoseconds.
#[derive(Debug)]
pub struct Latencies {
    name: &'static str,
    nanos: Histogram<u64>,
}

impl Latencies {
    /// Of nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, nanos: Histogram::new(3).expect("three digits are possible") }
    }

    pub fn record_since(&mut self, start: Instant) {
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.record(nanos).expect("a histogram that grows takes every value");
    }

    pub fn add(&mut self, other: &Self) {
        self.nanos.add(&other.nanos).expect("a histogram that grows takes every other one");
    }
}

/// Prints a line for each row that was measured.
pub fn print(rows: &[Latencies]) {
    println!("latency | count | p50 | p99 | p99.9 | max");
    for Latencies { name, nanos } in rows.iter().filter(|row| !row.nanos.is_empty()) {
        let at = |quantile| Duration::from_nanos(nanos.value_at_quantile(quantile));
        let (most, count) = (Duration::from_nanos(nanos.max()), nanos.len());
        println!("{name} | {count} | {:.1?} | {:.1?} | {:.1?} | {most:.1?}", at(0.5), at(0.99), at(0.999));
    }
}
