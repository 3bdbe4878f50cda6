//! One partition: its segments in order, the batch that is being filled, and the ends up to which records are
//! assigned, written and durable. It knows no other partition and no topic list.

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
mod upkeep;
mod writer;

pub use commit::Reach;
pub use leader_epoch::LeaderEpochs;
pub use log::{Assigned, LastStop, LogContext, PartitionLog};
pub use reader::BatchReader;
pub use recovery::{Cut, Plan, cut_back, plan, preserve, settle};
pub use stop::check_process;
