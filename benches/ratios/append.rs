//! Appending, with and without syncs.

use std::time::Instant;

use ottla::{Durability, Record, TopicConfig};

use crate::row::Row;
use crate::workplace::Workplace;
use crate::{Outcome, per_second};

const THREADS: usize = 16;
/// How many single records, and how many batches of a thousand, are written without a sync.
const ONES: usize = 200_000;
const BATCHES: usize = 500;

pub const ROWS: &[Row] = &[
    Row {
        name: "append 1 a call, os",
        unit: "records/s",
        floor: Some(0.6),
        ours: append_os,
        raw: raw_append_os,
    },
    Row {
        name: "append 1000 a call, os",
        unit: "records/s",
        floor: Some(0.5),
        ours: append_batches_os,
        raw: raw_append_batches_os,
    },
    Row {
        name: "append 1 a call, synced, 1 thread",
        unit: "records/s",
        floor: None,
        ours: |place| append_synced(place, 1, 1500),
        raw: |place| raw_append_synced(place, 1, 1500),
    },
    Row {
        name: "append 1 a call, synced, 16 threads",
        unit: "records/s",
        floor: None,
        ours: |place| append_synced(place, THREADS, 600),
        raw: |place| raw_append_synced(place, THREADS, 100),
    },
    Row {
        name: "synced, 16 threads against 1 (ours both)",
        unit: "records/s",
        floor: Some(3.0),
        ours: |place| append_synced(place, THREADS, 600),
        raw: |place| append_synced(place, 1, 1500),
    },
    Row {
        name: "append 1000 a call, one sync",
        unit: "records/s",
        floor: None,
        ours: append_groups,
        raw: raw_append_groups,
    },
];

pub fn append_synced(place: &Workplace, threads: usize, times: usize) -> Outcome<f64> {
    let (_broker, topic) = place.topic()?;
    let payloads: Vec<_> = place.payloads().collect();
    on_threads(threads, times, |number| {
        topic.producer().send(Record::new(payloads[number % payloads.len()]))?.wait()?;
        Ok(())
    })
}

fn raw_append_synced(place: &Workplace, threads: usize, times: usize) -> Outcome<f64> {
    let raw = place.raw()?;
    let payloads: Vec<_> = place.payloads().collect();
    on_threads(threads, times, |number| {
        raw.append(std::iter::once(payloads[number % payloads.len()]))?;
        Ok(raw.sync()?)
    })
}

/// Written when the call returns.
fn append_os(place: &Workplace) -> Outcome<f64> {
    let (_broker, topic) = place.topic_with(TopicConfig::new().durability(Durability::Os))?;
    let producer = topic.producer();
    let start = Instant::now();
    for payload in place.payloads().cycle().take(ONES) {
        producer.send(Record::new(payload))?.wait()?;
    }
    Ok(per_second(ONES, start.elapsed()))
}

fn raw_append_os(place: &Workplace) -> Outcome<f64> {
    let raw = place.raw()?;
    let start = Instant::now();
    for payload in place.payloads().cycle().take(ONES) {
        raw.append(std::iter::once(payload))?;
    }
    Ok(per_second(ONES, start.elapsed()))
}

fn append_batches_os(place: &Workplace) -> Outcome<f64> {
    let (_broker, topic) = place.topic_with(TopicConfig::new().durability(Durability::Os))?;
    let producer = topic.producer();
    let start = Instant::now();
    for _ in 0..BATCHES {
        let records: Vec<_> = place.payloads().map(Record::new).collect();
        producer.send_batch(&records)?.wait()?;
    }
    Ok(per_second(BATCHES * 1000, start.elapsed()))
}

fn raw_append_batches_os(place: &Workplace) -> Outcome<f64> {
    let raw = place.raw()?;
    let start = Instant::now();
    for _ in 0..BATCHES {
        raw.append(place.payloads())?;
    }
    Ok(per_second(BATCHES * 1000, start.elapsed()))
}

fn append_groups(place: &Workplace) -> Outcome<f64> {
    let (_broker, topic) = place.topic()?;
    let start = Instant::now();
    for _ in 0..300 {
        place.fill(&topic, 1)?;
    }
    Ok(per_second(300 * 1000, start.elapsed()))
}

fn raw_append_groups(place: &Workplace) -> Outcome<f64> {
    let raw = place.raw()?;
    let start = Instant::now();
    for _ in 0..300 {
        raw.append(place.payloads())?;
        raw.sync()?;
    }
    Ok(per_second(300 * 1000, start.elapsed()))
}

/// Runs `work` on so many threads, each so often, and each time with another number; returns how often in a second.
pub fn on_threads(threads: usize, times: usize, work: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<f64> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || (0..times).try_for_each(|time| work(thread * times + time))))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    Ok(per_second(threads * times, start.elapsed()))
}
