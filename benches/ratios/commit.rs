//! Committing from sixteen threads, each a member of one group that takes record by record from a partition of its own, against appending from as many
//! to one partition: both durable when the call returns.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ottla::{Consumer, PartitionId, Record, TopicConfig};

use crate::Outcome;
use crate::append::{append_synced, on_threads};
use crate::row::Row;
use crate::workplace::Workplace;

const THREADS: usize = 16;
const TIMES: usize = 600;
const LONG: Duration = Duration::from_secs(10);

pub const ROWS: &[Row] = &[Row {
    name: "commit, 16 threads, against append synced",
    unit: "commits/s",
    floor: Some(0.7),
    ours: commit,
    raw: |place| append_synced(place, THREADS, TIMES),
}];

fn commit(place: &Workplace) -> Outcome<f64> {
    let partitions = PartitionId::try_from(THREADS)?;
    let (broker, topic) = place.topic_with(TopicConfig::new().partitions(partitions))?;
    let subscribe = |_| Ok(broker.consumer().group("readers").max_poll_records(1).subscribe(["ratios"])?);
    let mut consumers = (0..THREADS).map(subscribe).collect::<Outcome<Vec<_>>>()?;
    while !consumers.iter().all(|consumer| consumer.assignment().len() == 1) {
        for consumer in &mut consumers {
            consumer.poll(Duration::ZERO)?;
        }
    }
    for payload in place.payloads().take(TIMES) {
        for partition in 0..partitions {
            _ = topic.producer().send(Record::new(payload).partition(partition))?;
        }
    }
    topic.producer().flush()?;
    let consumers: Vec<Mutex<Consumer>> = consumers.into_iter().map(Mutex::new).collect();
    on_threads(THREADS, TIMES, |number| {
        // Each has its thread.
        let mut consumer = consumers[number / TIMES].lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(consumer.poll(LONG)?.len(), 1);
        Ok(consumer.commit()?)
    })
}
