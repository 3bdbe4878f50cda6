//! Every file and directory name of a data directory, built and parsed in one place.
//!
//! The names of partitions and segments are Kafka's (`org.apache.kafka.storage.internals.log.LogFileUtils`,
//! `UnifiedLog`). Ours are regular files at the root: a broker ignores unknown files there, and aborts on
//! unknown directories.

use crate::model::{MAX_OFFSET, Offset, PartitionId, TopicId, TopicName};

/// Held locked while a broker, ours or Kafka's, owns the directory.
pub(crate) const LOCK: &str = ".lock";
/// Present between an orderly stop and the next start.
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// The identity of a Kafka broker's directory; we never write one.
pub(crate) const META_PROPERTIES: &str = "meta.properties";
/// What [`META_PROPERTIES`] is called once the directory was taken over.
pub(crate) const ADOPTED_PROPERTIES: &str = "meta.properties.adopted";
/// Kafka's log of its cluster, which is no topic's.
pub(crate) const CLUSTER_METADATA: &str = "__cluster_metadata-0";
/// Our list of topics with their configurations.
pub(crate) const MANIFEST: &str = "ottla.manifest";
/// What of each partition is proven to be durable.
pub(crate) const ENDS: &str = "ottla.ends";
/// There while a directory is given back to Kafka.
pub(crate) const RETURNING: &str = "ottla.returning";
/// There until a salvage into a directory is finished.
pub(crate) const SALVAGING: &str = "ottla.salvaging";
/// Space that is given back when a disk is full.
pub(crate) const RESERVE: &str = "ottla.reserve";
/// Kafka's: up to where the log of each partition is known to be synced.
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Kafka's: where the log of a partition begins, if that is not where its first segment does.
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Kafka's: the high watermark of each partition.
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Kafka's: up to where each partition is compacted.
pub(crate) const CLEANER_POINTS: &str = "cleaner-offset-checkpoint";
/// Kafka's directory for the indexes of segments that lie elsewhere.
pub(crate) const REMOTE_INDEXES: &str = "remote-log-index-cache";
/// In a partition directory: the topic's id.
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
/// In a partition directory: where each leader epoch begins.
pub(crate) const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// How the names of files begin that keep what recovery cut.
pub(crate) const QUARANTINE: &str = "ottla.quarantine.";

/// In a partition directory: the log of the segment to come, before it has its name. A Kafka broker ignores it.
pub(crate) const NEXT_LOG: &str = "next-segment.tmp";

/// In a partition directory of a stopped Kafka broker: what is to take its place, until it is complete. Kafka skips
/// directories there.
pub(crate) const INCOMING: &str = "ottla-incoming";

/// The longest name that a directory entry can have.
const MAX_NAME: usize = 255;

/// What belongs to a segment, named after its base offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentFile {
    Log,
    OffsetIndex,
    TimeIndex,
    /// The transactions that were aborted in the segment; missing where there are none.
    TransactionIndex,
    /// What was known of each producer when the log ended at the offset of its name, which is a segment's base, or where
    /// the log was closed.
    ProducerSnapshot,
}

impl SegmentFile {
    /// What every segment has.
    pub const ALWAYS: [Self; 3] = [Self::Log, Self::OffsetIndex, Self::TimeIndex];
    const ALL: [Self; 5] =
        [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TransactionIndex, Self::ProducerSnapshot];

    fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TransactionIndex => ".txnindex",
            Self::ProducerSnapshot => ".snapshot",
        }
    }

    /// The name for the segment that begins at `base`: 20 decimal digits and the suffix.
    pub fn name(self, base: Offset) -> String {
        format!("{base:020}{}", self.suffix())
    }

    /// Reads back what [`name`](Self::name) writes, and nothing else.
    pub fn parse(name: &str) -> Option<(Self, Offset)> {
        let (stem, _) = name.split_once('.')?;
        let base: Offset = stem.parse().ok().filter(|base| *base <= MAX_OFFSET)?;
        let file = Self::ALL.into_iter().find(|file| file.name(base) == name)?;
        Some((file, base))
    }
}

