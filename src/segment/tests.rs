//! Segments on the in-memory file system: what their files hold, and that every offset is found.

use std::sync::Arc;

use super::entry::{IndexEntry, OffsetEntry, TimeEntry};
use super::index::IndexView;
use super::roll::{Incoming, RollFacts, RollReason, roll_reason};
use super::*;
use crate::config::TopicConfig;
use crate::model::Timestamp;
use crate::record_batch::{BatchBuilder, BatchHeader, Codecs, PendingBatch, RecordBatch, RecordParts};
use crate::vfs::{FileView, MemoryVfs, VfsFile, read_file, write_all_at};

const TS: Timestamp = 1_700_000_000_000;
const BASE: Offset = 1000;

fn directory(maps: bool) -> SegmentDir {
    SegmentDir::new(Arc::new(MemoryVfs::new()), Path::new("/"), maps)
}

/// Batches of two records, each with a value of `number` bytes modulo 1500, and timestamps that fall and rise.
fn batches(count: u64) -> (Vec<u8>, Vec<PendingBatch>) {
    let mut buffer = Vec::new();
    let mut batches = Vec::new();
    for number in 0..count {
        let value = vec![7; usize::try_from(number * 131 % 1500).unwrap()];
        let parts = RecordParts { key: None, value: Some(&value), headers: &[] };
        let offset = BASE + 2 * number;
        let timestamp = TS + Timestamp::try_from(number * 17 % 100).unwrap();
        let mut builder = BatchBuilder::begin(&mut buffer, offset, timestamp);
        builder.push(&mut buffer, offset, timestamp, &parts);
        builder.push(&mut buffer, offset + 1, timestamp, &parts);
        let batch = builder.finish(&buffer);
        batch.seal(&mut buffer);
        batches.push(batch);
    }
    (buffer, batches)
}

fn filled(dir: &SegmentDir, config: &TopicConfig, count: u64) -> ActiveSegment {
    let mut segment = ActiveSegment::create(dir, BASE, config, TS).unwrap();
    let (bytes, batches) = batches(count);
    // Two writes, so that positions count on from one to the next.
    let (first, second) = batches.split_at(batches.len() / 2);
    let middle = second.first().map_or(bytes.len(), |batch| batch.bytes.start);
    segment.append(&bytes[..middle], first, config).unwrap();
    segment.append(&bytes[middle..], second, config).unwrap();
    segment
}

fn open(dir: &SegmentDir, config: &TopicConfig) -> crate::error::Result<ActiveSegment> {
    ActiveSegment::open(dir, BASE, config, TS, StoredIndexes::Trusted)
}

fn content(dir: &SegmentDir, file: SegmentFile) -> Vec<u8> {
    read_file(dir.vfs.as_ref(), &dir.file(file, BASE), u64::MAX).unwrap()
}

fn file(dir: &SegmentDir, file: SegmentFile) -> Arc<dyn VfsFile> {
    dir.vfs.open(&dir.file(file, BASE), OpenMode::Write).unwrap()
}

fn entries<E: IndexEntry>(bytes: &[u8]) -> Vec<E> {
    assert_eq!(bytes.len() % E::SIZE, 0);
    bytes.chunks(E::SIZE).map(E::read).collect()
}

/// The entries that Kafka's rule gives, written down a second time and in another way.
fn expected_entries(headers: &[(BatchHeader, u64)], interval: u64) -> (Vec<OffsetEntry>, Vec<TimeEntry>) {
    let (mut offsets, mut times): (Vec<OffsetEntry>, Vec<TimeEntry>) = (Vec::new(), Vec::new());
    let mut newest: Option<TimeEntry> = None;
    let mut indexed_at = 0;
    for (header, position) in headers {
        let relative_offset = u32::try_from(header.last_offset() - BASE).unwrap();
        if newest.is_none_or(|newest| header.max_timestamp > newest.timestamp) {
            newest = Some(TimeEntry { timestamp: header.max_timestamp, relative_offset });
        }
        if position - indexed_at > interval {
            offsets.push(OffsetEntry { relative_offset, position: u32::try_from(*position).unwrap() });
            times.extend(
                newest.filter(|newest| times.last().is_none_or(|last| newest.timestamp > last.timestamp)),
            );
            indexed_at = *position;
        }
    }
    times.extend(newest.filter(|newest| times.last().is_none_or(|last| newest.timestamp > last.timestamp)));
    (offsets, times)
}

