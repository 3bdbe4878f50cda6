//! The manifest: which topics there are, with their configurations. A text file of ours at the root.
//!
//! ```text
//! ottla manifest 1
//! directory 8xO1m3mLSZ2Rk0p0WZs3yQ
//! topic orders rE6H2AcSSMCQ7GdNHWIEMQ live 3
//! adopted 0 1500 4
//! segments 0 0:1048576 1200:734003
//! config segment.bytes 1073741824
//! config segment.ms 604800000
//! config compression.gzip.level -1
//! crc32 8f2b1c0d
//! ```
//!
//! The first line is magic and version, the second the identity of the directory. A topic is its name, its id, its
//! state and its number of partitions (of a `growing` one also the number to come), with a line for every configuration behind it; topics are sorted by name. The
//! last line is the CRC-32 (IEEE) of everything before it, in hexadecimal.
//!
//! Of a partition that was taken over from a Kafka broker, `adopted` says up to which offset Kafka has written it, and
//! its leader epoch then (`none` if it had none), and `segments` which segments of it there were; see
//! [`KafkaSegments`]. A directory that was adopted by an earlier version has no such line.
//!
//! A configuration without a line has its default: so a version that knows more of them reads what an older one
//! wrote. One that this version does not know is an error, for it could mean anything.
//!
//! States: a topic is `creating` before its directories are there, `live` once they are (the commit of a
//! creation), and `deleting` before the first of them goes (the commit of a deletion). Opening undoes the one
//! and finishes the other. A topic that is to get more partitions is `growing` before their directories are there:
//!
//! ```text
//! topic orders rE6H2AcSSMCQ7GdNHWIEMQ growing 3 6
//! ```
//!
//! has three partitions, and is used as a live one with three; that it is `live` with six is the commit. Opening
//! removes what there is of the others.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use super::kafka_segments::KafkaSegments;
use crate::config::{Durability, TopicConfig};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::MANIFEST;
use crate::model::{DirectoryId, LeaderEpoch, MAX_OFFSET, Offset, PartitionId, TopicId, TopicName};
use crate::mutant::{self, Mutant};
use crate::vfs::{OpenMode, Vfs, commit_file, read_file, stage_file, write_all_at};

/// Magic and version.
const FIRST_LINE: &str = "ottla manifest 1";
const MAGIC: &str = "ottla manifest ";

/// More is no manifest: a topic takes some 300 bytes.
const MAX_LEN: u64 = 256 * 1024 * 1024;

/// Which topics there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub directory: DirectoryId,
    pub topics: BTreeMap<TopicName, TopicEntry>,
}

/// What the manifest says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicEntry {
    pub id: TopicId,
    pub state: TopicState,
    pub config: TopicConfig,
    /// Of the partitions that were taken over from a Kafka broker.
    pub adopted: BTreeMap<PartitionId, AdoptedEnd>,
    /// Of these, the segments that Kafka has written, where they were noted.
    pub segments: BTreeMap<PartitionId, KafkaSegments>,
}

/// Where the part of a partition ends that a Kafka broker has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdoptedEnd {
    pub offset: Offset,
    /// The leader epoch that the partition had there.
    pub epoch: Option<LeaderEpoch>,
}

impl TopicEntry {
    pub fn new(id: TopicId, state: TopicState, config: TopicConfig) -> Self {
        Self { id, state, config, adopted: BTreeMap::new(), segments: BTreeMap::new() }
    }

    /// Where what Kafka has written of a partition ends; 0 if it has written nothing.
    pub fn adopted_end(&self, partition: PartitionId) -> Offset {
        self.adopted.get(&partition).map_or(0, |end| end.offset)
    }
}

/// How far the creation, growth or deletion of a topic has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    Creating,
    Live,
    /// The directories of partitions up to this number may be there.
    Growing {
        to: PartitionId,
    },
    Deleting,
}

