//! Defects that were found once, each by the way in which it was found.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{CrashProfile, Fault, MemoryVfs, OpenMode, Repeat, Vfs, open_on};
use ottla::{
    Broker, BrokerOptions, Consumer, Durability, ErrorKind, OffsetAndMetadata, Position, Record, Start,
    TopicConfig,
};

use crate::support::{ROOT, ScriptedVfs, TempDir, encode_batch, options, send_all, values};
use crate::verifying::verify;

const LOG: &str = "t-0/00000000000000000000.log";
const TIMEOUT: Duration = Duration::from_secs(10);

fn open(vfs: &MemoryVfs) -> ottla::Result<Broker> {
    open_on(BrokerOptions::default(), Arc::new(vfs.clone()), Path::new(ROOT))
}

/// A leader at work wrote on into the directory of a new topic of the same name.
#[test]
fn deleting_waits_for_the_leader_at_work() {
    // A record of 900 bytes makes the segment roll, one of 500 does not.
    for (paused, size) in [
        ("write 00000000000000000000.log", 500),
        ("sync 00000000000000000000.log", 500),
        ("sync 00000000000000000000.log", 900),
        ("create 00000000000000000001.log", 900),
    ] {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        let config = TopicConfig::new().segment_bytes(1024);
        let old = broker.create_topic("t", config.clone()).unwrap();
        send_all(&old, [[1; 100]]).unwrap();
        std::thread::scope(|scope| {
            vfs.pause(paused);
            let waiting = old.producer().send(Record::new(&vec![2; size])).unwrap();
            let leader = scope.spawn(|| waiting.wait());
            vfs.wait_until_paused();
            let deletion = scope.spawn(|| {
                broker.delete_topic("t").unwrap();
                let new = broker.create_topic("t", config).unwrap();
                send_all(&new, ["new"]).unwrap();
            });
            // A poller that is told of the deletion sees that it has begun.
            while old.producer().send(Record::new("late")).is_ok() {}
            vfs.resume();
            _ = leader.join().unwrap();
            deletion.join().unwrap();
        });
        let values = |broker: &Broker| values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap();
        assert_eq!(values(&broker), [b"new"], "{paused}");
        drop(old);
        broker.close(TIMEOUT).unwrap();
        assert_eq!(values(&vfs.open_broker().unwrap()), [b"new"], "{paused}");
    }
}

/// An error of one partition took records away that were read from another in the same poll.
#[test]
fn a_poll_hands_out_what_it_has_read_before_it_fails() {
    let broker = Broker::in_memory().unwrap();
    let [good, doomed] =
        ["good", "doomed"].map(|name| broker.create_topic(name, TopicConfig::new()).unwrap());
    let mut consumer = broker.consumer().assign(good.partitions().chain(doomed.partitions())).unwrap();
    send_all(&good, ["precious"]).unwrap();
    broker.delete_topic("doomed").unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
    send_all(&good, ["another"]).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1, "an error does not starve the others");
}

