//! Who gets which partition: Kafka's assignors, each a pure function.
//!
//! The members of an assignment are taken in the order of their ids. (Kafka puts static members, by their instance ids, in front:
//! there are none here so far.) Partitions are taken in the order of topic and number, unless a step says otherwise.

mod claims;
mod constrained;
mod cooperative;
mod general;
mod range;
mod roster;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::group::{Generation, MemberId, TopicPartition};

use self::roster::Roster;

/// How the partitions are shared out: `partition.assignment.strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// `range`: of each topic, each member gets partitions that follow on each other. What a member had before does not count,
    /// and everybody stops while the partitions move.
    Range,
    /// `cooperative-sticky`: as even as can be, and a member keeps what it has where that is fair. A partition changes hands in
    /// two rounds: in the first its owner gives it back, in the second another one gets it. The others go on.
    CooperativeSticky,
}

/// What the assignor knows of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// The topics that it wants to read. Those that do not exist are passed over.
    pub topics: BTreeSet<Arc<str>>,
    /// The partitions that it has, and keeps until it is told otherwise.
    pub owned: BTreeSet<TopicPartition>,
    /// The generation in which it was given them; `None` is older than any.
    pub generation: Option<Generation>,
}

/// The members of the group.
pub type Subscribers = BTreeMap<MemberId, Subscriber>;

/// How many partitions each topic has.
pub type PartitionCounts = BTreeMap<Arc<str>, u32>;

/// The partitions of each member, sorted; a member that gets none stands there too.
pub type Shares = BTreeMap<MemberId, Vec<TopicPartition>>;

impl Assignor {
    /// Every assignor, in the order in which Kafka's clients prefer them.
    pub const ALL: [Self; 2] = [Self::Range, Self::CooperativeSticky];

    /// The name that members agree on.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of a name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Whether members keep their partitions while they join, and give back only what the assignment takes from them.
    #[must_use]
    pub fn is_cooperative(self) -> bool {
        match self {
            Self::Range => false,
            Self::CooperativeSticky => true,
        }
    }

    /// Shares out the partitions of the topics that anybody subscribes to.
    ///
    /// A cooperative assignor leaves out what has to be given back first: whoever gave something back joins again, and the
    /// assignment of that round hands it out.
    #[must_use]
    pub fn assign(self, members: &Subscribers, partitions: &PartitionCounts) -> Shares {
        let roster = Roster::new(members, partitions);
        let owners = match self {
            Self::Range => range::assign(&roster),
            Self::CooperativeSticky => cooperative::assign(&roster),
        };
        roster.shares(&owners)
    }
}
