//! Damaged partitions beside sound ones: `isolate_damage`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, BrokerOptions, ErrorKind, Record, Start, TopicConfig};

use crate::support::{ROOT, options, values};

const TIMEOUT: Duration = Duration::from_secs(10);

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

fn open(vfs: &MemoryVfs, options: BrokerOptions) -> ottla::Result<Broker> {
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT))
}

/// Two topics of two partitions with two records each; closed in order, or killed.
pub fn filled(in_order: bool) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs, options()).unwrap();
    for name in ["a", "b"] {
        let topic = broker.create_topic(name, TopicConfig::new().partitions(2)).unwrap();
        for partition in [0, 1, 0, 1] {
            topic.producer().send(Record::new(name).partition(partition)).unwrap().wait().unwrap();
        }
    }
    if in_order {
        broker.close(TIMEOUT).unwrap();
        return vfs;
    }
    std::mem::forget(broker);
    vfs.restart()
}

fn content(vfs: &MemoryVfs, name: &str) -> Option<Vec<u8>> {
    Some(vfs.open(&path(name), OpenMode::Read).ok()?.map().unwrap().to_vec())
}

fn flip(vfs: &MemoryVfs, name: &str, at: u64) {
    let file = vfs.open(&path(name), OpenMode::Write).unwrap();
    let byte = content(vfs, name).unwrap()[usize::try_from(at).unwrap()];
    file.write_at(&[byte ^ 1], at).unwrap();
}

pub type Damage = fn(&MemoryVfs);

/// What can be wrong with partition 1 of topic `a` alone.
pub const DAMAGES: [(&str, Damage); 7] = [
    ("the log is shorter", |vfs| {
        vfs.open(&path("a-1/00000000000000000000.log"), OpenMode::Write).unwrap().set_len(70).unwrap();
    }),
    ("the log is gone", |vfs| vfs.remove_file(&path("a-1/00000000000000000000.log")).unwrap()),
    ("the topic id is gone", |vfs| vfs.remove_file(&path("a-1/partition.metadata")).unwrap()),
    ("the topic id is another one", |vfs| flip(vfs, "a-1/partition.metadata", 25)),
    ("the epochs are no epochs", |vfs| flip(vfs, "a-1/leader-epoch-checkpoint", 0)),
    // Found by the fuzzer: what was appended then was acknowledged, and no batch of the partition could be read.
    ("the epochs begin behind the end", |vfs| {
        let file = vfs.open(&path("a-1/leader-epoch-checkpoint"), OpenMode::Write).unwrap();
        assert_eq!(file.write_at(b"900\n", 6).unwrap(), 4);
    }),
    ("both slots are bad", |vfs| {
        // The second partition of the first topic has the second cell.
        flip(vfs, "ottla.ends", 4096 + 512);
        flip(vfs, "ottla.ends", 8192 + 512);
    }),
];

#[test]
fn a_damaged_partition_is_isolated_and_the_others_work() {
    for (what, damage) in DAMAGES {
        for in_order in [true, false] {
            let vfs = filled(in_order);
            damage(&vfs);
            let what = format!("{what}, closed in order: {in_order}");
            let refused = open(&vfs, options()).unwrap_err();
            assert!(refused.is_corruption(), "{what}: {refused}");
            assert_eq!((refused.topic(), refused.partition()), (Some("a"), Some(1)), "{what}: {refused}");

            let log = content(&vfs, "a-1/00000000000000000000.log");
            for life in 0..3 {
                let broker = open(&vfs, options().isolate_damage(true)).unwrap();
                let [damaged] = broker.recovery_report().damaged() else { panic!("{what}") };
                assert_eq!((damaged.topic(), damaged.partition()), (Some("a"), Some(1)));
                let a = broker.topic("a").unwrap();
                let bad = a.partition(1).unwrap();
                let send = a.producer().send(Record::new("x").partition(1));
                for error in [
                    bad.read(Start::Earliest).unwrap_err(),
                    send.unwrap_err(),
                    a.producer().send_batch(&[Record::new("x").partition(1)]).unwrap_err(),
                    broker.consumer().assign(a.partitions()).unwrap_err(),
                ] {
                    assert_eq!(error.to_string(), damaged.to_string(), "{what}");
                }
                a.producer().send(Record::new("a").partition(0)).unwrap().wait().unwrap();
                assert_eq!(values(&a.partition(0).unwrap()).unwrap(), vec![b"a"; 3 + life], "{what}");
                broker.topic("b").unwrap().producer().flush().unwrap();
                broker.close(TIMEOUT).unwrap();
                assert!(content(&vfs, ".kafka_cleanshutdown").is_none(), "{what}: it vouches for all");
                assert_eq!(content(&vfs, "a-1/00000000000000000000.log"), log, "{what}: nothing was changed");
            }
            let again = open(&vfs, options()).unwrap_err();
            assert!(again.is_corruption() && again.partition() == Some(1), "{what}: {again}");
        }
    }
}

#[test]
fn a_topic_with_a_damaged_partition_can_be_deleted() {
    for (what, damage) in DAMAGES {
        let vfs = filled(false);
        damage(&vfs);
        let broker = open(&vfs, options().isolate_damage(true)).unwrap();
        broker.delete_topic("a").unwrap();
        broker.close(TIMEOUT).unwrap();
        // The broker has known of damage, so that it was not closed in order; now there is none.
        let broker = open(&vfs, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(values(&broker.topic("b").unwrap().partition(1).unwrap()).unwrap(), [b"b"; 2]);
        assert_eq!(broker.topic("a").unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
    }
}

#[test]
fn every_damaged_partition_is_named_whatever_is_wrong_with_it() {
    for in_order in [true, false] {
        let vfs = filled(in_order);
        vfs.remove_file(&path("a-0/00000000000000000000.log")).unwrap();
        flip(&vfs, "a-1/leader-epoch-checkpoint", 0);
        vfs.remove_file(&path("b-1/partition.metadata")).unwrap();
        let text = open(&vfs, options()).unwrap_err().to_string();
        for partition in ["topic a, partition 0", "topic a, partition 1", "topic b, partition 1"] {
            assert!(text.contains(partition), "{text}");
        }
        assert!(!text.contains("topic b, partition 0"), "{text}");
    }
}