/// A batch that cannot be read was passed over after its error.
#[test]
fn an_unreadable_batch_is_never_passed_over() {
    // One zstd batch (a published vector), and a plain one behind it.
    let zstd = "00000000000000000000004300000000029d3795930004000000000000018bcfe568000000018bcfe56800\
                ffffffffffffffffffffffffffff0000000128b52ffd200949000010000000026b027600";
    let digits: Vec<u32> = zstd.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let mut log: Vec<u8> =
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect();
    log.extend(encode_batch(1, &[(1, 1, Record::new("behind"))]));

    let vfs = MemoryVfs::new();
    let broker = open(&vfs).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["one", "two"]).unwrap();
    drop((topic, broker));
    vfs.remove_file(&Path::new(ROOT).join(".kafka_cleanshutdown")).unwrap();
    let file = vfs.open(&Path::new(ROOT).join(LOG), OpenMode::CreateEmpty).unwrap();
    // The proven end lies behind both batches, so that recovery has nothing to say about them.
    file.write_at(&log, 0).unwrap();
    let ends = vfs.open(&Path::new(ROOT).join("ottla.ends"), OpenMode::Write).unwrap();
    prove(ends.as_ref(), 2, log.len() as u64);

    // Its record has nine bytes.
    let narrow = BrokerOptions::default().max_decompressed_bytes(8);
    let broker = open_on(narrow, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let topic = broker.topic("t").unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    for _ in 0..3 {
        let error = consumer.poll(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
        assert_eq!(consumer.position(&topic.partition(0).unwrap()).unwrap().offset(), 0);
    }
    let mut batches = topic.partition(0).unwrap().read(Start::At(1)).unwrap();
    assert_eq!(batches.next().unwrap().unwrap().base_offset(), 1, "who knows what stands there can go on");
}

/// Rewrites every slot of the first partition so that the proven end is this one.
fn prove(ends: &dyn ottla::internals::VfsFile, offset: u64, position: u64) {
    for twin in [4096, 8192] {
        let mut slot = ends.map().unwrap()[twin..].iter().copied().take(512).collect::<Vec<_>>();
        if !slot.starts_with(b"OEND") {
            continue;
        }
        for (at, number) in [(56, offset), (64, position), (72, offset)] {
            slot[at..at + 8].copy_from_slice(&number.to_be_bytes());
        }
        let crc = crc32fast::hash(&slot[..80]);
        slot[80..84].copy_from_slice(&crc.to_be_bytes());
        ends.write_at(&slot, twin as u64).unwrap();
    }
}

/// A marker that `rm -rf data/*` had left vouched for the next life.
#[test]
fn a_stray_marker_vouches_for_nothing() {
    let vfs = MemoryVfs::new();
    vfs.create_dir(Path::new(ROOT)).unwrap();
    let marker = Path::new(ROOT).join(".kafka_cleanshutdown");
    let file = vfs.open(&marker, OpenMode::CreateNew).unwrap();
    file.write_at(br#"{"version":0,"brokerEpoch":-1}"#, 0).unwrap();
    let broker = open(&vfs).unwrap();
    assert_eq!(vfs.kind(&marker).unwrap(), None);
    std::mem::forget(broker);
    assert!(!open(&vfs.restart()).unwrap().recovery_report().is_clean());
}

/// A base offset far outside the segment, where its index was missing, was a panic.
#[test]
fn a_damaged_base_offset_without_an_index_is_an_error() {
    for maps in [true, false] {
        let dir = TempDir::new("base-offset");
        let broker = Broker::open(dir.path()).unwrap();
        let topic =
            broker.create_topic("t", TopicConfig::new().segment_bytes(1024).index_interval_bytes(0)).unwrap();
        send_all(&topic, (0..12).map(|number| [number; 200])).unwrap();
        drop((topic, broker));
        let log = dir.path().join(LOG);
        let good = std::fs::read(&log).unwrap();
        std::fs::remove_file(dir.path().join("t-0/00000000000000000000.index")).unwrap();
        for bit in 0..64 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&log, &bad).unwrap();
            let broker = Broker::options().memory_maps(maps).open(dir.path()).unwrap();
            let partition = broker.topic("t").unwrap().partition(0).unwrap();
            for start in [Start::Earliest, Start::At(1), Start::At(3)] {
                let first = partition.read(start).unwrap().next().unwrap();
                assert!(first.is_err_and(|error| error.is_corruption()), "bit {bit}");
            }
        }
    }
}

/// A foreign directory inside a partition's kept the whole broker from being opened again.
#[test]
fn a_foreign_directory_keeps_a_topic_from_being_deleted_and_nothing_else() {
    let dir = TempDir::new("foreign-inside");
    let broker = Broker::open(dir.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["kept"]).unwrap();
    let foreign = dir.path().join("t-0/mine");
    std::fs::create_dir(&foreign).unwrap();
    let error = broker.delete_topic("t").unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::StorageError, Some(foreign.as_path())));
    send_all(&topic, ["goes on"]).unwrap();
    broker.create_topic("another", TopicConfig::new()).unwrap();
    drop(topic);
    broker.close(TIMEOUT).unwrap();
    std::fs::remove_dir(&foreign).unwrap();
    Broker::open(dir.path()).unwrap().delete_topic("t").unwrap();
}

/// What stood in the place of a partition's directory was taken for a part of the topic.
#[test]
fn a_topic_is_not_created_over_something_else() {
    let dir = TempDir::new("in-the-way");
    let broker = Broker::open(dir.path()).unwrap();
    std::fs::create_dir(dir.path().join("t-1")).unwrap();
    std::fs::write(dir.path().join("t-1/mine"), "mine").unwrap();
    let before = dir.content();
    let error = broker.create_topic("t", TopicConfig::new().partitions(2)).unwrap_err();
    assert_eq!((error.kind(), error.partition()), (ErrorKind::StorageError, Some(1)), "{error}");
    assert_eq!(dir.content(), before);
    broker.create_topic("t", TopicConfig::new()).unwrap();
    broker.close(TIMEOUT).unwrap();
}

