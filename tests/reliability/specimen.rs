//! A small complete directory in memory: what there can be in one, and what is read from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{EntryKind, MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{
    Broker, BrokerOptions, Durability, Isolation, ManualClock, Offset, Partition, Position, Record, Start,
    Timestamp, TopicConfig,
};

pub const ROOT: &str = "/data";
/// The topic that a Kafka broker has written: compacted, with transactions, two segments, and our records behind them.
pub const ADOPTED: &str = "compacted-transactions";

/// How the directory was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    InOrder,
    /// The process died.
    Killed,
}

pub struct Specimen {
    pub vfs: MemoryVfs,
    pub left: Left,
    /// What is read from it while it is sound.
    pub content: Vec<Content>,
    /// How many records of each partition are proven to be durable.
    pub proven: Vec<usize>,
}

/// What is read from one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub topic: String,
    pub partition: u32,
    /// Each with the checksum of its parts; all of them, and those of transactions that were committed.
    pub records: [Vec<(Offset, u32)>; 2],
    pub epochs: Vec<Option<u32>>,
    pub log_start: Offset,
    /// What reading at some offsets, and from some times on, begins with.
    pub lookups: Vec<Option<Offset>>,
    pub config: Vec<(&'static str, String)>,
    /// What groups have committed of it; of the topic in which they do that, what they are.
    pub committed: Vec<String>,
}

/// So many zeros behind what was written of a log are as good as all of them.
const ZEROS: usize = 1024;

/// The topic in which groups commit.
pub const OFFSETS: &str = "__consumer_offsets";

pub fn options() -> BrokerOptions {
    Broker::options().background(false).reserve_bytes(512).clock(ManualClock::at(1_700_000_000_000).clock())
}

pub fn open(vfs: &MemoryVfs, options: BrokerOptions) -> ottla::Result<Broker> {
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT))
}

impl Specimen {
    pub fn new(left: Left) -> Self {
        let vfs = MemoryVfs::new();
        vfs.create_dir(Path::new(ROOT)).unwrap();
        copy_kafka(&vfs);
        let broker = open(&vfs, options().adopt(true)).unwrap();
        fill(&broker);
        broker.close(Duration::from_secs(10)).unwrap();
        let closed = read(&vfs.restart()).unwrap();
        // A second life, so that there are two leader epochs, a marker that went, and twins that differ.
        let broker = open(&vfs, options()).unwrap();
        append(&broker, "synced", 0, 40..44);
        append(&broker, "os", 0, 40..44);
        commit(&broker, "synced", 0, 27);
        let vfs = match left {
            Left::InOrder => {
                broker.close(Duration::from_secs(10)).unwrap();
                vfs
            }
            Left::Killed => {
                // Of these nothing proves that they are durable.
                append(&broker, "os", 1, 40..46);
                std::mem::forget(broker);
                vfs.restart()
            }
        };
        let content = read(&vfs.restart()).unwrap();
        let proven = content.iter().zip(&closed).map(|(content, closed)| {
            // What its topic does not sync is proven by closing alone.
            let is_unproven = left == Left::Killed && content.topic == "os";
            if is_unproven { closed.records[0].len() } else { content.records[0].len() }
        });
        Self { vfs, left, proven: proven.collect(), content }
    }

    /// Every file, with its length; of the zeros that were preallocated only the first count.
    pub fn files(&self) -> Vec<(String, u64)> {
        let names = files(&self.vfs, "");
        let mut files: Vec<_> = names
            .into_iter()
            .map(|name| {
                let bytes = bytes(&self.vfs, &name);
                let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                let len = if name.ends_with(".log") { bytes.len().min(written + ZEROS) } else { bytes.len() };
                (name, len as u64)
            })
            .collect();
        files.sort();
        files
    }
}

/// The log directory of a real broker that was stopped, with one topic of it.
fn copy_kafka(vfs: &MemoryVfs) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kafka/stopped");
    let dir = format!("{ADOPTED}-0");
    vfs.create_dir(&path(&dir)).unwrap();
    for name in std::fs::read_dir(from.join(&dir)).unwrap().map(|entry| entry.unwrap().file_name()) {
        let name = format!("{dir}/{}", name.to_str().unwrap());
        replace(vfs, &name, &std::fs::read(from.join(&name)).unwrap());
    }
    for name in ["meta.properties", ".kafka_cleanshutdown"] {
        if let Ok(bytes) = std::fs::read(from.join(name)) {
            replace(vfs, name, &bytes);
        }
    }
    for name in
        ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"]
    {
        let text = std::fs::read_to_string(from.join(name)).unwrap();
        let lines: Vec<_> =
            text.lines().skip(2).filter(|line| line.starts_with(&format!("{ADOPTED} "))).collect();
        let text = format!("0\n{}\n{}\n", lines.len(), lines.join("\n"));
        replace(vfs, name, text.replace("\n\n", "\n").as_bytes());
    }
}

/// Two topics of ours, no two partitions alike.
fn fill(broker: &Broker) {
    let config = TopicConfig::new().segment_bytes(1024).index_interval_bytes(200);
    broker.create_topic("synced", config.clone().partitions(2)).unwrap();
    broker.create_topic("os", config.partitions(2).durability(Durability::Os)).unwrap();
    append(broker, "synced", 0, 0..24);
    append(broker, "synced", 1, 0..9);
    append(broker, "os", 0, 0..13);
    append(broker, "os", 1, 0..5);
    append(broker, ADOPTED, 0, 0..3);
    process(broker, "synced");
    commit(broker, "os", 0, 7);
    commit(broker, ADOPTED, 0, 5);
}

