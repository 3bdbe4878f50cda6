//! One partition: its segments in order, the batch that is being filled, and the ends up to which records are
//! assigned, written and durable. It knows no other partition, no topic list, and starts no thread.

mod accumulator;
mod append;
mod commit;
mod leader_epoch;
mod listeners;
mod log;
mod reader;
mod recovery;
mod stop;
#[cfg(test)]
mod tests;
mod writer;

pub use leader_epoch::LeaderEpochs;
pub use log::{Assigned, LastStop, LogContext, PartitionLog};
pub use reader::BatchReader;
pub use recovery::{Cut, Plan, apply, plan, settle};
