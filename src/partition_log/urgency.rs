//! How soon the records that have gathered are to leave, where nobody waits for them who would lead.

use crate::sync::{AtomicUsize, Ordering};

/// How urgently the broker's threads were asked; it only rises until they look.
#[derive(Debug, Default)]
pub struct Urgency(AtomicUsize);

/// How soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Soon {
    /// A batch that is being filled may wait a moment for more.
    Lingering = 1,
    /// A batch is full, or somebody waits.
    Now = 2,
}

impl Urgency {
    /// True if it was less urgent before, so that somebody has to be asked. Called under the append lock by whoever has
    /// just added a record: who has looked since has taken the record.
    pub fn raise(&self, soon: Soon) -> bool {
        let wanted = soon as usize;
        self.0.load(Ordering::SeqCst) < wanted && self.0.fetch_max(wanted, Ordering::SeqCst) < wanted
    }

    /// Nothing is urgent any more. Called before what has gathered is taken.
    pub fn reset(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}
