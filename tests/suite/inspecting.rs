//! Looking into files: what `inspect` shows of known bytes, of damaged ones, and beside a live owner.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla::inspect::{Content, Inspect, Item};
use ottla::internals::{MemoryVfs, OpenMode, Vfs, inspect_on, open_on};
use ottla::{Compression, Record, TopicConfig};

use crate::support::{ROOT, TempDir, encode_batch, options, send_all};

/// Kafka's batches: three records; a transaction's record with its commit; an abort marker; compacted ones.
pub const BATCHES: [&str; 6] = [
    "00000000000000000000005b0000000002fd7c6bbe0000000000020000018bcfe568000000018bcfe56805ffffffffffffffffffffffffffff000000031a000000046b310a68656c6c6f0024000a02010a776f726c640402680276026e0110000604046b310100",
    "000000000000002a0000003a00000007021708b1510010000000000000018bcfe568000000018bcfe568000000000000000fa000037fffffff00000001100000000261023100",
    "000000000000002b0000004200000007020a984ef80030000000000000018bcfe5680a0000018bcfe5680a0000000000000fa00003ffffffff000000012000000008000000010c00000000000900",
    "000000000000002c000000420000000702aeb7ebb40030000000000000018bcfe568140000018bcfe568140000000000000fa00003ffffffff000000012000000008000000000c00000000000900",
    "00000000000000640000003d0000000002d9a49fc00040000000040000018bd50bc4000000018bcfe56803ffffffffffffffffffffffffffff000000011600f9efb25204046b310100",
    "00000000000000c80000003100000001021afa16ad000000000003ffffffffffffffff0000018bcfe568000000000000000fa000030000000a00000000",
];

const LOG: &str = "t-0/00000000000000000000.log";

pub fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn log() -> Vec<u8> {
    BATCHES.iter().flat_map(|batch| hex(batch)).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// A directory with these files.
fn directory<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    for dir in ["", "t-0"] {
        vfs.create_dir(&path(dir)).unwrap();
    }
    for (name, bytes) in files {
        let file = vfs.open(&path(name), OpenMode::CreateNew).unwrap();
        assert_eq!(file.write_at(&bytes, 0).unwrap(), bytes.len());
    }
    vfs
}

/// The items as lines: position and content.
fn shown(vfs: &MemoryVfs, name: &str, inspect: Inspect) -> Vec<String> {
    let items = inspect_on(inspect, Arc::new(vfs.clone()), &path(name)).unwrap();
    items.map(|Item { position, content, .. }| line(position, &content)).collect()
}

fn line(position: u64, content: &Content) -> String {
    let text = |bytes: &Option<Box<[u8]>>| match bytes {
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        None => "null".to_owned(),
    };
    match content {
        Content::Record(record) => {
            let headers = record.headers.iter().map(|(name, value)| format!(" {name}={}", text(value)));
            let headers: String = headers.collect();
            format!(
                "  {} at {:?} {}: {}{headers}",
                record.offset,
                record.timestamp,
                text(&record.key),
                text(&record.value)
            )
        }
        Content::Damage(damage) => {
            format!("{position} damage {:?} {:?}: {}", damage.bytes, damage.offsets, damage.error)
        }
        content => format!("{position} {content:?}"),
    }
}

#[test]
fn batches_are_shown_with_every_field_and_records_on_demand() {
    let vfs = directory([(LOG, log())]);
    let batches = shown(&vfs, LOG, Inspect::new());
    let with_records = shown(&vfs, LOG, Inspect::new().records(true));
    assert_eq!(with_records, golden(include_str!("golden/batches.txt")));
    let without: Vec<_> = with_records
        .into_iter()
        .filter(|line| !line.starts_with("  ") && !line.contains("Marker("))
        .collect();
    assert_eq!(batches, without);
}

