//! What inspection shows: plain data, an item a thing.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::FileKind;
use crate::error::Error;
use crate::model::{
    Compression, DirectoryId, LeaderEpoch, Offset, PartitionId, Timestamp, TimestampType, TopicId,
};
use crate::producer_snapshot::ProducerState;
use crate::record_batch::{BatchHeader, ControlRecord, OwnedRecord};

/// Something that stands in a file, and where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Item {
    /// The file.
    pub file: Arc<Path>,
    /// Where in the file it begins, in bytes; of a record, where its batch does.
    pub position: u64,
    /// What it is.
    pub content: Content,
}

/// What stands in a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// A file begins, and what follows is in it, until the next one begins.
    File {
        /// What its name says that it is.
        kind: FileKind,
        /// Its length in bytes.
        len: u64,
    },
    /// A record batch of a log.
    Batch(BatchInfo),
    /// A record of the batch before; only where records were asked for.
    Record(OwnedRecord),
    /// The marker in the control batch before; only where records were asked for.
    Marker(Marker),
    /// An entry of an offset index.
    OffsetIndexEntry {
        /// The last offset of the batch that it names.
        offset: Offset,
        /// Where in the log that batch begins.
        batch_position: u64,
    },
    /// An entry of a time index.
    TimeIndexEntry {
        /// The greatest timestamp of the segment's records up to the batch with that offset.
        timestamp: Timestamp,
        /// The last offset of the batch that holds it.
        offset: Offset,
    },
    /// An entry of a transaction index: an aborted transaction.
    AbortedTransaction {
        /// The producer.
        producer_id: i64,
        /// The offset of its first record.
        first_offset: Offset,
        /// The offset of its marker.
        last_offset: Offset,
        /// The last stable offset, as it became with the marker.
        last_stable_offset: Offset,
    },
    /// A producer of a snapshot.
    Producer(ProducerState),
    /// An entry of a leader epoch checkpoint.
    LeaderEpoch {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The first offset of it.
        start_offset: Offset,
    },
    /// An entry of an offset checkpoint.
    PartitionOffset {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// Its offset.
        offset: Offset,
    },
    /// The topic id of a `partition.metadata`.
    TopicId(TopicId),
    /// The identity of an ottla directory.
    Directory(DirectoryId),
    /// A topic of a manifest.
    Topic(TopicInfo),
    /// A slot of an ends file.
    Slot(SlotInfo),
    /// A line `name=value` of a `meta.properties`, or the text of a marker or a lock file under the name `text`.
    Property {
        /// What stands before the equals sign.
        name: String,
        /// What stands behind it.
        value: String,
    },
    /// Zeros to the end of a log, as they are set aside ahead of the data.
    Zeros {
        /// How many.
        len: u64,
    },
    /// A place that cannot be read. What follows it is sound again.
    Damage(DamageInfo),
}

/// A place that cannot be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DamageInfo {
    /// Where it begins and ends in the file.
    pub bytes: Range<u64>,
    /// In a log the offsets of the records that are damaged; an empty range where only the first one is known.
    pub offsets: Option<Range<Offset>>,
    /// What is wrong.
    pub error: Error,
}

/// The header of a record batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchInfo {
    /// The offset of the first record that was ever in it.
    pub base_offset: Offset,
    /// The offset of the last record that was ever in it.
    pub last_offset: Offset,
    /// How many offsets lie between it and the batch before; none in a log that nothing was taken from.
    pub missing_before: u64,
    /// In bytes, the header among them.
    pub size: usize,
    /// The leader epoch; −1 where there is none.
    pub leader_epoch: i32,
    /// The checksum, which is right: a batch with a wrong one is damage.
    pub crc: u32,
    /// How the records are compressed.
    pub compression: Compression,
    /// Whose time the records carry.
    pub timestamp_type: TimestampType,
    /// Whether it belongs to a transaction.
    pub is_transactional: bool,
    /// Whether it holds a marker of Kafka's own.
    pub is_control: bool,
    /// Until when compaction keeps its tombstones, if it has come by. The base timestamp is the same number then.
    pub delete_horizon: Option<Timestamp>,
    /// From which the timestamps of its records count; −1 where there is none.
    pub base_timestamp: Timestamp,
    /// The greatest timestamp of its records; −1 where there is none.
    pub max_timestamp: Timestamp,
    /// The producer's id; −1 where there is none.
    pub producer_id: i64,
    /// The producer's epoch; −1 where there is none.
    pub producer_epoch: i16,
    /// The sequence of its first record; −1 where there is none.
    pub base_sequence: i32,
    /// How many records are in it; compaction may have left fewer than it has offsets, or none.
    pub records_count: u32,
}

/// What a marker of Kafka's own says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Marker {
    /// The transaction of the batch's producer was rolled back.
    Abort {
        /// The epoch of the transaction coordinator.
        coordinator_epoch: i32,
    },
    /// The transaction of the batch's producer was committed.
    Commit {
        /// The epoch of the transaction coordinator.
        coordinator_epoch: i32,
    },
    /// Another type of marker, by its number.
    Other {
        /// The number.
        kind: i16,
    },
}

/// A topic, as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// `creating`, `live`, `growing` or `deleting`.
    pub state: &'static str,
    /// How many partitions it has.
    pub partitions: PartitionId,
    /// Its configuration, by name.
    pub config: Vec<(&'static str, String)>,
}

/// A slot of the ends file: what was proven to be durable when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotInfo {
    /// The id of its topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionId,
    /// Of the two slots of a partition the one with the higher number counts.
    pub sequence: u64,
    /// How often the partition was opened.
    pub generation: u32,
    /// Where the log starts.
    pub log_start: Offset,
    /// The base offset of the segment in which the proven end lies.
    pub segment: Offset,
    /// The proven end: every record below it is on stable storage.
    pub offset: Offset,
    /// Where in that segment's log it lies.
    pub position: u64,
    /// What readers could see ends here.
    pub log_end: Offset,
}

impl BatchInfo {
    pub(super) fn of(header: &BatchHeader, missing_before: u64) -> Self {
        let attributes = header.attributes;
        Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            missing_before,
            size: header.size,
            leader_epoch: header.leader_epoch,
            crc: header.crc,
            compression: header.compression(),
            timestamp_type: attributes.timestamp_type(),
            is_transactional: attributes.is_transactional(),
            is_control: attributes.is_control(),
            delete_horizon: attributes.has_delete_horizon().then_some(header.base_timestamp),
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            records_count: header.records_count,
        }
    }
}

impl From<ControlRecord> for Marker {
    fn from(record: ControlRecord) -> Self {
        match record {
            ControlRecord::Abort { coordinator_epoch } => Self::Abort { coordinator_epoch },
            ControlRecord::Commit { coordinator_epoch } => Self::Commit { coordinator_epoch },
            ControlRecord::Other { kind } => Self::Other { kind },
        }
    }
}
