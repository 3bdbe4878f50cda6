//! What must be left, whatever has happened: everything promised, a prefix of what was sent, and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::Severity;
use ottla::internals::{MemoryVfs, Vfs, open_on, salvage_on, verify_on};
use ottla::{Broker, ErrorKind, ManualClock, Record, TopicConfig};

use crate::acquiring::{DEAD, check_dead_letters, check_work};
use crate::committing::goes_on_at;
use crate::group_deeds::committed;
use crate::look::{check_positions, scan_and_look_up, values_of};
use crate::service::NOON;
use crate::support::{ROOT, options, tree};
use crate::told::{End, Place, Sent, Told, config, split};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Opens what a service has left.
pub fn open(vfs: &MemoryVfs, told: &Told) -> ottla::Result<Broker> {
    let clock = ManualClock::at(NOON + 3_600_000);
    let options = options().clock(clock.clock()).adopt(told.was_kafkas);
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT))
}

/// Everything promised is there, what is there is a prefix of what was sent, and nothing else is; and it goes on.
pub fn check(vfs: &MemoryVfs, told: &Told, end: End, what: &str) {
    check_verified(vfs, what);
    let broker = open(vfs, told).unwrap_or_else(|error| panic!("{what}: {error}"));
    check_records(&broker, told, end, what);
    go_on(&broker, told, what);
    broker.close(TIMEOUT).unwrap_or_else(|error| panic!("{what}: {error}"));
    drop(broker);
    let before = logs(vfs);
    let again = open(vfs, told).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(again.recovery_report().is_clean(), "{what}: {:?}", again.recovery_report());
    assert_eq!(logs(vfs), before, "{what}: opening it again has changed a log");
    crate::service::end_process(vfs, again);
}

/// The same, and no more than that: what there is is looked at, and nothing is added to it.
pub fn check_at_a_glance(vfs: &MemoryVfs, told: &Told, end: End, what: &str) {
    let broker = open(vfs, told).unwrap_or_else(|error| panic!("{what}: {error}"));
    check_records(&broker, told, end, what);
    crate::service::end_process(vfs, broker);
}

/// Every log with its bytes.
fn logs(vfs: &MemoryVfs) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree(vfs, Path::new(ROOT));
    files.retain(|path, _| path.extension().is_some_and(|extension| extension == "log"));
    files
}

fn check_records(broker: &Broker, told: &Told, end: End, what: &str) {
    for (place, sent) in &told.topics {
        let (name, number) = split(place);
        let topic = match broker.topic(name) {
            Ok(topic) => topic,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
                assert!(is_excused(told, sent, name), "{what}: topic {name} is lost");
                continue;
            }
        };
        if let Some((config, perhaps)) = told.altered.get(name) {
            let found = topic.config();
            assert!(found == *config || Some(&found) == perhaps.as_ref(), "{what}: {found:?}");
        }
        let what = format!("{what}: {place}");
        let Ok(partition) = topic.partition(number) else {
            assert!(!sent.created, "{what} is lost");
            continue;
        };
        let found = scan_and_look_up(&partition, &what).unwrap_or_else(|error| panic!("{what}: {error}"));
        check_prefix(sent, &found, told.promised(place, end), &what);
        check_commits(broker, place, sent, &what);
        check_work(broker, place, sent, &what);
        let still = Sent { values: found, ..sent.clone() };
        check_positions(&partition, &still, &what);
    }
    check_dead_letters(broker, told.topics.values(), what);
    let topics = broker.topics().unwrap();
    let unknown = |name: &str| name != DEAD && !told.topics.keys().any(|place| split(place).0 == name);
    let made_up = topics.iter().find(|topic| unknown(topic.name()));
    assert!(made_up.is_none(), "{what}: {made_up:?} was never made, or deleted");
}

/// The group goes on where it has committed, and what that names is there.
fn check_commits(broker: &Broker, place: Place, sent: &Sent, what: &str) {
    let commits = &sent.commits;
    if commits.are_there() {
        let (offset, words) =
            committed(broker, place).unwrap_or_else(|error| panic!("{what}, {commits:?}: {error}"));
        assert!(
            commits.allow_with(offset, &words),
            "{what}: {offset} {words:?} is committed, of {commits:?}"
        );
        let offset = goes_on_at(broker, place).unwrap_or_else(|error| panic!("{what}, {commits:?}: {error}"));
        assert!(commits.allow(offset), "{what}: the group goes on at {offset}, and has {commits:?}");
    }
}

