//! The segment that takes batches.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::entry::{IndexEntry, OffsetEntry, TimeEntry};
use super::index::{ActiveIndex, Written};
use super::roll::{Incoming, RollFacts, roll_reason};
use super::scan::{BatchScan, behind_time_entry, scan_from_hint};
use super::sparse::SparseIndexer;
use super::{NextLog, SealedSegment, SegmentDir, Unsynced};
use crate::config::TopicConfig;
use crate::error::{Error, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{Offset, Timestamp};
use crate::mutant::{self, Mutant};
use crate::record_batch::{BatchHeader, PendingBatch};
use crate::sync::Mutex;
use crate::vfs::{FileView, LazyFile, OpenMode, VfsFile, is_full, write_up_to_at};

/// The file is extended ahead of the data by at least and at most this much.
const MIN_STEP: u64 = 64 * 1024;
const MAX_STEP: u64 = 16 * 1024 * 1024;

/// The segment at the end of a partition. One thread at a time has it; readers have its [`ActiveReader`].
///
/// Invariants: the log file holds whole batches up to `size`, and zeros behind them up to `allocated`; their
/// offsets rise from `base` on and end before `next_offset`; the indexes describe batches below `size`.
#[derive(Debug)]
pub struct ActiveSegment {
    reader: Arc<ActiveReader>,
    /// The reader's, without its lock. While it is `None`, the log holds nothing that was written and not synced.
    file: Option<Arc<dyn VfsFile>>,
    /// Whether it was ever there: then the log may be longer than its data.
    was_opened: bool,
    size: u64,
    allocated: u64,
    /// False once the file system has said that it cannot preallocate.
    preallocates: bool,
    next_offset: Offset,
    indexer: SparseIndexer,
    first_timestamp: Option<Timestamp>,
    created: Timestamp,
}

/// A segment that has ended, and what of it has to be synced.
#[derive(Debug)]
pub struct Finished {
    pub sealed: Arc<SealedSegment>,
    pub log: Unsynced,
    pub indexes: Unsynced,
}

/// What readers share with an [`ActiveSegment`]: the files, and the indexes under a lock of their own.
#[derive(Debug)]
pub struct ActiveReader {
    dir: SegmentDir,
    base: Offset,
    log: LazyFile,
    indexes: Mutex<Indexes>,
    /// Of the indexes, without their lock.
    index_files: [Arc<LazyFile>; 2],
}

#[derive(Debug)]
struct Indexes {
    offset: ActiveIndex<OffsetEntry>,
    time: ActiveIndex<TimeEntry>,
}

impl ActiveSegment {
    /// Creates the three files of an empty segment. Their names are durable once the directory is synced.
    pub fn create(dir: &SegmentDir, base: Offset, config: &TopicConfig, now: Timestamp) -> Result<Self> {
        for file in SegmentFile::ALWAYS {
            let path = dir.file(file, base);
            // An index that somebody left without its log means nothing; a log would.
            let how = if file == SegmentFile::Log { OpenMode::CreateNew } else { OpenMode::CreateEmpty };
            dir.vfs.open(&path, how).doing("create", &path)?;
        }
        let indexes = Some((Written::default(), Written::default()));
        Ok(Self::over(dir, base, config, now, Contents { size: 0, first_timestamp: None, indexes }))
    }

    /// Makes an empty segment of the log that was made ahead, if there is one. Its name is durable once the directory is
    /// synced. Its indexes get their files when they are first written, in the place of whatever is there.
    pub fn from_next(
        next: &NextLog,
        dir: &SegmentDir,
        base: Offset,
        config: &TopicConfig,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let Some((from, allocated)) = next.take() else { return Ok(None) };
        dir.vfs.rename(&from, &dir.file(SegmentFile::Log, base)).doing("rename", &from)?;
        let segment =
            Self::over(dir, base, config, now, Contents { size: 0, first_timestamp: None, indexes: None });
        Ok(Some(Self { allocated, was_opened: true, ..segment }))
    }

    /// Whether the next roll is near, as far as the size tells.
    pub fn is_near_its_end(&self, config: &TopicConfig) -> bool {
        let margin = (config.segment_bytes / 4).min(MAX_STEP);
        self.size.saturating_add(margin) >= config.segment_bytes
    }

    /// A segment whose files are there, and hold `contents`.
    pub(super) fn over(
        dir: &SegmentDir,
        base: Offset,
        config: &TopicConfig,
        now: Timestamp,
        contents: Contents,
    ) -> Self {
        let offset = dir.lazy(SegmentFile::OffsetIndex, base, OpenMode::Create);
        let time = dir.lazy(SegmentFile::TimeIndex, base, OpenMode::Create);
        let newest = contents.indexes.and_then(|(_, time)| time.last);
        let indexes = match contents.indexes {
            Some((in_offset, in_time)) => {
                Indexes { offset: ActiveIndex::new(offset, in_offset), time: ActiveIndex::new(time, in_time) }
            }
            None => Indexes { offset: ActiveIndex::instead_of(offset), time: ActiveIndex::instead_of(time) },
        };
        let reader = ActiveReader {
            dir: dir.clone(),
            base,
            log: dir.lazy(SegmentFile::Log, base, OpenMode::Write),
            index_files: [Arc::clone(indexes.offset.file()), Arc::clone(indexes.time.file())],
            indexes: Mutex::new(indexes),
        };
        Self {
            reader: Arc::new(reader),
            file: None,
            was_opened: false,
            size: contents.size,
            allocated: contents.size,
            preallocates: true,
            next_offset: base,
            indexer: SparseIndexer::new(base, config.index_interval_bytes, newest),
            first_timestamp: contents.first_timestamp,
            created: now,
        }
    }

    pub fn reader(&self) -> &Arc<ActiveReader> {
        &self.reader
    }

    pub fn base_offset(&self) -> Offset {
        self.reader.base
    }

    /// The offset behind the last batch.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The position behind the last batch.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many of the batches, from the front, go into this segment before it has to be rolled; 0 means now.
    pub fn fitting(
        &self,
        batches: &[PendingBatch],
        config: &TopicConfig,
        now: impl Fn() -> Timestamp,
    ) -> usize {
        let (mut facts, mut last_time) = self.facts();
        let mut indexer = None;
        for (number, PendingBatch { header, .. }) in batches.iter().enumerate() {
            let incoming = Incoming {
                size: header.size as u64,
                max_timestamp: header.max_timestamp,
                last_offset: header.last_offset(),
            };
            if roll_reason(&facts, &incoming, config, &now).is_some() {
                return number;
            }
            if number.saturating_add(1) == batches.len() {
                break;
            }
            if facts.size == 0 {
                facts.first_timestamp = present(header.max_timestamp);
            }
            if let Some(entries) = indexer.get_or_insert_with(|| self.indexer.clone()).on_batch(header, 0) {
                facts.offset_entries = facts.offset_entries.saturating_add(1);
                if entries.time.is_some_and(|entry| entry.rises_above(last_time)) {
                    facts.time_entries = facts.time_entries.saturating_add(1);
                    last_time = entries.time;
                }
            }
            facts.size = facts.size.saturating_add(incoming.size);
        }
        batches.len()
    }

    fn facts(&self) -> (RollFacts, Option<TimeEntry>) {
        let indexes = self.reader.indexes.lock();
        let facts = RollFacts {
            base: self.reader.base,
            size: self.size,
            first_timestamp: self.first_timestamp,
            created: self.created,
            offset_entries: indexes.offset.count(),
            time_entries: indexes.time.count(),
        };
        (facts, indexes.time.last())
    }

    /// Appends batches that stand one behind the other, and alone, in `bytes`, with one write.
    ///
    /// After an error those at the front that were written whole are appended; the file may hold any part of the
    /// next one, and has to be [cut back](Self::cut_back).
    pub fn append(&mut self, bytes: &[u8], batches: &[PendingBatch], config: &TopicConfig) -> Result<()> {
        let end = self.size.saturating_add(bytes.len() as u64);
        self.allocate(end, config)?;
        let from = self.size;
        let (written, outcome) = write_up_to_at(self.file()?.as_ref(), bytes, from);
        let written = self.size.saturating_add(written as u64);
        self.allocated = self.allocated.max(written);
        for PendingBatch { header, .. } in batches {
            let end = self.size.saturating_add(header.size as u64);
            if end > written {
                break;
            }
            self.note(header, self.size);
            self.size = end;
        }
        outcome.doing("append to", self.reader.log.path())
    }

    /// Extends the file ahead of an append that is to end at `end`.
    fn allocate(&mut self, end: u64, config: &TopicConfig) -> Result<()> {
        if !self.preallocates || end <= self.allocated {
            return Ok(());
        }
        let to = allocation(self.size, end, config.segment_bytes);
        match self.file()?.allocate(to) {
            Ok(()) => self.allocated = to,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.preallocates = false,
            // Too little space for the step may still be enough for the data: the write will say.
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(Error::storage("preallocate", self.reader.log.path(), error)),
        }
        Ok(())
    }

    /// The log, opened with the first append.
    fn file(&mut self) -> Result<&Arc<dyn VfsFile>> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                let file = self.reader.log.get().doing("open", self.reader.log.path())?;
                self.was_opened = true;
                Ok(none.insert(file))
            }
        }
    }

    /// Takes what a failed append has left off the file again, durably: a cut that was not synced can come back.
    pub fn cut_back(&mut self) -> Result<()> {
        if let Some(log) = &self.file {
            let cut = mutant::unless(Mutant::FailedWriteNotCut, || log.set_len(self.size));
            cut.doing("cut", self.reader.log.path())?;
            let synced = mutant::unless(Mutant::CutNotSynced, || log.sync_all());
            synced.doing("sync", self.reader.log.path())?;
            self.allocated = self.size;
        }
        Ok(())
    }

    /// Has the log synced with the next sync, and the indexes once the segment ends, though nothing was appended since they
    /// were opened.
    pub fn count_as_unsynced(&mut self) -> Result<()> {
        let mut indexes = self.reader.indexes.lock();
        let Indexes { offset, time } = &mut *indexes;
        offset.changing().doing("open", offset.file().path())?;
        time.changing().doing("open", time.file().path())?;
        drop(indexes);
        self.file().map(|_| ())
    }

    /// What has to be synced for what was appended to survive a power cut.
    pub fn unsynced(&self) -> Unsynced {
        let log = self.file.as_ref();
        Unsynced::data(log.map(|log| (Arc::clone(log), self.reader.log.path())))
    }

    /// Closes the files, of which the log MUST hold nothing unsynced; the next append opens it again. False if a reader
    /// is opening one.
    pub fn release(&mut self) -> Result<bool> {
        self.file = None;
        self.reader.release()
    }

    /// Ends the segment, and syncs it.
    pub fn seal(self, config: &TopicConfig) -> Result<Arc<SealedSegment>> {
        let Finished { sealed, log, indexes } = self.finish(config)?;
        log.and(indexes).sync()?;
        sealed.set_durable();
        Ok(sealed)
    }

    /// Ends the segment: its files get their final length and entries, which are still to be synced. Nothing is mapped
    /// before they were.
    pub fn finish(self, config: &TopicConfig) -> Result<Finished> {
        let ActiveReader { dir, base, log, indexes, .. } = &*self.reader;
        let opened = self.was_opened.then(|| log.get().doing("open", log.path())).transpose()?;
        if let Some(file) = &opened {
            // Preallocating may have extended the file further than it has said.
            if file.size().doing("measure", log.path())? != self.size {
                file.set_len(self.size).doing("trim", log.path())?;
            }
        }
        let mut indexes = indexes.lock();
        let Indexes { offset, time } = &mut *indexes;
        push_time(time, self.indexer.newest());
        offset.flush().doing("append to", offset.file().path())?;
        time.flush().doing("append to", time.file().path())?;
        let whole = |file: Option<_>, path| Unsynced::whole(file.map(|file| (file, path)));
        let ((offset, offset_path), (time, time_path)) = (of(offset)?, of(time)?);
        let sealed = SealedSegment::unsynced(dir.clone(), *base, config.index_interval_bytes);
        Ok(Finished {
            sealed: Arc::new(sealed),
            log: whole(opened, log.path()),
            indexes: whole(offset, offset_path).and(whole(time, time_path)),
        })
    }

    /// Takes note of a batch that stands at `position`, behind the ones before.
    pub(super) fn note(&mut self, header: &BatchHeader, position: u64) {
        if position == 0 {
            self.first_timestamp = present(header.max_timestamp);
        }
        self.next_offset = header.next_offset();
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        if let Some(entries) = self.indexer.on_batch(header, position) {
            let mut indexes = self.reader.indexes.lock();
            indexes.offset.push(entries.offset);
            push_time(&mut indexes.time, entries.time);
            indexes.relieve();
        }
    }

    /// Moves on to a batch that the indexes know already.
    pub(super) fn pass(&mut self, header: &BatchHeader) {
        self.next_offset = header.next_offset();
    }
}

