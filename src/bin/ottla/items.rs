//! What stands in a file, as lines: in the vein of Kafka's `DumpLogSegments`, or JSON.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use ottla::inspect::{
    BatchInfo, Content, DamageInfo, FileKind, Item, Marker, ProducerState, SlotInfo, TopicInfo,
};
use ottla::{OwnedRecord, TimestampType};
use serde::Serialize;

use crate::fields::Fields;
use crate::json::{Bytes, Header};
use crate::span::Span;

/// A line for each item. Text names the file where it begins, JSON in every line.
pub fn print(out: &mut impl Write, is_json: bool, item: &Item) -> io::Result<()> {
    let mut line = Fields::begin(out, is_json)?;
    line.tag("type", type_of(&item.content))?;
    line.tag("file", item.file.display().to_string())?;
    content(&mut line, item)?;
    line.end()
}

fn type_of(content: &Content) -> &'static str {
    match content {
        Content::File { .. } => "file",
        Content::Batch(_) => "batch",
        Content::Record(_) => "record",
        Content::Marker(_) => "marker",
        Content::OffsetIndexEntry { .. } => "offsetIndexEntry",
        Content::TimeIndexEntry { .. } => "timeIndexEntry",
        Content::AbortedTransaction { .. } => "abortedTransaction",
        Content::Producer(_) => "producer",
        Content::LeaderEpoch { .. } => "leaderEpoch",
        Content::PartitionOffset { .. } => "partitionOffset",
        Content::TopicId(_) => "topicId",
        Content::Directory(_) => "directory",
        Content::Topic(_) => "topic",
        Content::Slot(_) => "slot",
        Content::Property { .. } => "property",
        Content::Zeros { .. } => "zeros",
        Content::Damage(_) => "damage",
        _ => "other",
    }
}

fn content(line: &mut Fields<'_, impl Write>, item: &Item) -> io::Result<()> {
    match &item.content {
        Content::File { kind, len } => {
            let done = if *kind == FileKind::Unknown { "Not reading" } else { "Dumping" };
            line.sign(&format!("{done} {} ", Bytes(item.file.as_os_str().as_bytes())))?;
            line.field("kind", format!("{kind:?}"))?;
            return line.field("bytes", len);
        }
        Content::Record(found) => return record(line, found),
        Content::Marker(found) => return marker(line, *found),
        Content::Damage(found) => return damage(line, item.position, found),
        Content::Batch(found) => batch(line, found)?,
        Content::OffsetIndexEntry { offset, batch_position } => {
            line.field("offset", offset)?;
            line.field("batchPosition", batch_position)?;
        }
        Content::TimeIndexEntry { timestamp, offset } => {
            line.field("timestamp", timestamp)?;
            line.field("offset", offset)?;
        }
        Content::AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset } => {
            line.field("producerId", producer_id)?;
            line.field("firstOffset", first_offset)?;
            line.field("lastOffset", last_offset)?;
            line.field("lastStableOffset", last_stable_offset)?;
        }
        Content::Producer(found) => producer(line, found)?,
        Content::LeaderEpoch { epoch, start_offset } => {
            line.field("leaderEpoch", epoch)?;
            line.field("startOffset", start_offset)?;
        }
        Content::PartitionOffset { topic, partition, offset } => {
            line.field("topic", topic)?;
            line.field("partition", partition)?;
            line.field("offset", offset)?;
        }
        Content::TopicId(id) => line.field("topicId", id.to_string())?,
        Content::Directory(id) => line.field("directoryId", id.to_string())?,
        Content::Topic(found) => topic(line, found)?,
        Content::Slot(found) => slot(line, found)?,
        Content::Property { name, value } => {
            line.field("property", Bytes(name.as_bytes()))?;
            line.field("value", Bytes(value.as_bytes()))?;
        }
        Content::Zeros { len } => line.field("zeros", len)?,
        other => line.field("content", format!("{other:?}"))?,
    }
    line.field("position", item.position)
}

fn batch(line: &mut Fields<'_, impl Write>, batch: &BatchInfo) -> io::Result<()> {
    line.field("baseOffset", batch.base_offset)?;
    line.field("lastOffset", batch.last_offset)?;
    line.field("count", batch.records_count)?;
    line.field("missingBefore", batch.missing_before)?;
    line.field("baseSequence", batch.base_sequence)?;
    line.field("producerId", batch.producer_id)?;
    line.field("producerEpoch", batch.producer_epoch)?;
    line.field("partitionLeaderEpoch", batch.leader_epoch)?;
    line.field("isTransactional", batch.is_transactional)?;
    line.field("isControl", batch.is_control)?;
    line.optional("deleteHorizonMs", batch.delete_horizon)?;
    line.field("timestampType", timestamp_type(batch.timestamp_type))?;
    line.field("baseTimestamp", batch.base_timestamp)?;
    line.field("maxTimestamp", batch.max_timestamp)?;
    line.field("size", batch.size)?;
    line.field("compresscodec", batch.compression.to_string())?;
    line.field("crc", batch.crc)
}

