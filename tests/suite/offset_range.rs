//! The end of the offsets, and the end of what a segment's indexes can say: appends are refused, or roll, and everything that is
//! there stays readable, recoverable and sound.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{
    CrashProfile, MemoryVfs, OpenMode, Vfs, open_on, open_read_only_on, salvage_on, undo_adoption_on,
};
use ottla::{Broker, Durability, ErrorKind, Partition, Piece, Record, Result, Start, TopicConfig};

use crate::adopting::{META, adopt, batches, remove};
use crate::support::{ROOT, encode_batch, get, options, put, tree, values};
use crate::verifying::verify;

const TIMEOUT: Duration = Duration::from_secs(10);
const OUT: &str = "/out";
/// Kafka's offsets are signed: behind the last there is this end, and no offset.
const END: u64 = i64::MAX as u64;
/// So far from its segment's base can an offset lie: 31 bits of an index entry.
const REACH: u64 = i32::MAX as u64;

fn open(vfs: &MemoryVfs) -> Result<Broker> {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT))
}

fn partition(broker: &Broker) -> Partition {
    broker.topic("orders").unwrap().partition(0).unwrap()
}

/// The directory of a Kafka broker that was stopped in order, with one topic whose log is these batches.
pub fn kafkas_log(base: u64, log: &[u8], end: u64) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs).unwrap();
    broker.create_topic("orders", TopicConfig::new()).unwrap();
    broker.close(TIMEOUT).unwrap();
    for entry in vfs.read_dir(&Path::new(ROOT).join("orders-0")).unwrap() {
        if entry.name != "partition.metadata" {
            remove(&vfs, &format!("orders-0/{}", entry.name));
        }
    }
    remove(&vfs, "ottla.manifest");
    remove(&vfs, "ottla.ends");
    put(&vfs, "meta.properties", META.as_bytes());
    put(&vfs, &format!("orders-0/{base:020}.log"), log);
    put(&vfs, &format!("orders-0/{base:020}.index"), b"");
    put(&vfs, &format!("orders-0/{base:020}.timeindex"), &newest_entry(base, log));
    put(&vfs, "orders-0/leader-epoch-checkpoint", format!("0\n1\n0 {base}\n").as_bytes());
    for (name, offset) in [("recovery-point", end), ("replication", end), ("log-start", base)] {
        let text = format!("0\n1\norders 0 {offset}\n");
        put(&vfs, &format!("{name}-offset-checkpoint"), text.as_bytes());
    }
    vfs
}

/// What Kafka's time index holds of a log so short: its greatest timestamp.
fn newest_entry(base: u64, log: &[u8]) -> Vec<u8> {
    let mut newest: Option<(i64, u64)> = None;
    for at in batches(log) {
        let field = |from: usize| log[at + from..][..8].try_into().unwrap();
        let last_delta = u32::from_be_bytes(log[at + 23..][..4].try_into().unwrap());
        let (first, timestamp) = (u64::from_be_bytes(field(0)), i64::from_be_bytes(field(35)));
        if timestamp >= 0 && newest.is_none_or(|(greatest, _)| timestamp > greatest) {
            newest = Some((timestamp, first + u64::from(last_delta)));
        }
    }
    newest.map_or_else(Vec::new, |(timestamp, last)| {
        let relative = u32::try_from(last - base).unwrap();
        [&timestamp.to_be_bytes()[..], &relative.to_be_bytes()].concat()
    })
}

/// A value that tells its offset; three of them fill a segment.
fn value(offset: u64) -> Vec<u8> {
    offset.to_be_bytes().repeat(40)
}

/// One in which Kafka has written the offsets from `first` on up to `end`.
fn kafkas(first: u64, end: u64) -> MemoryVfs {
    let batch = |offset| encode_batch(offset, &[(offset, 1, Record::new(&value(offset)))]);
    kafkas_log(first, &(first..end).flat_map(batch).collect::<Vec<_>>(), end)
}

fn small_segments(level: Durability) -> TopicConfig {
    TopicConfig::new().segment_bytes(1024).index_interval_bytes(0).durability(level)
}