impl TopicState {
    /// Whether the topic is there for its users.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Live | Self::Growing { .. })
    }

    /// Whether there may be directories that are not finished.
    pub fn makes_directories(self) -> bool {
        matches!(self, Self::Creating | Self::Growing { .. })
    }

    /// With the number of partitions that the topic has.
    fn encode(self, partitions: PartitionId) -> String {
        match self {
            Self::Creating => format!("creating {partitions}"),
            Self::Live => format!("live {partitions}"),
            Self::Growing { to } => format!("growing {partitions} {to}"),
            Self::Deleting => format!("deleting {partitions}"),
        }
    }

    fn decode<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<(Self, PartitionId)> {
        let word = words.next()?;
        let partitions = words.next()?.parse().ok()?;
        let state = match word {
            "creating" => Self::Creating,
            "live" => Self::Live,
            "growing" => Self::Growing { to: words.next()?.parse().ok()? },
            "deleting" => Self::Deleting,
            _ => return None,
        };
        words.next().is_none().then_some((state, partitions))
    }
}

impl Manifest {
    /// Of a new directory.
    pub fn new(vfs: &dyn Vfs) -> Self {
        Self { directory: DirectoryId::random(|| vfs.random()), topics: BTreeMap::new() }
    }

    pub fn load(vfs: &dyn Vfs, root: &Path) -> Result<Self> {
        let path = root.join(MANIFEST);
        let bytes = read_file(vfs, &path, MAX_LEN).doing("read", &path)?;
        Self::decode(&bytes).map_err(|error| error.in_file(&path))
    }

    /// Writes the manifest under its temporary name, durably.
    pub fn stage(&self, vfs: &dyn Vfs, root: &Path) -> Result<()> {
        mutant::does(Mutant::ManifestInPlace, || _ = self.overwrite(vfs, root));
        stage_file(vfs, root, MANIFEST, self.encode().as_bytes()).doing("write", &root.join(MANIFEST))
    }

    /// What a mutant does.
    fn overwrite(&self, vfs: &dyn Vfs, root: &Path) -> std::io::Result<()> {
        let file = vfs.open(&root.join(MANIFEST), OpenMode::CreateEmpty)?;
        write_all_at(file.as_ref(), self.encode().as_bytes(), 0)
    }

    /// Gives what was staged its name, durably.
    pub fn commit(vfs: &dyn Vfs, root: &Path) -> Result<()> {
        commit_file(vfs, root, MANIFEST).doing("replace", &root.join(MANIFEST))
    }

    pub fn encode(&self) -> String {
        let mut text = format!("{FIRST_LINE}\ndirectory {}\n", self.directory);
        // Writing to a string does not fail.
        for (name, TopicEntry { id, state, config, adopted, segments }) in &self.topics {
            _ = writeln!(text, "topic {} {id} {}", name.as_str(), state.encode(config.partitions));
            for (partition, AdoptedEnd { offset, epoch }) in adopted {
                let epoch = epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
                _ = writeln!(text, "adopted {partition} {offset} {epoch}");
                if let Some(segments) = segments.get(partition) {
                    _ = writeln!(text, "segments {}", segments.encode(*partition));
                }
            }
            for (name, value) in config.entries() {
                _ = writeln!(text, "config {name} {value}");
            }
        }
        let crc = crc32fast::hash(text.as_bytes());
        _ = writeln!(text, "crc32 {crc:08x}");
        text
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let Some(version) = text.lines().next().and_then(|line| line.strip_prefix(MAGIC)) else {
            return Err(damaged("it does not begin as one"));
        };
        let body = check_crc(text)?;
        if version != "1" {
            let what = format!("the manifest has version {version}, and only 1 can be read");
            return Err(Error::new(ErrorKind::UnsupportedVersion, what)
                .advise("open the directory with the version of ottla that wrote it, or a newer one"));
        }
        let mut lines = body.lines().skip(1);
        let directory = lines.next().and_then(|line| line.strip_prefix("directory "));
        let directory =
            directory.and_then(DirectoryId::parse).ok_or_else(|| damaged("it names no directory"))?;
        Ok(Self { directory, topics: decode_topics(lines)? })
    }
}

