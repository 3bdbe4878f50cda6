//! Altering the settings of a topic that is used: when each takes effect, and what a failure leaves.

use std::io::ErrorKind::{Other, StorageFull};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::internals::{CrashProfile, MemoryVfs, open_on};
use ottla::{Broker, Durability, ErrorKind, ManualClock, Record, Start, TimestampType, Topic, TopicConfig};

use crate::support::{EndGuard, ROOT, ScriptedVfs, options, send_all, values};

const LOG: &str = "00000000000000000000.log";
const SYNC: &str = "sync 00000000000000000000.log";
const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(100);

struct Place {
    vfs: Arc<ScriptedVfs>,
    clock: ManualClock,
    broker: Broker,
    topic: Topic,
}

impl Place {
    fn new(config: TopicConfig) -> Self {
        let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(1000));
        let broker = vfs.open_with(options().clock(clock.clock())).unwrap();
        let topic = broker.create_topic("t", config).unwrap();
        vfs.take_calls();
        Self { vfs, clock, broker, topic }
    }

    fn at_level(level: Durability) -> Self {
        Self::new(TopicConfig::new().durability(level))
    }

    fn alter(&self, change: impl FnOnce(TopicConfig) -> TopicConfig) -> ottla::Result<Topic> {
        self.broker.alter_topic("t", change(self.topic.config()))
    }

    fn raise(&self) -> ottla::Result<Topic> {
        self.alter(|config| config.durability(Durability::Synced))
    }

    fn send(&self, value: &[u8]) -> ottla::Result<u64> {
        self.topic.producer().send(Record::new(value))?.wait().map(|metadata| metadata.offset())
    }

    fn high_watermark(&self) -> u64 {
        self.topic.partition(0).unwrap().high_watermark()
    }

    fn found(&self) -> Vec<Vec<u8>> {
        values(&self.topic.partition(0).unwrap()).unwrap()
    }

    /// How many segments were begun since the last time this was asked.
    fn rolls(&self) -> usize {
        let calls = self.vfs.take_calls();
        calls.iter().filter(|call| call.starts_with("create 0") && call.ends_with(".log")).count()
    }
}

#[test]
fn what_may_be_sent_and_when_a_segment_ends_follow_at_once() {
    let place = Place::new(TopicConfig::new().max_message_bytes(500));
    assert_eq!(place.send(&[1; 900]).unwrap_err().kind(), ErrorKind::MessageTooLarge);
    place.alter(|config| config.max_message_bytes(1000)).unwrap();
    place.send(&[1; 900]).unwrap();
    place.alter(|config| config.max_message_bytes(100)).unwrap();
    let error = place.send(&[1; 900]).unwrap_err();
    assert!(error.to_string().contains("max.message.bytes allows 100"), "{error}");
    assert_eq!(
        place.topic.producer().send_batch(&[Record::new(&[1; 900])]).unwrap_err().kind(),
        error.kind()
    );

    place.alter(|config| config.max_message_bytes(1 << 20).segment_bytes(1024)).unwrap();
    assert_eq!(place.rolls(), 0);
    place.send(&[2; 700]).unwrap();
    assert_eq!(place.rolls(), 1, "two do not fit into a segment any more");
    let error = place.send(&[2; 2000]).unwrap_err();
    assert!(error.to_string().contains("segment.bytes allows 1024"), "{error}");
    place.alter(|config| config.segment_bytes(1 << 20)).unwrap();
    place.send(&[3; 2000]).unwrap();
    assert_eq!(place.rolls(), 0);

    place.clock.advance(Duration::from_secs(1));
    place.send(b"young").unwrap();
    assert_eq!(place.rolls(), 0);
    place.alter(|config| config.segment_ms(INTERVAL)).unwrap();
    place.send(b"young").unwrap();
    assert_eq!(place.rolls(), 1, "the segment's first record is a second old");

    place.alter(|config| config.segment_index_bytes(24).index_interval_bytes(0)).unwrap();
    place.vfs.take_calls();
    (0..10).for_each(|number| _ = place.send(&[number]).unwrap());
    assert_eq!(place.rolls(), 0, "a segment has the interval with which it was begun");
    place.clock.advance(Duration::from_secs(1));
    (0..10).for_each(|number| _ = place.send(&[number]).unwrap());
    assert!(place.rolls() >= 4, "three entries fill an index");
    assert_eq!(place.found().len(), 25);
    place.broker.close(TIMEOUT).unwrap();
    let broker = place.vfs.open_broker().unwrap();
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap().len(), 25);
}

