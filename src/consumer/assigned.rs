//! A partition of a consumer: where it stands, and what was read of it and not handed out.

use std::sync::Arc;

use super::ConsumerRecords;
use super::share_partition::{Share, SharePartition};
use crate::broker::Partition;
use crate::error::{Error, Result};
use crate::group::{Generation, TopicPartition};
use crate::model::{Isolation, Offset, PartitionId, Position, Start};
use crate::partition_log::{BatchReader, PartitionLog};
use crate::record_batch::RecordBatch;

/// An assigned partition.
pub struct Assigned {
    pub partition: Partition,
    isolation: Isolation,
    reader: BatchReader,
    /// The end of a batch whose beginning was handed out; it comes before what the reader reads next.
    rest: Option<RecordBatch>,
    pub is_paused: bool,
    /// Why it has no position yet: what its group has committed cannot be read from. Until a seek.
    pub misplaced: Option<Error>,
    /// Of a consumer in a group.
    pub progress: Progress,
    /// Of one that acquires: what was handed out.
    pub share: Option<Share>,
}

/// How far the group of a consumer has come with a partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The generation in which the consumer was given it.
    pub generation: Generation,
    /// What is committed; `None` if nothing.
    pub committed: Option<Position>,
    /// Where it stood when the last poll began, and what was committed then.
    processed: Option<(Position, Option<Position>)>,
}

/// How much a poll hands out.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    pub records: usize,
}

/// What a poll has gathered.
#[derive(Default)]
pub struct Fetched {
    pub records: ConsumerRecords,
    /// What the batches take in memory.
    bytes: usize,
    count: usize,
}

impl Fetched {
    pub fn is_full(&self, limits: Limits) -> bool {
        !self.records.is_empty() && (self.bytes >= limits.bytes || self.count >= limits.records)
    }
}

impl Assigned {
    pub fn new(partition: Partition, isolation: Isolation) -> Result<Self> {
        let reader = partition.log().read(Start::Earliest, isolation)?;
        let progress = Progress::default();
        let (rest, misplaced, share) = (None, None, None);
        Ok(Self { partition, isolation, reader, rest, is_paused: false, misplaced, progress, share })
    }

    /// One that a group was given, at the log start; where the group stands is for the caller to seek.
    pub fn of_group(
        partition: Partition,
        isolation: Isolation,
        committed: Option<Position>,
        generation: Generation,
    ) -> Result<Self> {
        let progress = Progress { generation, committed, processed: None };
        Ok(Self { progress, ..Self::new(partition, isolation)? })
    }

    pub fn name(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(self.log().topic()), self.log().partition())
    }

    pub fn is_of(&self, topic: &str, partition: PartitionId) -> bool {
        **self.log().topic() == *topic && self.log().partition() == partition
    }

    /// What was handed out by polls and is not committed.
    pub fn uncommitted(&self) -> Option<Position> {
        let is_polled = self.misplaced.is_none() && self.share.is_none();
        Some(self.position()).filter(|position| is_polled && self.is_new(*position))
    }

    /// What was handed out is done with: the next poll has begun.
    pub fn note_processed(&mut self) {
        self.progress.processed = self.uncommitted().map(|position| (position, self.progress.committed));
    }

    /// What is done with and is not committed.
    pub fn unsaved(&self) -> Option<Position> {
        let (position, before) = self.progress.processed?;
        let committed = self.progress.committed;
        // A commit behind it that was made since is not taken back.
        let is_overtaken =
            committed != before && committed.is_some_and(|committed| committed.offset() > position.offset());
        Some(position).filter(|position| !is_overtaken && self.is_new(*position))
    }

    /// All that was handed out is being committed.
    pub fn forget_processed(&mut self) {
        self.progress.processed = None;
    }

    fn is_new(&self, position: Position) -> bool {
        self.progress.committed.map(Position::offset) != Some(position.offset())
    }

    /// What was acquired of it.
    pub fn shared(&self) -> Option<&SharePartition> {
        self.share.as_ref().map(|share| &**share.shared())
    }

    pub fn log(&self) -> &Arc<PartitionLog> {
        self.partition.log()
    }

    /// Where the next record lies that is handed out.
    pub fn position(&self) -> Position {
        match self.rest.as_ref().and_then(first_offset) {
            Some(offset) => self.reader.position_at(offset),
            None => self.reader.position(),
        }
    }

    /// How many offsets lie ahead that can be read now.
    pub fn lag(&self) -> u64 {
        // In this order: the position is never ahead of an end that is looked at later.
        let position = self.position().offset();
        self.log().readable_end(self.isolation).saturating_sub(position)
    }

    /// Moves the position; if that fails it stays.
    pub fn seek(&mut self, start: Start) -> Result<()> {
        self.reader = self.log().read(start, self.isolation)?;
        self.rest = None;
        self.misplaced = None;
        self.share = None;
        Ok(())
    }

    /// Adds what is visible now, until the poll is full.
    pub fn fetch(&mut self, fetched: &mut Fetched, limits: Limits) -> Result<()> {
        self.log().check_readable()?;
        if self.is_paused {
            return Ok(());
        }
        if let Some(error) = &self.misplaced {
            return Err(error.clone());
        }
        self.reader.extend()?;
        while !fetched.is_full(limits) {
            let next = self.rest.take().map(Ok).or_else(|| self.reader.next());
            let Some(mut batch) = next.transpose()? else { break };
            self.rest = batch.split_off(limits.records.saturating_sub(fetched.count));
            fetched.bytes = fetched.bytes.saturating_add(batch.size_in_memory());
            fetched.count = fetched.count.saturating_add(batch.iter().len());
            fetched.records.push(self.partition.log(), batch, self.progress.generation);
        }
        Ok(())
    }

    /// Whether something was sent that is not visible yet, and somebody may wait for it.
    pub fn is_behind(&self) -> bool {
        let log = self.log();
        !self.is_paused && log.log_end_offset() > log.high_watermark() && log.takes_records()
    }
}

fn first_offset(batch: &RecordBatch) -> Option<Offset> {
    batch.iter().next().map(|record| record.offset())
}