/// A refused opening emptied the lock file in which a killed process had left its name.
#[test]
fn a_refused_opening_leaves_the_lock_file_alone() {
    let dir = TempDir::new("lock-file");
    std::fs::write(dir.path().join(".lock"), "process 1 (long dead)\n").unwrap();
    std::fs::write(dir.path().join("ottla.manifest"), "damaged").unwrap();
    let before = dir.content();
    assert!(Broker::open(dir.path()).unwrap_err().is_corruption());
    assert_eq!(dir.content(), before);
}

/// A broker that was dropped by a panic declared the directory closed in order.
#[test]
fn a_panic_leaves_no_marker() {
    let vfs = MemoryVfs::new();
    let inner = vfs.clone();
    let panicked = std::thread::spawn(move || {
        let broker = open(&inner).unwrap();
        let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
        send_all(&topic, ["durable"]).unwrap();
        panic!("as a service would");
    });
    assert!(panicked.join().is_err());
    let broker = open(&vfs).unwrap();
    assert!(!broker.recovery_report().is_clean());
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), [b"durable"]);
}

/// A flush of everything failed, and went no further, because a topic was deleted meanwhile.
#[test]
fn a_flush_is_not_disturbed_by_a_deletion() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let [doomed, other] =
        ["doomed", "other"].map(|name| broker.create_topic(name, TopicConfig::new()).unwrap());
    let producer = broker.producer();
    _ = producer.send(&doomed, Record::new("lost")).unwrap();
    _ = producer.send(&other, Record::new("kept")).unwrap();
    std::thread::scope(|scope| {
        vfs.pause("write 0000");
        let flush = scope.spawn(|| producer.flush());
        vfs.wait_until_paused();
        let deletion = scope.spawn(|| broker.delete_topic("doomed"));
        while doomed.producer().send(Record::new("late")).is_ok() {}
        vfs.resume();
        deletion.join().unwrap().unwrap();
        flush.join().unwrap().unwrap();
    });
    assert_eq!(other.partition(0).unwrap().high_watermark(), 1);
}

/// Records without a value all went to one partition.
#[test]
fn headers_and_keys_count_when_a_sticky_partition_is_left() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().partitions(8)).unwrap();
    for _ in 0..2000 {
        _ = topic.producer().send(Record::default().header("h", &[0; 1000])).unwrap();
    }
    topic.producer().flush().unwrap();
    let reached = topic.partitions().filter(|partition| partition.high_watermark() > 0).count();
    assert!(reached > 4, "{reached} of 8");
}

/// A roll failed while closing: what was written before it was neither synced nor proven, and the marker vouched
/// for a log that went further than its proof.
#[test]
fn closing_after_a_failed_roll_proves_what_was_written_before_it() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).unwrap();
    send_all(&topic, [[1; 100]]).unwrap();
    _ = topic.producer().send(Record::new(&[2; 200])).unwrap();
    _ = topic.producer().send_batch(&[Record::new(&[3; 900])]).unwrap();
    vfs.fail("create 00000000000000000002.log", 0, std::io::ErrorKind::StorageFull);
    assert_eq!(broker.close(TIMEOUT).unwrap_err().kind(), ErrorKind::NotWritten);
    vfs.fail_no_more();
    let again = vfs.open_broker().unwrap();
    assert!(again.recovery_report().is_clean());
    let found = values(&again.topic("t").unwrap().partition(0).unwrap()).unwrap();
    assert_eq!(found, [vec![1; 100], vec![2; 200]]);
}

/// A roll, and then a disk that took nothing more: the end had moved without a commit, and the marker vouched for
/// a log that ended elsewhere than its proof.
#[test]
fn closing_after_a_roll_and_a_refused_write_proves_where_the_log_ends() {
    for refused in ["write 00000000000000000001.log", "allocate 00000000000000000001.log"] {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).unwrap();
        send_all(&topic, [[1; 700]]).unwrap();
        vfs.fail(refused, 0, std::io::ErrorKind::Other);
        let error = topic.producer().send(Record::new(&[2; 700])).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotWritten);
        vfs.fail_no_more();
        _ = topic.producer().flush();
        broker.close(TIMEOUT).unwrap();
        let again = vfs.open_broker().unwrap();
        assert!(again.recovery_report().is_clean());
        let topic = again.topic("t").unwrap();
        assert_eq!(values(&topic.partition(0).unwrap()).unwrap(), [[1; 700]]);
        send_all(&topic, [[3; 700]]).unwrap();
    }
}

