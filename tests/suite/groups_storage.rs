//! Groups on a disk that is slow or fails: nothing is given out before it is on stable storage, and what could not be deleted is
//! there as before.

use std::io;
use std::time::{Duration, Instant};

use ottla::{Broker, Consumer, ErrorKind, GroupState, Offset, Position, Topic, TopicConfig};

use crate::support::{ScriptedVfs, options, send_all};

const NOW: Duration = Duration::ZERO;
/// So long no test waits for what has to happen.
const LONG: Duration = Duration::from_secs(60);
const INTERNAL: &str = "__consumer_offsets";
const LOG: &str = "00000000000000000000.log";

fn consumer(broker: &Broker) -> Consumer {
    broker.consumer().group("billing").subscribe(["orders"]).unwrap()
}

/// Topic `orders` with `a` and `b`, of which a group has read both, so that there is the internal topic.
fn fill(broker: &Broker) -> Topic {
    let orders = broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap();
    send_all(&orders, ["a", "b"]).unwrap();
    alter(broker, "audit", &orders, 2);
    orders
}

fn alter(broker: &Broker, group: &str, orders: &Topic, offset: Offset) {
    let at = (orders.partition(0).unwrap(), Position::new(offset, None));
    broker.alter_group_offsets(group, [at]).unwrap();
}

/// What a group has committed of partition 0; `None` if there is no such group.
fn committed(broker: &Broker, group: &str) -> Option<Offset> {
    match broker.describe_group(group) {
        Err(error) if error.kind() == ErrorKind::GroupIdNotFound => None,
        described => {
            let described = described.unwrap();
            let partition = described.partitions().iter().find(|partition| partition.partition() == 0);
            Some(partition.unwrap().committed().unwrap().offset())
        }
    }
}

/// Has everybody poll until `done`.
fn poll_until(consumers: &mut [Consumer], done: impl Fn(&[Consumer]) -> bool) {
    let begun = Instant::now();
    while !done(consumers) {
        assert!(begun.elapsed() < LONG, "{consumers:?}");
        for consumer in consumers.iter_mut() {
            _ = consumer.poll(Duration::from_millis(1)).unwrap();
        }
    }
}

fn is_shared_out(consumers: &[Consumer]) -> bool {
    consumers.iter().all(|consumer| consumer.assignment().len() == 1)
}

#[test]
fn nothing_is_given_out_before_the_generation_is_on_stable_storage() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options().background(true)).unwrap();
    let orders = fill(&broker);
    vfs.pause_in(INTERNAL, &format!("sync {LOG}"));
    let mut consumers = [consumer(&broker), consumer(&broker)];
    let given = |consumer: &mut Consumer| {
        let read = consumer.poll(NOW).map(|records| records.len());
        (read, consumer.assignment().len(), consumer.generation())
    };
    let mut seen = vec![given(&mut consumers[0])];
    vfs.wait_until_paused();
    for _ in 0..50 {
        seen.extend(consumers.iter_mut().map(given));
    }
    let described = broker.describe_group("billing");
    // What is there already is read, and other groups are looked at, while the disk hangs.
    let others = (broker.groups(), crate::support::values(&orders.partition(0).unwrap()));
    vfs.resume();
    // Whatever fails from here on, nothing waits for the script.
    for (read, assigned, generation) in seen {
        assert_eq!((read.unwrap(), assigned, generation), (0, 0, None), "somebody was given something");
    }
    let described = described.unwrap();
    assert_ne!(described.state(), GroupState::Stable);
    assert!(described.partitions().iter().all(|partition| partition.member().is_none()), "{described}");
    assert_eq!((others.0.unwrap().len(), others.1.unwrap().len()), (2, 2));
    poll_until(&mut consumers, is_shared_out);
    assert_eq!(broker.describe_group("billing").unwrap().state(), GroupState::Stable);
}

#[test]
fn of_a_generation_that_could_not_be_written_nobody_is_given_anything_and_the_next_one_is() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let orders = fill(&broker);
    vfs.fail(&format!("write {LOG}"), 0, io::ErrorKind::StorageFull);
    let mut one = consumer(&broker);
    let error = one.poll(NOW).unwrap_err();
    assert_eq!((error.kind(), error.topic()), (ErrorKind::NotWritten, Some(INTERNAL)), "{error}");
    assert!(one.assignment().is_empty());
    let described = broker.describe_group("billing").unwrap();
    assert!(described.partitions().is_empty(), "{described}");
    vfs.fail_no_more();
    // It joins again by itself.
    let read = one.poll(LONG).unwrap();
    assert_eq!((read.len(), one.assignment().len()), (2, 2));
    one.commit().unwrap();
    assert_eq!(committed(&broker, "billing"), Some(2));
    drop(orders);
}

