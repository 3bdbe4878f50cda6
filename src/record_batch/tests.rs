//! The published vectors, decoded to their stated meaning and, where no codec is needed, written byte for byte.

use bytes::Bytes;

use super::control::ControlRecord;
use super::varint::{read_varint, read_varlong, varlong_len, write_varlong};
use super::*;
use crate::error::{ErrorKind, Result};
use crate::model::{Compression, TimestampType};

const TS: i64 = 1_700_000_000_000;

const V1: &str = "00000000000000000000005b0000000002fd7c6bbe0000000000020000018bcfe568000000018bcfe56805ffffffffffffffffffffffffffff000000031a000000046b310a68656c6c6f0024000a02010a776f726c640402680276026e0110000604046b310100";
const V2: &str = "000000000000002a0000003a00000007021708b1510010000000000000018bcfe568000000018bcfe568000000000000000fa000037fffffff00000001100000000261023100";
const V3: &str = "000000000000002b0000004200000007020a984ef80030000000000000018bcfe5680a0000018bcfe5680a0000000000000fa00003ffffffff000000012000000008000000010c00000000000900";
const V4: &str = "000000000000002c000000420000000702aeb7ebb40030000000000000018bcfe568140000018bcfe568140000000000000fa00003ffffffff000000012000000008000000000c00000000000900";
const V5: &str = "00000000000000640000003d0000000002d9a49fc00040000000040000018bd50bc4000000018bcfe56803ffffffffffffffffffffffffffff000000011600f9efb25204046b310100";
const V6: &str = "00000000000000c80000003100000001021afa16ad000000000003ffffffffffffffff0000018bcfe568000000000000000fa000030000000a00000000";
const V8: &str = "00000000000000000000003c00000000028e0e422c0002000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff00000001092010000000026b027600";
const V9: &str = "000000000000000000000050000000000208ee48690002000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff0000000182534e415050590000000001000000010000000b092010000000026b027600";
const V10: &str = "0000000000000000000000490000000002924fa7900003000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff0000000104224d186040820900008010000000026b02760000000000";
const V11: &str = "00000000000000000000004300000000029d3795930004000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff0000000128b52ffd200949000010000000026b027600";
const V12: &str = "00000000000000000000003a0000000002b5b731c70008000000000000018bcfe568000000018bcfe56b09ffffffffffffffffffffffffffff0000000110000000026b027600";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn parse(hex: &str) -> RecordBatch {
    read(Bytes::from(bytes(hex))).unwrap()
}

fn read(bytes: Bytes) -> Result<RecordBatch> {
    RecordBatch::parse(bytes, &Codecs::new(1024))
}

