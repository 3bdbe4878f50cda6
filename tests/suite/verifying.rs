//! `verify`: an undamaged directory has no findings, whatever was done with it; whatever is damaged is found, where it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::{FindingKind, Severity, Verify, VerifyReport};
use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on, verify_on};
use ottla::{Broker, Durability, ErrorKind, ManualClock, Record, TopicConfig};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{ROOT, TempDir, encode_batch, options, send_all};

const TIMEOUT: Duration = Duration::from_secs(10);

pub fn verify(vfs: &MemoryVfs) -> VerifyReport {
    let before = vfs.counts().changing;
    let report = verify_on(Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    assert_eq!(vfs.counts().changing, before, "it changes nothing");
    report
}

pub fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

pub fn content(vfs: &MemoryVfs, name: &str) -> Vec<u8> {
    vfs.open(&path(name), OpenMode::Read).unwrap().map().unwrap().to_vec()
}

pub fn replace(vfs: &MemoryVfs, name: &str, bytes: &[u8]) {
    let file = vfs.open(&path(name), OpenMode::CreateEmpty).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
}

/// Every file of a directory.
pub fn files(vfs: &MemoryVfs) -> Vec<String> {
    let mut files = Vec::new();
    for entry in vfs.read_dir(&path("")).unwrap() {
        match vfs.read_dir(&path(&entry.name)) {
            Ok(inside) => files.extend(inside.iter().map(|file| format!("{}/{}", entry.name, file.name))),
            Err(_) => files.push(entry.name),
        }
    }
    files.sort();
    files
}

/// What happens to a directory.
#[derive(Clone, Debug)]
enum Step {
    Send { topic: usize, partition: u32, sizes: Vec<usize>, at: i64 },
    Flush,
    Advance(u64),
    Reopen,
    Kill,
    Delete(usize),
    Grow(usize),
}

const TOPICS: [(&str, Durability); 3] = [
    ("synced", Durability::Synced),
    ("os", Durability::Os),
    ("interval", Durability::Interval(Duration::from_millis(50))),
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3usize, 0..2u32, vec(0..700usize, 1..8), 0..50i64)
            .prop_map(|(topic, partition, sizes, at)| Step::Send { topic, partition, sizes, at }),
        2 => Just(Step::Flush),
        2 => (0..200u64).prop_map(Step::Advance),
        2 => Just(Step::Reopen),
        2 => Just(Step::Kill),
        1 => (0..3usize).prop_map(Step::Delete),
        1 => (0..3usize).prop_map(Step::Grow),
    ]
}

struct Life {
    vfs: MemoryVfs,
    clock: ManualClock,
    broker: Broker,
    interval: u64,
}

