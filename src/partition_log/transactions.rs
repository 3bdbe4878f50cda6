//! Which transactions were committed, which aborted, and which are open.
//!
//! The log is the only authority: a transaction ends with a marker of its producer, and where a reader comes upon records
//! of one, it looks ahead for that ([`Outcomes`]). Where the open ones begin, and so the last stable offset, a
//! producer snapshot tells, which has a checksum, and what was written after it ([`left_open`]). The transaction
//! indexes have none, and nothing is concluded from them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::cursor::Cursor;
use super::{Life, PartitionLog, producer_snapshots};
use crate::error::Result;
use crate::model::Offset;
use crate::producer_snapshot::ProducerSnapshot;
use crate::record_batch::{BatchHeader, Codecs, ControlRecord, RecordBatch};
use crate::segment::{AbortedTransaction, BatchScan, SealedSegment, SegmentDir};

/// A transaction that a Kafka broker has left open in a partition, and that nobody has ended since.
///
/// Its producer began it, and the broker was stopped, or lost, before the transaction coordinator wrote how it ended. In a
/// directory that was taken over no coordinator will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenTransaction {
    /// The producer.
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: Offset,
}

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    Aborted,
    /// Not below the high watermark.
    Open,
}

/// How the transactions ended that lie ahead of a reader, as far as it had to look.
#[derive(Debug)]
pub struct Outcomes {
    /// The markers ahead, those of a producer in their order.
    markers: HashMap<i64, VecDeque<Marker>>,
    count: usize,
    /// Stands behind the last batch of which every marker was kept.
    all: Cursor,
}

#[derive(Clone, Copy, Debug)]
struct Marker {
    offset: Offset,
    outcome: Outcome,
}

/// So many markers are kept; behind a transaction that is open for long there may be any number. What is looked for
/// beyond them is looked for alone.
const MOST_MARKERS: usize = 16 * 1024;

impl Outcomes {
    /// For a reader that stands at `offset`.
    pub fn from(offset: Offset) -> Self {
        Self { markers: HashMap::new(), count: 0, all: Cursor::at(offset) }
    }

    /// How the transaction of `producer` ended that `batch` is part of, by what lies below `until`; the batch has been
    /// checked.
    pub fn of(
        &mut self,
        producer: i64,
        batch: &BatchHeader,
        log: &PartitionLog,
        life: &Life,
        until: Offset,
    ) -> Result<Outcome> {
        self.pass(producer, batch.base_offset);
        if let Some(marker) = self.markers.get(&producer).and_then(VecDeque::front) {
            return Ok(marker.outcome);
        }
        while self.count < MOST_MARKERS {
            let Some((of, marker)) = next_marker(&mut self.all, log, life, until)? else {
                return Ok(Outcome::Open);
            };
            if marker.offset < batch.base_offset {
                // The reader was there before it looked ahead.
                continue;
            }
            self.keep(of, marker);
            if of == producer {
                return Ok(marker.outcome);
            }
        }
        self.look_for(producer, batch, log, life, until)
    }

    /// The same without keeping anybody else's marker.
    fn look_for(
        &mut self,
        producer: i64,
        batch: &BatchHeader,
        log: &PartitionLog,
        life: &Life,
        until: Offset,
    ) -> Result<Outcome> {
        let mut cursor = Cursor::at(self.all.offset().max(batch.next_offset()));
        while let Some((of, marker)) = next_marker(&mut cursor, log, life, until)? {
            if of == producer {
                self.keep(of, marker);
                return Ok(marker.outcome);
            }
        }
        Ok(Outcome::Open)
    }

