//! A group of one: it reads to the end, commits, and leaves; where it goes on is what it has committed.

use std::time::Duration;

use ottla::{Broker, Consumer, Partition, Result};

use crate::service::Service;
use crate::told::{Outcome, Place, split};

pub const GROUP: &str = "group";
/// In so many polls without threads a member that is alone has joined, and was assigned everything.
const POLLS: usize = 4;

impl Service {
    pub fn commit(&mut self, place: Place) -> Outcome {
        let topic = self.topic(place)?;
        let partition = topic.partition(split(place).1)?;
        let mut consumer = join(&self.broker()?, place)?;
        let first = take_up(&mut consumer, &partition)?;
        let commits = &self.told.sent(place).commits;
        assert!(commits.allow(first), "{place}: the group goes on at {first}, and has {commits:?}");
        while !consumer.poll(Duration::ZERO)?.is_empty() {}
        let (mut new, mut known) = (Vec::new(), Vec::new());
        // All that the topic has is committed, unless it is already.
        for partition in consumer.assignment() {
            let offset = consumer.position(&partition)?.offset();
            let committed = consumer.committed(&partition)?;
            let is_known = committed.is_some_and(|committed| committed.position().offset() == offset);
            let places = if is_known { &mut known } else { &mut new };
            places.push((place_of(split(place).0, partition.id()), offset));
        }
        let outcome = consumer.commit();
        for (place, offset) in new {
            self.told.committed(place, offset, &outcome);
        }
        if outcome.is_ok() {
            known.into_iter().for_each(|(place, offset)| self.told.still_committed(place, offset));
        }
        outcome
    }
}

fn place_of(topic: &str, partition: u32) -> Place {
    const PLACES: [Place; 10] = ["a", "a/1", "a/2", "a/3", "os", "os/1", "os/2", "os/3", "interval", "lz4"];
    let found = PLACES.into_iter().find(|place| split(place) == (topic, partition));
    found.unwrap_or_else(|| panic!("{topic}/{partition} is no place of a workload"))
}

/// Where the group goes on in a partition.
pub fn goes_on_at(broker: &Broker, place: Place) -> Result<u64> {
    let (name, number) = split(place);
    let partition = broker.topic(name)?.partition(number)?;
    take_up(&mut join(broker, place)?, &partition)
}

pub fn join(broker: &Broker, place: Place) -> Result<Consumer> {
    broker.consumer().group(GROUP).max_poll_records(1).subscribe([split(place).0])
}

/// Polls until the partition is assigned, and says where that began.
pub fn take_up(consumer: &mut Consumer, partition: &Partition) -> Result<u64> {
    for _ in 0..POLLS {
        let records = consumer.poll(Duration::ZERO)?;
        if let Some(first) = records.iter().find(|record| record.partition() == partition.id()) {
            return Ok(first.offset());
        }
        if let Ok(position) = consumer.position(partition) {
            return Ok(position.offset());
        }
    }
    panic!("the only member of a group is assigned nothing")
}