impl Life {
    fn begin(vfs: MemoryVfs, clock: ManualClock, interval: u64) -> Self {
        let broker = options().clock(clock.clock()).batch_size(400);
        let broker = open_on(broker, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
        Self { vfs, clock, broker, interval }
    }

    fn topic(&self, number: usize) -> ottla::Topic {
        let (name, durability) = TOPICS[number];
        let config = TopicConfig::new()
            .partitions(2)
            .segment_bytes(4096)
            .index_interval_bytes(self.interval)
            .durability(durability);
        self.broker.topic(name).unwrap_or_else(|_| self.broker.create_topic(name, config).unwrap())
    }

    fn after(self, step: Step) -> Self {
        match step {
            Step::Send { topic, partition, sizes, at } => {
                let topic = self.topic(topic);
                for size in sizes {
                    let value = vec![7; size];
                    let record = Record::new(&value).partition(partition).timestamp(1_700_000_000_000 + at);
                    drop(topic.producer().send(record).unwrap());
                }
            }
            Step::Flush => self.broker.producer().flush().unwrap(),
            Step::Advance(time) => {
                self.clock.advance(Duration::from_millis(time));
                self.broker.tick().unwrap();
            }
            Step::Reopen => {
                self.broker.close(TIMEOUT).unwrap();
                assert_nothing_found(&self.vfs, "closed in order");
                return Self::begin(self.vfs, self.clock, self.interval);
            }
            Step::Kill => {
                std::mem::forget(self.broker);
                let vfs = self.vfs.restart();
                assert_nothing_found(&vfs, "killed");
                return Self::begin(vfs, self.clock, self.interval);
            }
            Step::Delete(topic) => {
                self.topic(topic);
                self.broker.delete_topic(TOPICS[topic].0).unwrap();
            }
            Step::Grow(topic) => {
                let topic = self.topic(topic);
                let more = topic.config().partitions(topic.partition_count() + 1);
                self.broker.alter_topic(topic.name(), more).unwrap();
            }
        }
        assert_nothing_found(&self.vfs, "open");
        self
    }
}

fn assert_nothing_found(vfs: &MemoryVfs, when: &str) {
    let report = verify(vfs);
    assert!(report.findings.is_empty(), "{when}: {:#?}", report.findings);
    assert_eq!(report.is_live, when == "open");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_undamaged_directory_has_no_findings(steps in vec(step(), 1..40), interval in 0..2000u64) {
        let mut life = Life::begin(MemoryVfs::new(), ManualClock::at(1_700_000_000_000), interval);
        for step in steps.into_iter().chain([Step::Reopen]) {
            life = life.after(step);
        }
    }
}

/// A small directory with everything in it: two topics, several segments with indexes, two leader epochs; closed in order.
pub fn complete() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let clock = ManualClock::at(1_700_000_000_000);
    let open = |vfs: &MemoryVfs| {
        open_on(options().clock(clock.clock()), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
    };
    let broker = open(&vfs);
    let config = TopicConfig::new().segment_bytes(1024).index_interval_bytes(150);
    let (a, b) = (
        broker.create_topic("a", config.clone()).unwrap(),
        broker.create_topic("b", config.partitions(2)).unwrap(),
    );
    for number in 0..12_u8 {
        clock.advance(Duration::from_millis(10));
        send_all(&a, [[number; 150]]).unwrap();
        b.producer().send(Record::new(&[number; 20]).key("k").partition(1)).unwrap().wait().unwrap();
    }
    std::mem::forget((broker, a, b));
    let vfs = vfs.restart();
    let broker = open(&vfs);
    for number in 12..18_u8 {
        clock.advance(Duration::from_millis(10));
        send_all(&broker.topic("a").unwrap(), [[number; 150]]).unwrap();
    }
    broker.close(TIMEOUT).unwrap();
    vfs
}

/// Whether a byte means nothing: who has the lock, what stands behind the header and the slots of the ends file.
pub fn means_nothing(name: &str, position: usize) -> bool {
    match name {
        ".lock" => true,
        "ottla.ends" if position < 4096 => position >= 16,
        "ottla.ends" => position % 512 >= 84,
        _ => false,
    }
}

#[test]
fn a_flipped_bit_in_any_byte_that_means_something_is_found() {
    let sound = complete();
    assert_nothing_found(&sound, "closed in order");
    let (mut tried, mut unnoticed) = (0, Vec::new());
    for name in files(&sound) {
        let bytes = content(&sound, &name);
        for position in (0..bytes.len()).filter(|position| !means_nothing(&name, *position)) {
            for mask in [1, 0x10, 0x80] {
                let mut damaged = bytes.clone();
                damaged[position] ^= mask;
                replace(&sound, &name, &damaged);
                let report = verify(&sound);
                tried += 1;
                if report.is_sound() {
                    unnoticed.push((name.clone(), position, mask));
                    continue;
                }
                let is_there = |finding: &ottla::inspect::Finding| {
                    let bytes = finding.bytes.clone().unwrap_or(0..u64::MAX);
                    let reaches = bytes.is_empty() || bytes.contains(&(position as u64));
                    finding.file == path(&name) && reaches
                };
                // What is said of a log may be wrong, or the log.
                let says =
                    ["leader-epoch-checkpoint", ".timeindex", ".index", "ottla.ends", "ottla.manifest"];
                let is_said = says.iter().any(|end| name.ends_with(end)) || name.ends_with("-checkpoint");
                assert!(
                    is_said || report.findings.iter().any(is_there),
                    "{name}, byte {position}: {:#?}",
                    report.findings
                );
            }
        }
        replace(&sound, &name, &bytes);
    }
    assert!(unnoticed.is_empty(), "{} of {tried} unnoticed: {unnoticed:?}", unnoticed.len());
    println!("{tried} flips, all found");
    assert_nothing_found(&sound, "as it was");
}

#[test]
fn every_other_length_of_a_log_and_every_file_that_is_gone_is_found() {
    let sound = complete();
    for name in files(&sound) {
        let bytes = content(&sound, &name);
        if name == ".lock" {
            continue;
        }
        // An offset index that ends between two entries is sparser, and no less right.
        let step = if name.ends_with(".index") { 8 } else { usize::MAX };
        for len in (0..bytes.len()).filter(|len| len % step != 0 || (name.ends_with(".log") && *len == 0)) {
            if name == "ottla.ends" && len > 4096 {
                break;
            }
            replace(&sound, &name, &bytes[..len]);
            let report = verify(&sound);
            assert!(!report.is_sound(), "{name}, {len} bytes");
        }
        // Partition 0 of `b` is empty, and needs no index.
        sound.remove_file(&path(&name)).unwrap();
        let report = verify(&sound);
        let derived = ["index", ".kafka_cleanshutdown", "-offset-checkpoint"];
        let is_derived = derived.iter().any(|end| name.ends_with(end));
        assert_eq!(report.is_sound(), is_derived, "{name} is gone: {:#?}", report.findings);
        if name.ends_with("index") && !name.starts_with("b-0") {
            assert!(report.findings.iter().any(|finding| finding.file == path(&name)), "{name}");
        }
        replace(&sound, &name, &bytes);
    }
    assert_nothing_found(&sound, "as it was");
}

#[test]
fn damage_of_one_partition_is_found_there_alone() {
    for (what, damage) in crate::damage::DAMAGES {
        for in_order in [true, false] {
            let vfs = crate::damage::filled(in_order);
            assert_nothing_found(&vfs, what);
            damage(&vfs);
            let report = verify(&vfs);
            assert!(!report.is_sound(), "{what}");
            let damages = report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
            let partitions: Vec<_> = damages.filter_map(|finding| finding.partition.clone()).collect();
            assert!(!partitions.is_empty(), "{what}: {:#?}", report.findings);
            assert!(
                partitions.iter().all(|partition| *partition == ("a".to_owned(), 1)),
                "{what}: {partitions:?}"
            );
        }
    }
}

/// The log of a killed broker, from whose last batch on `tail` stands.
fn killed_with_tail(tail: &[u8]) -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["a"]).unwrap();
    send_all(&topic, ["b"]).unwrap();
    std::mem::forget((broker, topic));
    let vfs = vfs.restart();
    let log = content(&vfs, LOG);
    let end = log.iter().rposition(|byte| *byte != 0).unwrap() + 2;
    replace(&vfs, LOG, &[&log[..end], tail].concat());
    vfs
}

