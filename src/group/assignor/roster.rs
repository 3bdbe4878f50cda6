//! The members and partitions of one assignment, numbered, so that what is decided is decided over plain numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::group::{MemberId, TopicPartition};

use super::{PartitionCounts, Shares, Subscriber, Subscribers};

/// Members are numbered by their ids, partitions by topic and number.
#[derive(Debug)]
pub struct Roster<'a> {
    members: Vec<(&'a MemberId, &'a Subscriber)>,
    topics: Vec<Topic<'a>>,
    partitions: usize,
}

/// A topic that exists, and that somebody subscribes to.
#[derive(Debug)]
pub struct Topic<'a> {
    name: &'a Arc<str>,
    /// The number of its partition 0.
    first: usize,
    partitions: u32,
    /// Its subscribers, in their order.
    pub subscribers: Vec<usize>,
}

/// For each partition the member that gets it.
pub type Owners = Vec<Option<usize>>;

impl<'a> Roster<'a> {
    pub fn new(members: &'a Subscribers, partitions: &'a PartitionCounts) -> Self {
        let members: Vec<_> = members.iter().collect();
        let mut subscribers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, (_, subscriber)) in members.iter().enumerate() {
            for topic in &subscriber.topics {
                subscribers.entry(topic).or_default().push(number);
            }
        }
        let mut roster = Self { members, topics: Vec::new(), partitions: 0 };
        for (name, &partitions) in partitions {
            let Some(subscribers) = subscribers.remove(name.as_ref()) else { continue };
            roster.topics.push(Topic { name, first: roster.partitions, partitions, subscribers });
            roster.partitions += partitions as usize;
        }
        roster
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// How many partitions there are to share out.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    pub fn topics(&self) -> &[Topic<'a>] {
        &self.topics
    }

    /// What each member says of itself, in the order of the members.
    pub fn subscribers(&self) -> impl Iterator<Item = &'a Subscriber> {
        self.members.iter().map(|(_, subscriber)| *subscriber)
    }

    /// Whether every member subscribes to every topic.
    pub fn is_uniform(&self) -> bool {
        self.topics.iter().all(|topic| topic.subscribers.len() == self.members.len())
    }

    /// The number of a partition; `None` if it is gone, or nobody subscribes to its topic.
    pub fn number_of(&self, partition: &TopicPartition) -> Option<usize> {
        let found = self.topics.binary_search_by(|topic| topic.name.as_ref().cmp(&partition.topic)).ok()?;
        let topic = self.topics.get(found)?;
        (partition.partition < topic.partitions).then(|| topic.first + partition.partition as usize)
    }

    /// The number of a partition's topic.
    pub fn topic_of(&self, partition: usize) -> usize {
        // Topics without partitions begin where the next one begins.
        self.topics.partition_point(|topic| topic.first <= partition) - 1
    }

    /// The partition's number in its topic.
    pub fn place_in_topic(&self, partition: usize) -> usize {
        partition - self.topics[self.topic_of(partition)].first
    }

    /// Who gets what, by name.
    pub fn shares(&self, owners: &Owners) -> Shares {
        let mut shares = vec![Vec::new(); self.members.len()];
        for topic in &self.topics {
            for (partition, owner) in (0..topic.partitions).zip(&owners[topic.first..]) {
                if let Some(owner) = owner {
                    shares[*owner].push(TopicPartition::new(Arc::clone(topic.name), partition));
                }
            }
        }
        self.members.iter().map(|(id, _)| (*id).clone()).zip(shares).collect()
    }
}

impl Topic<'_> {
    /// The numbers of its partitions.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.partitions as usize
    }
}
