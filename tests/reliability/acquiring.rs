//! A group that acquires: it accepts some records, rejects some, and leaves some in the hands of those who die with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla::{AcquiredRecord, Broker, Consumer, Durability, ErrorKind, Result};

use crate::look::values_of;
use crate::service::Service;
use crate::told::{Outcome, Place, Sent, config, split};

const GROUP: &str = "workers";
/// Where rejected records go: no service sends there itself.
pub const DEAD: &str = "dead";
/// A member that is alone has joined after so many, and has nothing more after so many that were empty.
const IDLE: usize = 4;
const LIMIT: u32 = 3;

type Value = Vec<u8>;

/// What became of the records of a partition.
#[derive(Clone, Debug, Default)]
pub struct Work {
    accepted: BTreeSet<Value>,
    /// By a word or by wear.
    rejected: BTreeSet<Value>,
    /// How often those were handed out that are not settled.
    counts: BTreeMap<Value, u32>,
    /// How many times more they may have been counted, by commits of which nobody knows what became.
    unknown: u32,
    /// What was committed for certain.
    acknowledged: u64,
}

impl Service {
    /// Acquires to the end, commits, and leaves with some records in its hands.
    pub fn work(&mut self, place: Place) -> Outcome {
        let partition = self.topic(place)?.partition(split(place).1)?;
        let broker = self.broker()?;
        // What waits for its sync is what a commit must not pass.
        broker.ensure_topic(DEAD, config(DEAD).durability(Durability::Os))?;
        let builder = broker.consumer().group(GROUP).dead_letter_topic(DEAD).delivery_count_limit(LIMIT);
        let mut consumer = builder.max_poll_records(2).subscribe([split(place).0])?;
        let mut held = Vec::new();
        let mut idle = 0;
        while idle < IDLE {
            let acquired = consumer.acquire(Duration::ZERO);
            if acquired.as_ref().is_err_and(|error| error.kind() != ErrorKind::NotWritten) {
                self.told.sent(place).work.unknown += 1;
            }
            let records = acquired?;
            idle = if records.is_empty() { idle + 1 } else { 0 };
            let of_partition = records.into_iter().filter(|record| record.partition() == partition.id());
            held.extend(of_partition.filter_map(|record| self.told.sent(place).work.take(record)));
        }
        consumer.commit()?;
        let committed = committed(&consumer, &broker, place)?;
        let sent = self.told.sent(place);
        sent.work.acknowledged = committed;
        sent.synced = sent.synced.max(usize::try_from(committed).unwrap());
        drop(consumer);
        drop(held);
        Ok(())
    }
}

impl Work {
    /// Settles a record, or keeps it.
    fn take(&mut self, record: AcquiredRecord) -> Option<AcquiredRecord> {
        let (value, count) = (record.value().unwrap_or_default().to_vec(), record.delivery_count());
        let before = self.counts.insert(value.clone(), count).unwrap_or_default();
        assert!(count > before, "{record:?} has come {before} times before");
        assert!(
            record.offset() >= self.acknowledged,
            "{record:?}: up to {} it was committed",
            self.acknowledged
        );
        if count == LIMIT {
            self.rejected.insert(value.clone());
        }
        let settled = match (record.offset() % 4, count) {
            (0, _) => {
                self.accepted.insert(value.clone());
                record.accept()
            }
            (1, _) | (2, 2) => {
                self.rejected.insert(value.clone());
                record.reject("of the suite")
            }
            _ => return Some(record),
        };
        settled.unwrap();
        self.counts.remove(&value);
        None
    }
}

impl Work {
    /// Whether a record was rejected, or is worn out, perhaps.
    fn may_reject(&self, value: &Value) -> bool {
        let count = self.counts.get(value).copied().unwrap_or_default();
        self.rejected.contains(value) || count + self.unknown >= LIMIT
    }
}

/// Nothing is committed that was neither accepted nor is in the dead-letter topic, in which there is nothing else.
pub fn check_work(broker: &Broker, place: Place, sent: &Sent, what: &str) {
    let work = &sent.work;
    if work.accepted.is_empty() && work.rejected.is_empty() && work.counts.is_empty() {
        return;
    }
    let fail = |error| panic!("{what}, acquired: {error}");
    let dead = dead_letters(broker, what).unwrap_or_else(fail);
    let builder = broker.consumer().group(GROUP);
    let consumer = builder.subscribe([split(place).0]).unwrap_or_else(|error| panic!("{what}: {error}"));
    let committed = committed(&consumer, broker, place).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(committed >= work.acknowledged, "{what}: {committed} is committed, of {}", work.acknowledged);
    for (offset, value) in sent.values.iter().enumerate().take(usize::try_from(committed).unwrap()) {
        let is_settled = work.accepted.contains(value) || dead.contains(value);
        assert!(is_settled, "{what}: offset {offset} is nowhere, and {committed} is committed");
    }
}

/// What is there was rejected, somewhere.
pub fn check_dead_letters<'a>(broker: &Broker, sent: impl Iterator<Item = &'a Sent> + Clone, what: &str) {
    let dead = dead_letters(broker, what).unwrap_or_else(|error| panic!("{what}: {error}"));
    let is_rejected =
        |value: &Value| sent.clone().any(|sent| sent.values.contains(value) && sent.work.may_reject(value));
    assert!(dead.iter().all(is_rejected), "{what}: a dead letter was never rejected");
}

fn dead_letters(broker: &Broker, what: &str) -> Result<BTreeSet<Value>> {
    match broker.topic(DEAD).and_then(|topic| topic.partition(0)) {
        Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition => Ok(BTreeSet::new()),
        dead => Ok(values_of(&dead?, what)?.into_iter().collect()),
    }
}

fn committed(consumer: &Consumer, broker: &Broker, place: Place) -> Result<u64> {
    let (name, number) = split(place);
    let committed = consumer.committed(&broker.topic(name)?.partition(number)?)?;
    Ok(committed.map_or(0, |committed| committed.position().offset()))
}
