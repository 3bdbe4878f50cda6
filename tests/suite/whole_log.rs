//! The library against a list of records: whatever is appended, in whatever pieces, is read back from everywhere,
//! before and after reopening.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, open_on};
use ottla::{
    Broker, BrokerOptions, ErrorKind, OwnedRecord, Partition, Record, Start, TimestampType, TopicConfig,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::support::{ROOT, TempDir, options, values};

/// What happens to a partition.
#[derive(Clone, Debug)]
enum Step {
    Send { key: Option<Vec<u8>>, value: Option<Vec<u8>>, headers: Vec<(String, Option<Vec<u8>>)>, at: i64 },
    Wait,
    Flush,
    Reopen,
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || option::of(vec(any::<u8>(), 0..300));
    let headers = vec(("[a-z]{0,3}", bytes()), 0..3);
    prop_oneof![
        8 => (bytes(), bytes(), headers, 0..2000i64)
            .prop_map(|(key, value, headers, at)| Step::Send { key, value, headers, at }),
        1 => Just(Step::Wait),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => (0..5000u64).prop_map(Step::Advance),
    ]
}

fn read(partition: &Partition, start: Start) -> Vec<OwnedRecord> {
    partition.read(start).unwrap().flat_map(|batch| batch.unwrap().records().collect::<Vec<_>>()).collect()
}

/// The record that should stand at `offset`.
fn expected(offset: u64, record: &Record<'_>, timestamp: i64) -> OwnedRecord {
    let topic = Broker::in_memory().unwrap().create_topic("model", TopicConfig::new()).unwrap();
    topic.producer().send(record.clone().timestamp(timestamp)).unwrap().wait().unwrap();
    let mut owned = read(&topic.partition(0).unwrap(), Start::Earliest).remove(0);
    owned.offset = offset;
    owned
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_read_back_from_everywhere(
        steps in vec(step(), 1..60),
        segment_bytes in 2048..6000u64,
        interval in 0..3000u64,
        segment_ms in prop_oneof![Just(1u64 << 40), Just(1000)],
        batch_size in prop_oneof![Just(0usize), Just(400), Just(16 * 1024)],
        maps in any::<bool>(),
        append_time in any::<bool>(),
    ) {
        let vfs = MemoryVfs::new();
        let clock = ottla::ManualClock::at(1_700_000_000_000);
        let kind = if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let config = TopicConfig::new()
            .segment_bytes(segment_bytes)
            .segment_ms(Duration::from_millis(segment_ms))
            .index_interval_bytes(interval)
            .timestamp_type(kind);
        let open = || {
            let options = BrokerOptions::default().clock(clock.clock()).batch_size(batch_size).memory_maps(maps);
            let broker = open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
            let topic = broker.ensure_topic("t", config.clone()).unwrap();
            (broker, topic)
        };
        let (mut broker, mut topic) = open();
        let mut now = 1_700_000_000_000;
        let mut model = Vec::new();
        let mut last = None;
        for step in &steps {
            match step {
                Step::Send { key, value, headers, at } => {
                    let mut record = Record::default();
                    if let Some(value) = value {
                        record = Record::new(value);
                    }
                    if let Some(key) = key {
                        record = record.key(key);
                    }
                    for (name, value) in headers {
                        record = match value {
                            Some(value) => record.header(name, value),
                            None => record.null_header(name),
                        };
                    }
                    let asked = 1_700_000_000_000 + at;
                    let delivery = topic.producer().send(record.clone().timestamp(asked)).unwrap();
                    prop_assert_eq!(delivery.offset(), model.len() as u64);
                    let timestamp = if append_time { now } else { asked };
                    model.push(expected(delivery.offset(), &record, timestamp));
                    last = Some((delivery, timestamp));
                }
                Step::Wait => {
                    if let Some((delivery, timestamp)) = last.take() {
                        prop_assert_eq!(delivery.wait().unwrap().timestamp(), timestamp);
                    }
                }
                Step::Flush => topic.producer().flush().unwrap(),
                Step::Reopen => {
                    broker.close(Duration::from_secs(10)).unwrap();
                    (broker, topic) = open();
                }
                Step::Advance(by) => {
                    clock.advance(Duration::from_millis(*by));
                    now += i64::try_from(*by).unwrap();
                }
            }
            let partition = topic.partition(0).unwrap();
            prop_assert_eq!(partition.log_end_offset(), model.len() as u64);
            let visible = usize::try_from(partition.high_watermark()).unwrap();
            // The broker's threads may show more in between.
            let found = read(&partition, Start::Earliest);
            prop_assert!(found.len() >= visible);
            prop_assert_eq!(&found, &model[..found.len()]);
        }
        topic.producer().flush().unwrap();
        let partition = topic.partition(0).unwrap();
        for offset in 0..=model.len() {
            prop_assert_eq!(&read(&partition, Start::At(offset as u64)), &model[offset..]);
        }
        let mut consumer = broker.consumer().assign([partition]).unwrap();
        let polled = consumer.poll(Duration::ZERO).unwrap();
        prop_assert_eq!(polled.iter().map(|record| record.to_owned()).collect::<Vec<_>>(), model);
        broker.close(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn many_threads_give_every_record_its_own_offset_and_keep_their_order() {
    let dir = TempDir::new("threads");
    let broker = Broker::open(dir.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(64 * 1024)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u16 {
            let producer = topic.producer();
            scope.spawn(move || {
                for number in 0..500u16 {
                    let value = [thread.to_be_bytes(), number.to_be_bytes()].concat();
                    let delivery = producer.send(Record::new(&value)).unwrap();
                    if number % 10 == 0 {
                        delivery.wait().unwrap();
                    }
                }
                producer.flush().unwrap();
            });
        }
        // A reader at the same time sees a prefix, always.
        scope.spawn(|| {
            let partition = topic.partition(0).unwrap();
            let mut seen = Vec::new();
            while seen.len() < 8 * 500 {
                let now = values(&partition).unwrap();
                assert!(now.starts_with(&seen));
                seen = now;
            }
        });
    });
    drop((broker, topic));
    let broker = Broker::open(dir.path()).unwrap();
    let values = values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap();
    assert_eq!(values.len(), 8 * 500);
    for thread in 0..8u16 {
        let own: Vec<_> = values.iter().filter(|value| value.starts_with(&thread.to_be_bytes())).collect();
        assert_eq!(own.len(), 500);
        assert!(own.is_sorted(), "the records of one sender keep their order");
    }
}

/// Nobody waits, and nobody else is there: the senders themselves write what has gathered, and memory stays bounded.
#[test]
fn without_threads_senders_write_what_nobody_waits_for() {
    let dir = TempDir::new("behind");
    let broker = options().open(dir.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    let producer = topic.producer();
    let value = vec![7; 10_000];
    for _ in 0..1000 {
        _ = producer.send(Record::new(&value)).unwrap();
    }
    let log = dir.path().join("t-0/00000000000000000000.log");
    assert!(std::fs::metadata(log).unwrap().len() > 9_000_000, "written");
    assert_eq!(topic.partition(0).unwrap().high_watermark(), 0, "and not visible before it is synced");
    producer.flush().unwrap();
    assert_eq!(topic.partition(0).unwrap().high_watermark(), 1000);
}

#[test]
fn small_records_share_batches_and_large_ones_stand_alone() {
    // Nobody takes a batch before it is full.
    let broker = options().in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    let producer = topic.producer();
    for size in [100; 300].into_iter().chain([20_000, 100, 50_000, 50_000]) {
        _ = producer.send(Record::new(&vec![0; size])).unwrap();
    }
    producer.flush().unwrap();
    let batches: Vec<_> =
        topic.partition(0).unwrap().read(Start::Earliest).unwrap().map(Result::unwrap).collect();
    let sizes: Vec<_> = batches.iter().map(ottla::RecordBatch::size).collect();
    assert!(sizes.iter().all(|size| *size <= 16 * 1024 || *size > 20_000), "{sizes:?}");
    let full = batches.iter().filter(|batch| batch.iter().count() > 140).count();
    assert_eq!(full, 2, "{sizes:?}");
}

#[test]
fn keys_choose_partitions_as_kafka_does_and_an_explicit_partition_wins() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().partitions(6)).unwrap();
    let producer = broker.producer();
    for (key, partition) in
        [("", 3), ("a", 4), ("ab", 2), ("21", 0), ("user:42", 1), ("a-little-bit-longer-string", 5)]
    {
        let metadata = producer.send(&topic, Record::new("v").key(key)).unwrap().wait().unwrap();
        assert_eq!(metadata.partition(), partition, "{key:?}");
        let metadata = producer.send(&topic, Record::new("v").key(key).partition(5)).unwrap().wait().unwrap();
        assert_eq!(metadata.partition(), 5);
    }
}

#[test]
fn a_consumer_of_many_partitions_starves_none() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().partitions(3)).unwrap();
    let producer = topic.producer();
    let value = vec![0; 100_000];
    for partition in 0..3 {
        for _ in 0..100 {
            _ = producer.send(Record::new(&value).partition(partition)).unwrap();
        }
    }
    producer.flush().unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    let mut reached = [0; 3];
    for _ in 0..3 {
        let records = consumer.poll(Duration::ZERO).unwrap();
        assert!(records.len() <= 12, "a poll is bounded");
        records.iter().for_each(|record| reached[record.partition() as usize] += 1);
    }
    assert!(reached.iter().all(|records| *records > 0), "{reached:?}");
}