fn of<E: IndexEntry>(index: &mut ActiveIndex<E>) -> Result<(Option<Arc<dyn VfsFile>>, &Path)> {
    let unsynced = index.take_unsynced().doing("open", index.file().path())?;
    Ok((unsynced, index.file().path()))
}

impl ActiveReader {
    pub fn base_offset(&self) -> Offset {
        self.base
    }

    /// Opens the index files, without the lock of the indexes.
    pub fn open_indexes(&self) -> Result<()> {
        self.index_files.iter().try_for_each(|file| file.get().map(|_| ()).doing("open", file.path()))
    }

    /// Closes the files that nobody reads at this moment. The log MUST hold nothing unsynced; indexes that do are synced.
    pub fn release(&self) -> Result<bool> {
        let Some(mut indexes) = self.indexes.try_lock() else { return Ok(false) };
        let Indexes { offset, time } = &mut *indexes;
        let offset = offset.release().doing("sync", offset.file().path())?;
        let time = time.release().doing("sync", time.file().path())?;
        Ok(self.log.release() && offset && time)
    }

    /// The batches from the one that holds `offset` on, up to the position `limit`.
    pub fn scan_from(&self, offset: Offset, limit: u64) -> Result<BatchScan> {
        let path = self.log.path();
        let relative = u32::try_from(offset.saturating_sub(self.base)).unwrap_or(u32::MAX);
        let hint = {
            let indexes = self.indexes.lock();
            indexes.offset.floor(relative).doing("read", indexes.offset.file().path())?
        };
        let log = FileView::Read(self.log.get().doing("open", path)?);
        let at = |position| self.dir.scan(log.clone(), self.base, position, limit);
        match scan_from_hint(at, hint, offset)? {
            Some(scan) => Ok(scan),
            // The index is not this log's: the log itself says where the batch is.
            None => scan_from_hint(at, None, offset).map(|scan| scan.unwrap_or_else(|| at(0))),
        }
    }
}

