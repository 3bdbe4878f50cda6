//! Kafka's checkpoints at the root: what a Kafka broker that takes the directory over wants to know. We write them, and
//! believe nothing of them: our evidence is the ends file.
//!
//! ```text
//! 0
//! 2
//! orders 0 17
//! orders 1 4
//! ```
//!
//! Of each partition the recovery point (its proven end), the high watermark, and where its log starts if that is not
//! where its first segment does.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::topic_logs::{Topics, all_logs};
use crate::agenda::Chore;
use crate::checkpoint;
use crate::error::{IoContext, Result};
use crate::file_name::{HIGH_WATERMARKS, LOG_STARTS, RECOVERY_POINTS, temporary};
use crate::model::{MAX_OFFSET, Offset, PartitionId, TopicName};
use crate::partition_log::PartitionLog;
use crate::sync::Mutex;
use crate::vfs::{Vfs, read_file, stage_file};

/// More is no checkpoint: a partition takes some 30 bytes.
const MAX_LEN: u64 = 256 * 1024 * 1024;

/// Writes the checkpoints of a directory.
#[derive(Debug)]
pub struct Checkpoints {
    vfs: Arc<dyn Vfs>,
    root: Arc<Path>,
    topics: Arc<Topics>,
    /// False from the moment at which the broker closes, whose last checkpoints are its own. Held while they are written.
    is_open: Mutex<bool>,
}

impl Checkpoints {
    pub fn new(vfs: Arc<dyn Vfs>, root: Arc<Path>, topics: Arc<Topics>) -> Self {
        Self { vfs, root, topics, is_open: Mutex::new(true) }
    }

    /// Writes them for the last time.
    pub fn close(&self, logs: &[Arc<PartitionLog>]) -> Result<()> {
        let mut is_open = self.is_open.lock();
        *is_open = false;
        write(self.vfs.as_ref(), &self.root, logs)
    }

    /// Writes no more of them.
    pub fn end(&self) {
        *self.is_open.lock() = false;
    }
}

impl Chore for Checkpoints {
    fn run(&self, _now: Duration) -> Option<Duration> {
        let is_open = self.is_open.lock();
        if !*is_open {
            return None;
        }
        let logs = all_logs(&self.topics.read());
        // Nobody but Kafka misses them, and the next ones come with the next records.
        _ = write(self.vfs.as_ref(), &self.root, &logs);
        None
    }
}

/// Writes the checkpoints of these partitions. A damaged one is left out: Kafka then looks at all of it.
fn write(vfs: &dyn Vfs, root: &Path, logs: &[Arc<PartitionLog>]) -> Result<()> {
    let logs: Vec<_> = logs.iter().filter(|log| log.damage().is_none()).collect();
    let lines = |end: fn(&PartitionLog) -> Offset| logs.iter().map(|log| line(log, end(log))).collect();
    let starts = logs.iter().filter(|log| log.log_start_offset() > log.first_segment());
    let texts: [(&str, Vec<String>); 3] = [
        (RECOVERY_POINTS, lines(PartitionLog::recovery_point)),
        (HIGH_WATERMARKS, lines(PartitionLog::high_watermark)),
        (LOG_STARTS, starts.map(|log| line(log, log.log_start_offset())).collect()),
    ];
    for (name, lines) in &texts {
        let text = checkpoint::encode(lines.iter());
        stage_file(vfs, root, name, text.as_bytes()).doing("write", &root.join(name))?;
    }
    // One sync of the directory is enough for all.
    for (name, _) in &texts {
        vfs.rename(&root.join(temporary(name)), &root.join(name)).doing("replace", &root.join(name))?;
    }
    vfs.sync_dir(root).doing("sync", root)
}

fn line(log: &PartitionLog, offset: Offset) -> String {
    format!("{} {} {offset}", log.topic(), log.partition())
}

/// What is wrong with the checkpoints that are there; they are written anew.
pub fn complaints(vfs: &dyn Vfs, root: &Path) -> Vec<String> {
    let complaint = |name: &&str| match read_file(vfs, &root.join(name), MAX_LEN) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("{name} cannot be read, and is written anew: {error}")),
        Ok(bytes) => match checkpoint::decode(&bytes, decode_line) {
            Ok(_) => None,
            Err(error) => Some(format!("{name} is written anew: {error}")),
        },
    };
    [RECOVERY_POINTS, HIGH_WATERMARKS, LOG_STARTS].iter().filter_map(complaint).collect()
}

/// An entry: topic, partition, offset.
pub fn decode_line(line: &str) -> Option<(TopicName, PartitionId, Offset)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [topic, partition, offset] = words[..] else { return None };
    let offset = offset.parse().ok().filter(|offset| *offset <= MAX_OFFSET)?;
    Some((TopicName::new(topic).ok()?, partition.parse().ok()?, offset))
}
