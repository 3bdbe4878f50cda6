//! Where an execution takes place: a broker with one topic of one partition, and what it was told.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::internals::{CrashProfile, MemoryVfs, Vfs, open_on};
use ottla::{
    Broker, BrokerOptions, Delivery, Durability, ErrorKind, ManualClock, Offset, Partition, Record, Result,
    Start, Topic, TopicConfig,
};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::disk::Disk;
use crate::schedule::lock;
use crate::told::{Facts, Told, Value};

const ROOT: &str = "/data";
/// The name of a synced topic: the disk knows by it who may write when.
pub const SYNCED: &str = "synced";
/// Of what a power cut may leave, one of so many is opened: nothing, everything, and a choice.
const IMAGES: usize = 6;
/// Long enough for a close, since no time passes by itself.
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub struct World {
    pub memory: MemoryVfs,
    pub disk: Arc<Disk>,
    pub clock: ManualClock,
    pub broker: Broker,
    pub topic: Topic,
    pub partition: Partition,
    pub told: Told,
    cut: Mutex<Option<PowerCut>>,
}

/// A file system at the moment of a power cut, and what was told before.
pub struct PowerCut {
    memory: MemoryVfs,
    told: Facts,
}

/// A number below `end`, as the schedule has it.
pub fn chance(end: u64) -> u64 {
    thread_rng().gen_range(0..end)
}

/// A record of about `len` bytes that nobody else sends.
pub fn value(sender: u8, number: u8, len: usize) -> Value {
    [sender, number].into_iter().cycle().take(len).collect()
}

impl World {
    /// A synced topic, and a broker with threads or without.
    pub fn new() -> Self {
        Self::with(Durability::Synced, chance(2) == 0)
    }

    pub fn with(durability: Durability, background: bool) -> Self {
        Self::with_options(durability, |options| options.background(background))
    }

    /// Of a broker with such options.
    pub fn with_options(durability: Durability, adjust: impl FnOnce(BrokerOptions) -> BrokerOptions) -> Self {
        let (memory, clock) = (MemoryVfs::new(), ManualClock::at(1_700_000_000_000));
        let disk = Disk::new(&memory);
        if chance(2) == 0 {
            disk.takes_no_time();
        }
        let broker = open(Arc::clone(&disk) as _, adjust(options(&clock))).unwrap();
        let name = if durability == Durability::Synced { SYNCED } else { "unsynced" };
        let config = TopicConfig::new().segment_bytes(1024).durability(durability);
        let topic = broker.create_topic(name, config).unwrap();
        let partition = topic.partition(0).unwrap();
        Self { memory, disk, clock, broker, topic, partition, told: Told::default(), cut: Mutex::default() }
    }

    /// Opens the directory once more.
    pub fn try_open(&self) -> Result<Broker> {
        open(Arc::new(self.memory.clone()), options(&self.clock))
    }

    /// Sends a record.
    pub fn send(&self, value: &Value) -> Result<Delivery> {
        self.told.sends(value);
        self.topic.producer().send(Record::new(value))
    }

    /// Waits for one record, and notes what became of it; returns what kind of failure it was.
    pub fn wait(&self, delivery: Delivery, value: Value) -> Option<ErrorKind> {
        let failed = self.told.wait(delivery, value);
        self.perhaps_cut();
        failed
    }

    /// Sends a record, and waits until it is acknowledged.
    pub fn send_and_wait(&self, value: &Value) -> Offset {
        let delivery = self.send(value).unwrap();
        let offset = delivery.offset();
        assert_eq!(self.wait(delivery, value.clone()), None);
        assert!(self.partition.high_watermark() > offset, "acknowledged is visible");
        offset
    }

    /// Reads once from `next` on, and returns how far; holds what it sees against the ends before and after.
    pub fn read(&self, next: Offset) -> Offset {
        self.try_read(next).unwrap()
    }

