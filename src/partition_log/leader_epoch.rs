//! Where each leader epoch begins: Kafka's `leader-epoch-checkpoint`, a text file.
//!
//! ```text
//! 0            version
//! 2            number of entries
//! 0 0          epoch, start offset
//! 3 1500
//! ```
//!
//! Epochs and start offsets both strictly rise (Kafka: `LeaderEpochFileCache`, `CheckpointFile`).
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::io;
use std::path::Path;

use crate::checkpoint;
use crate::error::{Error, IoContext, Result};
use crate::file_name::LEADER_EPOCH_CHECKPOINT;
use crate::model::{LeaderEpoch, MAX_OFFSET, Offset};
use crate::vfs::{Vfs, commit_file, read_file, stage_file};

/// The leader epochs of a partition, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    epoch: LeaderEpoch,
    start: Offset,
}

/// More is no checkpoint: an entry comes with an unclean stop, and takes some 20 bytes.
const MAX_LEN: u64 = 16 * 1024 * 1024;

impl LeaderEpochs {
    /// The newest epoch, if the partition ever had an append.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Each epoch with the offset at which it begins, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (LeaderEpoch, Offset)> + '_ {
        self.entries.iter().map(|entry| (entry.epoch, entry.start))
    }

    /// Begins `epoch` at `start`; both must lie above those of the newest entry.
    pub fn begin(&mut self, epoch: LeaderEpoch, start: Offset) {
        debug_assert!(self.entries.last().is_none_or(|last| last.epoch < epoch && last.start < start));
        self.entries.push(Entry { epoch, start });
    }

    /// Takes note of a batch at `start` that has this epoch; what the log has contradicts goes (Kafka:
    /// `LeaderEpochFileCache.assign`).
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start <= start) {
            return;
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start < start);
        self.entries.push(Entry { epoch, start });
    }

    /// The same epochs, but for those above `highest`, which count as that one.
    pub fn capped_at(&self, highest: LeaderEpoch) -> Self {
        let mut capped = Self::default();
        self.entries.iter().for_each(|entry| {
            if capped.latest() != Some(highest) {
                capped.assign(entry.epoch.min(highest), entry.start);
            }
        });
        capped
    }

    /// Forgets the epochs that begin at `end` or behind it (Kafka: `LeaderEpochFileCache.truncateFromEnd`).
    pub fn truncate_from_end(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.start < end);
    }

    /// Reads the checkpoint of a partition directory. A missing one is one without entries, unless the partition
    /// is known to hold records, up to `end`: their epochs cannot be made again.
    pub fn load(vfs: &dyn Vfs, dir: &Path, end: Offset) -> Result<Self> {
        let path = dir.join(LEADER_EPOCH_CHECKPOINT);
        let epochs = Self::read(vfs, dir)?.unwrap_or_default();
        if end > 0 && epochs.latest().is_none() {
            let what = "the leader epochs of a partition with records are missing";
            return Err(Error::corrupt(what).in_file(&path));
        }
        Ok(epochs)
    }

    /// Fails unless they can be those of a log from `start` to `end` that was closed in order: its last record has an epoch,
    /// and none begins behind its end.
    pub fn require_within(&self, start: Offset, end: Offset, dir: &Path) -> Result<()> {
        let corrupt = |what: String, at| {
            Err(Error::corrupt(what).at_offset(at).in_file(&dir.join(LEADER_EPOCH_CHECKPOINT)))
        };
        if let Some(late) = self.entries.iter().find(|entry| entry.start > end) {
            let Entry { epoch, start } = late;
            return corrupt(
                format!("leader epoch {epoch} begins at offset {start}, and the log ends at {end}"),
                end,
            );
        }
        match end.checked_sub(1).filter(|last| *last >= start && self.at(*last).is_none()) {
            Some(last) => corrupt("the last record has no leader epoch".to_owned(), last),
            None => Ok(()),
        }
    }

    /// What the checkpoint of a partition directory says, if there is one.
    pub fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(LEADER_EPOCH_CHECKPOINT);
        match read_file(vfs, &path, MAX_LEN) {
            Ok(bytes) => Self::decode(&bytes).map(Some).map_err(|error| error.in_file(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("read", &path),
        }
    }

    /// Writes the checkpoint under its temporary name, durably.
    pub fn stage(&self, vfs: &dyn Vfs, dir: &Path) -> Result<()> {
        stage_file(vfs, dir, LEADER_EPOCH_CHECKPOINT, self.encode().as_bytes())
            .doing("write", &dir.join(LEADER_EPOCH_CHECKPOINT))
    }

    /// Gives what was staged its name, durably.
    pub fn commit(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
        commit_file(vfs, dir, LEADER_EPOCH_CHECKPOINT).doing("replace", &dir.join(LEADER_EPOCH_CHECKPOINT))
    }

    /// The epoch of a record at `offset`, if the partition has any.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.entries.partition_point(|entry| entry.start <= offset);
        behind.checked_sub(1).and_then(|at| self.entries.get(at)).map(|entry| entry.epoch)
    }

    /// Where the records of `epoch`, and of those before it, end; `None` if that is where the log ends (Kafka:
    /// `LeaderEpochFileCache.endOffsetFor`).
    pub fn end_of(&self, epoch: LeaderEpoch) -> Option<Offset> {
        self.entries.iter().find(|entry| entry.epoch > epoch).map(|entry| entry.start)
    }

    pub fn encode(&self) -> String {
        checkpoint::encode(self.entries.iter().map(|Entry { epoch, start }| format!("{epoch} {start}")))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let entries = checkpoint::decode(bytes, Self::decode_line)?;
        let rises = |pair: &[Entry]| match pair {
            [one, next] => one.epoch < next.epoch && one.start < next.start,
            _ => true,
        };
        if entries.windows(2).all(rises) {
            Ok(Self { entries })
        } else {
            Err(checkpoint::malformed("its epochs or offsets do not rise"))
        }
    }

    fn decode_line(line: &str) -> Option<Entry> {
        let mut words = line.split_whitespace();
        let epoch: LeaderEpoch = words.next()?.parse().ok()?;
        let start: Offset = words.next()?.parse().ok()?;
        let in_range = i32::try_from(epoch).is_ok() && start <= MAX_OFFSET && words.next().is_none();
        in_range.then_some(Entry { epoch, start })
    }
}
