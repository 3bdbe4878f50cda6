//! `ottla consume --group`: as a member of a consumer group, from where it has left off to the end.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{
    Broker, Consumer, ErrorKind, GroupDescription, GroupPartition, OffsetAndMetadata, PartitionId, Position,
    Topic,
};

use crate::args::Consume;
use crate::consume::{Printer, end};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::{Missing, Session};

/// How long a poll waits while the group shares out its partitions, which is on stable storage before anybody has them.
const JOINING: Duration = Duration::from_millis(10);

pub fn run(args: &Consume, group: &str, session: &Session, output: Output) -> Result<(), Failure> {
    session.with(Missing::IsAnError, |broker| {
        let topic = broker.topic(&args.topic)?;
        let mut consumer =
            broker.consumer().group(group).isolation(args.isolation).subscribe([topic.name()])?;
        let all = lag(args, broker, group, &topic)?;
        let mut printer = Printer::new(args, output, all);
        let outcome = read(&mut printer, &mut consumer, &topic);
        printer.finish(outcome)
    })
}

/// How many offsets lie before the group.
fn lag(args: &Consume, broker: &Broker, group: &str, topic: &Topic) -> Result<u64, Failure> {
    let description = match broker.describe_group(group) {
        Err(error) if error.kind() == ErrorKind::GroupIdNotFound => None,
        described => Some(described?),
    };
    let committed = |id: PartitionId| {
        let mut partitions = description.iter().flat_map(GroupDescription::partitions);
        let found = partitions.find(|state| state.topic() == topic.name() && state.partition() == id);
        found.and_then(GroupPartition::committed).map(Position::offset)
    };
    let lag = topic.partitions().map(|partition| {
        let start = committed(partition.id()).unwrap_or_else(|| partition.log_start_offset());
        end(args, &partition).saturating_sub(start)
    });
    Ok(lag.sum())
}

/// Commits what was printed, and never what was not.
fn read<W: std::io::Write>(
    printer: &mut Printer<'_, W>,
    consumer: &mut Consumer,
    topic: &Topic,
) -> Result<(), Failure> {
    while !printer.is_done() {
        let has_joined = !consumer.assignment().is_empty();
        let patience = if has_joined { Duration::ZERO } else { JOINING };
        let records = consumer.poll(patience).map_err(moved_away)?;
        if records.is_empty() {
            if has_joined {
                return Ok(());
            }
            continue;
        }
        let mut reached = BTreeMap::new();
        for record in &records {
            if printer.is_done() {
                break;
            }
            printer.print_one((record.topic(), record.partition()), &record.view())?;
            reached.insert(record.partition(), record.position());
        }
        printer.flush()?;
        if printer.is_done() {
            return commit(consumer, topic, reached);
        }
        consumer.commit()?;
    }
    Ok(())
}

/// Commits up to these places, for a poll may have handed out more.
fn commit(
    consumer: &mut Consumer,
    topic: &Topic,
    reached: BTreeMap<PartitionId, Position>,
) -> Result<(), Failure> {
    let offset = |(id, position)| Ok::<_, Failure>((topic.partition(id)?, OffsetAndMetadata::new(position)));
    let offsets = reached.into_iter().map(offset).collect::<Result<Vec<_>, _>>()?;
    Ok(consumer.commit_offsets(offsets)?)
}

fn moved_away(error: ottla::Error) -> Failure {
    let hint = "`ottla group reset-offsets` moves the group";
    Failure::from(error).hint(ErrorKind::OffsetOutOfRange, hint).hint(ErrorKind::LogTruncated, hint)
}