    /// [`read`](Self::read) on a disk that may fail.
    pub fn try_read(&self, next: Offset) -> Result<Offset> {
        // A reader who never waits would be through before anything happens that it must not see.
        thread::yield_now();
        let before = self.partition.high_watermark();
        let mut end = next;
        for batch in self.partition.read(Start::At(next))? {
            for record in &batch? {
                assert_eq!(record.offset(), end, "in order, without a gap");
                self.told.saw(end, record.value().unwrap().to_vec());
                end += 1;
            }
        }
        self.perhaps_cut();
        let after = self.partition.high_watermark();
        assert!((before..=after).contains(&end), "read up to {end}, and {before} to {after} was visible");
        self.told.stopped(end);
        Ok(end)
    }

    /// Polls until so many records came; waits for those that are still to be sent.
    pub fn poll(&self, count: usize) {
        let mut consumer = self.broker.consumer().assign([self.partition.clone()]).unwrap();
        let mut end = 0;
        while end < count as Offset {
            let records = consumer.poll(Duration::MAX).unwrap();
            assert!(!records.is_empty(), "no time has passed");
            for record in &records {
                assert_eq!(record.offset(), end, "in order, without a gap");
                self.told.saw(end, record.value().unwrap().to_vec());
                end += 1;
            }
            self.perhaps_cut();
            assert!(self.partition.high_watermark() >= end, "polled what is not visible");
        }
    }

    /// Somebody was told something, and perhaps the power goes now: [`recover`](Self::recover) opens what is left.
    fn perhaps_cut(&self) {
        if self.topic.name() == SYNCED && chance(4) == 0 && lock(&self.cut).is_none() {
            let cut = self.power_cut();
            *lock(&self.cut) = Some(cut);
        }
    }

    /// Opens what a power cut has left, in between if there was one, else now: what was told before has to be there.
    pub fn recover(&self) {
        let cut = lock(&self.cut).take();
        cut.unwrap_or_else(|| self.power_cut()).recover();
    }

    /// What the disk holds if the power goes now.
    pub fn power_cut(&self) -> PowerCut {
        self.power_cut_as(CrashProfile::Strict, 0)
    }

    /// The same under another profile, one of its images.
    pub fn power_cut_as(&self, profile: CrashProfile, seed: u64) -> PowerCut {
        // First what was told, and then the disk, which holds at least that.
        let mut told = self.told.facts();
        let images = self.memory.images(profile, IMAGES, seed);
        let number = usize::try_from(seed).unwrap() % IMAGES;
        let image = images.take(number + 1).last().unwrap();
        // What was sent between the two may be there.
        told.sent = self.told.facts().sent;
        PowerCut { memory: image.vfs, told }
    }

    /// Closes the broker, opens the directory again, and holds it against what was told; returns what is there.
    pub fn close_and_reopen(self) -> Vec<Value> {
        self.broker.close(TIMEOUT).unwrap();
        let Self { memory, clock, told, topic, .. } = self;
        let broker = open(Arc::new(memory), options(&clock)).unwrap();
        assert!(broker.recovery_report().is_clean(), "closed in order");
        let log = values(&broker.topic(topic.name()).unwrap().partition(0).unwrap());
        told.facts().hold(&log);
        log
    }
}

impl PowerCut {
    /// Opens what is left, and holds it against what was told before.
    pub fn recover(self) {
        self.told.hold(&self.there());
    }

    /// What is left.
    pub fn there(&self) -> Vec<Value> {
        let disk = Arc::new(self.memory.restart());
        let broker = open(disk, options(&ManualClock::at(0))).unwrap();
        let topics = broker.topics().unwrap();
        values(&topics[0].partition(0).unwrap())
    }
}

/// Every value of a partition, up to its high watermark.
pub fn values(partition: &Partition) -> Vec<Value> {
    let mut values = Vec::new();
    for batch in partition.read(Start::Earliest).unwrap() {
        for record in &batch.unwrap() {
            assert_eq!(record.offset(), values.len() as Offset, "in order, without a gap");
            values.push(record.value().unwrap().to_vec());
        }
    }
    values
}

fn options(clock: &ManualClock) -> BrokerOptions {
    Broker::options().background(false).reserve_bytes(0).clock(clock.clock())
}

fn open(vfs: Arc<dyn Vfs>, options: BrokerOptions) -> Result<Broker> {
    open_on(options, vfs, Path::new(ROOT))
}
