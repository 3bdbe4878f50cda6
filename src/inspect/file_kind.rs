//! What a file of a log directory is, judged by its name.

use crate::file_name::{
    CLEAN_SHUTDOWN, CLEANER_POINTS, ENDS, HIGH_WATERMARKS, LEADER_EPOCH_CHECKPOINT, LOCK, LOG_STARTS,
    MANIFEST, META_PROPERTIES, NEXT_LOG, PARTITION_METADATA, QUARANTINE, RECOVERY_POINTS, RESERVE, RETURNING,
    SALVAGING, SegmentFile,
};
use crate::model::Offset;

/// What a file of a log directory, Kafka's or ours, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// `.log`: the record batches of a segment.
    Log,
    /// `.index`: where in the log some of its batches begin.
    OffsetIndex,
    /// `.timeindex`: which timestamps lie before some offsets.
    TimeIndex,
    /// `.txnindex`: the aborted transactions whose marker the segment holds.
    TransactionIndex,
    /// `.snapshot`: what is known of each producer.
    ProducerSnapshot,
    /// `leader-epoch-checkpoint`: where each leader epoch begins.
    LeaderEpochs,
    /// `partition.metadata`: the topic id.
    PartitionMetadata,
    /// `ottla.manifest`: the topics of an ottla directory.
    Manifest,
    /// `ottla.ends`: what of each partition is proven to be durable.
    Ends,
    /// `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`, `replication-offset-checkpoint` or
    /// `cleaner-offset-checkpoint`: an offset of each partition.
    OffsetCheckpoint,
    /// `.kafka_cleanshutdown`: that the last stop was an orderly one.
    CleanShutdown,
    /// `meta.properties`, also under the name that it has where ottla took a directory over: the identity of a Kafka
    /// broker.
    MetaProperties,
    /// `.lock`: who has the directory open.
    Lock,
    /// `ottla.returning`: that the directory is being given back to Kafka.
    Returning,
    /// `ottla.salvaging`: that a salvage into the directory was not finished.
    Salvaging,
    /// `ottla.reserve`: space for the day when the disk is full.
    Reserve,
    /// `ottla.quarantine.*`: what recovery cut off a log.
    Quarantine,
    /// A file on its way to one of the others: `*.tmp`.
    Temporary,
    /// Anything else: it is not read.
    Unknown,
}

/// What Kafka appends to the names of files that come and go.
const PASSING: [&str; 3] = [".deleted", ".cleaned", ".swap"];
/// What a change of owner appends.
const ADOPTED: &str = ".adopted";

impl FileKind {
    /// What a file with this name is, and the offset in its name, if it has one.
    #[must_use]
    pub fn of(name: &str) -> (Self, Option<Offset>) {
        let plain = PASSING.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        if let Some((file, base)) = SegmentFile::parse(plain) {
            return (Self::of_segment(file), Some(base));
        }
        let kind = match name.strip_suffix(ADOPTED).unwrap_or(name) {
            LEADER_EPOCH_CHECKPOINT => Self::LeaderEpochs,
            PARTITION_METADATA => Self::PartitionMetadata,
            MANIFEST => Self::Manifest,
            ENDS => Self::Ends,
            RECOVERY_POINTS | LOG_STARTS | HIGH_WATERMARKS | CLEANER_POINTS => Self::OffsetCheckpoint,
            CLEAN_SHUTDOWN => Self::CleanShutdown,
            META_PROPERTIES => Self::MetaProperties,
            LOCK => Self::Lock,
            RESERVE => Self::Reserve,
            RETURNING => Self::Returning,
            SALVAGING => Self::Salvaging,
            NEXT_LOG => Self::Temporary,
            _ if name.starts_with(QUARANTINE) => Self::Quarantine,
            _ => Self::of_temporary(name),
        };
        (kind, None)
    }

    fn of_segment(file: SegmentFile) -> Self {
        match file {
            SegmentFile::Log => Self::Log,
            SegmentFile::OffsetIndex => Self::OffsetIndex,
            SegmentFile::TimeIndex => Self::TimeIndex,
            SegmentFile::TransactionIndex => Self::TransactionIndex,
            SegmentFile::ProducerSnapshot => Self::ProducerSnapshot,
        }
    }

    /// A temporary name is that of a file that we know, and `.tmp`.
    fn of_temporary(name: &str) -> Self {
        match name.strip_suffix(".tmp").map(|name| Self::of(name).0) {
            None | Some(Self::Unknown | Self::Temporary) => Self::Unknown,
            Some(_) => Self::Temporary,
        }
    }

    /// Whether it holds record batches.
    #[must_use]
    pub fn holds_batches(self) -> bool {
        matches!(self, Self::Log | Self::Quarantine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, kind, base) in [
            ("00000000000000000012.log", FileKind::Log, Some(12)),
            ("00000000000000000012.log.deleted", FileKind::Log, Some(12)),
            ("00000000000000000012.index.swap", FileKind::OffsetIndex, Some(12)),
            ("00000000000000000012.timeindex", FileKind::TimeIndex, Some(12)),
            ("00000000000000000012.txnindex", FileKind::TransactionIndex, Some(12)),
            ("00000000000000000012.snapshot", FileKind::ProducerSnapshot, Some(12)),
            ("00000000000000000012.log.tmp", FileKind::Temporary, None),
            ("cleaner-offset-checkpoint", FileKind::OffsetCheckpoint, None),
            ("meta.properties.adopted", FileKind::MetaProperties, None),
            ("next-segment.tmp", FileKind::Temporary, None),
            ("leader-epoch-checkpoint.tmp", FileKind::Temporary, None),
            ("ottla.quarantine.t-0.00000000000000000000.70", FileKind::Quarantine, None),
            ("notes.tmp", FileKind::Unknown, None),
            ("12.log", FileKind::Unknown, None),
            ("", FileKind::Unknown, None),
        ] {
            assert_eq!(FileKind::of(name), (kind, base), "{name}");
        }
    }
}
