//! Arbitrary bytes as records of `__consumer_offsets` and as blobs of the consumer protocol: a decoder refuses them, or what it
//! read is written and read again as the same; and what is committed is the same where older records were compacted away. The
//! metadata of a commit, and any text, is what was counted of deliveries or counts nothing.
//!
//! The input is a blob and a text as it is; and it is records, each a key and a value behind their lengths (2 bytes, big-endian; of a
//! value `ffff` is null).
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use ottla::internals::{Assignment, CommittedOffsets, DeliveryCounts, Subscription, decode_group_record};

type Record<'a> = (&'a [u8], Option<&'a [u8]>);

fuzz_target!(|input: &[u8]| {
    check_blob(input);
    std::str::from_utf8(input).into_iter().for_each(|text| check_metadata(text, 0));
    let records = sound(records(input));
    let groups = replay(records.iter().copied());
    check_rewriting(&records, &groups);
    check_compaction(&records, &groups);
    for (_, group) in groups.groups() {
        assert!(group.metadata.is_some() || !group.offsets.is_empty());
        group.offsets.values().for_each(|committed| check_metadata(&committed.metadata, committed.offset));
        for member in group.metadata.iter().flat_map(|metadata| &metadata.members) {
            check_blob(&member.subscription);
            check_blob(&member.assignment);
        }
    }
});

fn check_blob(bytes: &[u8]) {
    if let Ok(read) = Subscription::decode(bytes) {
        let written = read.encode().expect("it was read");
        assert_eq!(Subscription::decode(&written).expect("it was just written"), read);
        _ = read.owned_generation();
    }
    if let Ok(read) = Assignment::decode(bytes) {
        let written = read.encode().expect("it was read");
        assert_eq!(Assignment::decode(&written).expect("it was just written"), read);
    }
}

/// What was read of it is written and read again as the same.
fn check_metadata(metadata: &str, commit: u64) {
    let read = DeliveryCounts::decode(metadata, commit);
    let written = read.encode(commit, usize::MAX);
    assert!(written.len() <= metadata.len());
    assert_eq!(DeliveryCounts::decode(&written, commit), read);
    _ = read.of(commit);
}

fn records(mut input: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while !input.is_empty() {
        let key = take(&mut input).unwrap_or_default();
        records.push((key, take(&mut input)));
    }
    records
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let Some((length, behind)) = rest.split_first_chunk() else {
        *rest = &[];
        return None;
    };
    let length = u16::from_be_bytes(*length);
    let (bytes, behind) = match length {
        u16::MAX => (None, behind),
        length => {
            let (bytes, behind) = behind.split_at(behind.len().min(length.into()));
            (Some(bytes), behind)
        }
    };
    *rest = behind;
    bytes
}

/// Those that can be read; the others change nothing.
fn sound(records: Vec<Record<'_>>) -> Vec<Record<'_>> {
    let mut groups = CommittedOffsets::default();
    let mut sound = Vec::new();
    for (key, value) in records {
        match decode_group_record(Some(key), value) {
            Ok(_) => {
                groups.apply(Some(key), value).expect("it can be read");
                sound.push((key, value));
            }
            Err(_) => assert!(groups.apply(Some(key), value).is_err()),
        }
    }
    assert_eq!(groups, replay(sound.iter().copied()));
    sound
}

fn replay<'a>(records: impl IntoIterator<Item = Record<'a>>) -> CommittedOffsets {
    let mut groups = CommittedOffsets::default();
    for (key, value) in records {
        groups.apply(Some(key), value).expect("it can be read");
    }
    groups
}

/// Each record as it would be written means the same, and stays as it is when it is read and written once more.
fn check_rewriting(records: &[Record<'_>], groups: &CommittedOffsets) {
    let mut written = Vec::new();
    for (key, value) in records {
        let Some((key, value)) = decode_group_record(Some(key), *value).expect("it can be read") else {
            continue;
        };
        let again = decode_group_record(Some(&key), value.as_deref()).expect("it was just written");
        assert_eq!(again.as_ref(), Some(&(key.clone(), value.clone())));
        written.push((key, value));
    }
    assert_eq!(&replay(written.iter().map(|(key, value)| (&key[..], value.as_deref()))), groups);
}

fn check_compaction(records: &[Record<'_>], groups: &CommittedOffsets) {
    let newest: BTreeMap<_, _> = records.iter().enumerate().map(|(number, (key, _))| (key, number)).collect();
    let kept = records.iter().enumerate().filter(|(number, (key, _))| newest[key] == *number);
    assert_eq!(&replay(kept.map(|(_, record)| *record)), groups);
}
