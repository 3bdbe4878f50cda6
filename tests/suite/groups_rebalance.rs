//! How partitions move between the consumers of a group, and who hears of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::{
    Assignor, Broker, Committer, Consumer, ErrorKind, ManualClock, Partition, RebalanceListener, Record,
    Topic, TopicConfig,
};

use crate::support::{options, send_all};

const NOW: Duration = Duration::ZERO;

fn place(partitions: u32) -> (Broker, Topic, ManualClock) {
    let clock = ManualClock::at(0);
    let broker = options().clock(clock.clock()).in_memory().unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new().partitions(partitions)).unwrap();
    (broker, orders, clock)
}

fn consumer(broker: &Broker) -> Consumer {
    broker.consumer().group("billing").subscribe(["orders"]).unwrap()
}

fn settle(consumers: &mut [&mut Consumer]) -> usize {
    let mut count = 0;
    for _ in 0..8 {
        for consumer in consumers.iter_mut() {
            count += consumer.poll(NOW).unwrap().len();
        }
    }
    count
}

fn names(consumer: &Consumer) -> Vec<String> {
    let mut names: Vec<_> = consumer
        .assignment()
        .iter()
        .map(|partition| format!("{}-{}", partition.topic(), partition.id()))
        .collect();
    names.sort();
    names
}

#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: &str, partitions: &[Partition]) {
        let mut ids: Vec<_> = partitions.iter().map(Partition::id).collect();
        ids.sort();
        self.0.lock().unwrap().push(format!("{what} {ids:?}"));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl RebalanceListener for Diary {
    fn assigned(&mut self, partitions: &[Partition]) {
        self.note("assigned", partitions);
    }

    fn revoked(&mut self, partitions: &[Partition], committer: &mut Committer<'_>) {
        self.note("revoked", partitions);
        committer.commit().unwrap();
    }

    fn lost(&mut self, partitions: &[Partition]) {
        self.note("lost", partitions);
    }
}

#[test]
fn a_listener_hears_what_comes_and_goes_and_can_commit_what_goes() {
    let (broker, orders, clock) = place(2);
    send_all(&orders, ["a", "b"]).unwrap();
    let (mut one, diary) = (consumer(&broker), Diary::default());
    one.set_rebalance_listener(diary.clone()).unwrap();
    assert_eq!(settle(&mut [&mut one]), 2);
    assert_eq!(diary.take(), ["assigned [0, 1]"]);
    // Nothing was committed so far: the listener does it, so that the second reads nothing again.
    let mut two = consumer(&broker);
    assert_eq!(settle(&mut [&mut one, &mut two]), 0);
    assert_eq!(diary.take().len(), 1);
    drop(two);
    assert_eq!(settle(&mut [&mut one]), 0);
    let given = diary.take();
    assert_eq!(given.len(), 1, "{given:?}");
    assert!(given[0].starts_with("assigned"));
    clock.advance(Duration::from_secs(301));
    broker.tick().unwrap();
    settle(&mut [&mut one]);
    assert_eq!(diary.take(), ["lost [0, 1]", "assigned [0, 1]"]);
    broker.delete_topic("orders").unwrap();
    settle(&mut [&mut one]);
    assert_eq!(diary.take(), ["lost [0, 1]"]);
}

struct Panics;

impl RebalanceListener for Panics {
    fn assigned(&mut self, _: &[Partition]) {
        panic!("not today");
    }

    fn revoked(&mut self, _: &[Partition], _: &mut Committer<'_>) {
        panic!("never");
    }
}

#[test]
fn a_listener_that_panics_is_an_error_of_that_poll_and_the_group_goes_on() {
    let (broker, orders, _) = place(2);
    send_all(&orders, ["a", "b"]).unwrap();
    let (mut one, mut two) = (consumer(&broker), consumer(&broker));
    one.set_rebalance_listener(Panics).unwrap();
    let error = one.poll(NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ListenerPanicked);
    assert!(error.to_string().contains("not today"), "{error}");
    assert_eq!(one.poll(NOW).unwrap().len(), 2);
    one.commit().unwrap();
    let mut errors = 0;
    for _ in 0..6 {
        assert!(two.poll(NOW).unwrap().is_empty());
        errors += usize::from(one.poll(NOW).is_err());
    }
    assert_eq!((errors, one.assignment().len(), two.assignment().len()), (1, 1, 1));
}

