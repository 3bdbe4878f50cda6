//! A directory that is only read: nothing changes, what is proven is there, and what is damaged is a gap.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{CrashProfile, Fault, MemoryVfs, Repeat, Vfs, open_on, open_read_only_on};
use ottla::{
    Broker, Durability, ErrorKind, Isolation, ManualClock, OwnedRecord, Piece, Position, ReadOnlyBroker,
    ReadOnlyPartition, Record, Result, Start, TopicConfig,
};

use crate::damage::{DAMAGES, filled};
use crate::kafka_fixtures::{Line, all};
use crate::support::{ROOT, TempDir, options, send_all};
use crate::verifying::{complete, content, files, means_nothing, path, replace};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a directory on a disk on which everything fails that would change something.
fn open(vfs: &MemoryVfs) -> Result<ReadOnlyBroker> {
    let before = vfs.counts().changing;
    let opened = open_read_only_on(Arc::new(vfs.clone()), Path::new(ROOT));
    assert_eq!(vfs.counts().changing, before, "opening changes nothing");
    opened
}

fn partition(broker: &ReadOnlyBroker, topic: &str, partition: u32) -> ReadOnlyPartition {
    broker.topic(topic).unwrap().partition(partition).unwrap()
}

/// What was read of a partition: records by offset, and the gaps.
#[derive(Default, PartialEq)]
struct Shown {
    records: BTreeMap<u64, OwnedRecord>,
    /// First and end.
    gaps: Vec<(u64, u64)>,
    reasons: Vec<String>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let offsets: Vec<_> = self.records.keys().collect();
        write!(f, "offsets {offsets:?}, gaps {:?}", self.reasons)
    }
}

/// Reads a partition, and holds what comes to following one on the other from its start to the high watermark.
fn read_all(partition: &ReadOnlyPartition) -> Result<Shown> {
    read_from(partition, Start::Earliest, partition.log_start_offset())
}

fn read_from(partition: &ReadOnlyPartition, start: Start, first: u64) -> Result<Shown> {
    let (mut shown, mut next) = (Shown::default(), first);
    let mut pieces = partition.read(start)?;
    while let Some(piece) = pieces.next() {
        match piece? {
            Piece::Batch(batch) => {
                for record in batch.records() {
                    assert_eq!(record.offset, next, "an offset is passed over, or comes twice");
                    next += 1;
                    shown.records.insert(record.offset, record);
                }
            }
            Piece::Gap(gap) => {
                assert_eq!(gap.offsets().start, next, "{gap}");
                assert!(!gap.offsets().is_empty(), "{gap}");
                let error = gap.error();
                assert!(
                    error.is_corruption() && error.file().is_some() && error.position().is_some(),
                    "{gap}"
                );
                assert_eq!(
                    (error.topic(), error.partition()),
                    (Some(partition.topic()), Some(partition.id()))
                );
                assert_eq!(error.offset(), Some(next));
                next = gap.offsets().end;
                shown.gaps.push((gap.offsets().start, gap.offsets().end));
                shown.reasons.push(gap.to_string());
            }
        }
        assert_eq!(pieces.position().offset(), next);
    }
    assert_eq!(next, partition.high_watermark(), "it ends at the high watermark");
    Ok(shown)
}

/// Every partition of a directory.
fn everything(broker: &ReadOnlyBroker) -> BTreeMap<(String, u32), Shown> {
    let topics = broker.topics();
    let partitions = topics.iter().flat_map(|topic| topic.partitions().collect::<Vec<_>>());
    partitions
        .map(|partition| {
            let place = (partition.topic().to_owned(), partition.id());
            (place, read_all(&partition).unwrap())
        })
        .collect()
}

fn value(shown: &Shown, offset: u64) -> &[u8] {
    shown.records[&offset].value.as_deref().unwrap()
}

