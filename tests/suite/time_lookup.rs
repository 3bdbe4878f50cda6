//! `Start::Time` against a plain scan: through whole, missing, shortened and damaged indexes the answer is the log's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{
    Broker, ErrorKind, ManualClock, Partition, Record, Start, Timestamp, TimestampType, TopicConfig,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{ROOT, encode_batch, options};

/// The timestamps of the suite lie below.
const LAST: Timestamp = 40;
const VALUE: [u8; 150] = [7; 150];

/// A partition on a file system that stays while brokers come and go.
struct Log {
    vfs: MemoryVfs,
    clock: ManualClock,
    config: TopicConfig,
    maps: bool,
}

/// How the log is laid out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    segment_bytes: u64,
    interval: u64,
    kind: TimestampType,
    maps: bool,
}

const LAYOUT: Layout =
    Layout { segment_bytes: 3000, interval: 500, kind: TimestampType::CreateTime, maps: true };

impl Log {
    fn new(layout: Layout) -> Self {
        let config = TopicConfig::new()
            .segment_bytes(layout.segment_bytes)
            .index_interval_bytes(layout.interval)
            .timestamp_type(layout.kind);
        Self { vfs: MemoryVfs::new(), clock: ManualClock::at(0), config, maps: layout.maps }
    }

    fn open(&self) -> (Broker, Partition) {
        let options = options().clock(self.clock.clock()).memory_maps(self.maps);
        let broker = open_on(options, Arc::new(self.vfs.clone()), Path::new(ROOT)).unwrap();
        let topic = broker.ensure_topic("t", self.config.clone()).unwrap();
        (broker, topic.partition(0).unwrap())
    }

    /// Appends a batch; with `LogAppendTime` its records get the first of the timestamps.
    fn append(&self, broker: &Broker, timestamps: &[Timestamp]) {
        self.clock.set_wall(timestamps[0]);
        let records: Vec<_> = timestamps.iter().map(|at| Record::new(&VALUE).timestamp(*at)).collect();
        broker.topic("t").unwrap().producer().send_batch(&records).unwrap().wait().unwrap();
    }

    /// One that was closed in order.
    fn filled(layout: Layout, batches: &[Vec<Timestamp>]) -> Self {
        let log = Self::new(layout);
        let (broker, _) = log.open();
        batches.iter().for_each(|batch| log.append(&broker, batch));
        broker.close(Duration::from_secs(10)).unwrap();
        log
    }

    fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let dir = Path::new(ROOT).join("t-0");
        let entries = self.vfs.read_dir(&dir).unwrap();
        let mut paths: Vec<_> = entries.iter().map(|entry| dir.join(&entry.name)).collect();
        paths.retain(|path| path.to_string_lossy().ends_with(suffix));
        paths.sort();
        paths
    }

    fn indexes(&self) -> Vec<PathBuf> {
        [self.files(".index"), self.files(".timeindex")].concat()
    }

    fn content(&self, path: &Path) -> Vec<u8> {
        self.vfs.open(path, OpenMode::Read).unwrap().map().unwrap().to_vec()
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        let file = self.vfs.open(path, OpenMode::CreateEmpty).unwrap();
        assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    }

    /// Opens the log and compares.
    fn check(&self, context: &str) {
        let (broker, partition) = self.open();
        check(&partition, context);
        broker.close(Duration::from_secs(10)).unwrap();
    }
}

fn found(partition: &Partition, time: Timestamp) -> u64 {
    partition.read(Start::Time(time)).unwrap().position().offset()
}

/// Compares every lookup with what a scan says.
fn check(partition: &Partition, context: &str) {
    let batches = partition.read(Start::Earliest).unwrap();
    let records: Vec<_> = batches
        .flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>())
        .map(|record| (record.offset, record.timestamp))
        .collect();
    for time in [i64::MIN, -2, -1].into_iter().chain(0..=LAST + 2).chain([i64::MAX]) {
        let is_late = |(_, timestamp): &&(u64, Option<Timestamp>)| timestamp.is_some_and(|at| at >= time);
        let expected = records.iter().find(is_late).map_or(partition.high_watermark(), |(offset, _)| *offset);
        assert_eq!(found(partition, time), expected, "time {time}, {context}");
    }
}

