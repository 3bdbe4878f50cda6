//! A partition of a consumer that acquires: what of it is handed out, shared with the records that were.

use std::fmt;
use std::sync::Arc;

use crate::broker::METADATA_MAX_BYTES;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Acquisition, DeliveryCounts, InFlight, Rejection};
use crate::model::{Offset, Position};
use crate::partition_log::PartitionLog;
use crate::record_batch::OwnedRecord;
use crate::sync::{Mutex, Signal};

/// What of a partition is handed out, for the consumer and for whoever holds a record of it.
pub struct SharePartition {
    log: Arc<PartitionLog>,
    /// That of the consumer, which has something to do when a record was settled.
    signal: Arc<Signal>,
    state: Mutex<State>,
}

struct State {
    in_flight: InFlight<Arc<OwnedRecord>>,
    /// The partition is the consumer's no longer, or it has gone elsewhere.
    has_ended: bool,
}

/// The consumer's end of it: when that goes, the records that were handed out are nobody's.
pub struct Share {
    shared: Arc<SharePartition>,
    /// What is committed, with the metadata.
    saved: (Offset, Arc<str>),
}

/// How many records of a partition are read and not settled at most (Kafka: `group.share.partition.max.record.locks`, 2000). So few
/// that how often each was handed out fits into the metadata of a commit.
const MAX_IN_FLIGHT: usize = 500;

impl Share {
    /// Of a partition that is read from `start` on, and of which this is committed.
    pub fn new(
        log: Arc<PartitionLog>,
        signal: Arc<Signal>,
        start: Position,
        committed: Option<(Offset, Arc<str>)>,
        limit: u32,
    ) -> Self {
        let saved = committed.unwrap_or_else(|| (start.offset(), "".into()));
        let counts = DeliveryCounts::decode(&saved.1, saved.0);
        let state = State { in_flight: InFlight::new(start, counts, limit), has_ended: false };
        Self { shared: Arc::new(SharePartition { log, signal, state: Mutex::new(state) }), saved }
    }

    pub fn shared(&self) -> &Arc<SharePartition> {
        &self.shared
    }

    /// What is to be committed, and is not.
    pub fn unsaved(&self) -> Option<(Position, Arc<str>)> {
        let state = self.shared.state.lock();
        let position = state.in_flight.commit_point();
        let metadata = state.in_flight.delivery_counts().encode(position.offset(), METADATA_MAX_BYTES);
        let is_saved = self.saved.0 == position.offset() && *self.saved.1 == *metadata;
        (!is_saved).then(|| (position, metadata.into()))
    }

    /// Whether somebody has settled something that is not committed.
    pub fn has_unsaved(&self) -> bool {
        let in_flight = &self.shared.state.lock().in_flight;
        in_flight.commit_point().offset() != self.saved.0 || in_flight.holds_settled()
    }

    pub fn note_saved(&mut self, position: Position, metadata: &Arc<str>) {
        self.saved = (position.offset(), Arc::clone(metadata));
    }

    /// Nothing that was handed out can be settled from now on.
    pub fn end(&self) {
        self.shared.state.lock().has_ended = true;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.end();
    }
}

impl SharePartition {
    pub fn log(&self) -> &Arc<PartitionLog> {
        &self.log
    }

    /// How many records, and how many bytes, may be read now.
    pub fn room(&self, most_bytes: usize) -> (usize, usize) {
        let state = self.state.lock();
        if !state.in_flight.takes_more() {
            return (0, 0);
        }
        let bytes = state.in_flight.records().map(|record| size_of(record)).sum();
        let count = state.in_flight.records().len();
        (MAX_IN_FLIGHT.saturating_sub(count), most_bytes.saturating_sub(bytes))
    }

    pub fn push(&self, record: OwnedRecord, position: Position) {
        self.state.lock().in_flight.push(record.offset, position, Arc::new(record));
    }

    pub fn acquire(&self, most: usize) -> Vec<Acquisition<Arc<OwnedRecord>>> {
        self.state.lock().in_flight.acquire(most)
    }

    pub fn take_back(&self, offset: Offset) {
        self.state.lock().in_flight.take_back(offset);
    }

    pub fn rejection(&self) -> Option<Rejection<Arc<OwnedRecord>>> {
        self.state.lock().in_flight.rejection()
    }

    pub fn bury(&self, offset: Offset) {
        self.state.lock().in_flight.bury(offset);
    }

    /// Settles a record that was handed out.
    pub fn settle(
        &self,
        offset: Offset,
        settle: impl FnOnce(&mut InFlight<Arc<OwnedRecord>>) -> bool,
    ) -> Result<()> {
        let is_settled = {
            let state = &mut *self.state.lock();
            !state.has_ended && settle(&mut state.in_flight)
        };
        if is_settled {
            self.signal.raise();
            return Ok(());
        }
        let what = "the record is not this consumer's any more: its partition was taken from it, or it has gone elsewhere";
        let error = Error::new(ErrorKind::InvalidRecordState, what).at_offset(offset);
        Err(self.log.place(error).advise("whoever has the partition now is given the record again"))
    }
}

impl fmt::Debug for SharePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.log.topic(), self.log.partition())
    }
}

/// Roughly what a record takes in memory.
pub fn size_of(record: &OwnedRecord) -> usize {
    let len = |bytes: &Option<Box<[u8]>>| bytes.as_ref().map_or(0, |bytes| bytes.len());
    let headers = record.headers.iter().map(|(name, value)| name.len() + len(value));
    std::mem::size_of::<OwnedRecord>() + len(&record.key) + len(&record.value) + headers.sum::<usize>()
}
