//! A real file system without space: a small one in memory, mounted for the test. Needs root; skipped with a word
//! elsewhere.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ottla::{Broker, Durability, ErrorKind, Record, TopicConfig};

use crate::support::{ScriptedVfs, TempDir, options, values};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A file system of 4 MiB.
struct Small {
    dir: TempDir,
}

impl Small {
    fn mount(name: &str) -> Option<Self> {
        let dir = TempDir::new(name);
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "ottla-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("full disk: skipped, a file system cannot be mounted here");
            return None;
        }
        Some(Self { dir })
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Takes all the space that is left.
    fn fill(&self) -> PathBuf {
        let path = self.dir.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [64 * 1024, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(self.dir.path()).status();
    }
}

/// Sends until the disk is full, makes space, goes on; what was acknowledged is there, what was not written is not.
#[test]
fn a_full_disk_is_told_and_writing_goes_on_once_there_is_space() {
    let Some(small) = Small::mount("full") else { return };
    for level in [Durability::Synced, Durability::Os] {
        let filler = small.dir.path().join("filler");
        std::fs::write(&filler, vec![1; 2 * 1024 * 1024]).unwrap();
        let broker = Broker::options().reserve_bytes(64 * 1024).open(small.data()).unwrap();
        let config = TopicConfig::new().segment_bytes(100_000).durability(level);
        let topic = broker.create_topic(&level.to_string(), config).unwrap();
        let producer = topic.producer();
        let mut acknowledged = Vec::new();
        let (mut refused, mut number) = (0, 0u32);
        while refused < 20 {
            number += 1;
            let mut value = number.to_be_bytes().to_vec();
            value.resize(1000, 7);
            match producer.send(Record::new(&value)).unwrap().wait() {
                Ok(metadata) => {
                    assert_eq!(metadata.offset(), acknowledged.len() as u64);
                    acknowledged.push(value);
                }
                Err(error) => {
                    assert!(error.is_retriable() && error.kind() == ErrorKind::NotWritten, "{error}");
                    assert!(error.io_error().is_some(), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(acknowledged.len() > 100);
        let found = values(&topic.partition(0).unwrap()).unwrap();
        assert!(
            found == acknowledged,
            "{} records, and {} were acknowledged",
            found.len(),
            acknowledged.len()
        );
        std::fs::remove_file(&filler).unwrap();
        assert_eq!(producer.flush().unwrap_err().kind(), ErrorKind::NotWritten, "nobody may have waited");
        producer.send(Record::new("space")).unwrap().wait().unwrap();
        acknowledged.push(b"space".to_vec());
        broker.close(TIMEOUT).unwrap();
        let broker = Broker::open(small.data()).unwrap();
        assert!(broker.recovery_report().is_clean());
        let topic = broker.topic(&level.to_string()).unwrap();
        assert!(values(&topic.partition(0).unwrap()).unwrap() == acknowledged);
        broker.delete_topic(&level.to_string()).unwrap();
    }
}

fn last_log(data: &Path) -> PathBuf {
    let entries = std::fs::read_dir(data.join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|it| it == "log")).max().unwrap()
}

/// An unclean stop left a torn tail, and there is no space: the reserve is enough to open, and to delete a topic.
#[test]
fn the_reserve_opens_a_directory_on_a_full_disk() {
    let Some(small) = Small::mount("reserve") else { return };
    let broker = Broker::options().reserve_bytes(256 * 1024).open(small.data()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    topic.producer().send(Record::new("acknowledged")).unwrap().wait().unwrap();
    drop((topic, broker));
    assert_eq!(std::fs::metadata(small.data().join("ottla.reserve")).unwrap().len(), 256 * 1024);
    // As a crash leaves it.
    std::fs::remove_file(small.data().join(".kafka_cleanshutdown")).unwrap();
    let mut log = File::options().append(true).open(last_log(&small.data())).unwrap();
    log.write_all(&[7; 50_000]).unwrap();
    drop(log);

    let filler = small.fill();
    let broker = Broker::options().reserve_bytes(256 * 1024).open(small.data()).unwrap();
    let [recovered] = broker.recovery_report().partitions() else { panic!() };
    assert_eq!((recovered.cut_bytes(), recovered.quarantined().count()), (50_000, 1));
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"acknowledged"]);
    broker.delete_topic("t").unwrap();
    std::fs::remove_file(filler).unwrap();
    broker.create_topic("u", TopicConfig::new()).unwrap();
    broker.close(TIMEOUT).unwrap();
    drop(broker);
    let broker = Broker::options().reserve_bytes(256 * 1024).open(small.data()).unwrap();
    assert!(broker.recovery_report().is_clean());
    assert_eq!(
        std::fs::metadata(small.data().join("ottla.reserve")).unwrap().len(),
        256 * 1024,
        "for the next time"
    );
}

/// Not even the reserve is enough: opening says so, and what it was to cut is still there.
#[test]
fn without_space_for_what_is_cut_nothing_is_cut() {
    let Some(small) = Small::mount("no-reserve") else { return };
    let broker = Broker::options().reserve_bytes(0).open(small.data()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    topic.producer().send(Record::new("acknowledged")).unwrap().wait().unwrap();
    drop((topic, broker));
    std::fs::remove_file(small.data().join(".kafka_cleanshutdown")).unwrap();
    let path = last_log(&small.data());
    File::options().append(true).open(&path).unwrap().write_all(&[7; 50_000]).unwrap();
    let torn = std::fs::read(&path).unwrap();
    let filler = small.fill();
    for _ in 0..2 {
        let error = Broker::open(small.data()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageError, "{error}");
        assert!(error.to_string().contains("make space"), "{error}");
        assert!(std::fs::read(&path).unwrap() == torn);
    }
    std::fs::remove_file(filler).unwrap();
    let broker = Broker::open(small.data()).unwrap();
    assert_eq!(broker.recovery_report().partitions().len(), 1);
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"acknowledged"]);
}

/// A reserve that the disk has no room for takes none of what there is.
#[test]
fn a_reserve_that_does_not_fit_is_not_set_aside() {
    let vfs = ScriptedVfs::new();
    vfs.fail("allocate ottla.reserve", 0, std::io::ErrorKind::StorageFull);
    let broker = vfs.open_with(options().reserve_bytes(1 << 20)).unwrap();
    assert_eq!(vfs.content("ottla.reserve").len(), 0, "a part of it was there");
    broker.create_topic("t", TopicConfig::new()).unwrap();
    broker.close(Duration::from_secs(10)).unwrap();
    vfs.fail_no_more();
    drop(vfs.open_with(options().reserve_bytes(1 << 20)).unwrap());
    assert_eq!(vfs.content("ottla.reserve").len(), 1 << 20);
}
