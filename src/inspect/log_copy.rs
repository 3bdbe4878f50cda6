//! Writes the log of a salvaged partition: batches at their offsets, and an empty batch in the place of those that are not
//! there.
//!
//! A reader of ours holds the batches of a log to following one on the other, so that it tells a missing one. Kafka's log
//! cleaner leaves a batch without records where it took all of them: a header that names the offsets. Every reader,
//! Kafka's and ours, passes over it, and a hole is told from damage.

use std::path::Path;
use std::sync::Arc;

use crate::config::TopicConfig;
use crate::ends_file::ProvenEnd;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::model::{LeaderEpoch, Offset};
use crate::partition_log::LeaderEpochs;
use crate::record_batch::{Attributes, BatchHeader, HEADER_LEN, LEADER_EPOCH_FIELD, PendingBatch};
use crate::segment::{ActiveSegment, SegmentDir};
use crate::vfs::Vfs;

/// So much is gathered before it is written.
const GATHERED: usize = 1024 * 1024;
/// Neither a position nor an offset of a segment lies further from its beginning.
const MAX_REACH: u64 = i32::MAX as u64;

/// The log of a partition in its new directory.
#[derive(Debug)]
pub struct LogCopy {
    dir: SegmentDir,
    config: TopicConfig,
    active: Option<ActiveSegment>,
    /// Where the log begins.
    start: Option<Offset>,
    /// The offset behind the last batch, gathered or written.
    next: Offset,
    gathered: Vec<u8>,
    batches: Vec<PendingBatch>,
    epochs: LeaderEpochs,
}

/// A log that was copied.
#[derive(Debug)]
pub struct Copied {
    pub end: ProvenEnd,
    pub epochs: LeaderEpochs,
}

impl LogCopy {
    /// An empty log in a directory that is there.
    pub fn new(vfs: Arc<dyn Vfs>, dir: &Path, config: TopicConfig) -> Self {
        Self {
            dir: SegmentDir::new(vfs, dir, false),
            config,
            active: None,
            start: None,
            next: 0,
            gathered: Vec::new(),
            batches: Vec::new(),
            epochs: LeaderEpochs::default(),
        }
    }

    /// The offset behind the last batch; `None` before the log has begun.
    pub fn next_offset(&self) -> Option<Offset> {
        self.start.map(|_| self.next)
    }

    /// The newest leader epoch.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// Goes on in a segment of its own that begins at `base`; `epoch` is that of a hole before it.
    pub fn begin_segment(&mut self, base: Offset, epoch: LeaderEpoch) -> Result<()> {
        if self.start.is_some() {
            self.fill(base, epoch)?;
        }
        self.roll(base.max(self.next))
    }

    /// Adds a batch behind those that are there, after an empty one if it does not follow on them.
    pub fn push(&mut self, header: &BatchHeader, bytes: &[u8], epoch: LeaderEpoch) -> Result<()> {
        self.fill(header.base_offset, epoch)?;
        self.make_room(header.size as u64, header.last_offset())?;
        self.gather(BatchHeader { leader_epoch: epoch.cast_signed(), ..*header }, bytes)
    }

    /// Puts empty batches in the place of what is missing before `to`.
    pub fn fill(&mut self, to: Offset, epoch: LeaderEpoch) -> Result<()> {
        while self.next < to {
            let last = to.saturating_sub(1).min(self.next.saturating_add(MAX_REACH));
            self.make_room(HEADER_LEN as u64, last)?;
            let delta = u32::try_from(last.saturating_sub(self.next)).unwrap_or(u32::MAX);
            let header = empty_batch(self.next, delta, epoch);
            let mut bytes = [0; HEADER_LEN];
            header.seal(&mut bytes);
            self.gather(header, &bytes)?;
        }
        Ok(())
    }

    fn gather(&mut self, header: BatchHeader, bytes: &[u8]) -> Result<()> {
        let epoch = LeaderEpoch::try_from(header.leader_epoch).unwrap_or_default();
        if self.epochs.latest() != Some(epoch) {
            self.epochs.begin(epoch, header.base_offset);
        }
        let from = self.gathered.len();
        self.gathered.extend_from_slice(bytes);
        let field = self.gathered.get_mut(from..).and_then(|batch| batch.get_mut(LEADER_EPOCH_FIELD));
        if let Some(field) = field {
            field.copy_from_slice(&header.leader_epoch.to_be_bytes());
        }
        self.batches.push(PendingBatch {
            header,
            bytes: from..self.gathered.len(),
            compression: header.compression(),
        });
        self.next = header.next_offset();
        if self.gathered.len() >= GATHERED { self.write() } else { Ok(()) }
    }

    /// Begins another segment if this one cannot take a batch of this size that ends with this offset.
    fn make_room(&mut self, size: u64, last: Offset) -> Result<()> {
        let takes = self.active.as_ref().is_some_and(|active| {
            let gathered = active.size().saturating_add(self.gathered.len() as u64);
            last.saturating_sub(active.base_offset()) <= MAX_REACH
                && gathered.saturating_add(size) <= MAX_REACH
        });
        if takes { Ok(()) } else { self.roll(self.next) }
    }

    fn roll(&mut self, base: Offset) -> Result<()> {
        self.write()?;
        match self.active.take() {
            // Nothing came into it.
            Some(active) if active.base_offset() == base => {
                self.active = Some(active);
                return Ok(());
            }
            Some(active) => drop(active.seal(&self.config)?),
            None => {
                self.start = Some(base);
                self.next = base;
            }
        }
        self.active = Some(ActiveSegment::create(&self.dir, base, &self.config, 0)?);
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        if self.batches.is_empty() {
            return Ok(());
        }
        let Some(active) = &mut self.active else {
            return Err(Error::new(ErrorKind::StorageError, "a log without a segment takes no batch"));
        };
        active.append(&self.gathered, &self.batches, &self.config)?;
        self.gathered.clear();
        self.batches.clear();
        Ok(())
    }

    /// Ends the log, and brings all of it to the disk. Readers begin at `start`, or with the first segment if that begins
    /// behind it. `epoch` is that of a log that had records, and has none.
    pub fn finish(mut self, start: Offset, epoch: LeaderEpoch, generation: u32) -> Result<Copied> {
        if self.active.is_none() {
            self.roll(start)?;
        }
        self.write()?;
        if self.next > 0 && self.epochs.latest().is_none() {
            self.epochs.begin(epoch, self.next);
        }
        let mut end = ProvenEnd {
            generation,
            log_start: self.start.map_or(start, |first| first.max(start)),
            offset: self.next,
            log_end: self.next,
            ..ProvenEnd::default()
        };
        if let Some(active) = self.active.take() {
            (end.segment, end.position) = (active.base_offset(), active.size());
            active.seal(&self.config)?;
        }
        let (vfs, dir) = (self.dir.vfs().as_ref(), self.dir.path());
        if self.epochs.latest().is_some() {
            self.epochs.stage(vfs, dir)?;
            LeaderEpochs::commit(vfs, dir)?;
        }
        vfs.sync_dir(dir).doing("sync", dir)?;
        Ok(Copied { end, epochs: self.epochs })
    }
}

/// The header of a batch without records.
fn empty_batch(base_offset: Offset, last_offset_delta: u32, epoch: LeaderEpoch) -> BatchHeader {
    BatchHeader {
        base_offset,
        size: HEADER_LEN,
        leader_epoch: epoch.cast_signed(),
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta,
        base_timestamp: -1,
        max_timestamp: -1,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: 0,
    }
}