#[test]
fn a_group_whose_deletion_could_not_be_written_is_there_as_before_and_is_deleted_the_second_time() {
    let vfs = ScriptedVfs::new();
    {
        let broker = vfs.open_broker().unwrap();
        let orders = fill(&broker);
        alter(&broker, "billing", &orders, 1);
        vfs.fail(&format!("write {LOG}"), 0, io::ErrorKind::StorageFull);
        let error = broker.delete_group("billing").unwrap_err();
        assert_eq!((error.kind(), error.topic()), (ErrorKind::NotWritten, Some(INTERNAL)), "{error}");
        vfs.fail_no_more();
        assert_eq!(committed(&broker, "billing"), Some(1));
        // Whoever comes goes on there, and what it commits is kept.
        let mut one = consumer(&broker);
        assert_eq!(one.poll(NOW).unwrap().len(), 1);
        one.commit().unwrap();
        drop(one);
        assert_eq!(committed(&broker, "billing"), Some(2));
    }
    let open = || vfs.open_broker().unwrap();
    assert_eq!(committed(&open(), "billing"), Some(2));
    for _ in 0..2 {
        let broker = open();
        vfs.fail_once(&format!("write {LOG}"), 0, io::ErrorKind::StorageFull);
        assert_eq!(broker.delete_group("billing").unwrap_err().kind(), ErrorKind::NotWritten);
    }
    let broker = open();
    vfs.fail_once(&format!("write {LOG}"), 0, io::ErrorKind::StorageFull);
    assert_eq!(broker.delete_group("billing").unwrap_err().kind(), ErrorKind::NotWritten);
    broker.delete_group("billing").unwrap();
    assert_eq!(committed(&broker, "billing"), None);
    drop(broker);
    let broker = open();
    assert_eq!(committed(&broker, "billing"), None, "the second deletion was not written");
    assert_eq!(committed(&broker, "audit"), Some(2), "others stay");
    assert_eq!(consumer(&broker).poll(NOW).unwrap().len(), 2);
}

/// The topic, too, is forgotten by a group that has come back.
#[test]
fn a_group_that_could_not_be_deleted_forgets_a_topic_that_is() {
    let vfs = ScriptedVfs::new();
    {
        let broker = vfs.open_broker().unwrap();
        let orders = fill(&broker);
        alter(&broker, "billing", &orders, 2);
        vfs.fail_once(&format!("write {LOG}"), 0, io::ErrorKind::StorageFull);
        broker.delete_group("billing").unwrap_err();
        broker.delete_topic("orders").unwrap();
    }
    let broker = vfs.open_broker().unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&orders, ["A", "B"]).unwrap();
    assert_eq!(
        consumer(&broker).poll(NOW).unwrap().len(),
        2,
        "what was committed of the old one is forgotten"
    );
}

#[test]
fn after_a_deletion_that_may_or_may_not_be_there_the_group_is_what_the_disk_says() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let orders = fill(&broker);
    alter(&broker, "billing", &orders, 1);
    vfs.fail_once(&format!("sync {LOG}"), 0, io::ErrorKind::Other);
    let error = broker.delete_group("billing").unwrap_err();
    assert_eq!((error.kind(), error.topic()), (ErrorKind::Indeterminate, Some(INTERNAL)), "{error}");
    assert_eq!(committed(&broker, "billing"), Some(1), "as long as nobody knows it is as before");
    // Nothing more can be written before the partition was reopened.
    let error = broker.delete_group("billing").unwrap_err();
    assert_eq!(error.topic(), Some(INTERNAL), "{error}");
    assert_eq!(committed(&broker, "billing"), Some(1));
    let internal = broker.topic(INTERNAL).unwrap().partition(0).unwrap();
    internal.reopen().unwrap().unwrap();
    drop(internal);
    let now = committed(&broker, "billing");
    drop((orders, broker));
    let broker = vfs.open_broker().unwrap();
    assert_eq!(committed(&broker, "billing"), now, "and is another one after the next start");
    if now.is_some() {
        broker.delete_group("billing").unwrap();
    }
    assert_eq!(committed(&broker, "billing"), None);
}