#[test]
fn everything_is_shown_after_an_orderly_stop_and_no_byte_changes() {
    let vfs = complete();
    let before: Vec<_> = files(&vfs).into_iter().map(|name| (content(&vfs, &name), name)).collect();
    let calls = vfs.counts().changing;
    let broker = open(&vfs).unwrap();
    assert!(!broker.is_unrecovered());
    let shown = everything(&broker);
    assert_eq!(vfs.counts().changing, calls, "reading changes nothing");
    let after: Vec<_> = files(&vfs).into_iter().map(|name| (content(&vfs, &name), name)).collect();
    assert_eq!(after, before);

    let owner = open_on(options(), Arc::new(vfs.restart()), Path::new(ROOT)).unwrap();
    assert_eq!(broker.directory_id(), Some(owner.directory_id()));
    for topic in owner.topics().unwrap() {
        let ours = broker.topic(topic.name()).unwrap();
        assert_eq!((ours.id(), ours.config()), (Some(topic.id()), topic.config()));
        for partition in topic.partitions() {
            let Shown { records, gaps, .. } = &shown[&(topic.name().to_owned(), partition.id())];
            let theirs = partition.read(Start::Earliest).unwrap();
            let theirs: Vec<_> =
                theirs.flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>()).collect();
            assert_eq!((records.values().cloned().collect::<Vec<_>>(), gaps.len()), (theirs, 0));
        }
    }
}

#[test]
fn a_directory_on_the_disk_is_as_it_was_to_the_last_name_and_time() {
    let dir = TempDir::new("read-only");
    let broker = options().open(dir.path()).unwrap();
    send_all(&broker.create_topic("a", TopicConfig::new()).unwrap(), ["x"; 20]).unwrap();
    broker.close(TIMEOUT).unwrap();
    // Whoever makes the file would change the directory.
    std::fs::remove_file(dir.path().join(".lock")).unwrap();
    let times = |content: BTreeMap<_, _>| {
        let root = std::iter::once((dir.path().to_owned(), None));
        let files = content.into_iter().map(|(path, content)| (path, Some(content)));
        root.chain(files)
            .map(|(path, content)| (std::fs::metadata(&path).unwrap().modified().unwrap(), path, content))
            .collect::<Vec<_>>()
    };
    let before = times(dir.content());
    let broker = ReadOnlyBroker::open(dir.path()).unwrap();
    assert_eq!(everything(&broker).values().map(|shown| shown.records.len()).sum::<usize>(), 20);
    drop(broker);
    assert_eq!(times(dir.content()), before);
    assert_eq!(
        ReadOnlyBroker::open(dir.path().join("none")).unwrap_err().kind(),
        ErrorKind::DirectoryNotOurs
    );
    assert!(!dir.path().join("none").exists());
}

