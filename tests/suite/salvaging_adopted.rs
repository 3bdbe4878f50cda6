//! `salvage` of what a Kafka broker has written, before and after it was taken over: log starts, gaps of compaction and
//! open transactions are in the new directory what they were, also where the files are lost that say so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::{FindingKind, SalvageReport, Severity};
use ottla::internals::{MemoryVfs, OpenMode, Vfs, decode_manifest, open_on};
use ottla::{Broker, Isolation, Offset, Topic, TopicConfig};

use crate::kafka_fixtures::{Line, Read};
use crate::salvaging::{OUT, kafkas, records, salvaged};
use crate::support::{ROOT, get, options, put, send_all};
use crate::verifying::{content, files, path, replace, verify};

const TIMEOUT: Duration = Duration::from_secs(10);
const LOG_STARTS: &str = "log-start-offset-checkpoint";

/// What readers get of every partition, by its name and isolation level, without the leader epochs, which lie outside
/// the checksums.
fn all_read(broker: &Broker) -> BTreeMap<(String, bool), Vec<Line>> {
    let mut all = BTreeMap::new();
    for topic in broker.topics().unwrap() {
        for partition in topic.partitions() {
            for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
                let name = format!("{}-{}", topic.name(), partition.id());
                let read = Read::all(&partition, isolation).unwrap();
                assert!(read.error.is_none(), "{name}, {isolation:?}: {:?}", read.error);
                let lines = read.lines.into_iter().map(|line| Line { leader_epoch: 0, ..line }).collect();
                all.insert((name, isolation == Isolation::ReadCommitted), lines);
            }
        }
    }
    all
}

/// What the manifest of a directory says of Kafka's part, by topic.
fn adopted_lines(vfs: &MemoryVfs, root: &str) -> BTreeMap<String, Vec<String>> {
    let file = vfs.open(&Path::new(root).join("ottla.manifest"), OpenMode::Read).unwrap();
    let text = decode_manifest(&file.map().unwrap()).unwrap();
    let (mut lines, mut topic) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("topic", rest)) => topic = rest.split(' ').next().unwrap().to_owned(),
            Some(("adopted", rest)) => {
                lines.entry(topic.clone()).or_insert_with(Vec::new).push(rest.to_owned());
            }
            _ => {}
        }
    }
    lines
}