/// The records that gather in one batch have one kind of timestamps, and each is what its sender was told.
#[test]
fn timestamps_of_two_kinds_share_no_batch() {
    let place = Place::new(TopicConfig::new());
    let producer = place.topic.producer();
    let send = |value: &str| producer.send(Record::new(value).timestamp(7)).unwrap();
    let mut deliveries = vec![send("a"), send("b")];
    place.alter(|config| config.timestamp_type(TimestampType::LogAppendTime)).unwrap();
    deliveries.extend([send("c"), send("d")]);
    deliveries.push(producer.send_batch(&[Record::new("e").timestamp(7)]).unwrap());
    place.alter(|config| config.timestamp_type(TimestampType::CreateTime)).unwrap();
    deliveries.push(send("f"));
    let told: Vec<_> = deliveries.into_iter().map(|delivery| delivery.wait().unwrap().timestamp()).collect();
    assert_eq!(told, [7, 7, 1000, 1000, 1000, 7]);

    let mut found = Vec::new();
    for batch in place.topic.partition(0).unwrap().read(Start::Earliest).unwrap() {
        let batch = batch.unwrap();
        let timestamps: Vec<_> = batch.iter().map(|record| record.timestamp().unwrap()).collect();
        found.push((batch.timestamp_type(), timestamps));
    }
    let (create, append) = (TimestampType::CreateTime, TimestampType::LogAppendTime);
    assert_eq!(
        found,
        [(create, vec![7, 7]), (append, vec![1000, 1000]), (append, vec![1000]), (create, vec![7])]
    );
}

/// Records share a batch up to the limit of the moment.
#[test]
fn batches_are_as_large_as_they_may_be() {
    let place = Place::new(TopicConfig::new());
    let sizes = || {
        let partition = place.topic.partition(0).unwrap();
        let from = Start::At(partition.high_watermark());
        send_all(&place.topic, [[0; 50]; 20]).unwrap();
        partition.read(from).unwrap().map(|batch| batch.unwrap().size()).collect::<Vec<_>>()
    };
    assert_eq!(sizes().len(), 1);
    place.alter(|config| config.max_message_bytes(300)).unwrap();
    let small = sizes();
    assert!(small.len() > 4 && small.iter().all(|size| *size <= 300), "{small:?}");
    place.alter(|config| config.max_message_bytes(1 << 20)).unwrap();
    assert_eq!(sizes().len(), 1);
}

/// What was taken is written, though it is larger than what may be sent now, and than a segment.
#[test]
fn a_lower_limit_spares_what_was_taken_before() {
    let place = Place::new(TopicConfig::new());
    let producer = place.topic.producer();
    let taken = [vec![1; 5000], vec![2; 9000], vec![3; 10]];
    let deliveries: Vec<_> = taken.iter().map(|value| producer.send(Record::new(value)).unwrap()).collect();
    place.alter(|config| config.segment_bytes(1024).max_message_bytes(100)).unwrap();
    deliveries.into_iter().for_each(|delivery| _ = delivery.wait().unwrap());
    place.send(&[4; 10]).unwrap();
    let expected = [&taken[..], &[vec![4; 10]]].concat();
    assert_eq!(place.found(), expected);
    // After a kill, and after an orderly stop.
    for stop in [|_: &Broker| {}, |broker: &Broker| broker.close(TIMEOUT).unwrap()] {
        stop(&place.broker);
        let broker = open_memory(&place.vfs.memory().restart());
        assert!(broker.recovery_report().partitions().is_empty());
        assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap(), expected);
    }
}