/// What cannot be decompressed is no matter where nobody asks for records: header and checksum are looked at.
#[test]
fn without_records_nothing_is_decompressed() {
    let plain = encode_batch(0, &[(0, 1000, Record::new(&"v".repeat(100)))]);
    let mut batch = ottla::internals::compress_batch(&plain, Compression::Zstd).unwrap();
    batch[61..].fill(7);
    let crc = crc_fast::crc32_iscsi(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let vfs = directory([(LOG, batch)]);
    let without = shown(&vfs, LOG, Inspect::new());
    assert!(without.len() == 2 && without[1].contains("compression: Zstd"), "{without:?}");
    let with = shown(&vfs, LOG, Inspect::new().records(true));
    assert!(
        with.len() == 2 && with[1].contains("damage") && with[1].contains("decompressed with zstd"),
        "{with:?}"
    );
}

#[test]
fn every_other_kind_of_file_is_shown() {
    let snapshot = "00016694554e000000010000000000000fa00003000000090000000000000078000000020000018bcfe56800ffffffffffffffffffffffff";
    let vfs = directory([
        ("t-0/00000000000000001000.index", hex("00000009000010680000001e00002134")),
        ("t-0/00000000000000001000.timeindex", hex("0000018bcfe56800000000090000018bcfe568320000001e")),
        (
            "t-0/00000000000000000000.txnindex",
            hex("00000000000000000fa0000000000000000a00000000000000140000000000000015"),
        ),
        ("t-0/00000000000000000121.snapshot", hex(snapshot)),
        ("t-0/leader-epoch-checkpoint", b"0\n2\n0 0\n3 1500\n".to_vec()),
        ("t-0/partition.metadata", b"version: 0\ntopic_id: rE6H2AcSSMCQ7GdNHWIEMQ".to_vec()),
        ("recovery-point-offset-checkpoint", b"0\n1\norders 0 1500\n".to_vec()),
        // As Kafka makes it, before there is anything to write.
        ("cleaner-offset-checkpoint", Vec::new()),
        ("meta.properties", b"#\nversion=1\nnode.id=1\ncluster.id=a\\:b\n".to_vec()),
        (".kafka_cleanshutdown", b"{\"version\":0,\"brokerEpoch\":-1}".to_vec()),
        (".lock", b"process 7\n".to_vec()),
        ("notes.txt", b"whatever".to_vec()),
    ]);
    assert_eq!(shown(&vfs, "", Inspect::new()), golden(include_str!("golden/files.txt")));
}

#[test]
fn a_damaged_place_is_an_item_and_what_follows_is_shown() {
    let sound = log();
    let starts: Vec<usize> = BATCHES
        .iter()
        .scan(0, |at, batch| {
            *at += batch.len() / 2;
            Some(*at - batch.len() / 2)
        })
        .collect();
    for (number, from) in starts.iter().enumerate() {
        let to = starts.get(number + 1).copied().unwrap_or(sound.len());
        for byte in *from..to {
            let mut damaged = sound.clone();
            damaged[byte] ^= 1;
            let vfs = directory([(LOG, damaged)]);
            let items: Vec<Item> = inspect_on(Inspect::new(), Arc::new(vfs), &path(LOG)).unwrap().collect();
            let found: Vec<u64> = items
                .iter()
                .filter(|item| matches!(item.content, Content::Batch(_)))
                .map(|item| item.position)
                .collect();
            let damages: Vec<_> = items
                .iter()
                .filter_map(|item| match &item.content {
                    Content::Damage(damage) => Some(damage.bytes.clone()),
                    _ => None,
                })
                .collect();
            // Of its first 21 bytes a batch's checksum knows nothing: an offset that fits is one, where offsets may be
            // missing, and a leader epoch is any.
            let is_outside = byte < from + 21 && byte != from + 16 && !(from + 17..from + 21).contains(&byte);
            let others: Vec<u64> =
                starts.iter().filter(|start| *start != from).map(|start| *start as u64).collect();
            if damages.is_empty() {
                assert!(is_outside && found.len() == starts.len(), "byte {byte}: {items:?}");
            } else {
                assert_eq!(damages, vec![*from as u64..to as u64], "byte {byte}: {items:?}");
                assert_eq!(found, others, "byte {byte}");
            }
        }
    }
}

#[test]
fn a_value_that_holds_batches_is_not_taken_for_them() {
    let inner: Vec<u8> = [
        encode_batch(1, &[(1, 5, Record::new("never sent"))]),
        encode_batch(2, &[(2, 5, Record::new("nor this"))]),
    ]
    .concat();
    let outer = encode_batch(0, &[(0, 1, Record::new(&inner))]);
    let behind = encode_batch(1, &[(1, 2, Record::new("sent"))]);
    // Its length, its offset, its checksum, its header.
    for byte in (0..61).filter(|byte| !(12..16).contains(byte)) {
        let mut log = [outer.clone(), behind.clone()].concat();
        log[byte] ^= 0x40;
        let vfs = directory([(LOG, log)]);
        let records: Vec<_> = inspect_on(Inspect::new().records(true), Arc::new(vfs), &path(LOG))
            .unwrap()
            .filter_map(|item| match item.content {
                Content::Record(record) => Some((record.offset, record.value.unwrap().to_vec())),
                _ => None,
            })
            .collect();
        assert_eq!(records, [(1, b"sent".to_vec())], "byte {byte}");
    }
}

#[test]
fn truncated_files_are_shown_as_far_as_they_go() {
    let sound = log();
    for len in 0..sound.len() {
        let vfs = directory([(LOG, sound[..len].to_vec())]);
        let items: Vec<Item> = inspect_on(Inspect::new(), Arc::new(vfs), &path(LOG)).unwrap().collect();
        let whole = items.iter().filter(|item| matches!(item.content, Content::Batch(_))).count();
        let expected = BATCHES.iter().scan(0, |at, batch| {
            *at += batch.len() / 2;
            Some(*at)
        });
        let expected: Vec<usize> = expected.filter(|end| *end <= len).collect();
        assert_eq!(whole, expected.len(), "{len} bytes");
        // A part of zeros alone is what is set aside ahead.
        let rest = &sound[expected.last().copied().unwrap_or_default()..len];
        let is_torn = rest.iter().any(|byte| *byte != 0);
        let damaged = items.iter().any(|item| matches!(item.content, Content::Damage(_)));
        assert_eq!(damaged, is_torn, "{len} bytes: {items:?}");
    }
}

#[test]
fn a_live_owner_is_not_locked_out_and_his_files_do_not_change() {
    let dir = TempDir::new("inspect-live");
    let broker = options().open(dir.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["a", "b"]).unwrap();
    let before = dir.content();
    let items: Vec<Item> = Inspect::new().records(true).open(dir.path()).unwrap().collect();
    assert_eq!(dir.content(), before);
    let records = items.iter().filter(|item| matches!(item.content, Content::Record(_))).count();
    assert_eq!(records, 2);
    assert!(!items.iter().any(|item| matches!(item.content, Content::Damage(_))), "{items:?}");
    assert!(items.iter().any(|item| matches!(item.content, Content::Zeros { .. })), "set aside ahead");
    assert!(items.iter().any(|item| matches!(&item.content, Content::Topic(topic) if topic.name == "t")));
    assert!(items.iter().any(|item| matches!(&item.content, Content::Slot(slot) if slot.offset == 2)));
    send_all(&topic, ["c"]).unwrap();
}

#[test]
fn what_is_not_there_is_an_error_and_what_cannot_be_opened_an_item() {
    let vfs = MemoryVfs::new();
    vfs.create_dir(&path("")).unwrap();
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    assert!(inspect_on(Inspect::new(), Arc::new(vfs.clone()), &path("nothing")).is_err());
    vfs.fail_nth(3, ottla::internals::Fault::Io, ottla::internals::Repeat::Forever);
    let items: Vec<Item> = inspect_on(Inspect::new(), Arc::new(vfs.clone()), &path("")).unwrap().collect();
    assert!(!items.is_empty());
    assert!(items.iter().all(|item| matches!(item.content, Content::Damage(_))), "{items:?}");
    vfs.fail_no_more();
    drop(broker);
}

/// The lines of a golden file.
fn golden(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
