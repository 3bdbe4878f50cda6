//! A child that appends from several threads to several partitions in every way there is, and reports.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::{Broker, BrokerOptions, Delivery, Durability, ErrorKind, Partition, Record, Topic, TopicConfig};

use crate::child::{self, Child, argument, tell};
use crate::dice::Dice;
use crate::member::Member;
use crate::record_id::RecordId;
use crate::report::{Group, Report};

pub const ROLE: child::Role = ("appender", play);

/// The partitions to which it appends.
pub const PLACES: [(&str, u32); 5] = [("synced", 0), ("synced", 1), ("os", 0), ("os", 1), ("interval", 0)];

/// What it is to do.
#[derive(Clone, Debug)]
pub struct Appender {
    pub dir: PathBuf,
    pub life: u32,
    pub seed: u64,
    pub threads: u8,
    /// How many threads are members of a group, which reads what the others append.
    pub members: u8,
    /// How often each thread sends; 0 for as long as it lives.
    pub sends: u64,
}

/// How many deliveries a thread has on their way at most.
const WINDOW: usize = 8;

/// After so many deliveries in a row that were not written, a thread takes the disk for gone.
const PATIENCE: u32 = 1000;

impl Appender {
    pub fn start(&self) -> Child {
        Child::spawn(&mut child::command(ROLE.0, &self.arguments()))
    }

    pub fn arguments(&self) -> Vec<String> {
        let numbers = [u64::from(self.life), self.seed, self.threads.into(), self.members.into(), self.sends];
        [vec![argument(&self.dir)], numbers.map(|number| number.to_string()).to_vec()].concat()
    }

    /// The dice of one of its threads.
    fn dice(&self, thread: u8) -> Dice {
        Dice::new(self.seed ^ (u64::from(self.life) << 32) ^ (u64::from(thread) << 24))
    }

    fn parse(arguments: &[String]) -> Self {
        let [dir, life, seed, threads, members, sends] = arguments else { panic!("{arguments:?}") };
        Self {
            dir: dir.into(),
            life: life.parse().unwrap(),
            seed: seed.parse().unwrap(),
            threads: threads.parse().unwrap(),
            members: members.parse().unwrap(),
            sends: sends.parse().unwrap(),
        }
    }
}

/// How this suite opens its directories.
pub fn options() -> BrokerOptions {
    Broker::options().reserve_bytes(64 * 1024).batch_size(2048)
}

fn config(topic: &str) -> TopicConfig {
    let level = match topic {
        "os" => Durability::Os,
        "interval" => Durability::Interval(Duration::from_millis(5)),
        _ => Durability::Synced,
    };
    let partitions = PLACES.iter().filter(|(name, _)| *name == topic).count();
    TopicConfig::new()
        .partitions(u32::try_from(partitions).unwrap())
        .segment_bytes(32 * 1024)
        .index_interval_bytes(1024)
        .durability(level)
}

/// Opens the directory with its topics.
pub fn open(dir: &Path) -> ottla::Result<Broker> {
    let broker = options().open(dir)?;
    for (topic, _) in PLACES {
        broker.ensure_topic(topic, config(topic))?;
    }
    Ok(broker)
}

fn play(arguments: &[String]) {
    let appender = Appender::parse(arguments);
    Report::Begins.tell();
    let broker = match open(&appender.dir) {
        Ok(broker) => broker,
        // The disk fails already: nothing was sent.
        Err(error) => return tell(&format!("error {error}")),
    };
    Report::Opened.tell();
    let (is_over, is_all) = (&AtomicBool::new(false), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..appender.members {
            let mut member = Member::new(&broker, number, appender.dice(u8::MAX - number));
            scope.spawn(move || member.take_part(is_all));
        }
        std::thread::scope(|scope| {
            for thread in 0..appender.threads {
                let mut hand = Hand::new(&appender, thread, &broker);
                scope.spawn(move || hand.append(appender.sends, is_over));
            }
        });
        is_all.store(true, Ordering::Relaxed);
    });
    Report::Closing.tell();
    match broker.close(Duration::from_secs(20)) {
        Ok(()) => Report::Closed.tell(),
        Err(error) => tell(&format!("error {error}")),
    }
}

/// One thread of it.
struct Hand {
    life: u32,
    thread: u8,
    dice: Dice,
    topics: Vec<(Topic, Partition)>,
    /// The number of the next record, by place.
    next: [u32; PLACES.len()],
    on_their_way: VecDeque<Sent>,
    /// How many deliveries in a row were not written.
    not_written: u32,
}

