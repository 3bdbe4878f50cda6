//! The items of a file or a directory, read as they are asked for.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entries::EntryReader;
use super::item::{BatchInfo, Content, DamageInfo, Item};
use super::log_walk::{Found, LogWalk, Step};
use super::{FileKind, small_files};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::Offset;
use crate::record_batch::Codecs;
use crate::segment::{IndexEntry, IndexView, OffsetEntry, TimeEntry};
use crate::vfs::{EntryKind, FileView, OpenMode, Vfs};

/// The items of a file, or of all files of a directory, an iterator. It holds the bytes of a batch and no more.
///
/// A place that cannot be read is an item, too ([`Content::Damage`]), and so is a file that cannot be opened; what comes
/// then is what can be read behind it.
#[derive(Debug)]
pub struct Items {
    vfs: Arc<dyn Vfs>,
    with_records: bool,
    codecs: Arc<Codecs>,
    /// Files and directories to come.
    places: VecDeque<PathBuf>,
    /// The one that is being read.
    file: Option<(Arc<Path>, Source)>,
    /// What was found already, of the file.
    ready: VecDeque<(u64, Content)>,
}

/// Where the items of a file come from.
#[derive(Debug)]
enum Source {
    Log(Box<LogWalk>),
    OffsetIndex(EntryReader<OffsetEntry>, Offset),
    TimeIndex(EntryReader<TimeEntry>, Offset),
    /// All were found at once.
    Ready,
}

impl Items {
    /// Of the file or directory at `path`.
    pub(super) fn open(vfs: Arc<dyn Vfs>, path: &Path, with_records: bool) -> Result<Self> {
        let places = match list(vfs.as_ref(), path) {
            Ok(Some(places)) => places,
            Ok(None) => VecDeque::from([path.to_owned()]),
            Err(error) => return Err(error),
        };
        Ok(Self { vfs, with_records, codecs: super::codecs(), places, file: None, ready: VecDeque::new() })
    }

    fn next_item(&mut self) -> Option<Item> {
        loop {
            if let Some((position, content)) = self.ready.pop_front() {
                let (file, _) = self.file.as_ref()?;
                return Some(Item { file: Arc::clone(file), position, content });
            }
            let ready = &mut self.ready;
            let goes_on = self.file.as_mut().is_some_and(|(path, source)| source.read(path, ready));
            if !goes_on {
                let place = self.places.pop_front()?;
                self.begin(place);
            }
        }
    }

    /// Goes on to the next file, or puts those of a directory in front of what is to come.
    fn begin(&mut self, place: PathBuf) {
        match list(self.vfs.as_ref(), &place) {
            Ok(Some(inside)) => {
                self.file = None;
                inside.into_iter().rev().for_each(|path| self.places.push_front(path));
            }
            Ok(None) => {
                let source = self.open_file(&place).unwrap_or_else(|error| self.damaged(error));
                self.file = Some((place.into(), source));
            }
            Err(error) => {
                let source = self.damaged(error);
                self.file = Some((place.into(), source));
            }
        }
    }

    fn damaged(&mut self, error: Error) -> Source {
        self.ready.push_back((0, Content::Damage(DamageInfo { bytes: 0..0, offsets: None, error })));
        Source::Ready
    }

    fn open_file(&mut self, path: &Path) -> Result<Source> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (kind, base) = FileKind::of(&name);
        let file = self.vfs.open(path, OpenMode::Read).doing("open", path)?;
        let len = file.size().doing("measure", path)?;
        let view = FileView::Read(file);
        self.ready.push_back((0, Content::File { kind, len }));
        let from = base.unwrap_or_default();
        Ok(match kind {
            _ if kind.holds_batches() => {
                let index = base.and_then(|base| offset_index(self.vfs.as_ref(), path, base));
                let walk = LogWalk::new(view, base, len, &self.codecs);
                Source::Log(Box::new(walk.with_index(index).with_records(self.with_records)))
            }
            FileKind::OffsetIndex => Source::OffsetIndex(EntryReader::new(view, len), from),
            FileKind::TimeIndex => Source::TimeIndex(EntryReader::new(view, len), from),
            _ => {
                self.ready.extend(small_files::contents(self.vfs.as_ref(), path, kind, from));
                Source::Ready
            }
        })
    }
}

impl Iterator for Items {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.next_item()
    }
}

