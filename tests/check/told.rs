//! What an execution was told: what it sent, what was acknowledged or refused, and what readers saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ottla::{Delivery, ErrorKind, Offset};

use crate::schedule::lock;

pub type Value = Vec<u8>;

/// Shared by the threads of an execution. Its lock is never held while the library works.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Facts>>);

#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Everything that was sent.
    pub sent: BTreeSet<Value>,
    /// By offset, what was acknowledged.
    pub acknowledged: BTreeMap<Offset, Value>,
    /// By offset, what a reader saw.
    pub seen: BTreeMap<Offset, Value>,
    /// What was taken, and then not written.
    pub not_written: BTreeSet<Value>,
    /// What was not taken.
    pub refused: BTreeSet<Value>,
    pub indeterminate: BTreeSet<Value>,
    /// The first and the last offset of what was sent as one batch.
    pub batches: BTreeSet<(Offset, Offset)>,
    /// The ends at which somebody stopped reading.
    pub stops: BTreeSet<Offset>,
}

impl Told {
    /// What it was told so far.
    pub fn facts(&self) -> Facts {
        lock(&self.0).clone()
    }

    /// Before a record is sent: a reader may see it before the sender goes on.
    pub fn sends(&self, value: &Value) {
        assert!(lock(&self.0).sent.insert(value.clone()), "each value is sent once");
    }

    /// The record was not taken after all.
    pub fn refused(&self, value: Value) {
        lock(&self.0).refused.insert(value);
    }

    /// Waits for one record, and notes what became of it; returns what kind of failure it was.
    pub fn wait(&self, delivery: Delivery, value: Value) -> Option<ErrorKind> {
        let offset = delivery.offset();
        let outcome = delivery.wait();
        let mut facts = lock(&self.0);
        match outcome {
            Ok(metadata) => {
                assert_eq!(metadata.offset(), offset, "acknowledged at the offset that was given");
                facts.acknowledge(offset, value);
                None
            }
            Err(error) => {
                match error.kind() {
                    ErrorKind::NotWritten => _ = facts.not_written.insert(value),
                    ErrorKind::Indeterminate => _ = facts.indeterminate.insert(value),
                    _ => {}
                }
                Some(error.kind())
            }
        }
    }

    /// [`wait`](Self::wait) for a record that may be cut though it is acknowledged, and its offset be another one's.
    pub fn wait_for_what_may_go(&self, delivery: Delivery, value: Value) -> Option<ErrorKind> {
        let failed = delivery.wait().err().map(|error| error.kind());
        if failed == Some(ErrorKind::NotWritten) {
            lock(&self.0).not_written.insert(value);
        }
        failed
    }

    /// Waits for a batch of two, as [`wait`](Self::wait) does.
    pub fn wait_for_batch(&self, delivery: Delivery, values: [Value; 2]) {
        let first = delivery.offset();
        lock(&self.0).batches.insert((first, first + 1));
        let metadata = delivery.wait().unwrap();
        let mut facts = lock(&self.0);
        assert_eq!((metadata.offset(), metadata.last_offset()), (first, first + 1), "one behind the other");
        for (offset, value) in (metadata.offset()..).zip(values) {
            facts.acknowledge(offset, value);
        }
    }

    /// A reader has seen a record.
    pub fn saw(&self, offset: Offset, value: Value) {
        let mut facts = lock(&self.0);
        assert!(facts.sent.contains(&value), "a record that nobody sent: {value:?} at {offset}");
        let before = facts.seen.insert(offset, value.clone());
        assert!(before.is_none_or(|before| before == value), "offset {offset} shows two records");
    }

    /// A reader has read up to here.
    pub fn stopped(&self, end: Offset) {
        lock(&self.0).stops.insert(end);
    }
}

impl Facts {
    fn acknowledge(&mut self, offset: Offset, value: Value) {
        let before = self.acknowledged.insert(offset, value);
        assert_eq!(before, None, "two records are acknowledged at offset {offset}");
    }

    /// Holds a whole log, from offset 0 on, against the facts.
    pub fn hold(&self, log: &[Value]) {
        let at = |offset: Offset| log.get(usize::try_from(offset).unwrap());
        for (offset, value) in self.acknowledged.iter().chain(&self.seen) {
            assert_eq!(at(*offset), Some(value), "acknowledged or seen at {offset}, and not in {log:?}");
        }
        for stop in self.stops.iter().copied().chain([log.len() as Offset]) {
            let torn = self.batches.iter().find(|(first, last)| *first < stop && stop <= *last);
            assert_eq!(torn, None, "a batch is torn at {stop}");
        }
        let distinct: BTreeSet<_> = log.iter().collect();
        assert_eq!(distinct.len(), log.len(), "a record is there twice: {log:?}");
        for value in log {
            assert!(self.sent.contains(value), "a record that nobody sent: {value:?}");
            let is_there = !self.not_written.contains(value) && !self.refused.contains(value);
            assert!(is_there, "a record that was not written is read: {value:?}");
        }
    }
}
