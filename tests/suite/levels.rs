//! What each durability level promises, and when it syncs.

use std::io::ErrorKind::Other;
use std::sync::Arc;
use std::time::Duration;

use ottla::{Broker, Durability, ErrorKind, ManualClock, Record, Topic, TopicConfig};

use crate::support::{ScriptedVfs, options, send_all, values};

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
    fn new(level: Durability, background: bool) -> Self {
        let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(0));
        let broker = vfs.open_with(options().background(background).clock(clock.clock())).unwrap();
        let topic =
            broker.create_topic("t", TopicConfig::new().segment_bytes(1024).durability(level)).unwrap();
        vfs.take_calls();
        Self { vfs, clock, broker, topic }
    }

    fn synced(&self) -> bool {
        self.vfs.take_calls().iter().any(|call| call == SYNC)
    }

    fn found(&self) -> Vec<Vec<u8>> {
        values(&self.topic.partition(0).unwrap()).unwrap()
    }

    /// The durable and the visible end in the newest slot of the only partition.
    fn slot(&self) -> (u64, u64) {
        let ends = self.vfs.content("ottla.ends");
        let number = |at: usize| u64::from_be_bytes(ends[at..at + 8].try_into().unwrap());
        let newest =
            [4096, 8192].into_iter().filter(|at| ends.len() > *at).max_by_key(|at| number(at + 8)).unwrap();
        (number(newest + 56), number(newest + 72))
    }
}

#[test]
fn an_os_topic_acknowledges_and_shows_what_is_written_and_syncs_when_asked() {
    let place = Place::new(Durability::Os, false);
    let producer = place.topic.producer();
    let metadata = producer.send(Record::new("written")).unwrap().wait().unwrap();
    assert_eq!((metadata.offset(), place.topic.partition(0).unwrap().high_watermark()), (0, 1));
    assert_eq!(place.found(), [b"written"]);
    producer.flush().unwrap();
    place.clock.advance(Duration::from_secs(3600));
    place.broker.tick().unwrap();
    assert!(!place.synced(), "only when it is asked to");
    producer.clone().synced().send(Record::new("synced")).unwrap().wait().unwrap();
    assert!(place.synced());
    assert_eq!(place.slot(), (2, 2));
    send_all(&place.topic, ["written"]).unwrap();
    producer.synced().flush().unwrap();
    assert!(place.synced());
    send_all(&place.topic, ["closed"]).unwrap();
    place.broker.close(TIMEOUT).unwrap();
    assert!(place.synced(), "closing syncs");
}

#[test]
fn the_visible_end_comes_into_the_slot_within_twenty_milliseconds_and_proves_nothing() {
    let place = Place::new(Durability::Os, false);
    send_all(&place.topic, ["a", "b"]).unwrap();
    assert_eq!(place.slot(), (0, 0));
    place.clock.advance(Duration::from_millis(19));
    place.broker.tick().unwrap();
    assert_eq!(place.slot(), (0, 0));
    place.clock.advance(Duration::from_millis(1));
    place.broker.tick().unwrap();
    assert_eq!(place.slot(), (0, 2));
    assert!(!place.synced());
    send_all(&place.topic, ["c"]).unwrap();
    assert_eq!(place.slot(), (0, 2), "not with each append");
}

#[test]
fn an_interval_topic_syncs_once_its_interval_has_passed_and_not_before() {
    let place = Place::new(Durability::Interval(INTERVAL), false);
    send_all(&place.topic, ["a"]).unwrap();
    place.clock.advance(INTERVAL / 2);
    send_all(&place.topic, ["b"]).unwrap();
    place.broker.tick().unwrap();
    assert!(!place.synced());
    place.clock.advance(INTERVAL / 2);
    place.broker.tick().unwrap();
    assert!(place.synced());
    assert_eq!(place.slot(), (2, 2));
    place.clock.advance(Duration::from_secs(120));
    place.broker.tick().unwrap();
    assert!(!place.synced(), "there is nothing new");
    assert_eq!(place.broker.tick().unwrap(), None, "an idle broker has nothing to do");
}

/// The evidence itself is synced a second after it was written, and not on an append's time.
#[test]
fn the_ends_file_is_synced_within_a_second() {
    let place = Place::new(Durability::Synced, false);
    let syncs = || place.vfs.take_calls().iter().filter(|call| *call == "sync ottla.ends").count();
    for _ in 0..3 {
        send_all(&place.topic, ["a"]).unwrap();
        place.clock.advance(Duration::from_millis(999));
        place.broker.tick().unwrap();
        assert_eq!(syncs(), 0);
        place.clock.advance(Duration::from_millis(1));
        place.broker.tick().unwrap();
        assert_eq!(syncs(), 1);
        place.clock.advance(Duration::from_secs(10));
        place.broker.tick().unwrap();
        assert_eq!(syncs(), 0, "nothing was written since");
    }
}

