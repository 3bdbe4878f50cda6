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

use std::fmt::Write;
use std::io;
use std::path::Path;

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

    /// Begins `epoch` at `start`; both must lie above those of the newest entry.
    pub fn begin(&mut self, epoch: LeaderEpoch, start: Offset) {
        debug_assert!(self.entries.last().is_none_or(|last| last.epoch < epoch && last.start < start));
        self.entries.push(Entry { epoch, start });
    }

    /// Forgets the epochs that begin at `end` or behind it (Kafka: `LeaderEpochFileCache.truncateFromEnd`).
    pub fn truncate_from_end(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.start < end);
    }

    /// Reads the checkpoint of a partition directory. A missing one is one without entries, unless the partition
    /// is known to hold records, up to `end`: their epochs cannot be made again.
    pub fn load(vfs: &dyn Vfs, dir: &Path, end: Offset) -> Result<Self> {
        let path = dir.join(LEADER_EPOCH_CHECKPOINT);
        let epochs = match read_file(vfs, &path, MAX_LEN) {
            Ok(bytes) => Self::decode(&bytes).map_err(|error| error.in_file(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).doing("read", &path),
        };
        if end > 0 && epochs.latest().is_none() {
            let what = "the leader epochs of a partition with records are missing";
            return Err(Error::corrupt(what).in_file(&path));
        }
        Ok(epochs)
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

    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for Entry { epoch, start } in &self.entries {
            // Writing to a string does not fail.
            _ = writeln!(text, "{epoch} {start}");
        }
        text
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is no text"))?;
        let mut lines = text.lines();
        if lines.next() != Some("0") {
            return Err(malformed("its version is not 0"));
        }
        let count: usize =
            lines.next().and_then(|line| line.parse().ok()).ok_or_else(|| malformed("it has no count"))?;
        let mut entries: Vec<Entry> = Vec::new();
        for line in lines {
            let entry = Self::decode_line(line).ok_or_else(|| malformed("a line is no epoch and offset"))?;
            if entries.last().is_some_and(|last| last.epoch >= entry.epoch || last.start >= entry.start) {
                return Err(malformed("its epochs or offsets do not rise"));
            }
            entries.push(entry);
        }
        if entries.len() == count { Ok(Self { entries }) } else { Err(malformed("its count is wrong")) }
    }

    fn decode_line(line: &str) -> Option<Entry> {
        let mut words = line.split_whitespace();
        let epoch: LeaderEpoch = words.next()?.parse().ok()?;
        let start: Offset = words.next()?.parse().ok()?;
        let in_range = i32::try_from(epoch).is_ok() && start <= MAX_OFFSET && words.next().is_none();
        in_range.then_some(Entry { epoch, start })
    }
}

fn malformed(reason: &str) -> Error {
    Error::corrupt(format!("a leader epoch checkpoint cannot be read: {reason}"))
}