fn timestamp_type(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// A null key or value has the size −1.
fn record(line: &mut Fields<'_, impl Write>, record: &OwnedRecord) -> io::Result<()> {
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    line.sign("| ")?;
    line.field("offset", record.offset)?;
    line.optional("timestamp", record.timestamp)?;
    line.field("keySize", size(key))?;
    line.field("valueSize", size(value))?;
    line.field("headers", Headers::of(record))?;
    line.optional("key", key.map(Bytes))?;
    line.optional("value", value.map(Bytes))
}

fn size(bytes: Option<&[u8]>) -> i64 {
    bytes.and_then(|bytes| i64::try_from(bytes.len()).ok()).unwrap_or(-1)
}

/// `[name=value,name=value]`; a null value is NULL.
#[derive(Serialize)]
struct Headers<'a>(Vec<Header<'a>>);

impl<'a> Headers<'a> {
    fn of(record: &'a OwnedRecord) -> Self {
        let header = |(name, value): &'a (Box<str>, Option<Box<[u8]>>)| Header {
            key: Bytes(name.as_bytes()),
            value: value.as_deref().map(Bytes),
        };
        Self(record.headers.iter().map(header).collect())
    }
}

impl fmt::Display for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (number, Header { key, value }) in self.0.iter().enumerate() {
            write!(f, "{}{key}=", if number == 0 { "" } else { "," })?;
            match value {
                Some(value) => write!(f, "{value}")?,
                None => f.write_str("NULL")?,
            }
        }
        f.write_str("]")
    }
}

fn marker(line: &mut Fields<'_, impl Write>, marker: Marker) -> io::Result<()> {
    let (kind, epoch) = match marker {
        Marker::Abort { coordinator_epoch } => ("ABORT".to_owned(), Some(coordinator_epoch)),
        Marker::Commit { coordinator_epoch } => ("COMMIT".to_owned(), Some(coordinator_epoch)),
        Marker::Other { kind } => (kind.to_string(), None),
        other => (format!("{other:?}"), None),
    };
    line.sign("| ")?;
    line.field("endTxnMarker", kind)?;
    line.optional("coordinatorEpoch", epoch)
}

fn producer(line: &mut Fields<'_, impl Write>, producer: &ProducerState) -> io::Result<()> {
    line.field("producerId", producer.producer_id)?;
    line.field("producerEpoch", producer.producer_epoch)?;
    line.optional("coordinatorEpoch", producer.coordinator_epoch)?;
    line.optional("currentTxnFirstOffset", producer.current_txn_first_offset)?;
    line.optional("lastTimestamp", producer.timestamp)?;
    line.optional("lastSequence", producer.last_sequence)?;
    line.optional("lastOffset", producer.last_offset)?;
    line.field("offsetDelta", producer.offset_delta)
}

fn topic(line: &mut Fields<'_, impl Write>, topic: &TopicInfo) -> io::Result<()> {
    line.field("topic", &topic.name)?;
    line.field("topicId", topic.id.to_string())?;
    line.field("state", topic.state)?;
    line.field("partitions", topic.partitions)?;
    line.field("config", Settings(topic.config.iter().map(|(name, value)| (*name, value.as_str())).collect()))
}

/// `name=value,name=value`
#[derive(Serialize)]
struct Settings<'a>(std::collections::BTreeMap<&'a str, &'a str>);

impl fmt::Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(number, (name, value))| {
            write!(f, "{}{name}={value}", if number == 0 { "" } else { "," })
        })
    }
}

fn slot(line: &mut Fields<'_, impl Write>, slot: &SlotInfo) -> io::Result<()> {
    line.field("topicId", slot.topic.to_string())?;
    line.field("partition", slot.partition)?;
    line.field("sequence", slot.sequence)?;
    line.field("generation", slot.generation)?;
    line.field("logStartOffset", slot.log_start)?;
    line.field("segment", slot.segment)?;
    line.field("provenEnd", slot.offset)?;
    line.field("provenPosition", slot.position)?;
    line.field("logEndOffset", slot.log_end)
}

fn damage(line: &mut Fields<'_, impl Write>, position: u64, damage: &DamageInfo) -> io::Result<()> {
    line.field("damagedBytes", Span::Bytes(damage.bytes.clone()))?;
    line.optional("damagedOffsets", damage.offsets.clone().map(Span::Offsets))?;
    line.field("position", position)?;
    line.tag("kind", format!("{:?}", damage.error.kind()))?;
    line.field("error", damage.error.to_string())
}