impl ActiveReader {
    /// The batches from one on before which no record has a timestamp of `time` or later, up to the position `limit`.
    pub fn scan_from_time(&self, time: Timestamp, limit: u64) -> Result<BatchScan> {
        let entry = {
            let indexes = self.indexes.lock();
            indexes.time.below(time).doing("read", indexes.time.file().path())?
        };
        if let Some(entry) = entry {
            let offset = self.base.saturating_add(entry.relative_offset.into());
            if let Some(scan) = behind_time_entry(self.scan_from(offset, limit), self.base, entry)? {
                return Ok(scan);
            }
        }
        self.scan_from(self.base, limit)
    }
}

impl Indexes {
    /// Writes entries out where many have gathered. If that fails they stay in memory: an index is only a place
    /// to begin looking, and no reason to refuse data. Sealing tries once more.
    fn relieve(&mut self) {
        if self.offset.is_long() {
            _ = self.offset.flush();
        }
        if self.time.is_long() {
            _ = self.time.flush();
        }
    }
}

/// What the files of a segment hold when it is taken over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents {
    /// Of the log, in bytes.
    pub size: u64,
    pub first_timestamp: Option<Timestamp>,
    /// `None` if they have to be made again.
    pub indexes: Option<(Written<OffsetEntry>, Written<TimeEntry>)>,
}

/// The time index takes an entry only if its timestamp is above the last one's.
fn push_time(index: &mut ActiveIndex<TimeEntry>, entry: Option<TimeEntry>) {
    if let Some(entry) = entry.filter(|entry| entry.rises_above(index.last())) {
        index.push(entry);
    }
}

/// Negative timestamps, −1 for "none" among them, say nothing about age.
fn present(timestamp: Timestamp) -> Option<Timestamp> {
    (timestamp >= 0).then_some(timestamp)
}

/// How far the file is extended when an append is to end at `end`: in proportion to what it holds, within
/// limits, and not beyond what the segment can take.
fn allocation(size: u64, end: u64, segment_bytes: u64) -> u64 {
    let step = size.clamp(MIN_STEP, MAX_STEP);
    end.saturating_add(step).min(segment_bytes).max(end)
}

/// How far the file of a segment is extended before its first append, where it is made ahead.
pub(super) fn first_step(segment_bytes: u64) -> u64 {
    allocation(0, 0, segment_bytes)
}
