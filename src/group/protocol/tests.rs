//! The blobs in every version, and whatever else bytes may be.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::error::ErrorKind;
use crate::group::TopicPartition;

/// Topics a and b, user data 00000007, owned a-0 a-2 b-1, generation 7, no rack.
const TOPICS: &str = "00000002000161000162";
const USER_DATA: &str = "0000000400000007";
const OWNED: &str = "000000020001610000000200000000000000020001620000000100000001";
const GENERATION: &str = "00000007";
const NO_RACK: &str = "ffff";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn partitions<const N: usize>(partitions: [(&str, u32); N]) -> BTreeSet<TopicPartition> {
    partitions.into_iter().map(|(topic, number)| TopicPartition::new(topic, number)).collect()
}

fn owned() -> BTreeSet<TopicPartition> {
    partitions([("a", 0), ("a", 2), ("b", 1)])
}

fn subscription() -> Subscription {
    Subscription {
        topics: ["a".into(), "b".into()].into(),
        user_data: Some([0, 0, 0, 7].into()),
        owned: owned(),
        generation: Some(7),
    }
}

/// In each version what it has; newer ones than 3 have something more.
fn versions() -> Vec<(String, Subscription)> {
    let v0 = format!("{TOPICS}{USER_DATA}");
    let v1 = format!("{v0}{OWNED}");
    let v2 = format!("{v1}{GENERATION}");
    let v3 = format!("{v2}{NO_RACK}");
    let read_v1 = Subscription { generation: None, ..subscription() };
    let read_v0 = Subscription { owned: BTreeSet::new(), ..read_v1.clone() };
    vec![
        (format!("0000{v0}"), read_v0),
        (format!("0001{v1}"), read_v1),
        (format!("0002{v2}"), subscription()),
        (format!("0003{v3}"), subscription()),
        (format!("0004{v3}"), subscription()),
        (format!("0004{v3}cafe"), subscription()),
        (format!("7fff{v3}cafe"), subscription()),
    ]
}

#[test]
fn subscriptions_of_every_version_are_read() {
    for (hex, expected) in versions() {
        assert_eq!(Subscription::decode(&bytes(&hex)).unwrap(), expected, "{hex}");
    }
    let rack = format!("0003{TOPICS}{USER_DATA}{OWNED}{GENERATION}000172");
    assert_eq!(Subscription::decode(&bytes(&rack)).unwrap(), subscription());
}

#[test]
fn a_subscription_is_written_as_kafkas_consumer_does() {
    let v3 = format!("0003{TOPICS}{USER_DATA}{OWNED}{GENERATION}{NO_RACK}");
    assert_eq!(subscription().encode().unwrap(), bytes(&v3));
    let fresh = Subscription { topics: ["a".into()].into(), ..Subscription::default() };
    assert_eq!(fresh.encode().unwrap(), bytes("000300000001000161ffffffff00000000ffffffffffff"));
}

#[test]
fn what_stands_there_twice_or_unsorted_is_there_once() {
    let topics = "00000003000162000161000162";
    let owned = "000000030001620000000100000001000161000000030000000200000000000000020001620000000100000001";
    let hex = format!("0003{topics}{USER_DATA}{owned}{GENERATION}{NO_RACK}");
    assert_eq!(Subscription::decode(&bytes(&hex)).unwrap(), subscription());
}

#[test]
fn assignments_of_every_version_are_read() {
    let expected = Assignment { partitions: owned(), user_data: None };
    for version in [0, 1, 2, 3, 4, i16::MAX] {
        let hex = format!("{version:04x}{OWNED}ffffffff");
        assert_eq!(Assignment::decode(&bytes(&hex)).unwrap(), expected, "version {version}");
        assert_eq!(Assignment::decode(&bytes(&format!("{hex}cafe"))).unwrap(), expected);
    }
    assert_eq!(expected.encode().unwrap(), bytes(&format!("0003{OWNED}ffffffff")));
    let with_data = Assignment { user_data: Some([].into()), ..expected };
    assert_eq!(with_data.encode().unwrap(), bytes(&format!("0003{OWNED}00000000")));
}

#[test]
fn no_bytes_assign_nothing() {
    assert_eq!(Assignment::decode(b"").unwrap(), Assignment::default());
    assert_eq!(Assignment::default().encode().unwrap(), bytes("000300000000ffffffff"));
}

