//! What a service was told of what it did: the only thing that an image is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use ottla::{Durability, ErrorKind, TopicConfig};

/// By place, which is a partition, written `topic/partition`, or the first one of a `topic`: what was sent, in order,
/// and how many of it were acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub topics: BTreeMap<&'static str, Sent>,
    /// By topic, once it was altered: its configuration, and one that it may have instead, since nobody has said
    /// whether the alteration was done.
    pub altered: BTreeMap<&'static str, (TopicConfig, Option<TopicConfig>)>,
    /// A deletion that was begun and not acknowledged: the topic may be there or not.
    pub maybe_deleted: BTreeSet<&'static str>,
}

#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub created: bool,
    pub values: Vec<Vec<u8>>,
    pub acknowledged: usize,
    /// How many of them were synced for certain, where that is not the same.
    pub synced: usize,
    /// What was sent as one batch: all of it is there, or none.
    pub batches: Vec<Range<usize>>,
}

pub type Outcome = ottla::Result<()>;

/// What ended a life, and so what has to be left of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process died: the operating system still has everything.
    Kill,
    /// The power failed, or the disk has lost what it was to sync.
    PowerCut,
}

/// The topic and the partition of a place.
pub fn split(place: &str) -> (&str, u32) {
    place.split_once('/').map_or((place, 0), |(topic, partition)| (topic, partition.parse().unwrap()))
}

pub fn is_synced(config: &TopicConfig) -> bool {
    config.get("durability").as_deref() == Some("synced")
}

/// Topics are named after their level.
pub fn config(name: &str) -> TopicConfig {
    let level = match name {
        "os" => Durability::Os,
        "interval" => Durability::Interval(INTERVAL),
        _ => Durability::Synced,
    };
    TopicConfig::new().segment_bytes(1024).durability(level)
}

pub const INTERVAL: Duration = Duration::from_millis(100);

impl Told {
    /// The configuration that a topic has, as far as anybody has said.
    pub fn config(&self, place: &str) -> TopicConfig {
        let topic = split(place).0;
        self.altered.get(topic).map_or_else(|| config(topic), |(config, _)| config.clone())
    }

    /// How many records of a place have to be there.
    pub fn promised(&self, place: &str, end: End) -> usize {
        let sent = &self.topics[place];
        if is_synced(&self.config(place)) || end == End::Kill { sent.acknowledged } else { sent.synced }
    }

    /// What became of the record at an offset: acknowledged, not written, or nobody knows.
    pub fn outcome<T>(&mut self, name: &'static str, offset: u64, outcome: ottla::Result<T>) -> Outcome {
        let sent = self.topics.entry(name).or_default();
        let number = usize::try_from(offset).unwrap();
        match outcome {
            Ok(_) => sent.acknowledged = sent.acknowledged.max(number + 1),
            Err(error) => {
                if error.kind() == ErrorKind::NotWritten {
                    // Never to be read: the offset is another record's from now on.
                    sent.values.truncate(number);
                    sent.batches.retain(|batch| batch.end <= number);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
