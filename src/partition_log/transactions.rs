//! Which transactions were committed, which aborted, and which are open.
//!
//! The log is the only authority: a transaction ends with a marker of its producer, and where a reader comes upon records
//! of one, it looks ahead for that ([`Outcomes`]). Where the open ones begin, and so the last stable offset, a
//! producer snapshot tells, which has a checksum, and what was written after it ([`first_open`]). The transaction
//! indexes have none, and nothing is concluded from them.

use std::collections::{HashMap, VecDeque};
use std::io;

use bytes::Bytes;

use super::cursor::Cursor;
use super::{Life, LogContext, PartitionLog};
use crate::error::{IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::producer_snapshot::ProducerSnapshot;
use crate::record_batch::{BatchHeader, Codecs, ControlRecord, RecordBatch};
use crate::segment::{BatchScan, SealedSegment};
use crate::vfs::read_file;

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
        if let Some(outcome) = outcome_of(&header, bytes, &log.context.codecs)? {
            return Ok(Some((header.producer_id, Marker { offset: header.base_offset, outcome })));
        }
    }
    Ok(None)
}

/// What a batch says of its producer's transaction, if it is a marker.
fn outcome_of(header: &BatchHeader, bytes: Bytes, codecs: &Codecs) -> Result<Option<Outcome>> {
    if !header.attributes.is_control() {
        return Ok(None);
    }
    Ok(match RecordBatch::parse(bytes, codecs)?.control_record() {
        Some(ControlRecord::Commit { .. }) => Some(Outcome::Committed),
        Some(ControlRecord::Abort { .. }) => Some(Outcome::Aborted),
        Some(ControlRecord::Other { .. }) | None => None,
    })
}

/// Where the oldest transaction begins that was open when the Kafka broker left the partition, if there is one. Of what is
/// written since there are none.
pub fn first_open(context: &LogContext, bases: &[Offset], log_start: Offset) -> Result<Option<Offset>> {
    let end = context.dir.kafka_end();
    if end == 0 {
        return Ok(None);
    }
    let (from, snapshot) = newest_snapshot(context, end)?.unwrap_or((log_start, ProducerSnapshot::default()));
    let mut open = OpenTransactions::of(&snapshot);
    for (base, from) in replayed(bases, from, end) {
        let segment = SealedSegment::new(context.dir.clone(), base, context.config.index_interval_bytes);
        open.replay(segment.scan_from(from)?, end, &context.codecs)?;
    }
    Ok(open.first())
}

/// The segments that hold what lies between two offsets, each with where to begin in it.
fn replayed(bases: &[Offset], from: Offset, end: Offset) -> impl Iterator<Item = (Offset, Offset)> {
    let first = bases.partition_point(|base| *base <= from).saturating_sub(1);
    let below = bases.iter().skip(first).take_while(move |base| **base < end && from < end);
    below.map(move |base| (*base, from.max(*base)))
}

/// The snapshots that tell something of a log which ends at `end`, newest first: what one tells was true when the log
/// ended where its name says, and what lies below that has not changed since. One from above the end tells of what was lost.
fn telling(names: &[impl AsRef<str>], end: Offset) -> Vec<Offset> {
    let offset = |name: &str| match SegmentFile::parse(name)? {
        (SegmentFile::ProducerSnapshot, offset) => Some(offset),
        _ => None,
    };
    let offsets = names.iter().filter_map(|name| offset(name.as_ref()));
    let mut offsets: Vec<Offset> = offsets.filter(|offset| *offset <= end).collect();
    offsets.sort_unstable_by(|one, other| other.cmp(one));
    offsets
}

/// The newest snapshot below `end` that can be read.
fn newest_snapshot(context: &LogContext, end: Offset) -> Result<Option<(Offset, ProducerSnapshot)>> {
    let (vfs, path) = (context.dir.vfs().as_ref(), context.dir.path());
    let entries = vfs.read_dir(path).doing("list", path)?;
    let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    for offset in telling(&names, end) {
        let file = context.dir.file(SegmentFile::ProducerSnapshot, offset);
        match read_file(vfs, &file, MOST_SNAPSHOT) {
            Ok(bytes) => match ProducerSnapshot::decode(&bytes) {
                Ok(snapshot) => return Ok(Some((offset, snapshot))),
                // The one before it, or the log, tells as well.
                Err(_) => continue,
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            Err(error) => return Err(error).doing("read", &file),
        }
    }
    Ok(None)
}

/// More is no snapshot: it takes 46 bytes a producer.
const MOST_SNAPSHOT: u64 = 256 * 1024 * 1024;

/// Where the transactions begin that are open, by producer.
#[derive(Debug, Default, PartialEq, Eq)]
struct OpenTransactions(HashMap<i64, Offset>);

impl OpenTransactions {
    fn of(snapshot: &ProducerSnapshot) -> Self {
        let open = snapshot.producers.iter();
        Self(
            open.filter_map(|producer| Some((producer.producer_id, producer.current_txn_first_offset?)))
                .collect(),
        )
    }

    /// Takes in the batches of a scan below `end`.
    fn replay(&mut self, mut scan: BatchScan, end: Offset, codecs: &Codecs) -> Result<()> {
        while scan.peek()?.is_some_and(|header| header.base_offset < end) {
            let Some((header, bytes)) = scan.next_unread()? else { break };
            self.take(&header, outcome_of(&header, bytes, codecs)?);
        }
        Ok(())
    }

    /// Takes in a batch, which may be a marker.
    fn take(&mut self, header: &BatchHeader, outcome: Option<Outcome>) {
        if outcome.is_some() {
            self.0.remove(&header.producer_id);
        } else if let Some(producer) = header.transaction() {
            self.0.entry(producer).or_insert(header.base_offset);
        }
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
    fn the_newest_snapshot_below_the_end_tells_most() {
        let names = [
            "00000000000000000010.snapshot",
            "00000000000000000030.snapshot",
            "00000000000000000020.snapshot",
            "00000000000000000015.txnindex",
            "00000000000000000020.snapshot.deleted",
            "leader-epoch-checkpoint",
        ];
        assert_eq!(telling(&names, 30), [30, 20, 10]);
        assert_eq!(telling(&names, 29), [20, 10], "30 tells of records that were lost");
        assert!(telling(&names, 9).is_empty());
    }

    #[test]
    fn what_was_written_behind_the_snapshot_is_replayed_up_to_the_end() {
        let replayed = |from, end| replayed(&[0, 10, 20], from, end).collect::<Vec<_>>();
        assert_eq!(replayed(0, 25), [(0, 0), (10, 10), (20, 20)]);
        assert_eq!(replayed(12, 25), [(10, 12), (20, 20)]);
        assert_eq!(replayed(12, 20), [(10, 12)], "a segment that begins at the end is ours");
        assert_eq!(replayed(20, 25), [(20, 20)]);
        assert!(replayed(25, 25).is_empty());
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
        open.take(&header(13, 1, MARKER), Some(Outcome::Aborted));
        assert_eq!(open.first(), Some(11));
        open.take(&header(14, 3, 0), None);
        open.take(&header(15, 2, MARKER), None);
        assert_eq!(open.first(), Some(11), "a marker that says something else");
        open.take(&header(16, 2, MARKER), Some(Outcome::Committed));
        assert_eq!(open.first(), None);
    }
}
