//! Opening after a stop that was not in order: torn tails are cut and kept, damage below the proven end is an
//! error, and nothing that was acknowledged is ever lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, Durability, Record, Start, TopicConfig};

use crate::support::{ROOT, encode_batch, options, send_all, values};

const LOG: &str = "t-0/00000000000000000000.log";

/// A broker on a file system that its process has left without closing: the handle is leaked, as by a kill.
struct Killed {
    vfs: MemoryVfs,
}

impl Killed {
    /// Fifteen acknowledged records in segments of 1 KiB, then the kill.
    fn new() -> Self {
        let vfs = MemoryVfs::new();
        let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
        let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).unwrap();
        for number in 0..15 {
            send_all(&topic, [[number; 200]]).unwrap();
        }
        std::mem::forget((broker, topic));
        Self { vfs: vfs.restart() }
    }

    fn open(&self) -> ottla::Result<Broker> {
        open_on(options(), Arc::new(self.vfs.clone()), Path::new(ROOT))
    }

    fn path(name: &str) -> PathBuf {
        Path::new(ROOT).join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        self.vfs.open(&Self::path(name), OpenMode::Read).unwrap().map().unwrap().to_vec()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let file = self.vfs.open(&Self::path(name), OpenMode::CreateEmpty).unwrap();
        file.write_at(bytes, 0).unwrap();
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = self.vfs.read_dir(&Self::path(dir)).unwrap();
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }

    /// The log in which the proven end lies, and where.
    fn last_log(&self) -> (String, usize) {
        let logs = self.names("t-0").into_iter().filter(|name| name.ends_with(".log"));
        let name = format!("t-0/{}", logs.max().unwrap());
        let bytes = self.read(&name);
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // The last byte of a batch is the number of its last record's headers, 0.
        (name, end + 1)
    }

    /// Puts `tail` in the place of everything behind the proven end.
    fn with_tail(self, tail: &[u8]) -> Self {
        let (log, end) = self.last_log();
        let mut bytes = self.read(&log);
        bytes.truncate(end);
        bytes.extend(tail);
        self.write(&log, &bytes);
        self
    }

    /// Opens, finds the fifteen records and whatever `behind` says, appends in a new epoch, and closes in order.
    fn assert_recovers(&self, behind: &[Vec<u8>]) {
        let broker = self.open().unwrap();
        assert!(!broker.recovery_report().is_clean());
        let topic = broker.topic("t").unwrap();
        let partition = topic.partition(0).unwrap();
        let mut expected: Vec<Vec<u8>> = (0..15).map(|number| vec![number; 200]).collect();
        expected.extend_from_slice(behind);
        assert_eq!(values(&partition).unwrap(), expected);
        send_all(&topic, ["after"]).unwrap();
        let batch = partition.read(Start::At(expected.len() as u64)).unwrap().next().unwrap().unwrap();
        assert_eq!(batch.leader_epoch(), Some(1), "what comes after a recovery has an epoch of its own");
        broker.close(Duration::from_secs(10)).unwrap();

        let again = self.open().unwrap();
        assert!(again.recovery_report().is_clean());
        expected.push(b"after".to_vec());
        assert_eq!(values(&again.topic("t").unwrap().partition(0).unwrap()).unwrap(), expected);
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let killed = Killed::new();
    killed.assert_recovers(&[]);
    assert!(!killed.names("").iter().any(|name| name.contains("quarantine")), "zeros are no loss");
}

#[test]
fn an_unacknowledged_batch_that_is_whole_is_kept() {
    let batch = encode_batch(15, &[(15, 1, Record::new("whole"))]);
    let killed = Killed::new().with_tail(&batch);
    killed.assert_recovers(&[b"whole".to_vec()]);
}

