//! What an adoption refuses, with the reason and without having changed anything, and what looks like a loss and is none.

use std::path::Path;

use ottla::internals::{MemoryVfs, Vfs};
use ottla::{ErrorKind, TopicConfig};

use crate::adopting::{Kafkas, adopt, batches, logs, open_with, partition, remove};
use crate::support::{ROOT, get, options, put, tree};

/// What is wrong with a directory, and what the error says of it.
type Damage = (&'static str, fn(&MemoryVfs), ErrorKind, &'static str);

const DAMAGES: [Damage; 25] = [
    (
        "an index that is a directory",
        |vfs| put_directory(vfs, &logs(vfs)[0].replace(".log", ".index")),
        ErrorKind::CorruptMessage,
        "not a regular file",
    ),
    (
        "a last time index that is a directory",
        |vfs| put_directory(vfs, &logs(vfs).last().unwrap().replace(".log", ".timeindex")),
        ErrorKind::CorruptMessage,
        "not a regular file",
    ),
    (
        "a batch that is looked at for open transactions",
        |vfs| {
            let snapshots = vfs.read_dir(&Path::new(ROOT).join("orders-0")).unwrap();
            let is_snapshot = |name: &String| name.ends_with(".snapshot");
            let names = snapshots.into_iter().map(|entry| entry.name).filter(is_snapshot);
            names.for_each(|name| remove(vfs, &format!("orders-0/{name}")));
            let log = &logs(vfs)[1];
            let mut bytes = get(vfs, log);
            // No index names a batch behind the damage: the time index does if its record came a millisecond later.
            put(vfs, &log.replace("log", "timeindex"), b"");
            let last = *batches(&bytes).last().unwrap();
            bytes[last + 100] ^= 1;
            put(vfs, log, &bytes);
        },
        ErrorKind::CorruptMessage,
        "checksum",
    ),
    (
        "a topic id of two topics",
        |vfs| put(vfs, "empty-0/partition.metadata", &get(vfs, "orders-0/partition.metadata")),
        ErrorKind::CorruptMessage,
        "the same topic id as topic empty",
    ),
    (
        "no topic id",
        |vfs| remove(vfs, "orders-1/partition.metadata"),
        ErrorKind::CorruptMessage,
        "orders-1/partition.metadata",
    ),
    (
        "a topic id that is none",
        |vfs| put(vfs, "orders-0/partition.metadata", b"version: 0\n"),
        ErrorKind::CorruptMessage,
        "orders-0/partition.metadata",
    ),
    (
        "two topic ids",
        |vfs| put(vfs, "orders-1/partition.metadata", &get(vfs, "empty-0/partition.metadata")),
        ErrorKind::CorruptMessage,
        "two topics",
    ),
    (
        "a partition too few",
        |vfs| {
            move_away(vfs, "orders-0");
            put(vfs, "recovery-point-offset-checkpoint", b"0\n0\n");
            put(vfs, "replication-offset-checkpoint", b"0\n0\n");
        },
        ErrorKind::StorageError,
        "partition 0",
    ),
    (
        "a first partition that is gone",
        |vfs| move_away(vfs, "orders-0"),
        ErrorKind::CorruptMessage,
        "recovery-point-offset-checkpoint names the partition, of which the log had come to offset 15",
    ),
    (
        "a last partition that is gone",
        |vfs| move_away(vfs, "orders-1"),
        ErrorKind::CorruptMessage,
        "its directory is missing",
    ),
    (
        "a topic that is gone, as the cleaner tells after a kill",
        |vfs| {
            remove(vfs, ".kafka_cleanshutdown");
            put(vfs, "cleaner-offset-checkpoint", b"0\n1\ngone 3 7\n");
        },
        ErrorKind::CorruptMessage,
        "cleaner-offset-checkpoint names the partition",
    ),
    (
        "a segment that is gone, and not its index",
        |vfs| remove(vfs, &logs(vfs)[1]),
        ErrorKind::CorruptMessage,
        "the log of a segment is gone",
    ),
    (
        "the same after a kill",
        |vfs| {
            remove(vfs, ".kafka_cleanshutdown");
            remove(vfs, &logs(vfs)[1]);
        },
        ErrorKind::CorruptMessage,
        "the log of a segment is gone",
    ),
    (
        "a segment in the middle that ends too early",
        |vfs| {
            let name = &logs(vfs)[1];
            let log = get(vfs, name);
            let last = *batches(&log).last().unwrap();
            let entry =
                [batches(&log).len() - 1, last].map(|field| u32::try_from(field).unwrap().to_be_bytes());
            put(vfs, &name.replace("log", "index"), &entry.concat());
            put(vfs, name, &log[..last]);
        },
        ErrorKind::CorruptMessage,
        "its index names a batch behind that",
    ),
    (
        "recovery points",
        |vfs| put(vfs, "recovery-point-offset-checkpoint", b"0\n1\norders 0\n"),
        ErrorKind::CorruptMessage,
        "recovery-point-offset-checkpoint",
    ),
    (
        "log starts",
        |vfs| put(vfs, "log-start-offset-checkpoint", b"1\n0\n"),
        ErrorKind::CorruptMessage,
        "log-start-offset-checkpoint",
    ),
    (
        "epochs",
        |vfs| put(vfs, "orders-0/leader-epoch-checkpoint", b"0\n2\n3 0\n"),
        ErrorKind::CorruptMessage,
        "leader-epoch-checkpoint",
    ),
    (
        "no epochs",
        |vfs| remove(vfs, "orders-0/leader-epoch-checkpoint"),
        ErrorKind::CorruptMessage,
        "epochs of a partition with records are missing",
    ),
    (
        "a log cut within a batch",
        |vfs| {
            let last = logs(vfs).pop().unwrap();
            let log = get(vfs, &last);
            put(vfs, &last, &log[..log.len() - 1]);
        },
        ErrorKind::CorruptMessage,
        ".log",
    ),
    (
        "a log cut behind a batch",
        |vfs| {
            let last = logs(vfs).pop().unwrap();
            let log = get(vfs, &last);
            put(vfs, &last, &log[..*batches(&log).last().unwrap()]);
        },
        ErrorKind::CorruptMessage,
        "synced it up to offset 15",
    ),
    (
        "a byte of the last batch",
        |vfs| {
            let last = logs(vfs).pop().unwrap();
            let mut log = get(vfs, &last);
            *log.last_mut().unwrap() ^= 1;
            put(vfs, &last, &log);
        },
        ErrorKind::CorruptMessage,
        "checksum",
    ),
    (
        "a log start behind the end",
        |vfs| put(vfs, "log-start-offset-checkpoint", b"0\n1\norders 0 16\n"),
        ErrorKind::CorruptMessage,
        "is to begin at offset 16",
    ),
    (
        "an interrupted compaction",
        |vfs| put(vfs, "orders-0/00000000000000000000.log.swap", b""),
        ErrorKind::StorageError,
        "00000000000000000000.log.swap); start the broker once",
    ),
    (
        "an interrupted compaction that was at the next one already",
        |vfs| {
            put(vfs, "orders-0/00000000000000000000.log.swap", b"");
            put(vfs, "orders-0/00000000000000000000.log.cleaned", b"");
        },
        ErrorKind::StorageError,
        "only it can finish",
    ),
    (
        "rot below the recovery point",
        |vfs| {
            remove(vfs, ".kafka_cleanshutdown");
            put(vfs, "recovery-point-offset-checkpoint", b"0\n1\norders 0 2\n");
            let mut log = get(vfs, "orders-0/00000000000000000000.log");
            log[100] ^= 1;
            put(vfs, "orders-0/00000000000000000000.log", &log);
        },
        ErrorKind::CorruptMessage,
        "had synced are damaged",
    ),
];

