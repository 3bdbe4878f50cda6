//! A data directory that was written in order and damaged since: opening and reading it gives what was sent, or
//! an error; and so does asking for what its group has committed.
//!
//! The first byte chooses an offset to read from; the rest are edits, each of them: number of the file, what to
//! do, position (2 bytes, big-endian), number of bytes that follow, these bytes.
#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ottla::internals::{EntryKind, MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{
    Broker, BrokerOptions, ErrorKind, ManualClock, Offset, OwnedHeader, OwnedRecord, Partition, PartitionId,
    Position, Record, RecordMetadata, Start, Timestamp, TopicConfig,
};

const ROOT: &str = "/data";
const LONG: Duration = Duration::from_secs(3600);
/// The group, where it commits, and what it has committed of each partition, one after the other.
const GROUP: &str = "workers";
const OFFSETS: &str = "__consumer_offsets";
const COMMITS: [[Offset; 3]; 2] = [[0, 5, 9], [0, 3, 0]];
/// How many edits an input may hold: each may grow a file, and copies cost time.
const MOST_EDITS: usize = 32;

static SOUND: LazyLock<Directory> = LazyLock::new(Directory::write);

fuzz_target!(|input: &[u8]| {
    let Some((from, mut edits)) = input.split_first() else { return };
    let mut directory = SOUND.clone();
    for _ in 0..MOST_EDITS {
        let Some(edit) = Edit::read(&mut edits) else { break };
        directory.apply(&edit);
    }
    for memory_maps in [true, false] {
        directory.check(memory_maps, Offset::from(*from));
    }
});

/// Nothing happens but what the input asks for.
fn options() -> BrokerOptions {
    Broker::options().background(false).reserve_bytes(0)
}

/// What a record holds, apart from its place.
type Content = (Option<Timestamp>, Option<Box<[u8]>>, Option<Box<[u8]>>, Vec<OwnedHeader>);

/// The files of a data directory, and what was sent to it.
#[derive(Clone)]
struct Directory {
    directories: Vec<PathBuf>,
    files: Vec<(PathBuf, Vec<u8>)>,
    sent: Arc<BTreeMap<(PartitionId, Offset), Content>>,
    /// Whether checksums were made right for other bytes, so that nothing can be said of what is read.
    forged: bool,
}

impl Directory {
    fn write() -> Self {
        let vfs = MemoryVfs::new();
        let clock = ManualClock::at(1_700_000_000_000);
        let options = options().batch_size(300).clock(clock.clock());
        let broker = open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).expect("an empty directory");
        // Small enough for several segments, and for index entries in each.
        let config = TopicConfig::new().partitions(2).segment_bytes(1024).index_interval_bytes(100);
        let topic = broker.create_topic("sample", config).expect("a new topic");
        let mut sent = BTreeMap::new();
        for number in 0..40u8 {
            let value = vec![number; usize::from(number) * 53 % 211];
            let record = match number % 4 {
                0 => Record::new(&value),
                1 => Record::new(&value).key("key"),
                2 => Record::new(&value).key("").header("name", "value").null_header("null"),
                _ => Record::tombstone("key"),
            };
            let delivery = topic.producer().send(record.partition(u32::from(number % 3 / 2)));
            clock.advance(Duration::from_millis(u64::from(number)));
            // Every third one waits, so that batches hold one record or several.
            if number % 3 == 0 {
                delivery.expect("a sound record").wait().expect("a file system in memory");
            }
        }
        topic.producer().flush().expect("a file system in memory");
        for partition in topic.partitions() {
            for batch in partition.read(Start::Earliest).expect("an open partition") {
                let records = batch.expect("a sound batch").records().collect::<Vec<_>>();
                sent.extend(
                    records.into_iter().map(|record| ((partition.id(), record.offset), content(record))),
                );
            }
        }
        assert_eq!(sent.len(), 40);
        let mut consumer = broker.consumer().group(GROUP).subscribe(["sample"]).expect("a topic");
        while consumer.assignment().len() < 2 {
            consumer.poll(Duration::ZERO).expect("a file system in memory");
        }
        drop(consumer);
        for (partition, offsets) in topic.partitions().zip(COMMITS) {
            for offset in offsets {
                let position = (partition.clone(), Position::new(offset, None));
                broker.alter_group_offsets(GROUP, [position]).expect("a sound offset");
            }
        }
        broker.close(LONG).expect("a file system in memory");