#[test]
fn every_torn_tail_is_cut_and_kept_in_a_quarantine_file() {
    let (log, end) = Killed::new().last_log();
    let batch = encode_batch(15, &[(15, 1, Record::new("torn"))]);
    let mut tails: Vec<Vec<u8>> = (1..batch.len()).map(|len| batch[..len].to_vec()).collect();
    // A batch whose first sector did not arrive, garbage, another offset than the next one, a flipped bit.
    tails.push([vec![0; 600], batch.clone()].concat());
    tails.push((0..=255).collect());
    tails.push(encode_batch(17, &[(17, 1, Record::new("gap"))]));
    let mut flipped = batch.clone();
    flipped[40] ^= 1;
    tails.push(flipped);
    for tail in tails {
        let killed = Killed::new().with_tail(&tail);
        let zeros = tail.iter().all(|byte| *byte == 0);

        let broker = killed.open().unwrap();
        let report = broker.recovery_report().clone();
        if zeros {
            assert!(report.partitions().is_empty());
        } else {
            let [partition] = report.partitions() else { panic!("{report:?}") };
            assert_eq!((partition.topic(), partition.partition(), partition.end_offset()), ("t", 0, 15));
            assert_eq!(partition.cut_bytes(), tail.len() as u64);
            let [kept] = partition.quarantined().collect::<Vec<_>>()[..] else { panic!("{report:?}") };
            assert_eq!(killed.read(kept.file_name().unwrap().to_str().unwrap()), tail);
        }
        assert_eq!(killed.read(&log).len(), end, "cut at the end of the last whole batch");
        assert_eq!(broker.topic("t").unwrap().partition(0).unwrap().high_watermark(), 15);
    }
}

#[test]
fn segments_behind_a_torn_one_are_moved_whole() {
    let killed = Killed::new().with_tail(b"torn");
    let later = encode_batch(16, &[(16, 1, Record::new("later"))]);
    killed.write("t-0/00000000000000000016.log", &later);
    killed.write("t-0/00000000000000000016.index", &[]);
    let broker = killed.open().unwrap();
    let [partition] = broker.recovery_report().partitions() else { panic!() };
    assert_eq!(partition.cut_bytes(), 4 + later.len() as u64);
    assert_eq!(partition.quarantined().count(), 2);
    assert!(!killed.names("t-0").iter().any(|name| name.contains("16.")), "{:?}", killed.names("t-0"));
    assert_eq!(killed.read("ottla.quarantine.t-0.00000000000000000016.0"), later);
}

/// One flipped bit anywhere below the proven end: never cut, never other data.
#[test]
fn damage_below_the_proven_end_is_an_error_and_changes_nothing() {
    let (log, end) = Killed::new().last_log();
    for at in (0..end).step_by(3) {
        let killed = Killed::new();
        let mut bytes = killed.read(&log);
        bytes[at] ^= 0x10;
        killed.write(&log, &bytes);
        let error = match killed.open() {
            Err(error) => error,
            Ok(broker) => {
                let found = values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap();
                assert_eq!(found.len(), 15, "byte {at} is outside the checksum");
                continue;
            }
        };
        let known = error.is_corruption();
        assert!(known && error.topic() == Some("t") && error.file().is_some(), "byte {at}: {error}");
        assert!(error.position().is_some_and(|position| position <= at as u64), "byte {at}: {error}");
        assert_eq!(killed.read(&log), bytes, "nothing was cut");
        assert!(!killed.names("").iter().any(|name| name.contains("quarantine")));
    }
}

#[test]
fn a_log_that_is_shorter_than_its_proof_is_damaged() {
    let (log, end) = Killed::new().last_log();
    for len in (0..end).step_by(50) {
        let killed = Killed::new();
        let bytes = killed.read(&log)[..len].to_vec();
        killed.write(&log, &bytes);
        let error = killed.open().unwrap_err();
        assert!(error.is_corruption(), "{len}: {error}");
        assert_eq!(error.partition(), Some(0));
    }
    for lost in [LOG, "t-0/00000000000000000006.log", &log] {
        let killed = Killed::new();
        killed.vfs.remove_file(&Killed::path(lost)).unwrap();
        let error = killed.open().unwrap_err();
        assert!(error.is_corruption(), "{lost}: {error}");
    }
}

#[test]
fn every_damaged_partition_is_named() {
    let vfs = MemoryVfs::new();
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().partitions(3)).unwrap();
    for partition in 0..3 {
        topic.producer().send(Record::new("acknowledged").partition(partition)).unwrap().wait().unwrap();
    }
    std::mem::forget((broker, topic));
    let killed = Killed { vfs: vfs.restart() };
    for partition in [0, 2] {
        killed.write(&format!("t-{partition}/00000000000000000000.log"), &[]);
    }
    let text = killed.open().unwrap_err().to_string();
    assert!(
        text.contains("partition 0") && text.contains("partition 2") && !text.contains("partition 1"),
        "{text}"
    );
}

