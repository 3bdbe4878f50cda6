//! What stands in the small files of a log directory, each read whole within a bound.

use std::io;
use std::path::Path;

use super::item::{DamageInfo, SlotInfo, TopicInfo};
use super::{Content, FileKind};
use crate::broker::{Manifest, TopicEntry, TopicState, decode_offset_line, decode_partition_metadata};
use crate::checkpoint;
use crate::ends_file::{Place, Slot, list};
use crate::error::{Error, Result};
use crate::model::{Offset, PartitionId, TopicName};
use crate::partition_log::LeaderEpochs;
use crate::producer_snapshot::ProducerSnapshot;
use crate::segment::AbortedTransaction;
use crate::vfs::{Vfs, read_file};

const MIB: u64 = 1024 * 1024;

/// What stands in a file of this kind, with where it begins. Damage is one of the contents.
pub fn contents(vfs: &dyn Vfs, path: &Path, kind: FileKind, base: Offset) -> Vec<(u64, Content)> {
    let decoded = read(vfs, path, most(kind)).and_then(|bytes| {
        decode(kind, &bytes, base).map_err(|error| (error.in_file(path), bytes.len() as u64))
    });
    decoded.unwrap_or_else(|(error, len)| vec![damage(0..len, error)])
}

/// The most bytes that a file of this kind can have.
pub fn most(kind: FileKind) -> u64 {
    match kind {
        FileKind::PartitionMetadata | FileKind::CleanShutdown | FileKind::Lock => 4096,
        FileKind::MetaProperties | FileKind::Salvaging => MIB,
        FileKind::LeaderEpochs => 16 * MIB,
        FileKind::ProducerSnapshot | FileKind::TransactionIndex | FileKind::OffsetCheckpoint => 64 * MIB,
        _ => 256 * MIB,
    }
}

/// The bytes of a small file, or what is wrong, and the length as far as it is known.
fn read(vfs: &dyn Vfs, path: &Path, most: u64) -> Result<Vec<u8>, (Error, u64)> {
    read_file(vfs, path, most).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => (Error::corrupt(error.to_string()).in_file(path), 0),
        _ => (Error::storage("read", path, error), 0),
    })
}

fn damage(bytes: std::ops::Range<u64>, error: Error) -> (u64, Content) {
    (bytes.start, Content::Damage(DamageInfo { bytes, offsets: None, error }))
}

fn decode(kind: FileKind, bytes: &[u8], base: Offset) -> Result<Vec<(u64, Content)>> {
    let lines = |contents: Vec<Content>| Ok(placed_by_lines(bytes, contents));
    match kind {
        FileKind::TransactionIndex => transactions(bytes, base),
        FileKind::ProducerSnapshot => {
            let producers = ProducerSnapshot::decode(bytes)?.producers;
            let numbered = (0..).zip(producers);
            Ok(numbered.map(|(number, state)| (10 + 46 * number, Content::Producer(state))).collect())
        }
        FileKind::LeaderEpochs => {
            let epochs = LeaderEpochs::decode(bytes)?;
            let entry = |(epoch, start_offset)| Content::LeaderEpoch { epoch, start_offset };
            lines(epochs.entries().map(entry).collect())
        }
        FileKind::OffsetCheckpoint => {
            let entry = |(topic, partition, offset)| Content::PartitionOffset { topic, partition, offset };
            lines(decode_offsets(bytes)?.into_iter().map(entry).collect())
        }
        FileKind::PartitionMetadata => Ok(vec![(0, Content::TopicId(decode_partition_metadata(bytes)?))]),
        FileKind::Manifest => {
            let manifest = Manifest::decode(bytes)?;
            let directory = (0, Content::Directory(manifest.directory));
            let topics = manifest.topics.iter().map(|(name, entry)| (0, Content::Topic(topic(name, entry))));
            Ok(std::iter::once(directory).chain(topics).collect())
        }
        FileKind::Ends => Ok(list(bytes)?.into_iter().map(slot).collect()),
        FileKind::MetaProperties => Ok(properties(bytes)),
        FileKind::CleanShutdown | FileKind::Lock | FileKind::Salvaging if !bytes.is_empty() => {
            let value = String::from_utf8_lossy(bytes).trim_end().to_owned();
            Ok(vec![(0, Content::Property { name: "text".to_owned(), value })])
        }
        _ => Ok(Vec::new()),
    }
}

/// The entries of a text checkpoint, each where its line begins: behind the version and the count.
fn placed_by_lines(bytes: &[u8], contents: Vec<Content>) -> Vec<(u64, Content)> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').skip(1);
    ends.map(|(at, _)| at as u64 + 1).zip(contents).collect()
}

/// The entries of a checkpoint of offsets. Kafka makes the file before it has anything to write, and reads it as empty.
pub fn decode_offsets(bytes: &[u8]) -> Result<Vec<(String, PartitionId, Offset)>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let entries = checkpoint::decode(bytes, decode_offset_line)?;
    Ok(entries
        .into_iter()
        .map(|(topic, partition, offset)| (topic.as_str().to_owned(), partition, offset))
        .collect())
}

fn transactions(bytes: &[u8], base: Offset) -> Result<Vec<(u64, Content)>> {
    let entries = AbortedTransaction::read_all(bytes, base)?;
    let content = |entry: AbortedTransaction| Content::AbortedTransaction {
        producer_id: entry.producer_id,
        first_offset: entry.first_offset,
        last_offset: entry.last_offset,
        last_stable_offset: entry.last_stable_offset,
    };
    Ok((0..).zip(entries).map(|(number, entry)| (34 * number, content(entry))).collect())
}

fn topic(name: &TopicName, entry: &TopicEntry) -> TopicInfo {
    TopicInfo {
        name: name.as_str().to_owned(),
        id: entry.id,
        state: match entry.state {
            TopicState::Creating => "creating",
            TopicState::Live => "live",
            TopicState::Growing { .. } => "growing",
            TopicState::Deleting => "deleting",
        },
        partitions: entry.config.partitions,
        config: entry.config.entries().collect(),
    }
}

fn slot(place: Place) -> (u64, Content) {
    let Some(Slot { sequence, owner, end }) = place.slot else {
        let error = Error::corrupt("a slot of the ends file is not whole").at_position(place.position);
        return damage(place.position..place.position + 512, error);
    };
    let info = SlotInfo {
        topic: owner.topic,
        partition: owner.partition,
        sequence,
        generation: end.generation,
        log_start: end.log_start,
        segment: end.segment,
        offset: end.offset,
        position: end.position,
        log_end: end.log_end,
    };
    (place.position, Content::Slot(info))
}

/// The lines of a Java properties file, as far as Kafka's are concerned: no line goes on in the next one.
fn properties(bytes: &[u8]) -> Vec<(u64, Content)> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let unescape = |text: &str| text.trim().replace('\\', "");
    pairs
        .map(|(name, value)| (0, Content::Property { name: unescape(name), value: unescape(value) }))
        .collect()
}
