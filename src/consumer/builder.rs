//! What a consumer reads.

use super::Consumer;
use crate::broker::{Broker, Partition};
use crate::error::Result;

/// The settings of a [`Consumer`]; made by [`Broker::consumer`].
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    broker: Broker,
}

impl Broker {
    /// The settings with which to make a consumer.
    #[must_use]
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder { broker: self.clone() }
    }
}

impl ConsumerBuilder {
    /// A consumer of these partitions, which begins at each log start offset. A partition that is named twice
    /// is read once.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for no partitions; [`Closed`](crate::ErrorKind::Closed);
    /// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a topic that was deleted.
    pub fn assign(self, partitions: impl IntoIterator<Item = Partition>) -> Result<Consumer> {
        Consumer::assign(self.broker, partitions)
    }
}