/// Whether a topic may not be there.
fn is_excused(told: &Told, sent: &Sent, name: &str) -> bool {
    !sent.created || told.maybe_deleted.contains(name)
}

fn check_prefix(sent: &Sent, found: &[Vec<u8>], promised: usize, what: &str) {
    let values = |values: &[Vec<u8>]| values.iter().map(|value| Value::of(value)).collect::<Vec<_>>();
    let (sent_values, found_values) = (values(&sent.values), values(found));
    assert!(
        sent.values.starts_with(found),
        "{what} holds what was never sent: {found_values:?} of {sent_values:?}"
    );
    assert!(found.len() >= promised, "{what} has {} records of {promised}", found.len());
    let torn = sent.batches.iter().find(|batch| batch.start < found.len() && found.len() < batch.end);
    assert_eq!(torn, None, "{what} holds {} records", found.len());
}

/// Whatever is left can be written to, and changed.
fn go_on(broker: &Broker, told: &Told, what: &str) {
    for name in told.topics.keys().map(|place| split(place).0) {
        let topic = broker.topic(name).or_else(|_| broker.create_topic(name, config(name))).unwrap();
        for partition in 0..topic.partition_count() {
            topic.producer().send(Record::new("goes on").partition(partition)).unwrap().wait().unwrap();
        }
    }
    for name in told.altered.keys() {
        // Nothing of partitions that did not come stands in the way of others.
        let config: TopicConfig = broker.topic(name).unwrap().config();
        let more = config.clone().partitions(broker.topic(name).unwrap().partition_count() + 3);
        broker.alter_topic(name, more).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// What stands in every topic: its configuration, and the values of its partitions.
pub type Contents = BTreeMap<String, (TopicConfig, Vec<Vec<Value>>)>;

/// A value, short enough for a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value {
    len: usize,
    crc: u32,
}

impl Value {
    fn of(bytes: &[u8]) -> Self {
        Self { len: bytes.len(), crc: crc32fast::hash(bytes) }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{:x}", self.len, self.crc)
    }
}

pub fn contents(broker: &Broker, what: &str) -> Contents {
    let content = |topic: ottla::Topic| {
        let read = |partition| -> Vec<Value> {
            let values = values_of(&partition, what).unwrap_or_else(|error| panic!("{what}: {error}"));
            values.iter().map(|value| Value::of(value)).collect()
        };
        let values = topic.partitions().map(read).collect();
        (topic.name().to_owned(), (topic.config(), values))
    };
    broker.topics().unwrap().into_iter().map(content).collect()
}

/// Whether the directory is ours, and nobody else's.
fn is_ours(vfs: &MemoryVfs) -> bool {
    let names = vfs.read_dir(Path::new(ROOT)).unwrap_or_default();
    let holds = |name: &str| names.iter().any(|entry| entry.name == name);
    holds("ottla.manifest") && !holds("meta.properties")
}

/// What a power cut leaves is no damage.
fn check_verified(vfs: &MemoryVfs, what: &str) {
    if is_ours(vfs) {
        let report = verify_on(Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
        assert!(report.is_sound(), "{what}: {:#?}", report.findings);
    }
}

/// Whatever the power cut has left, what was promised is in the salvaged directory, too.
pub fn check_salvaged(vfs: &MemoryVfs, told: &Told, what: &str) {
    if !is_ours(vfs) {
        return;
    }
    let what = format!("{what}, salvaged");
    let (vfs, out) = (vfs.fork(), Path::new("/out"));
    let report = salvage_on(Arc::new(vfs.clone()), Path::new(ROOT), out);
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    let lost = report.left.iter().find(|left| left.severity == Severity::Damage);
    assert_eq!(lost, None, "{what}");
    let broker = open_on(options(), Arc::new(vfs), out).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (place, sent) in &told.topics {
        let (name, partition) = split(place);
        let Ok(topic) = broker.topic(name) else {
            assert!(is_excused(told, sent, name), "{what}: topic {name} is lost");
            continue;
        };
        let what = format!("{what}: {place}");
        let found = values_of(&topic.partition(partition).unwrap(), &what);
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
        check_prefix(sent, &found, told.promised(place, End::PowerCut), &what);
    }
}
