//! A data directory that is only read: topics and partitions as they stand, without an owner, and around what is damaged.
//!
//! Nothing is taken over, repaired, written or locked. What is read is what is proven to be durable, or, where a topic
//! promises less than that, what readers could see; each damaged place is an item of its own. The walk over damaged logs
//! is that of verification and salvage ([`LogWalk`](super::log_walk::LogWalk)).
//!
//! Nobody is locked out, so that an owner may come at any time. What is handed out was read before a look at the directory
//! that found it unchanged and without an owner; else the reading ends with an error.

mod batches;
mod broker;
mod found_log;
mod partition;
mod partition_walk;
mod piece;
mod time_search;
mod topic;
mod transactions;

pub use batches::ReadOnlyBatches;
pub use broker::ReadOnlyBroker;
pub use partition::ReadOnlyPartition;
pub use piece::Piece;
pub use topic::ReadOnlyTopic;
