//! The files of a partition, taken over when it is opened.

use std::sync::Arc;

use super::log::{LastStop, LogContext};
use super::transactions::{OpenTransaction, left_open};
use super::writer::{Epochs, LogEnd, Writer};
use super::{LeaderEpochs, Life};
use crate::config::TopicConfig;
use crate::ends_file::ProvenEnd;
use crate::error::{Error, Result};
use crate::file_name::SegmentFile;
use crate::segment::{ActiveSegment, NextLog, SealedSegment, Segment, StoredIndexes, segment_bases};
use crate::sync::RwLock;

/// What is found of a partition, and where it begins a new life.
pub struct Files {
    epochs: Epochs,
    segments: Vec<Segment>,
    active: Option<ActiveSegment>,
    pub end: LogEnd,
    /// The transactions that a Kafka broker has left open, the oldest first.
    pub left_open: Vec<OpenTransaction>,
}

impl Files {
    /// Creates those of a new partition.
    pub fn create(context: &LogContext) -> Result<Self> {
        let active = ActiveSegment::create(&context.dir, 0, &context.config, context.clock.now())?;
        Ok(Self::of(Epochs::new(LeaderEpochs::default()), Vec::new(), active))
    }

    /// Opens those of a partition that ends where `proven` says, or where it was recovered to. Writes nothing.
    pub fn open(
        context: &LogContext,
        config: &TopicConfig,
        proven: &ProvenEnd,
        epochs: LeaderEpochs,
        last_stop: LastStop,
    ) -> Result<Self> {
        let bases = segment_bases(&context.dir)?;
        let Some((last, sealed)) = bases.split_last() else {
            return Err(Error::corrupt("the partition has no segment").in_file(context.dir.path()));
        };
        if bases.first().is_none_or(|first| *first > proven.log_start) {
            let path = context.dir.file(SegmentFile::Log, proven.log_start);
            return Err(Error::corrupt("the first segment is missing")
                .at_offset(proven.log_start)
                .in_file(&path));
        }
        let (expected, epochs, indexes) = match last_stop {
            LastStop::Clean => (LogEnd::from(*proven), Epochs::new(epochs), StoredIndexes::Trusted),
            LastStop::Unclean(end) => {
                (end, Epochs::after_recovery(epochs, end.offset), StoredIndexes::Rebuilt)
            }
        };
        let active = ActiveSegment::open(&context.dir, *last, config, context.clock.now(), indexes)?;
        let found = LogEnd::of(&active);
        if found != expected {
            let what = format!("the log ends at {found}, and what was acknowledged at {expected}");
            let path = context.dir.file(SegmentFile::Log, found.segment);
            return Err(Error::corrupt(what)
                .at_offset(found.offset)
                .in_file(&path)
                .at_position(found.position));
        }
        let interval = config.index_interval_bytes;
        let seal = |base: &u64| SealedSegment::new(context.dir.clone(), *base, interval);
        let sealed = sealed.iter().map(|base| Segment::Sealed(Arc::new(seal(base)))).collect();
        let left_open =
            left_open(&context.dir, &context.codecs, &bases, proven.log_start, context.dir.kafka_end())?;
        Ok(Self { left_open, ..Self::of(epochs, sealed, active) })
    }

    fn of(epochs: Epochs, mut segments: Vec<Segment>, active: ActiveSegment) -> Self {
        segments.push(Segment::Active(Arc::clone(active.reader())));
        let end = LogEnd::of(&active);
        Self { epochs, segments, active: Some(active), end, left_open: Vec::new() }
    }

    /// Nothing, of a partition whose files are damaged.
    pub fn none(end: LogEnd) -> Self {
        Self {
            epochs: Epochs::new(LeaderEpochs::default()),
            segments: Vec::new(),
            active: None,
            end,
            left_open: Vec::new(),
        }
    }

    /// The life that begins with them.
    pub fn life(&self, generation: u32) -> Life {
        Life { generation, epochs: self.epochs.with_due(self.end.offset) }
    }

    /// The life that begins where an unclean one is cut.
    pub fn life_after(epochs: LeaderEpochs, end: LogEnd, generation: u32) -> Life {
        let epochs = Epochs::after_recovery(epochs, end.offset);
        Life { generation, epochs: epochs.with_due(end.offset) }
    }

    /// What writes to them; readers find them in `segments`, and the log of the segment to come is made in `next`.
    pub fn into_writer(
        self,
        context: &LogContext,
        config: &TopicConfig,
        segments: &Arc<RwLock<Vec<Segment>>>,
        next: &Arc<NextLog>,
    ) -> Writer {
        *segments.write() = self.segments;
        Writer::new(
            context.dir.clone(),
            config.clone(),
            context.clock.clone(),
            self.epochs,
            self.active,
            Arc::clone(segments),
            Arc::clone(next),
        )
        .deferring(context.is_tended)
    }
}
