//! The programs of a service's first day, as they are written against the library. A change that makes one
//! longer says why.

use std::collections::HashMap;
use std::time::Duration;

use ottla::{Broker, Consumer, ErrorKind, Record, RecordMetadata, Result, Start, TopicConfig, TopicProducer};

/// Start, append with acknowledgement, stop; start again, and find everything.
#[test]
fn start_and_stop() -> Result<()> {
    let dir = TempDir::new("start_and_stop");

    let broker = Broker::open(&dir)?;
    let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
    let metadata = broker.producer().send(&orders, Record::new("paid").key("order-42"))?.wait()?;
    assert_eq!((metadata.topic(), metadata.offset()), ("orders", 0));
    broker.close(Duration::from_secs(10))?;

    let broker = Broker::open(&dir)?;
    let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
    let mut values = Vec::new();
    for batch in orders.partition(metadata.partition())?.read(Start::Earliest)? {
        for record in &batch? {
            values.push(record.value().map(<[u8]>::to_vec));
        }
    }
    assert_eq!(values, [Some(b"paid".to_vec())]);
    Ok(())
}

/// Rebuild an aggregate from its events.
#[test]
fn rebuild_an_aggregate() -> Result<()> {
    let broker = Broker::in_memory()?;
    let accounts = broker.ensure_topic("accounts", TopicConfig::new())?;
    let producer = accounts.producer();
    for (account, amount) in [("anna", 10), ("ben", 5), ("anna", -3)] {
        _ = producer.send(Record::new(&i32::to_be_bytes(amount)).key(account))?;
    }
    producer.flush()?;

    let mut balances = HashMap::new();
    for batch in accounts.partition(0)?.read(Start::Earliest)? {
        for record in batch?.records() {
            let (Some(account), Some(amount)) = (record.key, record.value) else { continue };
            *balances.entry(account).or_insert(0) += i32::from_be_bytes((*amount).try_into().unwrap());
        }
    }
    assert_eq!(balances, HashMap::from([(b"anna"[..].into(), 7), (b"ben"[..].into(), 5)]));
    Ok(())
}

/// Guard an aggregate: withdraw only if nothing has happened since the balance was read.
#[test]
fn guard_an_aggregate() -> Result<()> {
    let broker = Broker::in_memory()?;
    let account = broker.ensure_topic("account-anna", TopicConfig::new())?;
    let (producer, events) = (account.producer(), account.partition(0)?);
    producer.send(Record::new("+10"))?.wait()?;

    let seen = events.high_watermark();
    producer.send(Record::new("-7"))?.wait()?; // somebody else
    let error = producer.send(Record::new("-7").expected_offset(seen)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedOffset);

    events.wait_for(error.offset().unwrap_or(seen))?;
    let news = events.read(Start::At(seen))?.map(|batch| batch.map(|batch| batch.iter().count()));
    assert_eq!(news.sum::<Result<usize>>()?, 1);
    Ok(())
}

/// One worker reads every partition and waits for more, while others send.
#[test]
fn a_worker_and_its_senders() -> Result<()> {
    let broker = Broker::in_memory()?;
    let jobs = broker.ensure_topic("jobs", TopicConfig::new().partitions(4))?;

    std::thread::scope(|scope| {
        let worker = scope.spawn(|| -> Result<u64> {
            let mut consumer = broker.consumer().assign(jobs.partitions())?;
            let mut sum = 0;
            for _ in 0..100 {
                let records = consumer.poll(Duration::from_secs(60))?;
                sum += records
                    .iter()
                    .filter_map(|job| job.value()?.first().copied())
                    .map(u64::from)
                    .sum::<u64>();
                if sum == 2 * (1..=50).sum::<u64>() {
                    break;
                }
            }
            Ok(sum)
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let producer = broker.producer();
                for job in 1..=50 {
                    producer.send(&jobs, Record::new(&[job])).unwrap().wait().unwrap();
                }
            });
        }
        assert_eq!(worker.join().unwrap()?, 2 * (1..=50).sum::<u64>());
        Ok(())
    })
}

/// Append with acknowledgement in the handlers of an async service, on any runtime.
#[test]
fn append_in_an_async_handler() -> Result<()> {
    async fn handle(orders: TopicProducer, body: Vec<u8>) -> Result<RecordMetadata> {
        orders.try_send(Record::new(&body))?.await // `try_send` never blocks, and the delivery borrows nothing
    }

    let broker = Broker::in_memory()?;
    let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let requests: Vec<_> =
            (0..100).map(|body| tokio::spawn(handle(orders.producer(), vec![body]))).collect();
        for request in requests {
            let metadata = request.await.unwrap()?;
            assert!(metadata.offset() < orders.partition(0)?.high_watermark());
        }
        Ok(())
    })
}