        let mut directory =
            Self { directories: Vec::new(), files: Vec::new(), sent: Arc::new(sent), forged: false };
        directory.take(&vfs, Path::new(ROOT));
        directory.sort();
        directory
    }

    fn take(&mut self, vfs: &MemoryVfs, path: &Path) {
        self.directories.push(path.to_owned());
        for entry in vfs.read_dir(path).expect("a directory") {
            let path = path.join(entry.name);
            match entry.kind {
                EntryKind::File => {
                    let bytes = vfs.open(&path, OpenMode::Read).and_then(|file| file.map()).expect("a file");
                    self.files.push((path, bytes.to_vec()));
                }
                _ => self.take(vfs, &path),
            }
        }
    }

    fn apply(&mut self, edit: &Edit<'_>) {
        let Some(number) = usize::from(edit.file).checked_rem(self.files.len()) else { return };
        let (path, bytes) = &mut self.files[number];
        let at = usize::from(edit.position) % (bytes.len() + 1);
        match edit.what % 6 {
            0 => {
                let end = at + edit.bytes.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[at..end].copy_from_slice(edit.bytes);
            }
            1 => bytes.truncate(at),
            2 => bytes.extend_from_slice(edit.bytes),
            3 => _ = self.files.remove(number),
            4 if path.ends_with("ottla.manifest") => correct_manifest(bytes),
            4 => {
                self.forged = true;
                correct_batches(bytes);
            }
            _ => self.rename_segment(number, edit.position),
        }
    }

    /// The segment's file says that it begins at another offset.
    fn rename_segment(&mut self, number: usize, base: u16) {
        let old = &self.files[number].0;
        let suffix = old.extension().unwrap_or_default().to_string_lossy();
        if ["log", "index", "timeindex"].contains(&suffix.as_ref()) {
            let new = old.with_file_name(format!("{base:020}.{suffix}"));
            let (_, bytes) = self.files.remove(number);
            self.files.retain(|(path, _)| *path != new);
            self.files.push((new, bytes));
            self.sort();
        }
    }

    /// Files keep their numbers only in one order; Kafka's checkpoints, which nobody believes, come last but for what the
    /// group has written.
    fn sort(&mut self) {
        self.files.sort_by_cached_key(|(path, _)| {
            let root = path.parent() == Some(Path::new(ROOT));
            let is_checkpoint = root && path.to_string_lossy().ends_with("-checkpoint");
            (path.to_string_lossy().contains(OFFSETS), is_checkpoint, path.clone())
        });
    }

    fn file_system(&self) -> MemoryVfs {
        let vfs = MemoryVfs::new();
        for path in &self.directories {
            vfs.create_dir(path).expect("directories come before what they hold");
        }
        for (path, bytes) in &self.files {
            let file = vfs.open(path, OpenMode::CreateNew).expect("names are unique");
            assert_eq!(file.write_at(bytes, 0).expect("a file in memory"), bytes.len());
        }
        vfs
    }

    fn check(&self, memory_maps: bool, from: Offset) {
        let options = options().memory_maps(memory_maps);
        let Ok(broker) = open_on(options, Arc::new(self.file_system()), Path::new(ROOT)) else { return };
        for topic in broker.topics().expect("the broker is open") {
            for partition in topic.partitions() {
                assert!(partition.log_start_offset() <= partition.high_watermark());
                self.check_records(&partition, Start::Earliest);
                self.check_records(&partition, Start::At(from));
            }
            // What is acknowledged on top of the damage can be read.
            let record = Record::new("another").key("one");
            if let Ok(metadata) = topic.producer().send(record).and_then(|delivery| delivery.wait()) {
                let partition = topic.partition(metadata.partition()).expect("a record is in it");
                self.check_new(&partition, &metadata);
            }
        }
        self.check_group(&broker);
        // A partition that could not be written to says so here as well.
        _ = broker.close(LONG);
    }

    /// What the group has committed is what it once did, or there is an error, as for whoever joins it.
    fn check_group(&self, broker: &Broker) {
        for group in broker.groups().into_iter().flatten() {
            // One whose name was forged may be gone again.
            let Ok(group) = broker.describe_group(group.name()) else { continue };
            for partition in group.partitions() {
                let offset = partition.committed().map(Position::offset);
                let number = usize::try_from(partition.partition()).expect("a small number");
                let commits = COMMITS.get(number).filter(|_| partition.topic() == "sample");
                let was_committed = offset.zip(commits).is_some_and(|(it, commits)| commits.contains(&it));
                assert!(self.forged || was_committed && group.name() == GROUP, "{group:?}");
            }
        }
        let Ok(mut consumer) = broker.consumer().group(GROUP).subscribe(["sample"]) else { return };
        for _ in 0..4 {
            _ = consumer.poll(Duration::ZERO);
        }
        for partition in consumer.assignment() {
            _ = consumer.committed(&partition);
        }
        _ = consumer.commit();
    }

    /// Reads to the end, or to the first error.
    fn check_records(&self, partition: &Partition, start: Start) {
        let batches = match partition.read(start) {
            Ok(batches) => batches,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange, "{error}");
                return;
            }
        };
        let mut least = partition.log_start_offset();
        for batch in batches.map_while(Result::ok) {
            for record in batch.records() {
                let offset = record.offset;
                assert!((least..partition.high_watermark()).contains(&offset), "{offset} is out of order");
                least = offset + 1;
                let sent = self.sent.get(&(partition.id(), offset));
                assert!(self.forged || sent == Some(&content(record)), "{start:?}: {offset} was not sent so");
            }
        }
    }

    fn check_new(&self, partition: &Partition, metadata: &RecordMetadata) {
        let start = Start::At(metadata.offset());
        let read = partition.read(start).expect("an acknowledged record").next();
        let batch = read.expect("an acknowledged record").expect("a sound batch");
        let record = batch.iter().next().expect("the record that was sent");
        assert_eq!((record.offset(), record.value()), (metadata.offset(), Some(&b"another"[..])));
    }
}

