//! Reading several partitions at their own pace.

mod assigned;
mod builder;
mod commit;
mod committing;
#[expect(clippy::module_inception, reason = "the folder is the layer, the file is its noun")]
mod consumer;
mod listener;
mod membership;
mod offset_and_metadata;
mod records;
mod subscribed;

pub use builder::ConsumerBuilder;
pub use commit::Commit;
pub use consumer::Consumer;
pub use listener::{Committer, RebalanceListener};
pub use offset_and_metadata::OffsetAndMetadata;
pub use records::{ConsumerRecord, ConsumerRecordIter, ConsumerRecords};
pub use subscribed::OffsetReset;
