//! Settings of a topic, by Kafka's names.

use ottla::TopicConfig;

use crate::failure::Failure;

pub fn with_settings(config: TopicConfig, settings: &[(String, String)]) -> Result<TopicConfig, Failure> {
    Ok(settings.iter().try_fold(config, |config, (name, value)| config.set(name, value))?)
}
