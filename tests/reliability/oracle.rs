//! What must be left, whatever has happened: everything promised, a prefix of what was sent, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::Severity;
use ottla::internals::{CrashProfile, MemoryVfs, Vfs, open_on, salvage_on, verify_on};
use ottla::{Broker, ErrorKind, Record};

use crate::service::open;
use crate::support::{ROOT, options, values};
use crate::told::{End, Told, config, split};

/// Everything promised is there, what is there is a prefix of what was sent, and nothing else is.
pub fn check(vfs: &MemoryVfs, told: &Told, end: End, what: &str) {
    assert_verified(vfs, what);
    let broker = open(vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (name, sent) in &told.topics {
        let (topic_name, partition) = split(name);
        let topic = match broker.topic(topic_name) {
            Ok(topic) => topic,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
                assert!(!sent.created || told.maybe_deleted.contains(name), "{what}: topic {name} is lost");
                continue;
            }
        };
        if let Some((config, perhaps)) = told.altered.get(topic_name) {
            let found = topic.config();
            assert!(found == *config || Some(&found) == perhaps.as_ref(), "{what}: {found:?}");
        }
        let partition = topic.partition(partition).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = values(&partition).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(sent.values.starts_with(&found), "{what}: {name} holds what was never sent: {found:?}");
        let promised = told.promised(name, end);
        assert!(found.len() >= promised, "{what}: {name} has {} records of {promised}", found.len());
        let torn = sent.batches.iter().find(|batch| batch.start < found.len() && found.len() < batch.end);
        assert_eq!(torn, None, "{what}: {name} holds {} records", found.len());
    }
    let names: Vec<_> = broker.topics().unwrap().iter().map(|topic| topic.name().to_owned()).collect();
    assert!(names.iter().all(|name| told.topics.contains_key(name.as_str())), "{what}: {names:?}");
    for name in told.topics.keys().map(|place| split(place).0) {
        let topic = broker.topic(name).or_else(|_| broker.create_topic(name, config(name))).unwrap();
        for partition in 0..topic.partition_count() {
            topic.producer().send(Record::new("goes on").partition(partition)).unwrap().wait().unwrap();
        }
    }
    for name in told.altered.keys() {
        // Nothing of partitions that did not come stands in the way of others.
        let config = broker.topic(name).unwrap().config();
        let more = config.clone().partitions(broker.topic(name).unwrap().partition_count() + 3);
        broker.alter_topic(name, more).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    broker.close(Duration::from_secs(10)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(open(vfs).unwrap().recovery_report().is_clean(), "{what}");
}

/// What a power cut leaves is no damage.
fn assert_verified(vfs: &MemoryVfs, what: &str) {
    let names = vfs.read_dir(Path::new(ROOT)).unwrap_or_default();
    if names.iter().any(|entry| entry.name == "ottla.manifest") {
        let report = verify_on(Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
        assert!(report.is_sound(), "{what}: {:#?}", report.findings);
    }
}

/// Whatever the power cut has left, what was promised is in the salvaged directory, too.
pub fn check_salvaged(vfs: &MemoryVfs, told: &Told, what: &str) {
    let what = format!("{what}, salvaged");
    let names = vfs.read_dir(Path::new(ROOT)).unwrap_or_default();
    if !names.iter().any(|entry| entry.name == "ottla.manifest") {
        return;
    }
    let (vfs, out) = (vfs.fork(), Path::new("/out"));
    let report = salvage_on(Arc::new(vfs.clone()), Path::new(ROOT), out);
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    let lost = report.left.iter().find(|left| left.severity == Severity::Damage);
    assert_eq!(lost, None, "{what}");
    let broker = open_on(options(), Arc::new(vfs), out).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (name, sent) in &told.topics {
        let (topic, partition) = split(name);
        let Ok(topic) = broker.topic(topic) else {
            assert!(!sent.created || told.maybe_deleted.contains(name), "{what}: topic {name} is lost");
            continue;
        };
        let found =
            values(&topic.partition(partition).unwrap()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(sent.values.starts_with(&found), "{what}: {name} holds what was never sent: {found:?}");
        let promised = told.promised(name, End::PowerCut);
        assert!(found.len() >= promised, "{what}: {name} has {} records of {promised}", found.len());
    }
}

/// What one life has shown to a reader, or acknowledged, outlives the power cut that ends it.
pub fn check_power_cut_after_recovery(vfs: &MemoryVfs, told: &Told, seed: u64, what: &str) -> usize {
    let broker = open(vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut shown = BTreeMap::new();
    // At once, and then after an append, with which a new leader epoch begins.
    for image in vfs.images(CrashProfile::Strict, 1, seed) {
        let again =
            open(&image.vfs).unwrap_or_else(|error| panic!("{what}, recovered, then the power: {error}"));
        for topic in broker.topics().unwrap() {
            let found = |broker: &Broker| {
                let topic = broker.topic(topic.name()).unwrap();
                let values: Vec<_> =
                    topic.partitions().map(|partition| values(&partition).unwrap()).collect();
                (topic.config(), values)
            };
            let what = format!("{what}, recovered, then the power: {}", topic.name());
            assert_eq!(found(&again), found(&broker), "{what}");
        }
        std::mem::forget(again);
    }
    for name in told.topics.keys() {
        let (topic, number) = split(name);
        let Ok(topic) = broker.topic(topic) else { continue };
        let mut found = values(&topic.partition(number).unwrap()).unwrap();
        let record = Record::new("goes on").partition(number);
        topic.producer().synced().send(record).unwrap().wait().unwrap();
        found.push(b"goes on".to_vec());
        shown.insert(*name, found);
    }
    std::mem::forget(broker);
    let mut images = 0;
    for (profile, budget) in
        [(CrashProfile::Strict, 1), (CrashProfile::Ordered, 1), (CrashProfile::Adversarial, 2)]
    {
        for image in vfs.images(profile, budget, seed) {
            let what = format!("{what}, recovered, then the power: {profile:?}, {}", image.description);
            let broker = open(&image.vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
            for (name, shown) in &shown {
                let (topic, number) = split(name);
                let partition = broker.topic(topic).unwrap().partition(number).unwrap();
                assert_eq!(&values(&partition).unwrap(), shown, "{what}: {name}");
            }
            images += 1;
        }
    }
    images
}
