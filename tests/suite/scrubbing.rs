//! The background scrub: what the disk no longer has is reported, at a bounded rate, and nothing else happens.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, Vfs, open_on};
use ottla::{Broker, ErrorKind, ManualClock, Result, ScrubReport, Start, Topic, TopicConfig};

use crate::support::{ROOT, ScriptedVfs, options, send_all, tree};
use crate::verifying::{content, replace};

const TIMEOUT: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const RATE: u64 = 4096;

/// A broker that reads all that was sealed each hour, and its clock.
fn open(vfs: Arc<dyn Vfs>, clock: &ManualClock) -> Broker {
    open_on(options().clock(clock.clock()).scrub(HOUR, RATE), vfs, Path::new(ROOT)).unwrap()
}

/// Segments of some four batches of a record each.
fn topic(broker: &Broker, name: &str) -> Topic {
    broker.ensure_topic(name, TopicConfig::new().segment_bytes(1024)).unwrap()
}

fn fill(broker: &Broker, records: u8) -> Topic {
    let topic = topic(broker, "a");
    for number in 0..records {
        send_all(&topic, [[number; 150]]).unwrap();
    }
    topic
}

/// Lets time pass until another round has ended.
fn round(broker: &Broker, clock: &ManualClock) -> ScrubReport {
    let before = broker.scrub_report().unwrap().rounds();
    for _ in 0..100_000 {
        let next = broker.tick().unwrap().unwrap();
        let report = broker.scrub_report().unwrap();
        if report.rounds() > before {
            return report;
        }
        clock.advance(next);
    }
    panic!("no round ends: {:?}", broker.scrub_report());
}

/// The logs of the topic that are sealed, with their bytes.
fn sealed(vfs: &MemoryVfs) -> Vec<(String, Vec<u8>)> {
    let mut logs: Vec<_> = vfs
        .read_dir(&Path::new(ROOT).join("a-0"))
        .unwrap()
        .into_iter()
        .filter(|entry| entry.name.ends_with(".log"))
        .map(|entry| format!("a-0/{}", entry.name))
        .collect();
    logs.sort();
    logs.pop();
    logs.into_iter().map(|name| (name.clone(), content(vfs, &name))).collect()
}

#[test]
fn it_is_off_unless_asked_for_and_an_idle_broker_does_not_wake() {
    let vfs = ScriptedVfs::new();
    let clock = ManualClock::at(0);
    let broker = vfs.open_with(options().clock(clock.clock())).unwrap();
    fill(&broker, 20);
    assert!(broker.scrub_report().is_none());
    for _ in 0..10 {
        clock.advance(HOUR);
        broker.tick().unwrap();
    }
    vfs.take_calls();
    clock.advance(HOUR);
    assert_eq!((broker.tick().unwrap(), vfs.take_calls()), (None, vec![]));
    for (interval, rate) in [(Duration::ZERO, 1), (HOUR, 0)] {
        let error = open_on(options().scrub(interval, rate), Arc::new(MemoryVfs::new()), Path::new(ROOT));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}

#[test]
fn a_round_reads_all_that_is_sealed_at_its_rate_and_the_next_comes_an_interval_later() {
    let vfs = MemoryVfs::new();
    let clock = ManualClock::at(0);
    fill(&open(Arc::new(vfs.clone()), &clock), 200).partition(0).unwrap();
    let broker = open(Arc::new(vfs.clone()), &clock);
    let bytes: usize = sealed(&vfs).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes > 30_000, "{bytes}");
    for number in 1..=3_u32 {
        let began = HOUR * (number - 1);
        let report = round(&broker, &clock);
        let took = Duration::from_millis(u64::try_from(report.last_round_ended().unwrap()).unwrap()) - began;
        let least =
            Duration::from_secs_f64(bytes as f64 / RATE as f64).saturating_sub(Duration::from_millis(5));
        assert!((least..least + 2 * MINUTE).contains(&took), "{bytes} bytes in {took:?}: {report:?}");
        assert_eq!((report.rounds(), report.bytes_read()), (number.into(), bytes as u64 * u64::from(number)));
        assert!(report.findings().is_empty() && report.reads_past_cache());
        clock.advance(HOUR - took - MINUTE);
        broker.tick().unwrap();
        assert_eq!(broker.scrub_report().unwrap().bytes_read(), report.bytes_read(), "not before its time");
        clock.advance(MINUTE);
    }
}

