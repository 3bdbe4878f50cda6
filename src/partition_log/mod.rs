//! One partition: its segments in order, the batch that is being filled, and the ends up to which records are
//! assigned, written and durable. It knows no other partition and no topic list.

mod accumulator;
mod acknowledge;
mod append;
mod buffer;
mod closing;
mod commit;
mod cursor;
mod descriptors;
mod epoch_check;
mod fallbacks;
mod files;
#[cfg(feature = "test-util")]
mod foreign;
mod gap;
mod leader_epoch;
mod life;
mod listeners;
mod log;
pub mod producer_snapshots;
mod reader;
mod recovery;
mod reopen;
mod rolling;
mod scrub;
mod settings;
mod stop;
#[cfg(test)]
mod tests;
mod time_lookup;
mod transactions;
mod unsynced_since;
mod upkeep;
mod urgency;
mod waiting;
mod wakeup;
mod writer;

pub use append::IfFull;
pub use buffer::BufferMemory;
pub use commit::Reach;
pub use epoch_check::{EpochCheck, wrong_epoch};
pub use gap::Gap;
pub use leader_epoch::LeaderEpochs;
pub use life::Life;
pub use log::{Assigned, LastStop, LogContext, PartitionLog, outside_log};
pub use reader::BatchReader;
pub use recovery::{
    Cut, Outcome as RecoveryOutcome, Plan, Tail, cut_back, of_acknowledged, plan, preserve, settle,
    settled_view, tail_of,
};
pub use scrub::SegmentScrub;
pub use settings::Held;
pub use stop::check_process;
pub use transactions::{OpenTransaction, OpenTransactions, left_open, marker_in};
pub use waiting::Registration;
pub use wakeup::{Wakeup, WakeupHandle};
pub use writer::LogEnd;