/// The temporary name of a file that will replace `name`.
pub(crate) fn temporary(name: &str) -> String {
    format!("{name}.tmp")
}

/// Whether it is the mark of a salvage that was not finished, or the beginning of one.
pub(crate) fn is_salvage_mark(name: &str) -> bool {
    name == SALVAGING || name == temporary(SALVAGING)
}

/// The directory of a partition: `topic-partition`.
pub(crate) fn partition_dir(topic: &TopicName, partition: PartitionId) -> String {
    format!("{}-{partition}", topic.as_str())
}

/// Reads back what [`partition_dir`] writes, and nothing else.
pub(crate) fn parse_partition_dir(name: &str) -> Option<(TopicName, PartitionId)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let topic = TopicName::new(topic).ok()?;
    let partition = partition.parse().ok()?;
    (partition_dir(&topic, partition) == name).then_some((topic, partition))
}

/// True for a directory of Kafka's that is to be deleted, was to take another one's place, or belongs to nobody:
/// `topic-partition.<id>-delete`, `-future`, `-stray`.
pub(crate) fn is_kafka_leftover(name: &str) -> bool {
    let stem = ["-delete", "-future", "-stray"].iter().find_map(|suffix| name.strip_suffix(suffix));
    stem.and_then(|stem| stem.rsplit_once('.'))
        .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether such a directory is, or was to be, the one of this partition. A long topic is cut in its name.
pub(crate) fn is_leftover_of(name: &str, topic: &TopicName, partition: PartitionId) -> bool {
    let stem = name.rsplit_once('.').map(|(stem, _)| stem).filter(|_| is_kafka_leftover(name));
    let Some((of, number)) = stem.and_then(|stem| stem.rsplit_once('-')) else { return false };
    let is_topic = of == topic.as_str() || (name.len() == MAX_NAME && topic.as_str().starts_with(of));
    is_topic && number.parse() == Ok(partition)
}

/// What Kafka has left of replacing or removing a file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// `.deleted`: it was replaced, and goes.
    Deleted,
    /// `.cleaned`: it was to replace others, and is not complete.
    Cleaned,
    /// `.swap`: it is complete, and about to replace others.
    Swap,
}

impl Replacement {
    pub fn parse(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "deleted" => Some(Self::Deleted),
            "cleaned" => Some(Self::Cleaned),
            "swap" => Some(Self::Swap),
            _ => None,
        }
    }
}

/// The name of a partition's directory while it is being deleted: `topic-partition.<id>-delete`, the topic cut
/// where the name would be too long.
pub(crate) fn deleting_dir(topic: &TopicName, partition: PartitionId, id: TopicId) -> String {
    suffixed_dir(topic, partition, id, "delete")
}

/// The name of a partition's directory that belongs to nobody, for Kafka: where one is complete that is to take the
/// place of another.
pub(crate) fn stray_dir(topic: &TopicName, partition: PartitionId, id: TopicId) -> String {
    suffixed_dir(topic, partition, id, "stray")
}

fn suffixed_dir(topic: &TopicName, partition: PartitionId, id: TopicId, what: &str) -> String {
    let suffix = format!("-{partition}.{}-{what}", id.simple_hex());
    let room = MAX_NAME.saturating_sub(suffix.len());
    let topic: String = topic.as_str().chars().take(room).collect();
    format!("{topic}{suffix}")
}

/// The file at the root that keeps what recovery cut off a segment at `position`; the topic is cut where the
/// name would be too long.
pub(crate) fn quarantine(topic: &str, partition: PartitionId, segment: Offset, position: u64) -> String {
    let suffix = format!("-{partition}.{segment:020}.{position}");
    // Room for a number behind it, where there is another file of that name.
    let room = MAX_NAME.saturating_sub(suffix.len()).saturating_sub(QUARANTINE.len()).saturating_sub(8);
    let topic: String = topic.chars().take(room).collect();
    format!("{QUARANTINE}{topic}{suffix}")
}

