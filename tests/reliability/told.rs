//! What a service was told of what it did: the only thing that an image is held against.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use ottla::{Compression, Durability, ErrorKind, Position, TopicConfig};

use crate::acquiring::Work;

/// A partition, written `topic/partition`, or the first one of a `topic`.
pub type Place = &'static str;

/// What was sent, in order, and how many of it were acknowledged; and what was said of the topics.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub topics: BTreeMap<Place, Sent>,
    /// By topic, once it was altered: its configuration, and one that it may have instead, since nobody has said
    /// whether the alteration was done.
    pub altered: BTreeMap<Place, (TopicConfig, Option<TopicConfig>)>,
    /// A deletion that was begun and not acknowledged: the topic may be there or not.
    pub maybe_deleted: BTreeSet<Place>,
    /// Whether the directory was a Kafka broker's, and may be so still.
    pub was_kafkas: bool,
    /// How many deliveries and partitions have failed, and how.
    pub failures: Failures,
    /// How often a group has committed, or what it had was moved or deleted.
    pub commits: u64,
    /// No two records are alike, so that none stands in for another.
    values: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    pub not_written: u64,
    pub indeterminate: u64,
    /// Partitions that a failure had stopped, and that were reopened.
    pub poisons: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub created: bool,
    pub values: Vec<Vec<u8>>,
    pub acknowledged: usize,
    /// How many of them were synced for certain.
    pub synced: usize,
    /// What was sent as one batch: all of it is there, or none.
    pub batches: Vec<Range<usize>>,
    /// Places behind acknowledged records, each with the record before it.
    pub positions: Vec<(Position, Vec<u8>)>,
    /// What the group has committed.
    pub commits: Commits,
    /// What became of the records that another group has acquired.
    pub work: Work,
}

/// The commits of a partition, as offsets.
#[derive(Clone, Debug, Default)]
pub struct Commits {
    /// The one that counts for certain, unless it is one of the next.
    pub acknowledged: u64,
    /// Those behind it of which nobody knows what became.
    pub unknown: Vec<u64>,
    /// All of these with the words beside them; none before anything was committed.
    words: Vec<(u64, String)>,
}

impl Commits {
    /// Whether the group may go on there.
    pub fn allow(&self, offset: u64) -> bool {
        offset == self.acknowledged || self.unknown.contains(&offset)
    }

    /// Whether this may be what is committed, with the words beside it.
    pub fn allow_with(&self, offset: u64, words: &str) -> bool {
        let is_known = self.words.iter().any(|(known, beside)| *known == offset && beside == words);
        is_known || self.has_no_certain() && (offset, words) == (0, "")
    }

    /// Whether anything was committed, or taken back.
    pub fn are_there(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether nothing was ever acknowledged.
    fn has_no_certain(&self) -> bool {
        self.words.len() == self.unknown.len()
    }
}

pub type Outcome = ottla::Result<()>;

/// What ended a life, and so what has to be left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

fn is_synced(config: &TopicConfig) -> bool {
    config.get("durability").as_deref() == Some("synced")
}

/// Topics are named after what they are.
pub fn config(name: &str) -> TopicConfig {
    let config = TopicConfig::new().segment_bytes(1024).index_interval_bytes(200);
    match name {
        "os" => config.durability(Durability::Os),
        "wide" => config.durability(Durability::Os).segment_bytes(16 * 1024),
        "interval" => config.durability(Durability::Interval(INTERVAL)),
        "gzip" => config.compression_type(Compression::Gzip),
        "snappy" => config.compression_type(Compression::Snappy),
        "lz4" => config.compression_type(Compression::Lz4),
        "zstd" => config.compression_type(Compression::Zstd).durability(Durability::Os),
        // Of adopted topics, which are as they are adopted.
        "orders" | "empty" => TopicConfig::new().partitions(if name == "orders" { 2 } else { 1 }),
        _ => config,
    }
}

pub const INTERVAL: Duration = Duration::from_millis(100);

impl Told {
    /// The configuration that a topic has, as far as anybody has said.
    pub fn config(&self, place: &str) -> TopicConfig {
        let topic = split(place).0;
        self.altered.get(topic).map_or_else(|| config(topic), |(config, _)| config.clone())
    }

