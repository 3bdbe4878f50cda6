//! A service in its lives: what it does with its broker, writing down what it is told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, open_on, open_ticked_on};
use ottla::{Broker, ManualClock, Record, Topic, TopicConfig};

use crate::support::{ROOT, options};
use crate::told::{INTERVAL, Outcome, Told, is_synced, split};

/// What a service does in its lives, and what it was told.
pub struct Service<'a> {
    pub vfs: &'a MemoryVfs,
    pub broker: Broker,
    pub clock: ManualClock,
    pub told: &'a mut Told,
    /// How it opens its broker.
    pub open: Opening,
}

pub type Opening = fn(&MemoryVfs, &ManualClock) -> ottla::Result<Broker>;

impl Service<'_> {
    pub fn topic(&mut self, name: &'static str) -> ottla::Result<Topic> {
        self.told.topics.entry(name).or_default();
        let topic = self.broker.ensure_topic(split(name).0, self.told.config(name))?;
        self.told.topics.entry(name).or_default().created = true;
        Ok(topic)
    }

    /// Sends records of these sizes, and waits for the last one.
    pub fn send(&mut self, name: &'static str, sizes: &[usize]) -> Outcome {
        let topic = self.topic(name)?;
        let mut deliveries = Vec::new();
        for size in sizes {
            let sent = self.told.topics.entry(name).or_default();
            let number = u8::try_from(sent.values.len()).unwrap();
            let value = vec![number + 1; *size];
            let delivery = topic.producer().send(Record::new(&value).partition(split(name).1))?;
            assert_eq!(delivery.offset(), sent.values.len() as u64);
            sent.values.push(value);
            deliveries.push(delivery);
        }
        // The last first: it leads for all of them.
        deliveries.reverse();
        let outcomes: Vec<_> =
            deliveries.into_iter().map(|delivery| (delivery.offset(), delivery.wait())).collect();
        outcomes.into_iter().rev().try_for_each(|(offset, outcome)| self.told.outcome(name, offset, outcome))
    }

    /// Sends records of these sizes as one batch, and waits for it.
    pub fn send_batch(&mut self, name: &'static str, sizes: &[usize]) -> Outcome {
        let topic = self.topic(name)?;
        let sent = self.told.topics.entry(name).or_default();
        let first = sent.values.len();
        let numbered = (first..).zip(sizes);
        let values: Vec<_> =
            numbered.map(|(number, size)| vec![u8::try_from(number + 1).unwrap(); *size]).collect();
        let records: Vec<_> = values.iter().map(Record::new).collect();
        let delivery = topic.producer().send_batch(&records)?;
        sent.values.extend(values);
        sent.batches.push(first..first + sizes.len());
        let outcome = delivery.wait();
        let acknowledged = outcome.is_ok();
        self.told.outcome(name, first as u64, outcome)?;
        if acknowledged {
            self.told.topics.entry(name).or_default().acknowledged = first + sizes.len();
        }
        Ok(())
    }

    pub fn delete(&mut self, name: &'static str) -> Outcome {
        self.told.maybe_deleted.insert(name);
        self.broker.delete_topic(name)?;
        self.told.maybe_deleted.remove(name);
        self.told.topics.remove(name);
        Ok(())
    }

    /// Alters a topic, its number of partitions perhaps; after a failure it goes on as it was.
    pub fn alter(&mut self, name: &'static str, change: fn(TopicConfig) -> TopicConfig) -> Outcome {
        self.topic(name)?;
        let before = self.told.config(name);
        let after = change(before.clone());
        self.told.altered.insert(name, (before.clone(), Some(after.clone())));
        self.broker.alter_topic(name, after.clone())?;
        if is_synced(&before) || is_synced(&after) {
            let places = self.told.topics.iter_mut().filter(|(place, _)| split(place).0 == name);
            places.for_each(|(_, sent)| sent.synced = sent.acknowledged);
        }
        self.told.altered.insert(name, (after, None));
        Ok(())
    }

    pub fn reopen(&mut self) -> Outcome {
        self.broker.close(Duration::from_secs(10))?;
        self.told.topics.values_mut().for_each(|sent| sent.synced = sent.acknowledged);
        self.broker = (self.open)(self.vfs, &self.clock)?;
        Ok(())
    }

    /// Has everything synced that was sent to a topic.
    pub fn sync(&mut self, name: &'static str) -> Outcome {
        self.topic(name)?.producer().synced().flush()?;
        let sent = self.told.topics.entry(name).or_default();
        sent.synced = sent.acknowledged;
        Ok(())
    }

    /// Lets the interval of an interval topic pass, and learns from the next record whether the sync has failed.
    pub fn pass_interval(&mut self, name: &'static str) -> Outcome {
        self.clock.advance(INTERVAL);
        self.broker.tick()?;
        let synced = self.told.topics.entry(name).or_default().acknowledged;
        self.send(name, &[30])?;
        self.told.topics.entry(name).or_default().synced = synced;
        Ok(())
    }
}

pub fn open(vfs: &MemoryVfs) -> ottla::Result<Broker> {
    open_at(vfs, &ManualClock::at(1_700_000_000_000))
}

pub fn open_at(vfs: &MemoryVfs, clock: &ManualClock) -> ottla::Result<Broker> {
    open_on(options().clock(clock.clock()), Arc::new(vfs.clone()), Path::new(ROOT))
}

/// As with threads that do what follows a roll, in the ticks of the script.
pub fn open_ticked(vfs: &MemoryVfs, clock: &ManualClock) -> ottla::Result<Broker> {
    open_ticked_on(options().clock(clock.clock()), Arc::new(vfs.clone()), Path::new(ROOT))
}
