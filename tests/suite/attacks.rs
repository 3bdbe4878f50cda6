//! What somebody found who wanted to break the library: endings at awkward moments, wakers that do too much, a disk that
//! hangs where nobody thinks of it.

use std::io::ErrorKind::{Other, StorageFull};
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ottla::{Broker, Delivery, Durability, ErrorKind, ManualClock, Record, Topic, TopicConfig};

use crate::support::{ScriptedVfs, options, send_all, values};

const LOG: &str = "t-0/00000000000000000000.log";
const SYNC: &str = "sync 00000000000000000000.log";
const WRITE: &str = "write 00000000000000000000.log";
const MOMENT: Duration = Duration::from_millis(20);
/// Longer than anything here takes that does not hang.
const LONG: Duration = Duration::from_secs(20);

/// A waker that does what it was told.
struct Calling<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Calling<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn calling(act: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Calling(act)))
}

/// A waker that owns the last handle, and does nothing, or panics.
struct Owner {
    #[expect(dead_code, reason = "held until the waker is dropped")]
    broker: Mutex<Broker>,
    panics: bool,
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {
        if self.panics {
            std::panic::resume_unwind(Box::new("a waker of the user's"));
        }
    }
}

fn poll(delivery: &mut Delivery, waker: &Waker) -> Poll<ottla::Result<ottla::RecordMetadata>> {
    pin!(delivery).poll(&mut Context::from_waker(waker))
}

/// Runs `act` on a thread of its own; `None` if it has not returned in time.
fn within<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || _ = sender.send(act()));
    receiver.recv_timeout(LONG).ok()
}

fn with_threads() -> (Arc<ScriptedVfs>, Broker, Topic) {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().background(true)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    (vfs, broker, topic)
}

/// A sync of the topic fails.
fn fail(vfs: &ScriptedVfs, topic: &Topic) {
    vfs.fail(SYNC, 0, Other);
    let delivery = topic.producer().synced().send(Record::new("doubtful")).unwrap();
    assert!(delivery.wait().unwrap_err().is_indeterminate());
    vfs.fail_no_more();
}

/// Opens the directory once it is free.
fn open_when_free(vfs: &Arc<ScriptedVfs>) -> Option<Broker> {
    let vfs = Arc::clone(vfs);
    within(move || {
        loop {
            match vfs.open_broker() {
                Err(error) if error.kind() == ErrorKind::DirectoryInUse => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    })
}

/// Its directory is the successor's now: the old handle must neither read nor write there.
#[test]
fn a_failed_partition_whose_topic_was_deleted_is_gone() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let old = broker.create_topic("t", TopicConfig::new()).unwrap();
    let old_partition = old.partition(0).unwrap();
    fail(&vfs, &old);
    broker.delete_topic("t").unwrap();
    let new = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&new, ["new"]).unwrap();
    let answers = [
        old_partition.reopen().map(drop),
        values(&old_partition).map(drop),
        old.producer().send(Record::new("old")).map(drop),
    ];
    for answer in answers {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
    }
    assert_eq!(values(&new.partition(0).unwrap()).unwrap(), [b"new"]);
    broker.close(LONG).unwrap();
    assert!(vfs.open_broker().unwrap().recovery_report().is_clean());
}

#[test]
fn polls_of_a_failed_partition_end_with_the_broker_and_with_the_topic() {
    for deletes in [true, false] {
        let (vfs, broker, topic) = with_threads();
        send_all(&topic, ["a"]).unwrap();
        fail(&vfs, &topic);
        let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || _ = sender.send(consumer.poll(Duration::MAX).map(drop)));
        if deletes {
            broker.delete_topic("t").unwrap();
        } else {
            assert!(broker.close(LONG).unwrap_err().is_indeterminate());
        }
        let kind = if deletes { ErrorKind::UnknownTopicOrPartition } else { ErrorKind::Closed };
        assert_eq!(receiver.recv_timeout(LONG).expect("it ends").unwrap_err().kind(), kind);
        assert_eq!(values(&topic.partition(0).unwrap()).unwrap_err().kind(), kind, "nor does anybody read");
    }
}