/// Topics, each with what was adopted of it and its configurations behind it; each only once.
fn decode_topics<'a>(lines: impl Iterator<Item = &'a str>) -> Result<BTreeMap<TopicName, TopicEntry>> {
    let mut topics: BTreeMap<TopicName, TopicEntry> = BTreeMap::new();
    let mut configured = BTreeSet::new();
    for line in lines {
        match line.split_once(' ') {
            Some(("topic", rest)) => {
                let (name, entry) = decode_topic(rest)?;
                if topics.last_key_value().is_some_and(|(last, _)| *last >= name) {
                    return Err(damaged("its topics are not sorted"));
                }
                topics.insert(name, entry);
                configured.clear();
            }
            Some(("adopted", rest)) => {
                let (Some((partition, end)), Some(mut topic)) = (decode_adopted(rest), topics.last_entry())
                else {
                    return Err(damaged("what was adopted is no partition, offset and epoch"));
                };
                let adopted = &mut topic.get_mut().adopted;
                if adopted.last_key_value().is_some_and(|(last, _)| *last >= partition) {
                    return Err(damaged("its adopted partitions are not sorted"));
                }
                adopted.insert(partition, end);
            }
            Some(("segments", rest)) => {
                let topic = topics.last_entry();
                let noted = topic.and_then(|mut topic| decode_segments(rest, topic.get_mut()));
                noted.ok_or_else(|| damaged("segments are not those of an adopted partition"))?;
            }
            Some(("config", rest)) => {
                let (Some((name, value)), Some(mut topic)) = (rest.split_once(' '), topics.last_entry())
                else {
                    return Err(damaged("a configuration stands alone"));
                };
                if !configured.insert(name) {
                    return Err(damaged("a configuration is repeated"));
                }
                let topic = topic.get_mut();
                topic.config = decode_config(std::mem::take(&mut topic.config), name, value)?;
            }
            _ => return Err(damaged("a line is no topic, nothing adopted and no configuration")),
        }
    }
    Ok(topics)
}

/// What stands before the checksum, if that is right.
fn check_crc(text: &str) -> Result<&str> {
    let missing = || damaged("its checksum is missing");
    let without_end = text.strip_suffix('\n').ok_or_else(missing)?;
    let at = without_end.rfind('\n').and_then(|at| at.checked_add(1)).ok_or_else(missing)?;
    let (body, last) = text.split_at_checked(at).ok_or_else(missing)?;
    let stated = last.strip_prefix("crc32 ").and_then(|text| text.strip_suffix('\n')).ok_or_else(missing)?;
    if stated == format!("{:08x}", crc32fast::hash(body.as_bytes())) {
        Ok(body)
    } else {
        Err(damaged("its checksum is wrong"))
    }
}

fn decode_topic(text: &str) -> Result<(TopicName, TopicEntry)> {
    let malformed = || damaged("a topic is not name, id, state and partitions");
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or_else(malformed);
    let name = TopicName::new(word()?).map_err(|_| malformed())?;
    let id = TopicId::parse(word()?).ok_or_else(malformed)?;
    let (state, partitions) = TopicState::decode(words).ok_or_else(malformed)?;
    // A topic that exists leaves nothing to the broker.
    let config = TopicConfig::new().partitions(partitions).or_durability(Durability::Synced);
    config.validate().map_err(|_| malformed())?;
    if let TopicState::Growing { to } = state {
        let is_more = to > partitions && TopicConfig::new().partitions(to).validate().is_ok();
        is_more.then_some(()).ok_or_else(malformed)?;
    }
    Ok((name, TopicEntry::new(id, state, config)))
}

fn decode_adopted(text: &str) -> Option<(PartitionId, AdoptedEnd)> {
    let mut words = text.split(' ');
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok().filter(|offset| *offset <= MAX_OFFSET)?;
    let epoch = match words.next()? {
        "none" => None,
        epoch => Some(epoch.parse().ok().filter(|epoch| i32::try_from(*epoch).is_ok())?),
    };
    words.next().is_none().then_some((partition, AdoptedEnd { offset, epoch }))
}

/// Of the partition that was adopted last; `None` if they are not, or were there.
fn decode_segments(text: &str, entry: &mut TopicEntry) -> Option<()> {
    let (partition, end) = entry.adopted.last_key_value()?;
    let segments = KafkaSegments::decode(text, *partition, end.offset)?;
    entry.segments.insert(*partition, segments).is_none().then_some(())
}

fn decode_config(config: TopicConfig, name: &str, value: &str) -> Result<TopicConfig> {
    if config.get(name).is_none() {
        let what = format!("the manifest holds the configuration {name}, which this version does not know");
        return Err(Error::new(ErrorKind::UnsupportedVersion, what)
            .advise("open the directory with the version of ottla that wrote it, or a newer one"));
    }
    let config = config.set(name, value)?;
    config.validate()?;
    Ok(config)
}

fn damaged(reason: &str) -> Error {
    Error::corrupt(format!("the manifest is damaged: {reason}"))
        .advise("restore it from a copy; nothing in the directory was changed")
}