/// A Kafka broker's directory that was taken over; every topic but one got records of ours, in two lives, and there is a
/// topic that Kafka never knew.
fn taken_over(dir: &str, in_order: bool) -> MemoryVfs {
    let vfs = kafkas(dir);
    let open = |adopts| open_on(options().adopt(adopts), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let broker = open(true);
    let config = TopicConfig::new().segment_bytes(1024);
    broker.create_topic("never-kafkas", config).unwrap();
    let append = |broker: &Broker, value: &str| {
        let is_written = |topic: &Topic| topic.name() != "shapes" && !topic.name().starts_with("__");
        for topic in broker.topics().unwrap().into_iter().filter(is_written) {
            for _ in 0..3 {
                send_all(&topic, [value.repeat(100)]).unwrap();
            }
        }
    };
    append(&broker, "ours");
    drop(broker);
    let vfs = vfs.restart();
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    append(&broker, "more");
    match in_order {
        true => broker.close(TIMEOUT).unwrap(),
        false => drop(broker),
    }
    vfs.restart()
}

fn kinds(report: &SalvageReport) -> Vec<FindingKind> {
    report.left.iter().map(|left| left.kind).collect()
}

#[test]
fn whatever_is_lost_at_the_root_of_an_adopted_directory_its_readers_read_the_same() {
    for (dir, in_order) in [("stopped", true), ("stopped", false), ("killed", true), ("killed", false)] {
        let source = taken_over(dir, in_order);
        let original = source.restart();
        let broker = open_on(options(), Arc::new(original.clone()), Path::new(ROOT)).unwrap();
        let (expected, adopted) = (all_read(&broker), adopted_lines(&original, ROOT));
        assert!(adopted.len() > 3 && !adopted.contains_key("never-kafkas"), "{adopted:?}");
        drop(broker);
        for lost in [&[][..], &["ottla.manifest"], &["ottla.ends"], &["ottla.manifest", "ottla.ends"]] {
            let what = format!("{dir}, in order: {in_order}, without {lost:?}");
            let source = source.restart();
            for name in lost {
                // One byte is as bad as all.
                let mut damaged = content(&source, name);
                damaged[0] ^= 1;
                match *name {
                    "ottla.manifest" => replace(&source, name, &damaged),
                    _ => source.remove_file(&path(name)).unwrap(),
                }
            }
            source.open(&path("ottla.reserve"), OpenMode::Create).unwrap();
            let damage =
                verify(&source).findings.into_iter().filter(|found| found.severity > Severity::Unrecovered);
            let is_told = |kind| [FindingKind::Manifest, FindingKind::Ends].contains(&kind);
            let others: Vec<_> = damage.filter(|found| !is_told(found.kind)).collect();
            assert!(others.is_empty(), "{what}: {others:#?}");
            let (report, vfs, broker) = salvaged(&source);
            assert_eq!(report.left.len(), lost.len(), "{what}: {:#?}", report.left);
            let found = all_read(&broker);
            assert!(found == expected, "{what}: readers get something else");
            let found: BTreeMap<_, _> = adopted_lines(&vfs, OUT);
            // Where nothing of ours has come, all of it is Kafka's, whether there is something or not.
            let is_something =
                |topic: &&String| !adopted[*topic].iter().all(|line| line.ends_with(" 0 none"));
            for topic in adopted.keys().filter(is_something) {
                assert_eq!(found.get(topic), Some(&adopted[topic]), "{what}: {topic}");
            }
            assert!(!found.contains_key("never-kafkas"), "{what}: {found:?}");
        }
    }
}

#[test]
fn a_segment_of_ours_that_is_missing_is_no_gap_of_kafkas() {
    let source = taken_over("stopped", true);
    source.remove_file(&path("ottla.manifest")).unwrap();
    let logs = |topic: &str| {
        let mut logs = files(&source);
        logs.retain(|name| name.starts_with(topic) && name.ends_with(".log"));
        logs
    };
    let log = &logs("never-kafkas-0/")[1];
    source.remove_file(&path(log)).unwrap();
    let (report, ..) = salvaged(&source);
    assert_eq!(kinds(&report), [FindingKind::Manifest, FindingKind::Segment], "{:#?}", report.left);
}

/// Where the logs begin and end for readers, and how many records they get of each.
fn starts(broker: &Broker, topic: &str) -> (Offset, Offset, Option<Offset>, usize) {
    let partition = broker.topic(topic).unwrap().partition(0).unwrap();
    let records = records(&partition);
    let first = records.keys().next().copied();
    (partition.log_start_offset(), partition.log_end_offset(), first, records.len())
}

#[test]
fn a_log_begins_where_it_began() {
    for start in [1, 39, 40, 41, 119, 120] {
        let source = kafkas("stopped");
        put(&source, LOG_STARTS, format!("0\n1\nsegments 0 {start}\n").as_bytes());
        let count = 120 - usize::try_from(start).unwrap();
        let first = (start < 120).then_some(start);
        let (report, _, broker) = salvaged(&source);
        assert_eq!(report.left, [], "{start}");
        assert_eq!(starts(&broker, "segments"), (start, 120, first, count), "Kafka's");

        let vfs = source.restart();
        let broker = open_on(options().adopt(true), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
        assert_eq!(starts(&broker, "segments"), (start, 120, first, count), "adopted");
        broker.close(TIMEOUT).unwrap();
        for lost in [None, Some("ottla.manifest"), Some("ottla.ends")] {
            let vfs = vfs.restart();
            if let Some(name) = lost {
                vfs.remove_file(&path(name)).unwrap();
            }
            let (report, _, broker) = salvaged(&vfs);
            assert_eq!(report.left.len(), usize::from(lost.is_some()), "{:#?}", report.left);
            assert_eq!(starts(&broker, "segments"), (start, 120, first, count), "adopted, without {lost:?}");
        }
    }
}

#[test]
fn a_log_start_that_cannot_be_hides_nothing() {
    for (text, kind) in [
        ("0\n1\nsegments 0 121\n", FindingKind::OffsetCheckpoint),
        ("0\n1\nsegments 0 9223372036854775807\n", FindingKind::OffsetCheckpoint),
        ("0\n2\nsegments 0 50\n", FindingKind::OffsetCheckpoint),
        ("no checkpoint", FindingKind::OffsetCheckpoint),
    ] {
        let source = kafkas("stopped");
        put(&source, LOG_STARTS, text.as_bytes());
        let (report, _, broker) = salvaged(&source);
        assert_eq!(kinds(&report), [kind], "{text}: {:#?}", report.left);
        assert_eq!(starts(&broker, "segments"), (0, 120, Some(0), 120), "{text}");
    }
    // Where nothing is left, the offsets are the next ones all the same.
    let source = kafkas("stopped");
    put(&source, LOG_STARTS, b"0\n1\nsegments 0 150\n");
    let logs = files(&source).into_iter().filter(|name| name.starts_with("segments-0/0"));
    logs.for_each(|name| source.remove_file(&path(&name)).unwrap());
    let (_, _, broker) = salvaged(&source);
    assert_eq!(starts(&broker, "segments"), (150, 150, None, 0));
    assert_eq!(get(&source, LOG_STARTS), b"0\n1\nsegments 0 150\n");
}