impl Source {
    /// Reads on; false at the end.
    fn read(&mut self, path: &Path, ready: &mut VecDeque<(u64, Content)>) -> bool {
        match self {
            Self::Log(walk) => match walk.step() {
                Some(step) => show(step, path, ready),
                None => return false,
            },
            Self::OffsetIndex(entries, base) => {
                let content = |entry: OffsetEntry| Content::OffsetIndexEntry {
                    offset: base.saturating_add(entry.relative_offset.into()),
                    batch_position: entry.position.into(),
                };
                return read_entry(entries, path, content, ready);
            }
            Self::TimeIndex(entries, base) => {
                let content = |entry: TimeEntry| Content::TimeIndexEntry {
                    timestamp: entry.timestamp,
                    offset: base.saturating_add(entry.relative_offset.into()),
                };
                return read_entry(entries, path, content, ready);
            }
            Self::Ready => return false,
        }
        true
    }
}

fn read_entry<E: IndexEntry>(
    entries: &mut EntryReader<E>,
    path: &Path,
    content: impl Fn(E) -> Content,
    ready: &mut VecDeque<(u64, Content)>,
) -> bool {
    let (position, left) = (entries.position(), entries.left());
    let bytes = position..position.saturating_add(left);
    let error = match entries.next_entry() {
        Ok(Some((position, entry))) => {
            ready.push_back((position, content(entry)));
            return true;
        }
        Ok(None) if left == 0 => return false,
        Ok(None) => Error::corrupt(format!("an index ends with {left} bytes of an entry")),
        Err(error) => Error::storage("read", path, error),
    };
    let error = error.in_file(path).at_position(position);
    ready.push_back((position, Content::Damage(DamageInfo { bytes, offsets: None, error })));
    *entries = EntryReader::new(FileView::Mapped(bytes::Bytes::new()), 0);
    true
}

fn show(step: Step, path: &Path, ready: &mut VecDeque<(u64, Content)>) {
    match step {
        Step::Batch(Found { position, header, batch, missing, .. }) => {
            let missing = missing.end.saturating_sub(missing.start);
            ready.push_back((position, Content::Batch(BatchInfo::of(&header, missing))));
            match batch {
                None => {}
                Some(Ok(batch)) if batch.is_control() => {
                    let marker = batch.control_record();
                    ready.extend(marker.map(|marker| (position, Content::Marker(marker.into()))));
                }
                Some(Ok(batch)) => {
                    ready.extend(batch.records().map(|record| (position, Content::Record(record))));
                }
                Some(Err(error)) => {
                    let error = error.in_file(path).at_position(position);
                    let bytes = position..position.saturating_add(header.size as u64);
                    let offsets = Some(header.base_offset..header.next_offset());
                    ready.push_back((position, Content::Damage(DamageInfo { bytes, offsets, error })));
                }
            }
        }
        Step::Damaged(place) => {
            let damage = DamageInfo {
                bytes: place.bytes.clone(),
                offsets: Some(place.offsets),
                error: place.error.in_file(path),
            };
            ready.push_back((place.bytes.start, Content::Damage(damage)));
        }
        Step::Zeros(bytes) => {
            ready.push_back((bytes.start, Content::Zeros { len: bytes.end.saturating_sub(bytes.start) }));
        }
    }
}

/// The offset index beside a log, if there is one that can be searched.
pub fn offset_index(vfs: &dyn Vfs, log: &Path, base: Offset) -> Option<IndexView<OffsetEntry>> {
    let path = log.with_file_name(SegmentFile::OffsetIndex.name(base));
    let opened = vfs.open(&path, OpenMode::Read).map(FileView::Read);
    IndexView::of_file(opened, &path).ok().flatten()
}

/// What stands in a directory, files before directories, by name; `None` if the path is no directory.
fn list(vfs: &dyn Vfs, path: &Path) -> Result<Option<VecDeque<PathBuf>>> {
    match vfs.kind(path).doing("look at", path)? {
        Some(EntryKind::File) => return Ok(None),
        Some(_) => {}
        None => {
            let what = "there is no such file or directory";
            return Err(Error::new(ErrorKind::StorageError, what).in_file(path));
        }
    }
    let mut entries = vfs.read_dir(path).doing("list", path)?;
    entries.sort_by(|one, other| {
        let key = |entry: &crate::vfs::DirEntry| entry.kind == EntryKind::Directory;
        key(one).cmp(&key(other)).then_with(|| one.name.cmp(&other.name))
    });
    // A link or a device is nobody's, and might lead anywhere.
    let shown = entries.into_iter().filter(|entry| entry.kind != EntryKind::Other);
    Ok(Some(shown.map(|entry| path.join(entry.name)).collect()))
}