fn put_directory(vfs: &MemoryVfs, name: &str) {
    remove(vfs, name);
    vfs.create_dir(&Path::new(ROOT).join(name)).unwrap();
}

fn move_away(vfs: &MemoryVfs, name: &str) {
    vfs.rename(&Path::new(ROOT).join(name), Path::new("/elsewhere")).unwrap();
}

#[test]
fn a_damaged_directory_is_refused_with_its_reason_and_left_as_it_was() {
    for (what, damage, kind, says) in DAMAGES {
        let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
        damage(&vfs);
        let before = tree(&vfs, Path::new(ROOT));
        let error = adopt(&vfs).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains(says), "{what}: {error}");
        assert!(error.to_string().contains("nothing was changed"), "{what}: {error}");
        assert_eq!(tree(&vfs, Path::new(ROOT)), before, "{what}");
    }
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    remove(&vfs, &logs(&vfs)[1]);
    let error = open_with(&vfs, options().adopt(true).isolate_damage(true)).unwrap_err().to_string();
    for part in ["restore the file", "an adoption does not isolate damage"] {
        assert!(error.contains(part), "{error}");
    }
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let error =
        open_with(&vfs, options().adopt(true).adopted_topic("order", TopicConfig::new())).unwrap_err();
    assert_eq!((error.kind(), error.topic()), (ErrorKind::UnknownTopicOrPartition, Some("order")));
}

/// What a crash in the midst of a deletion leaves, or a power cut of what was written last.
#[test]
fn what_kafka_may_leave_is_no_loss() {
    let Kafkas { vfs, .. } = Kafkas::killed();
    let id = "0123456789abcdef0123456789abcdef";
    vfs.create_dir(&Path::new(ROOT).join(format!("gone-3.{id}-delete"))).unwrap();
    let points = String::from_utf8(get(&vfs, "recovery-point-offset-checkpoint")).unwrap();
    let points = points.replacen("0\n1\n", "0\n2\ngone 3 7\n", 1);
    put(&vfs, "recovery-point-offset-checkpoint", points.as_bytes());
    put(&vfs, "replication-offset-checkpoint", b"0\n3\norders 0 17\nmade 0 3\ngone 3 7\n");
    put(&vfs, "cleaner-offset-checkpoint", b"0\n1\ngone 3 7\n");
    // Retention was renaming a segment, and another one was about to be made.
    let first = logs(&vfs)[0].clone();
    let second: u64 = logs(&vfs)[1]["orders-0/".len()..][..20].parse().unwrap();
    vfs.rename(&Path::new(ROOT).join(&first), &Path::new(ROOT).join(format!("{first}.deleted"))).unwrap();
    put(&vfs, "orders-0/00000000000000000016.index", b"");
    let broker = adopt(&vfs).unwrap();
    let notes: Vec<_> = broker.recovery_report().notes().collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    for (note, says) in notes.iter().zip(["-delete is a leftover", "made-0 is missing", "had come to 17"]) {
        assert!(note.contains(says), "{notes:?}");
    }
    assert_eq!(partition(&broker, 0).log_start_offset(), second);
    let left = tree(&vfs, &Path::new(ROOT).join("orders-0"));
    let is_left = |name: &str| left.keys().any(|path| path.to_string_lossy().contains(name));
    assert!(!is_left("00000000000000000000.") && !is_left("00000000000000000016."), "{:?}", left.keys());
}
