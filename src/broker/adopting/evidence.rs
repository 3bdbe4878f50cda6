//! What a Kafka broker has left as evidence of how it stopped: the clean-shutdown marker and two checkpoints.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::broker::checkpoints;
use crate::checkpoint;
use crate::error::{IoContext, Result};
use crate::file_name::{CLEAN_SHUTDOWN, LOG_STARTS, RECOVERY_POINTS};
use crate::model::{Offset, PartitionId, TopicName};
use crate::vfs::{EntryKind, Vfs, read_file};

/// More is no checkpoint: a partition takes some 30 bytes.
const MAX_LEN: u64 = 256 * 1024 * 1024;

/// An offset for each partition that has one.
pub type Offsets = BTreeMap<(TopicName, PartitionId), Offset>;

/// How the broker stopped, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Whether every partition was synced and closed.
    pub clean: bool,
    /// Up to where each partition is known to be synced.
    pub recovery_points: Offsets,
    /// Where a partition begins, if that is not where its first segment does.
    pub log_starts: Offsets,
}

/// What it says of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionEvidence {
    pub clean: bool,
    pub recovery_point: Offset,
    pub log_start: Offset,
}

impl Evidence {
    pub fn read(vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let marker = root.join(CLEAN_SHUTDOWN);
        // Whatever it holds: older brokers leave it empty.
        let clean = vfs.kind(&marker).doing("look at", &marker)? == Some(EntryKind::File);
        Ok(Self {
            clean,
            recovery_points: read_offsets(vfs, root, RECOVERY_POINTS)?,
            log_starts: read_offsets(vfs, root, LOG_STARTS)?,
        })
    }

    /// An offset that is not there is 0, as for Kafka.
    pub fn of(&self, topic: &TopicName, partition: PartitionId) -> PartitionEvidence {
        let key = (topic.clone(), partition);
        let offset = |offsets: &Offsets| offsets.get(&key).copied().unwrap_or_default();
        PartitionEvidence {
            clean: self.clean,
            recovery_point: offset(&self.recovery_points),
            log_start: offset(&self.log_starts),
        }
    }
}

/// The offsets of a checkpoint; one that is not there, or blank, has none.
pub fn read_offsets(vfs: &dyn Vfs, root: &Path, name: &str) -> Result<Offsets> {
    let path = root.join(name);
    let bytes = match read_file(vfs, &path, MAX_LEN) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offsets::new()),
        read => read.doing("read", &path)?,
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Offsets::new());
    }
    let entries = checkpoint::decode(&bytes, checkpoints::decode_line).map_err(|error| {
        error.in_file(&path).advise(
            "nothing was changed; a broker that is started on the directory and stopped again looks at every log \
             and writes the file anew",
        )
    })?;
    Ok(entries.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect())
}
