//! Where `__consumer_offsets` cannot be read: whatever concerns groups says what and where, nothing is written, and topics go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, Error, ErrorKind, Position, Result, TopicConfig};

use crate::support::{ROOT, get, options, rewrite, send_all, tree, values};

const INTERNAL: &str = "__consumer_offsets";
const LOG: &str = "__consumer_offsets-0/00000000000000000000.log";
/// The front of what `audit` and `billing` have committed: version 3, offset 2 or 1.
const VALUE: [u8; 10] = [0, 3, 0, 0, 0, 0, 0, 0, 0, 1];
/// The front of the keys of those.
const KEY: &[u8] = b"\0\x01\0\x07billing";

fn open(vfs: &MemoryVfs) -> Result<Broker> {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT))
}

/// A directory, closed in order, with the topic `orders` and what two groups have committed of it.
fn place() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs).unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&orders, ["a", "b"]).unwrap();
    for (group, offset) in [("audit", 2), ("billing", 1)] {
        let at = (orders.partition(0).unwrap(), Position::new(offset, None));
        broker.alter_group_offsets(group, [at]).unwrap();
    }
    drop((orders, broker));
    vfs
}

/// The offset at which bytes stand that stand once.
fn find(vfs: &MemoryVfs, bytes: &[u8]) -> usize {
    let log = get(vfs, LOG);
    let found: Vec<_> = (0..log.len()).filter(|at| log[*at..].starts_with(bytes)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// Every operation of groups fails, and says so; topics work, and the files of the internal topic stay as they are.
fn groups_say_so_and_topics_go_on(broker: &Broker, vfs: &MemoryVfs, check: impl Fn(&Error)) {
    let internal = || {
        let mut files = tree(vfs, Path::new(ROOT));
        files.retain(|path, _| path.to_string_lossy().contains(INTERNAL));
        files
    };
    let before = internal();
    let orders = broker.topic("orders").unwrap();
    let partition = orders.partition(0).unwrap();
    let at = || [(partition.clone(), Position::new(0, None))];
    for _ in 0..2 {
        let operations: [Result<()>; 6] = [
            broker.groups().map(drop),
            broker.describe_group("billing").map(drop),
            broker.alter_group_offsets("billing", at()),
            broker.delete_group("audit"),
            broker.consumer().group("new").subscribe(["orders"]).map(drop),
            broker.delete_topic("orders"),
        ];
        for (number, outcome) in operations.into_iter().enumerate() {
            let error = outcome.expect_err(&format!("operation {number}"));
            assert_eq!((error.topic(), error.partition()), (Some(INTERNAL), Some(0)), "{number}: {error}");
            assert!(error.to_string().contains("topics can"), "{error}");
            check(&error);
        }
    }
    assert_eq!(internal(), before);
    send_all(&orders, ["c"]).unwrap();
    assert_eq!(values(&partition).unwrap(), [b"a", b"b", b"c"]);
    let mut single = broker.consumer().assign([partition.clone()]).unwrap();
    assert_eq!(single.poll(Duration::ZERO).unwrap().len(), 3);
    let more = broker.create_topic("more", TopicConfig::new()).unwrap();
    send_all(&more, ["m"]).unwrap();
    assert_eq!(internal(), before);
}

#[test]
fn a_flipped_byte_of_a_commit_is_named_and_nothing_is_written() {
    for inside in [0, 5] {
        let vfs = place();
        let at = find(&vfs, &VALUE) + inside;
        let file = vfs.open(&Path::new(ROOT).join(LOG), OpenMode::Write).unwrap();
        let byte = get(&vfs, LOG)[at];
        file.write_at(&[!byte], at as u64).unwrap();
        file.sync_all().unwrap();
        let broker = open(&vfs).unwrap();
        groups_say_so_and_topics_go_on(&broker, &vfs, |error| {
            assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{error}");
            assert!(error.file().is_some_and(|file| file.ends_with(LOG)), "{error}");
            assert!(error.position().is_some_and(|position| position < at as u64), "{error}");
        });
    }
}

#[test]
fn a_version_of_a_commit_that_nobody_knows_is_named_with_its_group() {
    let vfs = place();
    let mut newer = VALUE;
    newer[1] = 9;
    rewrite(&vfs, LOG, &VALUE, &newer);
    let broker = open(&vfs).unwrap();
    groups_say_so_and_topics_go_on(&broker, &vfs, |error| {
        assert_eq!((error.kind(), error.offset()), (ErrorKind::UnsupportedVersion, Some(1)), "{error}");
        let words = error.to_string();
        assert!(["billing", "orders", "version 9"].iter().all(|word| words.contains(word)), "{words}");
    });
}

/// As Kafka does: it may be a record of a kind that came later, left over from a newer broker.
#[test]
fn a_kind_of_record_that_nobody_knows_is_passed_over_and_an_impossible_one_is_an_error() {
    let vfs = place();
    rewrite(&vfs, LOG, KEY, &[&[0, 99], &KEY[2..]].concat());
    let broker = open(&vfs).unwrap();
    let groups = broker.groups().unwrap();
    assert_eq!(groups.iter().map(ottla::GroupListing::name).collect::<Vec<_>>(), ["audit"]);
    let mut consumer = broker.consumer().group("billing").subscribe(["orders"]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
    consumer.commit().unwrap();

    let vfs = place();
    rewrite(&vfs, LOG, KEY, &[&[0xff, 0xff], &KEY[2..]].concat());
    let broker = open(&vfs).unwrap();
    groups_say_so_and_topics_go_on(&broker, &vfs, |error| {
        assert_eq!((error.kind(), error.offset()), (ErrorKind::CorruptMessage, Some(1)), "{error}");
    });
}

#[test]
fn a_log_that_lacks_its_end_is_found_when_the_directory_is_opened_and_can_be_confined() {
    let vfs = place();
    let file = vfs.open(&Path::new(ROOT).join(LOG), OpenMode::Write).unwrap();
    file.set_len(file.size().unwrap() - 1).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let before = tree(&vfs, Path::new(ROOT));
    let error = open(&vfs).unwrap_err();
    assert_eq!((error.kind(), error.topic()), (ErrorKind::CorruptMessage, Some(INTERNAL)), "{error}");
    assert_eq!(tree(&vfs, Path::new(ROOT)), before);
    let broker = open_on(options().isolate_damage(true), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    groups_say_so_and_topics_go_on(&broker, &vfs, |error| {
        assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{error}");
        assert!(error.file().is_some(), "{error}");
    });
}
