//! How long the oldest record waits for its sync, as a partition tells it: to whoever looks, at once, whatever the disk does.

use std::sync::Arc;
use std::time::Duration;

use ottla::{Broker, Durability, ErrorKind, ManualClock, Partition, Record, Topic, TopicConfig};

use crate::support::{ScriptedVfs, options, send_all};

const SYNC: &str = "sync 00000000000000000000.log";
const WRITE: &str = "write 00000000000000000000.log";

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Place {
    vfs: Arc<ScriptedVfs>,
    clock: ManualClock,
    broker: Broker,
}

impl Place {
    fn new() -> Self {
        let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(0));
        let broker = vfs.open_with(options().clock(clock.clock())).unwrap();
        Self { vfs, clock, broker }
    }

    fn topic(&self, name: &str, level: Durability) -> (Topic, Partition) {
        let topic = self.broker.create_topic(name, TopicConfig::new().durability(level)).unwrap();
        let partition = topic.partition(0).unwrap();
        assert_eq!(partition.oldest_unsynced(), None, "it is empty");
        (topic, partition)
    }
}

/// Lets the disk go on, also where the test has failed.
struct Resume<'a>(&'a ScriptedVfs);

impl Drop for Resume<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// A disk that hangs below one partition: its number grows with the clock, and the others go on.
#[test]
fn a_sync_that_hangs_shows_in_its_partition_and_in_no_other() {
    let Place { vfs, clock, broker } = &Place::new();
    let [hung, other] = ["hung", "other"].map(|name| broker.create_topic(name, TopicConfig::new()).unwrap());
    let [partition, well] = [&hung, &other].map(|topic| topic.partition(0).unwrap());
    let first = hung.producer().send(Record::new("first")).unwrap();
    clock.advance(seconds(1));
    assert_eq!(partition.oldest_unsynced(), Some(seconds(1)), "nobody has written it yet");
    vfs.pause_in("hung-0", "sync");
    std::thread::scope(|scope| {
        let _resume = Resume(vfs);
        let waiting = scope.spawn(move || first.wait());
        vfs.wait_until_paused();
        clock.advance(seconds(4));
        assert_eq!(partition.oldest_unsynced(), Some(seconds(5)));
        let second = hung.producer().send(Record::new("second")).unwrap();
        send_all(&other, ["durable"]).unwrap();
        clock.advance(seconds(2));
        assert_eq!(partition.oldest_unsynced(), Some(seconds(7)));
        assert_eq!(well.oldest_unsynced(), None);
        assert_eq!(well.high_watermark(), 1);
        vfs.resume();
        waiting.join().unwrap().unwrap();
        assert_eq!(partition.oldest_unsynced(), Some(seconds(2)), "that of the second");
        second.wait().unwrap();
        assert_eq!(partition.oldest_unsynced(), None);
    });
}

/// The same with the broker's threads, none of which anybody waits for.
#[test]
fn the_brokers_threads_hang_and_the_number_shows_it() {
    let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(0));
    let broker = vfs.open_with(options().background(true).clock(clock.clock())).unwrap();
    let [hung, other] = ["hung", "other"].map(|name| broker.create_topic(name, TopicConfig::new()).unwrap());
    vfs.pause_in("hung-0", "sync");
    let _resume = Resume(&vfs);
    let delivery = hung.producer().send(Record::new("sent")).unwrap();
    clock.advance(seconds(1));
    vfs.wait_until_paused();
    clock.advance(seconds(59));
    assert_eq!(hung.partition(0).unwrap().oldest_unsynced(), Some(seconds(60)));
    send_all(&other, ["durable"]).unwrap();
    assert_eq!(other.partition(0).unwrap().oldest_unsynced(), None);
    vfs.resume();
    delivery.wait().unwrap();
    assert_eq!(hung.partition(0).unwrap().oldest_unsynced(), None);
}

