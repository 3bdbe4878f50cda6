//! Reading several partitions at their own pace.

mod assigned;
mod builder;
mod committing;
#[expect(clippy::module_inception, reason = "the folder is the layer, the file is its noun")]
mod consumer;
mod membership;
mod records;
mod subscribed;

pub use builder::ConsumerBuilder;
pub use consumer::Consumer;
pub use records::{ConsumerRecord, ConsumerRecordIter, ConsumerRecords};