const LOG: &str = "t-0/00000000000000000000.log";

#[test]
fn a_torn_tail_is_unrecovered_and_a_whole_one_is_nothing() {
    let batch = encode_batch(2, &[(2, 1, Record::new("more"))]);
    for whole in [&[][..], &[0; 3000], &batch, &[&batch[..], &[0; 512]].concat()] {
        assert_nothing_found(&killed_with_tail(whole), "killed");
    }
    let other_offset = encode_batch(7, &[(7, 1, Record::new("more"))]);
    let mut other_epoch = batch.clone();
    other_epoch[15] = 9;
    for torn in [&batch[..40], &[&[0; 512][..], &batch].concat(), &[7; 100], &other_offset, &other_epoch] {
        let report = verify(&killed_with_tail(torn));
        let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
        assert_eq!(
            (finding.severity, finding.offsets.as_ref().unwrap().start),
            (Severity::Unrecovered, 2),
            "{finding}"
        );
        assert!(report.is_sound() && !report.is_clean);
    }
}

#[test]
fn damage_is_told_with_file_bytes_and_offsets() {
    let vfs = killed_with_tail(&[]);
    let log = content(&vfs, LOG);
    let second = log.len() / 2;
    let mut damaged = log.clone();
    damaged[second + 30] ^= 1;
    replace(&vfs, LOG, &damaged);
    let report = verify(&vfs);
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((finding.kind, finding.severity), (FindingKind::Batch, Severity::Damage));
    assert_eq!(finding.partition, Some(("t".to_owned(), 0)));
    assert_eq!(finding.bytes, Some(second as u64..log.len() as u64));
    assert_eq!(finding.offsets, Some(1..2));
    let text = finding.to_string();
    for part in ["checksum", "topic t, partition 0", "offsets 1 to 1", LOG, "salvage"] {
        assert!(text.contains(part), "{text}");
    }
    // A file that is shorter than what was acknowledged.
    replace(&vfs, LOG, &log[..second]);
    let report = verify(&vfs);
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((finding.kind, finding.severity), (FindingKind::End, Severity::Damage));
    assert_eq!(finding.offsets, Some(1..2));
}

