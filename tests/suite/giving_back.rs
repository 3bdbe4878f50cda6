//! Undoing an adoption: the directory is Kafka's again, with what was appended, and as Kafka wants it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, Vfs, undo_adoption_on};
use ottla::{Broker, ErrorKind, Record, Result, TopicConfig, UndoReport};

use crate::adopting::{Kafkas, META, adopt, batches, open};
use crate::support::{ROOT, get, options, put, send_all, tree, values};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The batches that ten records of ours share.
const OURS: u64 = 4;

pub fn undo(vfs: &MemoryVfs) -> Result<UndoReport> {
    undo_adoption_on(options(), Arc::new(vfs.clone()), Path::new(ROOT))
}

/// The broker's fifteen records and ten of ours behind them, which a kill has put into two epochs; `close` says how it was
/// left.
pub fn appended_to(kafkas: &Kafkas, close: bool) -> MemoryVfs {
    let vfs = kafkas.vfs.fork();
    let broker = adopt(&vfs).unwrap();
    broker.alter_topic("orders", broker.topic("orders").unwrap().config().segment_bytes(1024)).unwrap();
    send_all(&broker.topic("orders").unwrap(), (0..5).map(|_| [7; 300])).unwrap();
    std::mem::forget(broker);
    let vfs = vfs.restart();
    let broker = open(&vfs).unwrap();
    send_all(&broker.topic("orders").unwrap(), (0..5).map(|_| [8; 300])).unwrap();
    if close {
        broker.close(TIMEOUT).unwrap();
        return vfs;
    }
    std::mem::forget(broker);
    vfs.restart()
}

/// The logs of ours in the partition that was appended to.
fn ours(vfs: &MemoryVfs) -> Vec<String> {
    let names = tree(vfs, Path::new(ROOT)).into_keys();
    let names = names.map(|path| path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned());
    let base = |name: &str| name["orders-0/".len()..name.len() - 4].parse::<u64>().unwrap();
    names.filter(|name| name.starts_with("orders-0/") && name.ends_with(".log") && base(name) >= 15).collect()
}

fn flip(vfs: &MemoryVfs, log: usize, position: usize) {
    let name = &ours(vfs)[log];
    let mut bytes = get(vfs, name);
    bytes[position] ^= 4;
    put(vfs, name, &bytes);
}

pub fn record_count(broker: &Broker) -> usize {
    values(&broker.topic("orders").unwrap().partition(0).unwrap()).unwrap().len()
}

/// As Kafka wants it: no epoch above its own, checkpoints, a marker, a snapshot, and none of our files.
pub fn assert_kafkas(vfs: &MemoryVfs, what: &str) {
    assert_eq!(get(vfs, "meta.properties"), META.as_bytes(), "{what}");
    let files = tree(vfs, Path::new(ROOT));
    let names: Vec<_> = files.keys().map(|path| path.strip_prefix(ROOT).unwrap().to_string_lossy()).collect();
    for name in ["ottla.manifest", "ottla.ends", "ottla.returning", "meta.properties.adopted"] {
        assert!(!names.iter().any(|there| there == name), "{what}: {name} is there");
    }
    let mut last = 0;
    for name in names.iter().filter(|name| name.starts_with("orders-0/") && name.ends_with(".log")) {
        let log = get(vfs, name);
        for position in batches(&log) {
            let epoch = i32::from_be_bytes(log[position + 12..position + 16].try_into().unwrap());
            assert_eq!(epoch, 3, "{what}: {name} at {position}");
            last += 1;
        }
    }
    assert_eq!(last, 15 + OURS, "{what}: so many batches");
    assert_eq!(get(vfs, "orders-0/leader-epoch-checkpoint"), b"0\n1\n3 0\n", "{what}");
    for checkpoint in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        let text = String::from_utf8(get(vfs, checkpoint)).unwrap();
        assert!(
            text.contains("orders 0 25\n") && text.contains("empty 0 0\n"),
            "{what}: {checkpoint}: {text}"
        );
    }
    assert_eq!(get(vfs, ".kafka_cleanshutdown"), br#"{"version":0,"brokerEpoch":-1}"#, "{what}");
    assert!(names.iter().any(|name| name.starts_with("orders-0/") && name.ends_with(".snapshot")), "{what}");
}

#[test]
fn an_adopted_directory_is_given_back_with_what_was_appended() {
    for kafkas in [Kafkas::stopped_in_order(), Kafkas::killed()] {
        for close in [true, false] {
            let vfs = appended_to(&kafkas, close);
            let report = undo(&vfs).unwrap();
            assert_eq!((report.topics(), report.partitions()), (2, 3));
            assert_eq!(report.restamped_batches(), OURS);
            assert_kafkas(&vfs, "given back");
            assert_eq!(open(&vfs).unwrap_err().kind(), ErrorKind::DirectoryNotOurs);
            // And once more.
            let broker = adopt(&vfs).unwrap();
            assert_eq!((record_count(&broker), broker.recovery_report().is_clean()), (25, true));
            broker.close(TIMEOUT).unwrap();
            undo(&vfs).unwrap();
            assert_kafkas(&vfs, "given back again");
        }
    }
}

