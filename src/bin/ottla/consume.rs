//! `ottla consume`: the records of a topic, from a place to the end.

use std::io::Write;

use ottla::{ErrorKind, Isolation, Offset, Partition, PartitionId, RecordBatch, RecordView, Start, Topic};

use crate::args::{Consume, Place};
use crate::failure::Failure;
use crate::group_reader;
use crate::json;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{Missing, Session};

pub fn run(args: &Consume, session: &Session, output: Output) -> Result<(), Failure> {
    if let Some(group) = &args.group {
        return group_reader::run(args, group, session, output);
    }
    session.with(Missing::IsAnError, |broker| {
        let topic = broker.topic(&args.topic)?;
        let partitions = partitions(&topic, args)?;
        let count = |partition: &Partition| end(args, partition).saturating_sub(partition.log_start_offset());
        let mut printer = Printer::new(args, output, partitions.iter().map(count).sum());
        let outcome = partitions
            .iter()
            .try_for_each(|partition| printer.print_partition(partition, start_of(args, partition)));
        printer.finish(outcome)
    })
}

/// The partitions to read, one after the other.
fn partitions(topic: &Topic, args: &Consume) -> Result<Vec<Partition>, Failure> {
    if let Some(partition) = args.partition {
        return Ok(vec![topic.partition(partition)?]);
    }
    check_all(args, topic.name(), topic.partition_count() as usize)?;
    Ok(topic.partitions().collect())
}

/// Fails if something is asked of all partitions that is one's alone.
pub fn check_all(args: &Consume, name: &str, count: usize) -> Result<(), Failure> {
    if args.start.offset.is_some() && count > 1 {
        return Err(Failure::Refused(format!(
            "topic {name} has {count} partitions, and an offset is that of one of them; name it with --partition"
        )));
    }
    Ok(())
}

fn start_of(args: &Consume, partition: &Partition) -> Start {
    start(args, partition.log_start_offset(), end(args, partition))
}

/// Where to begin in a partition that has these ends.
pub fn start(args: &Consume, log_start: Offset, end: Offset) -> Start {
    match (args.start.offset, args.start.timestamp) {
        (Some(Place::At(offset)), _) => Start::At(offset),
        (Some(Place::BeforeEnd(count)), _) => Start::At(end.saturating_sub(count).max(log_start)),
        (None, Some(time)) => Start::Time(time),
        (None, None) => Start::Earliest,
    }
}

/// Behind the last record that is printed.
pub fn end(args: &Consume, partition: &Partition) -> Offset {
    match args.isolation {
        Isolation::ReadCommitted => partition.last_stable_offset(),
        Isolation::ReadUncommitted => partition.high_watermark(),
    }
}

/// Prints records until there are enough of them.
pub struct Printer<'a, W> {
    args: &'a Consume,
    is_json: bool,
    out: W,
    printed: u64,
    progress: Progress,
}

impl<'a> Printer<'a, std::io::BufWriter<std::io::StdoutLock<'static>>> {
    /// For so many records, or as many as there are to be.
    pub fn new(args: &'a Consume, output: Output, all: u64) -> Self {
        let progress = Progress::of_records(all.min(args.max.unwrap_or(u64::MAX)));
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
            self.print_batch(place, &batch?)?;
        }
        Ok(())
    }

    pub fn print_batch(&mut self, place: (&str, PartitionId), batch: &RecordBatch) -> Result<(), Failure> {
        for record in batch {
            if self.is_done() {
                return Ok(());
            }
            self.print_one(place, &record)?;
        }
        self.progress.show(self.printed, "");
        Ok(())
    }

    pub fn print_one(&mut self, place: (&str, PartitionId), record: &RecordView<'_>) -> Result<(), Failure> {
        self.print(place, record).map_err(Failure::writing)?;
        self.printed += 1;
        Ok(())
    }

    /// Hands over what was printed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.progress.show(self.printed, "");
        self.out.flush().map_err(Failure::writing)
    }

    /// What was read before an error is printed.
    pub fn finish<T>(mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let flushed = self.out.flush().map_err(Failure::writing);
        let hint = "`ottla dump` without --records shows the batch all the same";
        let outcome = outcome.map_err(|failure| failure.hint(ErrorKind::MessageTooLarge, hint));
        outcome.and_then(|value| flushed.map(|()| value))
    }

    pub fn is_done(&self) -> bool {
        self.args.max.is_some_and(|max| self.printed >= max)
    }

    fn print(&mut self, place: (&str, PartitionId), record: &RecordView<'_>) -> std::io::Result<()> {
        if self.is_json {
            return json::print(&mut self.out, place, record);
        }
        self.args.format.print(&mut self.out, place, record)
    }
}