/// A failure that an earlier write had left to report hid that a sync had failed.
#[test]
fn a_flush_says_the_worse_of_two_failures() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    let producer = topic.producer();
    vfs.fail("write 00000000000000000000.log", 0, std::io::ErrorKind::StorageFull);
    assert_eq!(producer.send(Record::new("one")).unwrap().wait().unwrap_err().kind(), ErrorKind::NotWritten);
    vfs.fail_no_more();
    _ = producer.send(Record::new("two")).unwrap();
    vfs.fail("sync 00000000000000000000.log", 0, std::io::ErrorKind::Other);
    assert!(producer.flush().unwrap_err().is_indeterminate());
}

/// The same over several partitions.
#[test]
fn a_flush_of_a_topic_says_the_worst_of_its_partitions() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().partitions(2)).unwrap();
    let producer = topic.producer();
    for partition in 0..2 {
        producer.send(Record::new("durable").partition(partition)).unwrap().wait().unwrap();
    }
    vfs.fail("write 0000", 0, std::io::ErrorKind::StorageFull);
    assert!(producer.send(Record::new("one").partition(0)).unwrap().wait().unwrap_err().is_retriable());
    vfs.fail_no_more();
    _ = producer.send(Record::new("two").partition(1)).unwrap();
    vfs.fail("sync 0000", 0, std::io::ErrorKind::Other);
    assert!(producer.flush().unwrap_err().is_indeterminate());
}

/// A recovery that was killed between two of its steps had the next one find more: it had cut the padding of a segment,
/// and not yet moved away what stood behind it.
#[test]
fn a_recovery_that_is_interrupted_ends_as_one_that_is_not() {
    let vfs = MemoryVfs::new();
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let config = TopicConfig::new().segment_bytes(1024).durability(Durability::Os);
    send_all(&broker.create_topic("t", config).unwrap(), [[1; 900], [2; 900], [3; 900]]).unwrap();
    std::mem::forget(broker);
    // The padding is back that the roll has cut and nobody has synced.
    let left = vfs.restart();
    let log = left.open(&Path::new(ROOT).join(LOG), OpenMode::Write).unwrap();
    log.set_len(1024).unwrap();
    for name in ["t-0/00000000000000000000.log", "t-0/00000000000000000001.log"] {
        left.open(&Path::new(ROOT).join(name), OpenMode::Write).unwrap().sync_all().unwrap();
    }
    let recovered = |vfs: &MemoryVfs| -> ottla::Result<_> {
        let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT))?;
        let found = values(&broker.topic("t")?.partition(0)?)?;
        std::mem::forget(broker);
        Ok(found)
    };
    assert_eq!(recovered(&left.restart()).unwrap(), [[1; 900]]);
    let mut interrupted = 0;
    for call in 0.. {
        let vfs = left.restart();
        vfs.stop_after(call);
        if recovered(&vfs).is_ok() {
            break;
        }
        interrupted += 1;
        assert_eq!(recovered(&vfs.restart()).unwrap(), [[1; 900]], "killed at call {call}");
    }
    assert!(interrupted > 10, "{interrupted}");
}

/// A deletion that could not read whose directory it was left it where it stood, and said that the topic was deleted: no
/// topic of that name could be created any more.
#[test]
fn a_deletion_that_cannot_read_a_topic_id_does_not_take_the_directory_for_somebody_elses() {
    for call in ["open partition.metadata", "read partition.metadata", "map partition.metadata"] {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        send_all(&broker.create_topic("t", TopicConfig::new()).unwrap(), ["one"]).unwrap();
        vfs.fail_once(call, 0, std::io::ErrorKind::PermissionDenied);
        let deleted = broker.delete_topic("t");
        assert_eq!(broker.topic("t").unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition, "{call}");
        vfs.fail_no_more();
        _ = broker.close(TIMEOUT);
        let again = vfs.open_broker().unwrap();
        assert_eq!(again.topics().unwrap().len(), 0, "{call}");
        again
            .create_topic("t", TopicConfig::new())
            .unwrap_or_else(|error| panic!("{call}: {deleted:?}, {error}"));
    }
}

