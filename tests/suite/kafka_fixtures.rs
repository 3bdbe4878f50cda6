//! What a real Kafka has written, and what its own consumer returned of it: tests/fixtures/kafka, made by `make` there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, kafka_partition};
use ottla::{
    Broker, Headers, Isolation, Offset, Partition, RecordView, Result, Start, TimestampType, Topic,
    TopicConfig,
};
use serde_json::Value;

use crate::support::options;

/// Where the log directories lie, or where somebody has just made others.
pub fn root() -> PathBuf {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kafka");
    std::env::var_os("OTTLA_KAFKA_FIXTURES").map_or(checked_in, PathBuf::from)
}

/// A partition of a log directory.
pub struct Fixture {
    /// The log directory and the partition.
    pub name: String,
    /// Its files, and where Kafka's cleaner has come to, which stands beside it.
    pub files: Files,
    cleaner: Vec<u8>,
    pub expected: Expected,
}

/// What the files of a partition hold, by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What Kafka's consumer returned.
pub struct Expected {
    pub log_start_offset: Offset,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    position_uncommitted: Offset,
    position_committed: Offset,
    /// Each with whether it is returned at `read_committed`, too.
    records: Vec<(Line, bool)>,
    pub times: Vec<Time>,
}

/// The offset for a time, if there is one.
pub struct Time {
    pub time: i64,
    pub uncommitted: Option<Offset>,
    pub committed: Option<Offset>,
}

/// A record, as both sides print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub offset: Offset,
    pub timestamp: i64,
    pub kind: String,
    pub leader_epoch: i64,
    pub key: Text,
    pub value: Text,
    pub headers: Vec<(Text, Text)>,
}

/// Bytes that may be null; of many, the length and the checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Null,
    Short(String),
    Long { length: u64, crc32c: u64 },
}

/// Every partition of the two log directories.
pub fn all() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for dir in ["stopped", "killed"] {
        let expected = root().join("expected").join(dir);
        let mut names: Vec<_> = std::fs::read_dir(&expected)
            .unwrap_or_else(|error| panic!("{}: {error}", expected.display()))
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        fixtures.extend(names.iter().map(|name| Fixture::read(dir, name)));
    }
    fixtures
}

impl Fixture {
    fn read(dir: &str, name: &str) -> Self {
        let expected = std::fs::read_to_string(root().join(format!("expected/{dir}/{name}.jsonl"))).unwrap();
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(root().join(dir).join(name)).unwrap() {
            let path = entry.unwrap().path();
            files.insert(
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            );
        }
        let cleaner = std::fs::read(root().join(dir).join("cleaner-offset-checkpoint")).unwrap();
        Self { name: format!("{dir}/{name}"), files, cleaner, expected: Expected::parse(&expected) }
    }

    /// Whether its files say that compaction has been there.
    pub fn is_compacted(&self) -> bool {
        let (topic, partition) = self.partition().rsplit_once('-').unwrap();
        String::from_utf8_lossy(&self.cleaner)
            .lines()
            .any(|line| line.starts_with(&format!("{topic} {partition} ")))
    }

    /// Whether it is of one of Kafka's own topics.
    pub fn is_internal(&self) -> bool {
        self.partition().starts_with("__")
    }

    fn partition(&self) -> &str {
        self.name.split_once('/').unwrap().1
    }

    pub fn logs(&self) -> impl Iterator<Item = &String> {
        self.files.keys().filter(|name| name.ends_with(".log"))
    }