#[test]
fn every_damaged_byte_of_a_sealed_log_is_found_where_it_is_and_nothing_is_changed() {
    let vfs = MemoryVfs::new();
    let clock = ManualClock::at(0);
    let broker = open(Arc::new(vfs.clone()), &clock);
    fill(&broker, 16);
    // What comes with time has come.
    round(&broker, &clock);
    round(&broker, &clock);
    let logs = sealed(&vfs);
    assert!(logs.len() >= 3);
    let (mut first, mut tried) = (0, 0);
    for (name, bytes) in &logs {
        let size = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
        for at in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 8;
            replace(&vfs, name, &damaged);
            let before = tree(&vfs, Path::new(ROOT));
            let report = round(&broker, &clock);
            assert_eq!(tree(&vfs, Path::new(ROOT)), before, "nothing is changed");
            let batch = at / size;
            let [finding] = report.findings() else { panic!("{name}, byte {at}: {report:?}") };
            let error = finding.error();
            let offset = (first + batch) as u64;
            assert_eq!(error.file(), Some(Path::new(ROOT).join(name).as_path()), "{error}");
            assert!(finding.offsets().contains(&offset), "{name}, byte {at}: {error}");
            assert!(finding.bytes().contains(&(at as u64)), "{name}, byte {at}: {:?}", finding.bytes());
            assert_eq!((error.topic(), error.partition(), error.is_corruption()), (Some("a"), Some(0), true));
            tried += 1;
        }
        replace(&vfs, name, bytes);
        first += bytes.len() / size;
    }
    assert!(tried > 500, "{tried}");
    assert!(round(&broker, &clock).findings().is_empty(), "what was restored is sound");
    for (name, bytes) in logs {
        replace(&vfs, &name, &bytes[..bytes.len() - 1]);
        assert_eq!(round(&broker, &clock).findings().len(), 1, "{name} is shorter");
        // Also where it ends with a batch.
        let size = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
        for len in (0..bytes.len()).step_by(size) {
            replace(&vfs, &name, &bytes[..len]);
            let report = round(&broker, &clock);
            let [finding] = report.findings() else { panic!("{name} of {len} bytes: {report:?}") };
            assert_eq!(finding.offsets().count(), (bytes.len() - len) / size, "{finding}");
        }
        vfs.remove_file(&Path::new(ROOT).join(&name)).unwrap();
        assert_eq!(round(&broker, &clock).findings().len(), 1, "{name} is gone");
        replace(&vfs, &name, &bytes);
    }
    assert!(round(&broker, &clock).findings().is_empty());
}

#[test]
fn a_partition_with_a_finding_is_readable_elsewhere_and_goes_on() {
    let vfs = MemoryVfs::new();
    let clock = ManualClock::at(0);
    let broker = open(Arc::new(vfs.clone()), &clock);
    let topic = fill(&broker, 16);
    let (name, bytes) = sealed(&vfs).remove(1);
    let mut damaged = bytes.clone();
    damaged[100] ^= 1;
    replace(&vfs, &name, &damaged);
    let report = round(&broker, &clock);
    let [finding] = report.findings() else { panic!("{report:?}") };
    let partition = topic.partition(0).unwrap();
    let offsets = |start| -> Vec<u64> {
        let batches = partition.read(start).unwrap().map_while(Result::ok);
        batches.flat_map(|batch| batch.records().map(|record| record.offset).collect::<Vec<_>>()).collect()
    };
    let damaged = finding.offsets();
    assert_eq!(offsets(Start::Earliest), (0..damaged.start).collect::<Vec<_>>());
    assert_eq!(offsets(Start::At(damaged.end)), (damaged.end..16).collect::<Vec<_>>());
    send_all(&topic, ["more"]).unwrap();
    drop((topic, partition));
    broker.close(TIMEOUT).unwrap();
    assert!(!content(&vfs, ".kafka_cleanshutdown").is_empty(), "it is no failure of the broker's");
}

