//! Whether a Kafka broker's directory is taken over, and as what.

use std::collections::BTreeMap;

use crate::config::{Durability, TopicConfig};
use crate::error::Result;
use crate::model::TopicName;

/// What the caller has said of the topics of a Kafka broker.
#[derive(Clone, Debug, Default)]
pub struct AdoptSettings {
    /// Whether a Kafka broker's directory is taken over.
    pub is_on: bool,
    /// Of the topics that are not named.
    pub default: TopicConfig,
    pub by_topic: BTreeMap<String, TopicConfig>,
}

impl AdoptSettings {
    /// Checks every name and bound.
    pub fn validate(&self) -> Result<()> {
        self.default.validate()?;
        self.by_topic.iter().try_for_each(|(name, config)| {
            TopicName::new(name)?;
            config.validate().map_err(|error| error.in_topic(name))
        })
    }

    /// The configuration of a topic that has so many partitions.
    pub fn config(&self, name: &TopicName, partitions: u32, durability: Durability) -> TopicConfig {
        let config = self.by_topic.get(name.as_str()).unwrap_or(&self.default);
        config.clone().partitions(partitions).or_durability(durability)
    }
}
