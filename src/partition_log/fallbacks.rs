//! Where the end of a log has fallen back: records that had an offset, and are not there.

use crate::error::Error;
use crate::model::Offset;

/// Where the end has fallen back, because a write failed and what it had left was cut, or because the partition was
/// opened anew.
#[derive(Debug, Default)]
pub struct Fallbacks {
    /// Of records that were assigned in this round or an earlier one, those from this offset on are not there. Both
    /// rise: what a later fallback covers of an earlier one is dropped.
    entries: Vec<(u64, Offset, Error)>,
    /// A failure that a flush has still to report, since perhaps nobody waits for the records.
    unreported: Option<Error>,
}

impl Fallbacks {
    pub fn add(&mut self, round: u64, from: Offset, error: &Error) {
        self.entries.retain(|(_, earlier, _)| *earlier < from);
        self.entries.push((round, from, error.clone()));
        self.unreported = Some(error.clone());
    }

    /// Why a record is not there, if it is not.
    pub fn find(&self, round: u64, offset: Offset) -> Option<&Error> {
        let mut later = self.entries.iter().filter(|(until, _, _)| *until >= round);
        later.find(|(_, from, _)| *from <= offset).map(|(_, _, error)| error)
    }

    /// What a flush has to report.
    pub fn take_unreported(&mut self) -> Option<Error> {
        self.unreported.take()
    }
}