#[test]
fn the_slots_in_every_state() {
    // (what is done to the first twin, what to the second, whether it opens)
    let cases: [(&[u8], &[u8], bool); 3] =
        [(&[0xff; 100], &[], true), (&[], &[0xff; 100], true), (&[0xff; 100], &[0; 512], false)];
    for (first, second, opens) in cases {
        let killed = Killed::new();
        let mut ends = killed.read("ottla.ends");
        ends[4096..4096 + first.len()].copy_from_slice(first);
        ends[8192..8192 + second.len()].copy_from_slice(second);
        killed.write("ottla.ends", &ends);
        if opens {
            // The older twin proves less, and what it does not prove is whole and kept.
            killed.assert_recovers(&[]);
        } else {
            let error = killed.open().unwrap_err();
            assert!(error.is_corruption() && error.to_string().contains("slots"), "{error}");
            assert_eq!(killed.read("ottla.ends"), ends);
        }
    }
}

/// The newer of two twins is damaged after an orderly stop: the older one proves less than there is, and that is no damage of
/// the log. The suite `bitflip` has found that opening failed, and named a log that was whole.
#[test]
fn after_an_orderly_stop_a_damaged_slot_falls_back_to_its_twin() {
    let killed = Killed::new();
    drop(killed.open().unwrap());
    let broker = killed.open().unwrap();
    send_all(&broker.topic("t").unwrap(), ["newer"]).unwrap();
    broker.close(Duration::from_secs(10)).unwrap();
    drop(broker);
    let whole = killed.read("ottla.ends");
    let damages: [fn(&mut Vec<u8>); 3] =
        [|ends| ends[4096 + 60] ^= 1, |ends| ends[8192 + 60] ^= 1, |ends| ends.truncate(8192)];
    for damage in damages {
        let again = Killed { vfs: killed.vfs.restart() };
        let mut ends = whole.clone();
        damage(&mut ends);
        again.write("ottla.ends", &ends);
        let broker = again.open().unwrap();
        let found = values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap();
        assert_eq!((found.len(), found.last()), (16, Some(&b"newer".to_vec())));
    }
    // With both of them whole, a log that ends elsewhere is damaged.
    let (log, end) = killed.last_log();
    let mut bytes = killed.read(&log);
    bytes.truncate(end);
    bytes.extend(encode_batch(16, &[(16, 1, Record::new("nobody's"))]));
    killed.write(&log, &bytes);
    assert!(killed.open().unwrap_err().is_corruption());
}

/// Segments of an os topic are rolled without a sync: after a crash their indexes may hold anything, and Kafka
/// believes them.
#[test]
fn indexes_above_the_proven_end_are_made_again() {
    let vfs = MemoryVfs::new();
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let config = TopicConfig::new().segment_bytes(1024).index_interval_bytes(0).durability(Durability::Os);
    let topic = broker.create_topic("t", config).unwrap();
    for number in 0..15 {
        send_all(&topic, [[number; 200]]).unwrap();
    }
    std::mem::forget((broker, topic));
    let killed = Killed { vfs: vfs.restart() };
    let mut names = killed.names("t-0");
    names.retain(|name| name.contains("index"));
    // The last segment was never ended, so that its indexes are not written yet.
    let sealed: Vec<_> = names[..names.len() - 2].iter().map(|name| format!("t-0/{name}")).collect();
    let sound: Vec<_> = sealed.iter().map(|name| killed.read(name)).collect();
    assert!(sound.len() >= 4 && sound.iter().all(|bytes| !bytes.is_empty()));
    for garbage in [vec![], vec![0; 24], vec![0xff; 7]] {
        let killed = Killed { vfs: killed.vfs.restart() };
        sealed.iter().for_each(|name| killed.write(name, &garbage));
        let broker = killed.open().unwrap();
        assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap().len(), 15);
        let found: Vec<_> = sealed.iter().map(|name| killed.read(name)).collect();
        assert_eq!(found, sound);
        std::mem::forget(broker);
    }
}

#[test]
fn recovering_twice_is_recovering_once() {
    let killed = Killed::new().with_tail(b"torn");
    let (log, _) = killed.last_log();
    std::mem::forget(killed.open().unwrap());
    let once = Killed { vfs: killed.vfs.restart() };
    let logs = once.read(&log);
    assert!(once.open().unwrap().recovery_report().partitions().is_empty(), "nothing is left to cut");
    assert_eq!(once.read(&log), logs);
}
