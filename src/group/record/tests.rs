//! The worked bytes, every version, and whatever else bytes may be.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::group::TopicPartition;

const TS: i64 = 1_700_000_000_000;

const KEY: &str = "0001000267310002743100000003";
const VALUE_V3: &str = "0003000000000000004d0000000500016d0000018bcfe56800";
const VALUE_V4: &str = "0004000000000000004d00000005026d0000018bcfe5680000";
const GROUP_KEY: &str = "000200026731";
/// Version 3: consumer, generation 2, range, leader m-1; one member, which is static, with subscription 07 and assignment 0809.
const GROUP_V3: &str = "00030008636f6e73756d6572000000020005\
    72616e676500036d2d310000018bcfe568000000000100036d2d3100016900016300022f68000493e00000afc8000000010700000002\
    0809";
/// The same in version 4, with a tagged field that nobody knows in the member and in the group.
const GROUP_V4: &str = "000409636f6e73756d65720000000206\
    72616e6765046d2d310000018bcfe5680002046d2d3102690263032f68000493e00000afc80207030809\
    010502ffff01070100";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn commit() -> OffsetCommitValue {
    OffsetCommitValue { offset: Some(77), leader_epoch: Some(5), metadata: "m".into(), commit_timestamp: TS }
}

fn group() -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 2,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        current_state_timestamp: Some(TS),
        members: vec![MemberMetadata {
            member_id: "m-1".into(),
            group_instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout: Duration::from_secs(300),
            session_timeout: Duration::from_secs(45),
            subscription: [7].into(),
            assignment: [8, 9].into(),
        }],
    }
}

#[test]
fn the_worked_bytes_are_read() {
    let partition = TopicPartition::new("t1", 3);
    assert_eq!(
        RecordKey::decode(&bytes(KEY)).unwrap(),
        RecordKey::OffsetCommit { group: "g1".into(), partition: partition.clone() }
    );
    assert_eq!(
        RecordKey::decode(&bytes(GROUP_KEY)).unwrap(),
        RecordKey::GroupMetadata { group: "g1".into() }
    );
    for value in [VALUE_V3, VALUE_V4] {
        assert_eq!(OffsetCommitValue::decode(&bytes(value)).unwrap(), commit());
    }
    for value in [GROUP_V3, GROUP_V4] {
        assert_eq!(GroupMetadataValue::decode(&bytes(value)).unwrap(), group());
    }
}

#[test]
fn the_worked_bytes_are_written() {
    let partition = TopicPartition::new("t1", 3);
    let record = GroupRecord::OffsetCommit { group: "g1".into(), partition, value: Some(commit()) };
    assert_eq!(record.encode().unwrap(), (bytes(KEY), Some(bytes(VALUE_V3))));
    let record = GroupRecord::GroupMetadata { group: "g1".into(), value: Some(group()) };
    assert_eq!(record.encode().unwrap(), (bytes(GROUP_KEY), Some(bytes(GROUP_V3))));
}

#[test]
fn tombstones_have_no_value() {
    for key in [KEY, GROUP_KEY] {
        let record = GroupRecord::decode(Some(&bytes(key)), None).unwrap().unwrap();
        assert!(matches!(
            &record,
            GroupRecord::OffsetCommit { value: None, .. } | GroupRecord::GroupMetadata { value: None, .. }
        ));
        assert_eq!(record.encode().unwrap(), (bytes(key), None));
    }
}

#[test]
fn keys_of_type_0_are_those_of_type_1() {
    let mut old = bytes(KEY);
    old[1] = 0;
    assert_eq!(RecordKey::decode(&old).unwrap(), RecordKey::decode(&bytes(KEY)).unwrap());
}

#[test]
fn other_types_are_recognised_and_passed_over() {
    for kind in [3, 8, 10, 16, 17, i16::MAX] {
        let key = [&kind.to_be_bytes()[..], b"whatever"].concat();
        assert_eq!(RecordKey::decode(&key).unwrap(), RecordKey::Other(kind));
        assert_eq!(GroupRecord::decode(Some(&key), Some(b"whatever")).unwrap(), None);
    }
}

