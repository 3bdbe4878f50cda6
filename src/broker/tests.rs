//! The text of the manifest and of `partition.metadata`.

use std::collections::BTreeMap;

use super::manifest::{AdoptedEnd, Manifest, TopicEntry, TopicState};
use super::partition_metadata;
use crate::config::{Durability, TopicConfig};
use crate::error::ErrorKind;
use crate::model::{DirectoryId, TopicId, TopicName};

const ID: &str = "rE6H2AcSSMCQ7GdNHWIEMQ";

fn manifest() -> Manifest {
    let mut manifest = Manifest { directory: DirectoryId::parse(ID).unwrap(), topics: BTreeMap::new() };
    for (name, state) in [
        ("orders", TopicState::Live),
        ("a.new-one", TopicState::Creating),
        ("more", TopicState::Growing { to: 6 }),
        ("old_one", TopicState::Deleting),
    ] {
        let config = TopicConfig::new().partitions(3).segment_bytes(4096).durability(Durability::Synced);
        let mut entry = TopicEntry::new(TopicId::parse(ID).unwrap(), state, config);
        if state == TopicState::Live {
            entry.adopted.insert(0, AdoptedEnd { offset: 1500, epoch: Some(4) });
            entry.adopted.insert(2, AdoptedEnd::default());
        }
        manifest.topics.insert(TopicName::new(name).unwrap(), entry);
    }
    manifest
}

/// The text with its last line made to fit the rest.
fn with_crc(text: &str) -> String {
    let body = &text[..text.trim_end().rfind('\n').unwrap() + 1];
    format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes()))
}

#[test]
fn a_manifest_reads_back() {
    let empty = Manifest { topics: BTreeMap::new(), ..manifest() };
    assert_eq!(empty.encode(), with_crc(&format!("ottla manifest 1\ndirectory {ID}\ncrc32 0\n")));
    for manifest in [empty, manifest()] {
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()).unwrap(), manifest);
    }
    let text = manifest().encode();
    assert!(
        text.contains(&format!("topic orders {ID} live 3\nadopted 0 1500 4\nadopted 2 0 none\nconfig")),
        "{text}"
    );
    assert!(text.contains(&format!("topic more {ID} growing 3 6\nconfig segment.bytes 4096\n")), "{text}");
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_manifest_is_refused() {
    let good = manifest().encode().into_bytes();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::decode(&bad).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(Manifest::decode(&good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_manifest_in_another_form_is_refused_though_its_checksum_is_right() {
    let text = manifest().encode();
    for (from, to) in [
        ("live 3", "alive 3"),
        ("live 3", "live 0"),
        ("live 3", "live -3"),
        ("live 3", "live 3 4"),
        ("adopted 0 1500 4", "adopted 0 1500"),
        ("adopted 0 1500 4", "adopted 0 1500 4 5"),
        ("adopted 0 1500 4", "adopted 0 1500 -1"),
        ("adopted 0 1500 4", "adopted 0 9223372036854775808 4"),
        ("adopted 0 1500 4", "adopted 2 1500 4"),
        ("growing 3 6", "growing 3"),
        ("growing 3 6", "growing 3 3"),
        ("growing 3 6", "growing 6 3"),
        ("growing 3 6", "growing 3 10001"),
        ("growing 3 6", "growing 3 -6"),
        ("growing 3 6", "growing 3 6 9"),
        ("growing 3 6", "growing  3 6"),
        ("config segment.bytes 4096\n", "config segment.bytes 4096\nconfig segment.bytes 4096\n"),
        ("config segment.bytes 4096", "config segment.bytes 12"),
        ("config segment.bytes 4096", "config  segment.bytes 4096"),
        ("topic orders", "topic or/ders"),
        ("topic orders", "topic aa"),
        (ID, "AAAAAAAAAAAAAAAAAAAAAA"),
        ("ottla manifest 1\n", "ottla manifest 1\nsomething else\n"),
        ("ottla manifest 1\n", "ottla manifest 1\nconfig segment.bytes 4096\n"),
    ] {
        let bad = with_crc(&text.replacen(from, to, 1));
        assert!(Manifest::decode(bad.as_bytes()).is_err(), "{from:?} to {to:?}");
    }
}

/// So a later version reads what this one wrote.
#[test]
fn a_configuration_without_a_line_has_its_default() {
    let text = manifest()
        .encode()
        .replace("config segment.bytes 4096\n", "")
        .replace("config durability synced\n", "");
    let text = with_crc(&text);
    let read = Manifest::decode(text.as_bytes()).unwrap();
    let config = |manifest: &Manifest| manifest.topics.first_key_value().unwrap().1.config.clone();
    assert_eq!(Manifest::decode(read.encode().as_bytes()).unwrap(), read, "and then has a line");
    assert_eq!(config(&read), TopicConfig { segment_bytes: 1 << 30, ..config(&manifest()) });
}

#[test]
fn a_newer_manifest_is_named() {
    let text = manifest().encode();
    for newer in [
        text.replacen("ottla manifest 1", "ottla manifest 2", 1),
        text.replacen("config segment.ms", "config segment.lightyears", 1),
    ] {
        let error = Manifest::decode(with_crc(&newer).as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{error}");
    }
}

#[test]
fn partition_metadata_reads_as_kafka_writes_it() {
    let id = TopicId::parse(ID).unwrap();
    for good in [format!("version: 0\ntopic_id: {ID}"), format!("version: 0\ntopic_id: {ID}\n")] {
        assert_eq!(partition_metadata::decode(good.as_bytes()).unwrap(), id);
    }
    for bad in ["", "version: 0", &format!("version: 1\ntopic_id: {ID}"), "version: 0\ntopic_id: short"] {
        assert!(partition_metadata::decode(bad.as_bytes()).unwrap_err().is_corruption(), "{bad:?}");
    }
}