/// On a topic that is not synced, a roll that failed left the indexes written and not synced, and the next one synced only
/// what was written since: a power cut took what was said to be proven.
#[test]
fn the_indexes_of_a_segment_whose_roll_has_failed_are_synced_by_the_next() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let config = TopicConfig::new().segment_bytes(1024).index_interval_bytes(0).durability(Durability::Os);
    let topic = broker.create_topic("t", config).unwrap();
    send_all(&topic, [[1; 400], [2; 400]]).unwrap();
    vfs.fail_once("create 00000000000000000002.log", 0, std::io::ErrorKind::StorageFull);
    assert!(topic.producer().send(Record::new(&[3; 900])).unwrap().wait().is_err());
    topic.producer().send(Record::new(&[3; 900])).unwrap().wait().unwrap();
    // The first tells of the failure.
    _ = topic.producer().flush();
    topic.producer().synced().flush().unwrap();
    for image in vfs.memory().images(CrashProfile::Ordered, 20, 1) {
        let report = verify(&image.vfs);
        assert!(report.is_sound(), "{}: {:#?}", image.description, report.findings);
    }
}

/// A process was killed, or an error came, between making the directory and its durable name: the next one found the directory, took
/// it for a named one, and a power cut took it with everything that had been acknowledged in it.
#[test]
fn a_directory_whose_making_was_interrupted_is_named_by_the_next_opening() {
    for root in ["/data", "/of/a/service"].map(Path::new) {
        let options = || options().create_if_missing(true);
        let open = |vfs: &MemoryVfs| open_on(options(), Arc::new(vfs.clone()), root);
        let mut interrupted = 0;
        for (call, is_killed) in (0..).flat_map(|call| [(call, true), (call, false)]) {
            let vfs = MemoryVfs::new();
            if is_killed {
                vfs.stop_after(call);
            } else {
                vfs.fail_nth(call + 1, Fault::Io, Repeat::Once);
            }
            let first = open(&vfs);
            let is_over = vfs.failed_call().is_none();
            let what = format!("{root:?}, killed: {is_killed}, {:?}", vfs.failed_call());
            vfs.fail_no_more();
            interrupted += usize::from(first.is_err());
            std::mem::forget(first);
            // The machine goes on, and so does what nobody has synced.
            let vfs = vfs.restart();
            let broker = open(&vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
            send_all(&broker.ensure_topic("t", TopicConfig::new()).unwrap(), ["acknowledged"]).unwrap();
            std::mem::forget(broker);
            for profile in [CrashProfile::Strict, CrashProfile::Ordered, CrashProfile::Adversarial] {
                for image in vfs.images(profile, 6, call) {
                    let what = format!("{what}, {profile:?}: {}", image.description);
                    let found = open(&image.vfs)
                        .unwrap()
                        .topic("t")
                        .unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(values(&found.partition(0).unwrap()).unwrap(), [b"acknowledged"], "{what}");
                }
            }
            if is_over && !is_killed {
                break;
            }
        }
        assert!(interrupted > 20, "{interrupted}");
    }
}

/// One that commits by itself committed, when it was dropped, what it had processed before its last poll: also after
/// it was told to commit what that poll had brought.
#[test]
fn a_consumer_that_is_dropped_takes_no_commit_back() {
    fn commit_at(consumer: &mut Consumer, offset: u64) {
        let partition = consumer.assignment().remove(0);
        consumer.commit_offsets([(partition, OffsetAndMetadata::new(Position::new(offset, None)))]).unwrap();
    }
    // What it is told, and where the group goes on then.
    type Commits = fn(&mut Consumer);
    let commits: [(Commits, u64); 5] = [
        (|consumer| consumer.commit().unwrap(), 2),
        (|consumer| drop(consumer.commit_async().unwrap()), 2),
        (|consumer| commit_at(consumer, 2), 2),
        (|consumer| commit_at(consumer, 0), 1),
        (|_| {}, 1),
    ];
    for (number, (commit, goes_on_at)) in commits.into_iter().enumerate() {
        let broker = options().in_memory().unwrap();
        let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
        send_all(&topic, ["a", "b", "c"]).unwrap();
        let builder = broker.consumer().group("g").max_poll_records(1).auto_commit(Duration::from_secs(60));
        let mut consumer = builder.subscribe(["t"]).unwrap();
        for _ in 0..2 {
            assert_eq!(consumer.poll(TIMEOUT).unwrap().len(), 1);
        }
        commit(&mut consumer);
        drop(consumer);
        let committed = broker.describe_group("g").unwrap().partitions()[0].committed().map(Position::offset);
        assert_eq!(committed, Some(goes_on_at), "way {number}");
    }
}
