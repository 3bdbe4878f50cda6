//! What opening found of the last life.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::file_name::SegmentFile;
use crate::model::{Offset, PartitionId};
use crate::partition_log::{Cut, LogContext, RecoveryOutcome};

/// What opening a broker found, and did; see [`Broker::recovery_report`](crate::Broker::recovery_report). Printed, it is
/// a line for each thing that was found.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-report-{}", std::process::id()));
/// let broker = ottla::Broker::open(&dir)?;
/// let report = broker.recovery_report();
/// if !report.is_clean() {
///     eprintln!("{report}");
/// }
/// for cut in report.partitions() {
///     eprintln!("{}-{} goes on at {}", cut.topic(), cut.partition(), cut.end_offset());
/// }
/// # drop(broker); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    pub(super) clean: bool,
    pub(super) partitions: Vec<PartitionRecovery>,
    pub(super) damaged: Vec<Error>,
    pub(super) notes: Vec<String>,
    pub(super) adopted: bool,
}

impl RecoveryReport {
    /// True if the directory was new, or closed in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// True if this opening has [taken over](crate::BrokerOptions::adopt) the directory from a Kafka broker.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// The partitions from which more than zeros was cut. Nothing of it was acknowledged by a topic whose
    /// [durability](crate::Durability) is synced; of the others it may be what a power cut has taken, as may be what is
    /// gone without a trace.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionRecovery] {
        &self.partitions
    }

    /// The partitions that are damaged, each with its error; only with
    /// [`isolate_damage`](crate::BrokerOptions::isolate_damage), without which opening has failed.
    #[must_use]
    pub fn damaged(&self) -> &[Error] {
        &self.damaged
    }

    /// What was odd and could be put right, for people: files that only repeat what others say, and had to be made
    /// again. Of a directory that was taken over from a Kafka broker, also what was left alone.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }
}

/// What was cut from one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecovery {
    topic: String,
    partition: PartitionId,
    end: Offset,
    file: PathBuf,
    position: u64,
    cut_bytes: u64,
    quarantined: Vec<PathBuf>,
    kept_bytes: u64,
}

impl PartitionRecovery {
    pub(super) fn of(context: &LogContext, cut: &Cut, outcome: RecoveryOutcome) -> Self {
        Self {
            topic: context.topic.to_string(),
            partition: context.partition,
            end: cut.end.offset,
            file: context.dir.file(SegmentFile::Log, cut.end.segment),
            position: cut.end.position,
            cut_bytes: outcome.cut_bytes,
            quarantined: outcome.quarantined,
            kept_bytes: outcome.kept_bytes,
        }
    }

    /// The name of the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The offset at which the partition ends now.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// The log file that was cut; whole segments behind it went, too.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where in [`file`](Self::file) it was cut, in bytes: it ends there now.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes were cut: the rest of a write that the crash interrupted.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// The files at the root of the data directory that keep what was cut; they can be deleted. Of a single
    /// tail at most its first 64 MiB are kept, and nothing more once such files take a GiB.
    pub fn quarantined(&self) -> impl Iterator<Item = &Path> {
        self.quarantined.iter().map(PathBuf::as_path)
    }

    /// How many of the bytes that were cut are in those files.
    #[must_use]
    pub fn quarantined_bytes(&self) -> u64 {
        self.kept_bytes
    }
}

/// `orders-0 ends at offset 12: 137 bytes behind it were cut (file …, from byte 4096 on); 137 of them are kept in …`
impl fmt::Display for PartitionRecovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, end, file, position, cut_bytes, quarantined, kept_bytes } = self;
        write!(f, "{topic}-{partition} ends at offset {end}: {cut_bytes} bytes behind it were cut ")?;
        write!(f, "(file {}, from byte {position} on)", file.display())?;
        if quarantined.is_empty() {
            return f.write_str(", and not kept: there is no room for more of them in quarantine");
        }
        let places: Vec<String> = quarantined.iter().map(|path| path.display().to_string()).collect();
        write!(f, "; {kept_bytes} of them are kept in {}", places.join(", "))
    }
}

/// A line for each thing that was found, as a service may log it; what it means stands beside it.
impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.clean {
            "the directory was new, or closed in order"
        } else {
            "the directory was not closed in order, and was recovered"
        })?;
        if self.adopted {
            f.write_str("; it was taken over from a Kafka broker")?;
        }
        for cut in &self.partitions {
            write!(f, "\ncut: {cut}")?;
        }
        if !self.partitions.is_empty() {
            f.write_str(
                "\n  what was cut lay above what is proven to be durable: no topic whose durability is synced has \
                 acknowledged it; the files that keep it can be looked at with `ottla dump`, and deleted",
            )?;
        }
        self.damaged.iter().try_for_each(|damage| write!(f, "\ndamaged: {damage}"))?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}
