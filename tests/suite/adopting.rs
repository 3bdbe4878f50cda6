//! Taking over the directory of a stopped Kafka broker: what was in it is in ours, or it stays Kafka's, as it was.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on, undo_adoption_on};
use ottla::{Broker, BrokerOptions, Durability, ErrorKind, Record, Result, Start, TopicConfig, TopicId};

use crate::support::{ROOT, encode_batch, get, options, put, send_all, tree, values};

const TIMEOUT: Duration = Duration::from_secs(10);
pub const META: &str = "version=1\nnode.id=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\n";

pub fn open_with(vfs: &MemoryVfs, options: BrokerOptions) -> Result<Broker> {
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT))
}

pub fn open(vfs: &MemoryVfs) -> Result<Broker> {
    open_with(vfs, options())
}

pub fn adopt(vfs: &MemoryVfs) -> Result<Broker> {
    open_with(vfs, options().adopt(true))
}

pub fn remove(vfs: &MemoryVfs, name: &str) {
    let path = Path::new(ROOT).join(name);
    vfs.remove_file(&path).unwrap();
    vfs.sync_dir(path.parent().unwrap()).unwrap();
}

fn number(number: usize) -> Vec<u8> {
    vec![u8::try_from(number).unwrap(); 200]
}

/// The directory of a stopped broker: a topic of two partitions, of which the first has fifteen records in several
/// segments of epoch 3, and an empty one. It differs from one of Kafka's own in what a log does not hold.
pub struct Kafkas {
    pub vfs: MemoryVfs,
    pub id: TopicId,
}

impl Kafkas {
    pub fn stopped_in_order() -> Self {
        let vfs = MemoryVfs::new();
        let broker = open(&vfs).unwrap();
        let orders =
            broker.create_topic("orders", TopicConfig::new().partitions(2).segment_bytes(1024)).unwrap();
        broker.create_topic("empty", TopicConfig::new()).unwrap();
        for record in 0..15 {
            send_all(&orders, [number(record)]).unwrap();
        }
        let id = orders.id();
        broker.close(TIMEOUT).unwrap();
        for name in ["ottla.manifest", "ottla.ends"] {
            remove(&vfs, name);
        }
        put(&vfs, "meta.properties", META.as_bytes());
        // The epoch lies outside the checksum.
        for name in logs(&vfs) {
            let mut log = get(&vfs, &name);
            for position in batches(&log) {
                log[position + 12..position + 16].copy_from_slice(&3_i32.to_be_bytes());
            }
            put(&vfs, &name, &log);
        }
        put(&vfs, "orders-0/leader-epoch-checkpoint", b"0\n1\n3 0\n");
        put(&vfs, "orders-1/leader-epoch-checkpoint", b"0\n1\n3 0\n");
        Self { vfs, id }
    }

    /// As after `kill -9`: no marker, the recovery point at the last roll, the active indexes padded with zeros, and a
    /// batch that was about to be written.
    pub fn killed() -> Self {
        let kafkas = Self::stopped_in_order();
        let Self { vfs, .. } = &kafkas;
        remove(vfs, ".kafka_cleanshutdown");
        let last = logs(vfs).pop().unwrap();
        let base: u64 = last["orders-0/".len()..][..20].parse().unwrap();
        put(vfs, "recovery-point-offset-checkpoint", format!("0\n1\norders 0 {base}\n").as_bytes());
        for suffix in ["index", "timeindex"] {
            let name = last.replace("log", suffix);
            let mut padded = get(vfs, &name);
            padded.resize(12 * 1024, 0);
            put(vfs, &name, &padded);
        }
        let torn = encode_batch(15, &[(15, 1, Record::new("torn"))]);
        put(vfs, &last, &[&get(vfs, &last)[..], &torn[..torn.len() - 1]].concat());
        kafkas
    }
}

/// The logs of the first partition, in order.
pub fn logs(vfs: &MemoryVfs) -> Vec<String> {
    let entries = vfs.read_dir(&Path::new(ROOT).join("orders-0")).unwrap();
    let mut logs: Vec<_> = entries.into_iter().map(|entry| format!("orders-0/{}", entry.name)).collect();
    logs.retain(|name| name.ends_with(".log"));
    logs.sort();
    logs
}

/// Where each batch of a log begins.
pub fn batches(log: &[u8]) -> Vec<usize> {
    let (mut positions, mut position) = (Vec::new(), 0);
    while position < log.len() {
        positions.push(position);
        let length = u32::from_be_bytes(log[position + 8..position + 12].try_into().unwrap());
        position += usize::try_from(length).unwrap() + 12;
    }
    positions
}

pub fn partition(broker: &Broker, number: u32) -> ottla::Partition {
    broker.topic("orders").unwrap().partition(number).unwrap()
}

