//! Our reader returns of what a real Kafka wrote exactly what Kafka's own consumer returned, at both isolation levels.

use ottla::{Isolation, Offset, Partition, Start};

use crate::kafka_fixtures::{Fixture, Host, Line, Read, all};

const LEVELS: [Isolation; 2] = [Isolation::ReadCommitted, Isolation::ReadUncommitted];

#[test]
fn readers_return_what_kafkas_consumer_returned() {
    let (mut partitions, mut batches, mut records) = (0, 0, 0);
    for host in [Host::new(true), Host::new(false)] {
        for fixture in all() {
            let partition = fixture.open(&host);
            for isolation in LEVELS {
                let read = Read::all(&partition, isolation).unwrap();
                let expected = fixture.expected.lines(isolation);
                let name = format!("{} {isolation:?}", fixture.name);
                assert!(read.error.is_none(), "{name}: {:?}", read.error);
                assert_eq!(read.lines, expected, "{name}");
                assert_eq!(read.position, fixture.expected.position(isolation), "{name}");
                records += expected.len();
                batches += read.batches;

                let (polled, position) = host.poll(&partition, isolation).unwrap();
                let expected: Vec<_> = expected.iter().map(Line::without_kind).collect();
                assert_eq!(polled, expected, "{name}");
                assert_eq!(position, read.position, "{name}");
            }
            partitions += 1;
        }
    }
    println!("{partitions} partitions, {records} records in {batches} batches");
    assert!(partitions >= 2 * 19 && records >= 4000, "{partitions} partitions, {records} records");
}

#[test]
fn reading_can_begin_at_every_offset() {
    let host = Host::new(true);
    for fixture in all() {
        let partition = fixture.open(&host);
        for isolation in LEVELS {
            let all = Read::all(&partition, isolation).unwrap();
            assert!(all.error.is_none(), "{}: {:?}", fixture.name, all.error);
            for from in 0..=fixture.expected.high_watermark {
                let lines = offsets_from(&partition, isolation, from);
                let expected: Vec<_> =
                    all.lines.iter().map(|line| line.offset).filter(|offset| *offset >= from).collect();
                assert_eq!(lines, expected, "{} {isolation:?} from {from}", fixture.name);
            }
        }
    }
}

fn offsets_from(partition: &Partition, isolation: Isolation, from: Offset) -> Vec<Offset> {
    let batches = partition.read_with(Start::At(from), isolation).unwrap();
    batches
        .flat_map(|batch| batch.unwrap().records().map(|record| record.offset).collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_ends_are_kafkas() {
    let host = Host::new(true);
    for fixture in all() {
        let (found, expected) = (fixture.open(&host), &fixture.expected);
        assert_eq!(found.log_start_offset(), expected.log_start_offset, "{}", fixture.name);
        assert_eq!(found.high_watermark(), expected.high_watermark, "{}", fixture.name);
        assert_eq!(found.last_stable_offset(), expected.last_stable_offset, "{}", fixture.name);
        for isolation in LEVELS {
            let latest = found.read_with(Start::Latest, isolation).unwrap().position().offset();
            assert_eq!(latest, expected.position(isolation), "{} {isolation:?}", fixture.name);
        }
    }
}

/// Kafka counts its own markers among the records of a time: where its answer is none that it would return, ours is the
/// first one that it does.
#[test]
fn times_are_found_where_kafka_finds_them() {
    let (host, mut same, mut markers) = (Host::new(true), 0, 0);
    for fixture in all() {
        let partition = fixture.open(&host);
        for time in &fixture.expected.times {
            for (isolation, kafkas) in LEVELS.into_iter().zip([time.committed, time.uncommitted]) {
                let end = fixture.expected.position(isolation);
                let found =
                    partition.read_with(Start::Time(time.time), isolation).unwrap().position().offset();
                let name = format!("{} {isolation:?} {}", fixture.name, time.time);
                let kafkas = kafkas.unwrap_or(end);
                if kafkas == end || is_record(&fixture, kafkas) {
                    assert_eq!(found, kafkas, "{name}");
                    same += 1;
                } else {
                    let lines = fixture.expected.lines(Isolation::ReadUncommitted);
                    let first = lines.iter().find(|line| line.timestamp >= time.time);
                    assert_eq!(found, first.map_or(end, |first| first.offset.min(end)), "{name}");
                    markers += 1;
                }
            }
        }
    }
    assert!(same >= 100 && markers >= 20, "{same} answers are the same, {markers} are markers");
}

fn is_record(fixture: &Fixture, offset: Offset) -> bool {
    fixture.expected.lines(Isolation::ReadUncommitted).iter().any(|line| line.offset == offset)
}