/// Nobody ticks: then whoever appends pays for the sync that is overdue.
#[test]
fn an_append_waits_for_the_disk_once_the_oldest_record_is_older_than_two_intervals() {
    let place = Place::new(Durability::Interval(INTERVAL), false);
    send_all(&place.topic, ["a"]).unwrap();
    place.clock.advance(2 * INTERVAL);
    send_all(&place.topic, ["b"]).unwrap();
    assert!(!place.synced());
    place.clock.advance(Duration::from_millis(1));
    send_all(&place.topic, ["c"]).unwrap();
    assert_eq!(place.slot().0, 2, "what was there before was synced first");
    assert!(place.synced());
}

#[test]
fn the_brokers_thread_does_what_tick_would() {
    let place = Place::new(Durability::Interval(INTERVAL), true);
    place.vfs.pause(SYNC);
    send_all(&place.topic, ["a"]).unwrap();
    assert_eq!(place.found(), [b"a"]);
    place.clock.advance(INTERVAL);
    place.vfs.wait_until_paused();
    // The disk is slow, and appends go on meanwhile.
    send_all(&place.topic, ["b"]).unwrap();
    assert_eq!(place.found(), [b"a", b"b"]);
    place.vfs.resume();
    while place.slot().0 == 0 {
        std::thread::yield_now();
    }
    assert_eq!(place.slot(), (1, 2), "the second came when the sync had begun");
    place.topic.producer().synced().flush().unwrap();
    assert_eq!(place.slot(), (2, 2));
    place.broker.close(TIMEOUT).unwrap();
}

/// The old segment, and the directory, are synced behind the roll, before anything behind it counts as durable.
#[test]
fn a_roll_of_an_os_topic_waits_for_no_sync_and_one_follows() {
    let place = Place::new(Durability::Os, false);
    send_all(&place.topic, [vec![1; 700], vec![2; 700]]).unwrap();
    let calls = place.vfs.take_calls();
    let first_write = calls.iter().position(|call| *call == format!("write {LOG}")).unwrap();
    let (_, since) = calls.split_at(first_write);
    assert!(since.iter().any(|call| call == "create 00000000000000000001.log"));
    assert!(!since.iter().any(|call| call.starts_with("sync")), "{calls:#?}");
    place.broker.tick().unwrap();
    let calls = place.vfs.take_calls();
    let order = [SYNC, "sync_dir t-0", "sync 00000000000000000001.log", "write ottla.ends"].map(|wanted| {
        calls.iter().position(|call| call == wanted).unwrap_or_else(|| panic!("{wanted}: {calls:#?}"))
    });
    assert!(order.is_sorted(), "{calls:#?}");
    assert_eq!(place.slot(), (2, 2));
}

/// The sync at work has taken what it syncs before the roll: another one follows.
#[test]
fn a_roll_while_a_sync_runs_is_followed_by_a_sync() {
    let place = Place::new(Durability::Os, false);
    send_all(&place.topic, ["a"]).unwrap();
    place.vfs.pause(SYNC);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| place.topic.producer().synced().flush());
        place.vfs.wait_until_paused();
        send_all(&place.topic, [vec![1; 700], vec![2; 700]]).unwrap();
        place.vfs.resume();
        flush.join().unwrap().unwrap();
    });
    assert_eq!(place.slot().0, 1);
    place.broker.tick().unwrap();
    assert_eq!(place.slot(), (3, 3));
}

#[test]
fn segments_that_wait_for_their_sync_are_few() {
    let place = Place::new(Durability::Os, false);
    for number in 0..40 {
        send_all(&place.topic, [vec![number; 700]]).unwrap();
    }
    assert!(place.synced(), "nobody ticks, and files stay open until they are synced");
    assert!(place.slot().0 > 20);
    assert_eq!(place.found().len(), 40);
}

/// What readers saw they go on seeing, and nothing is believed of a disk that has failed to sync.
#[test]
fn a_failed_sync_of_an_os_topic_takes_nothing_back_and_stops_it() {
    let place = Place::new(Durability::Os, false);
    let producer = place.topic.producer();
    let written = producer.send(Record::new("written")).unwrap();
    written.clone().wait().unwrap();
    place.vfs.fail(SYNC, 0, Other);
    let error = producer.clone().synced().send(Record::new("doubtful")).unwrap().wait().unwrap_err();
    assert!(error.is_indeterminate(), "{error}");
    place.vfs.fail_no_more();
    written.wait().unwrap();
    assert_eq!(place.found(), [&b"written"[..], b"doubtful"]);
    assert_eq!(producer.send(Record::new("refused")).unwrap_err().kind(), ErrorKind::StorageError);
    assert!(producer.synced().flush().unwrap_err().is_indeterminate(), "never synced again and believed");
    assert_eq!(place.slot().0, 0);
    assert!(place.broker.close(TIMEOUT).is_err());
    assert!(!place.vfs.open_broker().unwrap().recovery_report().is_clean());
}

