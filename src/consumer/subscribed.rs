//! What a consumer in a group knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::begun::Begun;
use super::commit::Commit;
use super::listener::{self, RebalanceListener};
use crate::broker::{Broker, Membership, MembershipSettings};
use crate::error::{Error, Result};
use crate::group::{Generation, TopicPartition};
use crate::sync::Signal;

/// What a consumer in a group knows of it.
pub struct Subscribed {
    pub membership: Membership,
    pub settings: GroupSettings,
    pub subscription: Subscription,
    /// What it wants to read now.
    pub topics: BTreeSet<Arc<str>>,
    pub listener: Option<Box<dyn RebalanceListener>>,
    /// The generation in which it was given what it has; `None` before the first, and once it was lost.
    pub generation: Option<Generation>,
    /// What it was given and could not take over so far, and why; `None` if it is only not known yet where the group stands.
    pub untaken: BTreeMap<TopicPartition, Option<Error>>,
    /// When it is to join, if it is.
    pub join_at: Option<Duration>,
    /// When it is to commit by itself, if it does.
    pub commit_at: Option<Duration>,
    /// Whether a poll may wait for the disk; that of a stream may not, and begins commits instead.
    pub may_wait: bool,
    pub begun: Vec<Begun>,
    /// A commit of the group's that is under way, for which a stream waits.
    pub under_way: Option<Commit>,
}

/// What a consumer subscribes to.
pub enum Subscription {
    Topics,
    /// Every topic with a name of which this is true.
    Matching(Box<dyn Fn(&str) -> bool + Send + Sync>),
}

/// What a consumer asks for that has a group.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    pub group: Option<String>,
    pub membership: MembershipSettings,
    pub auto_commit: Option<Duration>,
    pub reset: Option<OffsetReset>,
    pub delivery: DeliverySettings,
}

/// How often records are handed out that are acquired, and where they go then.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    pub count_limit: Option<u32>,
    pub dead_letter_topic: Option<String>,
}

impl DeliverySettings {
    /// Whether anything of it was asked for.
    pub fn is_set(&self) -> bool {
        self.count_limit.is_some() || self.dead_letter_topic.is_some()
    }
}

/// Where a consumer in a group begins if nothing is committed, or if what is cannot be read from (Kafka: `auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetReset {
    /// At the log start offset.
    Earliest,
    /// At the end: what was sent before is never read.
    Latest,
}

impl Subscribed {
    pub fn new(
        broker: &Broker,
        settings: GroupSettings,
        subscription: Subscription,
        topics: BTreeSet<Arc<str>>,
        signal: &Arc<Signal>,
    ) -> Result<Self> {
        let group = settings.group.as_deref().unwrap_or_default();
        let membership = Membership::new(broker.shared(), group, settings.membership, signal)?;
        let commit_at =
            settings.auto_commit.map(|interval| broker.clock().monotonic().saturating_add(interval));
        let mut subscribed = Self {
            membership,
            settings,
            subscription,
            topics,
            listener: None,
            generation: None,
            untaken: BTreeMap::new(),
            join_at: Some(Duration::ZERO),
            commit_at,
            may_wait: true,
            begun: Vec::new(),
            under_way: None,
        };
        subscribed.look_at_topics(broker)?;
        Ok(subscribed)
    }

    pub fn is_cooperative(&self) -> bool {
        self.settings.membership.assignor.is_cooperative()
    }

    /// It is to join at this time, or earlier.
    pub fn join(&mut self, at: Duration) {
        self.join_at = Some(self.join_at.map_or(at, |before| before.min(at)));
    }

    /// Takes up the topics that match now; true if they are others than before.
    pub fn look_at_topics(&mut self, broker: &Broker) -> Result<bool> {
        let Subscription::Matching(matches) = &self.subscription else { return Ok(false) };
        let mut topics = BTreeSet::new();
        let dead_letters = self.settings.delivery.dead_letter_topic.as_deref();
        for topic in broker.topics()? {
            // Whatever the pattern says: what is rejected would be handed out again and again.
            if Some(topic.name()) == dead_letters {
                continue;
            }
            if listener::call("the pattern of a subscription", || matches(topic.name()))? {
                topics.insert(Arc::from(topic.name()));
            }
        }
        let have_changed = topics != self.topics;
        self.topics = topics;
        Ok(have_changed)
    }
}