fn open_memory(vfs: &MemoryVfs) -> Broker {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

/// What was acknowledged and read without a sync is synced before the topic counts as a synced one, and nobody writes
/// in between, so that nothing that was visible has to be hidden.
#[test]
fn a_raised_level_syncs_to_the_log_end_first() {
    for level in [Durability::Os, Durability::Interval(INTERVAL)] {
        let place = Place::at_level(level);
        send_all(&place.topic, ["a", "b"]).unwrap();
        let gathered = place.topic.producer().send(Record::new("gathered")).unwrap();
        place.vfs.take_calls();
        place.vfs.pause(SYNC);
        std::thread::scope(|scope| {
            let raise = scope.spawn(|| place.raise());
            while !place.vfs.is_paused() {
                assert!(!raise.is_finished(), "it has synced nothing");
                std::thread::yield_now();
            }
            let wait = scope.spawn(|| gathered.wait().unwrap());
            assert_eq!((place.high_watermark(), place.found().len()), (2, 2));
            assert_eq!(place.topic.config().get("durability"), Some(level.to_string()));
            let before = place.vfs.take_calls();
            assert!(
                !before.iter().any(|call| call.contains("manifest") || call.starts_with("write 0")),
                "{before:?}"
            );
            place.vfs.resume();
            raise.join().unwrap().unwrap();
            wait.join().unwrap();
        });
        assert_eq!(place.high_watermark(), 3);
        let calls = place.vfs.take_calls();
        let manifest = calls.iter().position(|call| call == "rename to ottla.manifest").unwrap();
        let write = calls.iter().position(|call| *call == format!("write {LOG}")).unwrap();
        assert!(manifest < write, "nobody writes before the level has changed: {calls:#?}");
        assert!(
            calls[write..].iter().any(|call| call == SYNC),
            "and what is written then is synced: {calls:#?}"
        );
        // Whoever only writes shows nothing.
        for size in [(1 << 20) - 100, 200] {
            _ = place.topic.producer().send(Record::new(&vec![0; size])).unwrap();
        }
        assert!(place.vfs.take_calls().iter().any(|call| *call == format!("write {LOG}")));
        assert_eq!(place.high_watermark(), 3);
        place.clock.advance(10 * INTERVAL);
        place.broker.tick().unwrap();
        assert!(
            place.vfs.take_calls().iter().any(|call| call == SYNC),
            "nobody waits for it, and a moment has passed"
        );
        assert_eq!(place.high_watermark(), 5);
    }
}

#[test]
fn a_lowered_level_shows_and_acknowledges_what_is_written_at_once() {
    let place = Place::at_level(Durability::Synced);
    // A megabyte that nobody waits for is written, and not synced.
    let delivery = place.topic.producer().send(Record::new(&vec![0; (1 << 20) - 100])).unwrap();
    let mut consumer = place.broker.consumer().assign(place.topic.partitions()).unwrap();
    let last = place.topic.producer().send(Record::new(&[0; 200])).unwrap();
    assert_eq!(place.high_watermark(), 0);
    place.alter(|config| config.durability(Durability::Interval(INTERVAL))).unwrap();
    assert!(!place.vfs.take_calls().iter().any(|call| call == SYNC));
    assert_eq!(place.high_watermark(), 2);
    delivery.wait().unwrap();
    last.wait().unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
    assert!(!place.vfs.take_calls().iter().any(|call| call == SYNC));
    // What was written before counts from now on.
    place.clock.advance(INTERVAL);
    place.broker.tick().unwrap();
    assert!(place.vfs.take_calls().iter().any(|call| call == SYNC));
}

/// A sender that waits for its sync does not wait for it any more.
#[test]
fn who_waits_follows_the_level_of_the_moment() {
    let place = Place::at_level(Durability::Os);
    send_all(&place.topic, ["a"]).unwrap();
    let synced = place.topic.producer().synced().send(Record::new("b")).unwrap();
    place.alter(|config| config.durability(Durability::Interval(INTERVAL))).unwrap();
    place.vfs.take_calls();
    synced.wait().unwrap();
    assert!(
        place.vfs.take_calls().iter().any(|call| call == SYNC),
        "it has asked for more than the topic promises"
    );
}

/// The thread of the broker is told at once, and not when it wakes for something else.
#[test]
fn a_shorter_interval_brings_the_sync_forward() {
    let place = Place::at_level(Durability::Os);
    send_all(&place.topic, ["a"]).unwrap();
    // After the moment that a batch waits for more.
    place.clock.advance(Duration::from_millis(1));
    assert_eq!(place.broker.tick().unwrap(), Some(Duration::from_millis(19)));
    let short = Duration::from_millis(5);
    place.alter(|config| config.durability(Durability::Interval(short))).unwrap();
    assert_eq!(place.broker.tick().unwrap(), Some(Duration::from_millis(4)));
}

#[test]
fn another_interval_counts_for_what_is_not_synced_yet() {
    let place = Place::at_level(Durability::Os);
    send_all(&place.topic, ["a"]).unwrap();
    let synced = || place.vfs.take_calls().iter().any(|call| call == SYNC);
    let every = |interval| place.alter(|config| config.durability(Durability::Interval(interval))).unwrap();
    every(10 * INTERVAL);
    place.clock.advance(INTERVAL);
    place.broker.tick().unwrap();
    assert!(!synced());
    every(2 * INTERVAL);
    place.broker.tick().unwrap();
    assert!(!synced());
    place.clock.advance(INTERVAL);
    place.broker.tick().unwrap();
    assert!(synced(), "two intervals have passed since it was written");
    send_all(&place.topic, ["b"]).unwrap();
    every(4 * INTERVAL);
    place.clock.advance(2 * INTERVAL);
    place.broker.tick().unwrap();
    assert!(!synced(), "a longer one spares it");
    place.clock.advance(2 * INTERVAL);
    place.broker.tick().unwrap();
    assert!(synced());
}

/// Senders and readers beside a level that goes up and down: what is visible stays visible, and once the level is
/// raised, what was acknowledged before outlives a power cut.
#[test]
fn the_high_watermark_never_falls_while_the_level_changes() {
    let vfs = MemoryVfs::new();
    let broker = open_memory(&vfs);
    let config = TopicConfig::new().segment_bytes(4096).durability(Durability::Os);
    let topic = broker.create_topic("t", config.clone()).unwrap();
    let partition = topic.partition(0).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in 0..3u8 {
            let (topic, done) = (&topic, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    topic.producer().send(Record::new(&[sender; 300])).unwrap().wait().unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut highest = 0;
                while !done.load(Ordering::SeqCst) {
                    let now = partition.high_watermark();
                    assert!(now >= highest, "{highest} was visible, and {now} is");
                    highest = now;
                }
            });
        }
        let end = EndGuard(&done);
        for round in 0..30 {
            let level = [Durability::Synced, Durability::Os, Durability::Interval(INTERVAL)][round % 3];
            let acknowledged = partition.high_watermark();
            broker.alter_topic("t", config.clone().durability(level)).unwrap();
            if level == Durability::Synced {
                let image = vfs.images(CrashProfile::Strict, 1, round as u64).next().unwrap();
                let after = open_memory(&image.vfs);
                let topic = after.topic("t").unwrap();
                assert_eq!(topic.config(), config.clone().durability(level));
                let kept = topic.partition(0).unwrap().high_watermark();
                assert!(kept >= acknowledged, "{acknowledged} were visible, and {kept} are left");
            }
        }
        drop(end);
    });
    broker.alter_topic("t", config.durability(Durability::Synced)).unwrap();
    let sent = partition.high_watermark();
    assert_eq!(values(&partition).unwrap().len() as u64, sent);
    let image = vfs.images(CrashProfile::Strict, 1, 0).next().unwrap();
    assert_eq!(open_memory(&image.vfs).topic("t").unwrap().partition(0).unwrap().high_watermark(), sent);
}