/// Builds a batch: `fields` sets the header, `records` are (offset, timestamp, parts).
fn build(
    base_offset: u64,
    base_timestamp: i64,
    records: &[(u64, i64, RecordParts<'_>)],
    fields: impl Fn(&mut BatchHeader),
) -> String {
    let mut buffer = b"what stands before".to_vec();
    let before = buffer.len();
    let mut builder = BatchBuilder::begin(&mut buffer, base_offset, base_timestamp);
    for (offset, timestamp, parts) in records {
        builder.push(&mut buffer, *offset, *timestamp, parts);
    }
    fields(builder.header_mut());
    builder.finish(&buffer).seal(&mut buffer);
    buffer[before..].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_value<'a>(key: &'a [u8], value: &'a [u8]) -> RecordParts<'a> {
    RecordParts { key: Some(key), value: Some(value), headers: &[] }
}

#[test]
fn v1_records_keys_values_headers() {
    let batch = parse(V1);
    assert_eq!((batch.base_offset(), batch.last_offset(), batch.next_offset()), (0, 2, 3));
    assert_eq!((batch.leader_epoch(), batch.max_timestamp()), (Some(0), Some(TS + 5)));
    let records: Vec<_> = batch.iter().collect();
    let seen: Vec<_> =
        records.iter().map(|r| (r.offset(), r.timestamp().unwrap(), r.key(), r.value())).collect();
    let expected = [
        (0, TS, Some(&b"k1"[..]), Some(&b"hello"[..])),
        (1, TS + 5, None, Some(b"world")),
        (2, TS + 3, Some(b"k1"), None),
    ];
    assert_eq!(seen, expected);
    let headers: Vec<_> = records[1].headers().map(|h| (h.key().into_owned(), h.value())).collect();
    assert_eq!(headers, [("h".to_owned(), Some(&b"v"[..])), ("n".to_owned(), None)]);
    assert_eq!(records[1].header("n"), Some(None));
    assert_eq!(records[1].header("absent"), None);

    let headers = [("h", Some(&b"v"[..])), ("n", None)];
    let written = build(
        0,
        TS,
        &[
            (0, TS, key_value(b"k1", b"hello")),
            (1, TS + 5, RecordParts { key: None, value: Some(b"world"), headers: &headers }),
            (2, TS + 3, RecordParts { key: Some(b"k1"), value: None, headers: &[] }),
        ],
        |header| header.leader_epoch = 0,
    );
    assert_eq!(written, V1);
}

#[test]
fn v2_transactional_data() {
    let batch = parse(V2);
    let header = batch.header();
    assert!(header.attributes.is_transactional() && !batch.is_control());
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4000, 3, i32::MAX));
    assert_eq!((batch.base_offset(), batch.leader_epoch()), (42, Some(7)));
    assert_eq!(batch.iter().next().unwrap().key(), Some(&b"a"[..]));

    let written = build(42, TS, &[(42, TS, key_value(b"a", b"1"))], |header| {
        header.leader_epoch = 7;
        header.attributes = Attributes::default().transactional();
        (header.producer_id, header.producer_epoch, header.base_sequence) = (4000, 3, i32::MAX);
    });
    assert_eq!(written, V2);
}

#[test]
fn v3_v4_transaction_markers() {
    let commit = ControlRecord::Commit { coordinator_epoch: 9 };
    let abort = ControlRecord::Abort { coordinator_epoch: 9 };
    for (hex, says, offset, at, kind) in [(V3, commit, 43, TS + 10, 1), (V4, abort, 44, TS + 20, 0)] {
        let batch = parse(hex);
        assert!(batch.is_control());
        assert_eq!(batch.control_record().unwrap(), says);
        assert_eq!((batch.base_offset(), batch.max_timestamp()), (offset, Some(at)));

        let written =
            build(offset, at, &[(offset, at, key_value(&[0, 0, 0, kind], &[0, 0, 0, 0, 0, 9]))], |header| {
                header.leader_epoch = 7;
                header.attributes = Attributes::default().transactional().control();
                (header.producer_id, header.producer_epoch) = (4000, 3);
            });
        assert_eq!(written, hex);
    }
    assert!(parse(V2).control_record().is_none());
}

#[test]
fn v5_gaps_and_a_delete_horizon() {
    let batch = parse(V5);
    assert!(batch.header().attributes.has_delete_horizon());
    assert_eq!((batch.base_offset(), batch.next_offset()), (100, 105));
    let records: Vec<_> = batch.iter().collect();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].offset(), records[0].timestamp()), (102, Some(TS + 3)));
    assert_eq!((records[0].key(), records[0].value()), (Some(&b"k1"[..]), None));

    let tombstone = RecordParts { key: Some(b"k1"), value: None, headers: &[] };
    let written = build(100, TS + 86_400_000, &[(102, TS + 3, tombstone)], |header| {
        header.leader_epoch = 0;
        header.attributes = Attributes::default().with_delete_horizon();
        header.last_offset_delta = 4;
    });
    assert_eq!(written, V5);
}

#[test]
fn v6_emptied_batch() {
    let batch = parse(V6);
    assert_eq!((batch.base_offset(), batch.next_offset(), batch.iter().count()), (200, 204, 0));
    assert_eq!(batch.max_timestamp(), Some(TS));

    let written = build(200, -1, &[], |header| {
        header.leader_epoch = 1;
        (header.last_offset_delta, header.max_timestamp) = (3, TS);
        (header.producer_id, header.producer_epoch, header.base_sequence) = (4000, 3, 10);
    });
    assert_eq!(written, V6);
}

