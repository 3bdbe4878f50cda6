//! What verification finds: plain data.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::model::{Offset, PartitionId};

/// Something that verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, for a `match`.
    pub kind: FindingKind,
    /// The topic and the partition, where it concerns one.
    pub partition: Option<(String, PartitionId)>,
    /// The file or directory.
    pub file: PathBuf,
    /// The bytes of the file, where they are known.
    pub bytes: Option<Range<u64>>,
    /// The offsets of the records concerned, where there are any; an empty range if only the first is known.
    pub offsets: Option<Range<Offset>>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// What it means, and what to do about it.
    pub advice: &'static str,
}

impl Finding {
    pub(super) fn new(
        kind: FindingKind,
        severity: Severity,
        file: impl Into<PathBuf>,
        what: impl Into<String>,
        advice: &'static str,
    ) -> Self {
        let (file, what) = (file.into(), what.into());
        Self { severity, kind, partition: None, file, bytes: None, offsets: None, what, advice }
    }

    pub(super) fn bytes(mut self, bytes: Range<u64>) -> Self {
        self.bytes = Some(bytes);
        self
    }

    pub(super) fn offsets(mut self, offsets: Range<Offset>) -> Self {
        self.offsets = Some(offsets);
        self
    }
}

/// How bad a [`Finding`] is, from harmless to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing, and no damage: a file that is nobody's, say.
    Note,
    /// What a stop that was not in order has left, and the next opening mends: nothing of it was proven to be durable.
    Unrecovered,
    /// A file is damaged of which everything can be made again, as far as the log is there.
    Derived,
    /// Records, or what is known of them, are damaged or lost.
    Damage,
}

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Bytes of a log that are no sound record batch.
    Batch,
    /// Offsets that no batch holds, where batches follow one another.
    MissingOffsets,
    /// A batch with another leader epoch than the one that its offset has.
    LeaderEpoch,
    /// A log that ends elsewhere than where it is proven to end.
    End,
    /// Whole batches behind a place that is not whole, above what is proven to be durable: a recovery does not keep them.
    BehindTear,
    /// A segment that is missing, or does not reach to the next one.
    Segment,
    /// An offset index, or a time index.
    Index,
    /// A transaction index.
    TransactionIndex,
    /// A producer snapshot.
    ProducerSnapshot,
    /// The leader epoch checkpoint of a partition.
    LeaderEpochs,
    /// The topic id of a partition, or its directory.
    Partition,
    /// The manifest.
    Manifest,
    /// The ends file, or a slot of it.
    Ends,
    /// An offset checkpoint at the root.
    OffsetCheckpoint,
    /// The clean-shutdown marker.
    CleanShutdown,
    /// A file or directory that does not belong there.
    Foreign,
    /// A file that cannot be read.
    Unreadable,
}

/// What [`verify`](super::verify) has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Everything that was found, partition by partition.
    pub findings: Vec<Finding>,
    /// Whether somebody had the directory open. Then only what was proven to be durable was looked at.
    pub is_live: bool,
    /// Whether the last stop was an orderly one. Without, what lies above the proven ends is what recovery decides about.
    pub is_clean: bool,
    /// How many partitions were read.
    pub partitions: usize,
    /// How many segments.
    pub segments: usize,
    /// How many sound batches.
    pub batches: u64,
    /// How many records in them; those of a batch whose codec this build lacks are counted, and not looked at.
    pub records: u64,
    /// How many bytes of logs.
    pub bytes: u64,
    /// How many entries of indexes were held against the logs.
    pub index_entries: u64,
}

impl VerifyReport {
    /// Whether nothing is damaged: every finding is a note, or what the next opening mends.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity < Severity::Derived)
    }
}

/// How far a long piece of work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many bytes are done.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// `what (topic …, partition …, offsets …, file …, bytes …); advice`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.what)?;
        if let Some((topic, partition)) = &self.partition {
            write!(f, "topic {topic}, partition {partition}, ")?;
        }
        match &self.offsets {
            Some(offsets) if offsets.is_empty() => write!(f, "offsets from {}, ", offsets.start)?,
            Some(offsets) => write!(f, "offsets {} to {}, ", offsets.start, offsets.end - 1)?,
            None => {}
        }
        write!(f, "file {}", self.file.display())?;
        if let Some(bytes) = &self.bytes {
            write!(f, ", bytes {} to {}", bytes.start, bytes.end)?;
        }
        write!(f, "); {}", self.advice)
    }
}