#[test]
fn a_batch_stands_alone_and_takes_offsets_one_behind_the_other() {
    for kind in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        let clock = ottla::ManualClock::at(5000);
        let broker = Broker::options().clock(clock.clock()).in_memory().unwrap();
        let topic = broker.create_topic("t", TopicConfig::new().timestamp_type(kind)).unwrap();
        let producer = topic.producer();
        _ = producer.send(Record::new("before")).unwrap();
        let records = [
            Record::new("a").timestamp(7),
            Record::new("b").key("k").header("h", "v"),
            Record::tombstone("k"),
        ];
        let delivery = producer.send_batch(&records).unwrap();
        _ = producer.send(Record::new("after")).unwrap();
        producer.flush().unwrap();
        let metadata = delivery.wait().unwrap();
        assert_eq!((metadata.offset(), metadata.last_offset(), metadata.timestamp()), (1, 3, 5000));

        let batches: Vec<_> =
            topic.partition(0).unwrap().read(Start::Earliest).unwrap().map(Result::unwrap).collect();
        let ranges: Vec<_> = batches.iter().map(|batch| (batch.base_offset(), batch.last_offset())).collect();
        assert_eq!(ranges, [(0, 0), (1, 3), (4, 4)]);
        let first = if kind == TimestampType::CreateTime { 7 } else { 5000 };
        let timestamps: Vec<_> = batches[1].iter().map(|record| record.timestamp().unwrap()).collect();
        assert_eq!(timestamps, [first, 5000, 5000]);
        assert_eq!(batches[1].iter().nth(1).unwrap().header("h"), Some(Some(&b"v"[..])));
    }
}