/// Append with a deadline: the request is answered in time, and the record stays on its way.
#[test]
fn append_with_a_deadline() -> Result<()> {
    let broker = Broker::in_memory()?;
    let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    let delivery = orders.producer().try_send(Record::new("paid"))?;
    let answer = match delivery.wait_timeout(Duration::from_secs(60)) {
        Ok(metadata) => format!("accepted as {}", metadata.offset()),
        Err(error) if error.kind() == ErrorKind::TimedOut => format!("not known yet: {}", delivery.offset()),
        Err(error) => return Err(error),
    };
    assert_eq!(answer, "accepted as 0");
    Ok(())
}

/// A pool of workers, each with a partition of its own; told to stop, they finish what there is.
#[test]
fn a_pool_of_workers() -> Result<()> {
    fn work(mut jobs: Consumer) -> Result<Vec<u8>> {
        let (mut done, mut timeout) = (Vec::new(), Duration::MAX);
        loop {
            match jobs.poll(timeout) {
                Ok(records) if records.is_empty() => return Ok(done),
                Ok(records) => done.extend(records.iter().filter_map(|job| job.value()).flatten()),
                Err(error) if error.kind() == ErrorKind::Wakeup => timeout = Duration::ZERO,
                Err(error) => return Err(error),
            }
        }
    }

    let broker = Broker::in_memory()?;
    let jobs = broker.ensure_topic("jobs", TopicConfig::new().partitions(4))?;
    let mut workers = Vec::new();
    for partition in jobs.partitions() {
        let consumer = broker.consumer().assign([partition])?;
        workers.push((consumer.wakeup_handle(), std::thread::spawn(|| work(consumer))));
    }
    for job in 0..100 {
        _ = jobs.producer().send(Record::new(&[job]).key(&[job]))?;
    }
    jobs.producer().flush()?;

    workers.iter().for_each(|(stop, _)| stop.wake());
    let mut done = Vec::new();
    for (_, worker) in workers {
        done.extend(worker.join().unwrap()?);
    }
    done.sort_unstable();
    assert_eq!(done, (0..100).collect::<Vec<_>>());
    Ok(())
}

/// Keep a view up to date: follow a partition from its beginning, through what is there to what comes.
#[test]
fn follow_a_partition() -> Result<()> {
    let broker = Broker::in_memory()?;
    let prices = broker.ensure_topic("prices", TopicConfig::new())?;
    let producer = prices.producer();
    producer.send(Record::new("1").key("tea"))?.wait()?;

    let follow = prices.partition(0)?.read(Start::Earliest)?.follow();
    let stop = follow.wakeup_handle();
    let view = std::thread::spawn(move || -> Result<_> {
        let mut view = HashMap::new();
        for batch in follow {
            view.extend(batch?.records().map(|record| (record.key, record.value)));
            if view.len() == 2 {
                stop.wake(); // as a service does when it ends
            }
        }
        Ok(view)
    });
    producer.send(Record::new("2").key("cake"))?.wait()?;
    let pair = |key: &str, price: &str| (Some(key.as_bytes().into()), Some(price.as_bytes().into()));
    assert_eq!(view.join().unwrap()?, HashMap::from([pair("tea", "1"), pair("cake", "2")]));
    Ok(())
}

/// Change a setting, and add partitions, while the service runs.
#[test]
fn alter_a_topic() -> Result<()> {
    let broker = Broker::in_memory()?;
    let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
    let producer = orders.producer();
    producer.send(Record::new("paid").key("order-42"))?.wait()?;

    broker.alter_topic("orders", orders.config().segment_bytes(64 << 20).partitions(6))?;
    assert_eq!(orders.partition_count(), 6);
    producer.send(Record::new("sent").key("order-42"))?.wait()?; // perhaps to another partition than before

    let mut consumer = broker.consumer().assign(orders.partitions())?;
    assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 2);
    Ok(())
}

/// A clone in another part of the service learns that the broker was closed.
#[test]
fn closing_ends_every_handle() -> Result<()> {
    let broker = Broker::in_memory()?;
    let topic = broker.ensure_topic("orders", TopicConfig::new())?;
    let (elsewhere, producer) = (broker.clone(), topic.producer());
    broker.close(Duration::from_secs(10))?;
    assert_eq!(producer.send(Record::new("late")).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(elsewhere.topic("orders").unwrap_err().kind(), ErrorKind::Closed);
    elsewhere.close(Duration::from_secs(10))
}

/// A directory that goes with the test.
struct TempDir(std::path::PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-day-one-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl AsRef<std::path::Path> for TempDir {
    fn as_ref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
