//! What the leader of a commit does with the batches: headers, segments, syncs. One thread at a time.

use std::sync::Arc;

use super::LeaderEpochs;
use super::accumulator::Filled;
use super::stop::Stop;
use crate::config::TopicConfig;
use crate::error::{IoContext, Result};
use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::segment::{ActiveSegment, Segment, SegmentDir};
use crate::sync::RwLock;

/// The end of a partition's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The offset behind the last batch.
    pub offset: Offset,
    /// The base offset of the segment that the end lies in, and the position there.
    pub segment: Offset,
    pub position: u64,
}

/// The writing side of a partition's files.
#[derive(Debug)]
pub struct Writer {
    dir: SegmentDir,
    config: TopicConfig,
    epochs: LeaderEpochs,
    /// `None` once the partition is closed, or a roll has failed.
    active: Option<ActiveSegment>,
    /// Every segment in order, as readers see them; the last is the active one's.
    segments: Arc<RwLock<Vec<Segment>>>,
}

impl Writer {
    pub fn new(
        dir: SegmentDir,
        config: TopicConfig,
        epochs: LeaderEpochs,
        active: ActiveSegment,
        segments: Arc<RwLock<Vec<Segment>>>,
    ) -> Self {
        Self { dir, config, epochs, active: Some(active), segments }
    }

    /// The end of what was written; `None` once the writer has stopped.
    pub fn end(&self) -> Option<LogEnd> {
        let active = self.active.as_ref()?;
        Some(LogEnd { offset: active.next_offset(), segment: active.base_offset(), position: active.size() })
    }

    /// Writes the batches, rolling where it is due. What it leaves in a sealed segment is durable.
    pub fn write(&mut self, filled: &mut Filled, now: Timestamp) -> Result<()> {
        let Some(first) = filled.batches.first() else { return Ok(()) };
        let epoch = self.epoch_for(first.header.base_offset)?;
        for batch in &mut filled.batches {
            batch.header.leader_epoch = epoch.cast_signed();
            batch.seal(&mut filled.buffer);
        }

        let mut batches = filled.batches.as_slice();
        while let [first, ..] = batches {
            let active = self.active.as_mut().ok_or_else(|| Stop::Closed.error())?;
            let fitting = active.fitting(batches, &self.config, now);
            let (now_fitting, later) = batches.split_at(fitting);
            match now_fitting {
                [] => self.roll(first.header.base_offset, now)?,
                [.., last] => {
                    let bytes = &filled.buffer[first.bytes.start..last.bytes.end];
                    active.append(bytes, now_fitting, &self.config)?;
                }
            }
            batches = later;
        }
        Ok(())
    }

    /// Makes everything that was written durable.
    pub fn sync(&self) -> Result<()> {
        self.active.as_ref().map_or(Ok(()), ActiveSegment::sync)
    }

    /// Seals the last segment. The next opening takes it over as the active one again.
    pub fn close(&mut self) -> Result<()> {
        match self.active.take() {
            None => Ok(()),
            Some(active) => active.seal(&self.config).map(|_| ()),
        }
    }

    /// The epoch under which the partition is appended to; the first append makes it durable.
    fn epoch_for(&mut self, offset: Offset) -> Result<LeaderEpoch> {
        if let Some(epoch) = self.epochs.latest() {
            return Ok(epoch);
        }
        self.epochs.begin(0, offset);
        self.epochs.store(self.dir.vfs().as_ref(), self.dir.path())?;
        Ok(0)
    }

    /// Seals the active segment, which syncs it, and only then gives the next one its name.
    fn roll(&mut self, base: Offset, now: Timestamp) -> Result<()> {
        let active = self.active.take().ok_or_else(|| Stop::Closed.error())?;
        let sealed = active.seal(&self.config)?;
        let next = ActiveSegment::create(&self.dir, base, &self.config, now)?;
        self.dir.vfs().sync_dir(self.dir.path()).doing("sync", self.dir.path())?;

        let mut segments = self.segments.write();
        segments.pop();
        segments.push(Segment::Sealed(Arc::new(sealed)));
        segments.push(Segment::Active(Arc::clone(next.reader())));
        self.active = Some(next);
        Ok(())
    }
}
