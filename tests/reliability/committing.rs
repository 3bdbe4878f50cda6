//! A group of one: it reads to the end, commits, and leaves; where it goes on is what it has committed.

use std::time::Duration;

use ottla::{Broker, Consumer, Partition, Result};

use crate::service::Service;
use crate::told::{Outcome, Place, split};

const GROUP: &str = "group";
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
        let offset = consumer.position(&partition)?.offset();
        let outcome = consumer.commit();
        self.told.committed(place, offset, &outcome);
        outcome
    }
}

/// Where the group goes on in a partition.
pub fn goes_on_at(broker: &Broker, place: Place) -> Result<u64> {
    let (name, number) = split(place);
    let partition = broker.topic(name)?.partition(number)?;
    take_up(&mut join(broker, place)?, &partition)
}

fn join(broker: &Broker, place: Place) -> Result<Consumer> {
    broker.consumer().group(GROUP).max_poll_records(1).subscribe([split(place).0])
}

/// Polls until the partition is assigned, and says where that began.
fn take_up(consumer: &mut Consumer, partition: &Partition) -> Result<u64> {
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