#[test]
fn a_directory_that_somebody_has_open_is_refused_and_nobody_is_locked_out() {
    let vfs = filled(true);
    let first = open(&vfs).unwrap();
    let second = open(&vfs).unwrap();
    let owner = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let refused = open(&vfs).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DirectoryInUse);
    assert!(refused.to_string().contains("process"), "{refused}");
    for reader in [&first, &second] {
        let error = read_all(&partition(reader, "a", 0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
    }
    owner.close(TIMEOUT).unwrap();
    assert_eq!(everything(&open(&vfs).unwrap()).len(), 4);
}

#[test]
fn an_owner_that_comes_meanwhile_ends_the_reading_and_no_record_of_his_is_taken_for_one_of_before() {
    type Deed = fn(&Broker);
    let deeds: [(&str, Deed); 4] = [
        ("sends", |broker| send_all(&broker.topic("a").unwrap(), ["later"]).unwrap()),
        ("deletes", |broker| broker.delete_topic("a").unwrap()),
        ("deletes and creates", |broker| {
            broker.delete_topic("a").unwrap();
            let topic = broker.create_topic("a", TopicConfig::new().partitions(2)).unwrap();
            send_all(&topic, ["another"; 2]).unwrap();
        }),
        ("creates", |broker| _ = broker.create_topic("c", TopicConfig::new()).unwrap()),
    ];
    for (what, deed) in deeds {
        for stays in [true, false] {
            let vfs = filled(true);
            let reader = open(&vfs).unwrap();
            let partition = partition(&reader, "a", 0);
            let begun = partition.read(Start::Earliest).unwrap();
            let owner = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
            deed(&owner);
            let owner = if stays { Some(owner) } else { owner.close(TIMEOUT).map(|()| None).unwrap() };
            for mut pieces in [begun, partition.read(Start::Earliest).unwrap()] {
                let error = pieces.next().unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{what}: {error}");
                assert!(pieces.next().is_none(), "it ends with the error");
                assert_eq!(pieces.position().offset(), 0, "nothing was handed out");
            }
            drop(owner);
        }
    }
}

#[test]
fn after_a_kill_what_is_proven_is_shown_and_of_other_topics_what_readers_could_see() {
    let vfs = MemoryVfs::new();
    let clock = ManualClock::at(0);
    let broker = open_on(options().clock(clock.clock()), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let synced = broker.create_topic("synced", TopicConfig::new()).unwrap();
    let os = broker.create_topic("os", TopicConfig::new().durability(Durability::Os)).unwrap();
    send_all(&synced, ["a"; 3]).unwrap();
    let seen: Vec<_> = (0..40_u8).map(|number| [number; 100]).collect();
    send_all(&os, &seen).unwrap();
    clock.advance(Duration::from_millis(20));
    broker.tick().unwrap();
    // Behind what readers are told of.
    send_all(&os, ["unseen"]).unwrap();
    std::mem::forget((broker, synced, os));
    let vfs = vfs.restart();

    let broker = open(&vfs).unwrap();
    assert!(broker.is_unrecovered());
    assert_eq!(partition(&broker, "synced", 0).high_watermark(), 3);
    assert_eq!(read_all(&partition(&broker, "synced", 0)).unwrap().records.len(), 3);
    let shown = read_all(&partition(&broker, "os", 0)).unwrap();
    assert_eq!((shown.records.len(), shown.gaps.len()), (40, 0));
    assert_eq!(value(&shown, 39), [39; 100]);
    // What is torn there is no damage: nothing of it was proven, and so it ends before.
    let name = "os-0/00000000000000000000.log";
    let mut bytes = content(&vfs, name);
    bytes[70] ^= 1;
    replace(&vfs, name, &bytes);
    let shown = read_all(&partition(&open(&vfs).unwrap(), "os", 0)).unwrap();
    assert!(shown.records.len() < 40 && shown.gaps.is_empty(), "{shown:?}");
}

/// Sends to a synced topic and another, the evidence of which is synced each second; what of both is proven then.
fn lives(vfs: &MemoryVfs, clock: &ManualClock, proven: &mut BTreeMap<&'static str, u64>) -> Result<()> {
    for life in 0..3_u8 {
        let broker = open_on(options().clock(clock.clock()), Arc::new(vfs.clone()), Path::new(ROOT))?;
        for (name, durability) in [("synced", Durability::Synced), ("os", Durability::Os)] {
            let config = TopicConfig::new().segment_bytes(1024).durability(durability);
            let topic = broker.ensure_topic(name, config)?;
            let end = topic.partition(0)?.log_end_offset();
            for number in end..end + 5 {
                topic.producer().send(Record::new(&[u8::try_from(number).unwrap(); 150]))?.wait()?;
            }
            if durability == Durability::Synced {
                clock.advance(Duration::from_secs(1));
                broker.tick()?;
                // The disk is alive, and so the evidence was synced.
                vfs.sync_dir(Path::new(ROOT)).map_err(|_| dead())?;
                proven.insert(name, end + 5);
            }
        }
        if life == 1 {
            std::mem::forget(broker);
            return Ok(());
        }
        broker.close(TIMEOUT)?;
        proven.insert("os", broker_end(vfs)?);
    }
    Ok(())
}

fn dead() -> ottla::Error {
    ottla::internals::decode_manifest(b"").unwrap_err()
}

fn broker_end(vfs: &MemoryVfs) -> Result<u64> {
    Ok(partition(&open_read_only_on(Arc::new(vfs.clone()), Path::new(ROOT))?, "os", 0).high_watermark())
}

#[test]
fn on_every_image_of_a_crash_a_prefix_is_shown_that_holds_what_is_proven_and_that_recovery_keeps() {
    let count = {
        let vfs = MemoryVfs::new();
        lives(&vfs, &ManualClock::at(0), &mut BTreeMap::new()).unwrap();
        vfs.counts().changing
    };
    let (mut images, mut shown_records) = (0, 0);
    for stop in 0..count {
        let (vfs, mut proven) = (MemoryVfs::new(), BTreeMap::new());
        vfs.stop_after(stop);
        _ = lives(&vfs, &ManualClock::at(0), &mut proven);
        for profile in
            [CrashProfile::Strict, CrashProfile::Prefix, CrashProfile::Ordered, CrashProfile::Adversarial]
        {
            for image in vfs.images(profile, 6, stop) {
                images += 1;
                let what = format!("stopped after {stop}, {}", image.description);
                let broker = match open(&image.vfs) {
                    Ok(broker) => broker,
                    Err(error) => {
                        assert!(proven.is_empty(), "{what}: {error}");
                        continue;
                    }
                };
                let mut prefixes = BTreeMap::new();
                for topic in broker.topics() {
                    let shown = read_all(&topic.partition(0).unwrap())
                        .unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert!(shown.gaps.is_empty(), "{what}: {shown:?}");
                    for (offset, record) in &shown.records {
                        assert_eq!(
                            record.value.as_deref(),
                            Some(&[u8::try_from(*offset).unwrap(); 150][..]),
                            "{what}"
                        );
                    }
                    shown_records += shown.records.len();
                    prefixes.insert(topic.name().to_owned(), shown.records.len() as u64);
                }
                for (name, end) in &proven {
                    let shown = prefixes.get(*name).copied().unwrap_or_default();
                    assert!(shown >= *end, "{what}: {name} is proven up to {end}, and shown up to {shown}");
                }
                drop(broker);
                let owner = open_on(options(), Arc::new(image.vfs.clone()), Path::new(ROOT)).unwrap();
                for (name, shown) in prefixes {
                    let kept = owner.topic(&name).unwrap().partition(0).unwrap().high_watermark();
                    assert!(
                        kept >= shown,
                        "{what}: {name} is shown up to {shown}, and recovered up to {kept}"
                    );
                }
            }
        }
    }
    println!("{images} images of {count} crash points, {shown_records} records shown");
    assert!(images > 1000 && shown_records > 1000, "{images} images, {shown_records} records");
}

/// What a changed directory shows: an error, gaps, or the same records, and never another one.
fn assert_never_other(vfs: &MemoryVfs, sound: &BTreeMap<(String, u32), Shown>, what: &str) -> &'static str {
    let Ok(broker) = open(vfs) else { return "refused" };
    let mut verdict = "the same";
    for topic in broker.topics() {
        for partition in topic.partitions() {
            let place = (topic.name().to_owned(), partition.id());
            let shown = match read_all(&partition) {
                Ok(shown) => shown,
                Err(error) => {
                    assert!(error.to_string().contains("salvage"), "{what}: {error}");
                    verdict = "refused";
                    continue;
                }
            };
            for (offset, record) in &shown.records {
                assert_eq!(Some(record), sound[&place].records.get(offset), "{what}");
            }
            if !shown.gaps.is_empty() {
                verdict = if verdict == "refused" { "refused" } else { "gaps" };
            }
            let missing: u64 = shown.gaps.iter().map(|(first, end)| end - first).sum();
            let there = shown.records.len() as u64 + missing;
            assert_eq!(there, sound[&place].records.len() as u64, "{what}: {shown:?}");
        }
    }
    verdict
}

#[test]
fn every_flipped_bit_gives_an_error_a_gap_or_the_same_records() {
    let vfs = complete();
    let sound = everything(&open(&vfs).unwrap());
    let mut verdicts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for name in files(&vfs) {
        let bytes = content(&vfs, &name);
        let is_log = name.ends_with(".log");
        for position in (0..bytes.len()).filter(|position| !means_nothing(&name, *position)) {
            // Of two logs every bit.
            let masks: &[u8] = match name.as_str() {
                "a-0/00000000000000000000.log" | "b-1/00000000000000000000.log" => {
                    &[1, 2, 4, 8, 16, 32, 64, 128]
                }
                _ if is_log => &[2],
                _ => &[1, 0x10],
            };
            for mask in masks {
                let mut damaged = bytes.clone();
                damaged[position] ^= mask;
                replace(&vfs, &name, &damaged);
                let verdict =
                    assert_never_other(&vfs, &sound, &format!("{name}, byte {position}, {mask:#x}"));
                assert!(!is_log || verdict == "gaps", "{name}, byte {position}, {mask:#x}: {verdict}");
                *verdicts.entry((is_log, verdict)).or_default() += 1;
            }
        }
        replace(&vfs, &name, &bytes);
    }
    println!("{verdicts:?}");
    assert!(verdicts[&(true, "gaps")] > 8_000, "{verdicts:?}");
}

#[test]
fn one_damaged_batch_is_one_gap_and_all_others_are_there() {
    let vfs = complete();
    let sound = &everything(&open(&vfs).unwrap())[&("a".to_owned(), 0)];
    let logs: Vec<_> =
        files(&vfs).into_iter().filter(|name| name.starts_with("a-0") && name.ends_with(".log")).collect();
    let mut offset = 0;
    for name in logs {
        let bytes = content(&vfs, &name);
        // All batches are alike.
        let size =
            12 + bytes.get(8..12).map_or(1, |len| u32::from_be_bytes(len.try_into().unwrap()) as usize);
        assert_eq!(bytes.len() % size, 0, "{name}");
        for batch in 0..bytes.len() / size {
            // Length, magic, checksum, records.
            for at in [8, 11, 16, 17, 100] {
                let mut damaged = bytes.clone();
                damaged[batch * size + at] ^= 0x40;
                replace(&vfs, &name, &damaged);
                let shown = read_all(&partition(&open(&vfs).unwrap(), "a", 0)).unwrap();
                assert_eq!(
                    shown.gaps,
                    [(offset, offset + 1)],
                    "{name}, batch {batch}, byte {at}: {:?}",
                    shown.reasons
                );
                assert_eq!(shown.records.len() + 1, sound.records.len());
                assert!(
                    shown.reasons[0].contains(&name)
                        && shown.reasons[0].contains(&format!("byte {}", batch * size))
                );
                // To begin in the gap, or behind it, is to be told what there is of it.
                let partition = partition(&open(&vfs).unwrap(), "a", 0);
                for from in [offset, offset + 1] {
                    let behind = read_from(&partition, Start::At(from), from).unwrap();
                    assert_eq!(
                        behind.gaps.len(),
                        usize::from(from == offset),
                        "{from}: {:?}",
                        behind.reasons
                    );
                    assert_eq!(behind.records.len() as u64, sound.records.len() as u64 - offset - 1);
                }
            }
            offset += 1;
        }
        replace(&vfs, &name, &bytes);
    }
    assert_eq!(offset, sound.records.len() as u64);
}

#[test]
fn every_length_of_a_log_every_file_that_is_gone_and_every_zeroed_sector_gives_gaps() {
    let vfs = complete();
    let sound = everything(&open(&vfs).unwrap());
    for name in files(&vfs) {
        let bytes = content(&vfs, &name);
        vfs.remove_file(&path(&name)).unwrap();
        let verdict = assert_never_other(&vfs, &sound, &format!("{name} is gone"));
        assert!(
            !name.ends_with(".log") || bytes.is_empty() || verdict == "gaps",
            "{name} is gone: {verdict}"
        );
        if name.ends_with(".log") {
            for len in 0..bytes.len() {
                replace(&vfs, &name, &bytes[..len]);
                assert_eq!(assert_never_other(&vfs, &sound, &format!("{name} of {len} bytes")), "gaps");
            }
            for from in (0..bytes.len()).step_by(64) {
                let mut zeroed = bytes.clone();
                zeroed[from..(from + 200).min(bytes.len())].fill(0);
                replace(&vfs, &name, &zeroed);
                assert_eq!(assert_never_other(&vfs, &sound, &format!("{name} zeroed from {from}")), "gaps");
            }
            // Something that stands behind is not shown.
            replace(&vfs, &name, &[&bytes[..], &[7; 300]].concat());
            assert_never_other(&vfs, &sound, &format!("{name} is longer"));
        }
        replace(&vfs, &name, &bytes);
    }
}

#[test]
fn a_damaged_index_hides_nothing_wherever_reading_begins() {
    let vfs = complete();
    let sound = read_all(&partition(&open(&vfs).unwrap(), "a", 0)).unwrap();
    let mut tried = 0;
    for name in files(&vfs).into_iter().filter(|name| name.starts_with("a-0") && name.ends_with(".index")) {
        let bytes = content(&vfs, &name);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 2;
            replace(&vfs, &name, &damaged);
            let a = partition(&open(&vfs).unwrap(), "a", 0);
            for from in 0..18 {
                let shown = read_from(&a, Start::At(from), from).unwrap();
                assert_eq!(
                    (shown.records.len() as u64, shown.gaps.len()),
                    (18 - from, 0),
                    "{name}, byte {at}"
                );
                assert!(shown.records.iter().all(|(offset, record)| sound.records[offset] == *record));
                tried += 1;
            }
        }
        replace(&vfs, &name, &bytes);
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn a_segment_ends_where_the_next_one_begins_also_where_a_file_is_nobodys() {
    let vfs = complete();
    let sound = everything(&open(&vfs).unwrap());
    let stray = content(&vfs, "a-0/00000000000000000004.log");
    replace(&vfs, "a-0/00000000000000000002.log", &stray);
    assert_eq!(assert_never_other(&vfs, &sound, "a log under another one's name"), "gaps");
    assert_eq!(read_all(&partition(&open(&vfs).unwrap(), "a", 0)).unwrap().gaps, [(2, 4)]);
}

#[test]
fn damage_of_one_partition_leaves_the_others_and_says_what_is_left() {
    for (what, damage) in DAMAGES {
        for in_order in [true, false] {
            let vfs = filled(in_order);
            let sound = everything(&open(&vfs).unwrap());
            damage(&vfs);
            let verdict = assert_never_other(&vfs, &sound, what);
            let is_of_batches = what.contains("log") || what.contains("begin behind");
            assert_eq!(verdict, if is_of_batches { "gaps" } else { "refused" }, "{what}");
            let broker = open(&vfs).unwrap();
            assert_eq!(partition(&broker, "a", 1).damage().is_some(), verdict == "refused");
            for (topic, number) in [("a", 0), ("b", 0), ("b", 1)] {
                let shown = read_all(&partition(&broker, topic, number)).unwrap();
                assert_eq!((shown.records.len(), shown.gaps.len()), (2, 0), "{what}");
            }
        }
    }
}

#[test]
fn a_disk_that_cannot_read_is_an_error_or_a_gap_and_reading_again_shows_the_rest() {
    let vfs = complete();
    let sound = everything(&open(&vfs).unwrap());
    let mut gaps = 0;
    for call in 1..200 {
        vfs.fail_nth(call, Fault::Io, Repeat::Once);
        if assert_never_other_or_error(&vfs, &sound, call) {
            gaps += 1;
        }
        vfs.fail_no_more();
    }
    assert!(gaps > 3, "{gaps}");
    assert_eq!(everything(&open(&vfs).unwrap()), sound);
}

fn assert_never_other_or_error(vfs: &MemoryVfs, sound: &BTreeMap<(String, u32), Shown>, call: u64) -> bool {
    let Ok(broker) = open(vfs) else { return false };
    let mut gaps = false;
    for ((topic, number), expected) in sound {
        let Ok(shown) = read_all(&partition(&broker, topic, *number)) else { continue };
        gaps |= !shown.gaps.is_empty();
        for (offset, record) in &shown.records {
            assert_eq!(Some(record), expected.records.get(offset), "call {call}");
        }
    }
    gaps
}

#[test]
fn reading_begins_where_it_is_told() {
    let vfs = complete();
    let broker = open(&vfs).unwrap();
    let a = partition(&broker, "a", 0);
    let sound = read_all(&a).unwrap();
    let time = |offset: u64| sound.records[&offset].timestamp.unwrap();
    for from in 0..=18 {
        let shown = read_from(&a, Start::At(from), from).unwrap();
        assert_eq!(shown.records.len() as u64, 18 - from);
        if from < 18 {
            assert_eq!(read_from(&a, Start::Time(time(from)), from).unwrap(), shown);
        }
        let mut first = a.read(Start::Earliest).unwrap();
        let reached = std::iter::once(first.position())
            .chain(std::iter::from_fn(|| first.next().map(|_| first.position())))
            .find(|position| position.offset() == from)
            .unwrap();
        assert_eq!(read_from(&a, Start::Resume(reached), from).unwrap(), shown);
    }
    assert_eq!(read_from(&a, Start::Latest, 18).unwrap().records.len(), 0);
    assert_eq!(read_from(&a, Start::Time(i64::MAX), 18).unwrap().records.len(), 0);
    let outside = a.read(Start::At(19)).unwrap_err();
    assert_eq!((outside.kind(), outside.available_offsets()), (ErrorKind::OffsetOutOfRange, Some(0..=18)));
    let lost = a.read(Start::Resume(Position::new(14, Some(0)))).unwrap_err();
    assert_eq!((lost.kind(), lost.offset()), (ErrorKind::LogTruncated, Some(12)));
    assert_eq!(broker.topic("none").unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
    assert_eq!(
        broker.topic("a").unwrap().partition(1).unwrap_err().kind(),
        ErrorKind::UnknownTopicOrPartition
    );

    // The gap before the first record of a time may hold an earlier one.
    let name = "a-0/00000000000000000000.log";
    let mut bytes = content(&vfs, name);
    let size = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
    bytes[size * 2 + 100] ^= 1;
    replace(&vfs, name, &bytes);
    let a = partition(&open(&vfs).unwrap(), "a", 0);
    assert_eq!(read_from(&a, Start::Time(time(3)), 2).unwrap().gaps, [(2, 3)]);
    assert_eq!(read_from(&a, Start::Time(time(4)), 4).unwrap().gaps, []);
}

#[test]
fn a_damaged_root_is_refused_with_what_to_do() {
    for name in ["ottla.manifest", "ottla.ends"] {
        let vfs = filled(true);
        let mut bytes = content(&vfs, name);
        bytes[3] ^= 1;
        replace(&vfs, name, &bytes);
        let error = open(&vfs).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains("salvage what is sound"), "{error}");
        vfs.remove_file(&path(name)).unwrap();
        assert_eq!(open(&vfs).unwrap_err().kind(), ErrorKind::StorageError);
    }
    let empty = MemoryVfs::new();
    assert_eq!(open(&empty).unwrap_err().kind(), ErrorKind::DirectoryNotOurs);
    empty.create_dir(Path::new(ROOT)).unwrap();
    assert_eq!(open(&empty).unwrap_err().kind(), ErrorKind::DirectoryNotOurs);
}

#[test]
fn kafkas_directories_are_shown_as_kafkas_consumer_saw_them() {
    let mut records = 0;
    for fixture in all() {
        let (broker, name) = fixture.name.split_once('/').unwrap();
        let root = crate::kafka_fixtures::root().join(broker);
        let opened = ReadOnlyBroker::open(&root).unwrap();
        assert!(!root.join(".lock").exists(), "no file is made");
        let (topic, number) = name.rsplit_once('-').unwrap();
        let partition = partition(&opened, topic, number.parse().unwrap());
        assert_eq!(partition.log_start_offset(), fixture.expected.log_start_offset, "{}", fixture.name);
        assert_eq!(partition.high_watermark(), fixture.expected.high_watermark, "{}", fixture.name);
        for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
            let mut lines = Vec::new();
            let mut pieces = partition.read_with(Start::Earliest, isolation).unwrap();
            for piece in &mut pieces {
                let batch = piece
                    .and_then(Piece::into_batch)
                    .unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
                let kind = batch.timestamp_type();
                lines.extend(batch.iter().map(|record| Line::of(&record, kind)));
            }
            assert_eq!(lines, fixture.expected.lines(isolation), "{} {isolation:?}", fixture.name);
            let end = match isolation {
                Isolation::ReadCommitted => fixture.expected.last_stable_offset,
                Isolation::ReadUncommitted => fixture.expected.high_watermark,
            };
            assert_eq!(pieces.position().offset(), end, "{} {isolation:?}", fixture.name);
            records += lines.len();
        }
    }
    assert!(records > 100, "{records}");
}
