//! `ottla consume`: the records of a topic, from a place to the end.

use std::io::Write;

use ottla::{ErrorKind, Isolation, Offset, Partition, PartitionId, RecordView, Start, Topic};

use crate::args::{Consume, Place};
use crate::failure::Failure;
use crate::json;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{Missing, Session};

pub fn run(args: &Consume, session: &Session, output: Output) -> Result<(), Failure> {
    session.with(Missing::IsAnError, |broker| {
        let topic = broker.topic(&args.topic)?;
        let partitions = partitions(&topic, args)?;
        let mut printer = Printer::new(args, output, &partitions);
        let outcome = partitions
            .iter()
            .try_for_each(|partition| printer.print_partition(partition, start(args, partition)));
        // What was read before an error is printed.
        let flushed = printer.out.flush().map_err(Failure::writing);
        let outcome = outcome.map_err(|failure| {
            failure.hint(
                ErrorKind::MessageTooLarge,
                "`ottla dump` without --records shows the batch all the same",
            )
        });
        outcome.and(flushed)
    })
}

/// The partitions to read, one after the other.
fn partitions(topic: &Topic, args: &Consume) -> Result<Vec<Partition>, Failure> {
    if let Some(partition) = args.partition {
        return Ok(vec![topic.partition(partition)?]);
    }
    if args.start.offset.is_some() && topic.partition_count() > 1 {
        let (name, count) = (topic.name(), topic.partition_count());
        return Err(Failure::Refused(format!(
            "topic {name} has {count} partitions, and an offset is that of one of them; name it with --partition"
        )));
    }
    Ok(topic.partitions().collect())
}

fn start(args: &Consume, partition: &Partition) -> Start {
    match (args.start.offset, args.start.timestamp) {
        (Some(Place::At(offset)), _) => Start::At(offset),
        (Some(Place::BeforeEnd(count)), _) => {
            let offset = end(args, partition).saturating_sub(count);
            Start::At(offset.max(partition.log_start_offset()))
        }
        (None, Some(time)) => Start::Time(time),
        (None, None) => Start::Earliest,
    }
}

/// Behind the last record that is printed.
fn end(args: &Consume, partition: &Partition) -> Offset {
    match args.isolation {
        Isolation::ReadCommitted => partition.last_stable_offset(),
        Isolation::ReadUncommitted => partition.high_watermark(),
    }
}

/// Prints records until there are enough of them.
struct Printer<'a, W> {
    args: &'a Consume,
    is_json: bool,
    out: W,
    printed: u64,
    progress: Progress,
}

impl<'a> Printer<'a, std::io::BufWriter<std::io::StdoutLock<'static>>> {
    fn new(args: &'a Consume, output: Output, partitions: &[Partition]) -> Self {
        let count = |partition: &Partition| end(args, partition).saturating_sub(partition.log_start_offset());
        let all = partitions.iter().map(count);
        let all = all.sum::<u64>().min(args.max.unwrap_or(u64::MAX));
        let progress = Progress::of_records(all);
        Self { args, is_json: output.is_json(), out: output.stream(), printed: 0, progress }
    }
}

impl<W: Write> Printer<'_, W> {
    fn print_partition(&mut self, partition: &Partition, start: Start) -> Result<(), Failure> {
        let place = (partition.topic(), partition.id());
        let batches = partition.read_with(start, self.args.isolation).map_err(|error| {
            Failure::from(error)
                .hint(ErrorKind::OffsetOutOfRange, "`ottla topic describe` shows what there is")
        })?;
        for batch in batches {
            if self.is_done() {
                break;
            }
            for record in &batch? {
                if self.is_done() {
                    return Ok(());
                }
                self.print(place, &record).map_err(Failure::writing)?;
                self.printed += 1;
            }
            self.progress.show(self.printed, "");
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.args.max.is_some_and(|max| self.printed >= max)
    }

    fn print(&mut self, place: (&str, PartitionId), record: &RecordView<'_>) -> std::io::Result<()> {
        if self.is_json {
            return json::print(&mut self.out, place, record);
        }
        self.args.format.print(&mut self.out, place, record)
    }
}