fn content(record: OwnedRecord) -> Content {
    (record.timestamp, record.key, record.value, record.headers)
}

/// One change to one file.
struct Edit<'a> {
    file: u8,
    what: u8,
    position: u16,
    bytes: &'a [u8],
}

impl<'a> Edit<'a> {
    fn read(input: &mut &'a [u8]) -> Option<Self> {
        let (&[file, what, high, low, len], rest) = input.split_first_chunk()?;
        let (bytes, rest) = rest.split_at(rest.len().min(len.into()));
        *input = rest;
        Some(Self { file, what, position: u16::from_be_bytes([high, low]), bytes })
    }
}

/// Gives the manifest the checksum of what it says now.
fn correct_manifest(bytes: &mut Vec<u8>) {
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let last_line = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.truncate(last_line);
    let crc = crc32fast::hash(bytes);
    bytes.extend_from_slice(format!("crc32 {crc:08x}\n").as_bytes());
}

/// Gives every batch of a log the checksum of what it holds now.
fn correct_batches(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(length) = rest.get(8..12) {
        let length = i32::from_be_bytes(length.try_into().expect("4 bytes"));
        let size = usize::try_from(length).unwrap_or(0).saturating_add(12);
        if size < 61 || size > rest.len() {
            break;
        }
        let (batch, behind) = rest.split_at_mut(size);
        let crc = crc_fast::crc32_iscsi(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = behind;
    }
}
