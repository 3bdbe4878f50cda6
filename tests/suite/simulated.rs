//! The whole library on a file system that crashes and fails: after every call that changes something, whatever
//! may be on the disk then is opened, and held against what was acknowledged; and so it is after every call that
//! failed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::Severity;
use ottla::internals::{
    CrashProfile, Fault, ImageClass, MemoryVfs, Operation, Repeat, Vfs, open_on, open_ticked_on, salvage_on,
};
use ottla::{Broker, Durability, ErrorKind, ManualClock, Record, Topic, TopicConfig};

use crate::support::{ROOT, options, values};
use crate::verifying::verify;

/// What a service does in its lives, and what it was told.
struct Workload<'a> {
    vfs: &'a MemoryVfs,
    broker: Broker,
    clock: ManualClock,
    told: &'a mut Told,
    /// How it opens its broker.
    open: Opening,
}

type Opening = fn(&MemoryVfs, &ManualClock) -> ottla::Result<Broker>;

/// By place, which is a partition, written `topic/partition`, or the first one of a `topic`: what was sent, in order,
/// and how many of it were acknowledged.
#[derive(Clone, Debug, Default)]
struct Told {
    topics: BTreeMap<&'static str, Sent>,
    /// By topic, once it was altered: its configuration, and one that it may have instead, since nobody has said
    /// whether the alteration was done.
    altered: BTreeMap<&'static str, (TopicConfig, Option<TopicConfig>)>,
    /// A deletion that was begun and not acknowledged: the topic may be there or not.
    maybe_deleted: BTreeSet<&'static str>,
}

#[derive(Clone, Debug, Default)]
struct Sent {
    created: bool,
    values: Vec<Vec<u8>>,
    acknowledged: usize,
    /// How many of them were synced for certain, where that is not the same.
    synced: usize,
    /// What was sent as one batch: all of it is there, or none.
    batches: Vec<Range<usize>>,
}

type Outcome = ottla::Result<()>;

/// What ended a life, and so what has to be left of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The process died: the operating system still has everything.
    Kill,
    /// The power failed, or the disk has lost what it was to sync.
    PowerCut,
}

/// The topic and the partition of a place.
fn split(place: &str) -> (&str, u32) {
    place.split_once('/').map_or((place, 0), |(topic, partition)| (topic, partition.parse().unwrap()))
}

fn is_synced(config: &TopicConfig) -> bool {
    config.get("durability").as_deref() == Some("synced")
}

/// Topics are named after their level.
fn config(name: &str) -> TopicConfig {
    let level = match name {
        "os" => Durability::Os,
        "interval" => Durability::Interval(INTERVAL),
        _ => Durability::Synced,
    };
    TopicConfig::new().segment_bytes(1024).durability(level)
}

const INTERVAL: Duration = Duration::from_millis(100);

impl Told {
    /// The configuration that a topic has, as far as anybody has said.
    fn config(&self, place: &str) -> TopicConfig {
        let topic = split(place).0;
        self.altered.get(topic).map_or_else(|| config(topic), |(config, _)| config.clone())
    }

    /// How many records of a place have to be there.
    fn promised(&self, place: &str, end: End) -> usize {
        let sent = &self.topics[place];
        if is_synced(&self.config(place)) || end == End::Kill { sent.acknowledged } else { sent.synced }
    }

