//! How long a topic of many partitions takes to be created, appended to, read, closed, and opened again, and how many
//! descriptors the process has at its busiest.
//!
//! `many_partitions [N] [DIR]` takes 2,000 partitions and a directory below the system's temporary one, which it
//! removes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ottla::{Broker, Durability, PartitionId, Record, Start, Topic, TopicConfig};

const PARTITIONS: PartitionId = 2_000;
const TIMEOUT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let partitions = match arguments.next().map(|count| count.to_string_lossy().parse()) {
        None => PARTITIONS,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            eprintln!("usage: many_partitions [N] [DIR]");
            return ExitCode::from(2);
        }
    };
    let default = || std::env::temp_dir().join(format!("ottla-many-partitions-{}", std::process::id()));
    let dir = arguments.next().map_or_else(default, PathBuf::from);
    let outcome = [Durability::Synced, Durability::Os]
        .into_iter()
        .try_for_each(|durability| measure(&dir, partitions, durability));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(dir: &Path, partitions: PartitionId, durability: Durability) -> ottla::Result<()> {
    _ = std::fs::remove_dir_all(dir);
    println!("{partitions} partitions, {durability:?}");
    let mut watch = Stopwatch::new();
    let broker = Broker::open(dir)?;
    let topic =
        broker.create_topic("many", TopicConfig::new().partitions(partitions).durability(durability))?;
    watch.lap("create");
    append(&topic, partitions)?;
    watch.lap("append one record to each");
    append(&topic, partitions)?;
    watch.lap("append another one to each");
    read(&topic, partitions, 2)?;
    watch.lap("read each");
    broker.close(TIMEOUT)?;
    watch.lap("close");
    drop((topic, broker));

    let broker = Broker::open(dir)?;
    watch.lap("open");
    let topic = broker.topic("many")?;
    append(&topic, partitions.min(1))?;
    watch.lap("append to the first");
    broker.close(TIMEOUT)?;
    watch.lap("close");
    drop((topic, broker));

    let broker = Broker::open(dir)?;
    watch.lap("open");
    read(&broker.topic("many")?, partitions, 2)?;
    watch.lap("read each");
    broker.close(TIMEOUT)?;
    watch.lap("close");
    _ = std::fs::remove_dir_all(dir);
    Ok(())
}

/// One record to each partition, and a wait for each.
fn append(topic: &Topic, partitions: PartitionId) -> ottla::Result<()> {
    let producer = topic.producer();
    for partition in 0..partitions {
        producer.send(Record::new("a record of some length").partition(partition))?.wait()?;
    }
    Ok(())
}

/// At least so many records of each partition.
fn read(topic: &Topic, partitions: PartitionId, records: usize) -> ottla::Result<()> {
    for partition in 0..partitions {
        let mut found = 0;
        for batch in topic.partition(partition)?.read(Start::Earliest)? {
            found += (&batch?).into_iter().count();
        }
        assert!(found >= records, "partition {partition} has {found} records");
    }
    Ok(())
}

struct Stopwatch(Instant);

impl Stopwatch {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn lap(&mut self, what: &str) {
        let elapsed = self.0.elapsed().as_secs_f64();
        // The listing of the directory has a descriptor, too.
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() - 1);
        println!("  {what:<28} {elapsed:>8.3} s, {descriptors:>5} descriptors");
        self.0 = Instant::now();
    }
}
