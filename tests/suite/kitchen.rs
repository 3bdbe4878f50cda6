//! A kitchen: one topic of orders, its cooks, and where the dishes go that nobody wants.

use std::time::Duration;

use ottla::simulator::Disk;
use ottla::{
    AcquiredRecord, Broker, Consumer, ConsumerBuilder, Error, ErrorKind, OwnedRecord, Record, Result, Start,
    Topic, TopicConfig,
};

use crate::support::{ROOT, options};

pub const NOW: Duration = Duration::ZERO;

pub fn place(partitions: u32) -> (Disk, Broker, Topic) {
    let disk = Disk::new();
    let broker = options().open_on(&disk, ROOT).unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new().partitions(partitions)).unwrap();
    (disk, broker, orders)
}

pub fn builder(broker: &Broker) -> ConsumerBuilder {
    broker.consumer().group("kitchen")
}

pub fn consumer(broker: &Broker) -> Consumer {
    builder(broker).subscribe(["orders"]).unwrap()
}

pub fn send(topic: &Topic, count: u32) {
    let producer = topic.producer();
    for number in 0..count {
        let value = number.to_be_bytes();
        let record = Record::new(&value).key("table").header("tip", "1").timestamp(7).partition(0);
        _ = producer.send(record).unwrap();
    }
    producer.flush().unwrap();
}

pub fn acquire(consumer: &mut Consumer) -> Vec<AcquiredRecord> {
    consumer.acquire(NOW).unwrap().into_iter().collect()
}

pub fn of(records: &[AcquiredRecord]) -> Vec<(u64, u32)> {
    records.iter().map(|record| (record.offset(), record.delivery_count())).collect()
}

pub fn committed(consumer: &mut Consumer, topic: &Topic) -> Option<u64> {
    consumer.commit().unwrap();
    let committed = consumer.committed(&topic.partition(0).unwrap()).unwrap();
    committed.map(|committed| committed.position().offset())
}

#[track_caller]
pub fn fails<T>(kind: ErrorKind, outcome: Result<T, Error>) -> Error {
    let error = outcome.err().expect("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

pub fn records(topic: &Topic) -> Vec<OwnedRecord> {
    let batches = topic.partition(0).unwrap().read(Start::Earliest).unwrap();
    batches.flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>()).collect()
}

pub fn header(record: &OwnedRecord, name: &str) -> String {
    let found = record.headers.iter().find(|(own, _)| **own == *name).unwrap();
    String::from_utf8(found.1.as_deref().unwrap().to_vec()).unwrap()
}