    /// Whether what is acknowledged is synced, whichever configuration the topic has.
    fn is_synced(&self, place: &str) -> bool {
        let perhaps = self.altered.get(split(place).0).and_then(|(_, perhaps)| perhaps.as_ref());
        self.config(place).get("durability").is_none_or(|level| level == "synced")
            && perhaps.is_none_or(is_synced)
    }

    /// How many records of a place have to be there.
    pub fn promised(&self, place: &str, end: End) -> usize {
        let sent = &self.topics[place];
        if end == End::Kill { sent.acknowledged } else { sent.synced }
    }

    /// What was sent to a place, which may be nothing yet.
    pub fn sent(&mut self, place: Place) -> &mut Sent {
        self.topics.entry(place).or_default()
    }

    /// Puts down a record of this size before it is sent; returns its number and its value.
    pub fn begin(&mut self, place: Place, size: usize) -> (usize, Vec<u8>) {
        self.values += 1;
        let value: Vec<u8> = self.values.to_be_bytes().into_iter().rev().cycle().take(size.max(4)).collect();
        let sent = self.sent(place);
        sent.values.push(value.clone());
        (sent.values.len() - 1, value)
    }

    /// Those from this number on are not there, and are never to be read.
    pub fn take_back(&mut self, place: Place, number: usize) {
        let sent = self.sent(place);
        sent.values.truncate(number);
        sent.batches.retain(|batch| batch.end <= number);
    }

    /// What became of the records up to this number: acknowledged, not written, or nobody knows.
    pub fn outcome<T>(&mut self, place: Place, numbers: Range<usize>, outcome: &ottla::Result<T>) {
        let is_synced = self.is_synced(place);
        match outcome {
            Ok(_) => {
                let sent = self.sent(place);
                sent.acknowledged = sent.acknowledged.max(numbers.end);
                if is_synced {
                    sent.synced = sent.acknowledged;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotWritten => {
                self.failures.not_written += 1;
                self.take_back(place, numbers.start);
            }
            Err(_) => self.failures.indeterminate += 1,
        }
    }

    /// What became of a commit. One that was acknowledged has made what it names durable.
    pub fn committed(&mut self, place: Place, offset: u64, outcome: &Outcome) {
        self.committed_with(place, offset, "", outcome);
    }

    /// The same of one with words beside it.
    pub fn committed_with(&mut self, place: Place, offset: u64, words: &str, outcome: &Outcome) {
        self.commits += 1;
        let sent = self.sent(place);
        let words = (offset, words.to_owned());
        match outcome {
            Ok(()) => {
                sent.commits = Commits { acknowledged: offset, unknown: Vec::new(), words: vec![words] };
                sent.synced = sent.synced.max(usize::try_from(offset).unwrap());
            }
            Err(error) if error.kind() == ErrorKind::NotWritten => {}
            Err(_) => {
                sent.commits.unknown.push(offset);
                sent.commits.words.push(words);
            }
        }
    }

    /// It was to be committed, and was already.
    pub fn still_committed(&mut self, place: Place, offset: u64) {
        let sent = self.sent(place);
        sent.synced = sent.synced.max(usize::try_from(offset).unwrap());
        let Commits { acknowledged, unknown, words } = &mut sent.commits;
        *acknowledged = offset;
        unknown.clear();
        words.retain(|(known, _)| *known == offset);
    }

    /// Everything that was acknowledged in a topic, or anywhere, is synced by now.
    pub fn synced(&mut self, topic: Option<&str>) {
        let is_meant = |place: &str| topic.is_none_or(|topic| split(place).0 == topic);
        let places = self.topics.iter_mut().filter(|(place, _)| is_meant(place));
        places.for_each(|(_, sent)| sent.synced = sent.acknowledged);
    }

    /// A hash of all of it.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }

    /// The power has failed: what it may have taken is no longer promised.
    pub fn cut_power(&mut self) {
        self.topics.values_mut().for_each(|sent| sent.acknowledged = sent.synced);
    }

    /// A topic is gone, as far as it was ever there.
    pub fn forget(&mut self, topic: &str) {
        self.topics.retain(|place, _| split(place).0 != topic);
        self.altered.remove(topic);
        self.maybe_deleted.remove(topic);
    }

    /// Somebody has seen how many records there are: it is these, and no crash takes them back.
    pub fn settle(&mut self, place: Place, count: usize) {
        self.take_back(place, count);
        let sent = self.sent(place);
        (sent.acknowledged, sent.synced) = (count, count);
    }
}