#[test]
fn the_disk_is_asked_and_not_the_page_cache_where_that_can_be() {
    let vfs = ScriptedVfs::new();
    let clock = ManualClock::at(0);
    let broker = open(Arc::clone(&vfs) as Arc<dyn Vfs>, &clock);
    fill(&broker, 16);
    let name = sealed(vfs.memory()).remove(0).0;
    round(&broker, &clock);
    vfs.take_calls();
    assert!(round(&broker, &clock).reads_past_cache());
    let calls = vfs.take_calls();
    let of_logs = |operation: &str| {
        calls.iter().filter(|call| call.starts_with(operation) && call.ends_with(".log")).count()
    };
    assert!(of_logs("read_uncached ") > 0 && of_logs("read ") == 0 && of_logs("map ") == 0, "{calls:?}");

    // The disk cannot read: it is told, and forgotten once it can.
    let log = name.split_once('/').unwrap().1;
    vfs.fail(&format!("read_uncached {log}"), 0, io::ErrorKind::Other);
    let report = round(&broker, &clock);
    let [finding] = report.findings() else { panic!("{report:?}") };
    assert!(finding.error().io_error().is_some() && finding.offsets().start == 0, "{finding}");
    vfs.fail_no_more();
    assert!(round(&broker, &clock).findings().is_empty());

    // Where the cache cannot be passed, what it has is read, and the report says so.
    vfs.fail("read_uncached", 0, io::ErrorKind::Unsupported);
    vfs.damage(&name, 100);
    let report = round(&broker, &clock);
    assert!(!report.reads_past_cache() && report.findings().len() == 1, "{report:?}");
}

#[test]
fn what_is_not_sealed_or_was_deleted_is_nobodys_finding() {
    let vfs = MemoryVfs::new();
    let clock = ManualClock::at(0);
    let broker = open(Arc::new(vfs.clone()), &clock);
    fill(&broker, 3);
    let report = round(&broker, &clock);
    assert_eq!((report.bytes_read(), report.findings().len()), (0, 0), "the last segment is not read");
    fill(&broker, 16);
    // A round is under way.
    while broker.scrub_report().unwrap().bytes_read() == 0 {
        clock.advance(broker.tick().unwrap().unwrap());
    }
    broker.delete_topic("a").unwrap();
    assert!(round(&broker, &clock).findings().is_empty());
    assert!(round(&broker, &clock).findings().is_empty());
    broker.close(TIMEOUT).unwrap();
    assert!(broker.scrub_report().is_some_and(|report| report.rounds() >= 3));
}

#[test]
fn the_brokers_threads_scrub_and_close_ends_it() {
    let vfs = MemoryVfs::new();
    let clock = ManualClock::at(0);
    let options = options().background(true).clock(clock.clock()).scrub(HOUR, RATE);
    let broker = open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    fill(&broker, 50);
    let bytes: u64 = sealed(&vfs).iter().map(|(_, bytes)| bytes.len() as u64).sum();
    while broker.scrub_report().unwrap().bytes_read() < bytes {
        clock.advance(Duration::from_secs(60));
        std::thread::yield_now();
    }
    broker.close(TIMEOUT).unwrap();
    let ended = broker.scrub_report().unwrap().bytes_read();
    clock.advance(HOUR * 10);
    assert_eq!(broker.scrub_report().unwrap().bytes_read(), ended);
}
