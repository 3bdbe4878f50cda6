//! `--read-only`: what is there of a data directory, around what is damaged, and without changing anything.

use std::fmt::{self, Display};
use std::path::Path;

use ottla::{ErrorKind, Isolation, PartitionId, Piece, ReadOnlyBroker, ReadOnlyPartition, ReadOnlyTopic};
use serde::Serialize;

use crate::args::Consume;
use crate::consume::{Printer, check_all, start};
use crate::failure::{Failure, Report};
use crate::outcome::Outcome;
use crate::output::Output;
use crate::topic::{Description, List, Listed, PartitionState};

/// `ottla topic list --read-only`
pub fn list(dir: &Path, output: Output) -> Result<Outcome, Failure> {
    let broker = open(dir, output)?;
    let topics = broker.topics();
    let listed = topics.iter().map(|topic| Listed {
        topic: topic.name().to_owned(),
        partitions: PartitionId::try_from(topic.partition_count()).unwrap_or(PartitionId::MAX),
    });
    output.print(&List(listed.collect()))?;
    Ok(tell_damage(&topics, output))
}

/// `ottla topic describe --read-only`
pub fn describe(name: &str, dir: &Path, output: Output) -> Result<Outcome, Failure> {
    let topic = open(dir, output)?.topic(name)?;
    let state = |partition: ReadOnlyPartition| -> ottla::Result<PartitionState> {
        // Where it cannot be told, that is said with the damage.
        let last_stable_offset = match partition.last_stable_offset() {
            Err(error) if error.is_corruption() => partition.high_watermark(),
            found => found?,
        };
        Ok(PartitionState {
            partition: partition.id(),
            log_start_offset: partition.log_start_offset(),
            last_stable_offset,
            high_watermark: partition.high_watermark(),
            log_end_offset: partition.high_watermark(),
            // An owner lists them; here the last stable offset tells that there are some.
            open_transactions: Vec::new(),
        })
    };
    let partitions = topic.partitions().map(state).collect::<ottla::Result<Vec<_>>>()?;
    output.print(&Description {
        topic: topic.name().to_owned(),
        id: topic.id().map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
        partitions,
        config: topic.config().entries().collect(),
    })?;
    Ok(tell_damage(&[topic], output))
}

/// `ottla consume --read-only`
pub fn consume(args: &Consume, dir: &Path, output: Output) -> Result<Outcome, Failure> {
    let topic = open(dir, output)?.topic(&args.topic)?;
    let partitions = match args.partition {
        Some(partition) => vec![topic.partition(partition)?],
        None => {
            check_all(args, topic.name(), topic.partition_count())?;
            topic.partitions().collect()
        }
    };
    let count = |partition: &ReadOnlyPartition| {
        partition.high_watermark().saturating_sub(partition.log_start_offset())
    };
    let mut printer = Printer::new(args, output, partitions.iter().map(count).sum());
    let mut is_sound = true;
    let outcome = partitions.iter().try_for_each(|partition| {
        let damaged = print_partition(&mut printer, partition, args, output)?;
        is_sound &= !damaged;
        Ok(())
    });
    printer.finish(outcome.map(|()| Outcome::of_sound(is_sound)))
}

/// Prints what is there of a partition, and tells what is not; true if there was damage.
fn print_partition<W: std::io::Write>(
    printer: &mut Printer<'_, W>,
    partition: &ReadOnlyPartition,
    args: &Consume,
    output: Output,
) -> Result<bool, Failure> {
    if let Some(damage) = partition.damage() {
        output.tell(&Damage::new(damage.clone()));
        return Ok(true);
    }
    let end = match args.isolation {
        Isolation::ReadCommitted => partition.last_stable_offset()?,
        Isolation::ReadUncommitted => partition.high_watermark(),
    };
    let start = start(args, partition.log_start_offset(), end);
    let pieces = partition.read_with(start, args.isolation).map_err(|error| {
        Failure::from(error)
            .hint(ErrorKind::OffsetOutOfRange, "`ottla topic describe --read-only` shows what there is")
    })?;
    let mut damaged = false;
    for piece in pieces {
        if printer.is_done() {
            break;
        }
        match piece? {
            Piece::Batch(batch) => printer.print_batch((partition.topic(), partition.id()), &batch)?,
            Piece::Gap(gap) => {
                damaged = true;
                output.tell(&Damage::new(gap.error().clone()));
            }
        }
    }
    Ok(damaged)
}

fn open(dir: &Path, output: Output) -> Result<ReadOnlyBroker, Failure> {
    let broker = ReadOnlyBroker::open(dir).map_err(|error| {
        Failure::from(error).hint(ErrorKind::DirectoryNotOurs, "--dir or OTTLA_DIR names another")
    })?;
    if broker.is_unrecovered() {
        output.tell(&Unrecovered { unrecovered: true });
    }
    Ok(broker)
}

fn tell_damage(topics: &[ReadOnlyTopic], output: Output) -> Outcome {
    let partitions = topics.iter().flat_map(|topic| topic.partitions().collect::<Vec<_>>());
    let damages: Vec<_> = partitions.filter_map(|partition| partition.damage().cloned()).collect();
    let is_sound = damages.is_empty();
    damages.into_iter().for_each(|damage| output.tell(&Damage::new(damage)));
    Outcome::of_sound(is_sound)
}

/// What cannot be read, on standard error.
struct Damage(Failure);

impl Damage {
    fn new(error: ottla::Error) -> Self {
        Self(Failure::from(error))
    }
}

impl Serialize for Damage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            damage: Report<'a>,
        }
        Line { damage: self.0.report() }.serialize(serializer)
    }
}

impl Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "damaged: {}", self.0)
    }
}

#[derive(Serialize)]
struct Unrecovered {
    unrecovered: bool,
}

impl Display for Unrecovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "It was not closed in order: there may be more than what is proven to be durable, which is shown."
        )
    }
}
