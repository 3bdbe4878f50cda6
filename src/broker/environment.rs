//! What every part of an open directory is given.

use std::path::Path;
use std::sync::Arc;

use super::manifest::TopicEntry;
use super::options::BrokerOptions;
use crate::agenda::{Agenda, Reminder};
use crate::ends_file::EndsSlot;
use crate::file_name::partition_dir;
use crate::model::TopicName;
use crate::partition_log::{BufferMemory, LogContext};
use crate::record_batch::Codecs;
use crate::segment::SegmentDir;
use crate::vfs::{Budget, ProcessMark, Vfs};

/// The file system, the place in it, and what the broker does in time.
#[derive(Clone, Debug)]
pub struct Environment {
    pub vfs: Arc<dyn Vfs>,
    pub root: Arc<Path>,
    pub options: BrokerOptions,
    pub agenda: Arc<Agenda>,
    /// Of the files that `vfs` opens.
    pub budget: Arc<Budget>,
    /// Has Kafka's checkpoints written.
    pub checkpoints: Arc<Reminder>,
    /// Of the process that opened the directory.
    pub mark: Arc<ProcessMark>,
    /// What records take that are on their way to the files.
    pub buffer: Arc<BufferMemory>,
    /// What batches are compressed and decompressed with.
    pub codecs: Arc<Codecs>,
}

impl Environment {
    /// What a partition is given; the slot says which one it is.
    pub fn log_context(&self, name: &TopicName, entry: &TopicEntry, slot: EndsSlot) -> LogContext {
        let partition = slot.owner().partition;
        let dir = self.root.join(partition_dir(name, partition));
        LogContext {
            topic: name.as_str().into(),
            partition,
            config: entry.config.clone(),
            dir: SegmentDir::new(Arc::clone(&self.vfs), &dir, self.options.memory_maps)
                .with_kafka_end(entry.adopted_end(partition)),
            clock: self.options.clock.clone(),
            // Batches that could not be read again are not filled.
            batch_size: self.options.batch_size.min(self.options.max_decompressed_bytes),
            root: Arc::clone(&self.root),
            slot,
            agenda: Arc::clone(&self.agenda),
            budget: Arc::clone(&self.budget),
            checkpoints: Arc::clone(&self.checkpoints),
            mark: Arc::clone(&self.mark),
            buffer: Arc::clone(&self.buffer),
            codecs: Arc::clone(&self.codecs),
            max_block: self.options.max_block,
            has_crew: self.options.background,
            is_tended: self.options.background || self.options.ticks_come,
        }
    }
}
