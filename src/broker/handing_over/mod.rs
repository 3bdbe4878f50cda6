//! Handing a topic over to a Kafka broker: a copy of it becomes the broker's.
//!
//! Both directories are at rest, and locked, while it is done. Everything is looked at before anything is changed. Then
//! each partition is gathered in a directory inside Kafka's own, where Kafka does not look; it is synced and compared;
//! and only when all are there, each takes the place of the empty one, by two renames with names that Kafka knows. Last
//! of all come Kafka's checkpoints, and, if the topic is given up, our manifest.
//!
//! A crash leaves each partition of Kafka's empty or complete; doing it again passes over the complete ones.

mod copying;
mod report;
mod source;
mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::BrokerOptions;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::model::{PartitionId, TopicName};
use crate::segment::{SegmentDir, segment_bases};
use crate::vfs::{OsVfs, Vfs};
use copying::Comparison;
use source::{Source, SourcePartition};
use target::{Reach, Target};

pub use report::{HandOverReport, HandedOver};

/// Puts a topic into the log directory of a stopped Kafka broker.
///
/// The broker has created the topic, with as many partitions, and it is empty. Our directory was closed in order, and is
/// not open. Every record is at its offset then; record batches with a leader epoch above Kafka's get Kafka's in the
/// copy, which is all that differs. Kafka's own configuration of the topic holds from then on.
///
/// ```no_run
/// use ottla::HandOver;
/// let report = HandOver::new("orders").from("data").to("/var/lib/kafka").run()?;
/// for partition in report.partitions() {
///     println!("partition {} ends at {}", partition.partition(), partition.log_end_offset());
/// }
/// println!("{}", report.next_step());
/// # Ok::<(), ottla::Error>(())
/// ```
///
/// After a crash either side can be opened, and running it again finishes it.
pub struct HandOver {
    topic: String,
    from: PathBuf,
    to: PathBuf,
    gives_up: bool,
    progress: Box<dyn FnMut(u64, u64) + Send>,
}

impl HandOver {
    /// Of this topic.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        let (from, to) = (PathBuf::from("."), PathBuf::new());
        Self { topic: topic.to_owned(), from, to, gives_up: false, progress: Box::new(|_, _| {}) }
    }

    /// The data directory of ours that has it. Default: the working directory.
    #[must_use]
    pub fn from(mut self, directory: impl AsRef<Path>) -> Self {
        directory.as_ref().clone_into(&mut self.from);
        self
    }

    /// The log directory of the broker: one of its `log.dirs`.
    #[must_use]
    pub fn to(mut self, log_dir: impl AsRef<Path>) -> Self {
        log_dir.as_ref().clone_into(&mut self.to);
        self
    }

    /// Whether the topic is deleted on our side, once the copy is on stable storage and was compared. Default: `false`.
    #[must_use]
    pub fn give_up(mut self, on: bool) -> Self {
        self.gives_up = on;
        self
    }

    /// Told of every piece that was copied: how many bytes of the logs were, and how many there are.
    #[must_use]
    pub fn progress(mut self, tell: impl FnMut(u64, u64) + Send + 'static) -> Self {
        self.progress = Box::new(tell);
        self
    }

    /// Hands the topic over.
    ///
    /// # Errors
    /// With nothing changed: [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition) if either side has no such
    /// topic; [`InvalidPartitions`](ErrorKind::InvalidPartitions) if Kafka's has another number of partitions;
    /// [`TopicAlreadyExists`](ErrorKind::TopicAlreadyExists) if it holds records;
    /// [`DirectoryInUse`](ErrorKind::DirectoryInUse) if one of the directories is, or ours was not closed in order;
    /// [`DirectoryNotOurs`](ErrorKind::DirectoryNotOurs) if one of them is not what it should be;
    /// [`CorruptMessage`](ErrorKind::CorruptMessage) if our log, or Kafka's log, checkpoint or topic id, is
    /// damaged: [`file`](Error::file) tells which.
    /// [`StorageError`](ErrorKind::StorageError) for a failure of the file system, after which running it again goes on.
    pub fn run(mut self) -> Result<HandOverReport> {
        for path in [&mut self.from, &mut self.to] {
            *path = std::path::absolute(&*path).doing("find", path)?;
        }
        self.run_on(&(Arc::new(OsVfs) as Arc<dyn Vfs>))
    }

    /// The same on a file system of the caller's.
    pub(crate) fn run_on(self, vfs: &Arc<dyn Vfs>) -> Result<HandOverReport> {
        let Self { topic, from, to, gives_up, progress } = self;
        let name = TopicName::new(&topic)?;
        name.check_writable()?;
        let source = Source::open(vfs, &from, &name)?;
        let partitions = PartitionId::try_from(source.partitions.len()).unwrap_or(PartitionId::MAX);
        let target = Target::open(vfs, &to, &name, partitions)?;
        let work = Work { vfs: vfs.as_ref(), name: &name, source: &source, target: &target };
        let mut report =
            HandOverReport { partitions: work.carry_out(progress)?, ..HandOverReport::default() };
        let reaches =
            source.partitions.iter().zip(&report.partitions).map(|(source, done)| reach(source, done));
        let reaches = reaches.collect::<Result<Vec<_>>>()?;
        let reaches: BTreeMap<PartitionId, Reach> = (0..).zip(reaches).collect();
        target.write_checkpoints(&reaches)?;
        report.next_step = format!(
            "start the broker on {}; it goes on with topic {topic} where each partition ends",
            to.display()
        );
        if gives_up {
            source.give_up()?;
            report.given_up = true;
            // Removes its directories; what cannot be removed now is with the next opening.
            let options = BrokerOptions::default().background(false);
            let opened = options.open_with(Arc::clone(vfs), &from);
            _ = opened.and_then(|broker| broker.close(std::time::Duration::MAX));
        } else {
            report
                .next_step
                .push_str("; ours is a copy from now on: append to it no more, or delete the topic");
        }
        Ok(report)
    }
}