/// Reads the fifteen records at their offsets, appends, and reads everything again after a reopening.
pub fn assert_taken_over(vfs: &MemoryVfs, broker: Broker, what: &str) {
    let expected: Vec<_> = (0..15).map(number).collect();
    assert_eq!(values(&partition(&broker, 0)).unwrap(), expected, "{what}");
    assert_eq!(partition(&broker, 1).log_end_offset(), 0);
    let orders = broker.topic("orders").unwrap();
    let metadata = orders.producer().send(Record::new("ours").partition(0)).unwrap().wait().unwrap();
    assert_eq!(metadata.offset(), 15, "{what}");
    let batch = partition(&broker, 0).read(Start::At(15)).unwrap().next().unwrap().unwrap();
    assert!(batch.leader_epoch() > Some(3), "{what}: {:?}", batch.leader_epoch());
    broker.close(TIMEOUT).unwrap();
    drop(orders);

    let again = open(vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
    let expected = [expected, vec![b"ours".to_vec()]].concat();
    assert_eq!(values(&partition(&again, 0)).unwrap(), expected, "{what}");
    for offset in 0..16 {
        let batch = partition(&again, 0).read(Start::At(offset)).unwrap().next().unwrap().unwrap();
        let first = batch.into_iter().next().unwrap().offset();
        assert_eq!(first, offset, "{what}");
    }
    again.close(TIMEOUT).unwrap();
}

#[test]
fn a_stopped_brokers_directory_becomes_ours() {
    for (kafkas, clean) in [(Kafkas::stopped_in_order(), true), (Kafkas::killed(), false)] {
        let Kafkas { vfs, id } = kafkas;
        let config = TopicConfig::new().segment_bytes(2048).partitions(9);
        let options = options()
            .adopt(true)
            .adopted_topics(config)
            .adopted_topic("empty", TopicConfig::new().durability(Durability::Os));
        let broker = open_with(&vfs, options).unwrap();
        let report = broker.recovery_report();
        assert_eq!((report.is_adopted(), report.is_clean()), (true, clean));
        let cut: Vec<_> = report.partitions().iter().map(|cut| (cut.topic(), cut.end_offset())).collect();
        assert_eq!(cut, if clean { vec![] } else { vec![("orders", 15)] });
        let orders = broker.topic("orders").unwrap();
        assert_eq!((orders.id(), orders.partition_count()), (id, 2));
        assert_eq!(orders.config().get("segment.bytes").as_deref(), Some("2048"));
        let empty = broker.topic("empty").unwrap().config();
        assert_eq!(empty.get("durability").as_deref(), Some("os"));
        assert_eq!(get(&vfs, "meta.properties.adopted"), META.as_bytes());
        drop(orders);
        assert_taken_over(&vfs, broker, "adopted");
        // A service may ask for it at each start.
        let again = adopt(&vfs).unwrap();
        assert!(!again.recovery_report().is_adopted());
    }
}

/// What a process leaves that is killed right after the adoption is recovered as any other.
#[test]
fn a_kill_after_the_adoption_changes_nothing_of_what_was_taken_over() {
    for kafkas in [Kafkas::stopped_in_order(), Kafkas::killed()] {
        let broker = adopt(&kafkas.vfs).unwrap();
        std::mem::forget(broker);
        let vfs = kafkas.vfs.restart();
        let broker = open(&vfs).unwrap();
        assert!(!broker.recovery_report().is_clean());
        assert_taken_over(&vfs, broker, "killed after the adoption");
    }
}

#[test]
fn a_brokers_directory_is_left_alone_where_nobody_adopts() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let before = tree(&vfs, Path::new(ROOT));
    let error = open(&vfs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryNotOurs);
    assert!(error.to_string().contains("can be adopted"), "{error}");
    assert_eq!(tree(&vfs, Path::new(ROOT)), before);
}

#[test]
fn a_running_broker_keeps_its_directory() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let running = vfs.lock(&Path::new(ROOT).join(".lock")).unwrap().unwrap();
    let before = tree(&vfs, Path::new(ROOT));
    let error = adopt(&vfs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
    assert_eq!(tree(&vfs, Path::new(ROOT)), before);
    drop(running);
    assert_taken_over(&vfs, adopt(&vfs).unwrap(), "stopped since");
}