/// An empty one over it would have Kafka forget its producers.
#[test]
fn kafkas_own_producer_snapshots_stay_as_they_are() {
    let kafkas = Kafkas::stopped_in_order();
    put(&kafkas.vfs, "orders-0/00000000000000000015.snapshot", b"whatever Kafka knows");
    let vfs = appended_to(&kafkas, true);
    undo(&vfs).unwrap();
    assert_eq!(get(&vfs, "orders-0/00000000000000000015.snapshot"), b"whatever Kafka knows");
    let snapshots = tree(&vfs, &Path::new(ROOT).join("orders-0"));
    let snapshots = snapshots.keys().filter(|path| path.to_string_lossy().ends_with(".snapshot"));
    assert_eq!(snapshots.count(), 1);
}

#[test]
fn what_cannot_be_given_back_is_left_as_it_was() {
    type Deed = fn(&MemoryVfs);
    let refused: [(&str, Deed, ErrorKind); 7] = [
        // Kafka would trust what was closed in order.
        ("a damaged record", |vfs| flip(vfs, 0, 100), ErrorKind::CorruptMessage),
        ("a damaged header", |vfs| flip(vfs, 0, 16), ErrorKind::CorruptMessage),
        (
            "a segment that is gone",
            |vfs| vfs.remove_file(&Path::new(ROOT).join(&ours(vfs)[0])).unwrap(),
            ErrorKind::CorruptMessage,
        ),
        (
            "a topic that Kafka does not know",
            |vfs| {
                let broker = open(vfs).unwrap();
                broker.create_topic("new", TopicConfig::new()).unwrap();
                broker.close(TIMEOUT).unwrap();
            },
            ErrorKind::UnknownTopicOrPartition,
        ),
        (
            "a partition that Kafka does not know",
            |vfs| {
                let broker = open(vfs).unwrap();
                broker.alter_topic("orders", broker.topic("orders").unwrap().config().partitions(3)).unwrap();
                broker.close(TIMEOUT).unwrap();
            },
            ErrorKind::UnknownTopicOrPartition,
        ),
        ("Kafka's already", |vfs| _ = undo(vfs).unwrap(), ErrorKind::DirectoryNotOurs),
        (
            "never Kafka's",
            |vfs| {
                let path = Path::new(ROOT).join("meta.properties.adopted");
                vfs.remove_file(&path).unwrap();
            },
            ErrorKind::DirectoryNotOurs,
        ),
    ];
    for (what, deed, kind) in refused {
        let vfs = appended_to(&Kafkas::stopped_in_order(), true);
        deed(&vfs);
        let before = tree(&vfs, Path::new(ROOT));
        let error = undo(&vfs).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains("nothing was changed"), "{what}: {error}");
        assert_eq!(tree(&vfs, Path::new(ROOT)), before, "{what}");
    }
    let vfs = appended_to(&Kafkas::stopped_in_order(), true);
    let broker = open(&vfs).unwrap();
    assert_eq!(undo(&vfs).unwrap_err().kind(), ErrorKind::DirectoryInUse);
    send_all(&broker.topic("orders").unwrap(), ["goes on"]).unwrap();
}

#[test]
fn a_topic_that_was_deleted_meanwhile_is_simply_not_there() {
    let vfs = appended_to(&Kafkas::stopped_in_order(), true);
    let broker = open(&vfs).unwrap();
    broker.delete_topic("empty").unwrap();
    broker.close(TIMEOUT).unwrap();
    assert_eq!(undo(&vfs).unwrap().topics(), 1);
}

/// A directory that is half on its way back to Kafka can be taken over again as well.
#[test]
fn an_adoption_passes_over_what_a_return_has_left() {
    let left = appended_to(&Kafkas::stopped_in_order(), true);
    let mut adopted = 0;
    for point in 0.. {
        let vfs = left.fork();
        vfs.stop_after(point);
        if undo(&vfs).is_ok() {
            break;
        }
        let vfs = vfs.restart();
        if vfs.kind(&Path::new(ROOT).join("meta.properties")).unwrap().is_none() {
            continue;
        }
        let broker = adopt(&vfs).unwrap();
        assert!(broker.recovery_report().is_adopted());
        assert_eq!(record_count(&broker), 25);
        let orders = broker.topic("orders").unwrap();
        orders.producer().send(Record::new("ours").partition(0)).unwrap().wait().unwrap();
        broker.close(TIMEOUT).unwrap();
        drop(orders);
        assert_eq!(record_count(&open(&vfs).unwrap()), 26, "call {point}");
        adopted += 1;
    }
    assert!(adopted > 0);
}
