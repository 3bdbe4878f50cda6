//! Arbitrary bytes as the files of a segment that a Kafka broker has left: adopting them gives an error and changes
//! nothing, or a partition in which every way of reading finds the same.
//!
//! The first byte says how the broker stopped and how far it says that it has flushed; the next two the offset of the
//! producer snapshot; then come the log, the offset index, the time index, the index of aborted transactions and the
//! snapshot, each behind its length (2 bytes, big-endian).
#![no_main]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on, verify_on};
use ottla::{Broker, BrokerOptions, Isolation, Offset, OwnedRecord, Partition, Record, Start};

const ROOT: &str = "/data";
const LONG: Duration = Duration::from_secs(3600);
/// What a batch may hold: a bomb is refused before it costs time.
const MOST_DECOMPRESSED: usize = 1 << 20;
/// How many records are looked up one by one.
const MOST_LOOKED_UP: usize = 8;

fuzz_target!(|input: &[u8]| {
    let Some((&[how, high, low], mut rest)) = input.split_first_chunk() else { return };
    let kafkas = MemoryVfs::new();
    write_broker(&kafkas, how);
    for suffix in ["log", "index", "timeindex", "txnindex"] {
        let bytes = take(&mut rest);
        // An index that is empty is there, one that is not given is not.
        if suffix == "log" || !bytes.is_empty() {
            put(&kafkas, &format!("t-0/{:020}.{suffix}", 0), bytes);
        }
    }
    let snapshot = take(&mut rest);
    if !snapshot.is_empty() {
        put(&kafkas, &format!("t-0/{:020}.snapshot", u16::from_be_bytes([high, low])), snapshot);
    }
    // Whatever it finds, it finds without a panic.
    _ = verify_on(Arc::new(kafkas.clone()), Path::new(ROOT));
    check(&kafkas, how & 4 == 0);
});

/// What stands at the root of a broker's directory, and beside its only log.
fn write_broker(vfs: &MemoryVfs, how: u8) {
    for directory in [ROOT.to_owned(), format!("{ROOT}/t-0")] {
        vfs.create_dir(Path::new(&directory)).expect("an empty file system");
    }
    put(vfs, "meta.properties", b"version=1\nnode.id=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\n");
    put(vfs, "t-0/partition.metadata", b"version: 0\ntopic_id: BS42pyZFTYy8h_vbbgHJuQ");
    put(vfs, "t-0/leader-epoch-checkpoint", b"0\n1\n0 0\n");
    if how & 1 != 0 {
        put(vfs, ".kafka_cleanshutdown", br#"{"version":0,"brokerEpoch":1}"#);
    }
    if how & 2 != 0 {
        let flushed = format!("0\n1\nt 0 {}\n", how >> 3);
        put(vfs, "recovery-point-offset-checkpoint", flushed.as_bytes());
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, behind)) = rest.split_first_chunk() else { return &[] };
    let (bytes, behind) = behind.split_at(behind.len().min(u16::from_be_bytes(*length).into()));
    *rest = behind;
    bytes
}

fn put(vfs: &MemoryVfs, name: &str, bytes: &[u8]) {
    let file = vfs.open(&Path::new(ROOT).join(name), OpenMode::CreateNew).expect("names are unique");
    assert_eq!(file.write_at(bytes, 0).expect("a file in memory"), bytes.len());
}

fn options(maps: bool) -> BrokerOptions {
    Broker::options()
        .background(false)
        .reserve_bytes(0)
        .memory_maps(maps)
        .max_decompressed_bytes(MOST_DECOMPRESSED)
}

fn open(vfs: &MemoryVfs, options: BrokerOptions) -> ottla::Result<Broker> {
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT))
}

fn check(vfs: &MemoryVfs, maps: bool) {
    let before = vfs.counts().changing;
    let broker = match open(vfs, options(maps).adopt(true)) {
        Ok(broker) => broker,
        Err(error) => {
            let kind = vfs.kind(&Path::new(ROOT).join("meta.properties")).expect("a file system in memory");
            assert!(kind.is_some(), "not adopted and not Kafka's any more: {error}");
            // The lock file alone may have been written.
            assert!(vfs.counts().changing <= before + 8, "a refused adoption has changed something: {error}");
            return;
        }
    };
    let partition = broker.topic("t").and_then(|topic| topic.partition(0)).expect("the topic was adopted");
    let scan = check_reads(&partition);
    let topic = broker.topic("t").expect("the topic was adopted");
    let delivery = topic.producer().send(Record::new("another")).expect("a sound record");
    let offset = delivery.wait().expect("a file system in memory").offset();
    // What stands below ours stays as it was, and ours is behind it.
    let again = read(&partition, Start::Earliest, Isolation::ReadUncommitted);
    assert!(again.0.starts_with(&scan));
    if again.1 {
        assert_eq!(again.0.last().map(|record| record.offset), Some(offset));
    }
    broker.close(LONG).expect("a file system in memory");
    drop((topic, partition));

    let reopened = open(vfs, options(!maps)).expect("it was closed in order");
    let partition = reopened.topic("t").and_then(|topic| topic.partition(0)).expect("it is ours");
    assert_eq!(read(&partition, Start::Earliest, Isolation::ReadUncommitted), again);
    reopened.close(LONG).expect("a file system in memory");
}

/// What a scan finds, which every look-up agrees with.
fn check_reads(partition: &Partition) -> Vec<OwnedRecord> {
    let (scan, is_whole) = read(partition, Start::Earliest, Isolation::ReadUncommitted);
    assert!(scan.is_sorted_by(|one, next| one.offset < next.offset));
    let (committed, _) = read(partition, Start::Earliest, Isolation::ReadCommitted);
    assert!(committed.iter().all(|record| scan.contains(record)), "a committed record that is not there");
    if is_whole {
        let step = scan.len().div_ceil(MOST_LOOKED_UP).max(1);
        for (number, record) in scan.iter().enumerate().step_by(step) {
            let (found, _) = read(partition, Start::At(record.offset), Isolation::ReadUncommitted);
            assert_eq!(found, scan[number..], "from offset {}", record.offset);
        }
    }
    scan
}

/// The records from there on, and whether the end was reached without an error.
fn read(partition: &Partition, start: Start, isolation: Isolation) -> (Vec<OwnedRecord>, bool) {
    let batches = match start {
        // A log start in the midst of nothing is one, too.
        Start::At(offset) if offset < partition.log_start_offset() => return (Vec::new(), false),
        start => partition.read_with(start, isolation),
    };
    let Ok(batches) = batches else { return (Vec::new(), false) };
    let mut records = Vec::new();
    let from = match start {
        Start::At(offset) => offset,
        _ => Offset::MIN,
    };
    for batch in batches {
        let Ok(batch) = batch else { return (records, false) };
        records.extend(batch.records().filter(|record| record.offset >= from));
    }
    (records, true)
}