#[test]
fn leftovers_are_left_alone_and_reported_and_the_log_of_the_cluster_is_not_touched() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let id = "0123456789abcdef0123456789abcdef";
    let names = [
        format!("gone-0.{id}-delete"),
        format!("orders-0.{id}-future"),
        format!("lost-1.{id}-stray"),
        "__cluster_metadata-0".to_owned(),
    ];
    for name in &names {
        vfs.create_dir(&Path::new(ROOT).join(name)).unwrap();
        put(&vfs, &format!("{name}/00000000000000000000.log"), b"whatever");
    }
    put(&vfs, "orders-0/00000000000000000000.log.deleted", b"replaced");
    put(&vfs, "orders-0/00000000000000000000.log.cleaned", b"half of what was to replace it");
    let broker = adopt(&vfs).unwrap();
    let notes: Vec<_> = broker.recovery_report().notes().collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    for (note, name) in notes.iter().zip([&names[0], &names[2], &names[1]]) {
        assert!(note.starts_with(name.as_str()), "{notes:?}");
    }
    for name in &names {
        assert_eq!(get(&vfs, &format!("{name}/00000000000000000000.log")), b"whatever");
    }
    let left = tree(&vfs, Path::new(ROOT));
    assert!(
        !left.keys().any(|path| path.to_string_lossy().ends_with(".deleted")
            || path.to_string_lossy().ends_with(".cleaned"))
    );
    assert_taken_over(&vfs, broker, "with leftovers");
}

/// Records that were deleted, in a segment that others keep, do not come back, and not for Kafka either.
#[test]
fn a_log_start_within_a_segment_is_kept() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    put(&vfs, "log-start-offset-checkpoint", b"0\n1\norders 0 1\n");
    let broker = adopt(&vfs).unwrap();
    assert_eq!(partition(&broker, 0).log_start_offset(), 1);
    assert_eq!(values(&partition(&broker, 0)).unwrap(), (1..15).map(number).collect::<Vec<_>>());
    broker.close(TIMEOUT).unwrap();
    undo_adoption_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    assert_eq!(get(&vfs, "log-start-offset-checkpoint"), b"0\n1\norders 0 1\n");
    assert_eq!(partition(&adopt(&vfs).unwrap(), 0).log_start_offset(), 1);
}

/// Compaction takes batches out of the middle of a segment, its first ones, and its last.
#[test]
fn gaps_that_compaction_has_left_are_no_damage() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    let mut expected: Vec<_> = (0..15).collect();
    let last = logs(&vfs).len() - 1;
    for (at, name) in logs(&vfs).into_iter().enumerate().filter(|(at, _)| *at < last) {
        let log = get(&vfs, &name);
        let mut positions = batches(&log);
        let removed = at % positions.len();
        positions.push(log.len());
        let base = u64::from_be_bytes(log[positions[removed]..][..8].try_into().unwrap());
        expected.retain(|offset| *offset != usize::try_from(base).unwrap());
        put(&vfs, &name, &[&log[..positions[removed]], &log[positions[removed + 1]..]].concat());
        for suffix in ["index", "timeindex"] {
            put(&vfs, &name.replace("log", suffix), b"");
        }
    }
    assert!(expected.len() < 12, "{expected:?}");
    let broker = adopt(&vfs).unwrap();
    let expected: Vec<_> = expected.into_iter().map(number).collect();
    assert_eq!(values(&partition(&broker, 0)).unwrap(), expected);
    send_all(&broker.topic("orders").unwrap(), ["ours"]).unwrap();
    std::mem::forget(broker);
    let vfs = vfs.restart();
    let broker = open(&vfs).unwrap();
    let expected = [expected, vec![b"ours".to_vec()]].concat();
    assert_eq!(values(&partition(&broker, 0)).unwrap(), expected, "after a recovery");
}

#[test]
fn kafkas_own_topics_can_be_read_and_not_written() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    vfs.rename(&Path::new(ROOT).join("orders-0"), &Path::new(ROOT).join("__consumer_offsets-0")).unwrap();
    vfs.rename(&Path::new(ROOT).join("orders-1"), &Path::new(ROOT).join("__consumer_offsets-1")).unwrap();
    put(&vfs, "recovery-point-offset-checkpoint", b"0\n0\n");
    put(&vfs, "replication-offset-checkpoint", b"0\n0\n");
    let broker = adopt(&vfs).unwrap();
    let offsets = broker.topic("__consumer_offsets").unwrap();
    assert_eq!(values(&offsets.partition(0).unwrap()).unwrap().len(), 15);
    for refused in [
        offsets.producer().send(Record::new("mine")).map(|_| ()),
        offsets.producer().send_batch(&[Record::new("mine")]).map(|_| ()),
        broker.create_topic("__transaction_state", TopicConfig::new()).map(|_| ()),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidTopic);
    }
}

#[test]
fn what_is_found_of_an_index_is_made_again_after_a_kill() {
    let Kafkas { vfs, .. } = Kafkas::killed();
    let broker = adopt(&vfs).unwrap();
    drop(broker);
    for (path, bytes) in tree(&vfs, Path::new(ROOT)) {
        let name = path.to_string_lossy();
        if name.ends_with("index") {
            assert!(bytes.len() < 1024, "{name} has {} bytes", bytes.len());
        }
    }
    let log = logs(&vfs).pop().unwrap();
    assert_eq!(log, "orders-0/00000000000000000015.log", "ours begins behind Kafka's");
    assert!(vfs.open(&Path::new(ROOT).join(log), OpenMode::Read).is_ok());
}