#[test]
fn older_offset_commits_are_read() {
    let older = |version: u8, more: &str| {
        let hex = format!("{version:04x}000000000000004d00016d0000018bcfe56800{more}");
        OffsetCommitValue::decode(&bytes(&hex))
    };
    let expected = OffsetCommitValue { leader_epoch: None, ..commit() };
    for (version, more) in [(0, ""), (1, "0000018bcfe56900"), (2, "")] {
        assert_eq!(older(version, more).unwrap(), expected, "version {version}");
        assert!(older(version, &format!("{more}00")).unwrap_err().is_corruption());
    }
}

#[test]
fn older_group_metadata_is_read() {
    let group_fields = "0008636f6e73756d657200000002000572616e676500036d2d31";
    let (names, timeout, blobs) = ("000163 00022f68", "0000afc8", "0000000107 000000020809");
    for version in 0..=2 {
        let timestamp = if version >= 2 { "0000018bcfe56800" } else { "" };
        let rebalance = if version >= 1 { "000493e0" } else { "" };
        let hex = format!(
            "{version:04x}{group_fields}{timestamp}0000000100036d2d31{names}{rebalance}{timeout}{blobs}"
        );
        let mut expected = group();
        expected.members[0].group_instance_id = None;
        if version < 2 {
            expected.current_state_timestamp = None;
        }
        if version < 1 {
            expected.members[0].rebalance_timeout = expected.members[0].session_timeout;
        }
        let read = GroupMetadataValue::decode(&bytes(&hex.replace(' ', "")));
        assert_eq!(read.unwrap(), expected, "version {version}");
    }
}

#[test]
fn the_topic_id_and_unknown_tags_are_passed_over() {
    let without_tags = VALUE_V4.strip_suffix("00").unwrap();
    let topic_id = format!("{without_tags}010010000102030405060708090a0b0c0d0e0f");
    let unknown = format!("{without_tags}020001aaff7f80010{}", "0".repeat(255));
    for hex in [topic_id, unknown] {
        assert_eq!(OffsetCommitValue::decode(&bytes(&hex)).unwrap(), commit(), "{hex}");
    }
}

#[test]
fn a_negative_offset_is_no_commit() {
    for offset in [-1i64, i64::MIN] {
        let mut negative = bytes(VALUE_V3);
        negative[2..10].copy_from_slice(&offset.to_be_bytes());
        let read = OffsetCommitValue::decode(&negative).unwrap();
        assert_eq!(read, OffsetCommitValue { offset: None, ..commit() });
        assert_eq!(OffsetCommitValue::decode(&read.encode().unwrap()).unwrap(), read);
    }
}