#[test]
fn the_generation_stands_in_the_user_data() {
    for (generation, hex) in [(Some(7), "00000007"), (None, "ffffffff"), (Some(0), "00000000")] {
        assert_eq!(write_generation(generation).unwrap(), bytes(hex));
        assert_eq!(read_generation(&bytes(hex)).unwrap(), generation);
    }
    assert!(read_generation(&[0, 0, 0]).unwrap_err().is_corruption());
    assert_eq!(write_generation(Some(1 << 31)).unwrap_err().kind(), ErrorKind::InvalidRecord);
}

#[test]
fn what_the_member_says_of_its_generation_counts_before_what_its_assignor_says() {
    let member = subscription();
    for (generation, user_data, expected) in [
        (Some(2), Some(&[0, 0, 0, 1][..]), Some(2)),
        (Some(2), Some(&[0xff; 4]), Some(2)),
        (Some(2), None, Some(2)),
        (None, Some(&[0, 0, 0, 1]), Some(1)),
        (None, Some(&[0xff; 4]), None),
        (None, Some(&[0, 0]), None),
        (None, None, None),
    ] {
        let user_data = user_data.map(Into::into);
        let member = Subscription { generation, user_data, ..member.clone() };
        assert_eq!(member.owned_generation(), expected, "{member:?}");
    }
}

#[test]
fn negative_versions_are_named() {
    let errors = [
        Subscription::decode(&bytes(&format!("fffe{TOPICS}{USER_DATA}"))).unwrap_err(),
        Assignment::decode(&bytes("fffe00000000ffffffff")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
        assert!(error.to_string().contains("has version -2"), "{error}");
    }
}

#[test]
fn every_torn_blob_is_an_error() {
    for (hex, _) in versions().into_iter().take(5) {
        let sound = bytes(&hex);
        for len in 0..sound.len() {
            assert!(Subscription::decode(&sound[..len]).unwrap_err().is_corruption(), "{len} bytes of {hex}");
        }
    }
    let sound = bytes(&format!("0003{OWNED}{USER_DATA}"));
    for len in 1..sound.len() {
        assert!(Assignment::decode(&sound[..len]).unwrap_err().is_corruption(), "{len} bytes");
    }
}

#[test]
fn every_blob_reads_back() {
    let mut dice = fastrand::Rng::with_seed(3);
    for _ in 0..2000 {
        let subscription = Subscription {
            topics: (0..dice.usize(..4)).map(|_| text(&mut dice)).collect(),
            user_data: user_data(&mut dice),
            owned: any_partitions(&mut dice),
            generation: dice.bool().then(|| dice.u32(..1 << 31)),
        };
        assert_eq!(Subscription::decode(&subscription.encode().unwrap()).unwrap(), subscription);
        let assignment =
            Assignment { partitions: any_partitions(&mut dice), user_data: user_data(&mut dice) };
        assert_eq!(Assignment::decode(&assignment.encode().unwrap()).unwrap(), assignment);
    }
}

fn any_partitions(dice: &mut fastrand::Rng) -> BTreeSet<TopicPartition> {
    let topics = [text(dice), text(dice)];
    (0..dice.usize(..6))
        .map(|_| TopicPartition::new(topics[dice.usize(..2)].clone(), dice.u32(..1 << 31)))
        .collect()
}

fn text(dice: &mut fastrand::Rng) -> Arc<str> {
    (0..dice.usize(..6)).map(|_| dice.char(..)).collect::<String>().into()
}

fn user_data(dice: &mut fastrand::Rng) -> Option<Box<[u8]>> {
    dice.bool().then(|| (0..dice.usize(..6)).map(|_| dice.u8(..)).collect())
}

#[test]
fn whatever_the_bytes_are_reading_them_ends() {
    let mut dice = fastrand::Rng::with_seed(4);
    for round in 0..20_000 {
        let mut blob = bytes(&versions()[dice.usize(..7)].0);
        for _ in 0..dice.usize(1..4) {
            let at = dice.usize(..blob.len());
            blob[at] = *[0, 1, 0x7f, 0x80, 0xff, dice.u8(..)].get(dice.usize(..6)).unwrap();
        }
        if round % 3 == 0 {
            blob = (0..dice.usize(..60)).map(|_| dice.u8(..)).collect();
        }
        if let Ok(read) = Subscription::decode(&blob) {
            assert_eq!(Subscription::decode(&read.encode().unwrap()).unwrap(), read);
        }
        if let Ok(read) = Assignment::decode(&blob) {
            assert_eq!(Assignment::decode(&read.encode().unwrap()).unwrap(), read);
        }
    }
}