/// A group reads a topic to its end, commits that, and leaves.
fn process(broker: &Broker, topic: &str) {
    let mut consumer = broker.consumer().group("workers").subscribe([topic]).unwrap();
    while consumer.assignment().is_empty() || !consumer.is_caught_up() {
        consumer.poll(Duration::ZERO).unwrap();
    }
    consumer.commit().unwrap();
}

/// Somebody moves a group.
fn commit(broker: &Broker, topic: &str, partition: u32, offset: Offset) {
    let partition = broker.topic(topic).unwrap().partition(partition).unwrap();
    broker.alter_group_offsets("workers", [(partition, Position::new(offset, None))]).unwrap();
}

fn append(broker: &Broker, topic: &str, partition: u32, numbers: std::ops::Range<u64>) {
    let producer = broker.topic(topic).unwrap().producer();
    for number in numbers {
        // No two partitions have records of the same sizes.
        let len = 20 + 3 * u64::from(partition) + number * 37 % 90;
        let value = vec![u8::try_from(number).unwrap(); usize::try_from(len).unwrap()];
        let timestamp = 1_690_000_000_000 + Timestamp::try_from(number).unwrap() * 1000;
        let key = format!("{topic}-{partition}-{number}");
        let record =
            Record::new(&value).key(&key).header("h", &key).partition(partition).timestamp(timestamp);
        let delivery = producer.send(record).unwrap();
        // Batches of one record and of two.
        if number % 3 != 1 {
            delivery.wait().unwrap();
        }
    }
    producer.flush().unwrap();
}

pub fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

pub fn bytes(vfs: &MemoryVfs, name: &str) -> Vec<u8> {
    vfs.open(&path(name), OpenMode::Read).unwrap().map().unwrap().to_vec()
}

pub fn replace(vfs: &MemoryVfs, name: &str, bytes: &[u8]) {
    let file = vfs.open(&path(name), OpenMode::CreateEmpty).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file.sync_all().unwrap();
}

/// The files below a directory, but for the lock, in which a dead holder has left his name.
fn files(vfs: &MemoryVfs, dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in vfs.read_dir(&path(dir)).unwrap() {
        let name = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
        match entry.kind {
            EntryKind::Directory => found.extend(files(vfs, &name)),
            _ if name == ".lock" => {}
            _ => found.push(name),
        }
    }
    found
}

/// Opens the directory and reads everything in every way.
pub fn read(vfs: &MemoryVfs) -> ottla::Result<Vec<Content>> {
    let broker = open(vfs, options())?;
    let content = read_all(&broker);
    std::mem::forget(broker);
    content
}

/// What is read from every partition.
pub fn read_all(broker: &Broker) -> ottla::Result<Vec<Content>> {
    let mut content = Vec::new();
    let committed = read_commits(broker)?;
    for topic in broker.topics()?.into_iter().chain(broker.topic(OFFSETS).ok()) {
        for partition in topic.partitions() {
            let name = (topic.name().to_owned(), partition.id());
            let committed = committed.get(&name).cloned().unwrap_or_default();
            content.push(Content { committed, ..read_partition(&topic, &partition)? });
        }
    }
    Ok(content)
}

/// What groups have committed, by topic and partition; and what they are.
fn read_commits(broker: &Broker) -> ottla::Result<BTreeMap<(String, u32), Vec<String>>> {
    let mut committed: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut add = |topic: &str, partition, what| {
        committed.entry((topic.to_owned(), partition)).or_default().push(what);
    };
    for group in broker.groups()? {
        let group = broker.describe_group(group.name())?;
        add(OFFSETS, 0, format!("{} {} {}", group.name(), group.protocol_type(), group.generation()));
        for it in group.partitions() {
            let (words, time) = (it.metadata(), it.commit_timestamp());
            add(
                it.topic(),
                it.partition(),
                format!("{} {:?} {words} {time:?}", group.name(), it.committed()),
            );
        }
    }
    Ok(committed)
}

fn read_partition(topic: &ottla::Topic, partition: &Partition) -> ottla::Result<Content> {
    let (mut records, mut epochs) = ([Vec::new(), Vec::new()], Vec::new());
    let levels = [Isolation::ReadUncommitted, Isolation::ReadCommitted];
    for (records, isolation) in records.iter_mut().zip(levels) {
        for batch in partition.read_with(Start::Earliest, isolation)? {
            for record in &batch? {
                records.push((record.offset(), checksum(&record)));
                epochs.push(record.leader_epoch());
            }
        }
    }
    let mut lookups = Vec::new();
    let end = partition.high_watermark();
    let offsets = (0..4).map(|number| {
        Start::At(partition.log_start_offset() + (end - partition.log_start_offset()) * number / 4)
    });
    let times = (0..5).map(|number| Start::Time(1_690_000_000_000 + number * 9000));
    for start in offsets.chain(times) {
        let first = partition.read(start)?.next().transpose()?;
        lookups.push(first.and_then(|batch| batch.iter().next().map(|record| record.offset())));
    }
    Ok(Content {
        topic: topic.name().to_owned(),
        partition: partition.id(),
        records,
        epochs,
        log_start: partition.log_start_offset(),
        lookups,
        config: topic.config().entries().collect(),
        committed: Vec::new(),
    })
}

fn checksum(record: &ottla::RecordView<'_>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(format!("{:?} {:?} {:?}", record.key(), record.value(), record.timestamp()).as_bytes());
    for header in record.headers() {
        hasher.update(format!("{:?} {:?}", header.key_bytes(), header.value()).as_bytes());
    }
    hasher.finalize()
}
