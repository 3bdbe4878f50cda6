//! Sending records.

mod delivery;
#[expect(clippy::module_inception, reason = "the folder is the layer, the file is its noun")]
mod producer;
#[cfg(test)]
mod tests;

pub use delivery::{Delivery, RecordMetadata};
pub use producer::{Producer, TopicProducer};