#[test]
fn a_written_record_counts_until_somebody_syncs_it() {
    let place = &Place::new();
    let (vfs, clock) = (&place.vfs, &place.clock);
    let (topic, partition) = place.topic("t", Durability::Os);
    for value in ["a", "b"] {
        topic.producer().send(Record::new(value)).unwrap().wait().unwrap();
        clock.advance(seconds(3));
    }
    assert_eq!(partition.oldest_unsynced(), Some(seconds(6)));
    vfs.pause(SYNC);
    std::thread::scope(|scope| {
        let _resume = Resume(vfs);
        let flush = scope.spawn(|| topic.producer().synced().flush());
        vfs.wait_until_paused();
        clock.advance(seconds(1));
        topic.producer().send(Record::new("c")).unwrap().wait().unwrap();
        clock.advance(seconds(1));
        assert_eq!(partition.oldest_unsynced(), Some(seconds(8)));
        vfs.resume();
        flush.join().unwrap().unwrap();
    });
    assert_eq!(partition.oldest_unsynced(), Some(seconds(1)), "what came during the sync");
    topic.producer().synced().flush().unwrap();
    assert_eq!(partition.oldest_unsynced(), None);
}

#[test]
fn an_interval_brings_it_back_to_nothing() {
    let place = &Place::new();
    let (topic, partition) = place.topic("t", Durability::Interval(seconds(5)));
    send_all(&topic, ["a"]).unwrap();
    place.clock.advance(seconds(4));
    place.broker.tick().unwrap();
    assert_eq!(partition.oldest_unsynced(), Some(seconds(4)));
    place.clock.advance(seconds(1));
    place.broker.tick().unwrap();
    assert_eq!(partition.oldest_unsynced(), None);
}

#[test]
fn what_was_not_written_does_not_count() {
    for level in [Durability::Synced, Durability::Os] {
        let place = &Place::new();
        let (topic, partition) = place.topic("t", level);
        place.vfs.fail_once(WRITE, 0, std::io::ErrorKind::StorageFull);
        let error = topic.producer().send(Record::new("lost")).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotWritten);
        place.clock.advance(seconds(9));
        assert_eq!(partition.oldest_unsynced(), None, "{level}");
        _ = topic.producer().send(Record::new("later")).unwrap();
        place.clock.advance(seconds(1));
        assert_eq!(partition.oldest_unsynced(), Some(seconds(1)), "{level}");
        // What was written before does.
        topic.producer().send(Record::new("written")).unwrap().wait().unwrap();
        let before = partition.oldest_unsynced();
        assert_eq!(before.is_some(), level == Durability::Os);
        place.vfs.fail_once(WRITE, 0, std::io::ErrorKind::StorageFull);
        topic.producer().send(Record::new("lost")).unwrap().wait().unwrap_err();
        assert_eq!(partition.oldest_unsynced(), before, "{level}");
    }
}

#[test]
fn after_a_failed_sync_it_grows_until_the_partition_is_reopened() {
    for level in [Durability::Synced, Durability::Os] {
        let place = &Place::new();
        let (topic, partition) = place.topic("t", level);
        let delivery = topic.producer().send(Record::new("lost")).unwrap();
        place.vfs.fail_once(SYNC, 0, std::io::ErrorKind::Other);
        assert!(topic.producer().synced().flush().unwrap_err().is_indeterminate());
        drop(delivery);
        place.clock.advance(seconds(30));
        assert_eq!(partition.oldest_unsynced(), Some(seconds(30)), "{level}");
        partition.reopen().unwrap().unwrap();
        assert_eq!(partition.oldest_unsynced(), None, "{level}");
        send_all(&topic, ["again"]).unwrap();
        topic.producer().synced().flush().unwrap();
        assert_eq!(partition.oldest_unsynced(), None, "{level}");
    }
}

#[test]
fn a_raised_level_and_a_close_leave_nothing_unsynced() {
    let place = &Place::new();
    let (topic, partition) = place.topic("t", Durability::Os);
    send_all(&topic, ["a"]).unwrap();
    let raised = TopicConfig::new().durability(Durability::Synced);
    place.broker.alter_topic("t", raised).unwrap();
    assert_eq!(partition.oldest_unsynced(), None);
    _ = topic.producer().send(Record::new("b")).unwrap();
    place.clock.advance(seconds(1));
    assert_eq!(partition.oldest_unsynced(), Some(seconds(1)));
    place.broker.close(seconds(10)).unwrap();
    assert_eq!(partition.oldest_unsynced(), None);
}
