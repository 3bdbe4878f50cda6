//! Everything at once: sixteen producers and sixteen consumers, rolls, a disk that fails now and then, partitions that
//! are reopened, a topic that is altered, and a close; every record is accounted for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind::{Other, StorageFull};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::{
    Broker, Delivery, Durability, ErrorKind, Partition, Record, RecordMetadata, Start, Topic, TopicConfig,
};

use crate::support::{EndGuard, ScriptedVfs, options};

const PRODUCERS: usize = 16;
const CONSUMERS: usize = 16;
const RECORDS: usize = 200;
const PARTITIONS: u32 = 4;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged { partition: u32, offset: u64 },
    NotThere,
    Unknown,
}

/// What one producer was told of its records, by their values.
type Told = HashMap<String, Outcome>;

/// What is read of each partition, by offset.
type View = BTreeMap<u32, Vec<String>>;

struct Stress {
    vfs: Arc<ScriptedVfs>,
    topic: Topic,
    producing: AtomicUsize,
    is_over: AtomicBool,
    told: Mutex<Vec<Told>>,
}

#[test]
fn every_record_of_sixteen_producers_and_sixteen_consumers_is_accounted_for() {
    for level in [Durability::Synced, Durability::Os] {
        run(level);
    }
}

fn run(level: Durability) {
    let vfs = ScriptedVfs::new();
    let options = || options().background(true).buffer_memory(64 * 1024).open_files(16);
    let broker = vfs.open_with(options()).unwrap();
    let config = TopicConfig::new().partitions(PARTITIONS).segment_bytes(4096).durability(level);
    let topic = broker.create_topic("t", config).unwrap();
    let stress = Stress {
        vfs: Arc::clone(&vfs),
        topic,
        producing: AtomicUsize::new(PRODUCERS),
        is_over: AtomicBool::new(false),
        told: Mutex::default(),
    };
    let views = std::thread::scope(|scope| {
        let consumers: Vec<_> = (0..CONSUMERS).map(|_| scope.spawn(|| stress.consume(&broker))).collect();
        for number in 0..PRODUCERS {
            let stress = &stress;
            scope.spawn(move || stress.produce(number));
        }
        {
            let _ends = EndGuard(&stress.is_over);
            stress.trouble();
        }
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect::<Vec<_>>()
    });
    close(&broker, &stress.topic);

    let broker = vfs.open_with(options()).unwrap();
    assert!(broker.recovery_report().is_clean());
    let last = read_all(&broker.topic("t").unwrap());
    for view in &views {
        assert_eq!(*view, last, "what consumers have seen is what is there");
    }
    check(&last, &stress.told.into_inner().unwrap());
}

impl Stress {
    fn produce(&self, number: usize) {
        let mut told = Told::new();
        let mut on_their_way: Vec<(Vec<String>, Delivery)> = Vec::new();
        for count in 0..RECORDS {
            let values: Vec<String> = (0..1 + usize::from(count % 7 == 3) * 2)
                .map(|part| format!("{number}-{count}-{part}-{}", "x".repeat(count % 90)))
                .collect();
            let delivery = self.send(&values, u32::try_from(count).unwrap() % PARTITIONS);
            on_their_way.push((values, delivery));
            if on_their_way.len() == 1 + number {
                on_their_way
                    .drain(..)
                    .for_each(|(values, delivery)| settle(&mut told, values, delivery, count));
            }
        }
        on_their_way.drain(..).for_each(|(values, delivery)| settle(&mut told, values, delivery, number));
        self.told.lock().unwrap().push(told);
        self.producing.fetch_sub(1, Ordering::SeqCst);
    }

    /// What was refused is sent again: while the partition is not reopened yet, or the buffer is full.
    fn send(&self, values: &[String], partition: u32) -> Delivery {
        let producer = self.topic.producer();
        loop {
            let sent = match values {
                [value] if value.len().is_multiple_of(2) => {
                    producer.try_send(Record::new(value).partition(partition))
                }
                [value] => producer.send(Record::new(value).partition(partition)),
                values => {
                    let records: Vec<_> =
                        values.iter().map(|it| Record::new(it).partition(partition)).collect();
                    producer.send_batch(&records)
                }
            };
            match sent {
                Ok(delivery) => return delivery,
                Err(error) => {
                    let kinds = [ErrorKind::StorageError, ErrorKind::BufferExhausted];
                    assert!(kinds.contains(&error.kind()), "{error}");
                    std::thread::yield_now();
                }
            }
        }
    }

