//! The log of a partition as it was found: its segments, where it begins, and where that ends which is shown of it.

use std::ops::Range;
use std::sync::Arc;

use super::partition_walk::{PartitionWalk, Passed};
use crate::broker::check_partition_metadata;
use crate::error::{Error, Result};
use crate::file_name::ENDS;
use crate::inspect::survey::{DirectoryKind, PartitionPlace, Survey};
use crate::model::Offset;
use crate::partition_log::{LeaderEpochs, Life, LogEnd};
use crate::record_batch::Codecs;
use crate::segment::{SegmentDir, segment_bases};
use crate::vfs::Vfs;

/// The log of a partition.
#[derive(Clone, Debug)]
pub struct FoundLog {
    pub vfs: Arc<dyn Vfs>,
    pub place: PartitionPlace,
    pub codecs: Arc<Codecs>,
    /// The base offsets of the segments that are there, rising.
    pub bases: Vec<Offset>,
    pub log_start: Offset,
    /// Behind the last record that is shown.
    pub end: Offset,
    /// In which segment that is, and up to which byte; `None` where the files end, and nothing else tells.
    pub ends_at: Option<(Offset, u64)>,
    /// Of what Kafka has written, the offsets that are lost since the directory was taken over, rising.
    pub lost: Vec<Range<Offset>>,
    /// With the leader epochs, where it is ours.
    pub life: Arc<Life>,
}

impl FoundLog {
    /// Looks at everything that is known of a partition, and, after a stop that was not in order, at what lies behind its
    /// proven end if readers could see that.
    pub fn look(survey: &Survey, place: &PartitionPlace, codecs: &Arc<Codecs>) -> Result<Self> {
        match survey.kind {
            DirectoryKind::Ottla => Self::look_at_ours(survey, place, codecs),
            DirectoryKind::Kafka => Self::look_at_kafkas(survey, place, codecs),
        }
    }

    fn look_at_ours(survey: &Survey, place: &PartitionPlace, codecs: &Arc<Codecs>) -> Result<Self> {
        let (vfs, dir) = (survey.vfs.as_ref(), &place.dir);
        if let Some(id) = place.id {
            check_partition_metadata(vfs, dir, id)?;
        }
        let Some(proven) = place.proven else {
            let what = "the ends file says nothing of the partition: both of its slots are damaged, or gone";
            return Err(Error::corrupt(what).in_file(&survey.root.join(ENDS)));
        };
        let epochs = LeaderEpochs::load(vfs, dir, proven.offset)?;
        let log = Self {
            log_start: proven.log_start,
            end: proven.offset.max(proven.log_start),
            ends_at: Some((proven.segment, proven.position)),
            lost: lost(survey, place, proven.log_start)?,
            ..Self::empty(survey, place, codecs, epochs, proven.generation)?
        };
        // In an orderly stop the log ended with its slot: where there is more, the newest slot is lost, and its twin older.
        let visible = if survey.is_clean() { None } else { Some(proven.log_end) };
        match visible.is_none_or(|visible| visible > proven.offset) {
            true => log.reaching(LogEnd::from(proven), visible),
            false => Ok(log),
        }
    }

    /// A Kafka broker syncs when it rolls: what it acknowledged goes to the end of the log.
    fn look_at_kafkas(survey: &Survey, place: &PartitionPlace, codecs: &Arc<Codecs>) -> Result<Self> {
        let log = Self::empty(survey, place, codecs, LeaderEpochs::default(), 0)?;
        let first = log.bases.first().copied().unwrap_or_default();
        let log_start = survey.evidence.of(&place.topic, place.partition).log_start.unwrap_or(first);
        let log = Self { log_start, end: log_start, ..log };
        match (survey.is_clean(), log.bases.last().copied()) {
            (_, None) => Ok(log),
            (true, Some(last)) => {
                let mut walk = PartitionWalk::new(Arc::new(log.clone()), last, None);
                while walk.step()?.is_some() {}
                Ok(Self { end: walk.offset().max(log_start), ..log })
            }
            (false, Some(_)) => log.recovered(place.recovery_point.unwrap_or_default().max(log_start)),
        }
    }

    fn empty(
        survey: &Survey,
        place: &PartitionPlace,
        codecs: &Arc<Codecs>,
        epochs: LeaderEpochs,
        generation: u32,
    ) -> Result<Self> {
        let dir = SegmentDir::new(Arc::clone(&survey.vfs), &place.dir, false);
        Ok(Self {
            vfs: Arc::clone(&survey.vfs),
            place: place.clone(),
            codecs: Arc::clone(codecs),
            bases: segment_bases(&dir)?,
            log_start: 0,
            end: 0,
            ends_at: None,
            lost: Vec::new(),
            life: Arc::new(Life { generation, epochs }),
        })
    }

    /// The same up to where batches follow one on the other behind the proven end, but not beyond `visible`.
    fn reaching(self, proven: LogEnd, visible: Option<Offset>) -> Result<Self> {
        let LogEnd { offset, segment, position } = proven;
        let log = Arc::new(Self { ends_at: None, ..self.clone() });
        let mut walk = PartitionWalk::new(log, offset, visible).starting_in(segment, position);
        while let Some(Passed::Batch(_)) = walk.step()? {}
        Ok(self.ending_behind(&walk))
    }

    /// The same up to where the batches end that recovery would keep: behind the recovery point at the first gap.
    fn recovered(self, point: Offset) -> Result<Self> {
        let behind = self.bases.partition_point(|base| *base <= point);
        let from = behind.checked_sub(1).and_then(|at| self.bases.get(at)).copied().unwrap_or(point);
        let mut walk = PartitionWalk::new(Arc::new(self.clone()), from, None);
        while let Some(passed) = walk.step()? {
            if matches!(passed, Passed::Gap(gap) if gap.offsets().start >= point) {
                break;
            }
        }
        let last = self.bases.last().copied().unwrap_or_default();
        let log = Self { end: point, ends_at: Some((last, u64::MAX)), ..self };
        Ok(log.ending_behind(&walk))
    }

    /// Ending behind the last batch that a walk has passed, if that lies behind the end.
    fn ending_behind(self, walk: &PartitionWalk) -> Self {
        match walk.whole_end() {
            Some((end, ends_at)) if end > self.end => Self { end, ends_at: Some(ends_at), ..self },
            _ => self,
        }
    }

    /// Whether it is no damage if no batch holds the offset `at`, nor any other of these.
    pub fn may_lack(&self, at: Offset, offsets: Range<Offset>) -> bool {
        let is_in = |lost: &Range<Offset>| lost.start < offsets.end && offsets.start < lost.end;
        at < self.place.kafka_end && !self.lost.iter().any(is_in)
    }

    /// Whether a batch at this offset may have this leader epoch. A log that is Kafka's own is shown as Kafka gives it out.
    pub fn is_epoch_of(&self, offset: Offset, epoch: i32) -> bool {
        self.place.kafka_end == Offset::MAX
            || self.life.epochs.at(offset).map(u32::cast_signed) == Some(epoch)
    }
}

/// What is missing of Kafka's segments; what was changed and is not shorter has batches that say what is wrong.
fn lost(survey: &Survey, place: &PartitionPlace, start: Offset) -> Result<Vec<Range<Offset>>> {
    let losses = place.lost_segments(&survey.vfs, Some(start))?;
    Ok(losses.into_iter().filter(|loss| loss.has.unwrap_or(0) < loss.had).map(|loss| loss.offsets).collect())
}