#[test]
fn another_version_is_named() {
    for version in [5i16, i16::MAX, -1] {
        let newer = |hex: &str| {
            let mut value = bytes(hex);
            value[..2].copy_from_slice(&version.to_be_bytes());
            value
        };
        let errors = [
            OffsetCommitValue::decode(&newer(VALUE_V4)).unwrap_err(),
            GroupMetadataValue::decode(&newer(GROUP_V4)).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
            let said = format!("has version {version}, and only 0 to 4 can be read");
            assert!(error.to_string().ends_with(&said), "{error}");
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let of = |key: &str, value: &str| {
        let error = GroupRecord::decode(Some(&bytes(key)), Some(&bytes(value))).unwrap_err();
        assert!(error.is_corruption(), "{error}");
        error.to_string()
    };
    let end = VALUE_V3.len();
    for (key, value, said) in [
        (&KEY[..KEY.len() - 2], VALUE_V3, "of __consumer_offsets cannot be read: its partition does not end"),
        (&format!("{KEY}00"), VALUE_V3, "cannot be read: 1 bytes are left behind it"),
        ("0001000267310002743180000000", VALUE_V3, "its partition is -2147483648, which is not possible"),
        ("fffe000267310002743100000003", VALUE_V3, "its type is -2, which is not possible"),
        ("0001ffff0002743100000003", VALUE_V3, "its group is null"),
        ("0001fffe0002743100000003", VALUE_V3, "its group has a negative length"),
        ("00010002ff310002743100000003", VALUE_V3, "its group is no UTF-8"),
        (KEY, &VALUE_V3[..end - 2], "group g1, t1-3: a committed offset (OffsetCommitValue) cannot be read"),
        (KEY, &VALUE_V3.replace("00000005", "fffffffe"), "its leader epoch is -2, which is not possible"),
        (GROUP_KEY, &GROUP_V3[..60], "group g1: the metadata of a group (GroupMetadataValue) cannot be read"),
        (GROUP_KEY, &GROUP_V3.replace("0000000100036d", "ffffffff00036d"), "its members have no count"),
        (GROUP_KEY, &GROUP_V3.replace("0000000100036d", "7fffffff00036d"), "its member id does not end"),
    ] {
        let told = of(key, value);
        assert!(told.contains(said), "{told}\n{said}");
    }
    let error = GroupRecord::decode(None, Some(b"")).unwrap_err();
    assert!(error.to_string().contains("has no key"), "{error}");
}

#[test]
fn what_a_field_cannot_hold_is_not_written() {
    let long: Arc<str> = "x".repeat(usize::from(i16::MAX.unsigned_abs()) + 1).into();
    let partition = TopicPartition::new("t", 0);
    let record = |group: &Arc<str>, partition: &TopicPartition, value: OffsetCommitValue| {
        GroupRecord::OffsetCommit { group: group.clone(), partition: partition.clone(), value: Some(value) }
            .encode()
    };
    let short: Arc<str> = long[1..].into();
    assert!(record(&short, &partition, commit()).is_ok());
    for refused in [
        record(&long, &partition, commit()),
        record(&short, &TopicPartition::new(long.clone(), 0), commit()),
        record(&short, &TopicPartition::new("t", 1 << 31), commit()),
        record(&short, &partition, OffsetCommitValue { metadata: long.clone(), ..commit() }),
        record(&short, &partition, OffsetCommitValue { offset: Some(1 << 63), ..commit() }),
        record(&short, &partition, OffsetCommitValue { leader_epoch: Some(1 << 31), ..commit() }),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidRecord);
    }
}

/// A flexible version could say more than the version that is written.
#[test]
fn a_string_has_the_same_limit_in_every_version() {
    let of = |compact_length: [u8; 3], len: usize| {
        let (before, behind) = (bytes(&VALUE_V4[..28]), bytes(&VALUE_V4[32..]));
        OffsetCommitValue::decode(&[&before[..], &compact_length, &vec![b'x'; len], &behind].concat())
    };
    let longest = of([0x80, 0x80, 2], 32767).unwrap();
    assert_eq!(longest.metadata.len(), 32767);
    assert_eq!(OffsetCommitValue::decode(&longest.encode().unwrap()).unwrap(), longest);
    let error = of([0x81, 0x80, 2], 32768).unwrap_err();
    assert!(error.to_string().contains("its metadata has a length of 32768"), "{error}");
}

#[test]
fn every_record_reads_back() {
    let mut dice = fastrand::Rng::with_seed(1);
    for _ in 0..2000 {
        let record = any_record(&mut dice);
        let (key, value) = record.encode().unwrap();
        assert_eq!(GroupRecord::decode(Some(&key), value.as_deref()).unwrap(), Some(record));
    }
}

fn any_record(dice: &mut fastrand::Rng) -> GroupRecord {
    let group = text(dice);
    if dice.bool() {
        let partition = TopicPartition::new(text(dice), dice.u32(..1 << 31));
        let value = dice.bool().then(|| OffsetCommitValue {
            offset: dice.bool().then(|| dice.u64(..1 << 63)),
            leader_epoch: dice.bool().then(|| dice.u32(..1 << 31)),
            metadata: text(dice),
            commit_timestamp: dice.i64(..),
        });
        return GroupRecord::OffsetCommit { group, partition, value };
    }
    let value = dice.bool().then(|| GroupMetadataValue {
        protocol_type: text(dice),
        generation: dice.u32(..1 << 31),
        protocol: dice.bool().then(|| text(dice)),
        leader: dice.bool().then(|| text(dice)),
        current_state_timestamp: dice.bool().then(|| dice.i64(0..)),
        members: (0..dice.usize(..4)).map(|_| any_member(dice)).collect(),
    });
    GroupRecord::GroupMetadata { group, value }
}

fn any_member(dice: &mut fastrand::Rng) -> MemberMetadata {
    MemberMetadata {
        member_id: text(dice),
        group_instance_id: dice.bool().then(|| text(dice)),
        client_id: text(dice),
        client_host: text(dice),
        rebalance_timeout: Duration::from_millis(dice.u32(..1 << 31).into()),
        session_timeout: Duration::from_millis(dice.u32(..1 << 31).into()),
        subscription: blob(dice),
        assignment: blob(dice),
    }
}

fn text(dice: &mut fastrand::Rng) -> Arc<str> {
    (0..dice.usize(..6)).map(|_| dice.char(..)).collect::<String>().into()
}

fn blob(dice: &mut fastrand::Rng) -> Box<[u8]> {
    (0..dice.usize(..6)).map(|_| dice.u8(..)).collect()
}

type Decode = fn(&[u8]) -> Result<()>;

#[test]
fn what_was_torn_or_grew_is_an_error() {
    let decoders: [(&str, Decode); 6] = [
        (KEY, |bytes| RecordKey::decode(bytes).map(|_| ())),
        (GROUP_KEY, |bytes| RecordKey::decode(bytes).map(|_| ())),
        (VALUE_V3, |bytes| OffsetCommitValue::decode(bytes).map(|_| ())),
        (VALUE_V4, |bytes| OffsetCommitValue::decode(bytes).map(|_| ())),
        (GROUP_V3, |bytes| GroupMetadataValue::decode(bytes).map(|_| ())),
        (GROUP_V4, |bytes| GroupMetadataValue::decode(bytes).map(|_| ())),
    ];
    for (hex, decode) in decoders {
        let sound = bytes(hex);
        for len in 0..sound.len() {
            assert!(decode(&sound[..len]).unwrap_err().is_corruption(), "{len} bytes of {hex}");
        }
        assert!(decode(&[&sound[..], &[0]].concat()).unwrap_err().is_corruption(), "{hex}");
    }
}

#[test]
fn whatever_the_bytes_are_reading_them_ends() {
    let mut dice = fastrand::Rng::with_seed(2);
    for round in 0..20_000 {
        let mut key = bytes(if dice.bool() { KEY } else { GROUP_KEY });
        let mut value = bytes(dice.choice([VALUE_V3, VALUE_V4, GROUP_V3, GROUP_V4]).unwrap());
        for _ in 0..dice.usize(1..4) {
            let damaged = if dice.u8(..4) == 0 { &mut key } else { &mut value };
            let at = dice.usize(..damaged.len());
            damaged[at] = *[0, 1, 0x7f, 0x80, 0xff, dice.u8(..)].get(dice.usize(..6)).unwrap();
        }
        if round % 3 == 0 {
            value = (0..dice.usize(..60)).map(|_| dice.u8(..)).collect();
            value.splice(..0, [0, dice.u8(..5)]);
        }
        if let Ok(Some(record)) = GroupRecord::decode(Some(&key), Some(&value)) {
            let (key, value) = record.encode().unwrap();
            assert_eq!(GroupRecord::decode(Some(&key), value.as_deref()).unwrap(), Some(record));
        }
    }
}