    /// The disk fails now and then, and whatever has failed is reopened, as long as anybody produces.
    fn trouble(&self) {
        let partitions: Vec<_> = self.topic.partitions().collect();
        let heal = || partitions.iter().filter(|partition| partition.reopen().unwrap().is_some()).count();
        // One failure is certain.
        self.vfs.fail("sync 0", 0, Other);
        let doomed = self.topic.producer().synced().send(Record::new("doomed").partition(0)).unwrap();
        assert!(doomed.wait().unwrap_err().is_indeterminate());
        self.told.lock().unwrap().push(Told::from([("doomed".to_owned(), Outcome::Unknown)]));
        self.vfs.fail_no_more();
        let (mut round, mut healed) = (0, heal());
        while self.producing.load(Ordering::SeqCst) > 0 {
            round += 1;
            match round % 3 {
                0 => self.vfs.fail_once("sync 0", 5, Other),
                1 => self.vfs.fail_once("write 0", 7, StorageFull),
                _ => {}
            }
            // It syncs on topics that do not, too.
            _ = self.topic.producer().synced().flush();
            self.vfs.fail_no_more();
            healed += heal();
        }
        while heal() > 0 {}
        assert!(healed > 0, "the disk has failed");
        // What nobody waited for, and was not written, is told once more.
        _ = self.topic.producer().synced().flush();
        self.topic.producer().synced().flush().unwrap();
    }

    /// Reads everything, and comes back to where a log parts if something was taken back.
    fn consume(&self, broker: &Broker) -> View {
        let mut consumer = broker.consumer().max_poll_records(10).assign(self.topic.partitions()).unwrap();
        let mut view: View = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
        let is_at_end = |consumer: &ottla::Consumer| {
            self.topic.partitions().all(|partition| consumer.lag(&partition).unwrap() == 0)
        };
        while !(self.is_over.load(Ordering::SeqCst) && is_at_end(&consumer)) {
            match consumer.poll(Duration::from_millis(1)) {
                Ok(records) => {
                    for record in &records {
                        let seen = view.get_mut(&record.partition()).unwrap();
                        assert_eq!(record.offset(), seen.len() as u64, "no gap, and nothing twice");
                        seen.push(String::from_utf8(record.value().unwrap().to_vec()).unwrap());
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::LogTruncated, "{error}");
                    let (partition, offset) = (error.partition().unwrap(), error.offset().unwrap());
                    view.get_mut(&partition).unwrap().truncate(usize::try_from(offset).unwrap());
                    consumer.seek(&self.topic.partition(partition).unwrap(), Start::At(offset)).unwrap();
                }
            }
        }
        view
    }
}

/// Waits in one of the ways there are.
fn settle(told: &mut Told, values: Vec<String>, delivery: Delivery, how: usize) {
    let outcome = match how % 3 {
        0 => delivery.wait(),
        1 => delivery.wait_timeout(TIMEOUT),
        _ => futures_executor::block_on(delivery),
    };
    for (number, value) in values.into_iter().enumerate() {
        told.insert(value, outcome_of(&outcome, number));
    }
}

fn outcome_of(outcome: &ottla::Result<RecordMetadata>, number: usize) -> Outcome {
    match outcome {
        Ok(metadata) => Outcome::Acknowledged {
            partition: metadata.partition(),
            offset: metadata.offset() + number as u64,
        },
        Err(error) if error.kind() == ErrorKind::NotWritten => Outcome::NotThere,
        Err(error) => {
            assert!(error.is_indeterminate(), "{error}");
            Outcome::Unknown
        }
    }
}

/// While others are blocked in a poll and in a follow.
fn close(broker: &Broker, topic: &Topic) {
    std::thread::scope(|scope| {
        let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
        topic.partitions().for_each(|partition| consumer.seek(&partition, Start::Latest).unwrap());
        let polls = scope.spawn(move || consumer.poll(TIMEOUT).unwrap_err().kind());
        let follow = topic.partition(0).unwrap().read(Start::Latest).unwrap().follow();
        let follows = scope.spawn(move || follow.last().unwrap().unwrap_err().kind());
        broker.close(TIMEOUT).unwrap();
        assert_eq!(polls.join().unwrap(), ErrorKind::Closed);
        assert_eq!(follows.join().unwrap(), ErrorKind::Closed);
    });
}

fn read_all(topic: &Topic) -> View {
    let read = |partition: Partition| {
        let values = crate::support::values(&partition).unwrap();
        (partition.id(), values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect())
    };
    topic.partitions().map(read).collect()
}

fn check(log: &View, told: &[Told]) {
    let all: Vec<&String> = log.values().flatten().collect();
    let there: HashSet<&String> = all.iter().copied().collect();
    assert_eq!(there.len(), all.len(), "nothing is there twice");
    let mut counts = [0; 3];
    for (value, outcome) in told.iter().flatten() {
        match *outcome {
            Outcome::Acknowledged { partition, offset } => {
                counts[0] += 1;
                assert_eq!(&log[&partition][usize::try_from(offset).unwrap()], value);
            }
            Outcome::NotThere => {
                counts[1] += 1;
                assert!(!there.contains(value), "{value} was reported as not there");
            }
            Outcome::Unknown => counts[2] += 1,
        }
    }
    let sent: HashSet<&String> = told.iter().flat_map(HashMap::keys).collect();
    assert!(there.is_subset(&sent), "nothing is there that nobody has sent");
    println!(
        "stress: acknowledged {}, not there {}, unknown {}, in the log {}",
        counts[0],
        counts[1],
        counts[2],
        all.len()
    );
    assert!(counts[0] > PRODUCERS * RECORDS / 4, "most of it is written: {counts:?}");
}
