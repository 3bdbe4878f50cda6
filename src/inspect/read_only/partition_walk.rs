//! Walks over the batches of a partition, from segment to segment: what is damaged or missing is a gap, and the walk goes on
//! behind it.
//!
//! The offsets of gaps are those between what stands before and behind them, and never what a damaged header says.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::found_log::FoundLog;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::inspect::items::offset_index;
use crate::inspect::log_walk::{Found, LogWalk, Step};
use crate::model::{MAX_OFFSET, Offset};
use crate::partition_log::Gap;
use crate::vfs::{FileView, OpenMode};

/// What a walk comes past.
#[derive(Debug)]
pub enum Passed {
    Batch(Found),
    Gap(Gap),
}

/// A walk over a partition.
#[derive(Debug)]
pub struct PartitionWalk {
    log: Arc<FoundLog>,
    /// The offset that is due.
    next: Offset,
    /// Where it ends; without, where the files do.
    end: Option<Offset>,
    segment: Option<SegmentWalk>,
    /// A batch that stands behind a gap, which comes first.
    found: Option<Found>,
    /// Where the walk begins, if that is known: a segment, and the end of a batch in it.
    begins_at: Option<(Offset, u64)>,
    /// Behind the last batch, with its segment and the position there.
    whole_end: Option<(Offset, (Offset, u64))>,
}

/// The segment at which the walk is.
#[derive(Debug)]
struct SegmentWalk {
    base: Offset,
    path: PathBuf,
    /// The offset that is due behind the last batch, where it is known.
    limit: Option<Offset>,
    walk: LogWalk,
    damage: Option<Damage>,
}

/// What was passed since the last batch and is none.
#[derive(Debug)]
struct Damage {
    bytes: Range<u64>,
    /// What damaged headers say; believed only where nothing else tells.
    claimed_end: Offset,
    error: Error,
}

impl PartitionWalk {
    /// From the batch that holds an offset on.
    pub fn new(log: Arc<FoundLog>, from: Offset, end: Option<Offset>) -> Self {
        Self { log, next: from, end, segment: None, found: None, begins_at: None, whole_end: None }
    }

    /// From a place that is known to be the end of a batch, behind which the offset is due.
    pub fn starting_in(mut self, segment: Offset, position: u64) -> Self {
        self.begins_at = Some((segment, position));
        self
    }

    /// The offset that is due.
    pub fn offset(&self) -> Offset {
        self.next
    }

    /// The log file that is read.
    pub fn path(&self) -> Option<&Path> {
        self.segment.as_ref().map(|segment| segment.path.as_path())
    }

    /// The offset behind the last batch that was passed, its segment, and where it ends there.
    pub fn whole_end(&self) -> Option<(Offset, (Offset, u64))> {
        self.whole_end
    }

    /// The next batch or gap; `None` at the end. After an error it stands where it stood.
    pub fn step(&mut self) -> Result<Option<Passed>> {
        loop {
            if let Some(found) = self.found.take() {
                return Ok(Some(self.pass(found)));
            }
            if self.end.is_some_and(|end| self.next >= end) {
                return Ok(None);
            }
            let Some(segment) = &mut self.segment else {
                match self.enter()? {
                    Entered::Segment(segment) => self.segment = Some(*segment),
                    Entered::Gap(gap) => return Ok(Some(self.pass_gap(gap))),
                    Entered::Nothing => return Ok(None),
                }
                continue;
            };
            let passed = match segment.walk.step() {
                Some(Step::Batch(found)) => self.come_to(found),
                Some(Step::Damaged(place)) => {
                    segment.note(place.bytes, place.offsets.end, place.error);
                    None
                }
                // Behind the last batch of a log whose end is not known they are set aside.
                Some(Step::Zeros(_)) if segment.limit.is_none() => None,
                Some(Step::Zeros(bytes)) => {
                    segment.note(bytes, 0, Error::corrupt("zeros stand where batches are to stand"));
                    None
                }
                None => self.leave(),
            };
            if passed.is_some() {
                return Ok(passed);
            }
        }
    }

    /// Opens the segment that holds the offset which is due.
    fn enter(&mut self) -> Result<Entered> {
        let (base, next_base) = self.segment_at(self.next);
        let end = self.log.ends_at.and(Some(self.log.end));
        let limit = next_base.or(end);
        let Some(base) = base else {
            let Some(limit) = limit else { return Ok(Entered::Nothing) };
            let what = Error::corrupt("the first segment is missing");
            return Ok(Entered::Gap(self.gap(limit, &self.log_path(self.next), 0..0, what)));
        };
        let path = self.log_path(base);
        let log = match self.log.vfs.open(&path, OpenMode::Read) {
            Ok(log) => log,
            Err(error) if is_nothing(&error) => {
                let what = Error::corrupt("the segment is missing, or no file").caused_by(error);
                let gap = self.gap(limit.unwrap_or(self.next), &path, 0..0, what);
                if limit.is_none() {
                    // Nothing is known to be behind it.
                    self.end = Some(self.next);
                }
                return Ok(Entered::Gap(gap));
            }
            Err(error) => return Err(error).doing("open", &path),
        };
        let size = log.size().doing("measure", &path)?;
        let len =
            self.log.ends_at.filter(|(segment, _)| *segment == base).map_or(size, |(_, at)| at.min(size));
        let index = offset_index(self.log.vfs.as_ref(), &path, base);
        let walk = LogWalk::new(FileView::Read(log), Some(base), len, &self.log.codecs).before(limit);
        let walk = match self.begins_at {
            Some((segment, position)) if segment == base => {
                walk.with_index(index).behind(position, self.next)
            }
            _ => walk.with_index(index).near(self.next),
        };
        Ok(Entered::Segment(Box::new(SegmentWalk { base, path, limit, walk, damage: None })))
    }