#[test]
fn an_alteration_that_changes_nothing_writes_nothing_and_a_missing_level_stays() {
    let place = Place::new(TopicConfig::new().durability(Durability::Os).segment_bytes(2048));
    let same = place.broker.alter_topic("t", TopicConfig::new().segment_bytes(2048)).unwrap();
    assert_eq!(place.vfs.take_calls(), [] as [&str; 0]);
    assert_eq!((same.id(), same.config()), (place.topic.id(), place.topic.config()));
    place.broker.alter_topic("t", TopicConfig::new()).unwrap();
    assert_eq!(place.topic.config(), TopicConfig::new().durability(Durability::Os));
    place.broker.close(TIMEOUT).unwrap();
    let topic = place.vfs.open_broker().unwrap().topic("t").unwrap();
    assert_eq!(topic.config(), TopicConfig::new().durability(Durability::Os));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let place = Place::new(TopicConfig::new().partitions(3));
    let config = place.topic.config();
    let refused =
        |name: &str, config: TopicConfig| place.broker.alter_topic(name, config).unwrap_err().kind();
    assert_eq!(refused("u", TopicConfig::new()), ErrorKind::UnknownTopicOrPartition);
    assert_eq!(refused("t", config.clone().partitions(2)), ErrorKind::InvalidPartitions);
    assert_eq!(refused("t", config.clone().partitions(0)), ErrorKind::InvalidPartitions);
    assert_eq!(refused("t", config.clone().partitions(10_001)), ErrorKind::InvalidPartitions);
    assert_eq!(refused("t", config.clone().segment_bytes(1)), ErrorKind::InvalidConfig);
    let odd = config.clone().durability(Durability::Interval(Duration::ZERO));
    assert_eq!(refused("t", odd), ErrorKind::InvalidConfig);
    assert_eq!(place.topic.config(), config);
    assert_eq!(place.vfs.take_calls(), [] as [&str; 0]);
    place.broker.delete_topic("t").unwrap();
    assert_eq!(refused("t", config.clone()), ErrorKind::UnknownTopicOrPartition);
    place.broker.close(TIMEOUT).unwrap();
    assert_eq!(refused("t", config), ErrorKind::Closed);
}