#[test]
fn a_sync_that_the_clock_asked_for_and_that_fails_stops_the_topic() {
    let place = Place::new(Durability::Interval(INTERVAL), false);
    send_all(&place.topic, ["a"]).unwrap();
    place.vfs.fail(SYNC, 0, Other);
    place.clock.advance(INTERVAL);
    place.broker.tick().unwrap();
    place.vfs.fail_no_more();
    let error = place.topic.producer().send(Record::new("refused")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageError);
    assert_eq!(place.found(), [b"a"]);
    assert!(place.broker.close(TIMEOUT).unwrap_err().is_indeterminate());
}

#[test]
fn the_level_is_the_topics_or_else_the_brokers_when_it_was_created() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().durability(Durability::Os)).unwrap();
    let level = |topic: &Topic| topic.config().get("durability").unwrap();
    assert_eq!(level(&broker.create_topic("default", TopicConfig::new()).unwrap()), "os");
    let own = TopicConfig::new().durability(Durability::Synced);
    assert_eq!(level(&broker.create_topic("own", own).unwrap()), "synced");
    broker.close(TIMEOUT).unwrap();

    let broker = vfs.open_broker().unwrap();
    assert_eq!(level(&broker.topic("default").unwrap()), "os", "it is stored");
    let error = broker.ensure_topic("default", TopicConfig::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicConfigDiffers);
    assert!(error.to_string().contains("durability is os, not synced"), "{error}");
    for odd in [Duration::ZERO, Duration::from_nanos(1_500_000)] {
        let config = TopicConfig::new().durability(Durability::Interval(odd));
        assert_eq!(broker.create_topic("odd", config).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}

/// A part of a write that holds whole batches stays; only what comes behind it was not written.
#[test]
fn of_a_short_write_whole_batches_are_kept() {
    for level in [Durability::Synced, Durability::Os] {
        let place = Place::new(level, false);
        let producer = place.topic.producer();
        let one = producer.send_batch(&[Record::new("one")]).unwrap();
        let two = producer.send_batch(&[Record::new("two")]).unwrap();
        // The first batch takes 71 bytes.
        place.vfs.limit_writes(100);
        place.vfs.fail(&format!("write {LOG}"), 1, std::io::ErrorKind::StorageFull);
        assert_eq!(two.wait().unwrap_err().kind(), ErrorKind::NotWritten);
        assert_eq!(one.wait().unwrap().offset(), 0);
        place.vfs.fail_no_more();
        send_all(&place.topic, ["again"]).unwrap_err();
        send_all(&place.topic, ["again"]).unwrap();
        assert_eq!(place.found(), [&b"one"[..], b"again", b"again"], "{level}");
        place.broker.close(TIMEOUT).unwrap();
        assert!(place.vfs.open_broker().unwrap().recovery_report().is_clean());
    }
}

/// A recovery may cut what was not synced, and nothing that is mapped is ever cut.
#[test]
fn a_rolled_segment_is_mapped_only_once_it_was_synced() {
    let place = Place::new(Durability::Os, false);
    let maps = || {
        place.vfs.take_calls();
        assert_eq!(place.found(), [vec![1; 700], vec![2; 700]]);
        place.vfs.take_calls().into_iter().filter(|call| call.starts_with("map 0")).count()
    };
    send_all(&place.topic, [vec![1; 700], vec![2; 700]]).unwrap();
    assert_eq!(maps(), 0, "it is read by pread");
    place.vfs.fail_once("sync 00000000000000000001.log", 0, Other);
    place.topic.producer().synced().flush().unwrap_err();
    assert_eq!(maps(), 0, "nobody knows what recovery makes of it");

    let place = Place::new(Durability::Os, false);
    send_all(&place.topic, [vec![1; 700], vec![2; 700]]).unwrap();
    assert_eq!(place.found().len(), 2);
    place.broker.tick().unwrap();
    place.vfs.take_calls();
    assert_eq!(place.found(), [vec![1; 700], vec![2; 700]]);
    let calls = place.vfs.take_calls();
    assert!(calls.contains(&format!("map {LOG}")), "also where it was open before: {calls:#?}");
    assert_eq!(place.found().len(), 2);
    assert!(!place.vfs.take_calls().iter().any(|call| call.starts_with("open")), "once");
}
