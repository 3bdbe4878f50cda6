//! A file: what this process reads, what survives a power cut, and every change between the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::{Content, Part, Sector, parts};

/// A regular file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// What reads see: the page cache.
    pub cached: Content,
    /// What is on the disk for certain.
    pub durable: Content,
    /// What was done to the first and is not certain in the second, in the order of doing.
    pub pending: Vec<FileChange>,
    /// The sectors that a failed sync gave up, each with its first byte that was: reads see them, the disk will
    /// not, whatever a later sync says.
    lost: BTreeMap<u64, usize>,
    pub locked: bool,
    /// Held by each open handle as well.
    pub open: Arc<()>,
}

/// A change of a file that no sync has made durable yet.
#[derive(Clone, Debug)]
pub struct FileChange {
    /// Its place among all changes of the file system.
    pub sequence: u64,
    /// What it made of each sector that it wrote.
    pub sectors: Vec<SectorWrite>,
    /// The length that it gave the file, if that was another one.
    pub len: Option<u64>,
}

/// A sector as it stood behind a write, and the bytes of it that the write was about.
#[derive(Clone, Debug)]
pub struct SectorWrite {
    pub part: Part,
    pub bytes: Arc<Sector>,
}

impl File {
    /// A file with nothing pending.
    pub fn settled(content: Content) -> Self {
        Self { cached: content.clone(), durable: content, ..Self::default() }
    }

    pub fn write(&mut self, bytes: &[u8], position: u64, sequence: u64) {
        let before = self.cached.len();
        self.cached.write(bytes, position);
        let len = (self.cached.len() != before).then(|| self.cached.len());
        self.record(sequence, parts(position, bytes.len()), len);
    }

    /// Cuts or extends. A cut below bytes that a failed sync gave up is the end of them.
    pub fn set_len(&mut self, len: u64, sequence: u64) {
        let before = self.cached.len();
        if len == before {
            return;
        }
        self.cached.set_len(len);
        self.forget_lost_behind(len);
        // The sector in which the file now ends is written with zeros behind the end.
        let zeroed = before.min(len.next_multiple_of(super::SECTOR as u64)).saturating_sub(len);
        self.record(sequence, parts(len, usize::try_from(zeroed).unwrap_or_default()), Some(len));
    }

    fn record(&mut self, sequence: u64, parts: impl Iterator<Item = Part>, len: Option<u64>) {
        let reaches_disk = parts.filter(|part| !self.lost.contains_key(&part.sector));
        let write = |part: Part| SectorWrite { bytes: self.cached.sector(part.sector), part };
        let sectors: Vec<_> = reaches_disk.map(write).collect();
        if !sectors.is_empty() || len.is_some() {
            self.pending.push(FileChange { sequence, sectors, len });
        }
    }

    /// Everything that can reach the disk is on it; returns the newest change that now is.
    pub fn sync(&mut self) -> Option<u64> {
        let newest = self.pending.last().map(|change| change.sequence);
        for change in self.pending.drain(..) {
            if let Some(len) = change.len {
                self.durable.set_len(len);
            }
            for write in change.sectors {
                self.durable.put(write.part.sector, write.bytes);
            }
        }
        newest
    }

    /// A sync that failed: the bytes that waited for it will never be on the disk. The length may come there
    /// still, on its own: it is no data.
    pub fn fail_sync(&mut self) {
        for mut change in std::mem::take(&mut self.pending) {
            for SectorWrite { part, .. } in change.sectors.drain(..) {
                let first = self.lost.entry(part.sector).or_insert(part.range.start);
                *first = part.range.start.min(*first);
            }
            if let Some(len) = change.len {
                self.forget_lost_behind(len);
                self.pending.push(change);
            }
        }
    }

    fn forget_lost_behind(&mut self, len: u64) {
        self.lost.retain(|sector, first| Part { sector: *sector, range: *first..*first }.position() < len);
    }

    /// The sectors that reads see and the disk does not hold.
    pub fn lost(&self) -> impl Iterator<Item = u64> {
        self.lost.keys().copied()
    }

    /// What a read past the cache sees: everything that waits is written first, what was given up is not there.
    pub fn on_disk(&self) -> Content {
        let mut content = self.cached.clone();
        for sector in self.lost() {
            content.put(sector, self.durable.sector(sector));
        }
        // On the disk there may be more than the file is long.
        content.set_len(self.cached.len());
        content
    }

    /// Reads see the disk again, and what is written now can reach it.
    pub fn drop_cache(&mut self) {
        self.cached = self.on_disk();
        self.lost.clear();
    }
}
