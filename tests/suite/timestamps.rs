//! Timestamps at the ends of their range: what is refused, and what is stored, found and verified like any other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{CrashProfile, MemoryVfs, Vfs, open_on};
use ottla::{
    Broker, ErrorKind, ManualClock, Partition, Record, Start, Timestamp, TimestampType, TopicConfig,
};

use crate::adopting::adopt;
use crate::offset_range::kafkas_log;
use crate::support::{ROOT, encode_batch, options, tree};
use crate::verifying::verify;

const TIMEOUT: Duration = Duration::from_secs(10);
const MIN: Timestamp = Timestamp::MIN;
const MAX: Timestamp = Timestamp::MAX;
/// Where lookups are tried.
const LOOKED_UP: [Timestamp; 12] = [MIN, MIN + 1, -2, -1, 0, 1, 4, 5, 6, MAX - 2, MAX - 1, MAX];

fn open(vfs: &MemoryVfs) -> Broker {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

fn partition(broker: &Broker) -> Partition {
    broker.topic("orders").unwrap().partition(0).unwrap()
}

/// The timestamps of all records, of which every lookup finds the first that is not earlier.
fn check(partition: &Partition, expected: &[Option<Timestamp>], what: &str) {
    let batches = partition.read(Start::Earliest).unwrap();
    let records: Vec<_> = batches
        .flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>())
        .map(|record| (record.offset, record.timestamp))
        .collect();
    assert_eq!(records.iter().map(|(_, at)| *at).collect::<Vec<_>>(), expected, "{what}");
    for time in LOOKED_UP {
        let first = records.iter().find(|(_, at)| at.is_some_and(|at| at >= time));
        let first = first.map_or(partition.high_watermark(), |(offset, _)| *offset);
        let found = partition.read(Start::Time(time)).unwrap().position().offset();
        assert_eq!(found, first, "time {time}, {what}");
    }
}

/// The same of a broker, of every image of a crash, after closing, and after opening again.
fn check_everywhere(vfs: &MemoryVfs, broker: Broker, expected: &[Option<Timestamp>]) {
    check(&partition(&broker), expected, "while it is open");
    for profile in [CrashProfile::Ordered, CrashProfile::Adversarial] {
        for image in vfs.images(profile, 10, 7) {
            check(&partition(&open(&image.vfs)), expected, &image.description);
        }
    }
    broker.close(TIMEOUT).unwrap();
    assert_eq!(verify(vfs).findings, []);
    let again = open(vfs);
    check(&partition(&again), expected, "opened again");
    again.close(TIMEOUT).unwrap();
    assert_eq!(verify(vfs).findings, []);
}

#[test]
fn the_greatest_timestamp_is_stored_and_found_wherever_it_stands() {
    for segment_bytes in [1024, 1 << 20] {
        let vfs = MemoryVfs::new();
        let broker = open(&vfs);
        let config = TopicConfig::new().segment_bytes(segment_bytes).index_interval_bytes(0);
        let topic = broker.create_topic("orders", config).unwrap();
        let batches: [&[Timestamp]; 6] = [&[5], &[0, MAX - 1, 1], &[4], &[MAX, 0, MAX], &[6], &[MAX]];
        for batch in batches {
            let records: Vec<_> = batch.iter().map(|at| Record::new(&[7; 200]).timestamp(*at)).collect();
            topic.producer().send_batch(&records).unwrap().wait().unwrap();
        }
        drop(topic);
        let expected: Vec<_> = batches.concat().into_iter().map(Some).collect();
        check_everywhere(&vfs, broker, &expected);
    }
}

#[test]
fn a_negative_timestamp_is_refused_and_nothing_is_written() {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let before = tree(&vfs, Path::new(ROOT));
    for at in [-1, -2, MIN] {
        let sound = Record::new("sound").timestamp(MAX);
        let bad = Record::new("bad").timestamp(at);
        for refused in [
            topic.producer().send(bad.clone()).map(drop),
            topic.producer().send(bad.clone().expected_offset(0)).map(drop),
            topic.producer().send_batch(&[sound, bad]).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidTimestamp, "{error}");
            assert!(error.to_string().contains(&at.to_string()), "{error}");
        }
    }
    topic.producer().flush().unwrap();
    assert_eq!(partition(&broker).log_end_offset(), 0);
    assert_eq!(tree(&vfs, Path::new(ROOT)), before);
}

/// Kafka's producers refuse negative timestamps as well, but for −1, which is none; a log can hold them.
#[test]
fn what_a_log_of_kafkas_holds_is_read_as_it_stands() {
    let times = [-1, MIN, -2, 0, MIN + 1, MAX, 5, -1, MAX];
    let batches: Vec<_> = (0..)
        .zip(times)
        .map(|(offset, at)| encode_batch(offset, &[(offset, at, Record::new(&[7; 100]))]))
        .collect();
    let vfs = kafkas_log(0, &batches.concat(), times.len() as u64);
    assert_eq!(verify(&vfs).findings, []);
    let broker = adopt(&vfs).unwrap();
    let topic = broker.topic("orders").unwrap();
    topic.producer().send(Record::new("ours").timestamp(MAX)).unwrap().wait().unwrap();
    drop(topic);
    let all = times.into_iter().chain([MAX]);
    let expected: Vec<_> = all.map(|at| (at != -1).then_some(at)).collect();
    check_everywhere(&vfs, broker, &expected);
}

/// The age of a segment is a difference of timestamps, which has to hold over the whole range.
#[test]
fn a_segment_ages_over_the_whole_range() {
    for (times, segments) in [(&[0, MAX, 0][..], 2), (&[MAX, 0, MAX], 1), (&[MAX, MAX], 1)] {
        let vfs = MemoryVfs::new();
        let broker = open(&vfs);
        let topic =
            broker.create_topic("orders", TopicConfig::new().segment_ms(Duration::from_secs(1))).unwrap();
        for at in times {
            topic.producer().send(Record::new("aged").timestamp(*at)).unwrap().wait().unwrap();
        }
        let entries = vfs.read_dir(&Path::new(ROOT).join("orders-0")).unwrap();
        let logs = entries.iter().filter(|entry| entry.name.ends_with(".log")).count();
        assert_eq!(logs, segments, "{times:?}");
    }
}

#[test]
fn a_clock_at_the_end_of_time_is_no_reason_to_fail() {
    let (vfs, clock) = (MemoryVfs::new(), ManualClock::at(MAX));
    let options = options().clock(clock.clock());
    let broker = open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let config =
        TopicConfig::new().timestamp_type(TimestampType::LogAppendTime).segment_ms(Duration::from_millis(1));
    let topic = broker.create_topic("orders", config).unwrap();
    for wall in [MAX, 0, MAX] {
        clock.set_wall(wall);
        let metadata = topic.producer().send(Record::new("stamped")).unwrap().wait().unwrap();
        assert_eq!(metadata.timestamp(), wall);
    }
    drop(topic);
    check_everywhere(&vfs, broker, &[Some(MAX), Some(0), Some(MAX)]);
}