/// Until the new manifest takes the name, nothing has changed, and it can be tried again.
#[test]
fn a_failure_before_the_commit_changes_nothing() {
    for call in ["create ottla.manifest.tmp", "write ottla.manifest.tmp", "sync ottla.manifest.tmp"] {
        for kind in [Other, StorageFull] {
            let place = Place::at_level(Durability::Os);
            let before = place.topic.config();
            send_all(&place.topic, ["a"]).unwrap();
            place.vfs.fail(call, 0, kind);
            let change = |config: TopicConfig| config.durability(Durability::Synced).max_message_bytes(200);
            let error = place.alter(change).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageError, "{call}: {error}");
            place.vfs.fail_no_more();
            assert_eq!(place.topic.config(), before, "{call}");
            place.vfs.take_calls();
            place.send(&[1; 900]).unwrap();
            assert!(
                !place.vfs.take_calls().iter().any(|call| call == SYNC),
                "{call}: it is an os topic still"
            );
            let killed = open_memory(&place.vfs.memory().restart());
            assert_eq!(killed.topic("t").unwrap().config(), before, "{call}");

            place.alter(change).unwrap();
            assert_eq!(place.send(&[1; 900]).unwrap_err().kind(), ErrorKind::MessageTooLarge);
            place.broker.close(TIMEOUT).unwrap();
            let reopened = place.vfs.open_broker().unwrap().topic("t").unwrap();
            assert_eq!(reopened.config(), place.topic.config());
        }
    }
}

/// Nobody knows which manifest a power cut would leave: topics are not changed any more, records go on, and the next
/// opening finds one of both, whole.
#[test]
fn a_commit_that_fails_ends_changes_and_nothing_else() {
    for (call, now) in [("rename to ottla.manifest", "os"), ("sync_dir data", "synced")] {
        let place = Place::at_level(Durability::Os);
        let before = place.topic.config();
        place.vfs.fail(call, 0, Other);
        place.raise().unwrap_err();
        place.vfs.fail_no_more();
        assert_eq!(place.topic.config(), before);
        let error = place.raise().unwrap_err();
        assert!(error.to_string().contains("reopened"), "{error}");
        assert!(place.broker.create_topic("u", TopicConfig::new()).is_err());
        place.send(b"goes on").unwrap();
        assert!(place.broker.close(TIMEOUT).is_err());
        let broker = place.vfs.open_broker().unwrap();
        let topic = broker.topic("t").unwrap();
        assert_eq!(topic.config().get("durability").as_deref(), Some(now), "{call}");
        assert_eq!(values(&topic.partition(0).unwrap()).unwrap(), [b"goes on"]);
        broker.alter_topic("t", topic.config().durability(Durability::Synced)).unwrap();
    }
}