/// Every offset leads to its batch, whatever the segment is and whatever its index says.
fn assert_every_offset_is_found(segment: &Segment, limit: u64, count: u64) {
    for offset in BASE..BASE + 2 * count {
        let batch = segment.scan_from(offset, limit).unwrap().next_batch(&Codecs::new(0)).unwrap().unwrap();
        assert!((batch.base_offset()..=batch.last_offset()).contains(&offset), "{offset}: {batch:?}");
    }
    assert_eq!(
        segment.scan_from(BASE + 2 * count, limit).unwrap().next_batch(&Codecs::new(0)).unwrap(),
        None
    );
}

fn all(mut scan: BatchScan) -> Vec<RecordBatch> {
    std::iter::from_fn(|| scan.next_batch(&Codecs::new(0)).unwrap()).collect()
}

#[test]
fn entries_have_kafkas_bytes() {
    let mut bytes = Vec::new();
    OffsetEntry { relative_offset: 9, position: 4200 }.write(&mut bytes);
    OffsetEntry { relative_offset: 30, position: 8500 }.write(&mut bytes);
    assert_eq!(bytes, [0, 0, 0, 9, 0, 0, 0x10, 0x68, 0, 0, 0, 0x1e, 0, 0, 0x21, 0x34]);
    bytes.clear();
    TimeEntry { timestamp: TS, relative_offset: 9 }.write(&mut bytes);
    assert_eq!(bytes, [0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 0, 9]);
    assert_eq!(TimeEntry::read(&bytes), TimeEntry { timestamp: TS, relative_offset: 9 });
}

#[test]
fn a_sealed_segment_holds_its_batches_and_kafkas_index_entries_and_nothing_else() {
    for interval in [0, 100, 4096, 1 << 30] {
        let config = TopicConfig::new().index_interval_bytes(interval);
        let dir = directory(true);
        let segment = filled(&dir, &config, 200);
        segment.seal(&config).unwrap();

        let (bytes, batches) = batches(200);
        assert_eq!(content(&dir, SegmentFile::Log), bytes);
        let headers: Vec<_> = batches.iter().map(|batch| (batch.header, batch.bytes.start as u64)).collect();
        let (offsets, times) = expected_entries(&headers, interval);
        assert_eq!(entries::<OffsetEntry>(&content(&dir, SegmentFile::OffsetIndex)), offsets);
        assert_eq!(entries::<TimeEntry>(&content(&dir, SegmentFile::TimeIndex)), times);
    }
}

#[test]
fn the_log_is_extended_ahead_of_the_data_and_trimmed_when_sealed() {
    let config = TopicConfig::new();
    let dir = directory(true);
    let segment = ActiveSegment::create(&dir, BASE, &config, TS).unwrap();
    assert_eq!(content(&dir, SegmentFile::Log).len(), 0, "nothing before the first append");
    drop(segment);

    let dir = directory(true);
    let segment = filled(&dir, &config, 10);
    let (bytes, _) = batches(10);
    let extended = content(&dir, SegmentFile::Log);
    assert!(extended.len() > bytes.len() && extended.len() < bytes.len() + 200_000, "{}", extended.len());
    assert!(extended[bytes.len()..].iter().all(|byte| *byte == 0));
    segment.seal(&config).unwrap();
    assert_eq!(content(&dir, SegmentFile::Log), bytes);

    let small = TopicConfig::new().segment_bytes(20_000);
    let dir = directory(true);
    let _segment = filled(&dir, &small, 10);
    assert!(content(&dir, SegmentFile::Log).len() <= 20_000, "never beyond what a segment can hold");
}

