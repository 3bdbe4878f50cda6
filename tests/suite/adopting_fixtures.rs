//! The directories of a real Kafka are taken over, appended to and given back: what its own consumer returned is there at
//! every step, and what it has written is what it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, Vfs, open_on, undo_adoption_on};
use ottla::{Broker, Isolation, Partition, Record};

use crate::kafka_fixtures::{Fixture, Read, all, root};
use crate::support::{ROOT, get, options, put, tree};

const TIMEOUT: Duration = Duration::from_secs(10);
const LEVELS: [Isolation; 2] = [Isolation::ReadCommitted, Isolation::ReadUncommitted];

/// A log directory of a real broker, as it was left.
pub fn directory(name: &str) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    vfs.create_dir(Path::new(ROOT)).unwrap();
    copy(&vfs, &root().join(name), "");
    vfs
}

fn copy(vfs: &MemoryVfs, from: &Path, to: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{to}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            vfs.create_dir(&Path::new(ROOT).join(&name)).unwrap();
            copy(vfs, &path, &format!("{name}/"));
        } else {
            put(vfs, &name, &std::fs::read(&path).unwrap());
        }
    }
}

fn open(vfs: &MemoryVfs, adopts: bool) -> Broker {
    open_on(options().adopt(adopts), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

fn partition(broker: &Broker, fixture: &Fixture) -> Partition {
    let (_, name) = fixture.name.split_once('/').unwrap();
    let (topic, partition) = name.rsplit_once('-').unwrap();
    broker.topic(topic).unwrap().partition(partition.parse().unwrap()).unwrap()
}

/// What Kafka's consumer returned is what ours returns; where `appended`, with one record of ours behind it.
fn assert_same(broker: &Broker, fixtures: &[Fixture], appended: bool, what: &str) -> usize {
    let mut records = 0;
    for fixture in fixtures {
        let partition = partition(broker, fixture);
        let ours = appended && !fixture.is_internal();
        let name = format!("{what}: {}", fixture.name);
        assert_eq!(partition.log_start_offset(), fixture.expected.log_start_offset, "{name}");
        assert_eq!(partition.high_watermark(), fixture.expected.high_watermark + u64::from(ours), "{name}");
        for isolation in LEVELS {
            let mut lines = Read::all(&partition, isolation).unwrap();
            let expected = fixture.expected.lines(isolation);
            // What stands behind a transaction that is open is not read as committed.
            let is_stable = fixture.expected.position(isolation) == fixture.expected.high_watermark;
            if ours && is_stable {
                assert_eq!(lines.lines.pop().unwrap().offset, fixture.expected.high_watermark, "{name}");
            }
            assert_eq!(lines.lines, expected, "{name} {isolation:?}");
            records += expected.len();
        }
    }
    records
}

fn append_everywhere(broker: &Broker, fixtures: &[Fixture]) {
    for fixture in fixtures.iter().filter(|fixture| !fixture.is_internal()) {
        let partition = partition(broker, fixture);
        let topic = broker.topic(partition.topic()).unwrap();
        topic.producer().send(Record::new("ours").partition(partition.id())).unwrap().wait().unwrap();
    }
}

/// The logs, transaction indexes and producer snapshots, but for our own segments.
fn kafkas(vfs: &MemoryVfs, fixtures: &[Fixture]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(vfs, Path::new(ROOT));
    files.retain(|path, bytes| {
        let name = path.to_string_lossy();
        let is_theirs = [".log", ".txnindex", ".snapshot"].iter().any(|suffix| name.ends_with(suffix));
        let ends = fixtures.iter().map(|fixture| {
            let (_, dir) = fixture.name.split_once('/').unwrap();
            format!("{dir}/{:020}.log", fixture.expected.high_watermark)
        });
        // One that Kafka has begun and not written to holds ours.
        is_theirs && !bytes.is_empty() && !ends.into_iter().any(|ours| name.ends_with(&ours))
    });
    files
}

#[test]
fn a_real_brokers_directory_comes_and_goes_with_every_record() {
    let mut records = 0;
    for (name, clean) in [("stopped", true), ("killed", false)] {
        let vfs = directory(name);
        let fixtures: Vec<_> =
            all().into_iter().filter(|fixture| fixture.name.starts_with(&format!("{name}/"))).collect();
        let theirs = kafkas(&vfs, &fixtures);

        let broker = open(&vfs, true);
        assert_eq!(broker.recovery_report().is_clean(), clean);
        assert_eq!(broker.recovery_report().partitions(), []);
        records += assert_same(&broker, &fixtures, false, "adopted");
        append_everywhere(&broker, &fixtures);
        std::mem::forget(broker);
        let vfs = vfs.restart();
        let broker = open(&vfs, false);
        records += assert_same(&broker, &fixtures, true, "recovered");
        broker.close(TIMEOUT).unwrap();
        assert_eq!(kafkas(&vfs, &fixtures), theirs, "{name}");

        let report = undo_adoption_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
        let ours = fixtures.iter().filter(|fixture| !fixture.is_internal()).count();
        assert_eq!(report.restamped_batches(), ours as u64);
        let broker = open(&vfs, true);
        assert!(broker.recovery_report().is_clean());
        records += assert_same(&broker, &fixtures, true, "given back and adopted again");
    }
    println!("adopting: {records} records of a real Kafka compared");
    assert!(records > 1000);
}

/// After a power cut an index of transactions may lack what the log has; snapshots may tell of what the log lacks.
#[test]
fn transaction_indexes_are_made_again_and_snapshots_from_behind_the_end_go() {
    let index = "killed-ongoing-0/00000000000000000000.txnindex";
    let sound = get(&directory("killed"), index);
    assert!(!sound.is_empty());
    for lacking in [0, 34, sound.len()] {
        let vfs = directory("killed");
        put(&vfs, "recovery-point-offset-checkpoint", b"0\n0\n");
        put(&vfs, index, &sound[..lacking]);
        put(&vfs, "killed-0/00000000000000009999.snapshot", b"of what was lost");
        put(&vfs, "killed-0/00000000000000000080.txnindex", &sound);
        drop(open(&vfs, true));
        assert_eq!(get(&vfs, index), sound, "{lacking} bytes");
        let left = tree(&vfs, &Path::new(ROOT).join("killed-0"));
        for path in left.keys() {
            let name = path.to_string_lossy();
            assert!(!name.ends_with("9999.snapshot") && !name.ends_with(".txnindex"), "{name}");
        }
    }
}