/// It stops the partition, as every failed sync does; the topic stays what it was, and what was visible visible.
#[test]
fn a_sync_that_fails_for_a_raised_level_stops_the_partition_and_raises_nothing() {
    let place = Place::new(TopicConfig::new().partitions(2).durability(Durability::Os));
    send_all(&place.topic, ["a", "b"]).unwrap();
    let producer = place.topic.producer();
    producer.send(Record::new("other").partition(1)).unwrap().wait().unwrap();
    place.vfs.fail(SYNC, 1, Other);
    let error = place.raise().unwrap_err();
    assert_eq!((error.kind(), error.partition()), (ErrorKind::StorageError, Some(1)), "{error}");
    place.vfs.fail_no_more();
    assert_eq!(place.topic.config().get("durability").as_deref(), Some("os"));
    assert!(!place.vfs.take_calls().iter().any(|call| call.contains("manifest")));
    let refused = producer.send(Record::new("refused").partition(1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageError);
    assert_eq!(values(&place.topic.partition(1).unwrap()).unwrap(), [b"other"]);
    // The other one is an os partition as before.
    producer.send(Record::new("c").partition(0)).unwrap().wait().unwrap();
    assert!(!place.vfs.take_calls().iter().any(|call| call == SYNC));

    assert!(place.raise().is_err(), "never synced again and believed");
    place.alter(|config| config.durability(Durability::Interval(INTERVAL)).segment_bytes(2048)).unwrap();
    assert!(place.broker.close(TIMEOUT).unwrap_err().is_indeterminate());
    let broker = place.vfs.open_broker().unwrap();
    let topic = broker.topic("t").unwrap();
    assert_eq!(topic.config(), place.topic.config());
    assert_eq!(values(&topic.partition(0).unwrap()).unwrap(), [b"a", b"b", b"c"]);
}

/// A record that nobody could sync, on a topic that promised it, does not become visible by a lower promise.
#[test]
fn a_lowered_level_shows_nothing_of_a_partition_that_has_stopped() {
    let place = Place::at_level(Durability::Synced);
    send_all(&place.topic, ["a"]).unwrap();
    // Written behind, and then the sync fails.
    let doubtful = place.topic.producer().send(Record::new(&vec![0; (1 << 20) - 100])).unwrap();
    let last = place.topic.producer().send(Record::new(&[0; 200])).unwrap();
    place.vfs.fail(SYNC, 0, Other);
    assert!(last.wait().unwrap_err().is_indeterminate());
    place.vfs.fail_no_more();
    place.alter(|config| config.durability(Durability::Os)).unwrap();
    assert_eq!((place.high_watermark(), place.found().len()), (1, 1));
    assert!(doubtful.wait().unwrap_err().is_indeterminate());
}

#[test]
fn alterations_at_the_same_time_come_one_after_the_other() {
    let place = Place::new(TopicConfig::new());
    let asked = |thread: u64, round: u64| {
        let level = if thread.is_multiple_of(2) { Durability::Synced } else { Durability::Os };
        let number = 10_000 + 100 * thread + round;
        TopicConfig::new().segment_bytes(number).max_message_bytes(number).durability(level)
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let place = &place;
            scope.spawn(move || {
                for round in 0..20 {
                    place.broker.alter_topic("t", asked(thread, round)).unwrap();
                    place.send(&[1; 100]).unwrap();
                }
            });
        }
    });
    let last = place.topic.config();
    assert!((0..4).any(|thread| asked(thread, 19) == last), "{last:?}");
    place.broker.close(TIMEOUT).unwrap();
    let topic = place.vfs.open_broker().unwrap().topic("t").unwrap();
    assert_eq!(topic.config(), last);
    assert_eq!(values(&topic.partition(0).unwrap()).unwrap().len(), 80);
}