#[test]
fn every_offset_is_found_with_right_wrong_and_missing_indexes() {
    let config = TopicConfig::new().index_interval_bytes(500);
    type Damage = (&'static str, fn(&SegmentDir));
    let damage: [Damage; 7] = [
        ("right", |_| {}),
        ("missing", |dir| dir.vfs.remove_file(&dir.file(SegmentFile::OffsetIndex, BASE)).unwrap()),
        ("empty", |dir| file(dir, SegmentFile::OffsetIndex).set_len(0).unwrap()),
        ("no whole number of entries", |dir| file(dir, SegmentFile::OffsetIndex).set_len(83).unwrap()),
        ("zeros", |dir| write_all_at(&*file(dir, SegmentFile::OffsetIndex), &[0; 400], 0).unwrap()),
        ("one entry too far", |dir| {
            // Each offset leads to the batch of the entry behind, which is sound and the wrong one.
            let entries = entries::<OffsetEntry>(&content(dir, SegmentFile::OffsetIndex));
            let mut shifted = Vec::new();
            for pair in entries.windows(2) {
                OffsetEntry { position: pair[1].position, ..pair[0] }.write(&mut shifted);
            }
            write_all_at(&*file(dir, SegmentFile::OffsetIndex), &shifted, 0).unwrap();
        }),
        ("garbage", |dir| {
            let len = content(dir, SegmentFile::OffsetIndex).len();
            let garbage: Vec<u8> =
                (0..=255).map(|byte: u8| byte.wrapping_mul(89)).cycle().take(len).collect();
            write_all_at(&*file(dir, SegmentFile::OffsetIndex), &garbage, 0).unwrap();
        }),
    ];
    for maps in [true, false] {
        for (name, damage) in damage {
            let dir = directory(maps);
            let active = filled(&dir, &config, 100);
            let limit = active.size();
            assert_every_offset_is_found(&Segment::Active(Arc::clone(active.reader())), limit, 100);
            let sealed = active.seal(&config).unwrap();
            damage(&dir);
            assert_every_offset_is_found(&Segment::Sealed(sealed), 0, 100);

            let reopened = open(&dir, &config).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((reopened.size(), reopened.next_offset()), (limit, BASE + 200), "{name}");
            assert_every_offset_is_found(&Segment::Active(Arc::clone(reopened.reader())), limit, 100);
        }
    }
}

#[test]
fn opening_writes_nothing_and_sealing_again_mends_missing_indexes() {
    let config = TopicConfig::new().index_interval_bytes(500);
    let dir = directory(true);
    filled(&dir, &config, 100).seal(&config).unwrap();
    let whole = SegmentFile::ALWAYS.map(|file| content(&dir, file));
    for lost in [SegmentFile::OffsetIndex, SegmentFile::TimeIndex] {
        dir.vfs.remove_file(&dir.file(lost, BASE)).unwrap();
        let segment = open(&dir, &config).unwrap();
        assert_eq!(dir.vfs.kind(&dir.file(lost, BASE)).unwrap(), None, "opening writes nothing");
        segment.seal(&config).unwrap();
        assert_eq!(SegmentFile::ALWAYS.map(|file| content(&dir, file)), whole);
    }
}

#[test]
fn a_segment_goes_on_where_it_was_closed() {
    let config = TopicConfig::new().index_interval_bytes(500);
    let (bytes, batches) = batches(200);
    let (one, two) = (directory(true), directory(true));
    filled(&one, &config, 200).seal(&config).unwrap();

    filled(&two, &config, 100).seal(&config).unwrap();
    let mut again = open(&two, &config).unwrap();
    again.append(&bytes[batches[100].bytes.start..], &batches[100..], &config).unwrap();
    again.seal(&config).unwrap();
    assert_eq!(content(&two, SegmentFile::Log), content(&one, SegmentFile::Log));
    let reopened = open(&two, &config).unwrap();
    assert_every_offset_is_found(&Segment::Active(Arc::clone(reopened.reader())), reopened.size(), 200);
}

#[test]
fn a_log_that_does_not_end_with_a_batch_is_refused_on_opening() {
    let config = TopicConfig::new();
    for maps in [true, false] {
        let dir = directory(maps);
        filled(&dir, &config, 10).seal(&config).unwrap();
        let whole = content(&dir, SegmentFile::Log).len() as u64;
        for len in [whole - 1, whole + 1, whole + 100, 30] {
            file(&dir, SegmentFile::Log).set_len(len).unwrap();
            let error = open(&dir, &config).unwrap_err();
            assert!(error.is_corruption() && error.file().is_some() && error.position().is_some(), "{error}");
        }
    }
}

#[test]
fn a_gap_is_no_damage_only_where_compaction_has_come_to() {
    let dir = directory(false).with_kafka_end(BASE + 8);
    let (bytes, batches) = batches(6);
    // The batches begin at 0, 2, 4, 6, 8 and 10 from the base on; two are taken out.
    let at = |number: usize| batches[number].bytes.clone();
    for (missing, is_damage) in [(1, false), (3, false), (4, true)] {
        let (range, path) = (at(missing), dir.file(SegmentFile::Log, BASE));
        let log = dir.vfs.open(&path, OpenMode::CreateEmpty).unwrap();
        write_all_at(log.as_ref(), &[&bytes[..range.start], &bytes[range.end..]].concat(), 0).unwrap();
        let mut scan = dir.scan_all(BASE).unwrap();
        let error = loop {
            match scan.next_whole() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(error.is_some(), is_damage, "without batch {missing}: {error:?}");
        if let Some(error) = error {
            assert_eq!((error.is_corruption(), error.offset()), (true, Some(BASE + 8)), "{error}");
        }
    }
}

#[test]
fn a_scan_reads_batches_larger_than_its_chunks() {
    let config = TopicConfig::new();
    let dir = directory(false);
    let mut segment = ActiveSegment::create(&dir, BASE, &config, TS).unwrap();
    let value = vec![1; 700_000];
    let (mut buffer, mut batches) = (Vec::new(), Vec::new());
    for offset in BASE..BASE + 3 {
        let mut builder = BatchBuilder::begin(&mut buffer, offset, TS);
        builder.push(&mut buffer, offset, TS, &RecordParts { key: None, value: Some(&value), headers: &[] });
        batches.push(builder.finish(&buffer));
    }
    batches.iter().for_each(|batch| batch.seal(&mut buffer));
    segment.append(&buffer, &batches, &config).unwrap();
    let read = all(segment.reader().scan_from(BASE, segment.size()).unwrap());
    assert_eq!(read.len(), 3);
    assert!(read.iter().all(|batch| batch.iter().next().unwrap().value() == Some(&value)));
}

#[test]
fn reading_stops_at_the_published_end() {
    let config = TopicConfig::new();
    let dir = directory(true);
    let segment = filled(&dir, &config, 10);
    let (_, batches) = batches(10);
    for (published, batch) in batches.iter().enumerate() {
        let read = all(segment.reader().scan_from(BASE, batch.bytes.start as u64).unwrap());
        assert_eq!(read.len(), published);
    }
}

#[test]
fn searching_an_index_finds_the_last_entry_at_or_below() {
    let mut bytes = Vec::new();
    for number in 0..1000u32 {
        OffsetEntry { relative_offset: number * 3, position: number * 100 }.write(&mut bytes);
    }
    let view = IndexView::<OffsetEntry>::new(FileView::Mapped(bytes.into())).unwrap().unwrap();
    for key in 0..3100 {
        assert_eq!(view.floor(key).unwrap().unwrap().relative_offset, (key / 3 * 3).min(2997));
    }
    let empty = IndexView::<TimeEntry>::new(FileView::Mapped(Vec::new().into())).unwrap().unwrap();
    assert_eq!((empty.floor(5).unwrap(), empty.last().unwrap()), (None, None));
}

#[test]
fn a_segment_is_rolled_by_kafkas_rules() {
    let config = TopicConfig::new()
        .segment_bytes(1000)
        .segment_ms(std::time::Duration::from_millis(500))
        .segment_index_bytes(240);
    let facts = RollFacts {
        base: 0,
        size: 900,
        first_timestamp: Some(TS),
        created: TS,
        offset_entries: 0,
        time_entries: 0,
    };
    let batch = Incoming { size: 100, max_timestamp: TS, last_offset: 10 };
    let now = TS + 1_000_000;
    let reason = |facts: RollFacts, batch: Incoming| roll_reason(&facts, &batch, &config, || now);

    assert_eq!(reason(facts, batch), None, "exactly full");
    assert_eq!(reason(facts, Incoming { size: 101, ..batch }), Some(RollReason::Size));
    assert_eq!(reason(facts, Incoming { max_timestamp: TS + 500, ..batch }), None);
    assert_eq!(reason(facts, Incoming { max_timestamp: TS + 501, ..batch }), Some(RollReason::Age));
    assert_eq!(
        reason(facts, Incoming { max_timestamp: TS - 9_999_999, ..batch }),
        None,
        "old data never rolls"
    );
    assert_eq!(
        reason(RollFacts { first_timestamp: None, ..facts }, batch),
        Some(RollReason::Age),
        "by the clock"
    );
    assert_eq!(reason(RollFacts { offset_entries: 29, time_entries: 18, ..facts }, batch), None);
    assert_eq!(reason(RollFacts { offset_entries: 30, ..facts }, batch), Some(RollReason::IndexFull));
    assert_eq!(reason(RollFacts { time_entries: 19, ..facts }, batch), Some(RollReason::IndexFull));
    let far = Incoming { last_offset: 1 << 31, ..batch };
    assert_eq!(reason(facts, far), Some(RollReason::OffsetRange));
    assert_eq!(reason(facts, Incoming { last_offset: (1 << 31) - 1, ..batch }), None);

    let empty = RollFacts { size: 0, first_timestamp: None, ..facts };
    assert_eq!(reason(empty, Incoming { size: 5000, ..batch }), None, "an empty segment takes any batch");
    assert_eq!(reason(empty, far), Some(RollReason::OffsetRange));
}

/// `fitting` foresees what `append` will do: deciding batch by batch gives the same segments.
#[test]
fn deciding_ahead_equals_deciding_batch_by_batch() {
    let (bytes, batches) = batches(300);
    for (segment_bytes, index_bytes, interval) in [(5000, 1 << 20, 500), (1 << 20, 48, 300), (1 << 20, 96, 0)]
    {
        let config = TopicConfig::new()
            .segment_bytes(segment_bytes)
            .segment_index_bytes(index_bytes)
            .index_interval_bytes(interval);
        let cuts = |step: usize| {
            let (mut cuts, mut rest) = (Vec::new(), batches.as_slice());
            while let [first, ..] = rest {
                let dir = directory(true);
                let mut segment = ActiveSegment::create(&dir, first.header.base_offset, &config, TS).unwrap();
                loop {
                    let ahead = &rest[..step.min(rest.len())];
                    let fitting = segment.fitting(ahead, &config, || TS);
                    if fitting == 0 {
                        break;
                    }
                    let range = ahead[0].bytes.start..ahead[fitting - 1].bytes.end;
                    segment.append(&bytes[range], &ahead[..fitting], &config).unwrap();
                    rest = &rest[fitting..];
                }
                cuts.push(segment.next_offset());
            }
            cuts
        };
        assert!(cuts(1).len() > 3, "the case should roll");
        assert_eq!(cuts(300), cuts(1));
        assert_eq!(cuts(7), cuts(1));
    }
}
