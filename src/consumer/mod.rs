//! Reading several partitions at their own pace.

mod acquired_records;
mod acquiring;
mod assigned;
mod begun;
mod builder;
mod commit;
mod committing;
#[expect(clippy::module_inception, reason = "the folder is the layer, the file is its noun")]
mod consumer;
mod dead_letters;
mod listener;
mod membership;
mod offset_and_metadata;
mod records;
mod share_partition;
#[cfg(feature = "async")]
mod stream;
mod subscribed;

pub use acquired_records::{AcquiredRecord, AcquiredRecords};
pub use builder::ConsumerBuilder;
pub use commit::Commit;
pub use consumer::Consumer;
pub use listener::{Committer, RebalanceListener};
pub use offset_and_metadata::OffsetAndMetadata;
pub use records::{ConsumerRecord, ConsumerRecordIter, ConsumerRecords};
#[cfg(feature = "async")]
pub use stream::ConsumerStream;
pub use subscribed::OffsetReset;