/// Somebody creates or alters a topic, and the disk hangs at it: the others have their answers all the same.
#[test]
fn closing_keeps_its_deadline_while_topics_are_changed() {
    for alters in [true, false] {
        let (vfs, broker, topic) = with_threads();
        let hung = broker.create_topic("hung", TopicConfig::new().durability(Durability::Os)).unwrap();
        send_all(&hung, ["a"]).unwrap();
        let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
        let (sender, polled) = mpsc::channel();
        std::thread::spawn(move || {
            let ended = std::iter::repeat_with(|| consumer.poll(Duration::MAX)).find_map(Result::err);
            _ = sender.send(ended);
        });
        if alters {
            vfs.pause_in("hung-0", "sync");
        } else {
            vfs.pause("");
        }
        let other = broker.clone();
        let changes = std::thread::spawn(move || match alters {
            true => other.alter_topic("hung", TopicConfig::new().durability(Durability::Synced)).map(drop),
            false => other.create_topic("new", TopicConfig::new()).map(drop),
        });
        vfs.wait_until_paused();
        let waiting = topic.producer().send(Record::new("a")).ok();
        assert!(broker.close(MOMENT).unwrap_err().is_indeterminate());
        assert_eq!(topic.producer().send(Record::new("b")).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(polled.recv_timeout(LONG).expect("it ends").unwrap().kind(), ErrorKind::Closed);
        if let Some(delivery) = waiting {
            assert!(within(move || delivery.wait().map(drop)).is_some(), "whoever waits is told");
        }
        vfs.resume();
        _ = changes.join().unwrap();
        assert!(open_when_free(&vfs).is_some());
    }
}

/// The evidence is written without a lock that anybody waits for who only looks.
#[test]
fn a_disk_that_hangs_at_the_evidence_holds_up_nobody_who_has_a_deadline() {
    let (vfs, broker, topic) = with_threads();
    vfs.pause("write ottla.ends");
    let mut delivery = topic.producer().send(Record::new("a")).unwrap();
    vfs.wait_until_paused();
    let (again, partition, producer) = (delivery.clone(), topic.partition(0).unwrap(), topic.producer());
    let looked = within(move || {
        let waited = again.wait_timeout(MOMENT).map(drop);
        let polled = poll(&mut delivery, Waker::noop()).map(|_| ());
        _ = partition.high_watermark();
        _ = producer.try_send(Record::new("b")).unwrap();
        (waited, polled)
    });
    assert!(looked.is_some());
    let beside = broker.clone();
    let closed = within(move || beside.close(MOMENT));
    assert!(closed.expect("it keeps its deadline").unwrap_err().is_indeterminate());
    vfs.resume();
    assert!(open_when_free(&vfs).is_some());
}

#[test]
fn a_disk_that_hangs_while_files_are_let_go_holds_up_nobody_who_has_a_deadline() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().background(true).open_files(16).batch_size(0)).unwrap();
    let victim = broker.create_topic("v", TopicConfig::new().index_interval_bytes(0)).unwrap();
    let others = broker.create_topic("o", TopicConfig::new().partitions(30)).unwrap();
    send_all(&victim, (0..600).map(|number| number.to_string())).unwrap();
    vfs.pause_in("v-0", "sync 00000000000000000000.index");
    let sends = std::thread::spawn(move || {
        for partition in 0..30 {
            let Ok(delivery) = others.producer().send(Record::new("a").partition(partition)) else { return };
            _ = delivery.wait();
        }
    });
    vfs.wait_until_paused();
    let partition = victim.partition(0).unwrap();
    assert_eq!(within(move || partition.high_watermark()), Some(600));
    let beside = broker.clone();
    assert!(within(move || beside.close(MOMENT)).expect("it keeps its deadline").is_err());
    vfs.resume();
    sends.join().unwrap();
    assert!(open_when_free(&vfs).is_some());
}

#[test]
fn a_waker_may_use_the_topic_that_is_altered_or_deleted_when_it_is_called() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().durability(Durability::Os)).unwrap();
    let mut delivery = topic.producer().send(Record::new("a")).unwrap();
    let (sends, (sender, sent)) = (topic.clone(), mpsc::channel());
    let waker = calling(move || {
        _ = sender.send(sends.producer().send(Record::new("woken")).and_then(Delivery::wait));
    });
    assert!(poll(&mut delivery, &waker).is_pending());
    let (alters, config) = (broker.clone(), topic.config().durability(Durability::Synced));
    // What has gathered is written when the level was raised.
    within(move || alters.alter_topic("t", config).map(drop)).expect("it returns").unwrap();
    delivery.wait().unwrap();
    assert_eq!(sent.recv_timeout(LONG).unwrap().unwrap().offset(), 1);

    let mut delivery = topic.producer().send(Record::new("b")).unwrap();
    let (creates, (sender, created)) = (broker.clone(), mpsc::channel());
    let waker = calling(move || _ = sender.send(creates.create_topic("u", TopicConfig::new()).map(drop)));
    assert!(poll(&mut delivery, &waker).is_pending());
    let deletes = broker.clone();
    within(move || deletes.delete_topic("t")).expect("it returns").unwrap();
    created.recv_timeout(LONG).expect("it was woken").unwrap();
    assert_eq!(delivery.wait().unwrap_err().kind(), ErrorKind::UnknownTopicOrPartition);
}

/// On a thread of the broker's own it begins the closing, which then is an orderly one.
#[test]
fn a_waker_may_close_the_broker() {
    let (vfs, broker, topic) = with_threads();
    vfs.pause(WRITE);
    let mut delivery = topic.producer().send(Record::new("a")).unwrap();
    vfs.wait_until_paused();
    let (closes, (sender, receiver)) = (broker.clone(), mpsc::channel());
    let waker = calling(move || _ = sender.send(closes.close(Duration::MAX)));
    assert!(poll(&mut delivery, &waker).is_pending());
    vfs.resume();
    assert!(receiver.recv_timeout(LONG).expect("it returns").unwrap_err().is_indeterminate());
    broker.close(LONG).unwrap();
    assert!(vfs.open_broker().unwrap().recovery_report().is_clean());
}

