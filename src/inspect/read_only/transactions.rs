//! How the transactions of a log ended, as far as its damage lets that be known.
//!
//! A transaction ends with a marker of its producer. Between a batch and its marker there must be no gap: it could hold that
//! marker, and the next transaction's beginning.

use std::collections::HashMap;
use std::sync::Arc;

use super::found_log::FoundLog;
use super::partition_walk::{PartitionWalk, Passed};
use crate::error::Result;
use crate::model::Offset;
use crate::record_batch::{ControlRecord, RecordBatch};

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    Aborted,
    /// What tells it is damaged.
    Unknown,
}

/// The transactions of a partition.
#[derive(Debug, Default)]
pub struct Transactions {
    /// Those of a producer in their order.
    ended: HashMap<i64, Vec<Transaction>>,
    /// Where those begin that have not ended, by producer.
    open: HashMap<i64, Offset>,
}

/// From the first batch that was seen of it.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    first: Offset,
    outcome: Outcome,
}

impl Transactions {
    /// Reads what Kafka has written of the log.
    pub fn of(log: &Arc<FoundLog>) -> Result<Self> {
        let end = log.ends_at.map(|_| log.end.min(log.place.kafka_end));
        let mut walk = PartitionWalk::new(Arc::clone(log), log.log_start, end);
        let mut transactions = Self::default();
        while let Some(passed) = walk.step()? {
            match passed {
                Passed::Gap(_) => transactions.doubt(),
                Passed::Batch(found) => {
                    let header = &found.header;
                    let marker = match header.attributes.is_control() {
                        // A marker that cannot be read is one that nobody knows.
                        true => found.batch().ok().and_then(RecordBatch::control_record),
                        false => None,
                    };
                    transactions.take(header.producer_id, header.transaction(), header.base_offset, marker);
                }
            }
        }
        Ok(transactions)
    }

    fn take(
        &mut self,
        producer: i64,
        transaction: Option<i64>,
        offset: Offset,
        marker: Option<ControlRecord>,
    ) {
        match marker {
            Some(ControlRecord::Commit { .. }) => self.end(producer, Outcome::Committed),
            Some(ControlRecord::Abort { .. }) => self.end(producer, Outcome::Aborted),
            Some(ControlRecord::Other { .. }) | None => {
                if let Some(producer) = transaction {
                    self.open.entry(producer).or_insert(offset);
                }
            }
        }
    }

    fn end(&mut self, producer: i64, outcome: Outcome) {
        if let Some(first) = self.open.remove(&producer) {
            self.ended.entry(producer).or_default().push(Transaction { first, outcome });
        }
    }

    /// Of those that are open nobody knows any more.
    fn doubt(&mut self) {
        for (producer, first) in std::mem::take(&mut self.open) {
            let unknown = Transaction { first, outcome: Outcome::Unknown };
            self.ended.entry(producer).or_default().push(unknown);
        }
    }

    /// How the transaction has ended that a batch at this offset is part of. One that is open is not asked for: reading ends
    /// before it.
    pub fn ended_as(&self, producer: i64, offset: Offset) -> Outcome {
        let ended = self.ended.get(&producer).map(Vec::as_slice).unwrap_or_default();
        let behind = ended.partition_point(|transaction| transaction.first <= offset);
        let found = behind.checked_sub(1).and_then(|at| ended.get(at));
        found.map_or(Outcome::Unknown, |transaction| transaction.outcome)
    }

    /// Where the oldest begins that has not ended.
    pub fn first_open(&self) -> Option<Offset> {
        self.open.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Option<ControlRecord> = Some(ControlRecord::Commit { coordinator_epoch: 0 });
    const ABORT: Option<ControlRecord> = Some(ControlRecord::Abort { coordinator_epoch: 0 });

    #[test]
    fn a_transaction_ends_with_the_next_marker_unless_a_gap_lies_between() {
        let mut all = Transactions::default();
        all.take(1, Some(1), 0, None);
        all.take(2, Some(2), 1, None);
        all.take(1, None, 2, ABORT);
        all.take(1, Some(1), 3, None);
        all.doubt();
        all.take(1, Some(1), 10, None);
        all.take(1, None, 11, COMMIT);
        all.take(2, None, 12, COMMIT);
        all.take(3, Some(3), 13, None);
        let outcomes =
            [(1, 0), (1, 3), (1, 10), (2, 1), (4, 5)].map(|(producer, at)| all.ended_as(producer, at));
        use Outcome::{Aborted, Committed, Unknown};
        assert_eq!(outcomes, [Aborted, Unknown, Committed, Unknown, Unknown]);
        assert_eq!(all.first_open(), Some(13));
    }
}
