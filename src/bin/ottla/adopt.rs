//! `ottla adopt`: the directory of a stopped Kafka broker becomes ours, or Kafka's again.

use std::fmt;

use ottla::{Broker, ErrorKind, Partition, PartitionId, Topic, TopicConfig, UndoReport};
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::CLOSE_TIMEOUT;
use crate::settings::with_settings;

/// What follows the list of open transactions.
const HOW_THEY_END: &str = "\
`ottla consume` ends before an open transaction, and with --isolation read_uncommitted it does not. Only Kafka can end one:
`ottla adopt --undo` gives the directory back, and a broker that is started on it ends it after its timeout.
";

pub fn run(adopt: &args::Adopt, output: Output) -> Result<(), Failure> {
    if adopt.undo {
        let _progress = Progress::of_unknown("giving the directory back to Kafka");
        let report = Broker::undo_adoption(&adopt.directory).map_err(|error| {
            let hint = "`ottla topic delete` deletes it, and `ottla hand-over` hands it over";
            Failure::from(error).hint(ErrorKind::UnknownTopicOrPartition, hint)
        })?;
        return output.print(&Returned::new(adopt, &report));
    }
    let config = with_settings(TopicConfig::new(), &adopt.config)?;
    let broker = {
        let _progress = Progress::of_unknown("taking the directory over");
        let options = Broker::options().adopt(true).adopted_topics(config).create_if_missing(false);
        options.open(&adopt.directory).map_err(|error| {
            Failure::from(error).hint(ErrorKind::DirectoryInUse, "a Kafka broker has to be stopped first")
        })?
    };
    let taken = take_stock(adopt, &broker);
    // Only what was closed in order was done.
    broker.close(CLOSE_TIMEOUT)?;
    output.print(&taken?)
}

fn take_stock(adopt: &args::Adopt, broker: &Broker) -> Result<Adopted, Failure> {
    let report = broker.recovery_report();
    if !report.is_adopted() {
        let what =
            format!("{} is no Kafka broker's directory: it is ours already", adopt.directory.display());
        return Err(Failure::Refused(what));
    }
    Ok(Adopted {
        adopted: adopt.directory.display().to_string(),
        clean: report.is_clean(),
        notes: report.notes().map(str::to_owned).collect(),
        cuts: report
            .partitions()
            .iter()
            .map(|cut| {
                let (topic, partition) = (cut.topic(), cut.partition());
                format!(
                    "{topic}-{partition} was cut at offset {}, {} bytes",
                    cut.end_offset(),
                    cut.cut_bytes()
                )
            })
            .collect(),
        partitions: broker.topics()?.iter().flat_map(Ends::of).collect(),
        open_transactions: broker.topics()?.iter().flat_map(LeftOpen::of).collect(),
    })
}

/// What was taken over.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Adopted {
    adopted: String,
    clean: bool,
    partitions: Vec<Ends>,
    open_transactions: Vec<LeftOpen>,
    cuts: Vec<String>,
    notes: Vec<String>,
}

/// Where a partition begins and ends.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ends {
    topic: String,
    partition: PartitionId,
    log_start_offset: u64,
    log_end_offset: u64,
}

impl Ends {
    fn of(topic: &Topic) -> Vec<Self> {
        let ends = topic.partitions().map(|partition| Self {
            topic: topic.name().to_owned(),
            partition: partition.id(),
            log_start_offset: partition.log_start_offset(),
            log_end_offset: partition.log_end_offset(),
        });
        ends.collect()
    }
}

/// A transaction that nobody ends as long as the directory is ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeftOpen {
    topic: String,
    partition: PartitionId,
    producer_id: i64,
    first_offset: u64,
}

impl LeftOpen {
    fn of(topic: &Topic) -> Vec<Self> {
        let of_partition = |partition: Partition| {
            let open = partition.open_transactions().into_iter();
            open.map(move |open| Self {
                topic: partition.topic().to_owned(),
                partition: partition.id(),
                producer_id: open.producer_id,
                first_offset: open.first_offset,
            })
        };
        topic.partitions().flat_map(of_partition).collect()
    }
}

impl fmt::Display for LeftOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, producer_id, first_offset } = self;
        write!(
            f,
            "{topic}-{partition} has an open transaction of producer {producer_id} from offset {first_offset} on"
        )
    }
}

impl fmt::Display for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { adopted, clean, partitions, open_transactions, cuts, notes } = self;
        let stop = if *clean { "had stopped in order" } else { "had not stopped in order" };
        writeln!(f, "Adopted {adopted}, whose broker {stop}.")?;
        for Ends { topic, partition, log_start_offset, log_end_offset } in partitions {
            write!(f, "\tTopic: {topic}\tPartition: {partition}")?;
            writeln!(f, "\tLogStartOffset: {log_start_offset}\tLogEndOffset: {log_end_offset}")?;
        }
        cuts.iter().chain(notes).try_for_each(|note| writeln!(f, "{note}"))?;
        open_transactions.iter().try_for_each(|open| writeln!(f, "{open}"))?;
        if !open_transactions.is_empty() {
            f.write_str(HOW_THEY_END)?;
        }
        Ok(())
    }
}

/// What was given back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Returned {
    returned: String,
    topics: usize,
    partitions: usize,
    restamped_batches: u64,
}

impl Returned {
    fn new(adopt: &args::Adopt, report: &UndoReport) -> Self {
        Self {
            returned: adopt.directory.display().to_string(),
            topics: report.topics(),
            partitions: report.partitions(),
            restamped_batches: report.restamped_batches(),
        }
    }
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { returned, topics, partitions, restamped_batches } = self;
        writeln!(f, "Returned {returned} to Kafka: {topics} topics, {partitions} partitions.")?;
        writeln!(f, "{restamped_batches} record batches got Kafka's leader epoch. Start the broker.")
    }
}