#[test]
fn v8_to_v11_are_decompressed_or_name_the_feature_that_is_missing() {
    for (hex, compression) in [
        (V8, Compression::Snappy),
        (V9, Compression::Snappy),
        (V10, Compression::Lz4),
        (V11, Compression::Zstd),
    ] {
        let size = bytes(hex).len();
        let whole = RecordBatch::check_whole(bytes(hex).into()).unwrap();
        assert_eq!((whole.size, whole.next_offset(), whole.compression()), (size, 1, compression));
        let batch = read(bytes(hex).into());
        if !compression.is_available() {
            let error = batch.unwrap_err();
            assert_eq!((error.kind(), error.offset()), (ErrorKind::UnsupportedCompressionType, Some(0)));
            assert!(error.to_string().contains(&format!("feature `{compression}`")), "{error}");
            continue;
        }
        let batch = batch.unwrap();
        assert_eq!((batch.size(), batch.compression()), (size, compression));
        let record = batch.iter().next().unwrap();
        assert_eq!((record.key(), record.value()), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!((record.timestamp(), batch.iter().count()), (Some(TS), 1));
    }
}

/// Kafka writes a batch that compaction has emptied without a codec, and reads one with.
#[test]
fn a_batch_without_records_needs_no_codec() {
    let empty = sealed(&[], 0, |header| header.attributes = Attributes(4));
    assert_eq!(read(empty).unwrap().iter().count(), 0);
    let lacking = sealed(&[], 1, |header| header.attributes = Attributes(4));
    assert!(read(lacking).unwrap_err().is_corruption());
}

#[test]
fn v12_log_append_time() {
    let batch = parse(V12);
    assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(batch.iter().next().unwrap().timestamp(), Some(TS + 777));

    let written = build(0, TS, &[(0, TS, key_value(b"k", b"v"))], |header| {
        header.leader_epoch = 0;
        header.attributes = Attributes::new(TimestampType::LogAppendTime);
        header.max_timestamp = TS + 777;
    });
    assert_eq!(written, V12);
}

#[test]
fn varints_have_kafkas_bytes() {
    let examples: [(i64, &str); 14] = [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (-2, "03"),
        (63, "7e"),
        (64, "8001"),
        (-64, "7f"),
        (-65, "8101"),
        (300, "d804"),
        (i32::MAX.into(), "feffffff0f"),
        (i32::MIN.into(), "ffffffff0f"),
        (-86_399_997, "f9efb252"),
        (i64::MAX, "feffffffffffffffff01"),
        (i64::MIN, "ffffffffffffffffff01"),
    ];
    for (value, hex) in examples {
        let mut written = Vec::new();
        write_varlong(&mut written, value);
        assert_eq!(written, bytes(hex), "{value}");
        assert_eq!(varlong_len(value), written.len(), "{value}");
        assert_eq!(read_varlong(&mut written.as_slice()), Some(value));
        if let Ok(value) = i32::try_from(value) {
            assert_eq!(read_varint(&mut written.as_slice()), Some(value));
        }
    }
}

#[test]
fn a_varint_that_does_not_end_is_refused() {
    assert_eq!(read_varint(&mut &[0x80; 5][..]), None);
    assert_eq!(read_varlong(&mut &[0x80; 10][..]), None);
    assert_eq!(read_varint(&mut &[0x80][..]), None);
    assert_eq!(read_varint(&mut &[0x80, 0x80, 0x00][..]), Some(0), "longer than needed, as Kafka accepts it");
}

#[test]
fn starting_inside_a_batch_leaves_out_what_lies_before() {
    let batch = parse(V1).starting_at(1);
    assert_eq!(batch.iter().map(|record| record.offset()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(batch.clone().starting_at(3).iter().count(), 0);
}

#[test]
fn a_batch_is_divided_between_two_records() {
    let offsets = |batch: &RecordBatch| batch.iter().map(|record| record.offset()).collect::<Vec<_>>();
    for from in 0..=3 {
        let whole = parse(V1).starting_at(from);
        for count in 0..5 {
            let mut first = whole.clone();
            let rest = first.split_off(count);
            assert_eq!(rest.is_some(), count < whole.iter().len());
            assert_eq!(first.iter().len(), first.iter().count());
            let both = [offsets(&first), rest.as_ref().map(offsets).unwrap_or_default()];
            assert_eq!(both[0].len(), count.min(whole.iter().len()));
            assert_eq!(both.concat(), offsets(&whole));
        }
    }
}

/// What the checksum protects is caught by it; the fields before it by their own checks, or they are the
/// offset and the epoch that a log compares with what it expects.
#[test]
fn every_flipped_bit_behind_the_checksum_is_caught() {
    let good = bytes(V1);
    for bit in 17 * 8..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = read(Bytes::from(bad)).unwrap_err();
        assert!(error.is_corruption(), "bit {bit}: {error}");
    }
}

#[test]
fn every_truncation_is_caught() {
    let good = bytes(V1);
    for length in 0..good.len() {
        let error = read(Bytes::copy_from_slice(&good[..length])).unwrap_err();
        assert!(error.is_corruption(), "{length} bytes: {error}");
    }
}

#[test]
fn old_message_formats_are_named() {
    let mut old = bytes(V1);
    for magic in [0, 1] {
        old[16] = magic;
        let error = read(Bytes::from(old.clone())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedForMessageFormat);
    }
    let zeros = read(Bytes::from(vec![0; 100])).unwrap_err();
    assert!(zeros.is_corruption(), "zeros are no old message format: {zeros}");
}

/// A batch of hand-made record bytes, whose checksum is right.
fn sealed(records: &[u8], count: u32, fields: impl Fn(&mut BatchHeader)) -> Bytes {
    let mut buffer = Vec::new();
    let mut builder = BatchBuilder::begin(&mut buffer, 0, TS);
    buffer.extend_from_slice(records);
    builder.header_mut().records_count = count;
    builder.header_mut().last_offset_delta = count.saturating_sub(1);
    fields(builder.header_mut());
    builder.finish(&buffer).seal(&mut buffer);
    Bytes::from(buffer)
}

#[test]
fn a_malformed_batch_is_refused_though_its_checksum_is_right() {
    // length, attributes, timestamp delta, offset delta, key, value, headers; varints are zig-zag.
    let good: &[u8] = &[14, 0, 0, 0, 1, 2, b'v', 0];
    assert!(read(sealed(good, 1, |_| ())).is_ok());

    let same = |_: &mut BatchHeader| ();
    let records: [(&str, &[u8], u32); 14] = [
        ("a record's length is negative", &[1, 0, 0, 0, 1, 1, 0], 1),
        ("a record runs past its batch", &[16, 0, 0, 0, 1, 2, b'v', 0], 1),
        ("a record's length does not end", &[0x80], 1),
        ("a record is empty", &[0], 1),
        ("a record's timestamp does not end", &[4, 0, 0x80], 1),
        ("a record's offset delta is negative", &[12, 0, 0, 1, 1, 1, 0], 1),
        ("a record's key runs past the record", &[12, 0, 0, 0, 40, 1, 0], 1),
        ("a record's key runs past the record", &[12, 0, 0, 0, 3, 1, 0], 1),
        ("a record's value runs past the record", &[12, 0, 0, 0, 1, 40, 0], 1),
        ("a record's headers count is negative", &[12, 0, 0, 0, 1, 1, 1], 1),
        ("a record's header runs past the record", &[14, 0, 0, 0, 1, 1, 0xfe, 0x7f], 1),
        ("bytes are left behind a record's headers", &[14, 0, 0, 0, 1, 1, 0, 7], 1),
        ("bytes are left behind the last record of a batch", &[12, 0, 0, 0, 1, 1, 0, 7], 1),
        ("the offsets of the records do not rise", &[12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0], 2),
    ];
    for (reason, bytes, count) in records {
        let error = read(sealed(bytes, count, same)).unwrap_err();
        assert!(error.is_corruption() && error.to_string().starts_with(reason), "{bytes:?}: {error}");
    }

    type Fields = fn(&mut BatchHeader);
    let headers: [(&str, Fields); 6] = [
        ("a record's length does not end", |header| header.records_count = 2),
        ("a record's offset lies behind its batch", |header| header.base_offset = 5),
        ("the last offset delta is negative", |header| header.last_offset_delta = 1 << 31),
        ("the records count is negative", |header| header.records_count = 1 << 31),
        ("the codec is not one that Kafka defines", |header| header.attributes = Attributes(5)),
        ("the last offset is beyond the range", |header| header.base_offset = i64::MAX.cast_unsigned()),
    ];
    for (reason, fields) in headers {
        let record = if reason.contains("behind its batch") { &[12, 0, 0, 2, 1, 1, 0][..] } else { good };
        let error = read(sealed(record, 1, fields)).unwrap_err();
        assert!(error.is_corruption() && error.to_string().starts_with(reason), "{reason}: {error}");
    }
    let far = sealed(good, 1, |header| header.base_timestamp = i64::MIN);
    assert!(read(far).is_ok());
    let overflow = sealed(&[14, 0, 1, 0, 1, 2, b'v', 0], 1, |header| header.base_timestamp = i64::MIN);
    assert!(read(overflow).unwrap_err().is_corruption(), "a timestamp below the range");
}

#[test]
fn a_malformed_marker_is_refused() {
    let marker = |key: &[u8], value: &[u8]| {
        let mut buffer = Vec::new();
        let mut builder = BatchBuilder::begin(&mut buffer, 0, TS);
        builder.header_mut().attributes = Attributes::default().control();
        builder.push(&mut buffer, 0, TS, &key_value(key, value));
        builder.finish(&buffer).seal(&mut buffer);
        read(Bytes::from(buffer))
    };
    assert!(marker(&[0, 0, 0, 1], &[0, 0, 0, 0, 0, 9]).is_ok());
    assert!(
        marker(&[0, 7, 0, 1], &[0, 7, 0, 0, 0, 9, 1, 2]).is_ok(),
        "higher versions are read as version 0"
    );
    assert!(marker(&[0, 0, 0, 5], &[]).is_ok(), "types of Kafka's metadata log are none of ours");
    for (key, value) in
        [(&[0, 0, 0][..], &[0, 0, 0, 0, 0, 9][..]), (&[0, 0, 0, 1], &[0; 5]), (&[0xff, 0, 0, 1], &[0; 6])]
    {
        assert!(marker(key, value).unwrap_err().is_corruption(), "{key:?} {value:?}");
    }
}