#[test]
fn a_batch_that_cannot_be_taken_is_not_taken_at_all() {
    let broker = Broker::in_memory().unwrap();
    let config = TopicConfig::new().partitions(4).max_message_bytes(1000);
    let topic = broker.create_topic("t", config).unwrap();
    let producer = broker.producer();
    let large = vec![0; 500];
    for (records, kind) in [
        (vec![], ErrorKind::InvalidRecord),
        (vec![Record::new("a").partition(0), Record::new("b").partition(1)], ErrorKind::InvalidRecord),
        (vec![Record::new("a").key("a"), Record::new("b").key("ab")], ErrorKind::InvalidRecord),
        (vec![Record::new("a").partition(9)], ErrorKind::UnknownTopicOrPartition),
        (vec![Record::new("a"), Record::new("b").timestamp(-5)], ErrorKind::InvalidTimestamp),
        (vec![Record::new(&large), Record::new(&large)], ErrorKind::MessageTooLarge),
        (vec![Record::new("a").expected_offset(0)], ErrorKind::InvalidRecord),
        (
            vec![Record::new("a").partition(0), Record::new("b").expected_offset(0)],
            ErrorKind::UnexpectedOffset,
        ),
    ] {
        let error = producer.send_batch(&topic, &records).unwrap_err();
        assert_eq!((error.kind(), error.topic()), (kind, Some("t")), "{records:?}: {error}");
    }
    assert!(topic.partitions().all(|partition| partition.log_end_offset() == 0));
    let good = [Record::new("a").partition(2).expected_offset(0), Record::new("b").expected_offset(1)];
    producer.send_batch(&topic, &good).unwrap().wait().unwrap();
}

/// Eight threads decide on what they have read; each decision stands on exactly the one before it.
#[test]
fn a_condition_lets_one_of_many_through() {
    let broker = Broker::in_memory().unwrap();
    let topic = broker.create_topic("counter", TopicConfig::new()).unwrap();
    let partition = topic.partition(0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    loop {
                        let end = partition.high_watermark();
                        let value = end.to_be_bytes();
                        match topic.producer().send(Record::new(&value).expected_offset(end)) {
                            Ok(delivery) => break assert_eq!(delivery.wait().unwrap().offset(), end),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::UnexpectedOffset);
                                let found = error.offset().unwrap();
                                // How far it can be read was asked a moment later than where it ends.
                                assert!(found > end && error.available_offsets().unwrap().end() >= &end);
                                partition.wait_for(found).unwrap();
                                assert!(partition.high_watermark() >= found);
                            }
                        }
                    }
                }
            });
        }
    });
    let values = values(&partition).unwrap();
    assert_eq!(values, (0..400u64).map(|number| number.to_be_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(partition.wait_for(401).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
}
