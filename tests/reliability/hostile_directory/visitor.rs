//! A process that does with a directory what a service does, whatever it finds there, and says what came of it.

use std::path::Path;
use std::time::Duration;

use ottla::inspect::{Salvage, inspect, verify};
use ottla::{
    Broker, BrokerOptions, Durability, Error, Offset, Partition, Position, Record, Start, TopicConfig,
};

use crate::child::{self, listen, tell};
use crate::posix::die_after;

pub const VISITOR: child::Role = ("visitor", visit);
pub const OWNER: child::Role = ("owner", own);

/// A call that takes longer hangs.
const SECONDS: u32 = 60;
const TIMEOUT: Duration = Duration::from_secs(20);

/// The partitions, each with the records that it has at first.
pub const PLACES: [(&str, u32, usize); 3] = [("synced", 0, 40), ("synced", 1, 12), ("os", 0, 25)];

/// What a group has committed of two of them.
const GROUP: &str = "workers";
const COMMITS: [(&str, Offset); 2] = [("os", 20), ("synced", 30)];

fn options() -> BrokerOptions {
    Broker::options().reserve_bytes(4096)
}

/// The record with a number in its partition: whoever reads another one has read wrong bytes.
fn value(topic: &str, partition: u32, number: usize) -> String {
    format!("{topic}-{partition}-{number}-{}", "x".repeat(number * 29 % 90))
}

/// Makes the directory that strangers will come upon.
pub fn make(dir: &Path) {
    let broker = options().open(dir).unwrap();
    for (topic, partition, count) in PLACES {
        let level = if topic == "os" { Durability::Os } else { Durability::Synced };
        let partitions = if topic == "os" { 1 } else { 2 };
        let config = TopicConfig::new().partitions(partitions).segment_bytes(1024).index_interval_bytes(256);
        broker.ensure_topic(topic, config.durability(level)).unwrap();
        append(&broker, topic, partition, 0..count).unwrap();
    }
    commit(&broker).unwrap();
    broker.close(TIMEOUT).unwrap();
}

fn commit(broker: &Broker) -> Result<(), Error> {
    COMMITS.into_iter().try_for_each(|(topic, offset)| {
        let partition = broker.topic(topic)?.partition(0)?;
        broker.alter_group_offsets(GROUP, [(partition, Position::new(offset, None))])
    })
}

/// The group goes on where it has committed, or there is an error.
fn check_commits(broker: &Broker) -> Result<(), Error> {
    let groups = broker.groups()?;
    assert!(groups.iter().any(|group| group.name() == GROUP), "the group is lost, and nobody says so");
    let group = broker.describe_group(GROUP)?;
    let commits = group.partitions().iter().map(|it| (it.topic(), it.committed().map(Position::offset)));
    assert!(commits.eq(COMMITS.map(|(topic, offset)| (topic, Some(offset)))), "{group:?}");
    commit(broker)
}

fn append(
    broker: &Broker,
    topic: &str,
    partition: u32,
    numbers: std::ops::Range<usize>,
) -> Result<(), Error> {
    let producer = broker.topic(topic)?.producer();
    for number in numbers {
        let value = value(topic, partition, number);
        producer.send(Record::new(&value).partition(partition))?.wait()?;
    }
    Ok(())
}

/// How many records can be read, each of them the right one; and what stands in the way of the next.
fn count(partition: &Partition) -> (usize, Option<Error>) {
    let mut count = 0;
    let batches = match partition.read(Start::Earliest) {
        Ok(batches) => batches,
        Err(error) => return (0, Some(error)),
    };
    for batch in batches {
        match batch {
            Ok(batch) => {
                for record in &batch {
                    let right = value(partition.topic(), partition.id(), count);
                    assert_eq!(record.value(), Some(right.as_bytes()), "{partition:?}: other data");
                    assert_eq!(record.offset(), count as u64, "{partition:?}");
                    count += 1;
                }
            }
            Err(error) => return (count, Some(error)),
        }
    }
    (count, None)
}

/// Opens, reads, appends, closes, and looks into the directory. Says `refused …`, or `whole` or `less …`.
fn visit(arguments: &[String]) {
    die_after(SECONDS);
    let dir = Path::new(&arguments[0]);
    let least: Vec<usize> = arguments[1].split(',').map(|number| number.parse().unwrap()).collect();
    tell(&match options().open(dir) {
        Ok(broker) => {
            let verdict = use_it(&broker, &least);
            // In whatever way: the directory is not what it was.
            _ = broker.close(TIMEOUT);
            verdict
        }
        Err(error) => format!("refused {error:?}"),
    });
    // What looks only.
    _ = verify(dir);
    if let Ok(items) = inspect(dir) {
        items.take(100_000).for_each(drop);
    }
    _ = Salvage::new().run(dir, dir.with_file_name("salvaged"));
    tell("done");
}

fn use_it(broker: &Broker, least: &[usize]) -> String {
    let mut verdict = "whole".to_owned();
    for ((topic, partition, _), least) in PLACES.into_iter().zip(least) {
        let there = match broker.topic(topic).and_then(|topic| topic.partition(partition)) {
            Ok(there) => there,
            Err(error) => return format!("less {error:?}"),
        };
        let (found, error) = count(&there);
        let cut = broker
            .recovery_report()
            .partitions()
            .iter()
            .any(|cut| (cut.topic(), cut.partition()) == (topic, partition));
        assert!(
            found >= *least || error.is_some() || cut,
            "{there:?}: {found} of {least}, and nobody says so"
        );
        if let Some(error) = error {
            verdict = format!("less {error:?}");
        } else if let Err(error) = append(broker, topic, partition, found..found + 3) {
            verdict = format!("less {error:?}");
        } else {
            // The new ones are there, too.
            let (now, error) = count(&there);
            assert!(now == found + 3 || error.is_some(), "{there:?}: {now} and not {found} + 3");
        }
    }
    if let Err(error) = check_commits(broker) {
        verdict = format!("less {error:?}");
    }
    verdict
}

/// Opens and appends; goes on once somebody has edited the directory. Says how many records of each place it was told are
/// durable.
fn own(arguments: &[String]) {
    die_after(SECONDS);
    let dir = Path::new(&arguments[0]);
    // A map of a file that somebody shortens ends the process, as the documentation says.
    let broker = options().memory_maps(false).open(dir).unwrap();
    let mut counts = PLACES.map(|(_, _, count)| count);
    let mut more = |broker: &Broker| {
        for ((topic, partition, _), count) in PLACES.into_iter().zip(&mut counts) {
            for _ in 0..15 {
                match append(broker, topic, partition, *count..*count + 1) {
                    Ok(()) => *count += 1,
                    Err(_) => break,
                }
            }
        }
    };
    more(&broker);
    tell("ready");
    listen();
    more(&broker);
    _ = commit(&broker);
    for (topic, partition, _) in PLACES {
        if let Ok(there) = broker.topic(topic).and_then(|topic| topic.partition(partition)) {
            _ = count(&there);
            _ = there.reopen();
        }
    }
    if broker.create_topic("another", TopicConfig::new()).is_ok() {
        _ = broker.delete_topic("another");
    }
    _ = broker.close(TIMEOUT);
    tell(&format!("acknowledged {}", counts.map(|count| count.to_string()).join(",")));
}
