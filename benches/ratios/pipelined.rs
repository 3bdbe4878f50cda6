//! Sending without waiting for each: many records are on their way, and their acknowledgements are waited for in order.

use std::collections::VecDeque;
use std::time::Instant;

use ottla::{Delivery, Durability, Record, TopicConfig};

use crate::append::append_synced;
use crate::row::Row;
use crate::workplace::Workplace;
use crate::{Outcome, per_second};

const RECORDS: usize = 500_000;
/// How many records are on their way.
const IN_FLIGHT: usize = 10_000;

pub const ROWS: &[Row] = &[
    Row {
        name: "pipelined sends, synced, against one at a time (ours both)",
        unit: "records/s",
        floor: Some(20.0),
        ours: |place| pipelined(place, Durability::Synced),
        raw: |place| append_synced(place, 1, 1500),
    },
    Row {
        name: "pipelined sends, os, against synced (ours both)",
        unit: "records/s",
        floor: None,
        ours: |place| pipelined(place, Durability::Os),
        raw: |place| pipelined(place, Durability::Synced),
    },
];

fn pipelined(place: &Workplace, durability: Durability) -> Outcome<f64> {
    let (_broker, topic) = place.topic_with(TopicConfig::new().durability(durability))?;
    let producer = topic.producer();
    let mut in_flight = VecDeque::with_capacity(IN_FLIGHT);
    let start = Instant::now();
    for payload in place.payloads().cycle().take(RECORDS) {
        if in_flight.len() == IN_FLIGHT {
            in_flight.pop_front().map(Delivery::wait).transpose()?;
        }
        in_flight.push_back(producer.send(Record::new(payload))?);
    }
    in_flight.into_iter().try_for_each(|delivery| delivery.wait().map(|_| ()))?;
    Ok(per_second(RECORDS, start.elapsed()))
}