    fn keep(&mut self, producer: i64, marker: Marker) {
        let markers = self.markers.entry(producer).or_default();
        if markers.back().is_none_or(|last| last.offset < marker.offset) {
            markers.push_back(marker);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Forgets a producer's markers below an offset, which the reader has passed.
    pub fn pass(&mut self, producer: i64, offset: Offset) {
        let Some(markers) = self.markers.get_mut(&producer) else { return };
        while markers.front().is_some_and(|marker| marker.offset < offset) {
            markers.pop_front();
            self.count = self.count.saturating_sub(1);
        }
        if markers.is_empty() {
            self.markers.remove(&producer);
        }
    }
}

/// The next end of a transaction, with its producer, moved past; `None` below `until`.
fn next_marker(
    cursor: &mut Cursor,
    log: &PartitionLog,
    life: &Life,
    until: Offset,
) -> Result<Option<(i64, Marker)>> {
    while cursor.peek(log, life, until)?.is_some() {
        // Checked whatever it is: damage may have made a marker into something else.
        let Some((header, bytes)) = cursor.take_unread()? else { break };
        let marker = marker_in(&header, bytes, &log.context.codecs)?;
        if let Some(outcome) = marker.and_then(outcome_of) {
            return Ok(Some((header.producer_id, Marker { offset: header.base_offset, outcome })));
        }
    }
    Ok(None)
}

/// The marker that a batch is, if it is one.
pub fn marker_in(header: &BatchHeader, bytes: Bytes, codecs: &Codecs) -> Result<Option<ControlRecord>> {
    if !header.attributes.is_control() {
        return Ok(None);
    }
    Ok(RecordBatch::parse(bytes, codecs)?.control_record())
}

/// What a marker says of its producer's transaction.
fn outcome_of(marker: ControlRecord) -> Option<Outcome> {
    match marker {
        ControlRecord::Commit { .. } => Some(Outcome::Committed),
        ControlRecord::Abort { .. } => Some(Outcome::Aborted),
        ControlRecord::Other { .. } => None,
    }
}

/// The transactions that were open when the Kafka broker left the partition at `end`, the oldest first. Of what is written
/// since there are none.
pub fn left_open(
    dir: &SegmentDir,
    codecs: &Codecs,
    bases: &[Offset],
    log_start: Offset,
    end: Offset,
) -> Result<Vec<OpenTransaction>> {
    if end == 0 {
        return Ok(Vec::new());
    }
    let (from, snapshot) =
        producer_snapshots::newest(dir, end)?.unwrap_or((log_start, ProducerSnapshot::default()));
    let mut open = OpenTransactions::of(&snapshot);
    for (base, from) in replayed(bases, from, end) {
        open.replay(SealedSegment::new(dir.clone(), base, 0).scan_from(from)?, end, codecs)?;
    }
    Ok(open.listed())
}

/// The segments that hold what lies between two offsets, each with where to begin in it.
fn replayed(bases: &[Offset], from: Offset, end: Offset) -> impl Iterator<Item = (Offset, Offset)> {
    let first = bases.partition_point(|base| *base <= from).saturating_sub(1);
    let below = bases.iter().skip(first).take_while(move |base| **base < end && from < end);
    below.map(move |base| (*base, from.max(*base)))
}

/// Where the transactions begin that are open, by producer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OpenTransactions(HashMap<i64, Offset>);

impl OpenTransactions {
    /// Those that were open where a snapshot was taken.
    pub fn of(snapshot: &ProducerSnapshot) -> Self {
        let open = snapshot.producers.iter();
        Self(
            open.filter_map(|producer| Some((producer.producer_id, producer.current_txn_first_offset?)))
                .collect(),
        )
    }

    /// Takes in a batch, which may be a marker; returns the transaction that it rolls back.
    pub fn take(
        &mut self,
        header: &BatchHeader,
        marker: Option<ControlRecord>,
    ) -> Option<AbortedTransaction> {
        let (producer_id, last_offset) = (header.producer_id, header.last_offset());
        match marker {
            Some(ControlRecord::Abort { .. }) => {
                let first_offset = self.0.remove(&producer_id)?;
                let last_stable_offset = self.first().unwrap_or(last_offset.saturating_add(1));
                return Some(AbortedTransaction {
                    producer_id,
                    first_offset,
                    last_offset,
                    last_stable_offset,
                });
            }
            Some(ControlRecord::Commit { .. }) => _ = self.0.remove(&producer_id),
            Some(ControlRecord::Other { .. }) | None => {
                if let Some(producer) = header.transaction() {
                    self.0.entry(producer).or_insert(header.base_offset);
                }
            }
        }
        None
    }

    /// Takes in the batches of a scan below `end`.
    fn replay(&mut self, mut scan: BatchScan, end: Offset, codecs: &Codecs) -> Result<()> {
        while scan.peek()?.is_some_and(|header| header.base_offset < end) {
            let Some((header, bytes)) = scan.next_unread()? else { break };
            self.take(&header, marker_in(&header, bytes, codecs)?);
        }
        Ok(())
    }

    /// All of them, the oldest first.
    fn listed(&self) -> Vec<OpenTransaction> {
        let listed = self.0.iter();
        let mut listed: Vec<_> = listed
            .map(|(producer_id, first_offset)| OpenTransaction {
                producer_id: *producer_id,
                first_offset: *first_offset,
            })
            .collect();
        listed.sort_unstable_by_key(|open| (open.first_offset, open.producer_id));
        listed
    }

    fn first(&self) -> Option<Offset> {
        self.0.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer_snapshot::ProducerState;
    use crate::record_batch::HEADER_LEN;

    #[test]
    fn what_was_written_behind_the_snapshot_is_replayed_up_to_the_end() {
        let replayed = |from, end| replayed(&[0, 10, 20], from, end).collect::<Vec<_>>();
        assert_eq!(replayed(0, 25), [(0, 0), (10, 10), (20, 20)]);
        assert_eq!(replayed(12, 25), [(10, 12), (20, 20)]);
        assert_eq!(replayed(12, 20), [(10, 12)], "a segment that begins at the end is ours");
        assert_eq!(replayed(20, 25), [(20, 20)]);
        assert!(replayed(25, 25).is_empty());
    }

    #[test]
    fn a_marker_is_kept_until_its_offset_was_passed() {
        let mut outcomes = Outcomes::from(0);
        let first = |outcomes: &Outcomes, producer| {
            let front = outcomes.markers.get(&producer).and_then(VecDeque::front);
            front.map(|marker| (marker.offset, marker.outcome))
        };
        let (commit, abort) = (Outcome::Committed, Outcome::Aborted);
        outcomes.keep(1, Marker { offset: 10, outcome: commit });
        outcomes.keep(2, Marker { offset: 15, outcome: abort });
        outcomes.keep(1, Marker { offset: 20, outcome: abort });
        outcomes.keep(1, Marker { offset: 20, outcome: commit });
        assert_eq!(outcomes.count, 3, "one that is there already is not kept again");
        for (passed, expected) in
            [(0, (10, commit)), (10, (10, commit)), (11, (20, abort)), (20, (20, abort))]
        {
            outcomes.pass(1, passed);
            assert_eq!(first(&outcomes, 1), Some(expected), "up to {passed}");
            assert_eq!(first(&outcomes, 2), Some((15, abort)), "it is another producer's");
        }
        outcomes.pass(1, 21);
        outcomes.pass(3, 100);
        assert_eq!((first(&outcomes, 1), outcomes.count, outcomes.markers.len()), (None, 1, 1));
    }

    /// A header of a producer's batch, of a transaction or the marker of one.
    fn header(base_offset: Offset, producer: i64, attributes: u8) -> BatchHeader {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[16] = 2;
        bytes[22] = attributes;
        bytes[43..51].copy_from_slice(&producer.to_be_bytes());
        let mut header = BatchHeader::read(&bytes).unwrap();
        header.base_offset = base_offset;
        header
    }

    #[test]
    fn a_transaction_is_open_from_its_first_batch_to_its_marker() {
        const DATA: u8 = 0b1_0000;
        const MARKER: u8 = 0b11_0000;
        let begun = ProducerState { current_txn_first_offset: Some(5), ..ProducerState::new(1, 0) };
        let snapshot = ProducerSnapshot { producers: vec![begun, ProducerState::new(2, 0)] };
        let mut open = OpenTransactions::of(&snapshot);
        assert_eq!(open.first(), Some(5));
        open.take(&header(10, 1, DATA), None);
        open.take(&header(11, 2, DATA), None);
        open.take(&header(12, 2, DATA), None);
        assert_eq!(open.first(), Some(5), "the snapshot knows where it began");
        let begun = |producer_id, first_offset| OpenTransaction { producer_id, first_offset };
        assert_eq!(open.listed(), [begun(1, 5), begun(2, 11)]);
        let abort = Some(ControlRecord::Abort { coordinator_epoch: 0 });
        let aborted = open.take(&header(13, 1, MARKER), abort);
        let expected =
            AbortedTransaction { producer_id: 1, first_offset: 5, last_offset: 13, last_stable_offset: 11 };
        assert_eq!(aborted, Some(expected));
        assert_eq!(open.take(&header(13, 1, MARKER), abort), None, "of nothing that was open");
        assert_eq!(open.first(), Some(11));
        open.take(&header(14, 3, 0), None);
        open.take(&header(15, 2, MARKER), None);
        assert_eq!(open.first(), Some(11), "a marker that says something else");
        let commit = Some(ControlRecord::Commit { coordinator_epoch: 0 });
        assert_eq!(open.take(&header(16, 2, MARKER), commit), None);
        assert_eq!(open.first(), None);
    }
}