    /// The base of the segment that is to hold an offset, and that of the next one. A segment with the end of the log is
    /// there, even if its file is not.
    fn segment_at(&self, offset: Offset) -> (Option<Offset>, Option<Offset>) {
        let last = self.log.ends_at.map(|(segment, _)| segment).filter(|last| *last < self.log.end);
        let (mut base, mut next): (Option<Offset>, Option<Offset>) = (None, None);
        let known = self.log.bases.iter().copied().filter(|base| last.is_none_or(|last| *base <= last));
        for found in known.chain(last) {
            if found <= offset {
                base = base.max(Some(found));
            } else if next.is_none_or(|next| found < next)
                && self.log.ends_at.is_none_or(|_| found < self.log.end)
            {
                next = Some(found);
            }
        }
        (base, next)
    }

    fn log_path(&self, base: Offset) -> PathBuf {
        self.log.place.dir.join(SegmentFile::Log.name(base))
    }

    /// Comes to a batch, behind a gap perhaps.
    fn come_to(&mut self, found: Found) -> Option<Passed> {
        let header = &found.header;
        let segment = self.segment.as_mut()?;
        let position = found.position..found.position.saturating_add(header.size as u64);
        if header.next_offset() <= self.next {
            // It lies before the beginning, and so does what was damaged before it.
            segment.damage = None;
            return None;
        }
        if segment.limit.into_iter().chain(self.end).any(|end| header.next_offset() > end) {
            let what = "a batch reaches beyond the end of what is to be there";
            segment.note(position, 0, Error::corrupt(what));
            return None;
        }
        let first = header.base_offset;
        let (damage, path) = (segment.damage.take(), segment.path.clone());
        if first > self.next && (damage.is_some() || !self.log.may_lack(self.next, self.next..first)) {
            let damage = damage.unwrap_or_else(|| Damage {
                bytes: found.position..found.position,
                claimed_end: first,
                error: Error::corrupt("no batch holds these offsets"),
            });
            let gap = self.gap(first, &path, damage.bytes, damage.error);
            self.found = Some(found);
            return Some(self.pass_gap(gap));
        }
        Some(self.pass(found))
    }

    /// Moves past a batch that follows, unless it has a leader epoch that its offset cannot have: like the offset, that lies
    /// outside the checksum.
    fn pass(&mut self, found: Found) -> Passed {
        let header = &found.header;
        let (next, epoch) = (header.next_offset(), header.leader_epoch);
        let end = found.position.saturating_add(header.size as u64);
        let Some(segment) = &self.segment else { return Passed::Batch(found) };
        if self.log.is_epoch_of(header.base_offset, epoch) {
            (self.next, self.whole_end) = (next, Some((next, (segment.base, end))));
            return Passed::Batch(found);
        }
        let what = format!("a batch has the leader epoch {epoch}, which is not that of its offset");
        let gap = self.gap(next, &segment.path.clone(), found.position..end, Error::corrupt(what));
        self.pass_gap(gap)
    }

    /// Comes to the end of a segment.
    fn leave(&mut self) -> Option<Passed> {
        let SegmentWalk { path, limit, walk, damage, .. } = self.segment.take()?;
        let position = walk.position();
        let to = match (limit, &damage) {
            (Some(limit), _) => limit,
            (None, Some(damage)) => damage.claimed_end.max(self.next),
            (None, None) => self.next,
        };
        if limit.is_none() {
            // Nothing is known to be behind it.
            self.end = Some(to);
        }
        match damage {
            // Behind a log whose end is not known something may have stood all the same.
            None if to <= self.next => None,
            Some(_) if limit.is_some() && to <= self.next => None,
            None if self.log.may_lack(to.saturating_sub(1), self.next..to) => {
                self.next = to;
                None
            }
            damage => {
                let damage = damage.unwrap_or_else(|| Damage {
                    bytes: position..position,
                    claimed_end: to,
                    error: Error::corrupt("the segment ends before the offset that follows on it"),
                });
                let gap = self.gap(to, &path, damage.bytes, damage.error);
                Some(self.pass_gap(gap))
            }
        }
    }

    /// A gap from the offset that is due to `end`.
    fn gap(&self, end: Offset, path: &Path, bytes: Range<u64>, error: Error) -> Gap {
        let offsets = self.next..end.min(self.end.unwrap_or(MAX_OFFSET)).max(self.next);
        let place = &self.log.place;
        Gap::new((place.topic.as_str(), place.partition), offsets, path, bytes, error)
    }

    fn pass_gap(&mut self, gap: Gap) -> Passed {
        self.next = gap.offsets().end;
        Passed::Gap(gap)
    }
}

impl SegmentWalk {
    /// Takes note of a place without a batch; several in a row are one gap, with the reason of the first.
    fn note(&mut self, bytes: Range<u64>, claimed_end: Offset, error: Error) {
        match &mut self.damage {
            Some(damage) => {
                damage.bytes.end = bytes.end;
                damage.claimed_end = damage.claimed_end.max(claimed_end);
            }
            none => *none = Some(Damage { bytes, claimed_end, error }),
        }
    }
}

/// What stands where a segment is to be.
enum Entered {
    Segment(Box<SegmentWalk>),
    Gap(Gap),
    /// The files end here, and nothing says that there is to be more.
    Nothing,
}

/// Whether it says that there is no file to be read, rather than that it cannot be at the moment.
fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory
    )
}