fn batches() -> impl Strategy<Value = Vec<Vec<Timestamp>>> {
    let anyhow = vec(vec(0..=LAST, 1..6), 1..40);
    // Rising, but for a few.
    let rising =
        vec((vec(0..4i64, 1..6), prop_oneof![9 => Just(0), 1 => -9..9i64]), 1..40).prop_map(|batches| {
            let stamp = |(number, (deltas, odd)): (i64, (Vec<i64>, i64))| {
                let at = |delta: i64| (number + delta + odd).clamp(0, LAST);
                deltas.into_iter().map(at).collect()
            };
            (0..).zip(batches).map(stamp).collect()
        });
    prop_oneof![anyhow, rising]
}

fn layout() -> impl Strategy<Value = Layout> {
    let kind = prop_oneof![Just(TimestampType::CreateTime), Just(TimestampType::LogAppendTime)];
    (2048..8000u64, 0..2000u64, kind, any::<bool>())
        .prop_map(|(segment_bytes, interval, kind, maps)| Layout { segment_bytes, interval, kind, maps })
}

/// What happens to the file of an index.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Deleted,
    CutTo(prop::sample::Index),
    Padded(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::None),
        Just(Damage::Deleted),
        any::<prop::sample::Index>().prop_map(Damage::CutTo),
        (1..40usize).prop_map(Damage::Padded),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// While the log grows, after reopening, with indexes in any state, and when it grows on such.
    #[test]
    fn a_time_is_found_where_a_scan_finds_it(
        batches in batches(),
        later in vec(vec(0..=LAST, 1..4), 0..4),
        layout in layout(),
        damages in vec(damage(), 1..12),
    ) {
        let log = Log::new(layout);
        let (broker, partition) = log.open();
        for batch in &batches {
            log.append(&broker, batch);
        }
        check(&partition, "live");
        broker.close(Duration::from_secs(10)).unwrap();
        log.check("reopened");
        for (path, damage) in log.indexes().iter().zip(damages.iter().cycle()) {
            let bytes = log.content(path);
            match damage {
                Damage::None => {}
                Damage::Deleted => log.vfs.remove_file(path).unwrap(),
                Damage::CutTo(index) => log.write(path, &bytes[..index.index(bytes.len() + 1)]),
                Damage::Padded(zeros) => log.write(path, &[bytes, vec![0; *zeros]].concat()),
            }
        }
        let (broker, partition) = log.open();
        check(&partition, "with damaged indexes");
        for batch in &later {
            log.append(&broker, batch);
            check(&partition, "growing on damaged indexes");
        }
        broker.close(Duration::from_secs(10)).unwrap();
        log.check("reopened once more");
    }
}

/// Segments whose greatest timestamp comes early, in the middle and last.
fn example() -> Vec<Vec<Timestamp>> {
    let times = [5, 9, 3, 20, 7, 8, 2, 30, 11, 12, 1, 6, 33, 14, 13, 35, 16, 17, 40, 18, 19, 10, 21];
    times.iter().map(|time| vec![*time, time / 2, *time]).collect()
}

#[test]
fn a_time_is_found_with_every_index_cut_at_every_length() {
    let example = example();
    let whole = Log::filled(LAYOUT, &example);
    assert!(whole.files(".timeindex").len() > 3, "there should be several segments");
    let mut cuts = 0;
    for path in whole.indexes() {
        let bytes = whole.content(&path);
        for len in 0..bytes.len() {
            let log = Log::filled(LAYOUT, &example);
            log.write(&path, &bytes[..len]);
            let context = format!("{} cut to {len}", path.display());
            let (broker, partition) = log.open();
            check(&partition, &context);
            // A time index that lacks its end must not hide what is there behind what is added.
            log.append(&broker, &[22]);
            log.append(&broker, &[4, 23, 0]);
            log.append(&broker, &[15]);
            check(&partition, &context);
            broker.close(Duration::from_secs(10)).unwrap();
            log.check(&context);
            cuts += 1;
        }
    }
    assert!(cuts > 100);
}