    /// Opens it as it is.
    pub fn open(&self, host: &Host) -> Partition {
        host.open(self, &self.files).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// A broker in whose place partitions of Kafka's are read.
pub struct Host {
    broker: Broker,
    topic: Topic,
    maps: bool,
}

impl Host {
    pub fn new(maps: bool) -> Self {
        let broker = options().in_memory().unwrap();
        let topic = broker.create_topic("beside", TopicConfig::new()).unwrap();
        Self { broker, topic, maps }
    }

    /// Opens a fixture with these files in the place of its own.
    pub fn open(&self, fixture: &Fixture, files: &Files) -> Result<Partition> {
        let vfs = Arc::new(MemoryVfs::new());
        let (root, partition) = (Path::new("/kafka"), fixture.partition());
        let dir = root.join(partition);
        for dir in [root, &dir] {
            vfs.create_dir(dir).unwrap();
        }
        let write = |path: &Path, bytes: &[u8]| {
            let file = vfs.open(path, OpenMode::CreateNew).unwrap();
            assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
        };
        write(&root.join("cleaner-offset-checkpoint"), &fixture.cleaner);
        files.iter().for_each(|(name, bytes)| write(&dir.join(name), bytes));
        kafka_partition(&self.topic.partition(0)?, vfs, &dir, self.maps)
    }

    /// What a consumer hands out, a few records at a time, and its position then.
    pub fn poll(&self, partition: &Partition, isolation: Isolation) -> Result<(Vec<Line>, Offset)> {
        let consumer = self.broker.consumer().isolation(isolation).max_poll_records(7);
        let mut consumer = consumer.assign([partition.clone()])?;
        let mut lines = Vec::new();
        loop {
            let records = consumer.poll(Duration::ZERO)?;
            if records.is_empty() {
                assert_eq!(consumer.lag(partition)?, 0, "{partition:?}");
                return Ok((lines, consumer.position(partition)?.offset()));
            }
            lines.extend(records.iter().map(|record| Line {
                offset: record.offset(),
                timestamp: record.timestamp().unwrap_or(-1),
                kind: String::new(),
                leader_epoch: record.leader_epoch().map_or(-1, i64::from),
                key: Text::of(record.key()),
                value: Text::of(record.value()),
                headers: texts(record.headers()),
            }));
        }
    }
}

/// What was read of a partition.
pub struct Read {
    pub lines: Vec<Line>,
    pub batches: usize,
    pub position: Offset,
    pub error: Option<ottla::Error>,
}

impl Read {
    /// The records from the beginning on, up to the first error.
    pub fn all(partition: &Partition, isolation: Isolation) -> Result<Self> {
        let mut read = Self { lines: Vec::new(), batches: 0, position: 0, error: None };
        let mut batches = partition.read_with(Start::Earliest, isolation)?;
        for batch in &mut batches {
            match batch {
                Ok(batch) => {
                    read.batches += 1;
                    let kind = batch.timestamp_type();
                    read.lines.extend(batch.iter().map(|record| Line::of(&record, kind)));
                }
                Err(error) => read.error = Some(error),
            }
        }
        read.position = batches.position().offset();
        Ok(read)
    }
}

impl Expected {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ends = lines.next().unwrap();
        let (mut records, mut times) = (Vec::new(), Vec::new());
        for line in lines {
            match line.get("time") {
                None => records.push((Line::parse(&line), line["committed"].as_bool().unwrap())),
                Some(time) => times.push(Time {
                    time: time.as_i64().unwrap(),
                    uncommitted: line["uncommitted"].as_u64(),
                    committed: line["committed"].as_u64(),
                }),
            }
        }
        let end = |name: &str| ends[name].as_u64().unwrap();
        Self {
            log_start_offset: end("log_start_offset"),
            high_watermark: end("high_watermark"),
            last_stable_offset: end("last_stable_offset"),
            position_uncommitted: end("position_uncommitted"),
            position_committed: end("position_committed"),
            records,
            times,
        }
    }

    pub fn lines(&self, isolation: Isolation) -> Vec<Line> {
        let is_given = |committed: bool| committed || isolation == Isolation::ReadUncommitted;
        self.records
            .iter()
            .filter(|(_, committed)| is_given(*committed))
            .map(|(line, _)| line.clone())
            .collect()
    }

    pub fn position(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadCommitted => self.position_committed,
            Isolation::ReadUncommitted => self.position_uncommitted,
        }
    }
}

impl Line {
    fn parse(line: &Value) -> Self {
        let headers = line["headers"].as_array().unwrap().iter();
        Self {
            offset: line["offset"].as_u64().unwrap(),
            timestamp: line["timestamp"].as_i64().unwrap(),
            kind: line["type"].as_str().unwrap().to_owned(),
            leader_epoch: line["leader_epoch"].as_i64().unwrap(),
            key: Text::parse(&line["key"]),
            value: Text::parse(&line["value"]),
            headers: headers.map(|header| (Text::parse(&header[0]), Text::parse(&header[1]))).collect(),
        }
    }

    pub fn of(record: &RecordView<'_>, kind: TimestampType) -> Self {
        Self {
            offset: record.offset(),
            timestamp: record.timestamp().unwrap_or(-1),
            kind: format!("{kind:?}"),
            leader_epoch: record.leader_epoch().map_or(-1, i64::from),
            key: Text::of(record.key()),
            value: Text::of(record.value()),
            headers: texts(record.headers()),
        }
    }

    /// Without what a consumer does not tell.
    pub fn without_kind(&self) -> Self {
        Self { kind: String::new(), ..self.clone() }
    }
}

fn texts(headers: Headers<'_>) -> Vec<(Text, Text)> {
    headers.map(|header| (Text::of(Some(header.key().as_bytes())), Text::of(header.value()))).collect()
}

impl Text {
    fn parse(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::String(hex) => Self::Short(hex.clone()),
            long => Self::Long {
                length: long["length"].as_u64().unwrap(),
                crc32c: long["crc32c"].as_u64().unwrap(),
            },
        }
    }

    fn of(bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => Self::Null,
            Some(bytes) if bytes.len() <= 64 => {
                Self::Short(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            Some(bytes) => {
                Self::Long { length: bytes.len() as u64, crc32c: crc_fast::crc32_iscsi(bytes).into() }
            }
        }
    }
}
