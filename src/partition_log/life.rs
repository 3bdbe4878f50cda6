//! One life of a partition: from its opening, or reopening after a failure, to the next.

use std::ops::RangeInclusive;

use super::LeaderEpochs;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Offset, Position};

/// What is true of a partition as long as nothing is taken back of it.
#[derive(Clone, Debug)]
pub struct Life {
    /// How often the partition was opened.
    pub generation: u32,
    /// Every leader epoch; what is appended in this life has the last one.
    pub epochs: LeaderEpochs,
}

impl Life {
    /// An offset of a log that begins at `log_start`, with the leader epoch of what stands before it.
    pub fn position_at(&self, offset: Offset, log_start: Offset) -> Position {
        let before = offset.checked_sub(1).filter(|before| *before >= log_start);
        Position::new(offset, before.and_then(|before| self.epochs.at(before)))
    }

    /// Fails if what stood below the position was not kept: its leader epoch ends before it, since an unclean stop cut
    /// it off (KIP-320). The newest epoch ends where reading does.
    pub fn check_epoch(&self, position: Position, available: &RangeInclusive<Offset>) -> Result<()> {
        let Some(epoch) = position.leader_epoch() else { return Ok(()) };
        let truncated = |what| Error::new(ErrorKind::LogTruncated, what).available(available.clone());
        if self.epochs.latest().is_none_or(|latest| epoch > latest) {
            let what = format!("the position is of leader epoch {epoch}, which the partition has never had");
            return Err(truncated(what).at_offset(*available.start()).advise(
                "it is of another log than this one: begin at the earliest, or at the latest if what lies between \
                 may be passed over",
            ));
        }
        let end = self.epochs.end_of(epoch).unwrap_or(*available.end());
        if position.offset() <= end {
            return Ok(());
        }
        let what = format!("the position is of leader epoch {epoch}, which ends before offset {end}");
        Err(truncated(what).at_offset(end).advise(
            "what was read below it may not be what is there now: begin at the offset named here to read what \
             replaced it, or at the earliest",
        ))
    }
}