#[test]
fn under_range_everybody_gives_everything_back_and_gets_neighbouring_partitions() {
    let (broker, orders, _) = place(4);
    let consumer =
        || broker.consumer().group("billing").assignor(Assignor::Range).subscribe(["orders"]).unwrap();
    let (mut one, diary) = (consumer(), Diary::default());
    one.set_rebalance_listener(diary.clone()).unwrap();
    settle(&mut [&mut one]);
    let mut two = consumer();
    settle(&mut [&mut one, &mut two]);
    let heard = diary.take();
    assert_eq!(heard[..2], ["assigned [0, 1, 2, 3]", "revoked [0, 1, 2, 3]"]);
    let mut shares = [names(&one), names(&two)];
    shares.sort();
    assert_eq!(shares, [["orders-0", "orders-1"], ["orders-2", "orders-3"]]);
    send_all(&orders, ["a"]).unwrap();
    assert_eq!(settle(&mut [&mut one, &mut two]), 1);
}

#[test]
fn more_partitions_and_more_topics_come_by_themselves_and_go() {
    let (broker, orders, _) = place(1);
    let matching =
        || broker.consumer().group("audit").subscribe_matching(|name| name.starts_with("orders")).unwrap();
    let (mut one, mut two, mut named) = (matching(), matching(), consumer(&broker));
    settle(&mut [&mut one, &mut two, &mut named]);
    assert_eq!(names(&one).len() + names(&two).len(), 1);
    broker.alter_topic("orders", orders.config().partitions(2)).unwrap();
    settle(&mut [&mut one, &mut two, &mut named]);
    assert_eq!((names(&one).len(), names(&two).len()), (1, 1));
    assert_eq!(names(&named), ["orders-0", "orders-1"]);
    let more = broker.create_topic("orders.more", TopicConfig::new().partitions(2)).unwrap();
    broker.create_topic("others", TopicConfig::new()).unwrap();
    settle(&mut [&mut one, &mut two, &mut named]);
    assert_eq!((names(&one).len(), names(&two).len()), (2, 2));
    more.producer().send(Record::new("new").partition(1)).unwrap().wait().unwrap();
    assert_eq!(settle(&mut [&mut one, &mut two, &mut named]), 1);
    broker.delete_topic("orders").unwrap();
    settle(&mut [&mut one, &mut two, &mut named]);
    assert_eq!((names(&one).len(), names(&two).len(), names(&named).len()), (1, 1, 0));
    let error = broker.consumer().group("audit").subscribe_matching(|_| panic!("no")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ListenerPanicked);
}

#[test]
fn auto_commit_commits_what_was_handed_out_before_and_in_time() {
    let (broker, orders, clock) = place(1);
    let consumer = || {
        let builder = broker.consumer().group("billing").max_poll_records(1);
        builder.auto_commit(Duration::from_secs(5)).subscribe(["orders"]).unwrap()
    };
    let committed = |consumer: &Consumer| {
        consumer
            .committed(&orders.partition(0).unwrap())
            .unwrap()
            .map(|committed| committed.position().offset())
    };
    send_all(&orders, ["a", "b", "c", "d"]).unwrap();
    let mut one = consumer();
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    assert_eq!(committed(&one), None);
    clock.advance(Duration::from_secs(5));
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    assert_eq!(committed(&one), Some(2));
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    // The last one is perhaps not done with.
    drop(one);
    let mut two = consumer();
    let records = two.poll(NOW).unwrap();
    assert_eq!(records.iter().map(|record| record.offset()).collect::<Vec<_>>(), [3]);
    // What is taken away was handed out by polls before.
    let mut three = consumer();
    settle(&mut [&mut two, &mut three]);
    drop(two);
    assert_eq!(settle(&mut [&mut three]), 0);
}

#[test]
fn a_consumer_that_waits_wakes_when_the_broker_is_closed_and_when_partitions_come() {
    let broker = Broker::in_memory().unwrap();
    broker.create_topic("orders", TopicConfig::new()).unwrap();
    let (mut one, mut two) = (consumer(&broker), consumer(&broker));
    // One of them gets nothing, and waits all the same.
    let threads = [
        std::thread::spawn(move || one.poll(Duration::MAX)),
        std::thread::spawn(move || two.poll(Duration::MAX)),
    ];
    while broker.groups().unwrap().is_empty() || broker.describe_group("billing").unwrap().members().len() < 2
    {
        std::thread::yield_now();
    }
    broker.close(Duration::from_secs(60)).unwrap();
    for thread in threads {
        assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
}