/// Appends with the offsets up to the end, in every way.
fn fill(broker: &Broker, level: Durability) {
    let topic = broker.topic("orders").unwrap();
    let producer = topic.producer();
    let mut next = partition(broker).log_end_offset();
    while next < END {
        let left = END - next;
        let values = [value(next), value(next + 1)];
        let [one, two] = values.each_ref().map(Record::new);
        let delivery = match left % 4 {
            1 => producer.send(one),
            2 => producer.send(one.expected_offset(next)),
            _ => producer.send_batch(&[one, two]),
        };
        delivery.unwrap().wait().unwrap();
        next = partition(broker).log_end_offset();
    }
    assert_eq!(next, END, "{level}");
}

/// One more than there are offsets left is refused, and nothing of it is written.
fn assert_refused(vfs: &MemoryVfs, broker: &Broker, what: &str) {
    let end = partition(broker).log_end_offset();
    let left = usize::try_from(END - end).unwrap();
    let producer = broker.topic("orders").unwrap().producer();
    let before = tree(vfs, Path::new(ROOT));
    let batch = vec![Record::new("too many"); left + 1];
    let mut refused = vec![producer.send_batch(&batch).map(drop)];
    if left == 0 {
        refused.push(producer.send(Record::new("one more")).map(drop));
        refused.push(producer.send(Record::new("one more").expected_offset(END)).map(drop));
        refused.push(producer.try_send(Record::new("one more")).map(drop));
    }
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::InvalidRecord, Some(end)), "{what}: {error}");
        assert_eq!((error.topic(), error.partition()), (Some("orders"), Some(0)), "{what}: {error}");
        let says =
            format!("{left} offsets are left, and {} are needed", if left == 0 { 1 } else { left + 1 });
        assert!(error.to_string().contains(&says), "{what}: {error}");
        assert!(!error.is_retriable() && !error.is_indeterminate(), "{what}: {error}");
    }
    producer.flush().unwrap();
    assert_eq!(partition(broker).log_end_offset(), end, "{what}");
    assert_eq!(tree(vfs, Path::new(ROOT)), before, "{what}: nothing was written");
}

/// Everything from `first` on is there, in whatever way one comes to it.
fn assert_readable(broker: &Broker, first: u64, what: &str) {
    let partition = partition(broker);
    let end = partition.high_watermark();
    let ends = (partition.log_start_offset(), partition.last_stable_offset(), partition.log_end_offset());
    assert_eq!(ends, (first, end, end), "{what}");
    assert_eq!(values(&partition).unwrap(), (first..end).map(value).collect::<Vec<_>>(), "{what}");
    for offset in first..end {
        let batch = partition.read(Start::At(offset)).unwrap().next().unwrap().unwrap();
        let at = batch.records().find(|record| record.offset == offset);
        assert_eq!(at.unwrap().value.unwrap()[..], value(offset), "{what}");
    }
    for start in [Start::At(end), Start::Latest] {
        let mut batches = partition.read(start).unwrap();
        assert_eq!(batches.position().offset(), end, "{what}");
        assert!(batches.next().is_none(), "{what}");
    }
    for outside in [end + 1, u64::MAX, first - 1] {
        let error = partition.read(Start::At(outside)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange, "{what}: {error}");
    }
    assert_eq!(partition.read(Start::Time(i64::MAX)).unwrap().position().offset(), end, "{what}");
    let mut consumer = broker.consumer().assign([partition]).unwrap();
    let mut next = first;
    while next < end {
        for record in &consumer.poll(TIMEOUT).unwrap() {
            assert_eq!((record.offset(), record.value()), (next, Some(&value(next)[..])), "{what}");
            next += 1;
        }
    }
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty(), "{what}");
}