/// Were the shortened index taken over, what is added would get an entry that promises nothing later before it.
#[test]
fn what_a_shortened_index_lacks_is_not_hidden_by_what_is_added() {
    let layout = Layout { segment_bytes: 1 << 20, interval: 0, ..LAYOUT };
    let log = Log::filled(layout, &[vec![5], vec![6], vec![40], vec![7]]);
    let path = &log.files(".timeindex")[0];
    let bytes = log.content(path);
    assert_eq!(bytes.len(), 24, "two entries");
    log.write(path, &bytes[..12]);
    let (broker, partition) = log.open();
    log.append(&broker, &[22]);
    log.append(&broker, &[23]);
    check(&partition, "growing");
    assert_eq!(found(&partition, 30), 2);
}

#[test]
fn a_time_is_found_with_every_bit_of_every_index_flipped() {
    let log = Log::filled(LAYOUT, &example());
    let (mut flips, mut unknowable) = (0, 0);
    for path in log.indexes() {
        let bytes = log.content(&path);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            log.write(&path, &flipped);
            flips += 1;
            if is_plausible(&log, &path, &bytes, &flipped) {
                unknowable += 1;
            } else {
                log.check(&format!("bit {bit} of {}", path.display()));
            }
            log.write(&path, &bytes);
        }
    }
    assert!(flips > 1000 && unknowable < flips / 100, "{unknowable} of {flips} cannot be told");
}

/// Whether an entry of the time index that differs describes a batch of the log, so that nobody can tell.
fn is_plausible(log: &Log, path: &Path, before: &[u8], after: &[u8]) -> bool {
    if !path.to_string_lossy().ends_with(".timeindex") {
        return false;
    }
    let base: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let (broker, partition) = log.open();
    let read = partition.read(Start::Earliest).unwrap().map(Result::unwrap);
    let batches: Vec<_> = read.map(|batch| (batch.last_offset(), batch.max_timestamp())).collect();
    broker.close(Duration::from_secs(10)).unwrap();
    let differs = before.chunks(12).zip(after.chunks(12)).find(|(before, after)| before != after);
    let (time, offset) = differs.unwrap().1.split_at(8);
    let time = i64::from_be_bytes(time.try_into().unwrap());
    let offset = base + u64::from(u32::from_be_bytes(offset.try_into().unwrap()));
    batches.contains(&(offset, Some(time)))
}

#[test]
fn batches_without_timestamps_are_passed_over() {
    let log = Log::filled(LAYOUT, &[vec![5], vec![7], vec![6]]);
    let path = &log.files(".log")[0];
    let mut bytes = log.content(path);
    let size = bytes.len() / 3;
    bytes[size..2 * size].copy_from_slice(&encode_batch(1, &[(1, -1, Record::new(&VALUE))]));
    log.write(path, &bytes);
    for index in log.indexes() {
        log.vfs.remove_file(&index).unwrap();
    }
    let (_broker, partition) = log.open();
    check(&partition, "without a timestamp");
    assert_eq!((found(&partition, -1), found(&partition, 6), found(&partition, 7)), (0, 2, 3));
}

#[test]
fn what_is_not_visible_is_not_found() {
    let log = Log::new(LAYOUT);
    let (broker, partition) = log.open();
    log.append(&broker, &[5]);
    let unwritten = broker.topic("t").unwrap().producer().send(Record::new("v").timestamp(9)).unwrap();
    assert_eq!((found(&partition, 9), partition.log_end_offset()), (1, 2), "the high watermark");
    let mut consumer = broker.consumer().assign([partition.clone()]).unwrap();
    consumer.seek(&partition, Start::Time(9)).unwrap();
    unwritten.wait().unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().iter().next().unwrap().timestamp(), Some(9));
    log.append(&broker, &[8]);
    assert_eq!((found(&partition, 8), found(&partition, 9), found(&partition, 10)), (1, 1, 3));
}

#[test]
fn a_lookup_in_a_closed_broker_is_refused() {
    let log = Log::filled(LAYOUT, &example());
    let (broker, partition) = log.open();
    broker.close(Duration::from_secs(10)).unwrap();
    assert_eq!(partition.read(Start::Time(9)).unwrap_err().kind(), ErrorKind::Closed);
}