impl fmt::Debug for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, from, to, gives_up, .. } = self;
        f.debug_struct("HandOver")
            .field("topic", topic)
            .field("from", from)
            .field("to", to)
            .field("gives_up", gives_up)
            .finish_non_exhaustive()
    }
}

fn reach(partition: &SourcePartition, done: &HandedOver) -> Result<Reach> {
    let log_start = partition.ends.log_start;
    let first_segment = segment_bases(&partition.dir)?.first().copied().unwrap_or(log_start);
    Ok(Reach { first_segment, log_start, end: partition.ends.offset, was_there: done.was_there })
}

fn is_in(error: &Error, dir: &SegmentDir) -> bool {
    error.file().is_some_and(|file| file.starts_with(dir.path()))
}

/// Both sides, looked at.
struct Work<'a> {
    vfs: &'a dyn Vfs,
    name: &'a TopicName,
    source: &'a Source,
    target: &'a Target,
}

impl Work<'_> {
    fn carry_out(&self, progress: Box<dyn FnMut(u64, u64) + Send>) -> Result<Vec<HandedOver>> {
        let mut done = Vec::new();
        for (partition, source) in (0..).zip(&self.source.partitions) {
            done.push(self.look_at(partition, source).map_err(|error| self.place(error, partition))?);
        }
        let gathered = self.gather(&done, progress);
        if gathered.is_err() {
            // Kafka does not look there; what cannot be removed now is with the next attempt.
            (0..).zip(&done).for_each(|(partition, _)| _ = self.target.clear(partition));
        }
        for (partition, gathered) in (0..).zip(gathered?) {
            let Some(gathered) = gathered else { continue };
            self.target.exchange(partition).map_err(|error| self.place(error, partition))?;
            if let Some(place) = done.get_mut(partition as usize) {
                *place = Some(gathered);
            }
        }
        Ok(done.into_iter().flatten().collect())
    }

    /// What an earlier attempt has brought there; `None` if the partition is empty.
    fn look_at(&self, partition: PartitionId, source: &SourcePartition) -> Result<Option<HandedOver>> {
        if self.target.is_empty(partition)? {
            return Ok(None);
        }
        let (epoch, there) = (self.target.epoch(partition)?, self.target.partition(partition));
        let error = match copying::compare(source, &there, epoch) {
            Ok(Comparison::Same(same)) => return Ok(Some(HandedOver { partition, was_there: true, ..same })),
            Ok(Comparison::Differs(error)) => {
                let what =
                    "Kafka's partition is not empty, and not what an earlier hand-over has brought there";
                Error::new(ErrorKind::TopicAlreadyExists, what)
                    .in_file(error.file().unwrap_or_else(|| there.path()))
            }
            Err(error) if error.is_corruption() && !is_in(&error, &source.dir) => {
                let what = format!("Kafka's partition is not empty, and damaged: {}", error.what());
                error.with_what(what)
            }
            Err(error) => return Err(error),
        };
        // What is damaged on our side is not to be taken for a difference of theirs.
        copying::check(source)?;
        Err(error
            .advise("hand over to a topic that was just created, and has no records; nothing was changed"))
    }

    /// Copies each partition that is to come, and compares it.
    fn gather(
        &self,
        done: &[Option<HandedOver>],
        mut progress: Box<dyn FnMut(u64, u64) + Send>,
    ) -> Result<Vec<Option<HandedOver>>> {
        let sizes = self.source.partitions.iter().map(|source| copying::log_bytes(self.vfs, &source.dir));
        let total = sizes.sum::<Result<u64>>()?;
        let mut copied = done.iter().flatten().map(|there| there.bytes).sum::<u64>();
        let mut tell = |bytes: u64| {
            copied = copied.saturating_add(bytes);
            progress(copied, total);
        };
        let mut gathered = Vec::new();
        for ((partition, source), there) in (0..).zip(&self.source.partitions).zip(done) {
            gathered.push(match there {
                Some(_) => None,
                None => Some(
                    self.gather_one(partition, source, &mut tell)
                        .map_err(|error| self.place(error, partition))?,
                ),
            });
        }
        Ok(gathered)
    }

    fn gather_one(
        &self,
        partition: PartitionId,
        source: &SourcePartition,
        tell: &mut dyn FnMut(u64),
    ) -> Result<HandedOver> {
        let epoch = self.target.epoch(partition)?;
        let to = self.target.begin(partition)?;
        let copied = copying::copy(source, &to, epoch, tell)?;
        self.vfs.sync_dir(to.path()).doing("sync", to.path())?;
        match copying::compare(source, &to, epoch)? {
            Comparison::Same(compared) => {
                debug_assert_eq!(copied, compared);
                Ok(HandedOver { partition, ..compared })
            }
            Comparison::Differs(error) => Err(error),
        }
    }

    fn place(&self, error: Error, partition: PartitionId) -> Error {
        error.in_partition(self.name.as_str(), partition)
    }
}