/// True for what a directory may hold and still count as empty when it is opened for the first time.
pub(crate) fn is_negligible_at_first_open(name: &str) -> bool {
    name == "lost+found"
        || name.starts_with('.')
        || [temporary(MANIFEST).as_str(), ENDS, RESERVE].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_files_read_back() {
        for base in [0, 1, 1234, MAX_OFFSET] {
            for file in SegmentFile::ALL {
                assert_eq!(SegmentFile::parse(&file.name(base)), Some((file, base)));
            }
        }
        assert_eq!(SegmentFile::Log.name(1234), "00000000000000001234.log");
        assert_eq!(SegmentFile::TransactionIndex.name(7), "00000000000000000007.txnindex");
        assert_eq!(SegmentFile::ProducerSnapshot.name(0), "00000000000000000000.snapshot");
    }

    #[test]
    fn other_names_are_not_segments() {
        for name in [
            "",
            ".log",
            "0.log",
            "00000000000000000000",
            "00000000000000000000.LOG",
            "00000000000000000000.log.deleted",
            "+0000000000000000000.log",
            "09223372036854775808.log",
            "leader-epoch-checkpoint",
            NEXT_LOG,
        ] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn directories_of_partitions_read_back() {
        for (name, topic, partition) in [("orders-0", "orders", 0), ("a-b.c-12", "a-b.c", 12)] {
            let topic = TopicName::new(topic).unwrap();
            assert_eq!(parse_partition_dir(name), Some((topic.clone(), partition)));
            let dead = deleting_dir(&topic, partition, TopicId::random(|| [7; 16]));
            assert!(is_kafka_leftover(&dead), "{dead}");
            assert_eq!(parse_partition_dir(&dead), None);
        }
        for name in ["orders", "orders-", "orders-01", "orders-x", "-1", "a b-0", "remote-log-index-cache"] {
            assert_eq!(parse_partition_dir(name), None, "{name}");
            assert!(!is_kafka_leftover(name), "{name}");
        }
    }

    #[test]
    fn a_leftover_names_its_partition() {
        let long = TopicName::new(&"x".repeat(TopicName::MAX_LEN)).unwrap();
        for topic in [TopicName::new("a-1.b").unwrap(), long] {
            let id = TopicId::random(|| *b"some other bytes");
            for name in [deleting_dir(&topic, 12, id), stray_dir(&topic, 12, id)] {
                assert!(is_leftover_of(&name, &topic, 12), "{name}");
                assert!(!is_leftover_of(&name, &topic, 2), "{name}");
                assert!(!is_leftover_of(&name, &TopicName::new("a").unwrap(), 12), "{name}");
            }
            assert!(!is_leftover_of(&partition_dir(&topic, 12), &topic, 12));
        }
    }

    #[test]
    fn what_a_replacement_has_left_is_known() {
        let replacement = |suffix: &str| Replacement::parse(&format!("00000000000000000000.log{suffix}"));
        assert_eq!(replacement(".deleted"), Some(Replacement::Deleted));
        assert_eq!(replacement(".cleaned"), Some(Replacement::Cleaned));
        assert_eq!(replacement(".swap"), Some(Replacement::Swap));
        assert_eq!(replacement(""), None);
    }

    #[test]
    fn a_deleting_directory_fits_into_a_directory_entry() {
        let topic = TopicName::new(&"x".repeat(TopicName::MAX_LEN)).unwrap();
        let name = deleting_dir(&topic, 9999, TopicId::random(|| [7; 16]));
        assert_eq!(name.len(), MAX_NAME);
        assert!(name.ends_with("-delete"));
    }
}