#[test]
fn the_last_handle_closes_in_order_wherever_it_goes() {
    for panics in [false, true] {
        let (vfs, broker, topic) = with_threads();
        vfs.pause(WRITE);
        let mut delivery = topic.producer().send(Record::new("a")).unwrap();
        vfs.wait_until_paused();
        for number in 0..100 {
            _ = topic.producer().send(Record::new(&number.to_string())).unwrap();
        }
        drop(topic);
        let waker = Waker::from(Arc::new(Owner { broker: Mutex::new(broker), panics }));
        assert!(poll(&mut delivery, &waker).is_pending());
        drop(waker);
        vfs.resume();
        let reopened = open_when_free(&vfs).expect("the lock is released");
        assert!(reopened.recovery_report().is_clean(), "panics: {panics}");
        assert_eq!(values(&reopened.topic("t").unwrap().partition(0).unwrap()).unwrap().len(), 101);
    }
}

#[test]
fn a_panic_of_the_service_does_not_hang_with_the_disk() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().background(true).close_timeout(MOMENT)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    vfs.pause(SYNC);
    _ = topic.producer().send(Record::new("a")).unwrap();
    vfs.wait_until_paused();
    let (sender, receiver) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _told = sender;
        let _handles = (broker, topic);
        std::panic::resume_unwind(Box::new("the service"));
    });
    assert_eq!(receiver.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected), "it hangs");
    vfs.resume();
    assert!(!open_when_free(&vfs).unwrap().recovery_report().is_clean());
}

/// The first attempt has let the end down already; what readers saw before it counts.
#[test]
fn a_second_reopening_remembers_what_readers_saw() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().durability(Durability::Os)).unwrap();
    send_all(&topic, ["a"]).unwrap();
    topic.producer().synced().flush().unwrap();
    let seen = topic.producer().send(Record::new("seen")).unwrap();
    send_all(&topic, ["b"]).unwrap();
    fail(&vfs, &topic);
    let at = vfs.content(LOG).windows(4).position(|bytes| bytes == b"seen").unwrap();
    vfs.damage(LOG, at as u64);
    let partition = topic.partition(0).unwrap();
    vfs.fail("set_len", 0, Other);
    assert!(partition.reopen().is_err());
    vfs.fail_no_more();
    partition.reopen().unwrap().unwrap();
    assert!(seen.wait().unwrap_err().is_indeterminate(), "somebody may have read it");
}

/// Nothing is acknowledged to those who do not lead either, once the oldest record is older than two intervals.
#[test]
fn a_late_sync_holds_up_futures_too() {
    let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(0));
    let broker = vfs.open_with(options().clock(clock.clock())).unwrap();
    let config = TopicConfig::new().durability(Durability::Interval(Duration::from_secs(1)));
    let topic = broker.create_topic("t", config).unwrap();
    send_all(&topic, ["a"]).unwrap();
    vfs.pause(SYNC);
    let flushes = topic.clone();
    let flush = std::thread::spawn(move || flushes.producer().synced().flush());
    vfs.wait_until_paused();
    clock.advance(Duration::from_secs(3600));
    let mut delivery = topic.producer().send(Record::new("b")).unwrap();
    assert!(poll(&mut delivery, Waker::noop()).is_pending());
    broker.tick().unwrap();
    assert!(poll(&mut delivery, Waker::noop()).is_pending());
    vfs.resume();
    flush.join().unwrap().unwrap();
    broker.tick().unwrap();
    assert!(poll(&mut delivery, Waker::noop()).is_ready());
}

#[test]
fn what_was_written_before_a_batch_that_was_not_is_synced_though_nobody_waits() {
    let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(0));
    let broker = vfs.open_with(options().clock(clock.clock()).batch_size(0)).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["before"]).unwrap();
    vfs.limit_writes(100);
    vfs.fail_once(WRITE, 1, StorageFull);
    for number in 0..3 {
        _ = topic.producer().send(Record::new(&format!("{number:030}"))).unwrap();
    }
    clock.advance(Duration::from_secs(1));
    broker.tick().unwrap();
    let partition = topic.partition(0).unwrap();
    assert_eq!((partition.high_watermark(), partition.log_end_offset()), (2, 2));
}

/// Five hundred years on, and a tick still comes to an end.
#[test]
fn time_beyond_what_a_moment_can_hold_is_the_last_moment() {
    let (vfs, clock) = (ScriptedVfs::new(), ManualClock::at(0));
    let broker = vfs.open_with(options().clock(clock.clock())).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    clock.advance(Duration::MAX);
    _ = topic.producer().send(Record::new("b")).unwrap();
    let ticks: Vec<_> = (0..10).map(|_| broker.tick().unwrap()).collect();
    assert_eq!((topic.partition(0).unwrap().high_watermark(), ticks.last()), (1, Some(&None)));
}