/// What a directory is after its broker has gone, in whatever way: all of it, and no offset more.
fn assert_whole(vfs: &MemoryVfs, first: u64, what: &str) {
    let broker = open(vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_readable(&broker, first, what);
    if partition(&broker).log_end_offset() == END {
        assert_refused(vfs, &broker, what);
    }
    broker.close(TIMEOUT).unwrap();
    let report = verify(vfs);
    assert!(report.is_sound(), "{what}: {:#?}", report.findings);
}

#[test]
fn the_end_of_the_offsets_is_refused_and_survives_everything() {
    for level in [Durability::Synced, Durability::Os] {
        for (kafkas_records, left) in [(3, 0), (3, 1), (2, 3), (4, 8)] {
            let first = END - left - kafkas_records;
            let vfs = kafkas(first, END - left);
            let what = format!("{level}, {left} left");
            assert_eq!(verify(&vfs).findings, [], "{what}");
            let options = options().adopt(true).adopted_topics(small_segments(level));
            let broker = open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
            assert_refused(&vfs, &broker, &what);
            fill(&broker, level);
            assert_refused(&vfs, &broker, &what);
            assert_readable(&broker, first, &what);
            broker.topic("orders").unwrap().producer().synced().flush().unwrap();
            for profile in [CrashProfile::Strict, CrashProfile::Ordered, CrashProfile::Adversarial] {
                for image in vfs.images(profile, 8, left) {
                    assert_whole(&image.vfs, first, &format!("{what}, {profile:?}: {}", image.description));
                }
            }
            let killed = vfs.fork();
            std::mem::forget(broker);
            assert_whole(&vfs.restart(), first, &format!("{what}, killed"));
            let vfs = killed.restart();
            open(&vfs).unwrap().close(TIMEOUT).unwrap();
            assert_eq!(verify(&vfs).findings, [], "{what}");
            assert_whole(&vfs, first, &format!("{what}, closed"));
        }
    }
}

/// Where what is acknowledged is not synced, a power cut takes the last offsets back: then they are given out again.
#[test]
fn offsets_that_a_power_cut_takes_back_are_given_out_again() {
    let vfs = kafkas(END - 6, END - 4);
    let options = options().adopt(true).adopted_topics(small_segments(Durability::Os));
    let broker = open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    fill(&broker, Durability::Os);
    let mut taken_back = 0;
    for image in vfs.images(CrashProfile::Adversarial, 60, 3) {
        let what = &image.description;
        let again = open(&image.vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_readable(&again, END - 6, what);
        taken_back += usize::from(partition(&again).log_end_offset() < END);
        fill(&again, Durability::Os);
        assert_refused(&image.vfs, &again, what);
        again.close(TIMEOUT).unwrap();
        assert_whole(&image.vfs, END - 6, what);
    }
    assert!(taken_back > 10, "{taken_back}");
}

#[test]
fn whoever_looks_at_the_end_of_the_offsets_sees_it() {
    let vfs = kafkas(END - 5, END - 2);
    let broker = adopt(&vfs).unwrap();
    fill(&broker, Durability::Synced);
    broker.close(TIMEOUT).unwrap();
    let expected: Vec<_> = (END - 5..END).map(value).collect();

    let read_only = open_read_only_on(Arc::new(vfs.fork()), Path::new(ROOT)).unwrap();
    let partition = read_only.topic("orders").unwrap().partition(0).unwrap();
    let mut found = Vec::new();
    for piece in partition.read(Start::Earliest).unwrap() {
        match piece.unwrap() {
            Piece::Batch(batch) => {
                found.extend(batch.records().map(|record| record.value.unwrap().to_vec()));
            }
            Piece::Gap(gap) => panic!("{gap:?}"),
        }
    }
    assert_eq!(found, expected);

    let report = salvage_on(Arc::new(vfs.clone()), Path::new(ROOT), Path::new(OUT)).unwrap();
    assert_eq!((report.left, report.records), (vec![], 5));
    let salvaged = open_on(options(), Arc::new(vfs.clone()), Path::new(OUT)).unwrap();
    let partition = salvaged.topic("orders").unwrap().partition(0).unwrap();
    assert_eq!((values(&partition).unwrap(), partition.log_end_offset()), (expected, END));

    undo_adoption_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    assert_eq!(verify(&vfs).findings, []);
    let again = adopt(&vfs).unwrap();
    assert_readable(&again, END - 5, "given back, and taken over again");
    assert_refused(&vfs, &again, "given back, and taken over again");
}

/// A log of ours whose last batch reaches so far that few offsets more fit into its segment.
fn reaching(last: u64, level: Durability) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs).unwrap();
    let config = TopicConfig::new().index_interval_bytes(0).durability(level);
    let topic = broker.create_topic("orders", config).unwrap();
    topic.producer().send(Record::new(&value(0)).timestamp(1)).unwrap().wait().unwrap();
    std::mem::forget((broker, topic));
    let vfs = vfs.restart();
    let (near, far) = (value(1), value(last));
    let batch = encode_batch(1, &[(1, 1, Record::new(&near)), (last, 2, Record::new(&far))]);
    let name = "orders-0/00000000000000000000.log";
    let length = u32::from_be_bytes(get(&vfs, name)[8..12].try_into().unwrap());
    let log = vfs.open(&Path::new(ROOT).join(name), OpenMode::Write).unwrap();
    log.write_at(&batch, u64::from(length) + 12).unwrap();
    vfs
}