#[test]
fn beside_a_live_owner_what_is_proven_is_verified_and_nothing_else() {
    let dir = TempDir::new("verify-live");
    let broker = options().open(dir.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().durability(Durability::Os)).unwrap();
    topic.producer().synced().send(Record::new("proven")).unwrap().wait().unwrap();
    let proven = std::fs::read(dir.path().join(LOG)).unwrap();
    let end = proven.iter().rposition(|byte| *byte != 0).unwrap() + 2;
    send_all(&topic, ["written"]).unwrap();
    let flip = |position: usize| {
        let mut log = std::fs::read(dir.path().join(LOG)).unwrap();
        log[position] ^= 1;
        std::fs::write(dir.path().join(LOG), log).unwrap();
    };
    let mut told = Vec::new();
    let verify = |told: &mut Vec<(u64, u64)>| {
        let before = dir.content();
        let report =
            Verify::new().progress(|progress| told.push((progress.done, progress.total))).run(dir.path());
        assert_eq!(dir.content(), before, "it changes nothing");
        report.unwrap()
    };
    let report = verify(&mut told);
    assert!(report.is_live && report.findings.is_empty() && report.records == 1, "{report:#?}");
    assert!(told.last().is_some_and(|(done, total)| done == total && *done > 0), "{told:?}");
    flip(end + 30);
    assert!(verify(&mut told).findings.is_empty(), "the owner may be writing there");
    flip(end + 30);
    flip(30);
    assert_eq!(verify(&mut told).findings[0].severity, Severity::Damage);
    flip(30);
    send_all(&topic, ["the owner goes on"]).unwrap();
}

/// What was closed in order a moment ago is no measure for what somebody appends now.
#[test]
fn an_owner_that_comes_in_the_midst_is_no_damage() {
    let dir = TempDir::new("verify-race");
    let append = || {
        let broker = options().open(dir.path()).unwrap();
        let topic = broker.ensure_topic("t", TopicConfig::new()).unwrap();
        send_all(&topic, (0..30).map(|_| [7; 100_000])).unwrap();
        broker
    };
    drop(append());
    for stays in [true, false] {
        let mut owner = None;
        let comes = |_| {
            if owner.is_none() {
                owner = Some(append());
                stays.then_some(()).or_else(|| owner.as_ref()?.close(Duration::MAX).ok()).unwrap();
            }
        };
        let error = Verify::new().progress(comes).run(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
        assert!(error.is_retriable());
    }
    assert!(Verify::new().run(dir.path()).unwrap().findings.is_empty());
}

#[test]
fn a_directory_that_is_none_is_an_error_and_foreign_files_are_notes() {
    let vfs = MemoryVfs::new();
    vfs.create_dir(&path("")).unwrap();
    let error = verify_on(Arc::new(vfs.clone()), Path::new(ROOT)).unwrap_err();
    assert_eq!(error.kind(), ottla::ErrorKind::DirectoryNotOurs);
    assert!(verify_on(Arc::new(vfs), Path::new("/nowhere")).is_err());

    let vfs = complete();
    vfs.create_dir(&path("old")).unwrap();
    vfs.create_dir(&path("c-0")).unwrap();
    for name in ["notes.txt", "a-0/notes.txt", "a-0/00000000000000099999.index"] {
        vfs.open(&path(name), OpenMode::CreateNew).unwrap();
    }
    let report = verify(&vfs);
    assert!(report.is_sound());
    assert_eq!(report.findings.len(), 5, "{:#?}", report.findings);
    assert!(report.findings.iter().all(|finding| finding.kind == FindingKind::Foreign));
}