    /// What became of the record at an offset: acknowledged, not written, or nobody knows.
    fn outcome<T>(&mut self, name: &'static str, offset: u64, outcome: ottla::Result<T>) -> Outcome {
        let sent = self.topics.entry(name).or_default();
        let number = usize::try_from(offset).unwrap();
        match outcome {
            Ok(_) => sent.acknowledged = sent.acknowledged.max(number + 1),
            Err(error) => {
                if error.kind() == ErrorKind::NotWritten {
                    // Never to be read: the offset is another record's from now on.
                    sent.values.truncate(number);
                    sent.batches.retain(|batch| batch.end <= number);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Workload<'_> {
    fn topic(&mut self, name: &'static str) -> ottla::Result<Topic> {
        self.told.topics.entry(name).or_default();
        let topic = self.broker.ensure_topic(split(name).0, self.told.config(name))?;
        self.told.topics.entry(name).or_default().created = true;
        Ok(topic)
    }

    /// Sends records of these sizes, and waits for the last one.
    fn send(&mut self, name: &'static str, sizes: &[usize]) -> Outcome {
        let topic = self.topic(name)?;
        let mut deliveries = Vec::new();
        for size in sizes {
            let sent = self.told.topics.entry(name).or_default();
            let number = u8::try_from(sent.values.len()).unwrap();
            let value = vec![number + 1; *size];
            let delivery = topic.producer().send(Record::new(&value).partition(split(name).1))?;
            assert_eq!(delivery.offset(), sent.values.len() as u64);
            sent.values.push(value);
            deliveries.push(delivery);
        }
        // The last first: it leads for all of them.
        deliveries.reverse();
        let outcomes: Vec<_> =
            deliveries.into_iter().map(|delivery| (delivery.offset(), delivery.wait())).collect();
        outcomes.into_iter().rev().try_for_each(|(offset, outcome)| self.told.outcome(name, offset, outcome))
    }

    /// Sends records of these sizes as one batch, and waits for it.
    fn send_batch(&mut self, name: &'static str, sizes: &[usize]) -> Outcome {
        let topic = self.topic(name)?;
        let sent = self.told.topics.entry(name).or_default();
        let first = sent.values.len();
        let numbered = (first..).zip(sizes);
        let values: Vec<_> =
            numbered.map(|(number, size)| vec![u8::try_from(number + 1).unwrap(); *size]).collect();
        let records: Vec<_> = values.iter().map(Record::new).collect();
        let delivery = topic.producer().send_batch(&records)?;
        sent.values.extend(values);
        sent.batches.push(first..first + sizes.len());
        let outcome = delivery.wait();
        let acknowledged = outcome.is_ok();
        self.told.outcome(name, first as u64, outcome)?;
        if acknowledged {
            self.told.topics.entry(name).or_default().acknowledged = first + sizes.len();
        }
        Ok(())
    }

    fn delete(&mut self, name: &'static str) -> Outcome {
        self.told.maybe_deleted.insert(name);
        self.broker.delete_topic(name)?;
        self.told.maybe_deleted.remove(name);
        self.told.topics.remove(name);
        Ok(())
    }

    /// Alters a topic, its number of partitions perhaps; after a failure it goes on as it was.
    fn alter(&mut self, name: &'static str, change: fn(TopicConfig) -> TopicConfig) -> Outcome {
        self.topic(name)?;
        let before = self.told.config(name);
        let after = change(before.clone());
        self.told.altered.insert(name, (before.clone(), Some(after.clone())));
        self.broker.alter_topic(name, after.clone())?;
        if is_synced(&before) || is_synced(&after) {
            let places = self.told.topics.iter_mut().filter(|(place, _)| split(place).0 == name);
            places.for_each(|(_, sent)| sent.synced = sent.acknowledged);
        }
        self.told.altered.insert(name, (after, None));
        Ok(())
    }

    fn reopen(&mut self) -> Outcome {
        self.broker.close(Duration::from_secs(10))?;
        self.told.topics.values_mut().for_each(|sent| sent.synced = sent.acknowledged);
        self.broker = (self.open)(self.vfs, &self.clock)?;
        Ok(())
    }

    /// Has everything synced that was sent to a topic.
    fn sync(&mut self, name: &'static str) -> Outcome {
        self.topic(name)?.producer().synced().flush()?;
        let sent = self.told.topics.entry(name).or_default();
        sent.synced = sent.acknowledged;
        Ok(())
    }

    /// Lets the interval of an interval topic pass, and learns from the next record whether the sync has failed.
    fn pass_interval(&mut self, name: &'static str) -> Outcome {
        self.clock.advance(INTERVAL);
        self.broker.tick()?;
        let synced = self.told.topics.entry(name).or_default().acknowledged;
        self.send(name, &[30])?;
        self.told.topics.entry(name).or_default().synced = synced;
        Ok(())
    }
}

fn open(vfs: &MemoryVfs) -> ottla::Result<Broker> {
    open_at(vfs, &ManualClock::at(1_700_000_000_000))
}

fn open_at(vfs: &MemoryVfs, clock: &ManualClock) -> ottla::Result<Broker> {
    open_on(options().clock(clock.clock()), Arc::new(vfs.clone()), Path::new(ROOT))
}

/// As with threads that do what follows a roll, in the ticks of the script.
fn open_ticked(vfs: &MemoryVfs, clock: &ManualClock) -> ottla::Result<Broker> {
    open_ticked_on(options().clock(clock.clock()), Arc::new(vfs.clone()), Path::new(ROOT))
}

type Script = fn(&mut Workload<'_>) -> Outcome;

const WORKLOADS: [(&str, Script); 11] = [
    ("alter", |service| {
        service.send("os", &[100])?;
        service.send("os", &[600, 500])?;
        _ = service.alter("os", |config| config.durability(Durability::Synced).segment_bytes(4096));
        service.send("os", &[700])?;
        service.send("os", &[300])?;
        _ = service.alter("os", |config| config.durability(Durability::Os).segment_bytes(1024));
        service.send("os", &[900])?;
        service.reopen()?;
        service.alter("os", |config| config.durability(Durability::Synced))?;
        service.send("os", &[10])
    }),
    ("grow", |service| {
        service.send("a", &[10])?;
        let grown = service.alter("a", |config| config.partitions(2));
        service.send("a", &[20])?;
        if grown.is_ok() {
            service.send("a/1", &[30])?;
        }
        let grown = service.alter("a", |config| config.partitions(4).durability(Durability::Os));
        if grown.is_ok() {
            service.send("a/3", &[40])?;
            service.send("a/1", &[40])?;
        }
        service.reopen()?;
        service.alter("a", |config| config.partitions(5).durability(Durability::Synced))?;
        service.send("a/4", &[50, 60])?;
        service.send("a", &[10])
    }),
    ("os", |service| {
        service.send("os", &[100])?;
        service.send("os", &[600, 500])?;
        service.sync("os")?;
        service.send("os", &[700])?;
        // What follows a roll is synced behind it.
        service.clock.advance(Duration::from_millis(20));
        service.broker.tick()?;
        service.send("os", &[10])?;
        service.reopen()?;
        service.send("os", &[900])
    }),
    ("interval", |service| {
        service.send("interval", &[100])?;
        service.pass_interval("interval")?;
        service.send("interval", &[800])?;
        service.pass_interval("interval")?;
        // Nobody ticks any more: the second record waits for the sync of the first.
        service.send("interval", &[20])?;
        service.clock.advance(3 * INTERVAL);
        let synced = service.told.topics["interval"].acknowledged;
        service.send("interval", &[20])?;
        service.told.topics.get_mut("interval").unwrap().synced = synced;
        Ok(())
    }),
    ("batches", |service| {
        service.send_batch("a", &[300, 200, 10])?;
        service.send_batch("a", &[400, 400])?;
        service.send("a", &[5])
    }),
    ("appends", |service| {
        service.send("a", &[10])?;
        service.send("a", &[600, 20])?;
        service.send("a", &[5])
    }),
    ("rolls", |service| {
        service.send("a", &[700])?;
        service.send("a", &[700, 700])?;
        service.send("a", &[10])
    }),
    ("rolls made ready", |service| {
        for level in ["a", "os"] {
            service.send(level, &[700])?;
            // The next log is made, the next segment is given it, and its end is as near.
            service.broker.tick()?;
            service.send(level, &[720])?;
            service.broker.tick()?;
            service.send(level, &[10])?;
            service.send(level, &[710, 10])?;
        }
        service.reopen()?;
        service.send("a", &[700])
    }),
    ("lives", |service| {
        service.send("a", &[300])?;
        service.reopen()?;
        service.send("a", &[900])?;
        service.reopen()
    }),
    ("topics", |service| {
        service.send("a", &[10])?;
        service.send("b", &[20])?;
        service.delete("a")?;
        service.send("b", &[30])
    }),
    ("nobody waits", |service| {
        let topic = service.topic("a")?;
        service.send("a", &[100])?;
        for size in [200, 2000] {
            let sent = service.told.topics.entry("a").or_default();
            let value = vec![u8::try_from(sent.values.len()).unwrap() + 1; size.min(900)];
            _ = topic.producer().send(Record::new(&value))?;
            sent.values.push(value);
        }
        service.reopen()
    }),
];

/// Runs the script until the file system stops it; returns what it was told.
fn run(name: &str, script: Script, vfs: &MemoryVfs) -> Told {
    let mut told = Told::default();
    let clock = ManualClock::at(1_700_000_000_000);
    let open = if name.ends_with("ready") { open_ticked } else { open_at };
    if let Ok(broker) = open(vfs, &clock) {
        let mut workload = Workload { vfs, broker, clock, told: &mut told, open };
        _ = script(&mut workload);
        // The process is gone: nothing of it is closed in order.
        std::mem::forget(workload.broker);
    }
    told
}

/// Everything promised is there, what is there is a prefix of what was sent, and nothing else is.
fn check(vfs: &MemoryVfs, told: &Told, end: End, what: &str) {
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
        let report = verify(vfs);
        assert!(report.is_sound(), "{what}: {:#?}", report.findings);
    }
}

/// Whatever the power cut has left, what was promised is in the salvaged directory, too.
fn check_salvaged(vfs: &MemoryVfs, told: &Told, what: &str) {
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
fn check_power_cut_after_recovery(vfs: &MemoryVfs, told: &Told, seed: u64, what: &str) -> usize {
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

/// The n-th call fails, for every n; whatever the library makes of it, what it has said holds.
#[test]
fn a_call_that_fails_costs_nothing_that_was_acknowledged() {
    let faults = [
        Fault::Io,
        Fault::NoSpace,
        Fault::Interrupted,
        Fault::TooManyFiles,
        Fault::ReadOnly,
        Fault::Short(1),
        Fault::Short(0),
    ];
    let (mut tried, mut failed, mut images) = (0, 0, 0);
    for (name, script) in WORKLOADS {
        let calls = {
            let vfs = MemoryVfs::new();
            run(name, script, &vfs);
            vfs.counts().all
        };
        for (fault, repeat) in
            faults.iter().flat_map(|fault| [(fault, Repeat::Once), (fault, Repeat::Forever)])
        {
            // A call that is interrupted for ever is tried for ever.
            if matches!((fault, repeat), (Fault::Interrupted, Repeat::Forever)) {
                continue;
            }
            for n in 1..=calls {
                let vfs = MemoryVfs::new();
                vfs.fail_nth(n, *fault, repeat);
                let told = run(name, script, &vfs);
                tried += 1;
                let Some(call) = vfs.failed_call() else { continue };
                failed += 1;
                let what = format!("{name}, {fault:?} {repeat:?}: {call}");
                // What a disk has failed to sync is as good as lost in a power cut.
                let syncs = [Operation::SyncData, Operation::SyncAll, Operation::SyncDir];
                let a_sync_failed = syncs.contains(&call.operation) || repeat == Repeat::Forever;
                let end = if a_sync_failed { End::PowerCut } else { End::Kill };
                check(&vfs.restart(), &told, end, &format!("{what}, killed"));
                let again = vfs.restart();
                // Every other time the page cache cannot be passed, and recovery writes the files anew.
                again.let_cache_be_passed(n % 2 == 0);
                images += check_power_cut_after_recovery(&again, &told, n, &what);
                for image in vfs.images(CrashProfile::Ordered, 3, n) {
                    check(
                        &image.vfs,
                        &told,
                        End::PowerCut,
                        &format!("{what}, then the power: {}", image.description),
                    );
                    images += 1;
                }
            }
        }
    }
    println!("sim_errors: {tried} calls × kinds, {failed} failures, {images} images after them, lost 0");
    assert!(failed > 1000);
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_made_up() {
    let budget: usize = std::env::var("OTTLA_IMAGES").map_or(12, |budget| budget.parse().unwrap());
    let profiles =
        [CrashProfile::Strict, CrashProfile::Prefix, CrashProfile::Ordered, CrashProfile::Adversarial];
    let (mut points, mut images, mut kills, mut double) = (0, 0, 0, 0);
    let mut classes: BTreeMap<ImageClass, usize> = BTreeMap::new();
    for (name, script) in WORKLOADS {
        for point in 0.. {
            let vfs = MemoryVfs::new();
            vfs.stop_after(point);
            let told = run(name, script, &vfs);
            points += 1;
            let what = format!("{name}, killed at call {point}");
            check(&vfs.restart(), &told, End::Kill, &what);
            double += check_power_cut_after_recovery(&vfs.restart(), &told, point, &what);
            kills += 1;
            for profile in profiles {
                for image in vfs.images(profile, budget, point) {
                    let what = format!("{name}, call {point}, {profile:?}: {}", image.description);
                    if images % 5 == 0 {
                        double += check_power_cut_after_recovery(&image.vfs.fork(), &told, point, &what);
                    }
                    if images % 7 == 0 {
                        check_salvaged(&image.vfs, &told, &what);
                    }
                    check(&image.vfs, &told, End::PowerCut, &what);
                    images += 1;
                    image.classes.iter().for_each(|class| *classes.entry(*class).or_default() += 1);
                }
            }
            if vfs.counts().changing < point {
                break;
            }
        }
    }
    println!(
        "sim_crash: {points} crash points, {images} images, {kills} kills, {double} power cuts after a recovery, \
         lost 0; {classes:?}"
    );
    for class in [ImageClass::TornWrite, ImageClass::ZeroTail, ImageClass::LostEntry, ImageClass::Garbage] {
        assert!(classes.contains_key(&class), "no image of {class:?}: {classes:?}");
    }
}