fn logs(vfs: &MemoryVfs) -> Vec<u64> {
    let entries = vfs.read_dir(&Path::new(ROOT).join("orders-0")).unwrap();
    let bases = entries.iter().filter_map(|entry| entry.name.strip_suffix(".log"));
    let mut bases: Vec<_> = bases.map(|base| base.parse().unwrap()).collect();
    bases.sort_unstable();
    bases
}

/// An offset that does not fit into 31 bits behind its base begins a segment of its own, with its whole batch.
#[test]
fn a_segment_ends_where_its_indexes_can_say_no_more() {
    for level in [Durability::Synced, Durability::Os] {
        // Each is sent as a batch of its own; where the second segment begins.
        for (sizes, rolls_at) in [
            (&[1, 1, 1, 1][..], REACH + 1),
            (&[2, 1, 1], REACH + 1),
            (&[1, 2, 1], REACH),
            (&[3, 1], REACH - 1),
        ] {
            let what = format!("{level}, {sizes:?}");
            let vfs = reaching(REACH - 2, level);
            let broker = open(&vfs).unwrap();
            let topic = broker.topic("orders").unwrap();
            let mut next = REACH - 1;
            assert_eq!(partition(&broker).log_end_offset(), next, "{what}");
            for size in sizes {
                let values: Vec<_> = (next..next + size).map(value).collect();
                let records: Vec<_> = values.iter().map(|value| Record::new(value).timestamp(2)).collect();
                topic.producer().send_batch(&records).unwrap().wait().unwrap();
                next += size;
                assert_eq!(partition(&broker).log_end_offset(), next, "{what}");
            }
            assert_eq!(next, REACH + 3);
            assert_eq!(logs(&vfs), [0, rolls_at], "{what}");
            topic.producer().synced().flush().unwrap();
            drop(topic);
            let offsets: Vec<_> = [0, 1].into_iter().chain(REACH - 2..next).collect();
            assert_offsets(&partition(&broker), &offsets, &what);
            for image in vfs.images(CrashProfile::Adversarial, 8, 5) {
                let what = format!("{what}, {}", image.description);
                let again = open(&image.vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_offsets(&partition(&again), &offsets, &what);
                again.close(TIMEOUT).unwrap();
                assert_eq!(verify(&image.vfs).findings, [], "{what}");
            }
            broker.close(TIMEOUT).unwrap();
            assert_eq!(verify(&vfs).findings, [], "{what}");
            let again = open(&vfs).unwrap();
            assert_offsets(&partition(&again), &offsets, &what);
            again.close(TIMEOUT).unwrap();
            assert_eq!((verify(&vfs).findings, logs(&vfs)), (vec![], vec![0, rolls_at]), "{what}");
        }
    }
}

/// They are what is read, from the beginning and from each of them on.
fn assert_offsets(partition: &Partition, offsets: &[u64], what: &str) {
    for (at, start) in offsets.iter().enumerate() {
        let batches = partition.read(Start::At(*start)).unwrap();
        let records: Vec<_> =
            batches.flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>()).collect();
        let found: Vec<_> =
            records.iter().map(|record| record.offset).filter(|offset| offset >= start).collect();
        assert_eq!(found, offsets[at..], "from {start} on, {what}");
        assert!(
            records.iter().all(|record| record.value.as_deref() == Some(&value(record.offset)[..])),
            "{what}"
        );
    }
    assert_eq!(partition.log_end_offset(), offsets.last().unwrap() + 1, "{what}");
}