struct Sent {
    group: Group,
    delivery: Delivery,
    is_synced: bool,
}

impl Hand {
    fn new(appender: &Appender, thread: u8, broker: &Broker) -> Self {
        let place = |(name, partition): (&str, u32)| {
            let topic = broker.topic(name).unwrap();
            let partition = topic.partition(partition).unwrap();
            (topic, partition)
        };
        Self {
            life: appender.life,
            thread,
            dice: appender.dice(thread),
            topics: PLACES.map(place).into(),
            next: [0; PLACES.len()],
            on_their_way: VecDeque::new(),
            not_written: 0,
        }
    }

    fn append(&mut self, sends: u64, is_over: &AtomicBool) {
        let mut sent = 0;
        while (sends == 0 || sent < sends) && !is_over.load(Ordering::Relaxed) {
            sent += 1;
            // A file system that has stopped may refuse even to open a log: nothing is written then, and nothing has failed
            // that would stop the partition.
            if !self.send() || self.not_written > PATIENCE {
                is_over.store(true, Ordering::Relaxed);
            }
            // Some wait for each, some let a window gather.
            let window = if self.dice.below(4) == 0 { 0 } else { WINDOW };
            while self.on_their_way.len() > window {
                self.settle();
            }
        }
        while !self.on_their_way.is_empty() {
            self.settle();
        }
    }

    /// Sends something; false once the disk takes nothing any more.
    fn send(&mut self) -> bool {
        let place = usize::try_from(self.dice.below(PLACES.len() as u64)).unwrap();
        let count = if self.dice.below(5) == 0 { 2 + u32::try_from(self.dice.below(5)).unwrap() } else { 1 };
        let is_conditional = self.dice.below(6) == 0;
        let group = Group {
            thread: self.thread,
            place: u8::try_from(place).unwrap(),
            first: self.next[place],
            count,
        };
        self.next[place] += count;
        let (topic, partition) = &self.topics[place];
        let expected = is_conditional.then(|| partition.log_end_offset());
        let is_synced = PLACES[place].0 == "synced" || self.dice.below(8) == 0;
        Report::Sends(group).tell();
        match deliver(topic, partition, self.life, group, is_synced, expected) {
            Ok(delivery) => {
                assert!(
                    expected.is_none_or(|expected| expected == delivery.offset()),
                    "not where it was to be"
                );
                self.on_their_way.push_back(Sent { group, delivery, is_synced });
                true
            }
            Err(error) => {
                Report::NotWritten(group).tell();
                match error.kind() {
                    ErrorKind::UnexpectedOffset | ErrorKind::BufferExhausted => true,
                    // A write or a sync has failed before.
                    ErrorKind::StorageError => reopen(&partition.clone()),
                    kind => panic!("{kind:?}: {error}"),
                }
            }
        }
    }

    /// Learns what became of what was sent first.
    fn settle(&mut self) {
        let Some(Sent { group, delivery, is_synced }) = self.on_their_way.pop_front() else { return };
        match delivery.wait() {
            Ok(metadata) => {
                self.not_written = 0;
                Report::Acknowledged { group, offset: metadata.offset(), is_synced }.tell();
            }
            Err(error) if error.kind() == ErrorKind::NotWritten => {
                self.not_written += 1;
                Report::NotWritten(group).tell();
            }
            Err(error) => {
                assert!(error.is_indeterminate(), "{error}");
                Report::Unknown(group).tell();
            }
        }
    }
}

fn deliver(
    topic: &Topic,
    partition: &Partition,
    life: u32,
    Group { thread, place, first, count }: Group,
    is_synced: bool,
    expected: Option<u64>,
) -> ottla::Result<Delivery> {
    let numbers = first..first + count;
    let parts: Vec<_> = numbers.map(|number| RecordId { life, thread, place, number }.parts()).collect();
    let mut records: Vec<Record<'_>> =
        parts.iter().map(|parts| parts.record().partition(partition.id())).collect();
    if let Some(expected) = expected {
        let first = records[0].clone();
        records[0] = first.expected_offset(expected);
    }
    let producer = if is_synced { topic.producer().synced() } else { topic.producer() };
    match records.as_slice() {
        [record] => producer.send(record.clone()),
        records => producer.send_batch(records),
    }
}

/// Goes on where the disk lets it.
fn reopen(partition: &Partition) -> bool {
    match partition.reopen() {
        Ok(_) => {
            Report::Reopened.tell();
            true
        }
        Err(error) => {
            assert!(!error.is_corruption(), "{error}");
            false
        }
    }
}
