//! The batches and gaps of a partition, as its reader gets them.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::Arc;

use super::broker::Opened;
use super::found_log::FoundLog;
use super::partition_walk::{PartitionWalk, Passed};
use super::piece::Piece;
use super::transactions::{Outcome, Transactions};
use crate::error::{Error, Result};
use crate::inspect::log_walk::Found;
use crate::model::{Offset, Position};
use crate::partition_log::Gap;

/// So many bytes of batches are read before they are handed out, and before the directory is looked at.
const GATHERED: usize = 1024 * 1024;

/// The batches of a partition and the gaps between them, an iterator; made by
/// [`ReadOnlyPartition::read`](crate::ReadOnlyPartition::read).
///
/// It ends at the high watermark, and after an error: [`DirectoryInUse`](crate::ErrorKind::DirectoryInUse) if somebody has
/// come meanwhile, [`StorageError`](crate::ErrorKind::StorageError) for a file that cannot be opened now,
/// [`UnsupportedCompressionType`](crate::ErrorKind::UnsupportedCompressionType) and
/// [`MessageTooLarge`](crate::ErrorKind::MessageTooLarge) for a batch that is whole and cannot be decompressed. What the disk
/// cannot read is a gap. Batches without a record for an application are passed over.
///
/// About a MiB of batches is read ahead, and held.
pub struct ReadOnlyBatches {
    opened: Arc<Opened>,
    log: Arc<FoundLog>,
    walk: PartitionWalk,
    /// Behind what was handed out.
    next: Offset,
    /// Behind what was read, and handed out, gathered or passed over.
    passed: Offset,
    transactions: Option<Arc<Transactions>>,
    /// What was read and found to be of the directory as it was opened, each with the offset behind it.
    gathered: VecDeque<(Result<Piece>, Offset)>,
    has_ended: bool,
}

impl ReadOnlyBatches {
    pub(super) fn new(
        opened: Arc<Opened>,
        log: Arc<FoundLog>,
        offsets: Range<Offset>,
        transactions: Option<Arc<Transactions>>,
    ) -> Self {
        let Range { start, end } = offsets;
        // Where the files end, damage may stand behind the last offset that is known.
        let end = (end < log.end || log.ends_at.is_some()).then_some(end);
        let walk = PartitionWalk::new(Arc::clone(&log), start, end);
        Self {
            opened,
            log,
            walk,
            next: start,
            passed: start,
            transactions,
            gathered: VecDeque::new(),
            has_ended: false,
        }
    }

    /// Where the next piece begins, or the end; [`Start::Resume`](crate::Start::Resume) comes back to it, here and in a
    /// broker that opens the directory.
    #[must_use]
    pub fn position(&self) -> Position {
        self.log.life.position_at(self.next, self.log.log_start)
    }

    /// Reads on, and looks whether what was read is of the directory as it was opened.
    fn gather(&mut self) {
        let mut bytes: usize = 0;
        while bytes < GATHERED && !self.has_ended {
            let piece = match self.walk.step() {
                Ok(Some(Passed::Batch(found))) => {
                    bytes = bytes.saturating_add(found.bytes.len());
                    self.piece(found)
                }
                Ok(Some(Passed::Gap(gap))) => Some(Ok(Piece::Gap(gap))),
                Ok(None) => {
                    self.has_ended = true;
                    None
                }
                Err(error) => Some(Err(error)),
            };
            let failed = matches!(piece, Some(Err(_)));
            self.has_ended |= failed;
            if !failed {
                self.passed = self.walk.offset();
            }
            self.gathered.extend(piece.map(|piece| (piece, self.passed)));
        }
        if let Err(error) = self.opened.survey.require_unchanged() {
            self.has_ended = true;
            self.gathered.clear();
            self.passed = self.next;
            self.gathered.push_back((Err(error), self.next));
        }
    }

    /// What of a batch is for the reader, if anything is.
    fn piece(&self, found: Found) -> Option<Result<Piece>> {
        let header = found.header;
        if header.attributes.is_control() || header.records_count == 0 {
            return None;
        }
        let outcome = header.transaction().and_then(|producer| {
            self.transactions.as_ref().map(|all| all.ended_as(producer, header.base_offset))
        });
        match outcome {
            Some(Outcome::Aborted) => return None,
            Some(Outcome::Unknown) => return Some(Ok(Piece::Gap(self.doubtful(&found)))),
            Some(Outcome::Committed) | None => {}
        }
        match found.batch() {
            Ok(batch) => {
                let batch = batch.clone().starting_at(self.passed.max(self.log.log_start));
                (batch.iter().next().is_some()).then_some(Ok(Piece::Batch(batch)))
            }
            Err(error) => Some(Err(self.place(error, header.base_offset))),
        }
    }

    /// A batch of a transaction of which nobody knows how it ended.
    fn doubtful(&self, found: &Found) -> Gap {
        let (header, place) = (&found.header, &self.log.place);
        let offsets = header.base_offset.max(self.passed)..header.next_offset();
        let bytes = found.position..found.position.saturating_add(header.size as u64);
        let what = "they are of a transaction whose end is damaged: nobody knows whether it was committed";
        let file = self.walk.path().unwrap_or(&place.dir);
        Gap::new((place.topic.as_str(), place.partition), offsets, file, bytes, Error::corrupt(what))
    }

    fn place(&self, error: Error, offset: Offset) -> Error {
        let place = &self.log.place;
        let file = self.walk.path().unwrap_or(&place.dir);
        error.in_partition(place.topic.as_str(), place.partition).at_offset(offset).in_file(file)
    }
}

impl Iterator for ReadOnlyBatches {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.gathered.is_empty() && !self.has_ended {
            self.gather();
        }
        match self.gathered.pop_front() {
            Some((piece, behind)) => {
                self.next = behind;
                Some(piece)
            }
            None => {
                // Behind what was passed over.
                self.next = self.next.max(self.passed);
                None
            }
        }
    }
}

impl FusedIterator for ReadOnlyBatches {}

impl fmt::Debug for ReadOnlyBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyBatches").field("position", &self.position()).finish_non_exhaustive()
    }
}
