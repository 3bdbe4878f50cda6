//! What can be asked for: the arguments, their help, and examples.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand};
use ottla::{Durability, Isolation, Offset, PartitionId, Timestamp};

use crate::format::Format;
use crate::group_args::Group;

const EXAMPLES: &str = "\
Examples:
  ottla topic create orders --partitions 3
  echo 'order-42=paid' | ottla produce orders --key-separator =
  ottla consume orders --format '%p %o %k: %s\\n'
  ottla produce journal --create < journal.txt
  OTTLA_DIR=/var/lib/service ottla topic list
  ottla verify && ottla dump data/orders-0 --records

A directory has one owner at a time: a service that has it open is named in the error.
Exit codes: 0 done, 1 failed, with the reason on standard error, 2 wrong usage, 3 damage found.";

const PRODUCE_EXAMPLES: &str = "\
Examples:
  ottla produce journal --create < journal.txt
  ottla produce orders --key-separator : < orders.txt
  tail -n +1001 journal.txt | ottla produce journal    # go on after `durable 1000`

`durable N` on standard error says that the first N lines are on stable storage, in their order.
When this was killed or has failed, more may be there: in each partition the next lines, without a gap.";

const CONSUME_EXAMPLES: &str = "\
Examples:
  ottla consume journal > journal.txt
  ottla consume orders --partition 0 --offset 100 --max 10
  ottla consume orders --partition 0 --offset -10      # the last ten
  ottla consume orders --timestamp 2026-01-31T12:00:00Z
  ottla consume orders --format '%t-%p@%o %T %h %k=%s\\n'
  ottla consume orders --json | jq .value
  ottla consume orders --isolation read_uncommitted    # of transactions that were aborted, too
  ottla consume orders --group billing                 # goes on where the group has left off
  ottla consume orders --read-only                     # around what is damaged, and nothing is repaired

Format:
  %t topic   %p partition   %o offset   %T timestamp in milliseconds, -1 without one
  %k key     %s value       %h headers, as name=value,name=value; a null header value is NULL
  %K and %S the sizes of key and value in bytes, -1 for null; %R that of the value in 4 bytes, big-endian
  \\n \\r \\t \\\\ \\xHH bytes; %% a percent sign. A null key or value prints nothing.";

const ADOPT_EXAMPLES: &str = "\
Examples:
  ottla adopt /var/lib/kafka
  ottla --dir /var/lib/kafka topic list
  ottla adopt --undo /var/lib/kafka

The broker has to be stopped. Until the directory is given back, none starts on it.";

const HAND_OVER_EXAMPLES: &str = "\
Examples:
  kafka-topics.sh --create --topic orders --partitions 3 …    # and then stop the broker
  ottla hand-over orders --to /var/lib/kafka
  ottla hand-over orders --to /var/lib/kafka --move

Every record keeps its offset. After a crash, run it again.";

const DUMP_EXAMPLES: &str = "\
Examples:
  ottla dump data/orders-0
  ottla dump data/orders-0/00000000000000000000.log --records
  ottla dump /var/lib/kafka/orders-0/00000000000000000000.timeindex
  ottla dump data --json | jq 'select(.type == \"damage\")'

It takes no lock and changes nothing; the last batch of a service that is running may be half written.
What a file holds is told by its name. Without --records nothing is decompressed; with it, batches of up to 256 MiB.
Exit codes: 0 everything could be read, 3 there is a damaged place, which is a line, too, 1 failed.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  ottla verify data
  ottla verify /var/lib/kafka --json | jq 'select(.severity == \"Damage\")'

It takes no lock and changes nothing. A finding is one of these:
  Damage       records, or what is known of them, are damaged or lost
  Derived      a file is damaged that can be made again from the log
  Unrecovered  a stop that was not in order has left it, and the next opening mends it
  Note         worth knowing, and no damage
Exit codes: 0 sound, 3 damaged (Damage or Derived), 1 it could not be looked at.";

const SALVAGE_EXAMPLES: &str = "\
Examples:
  ottla salvage data --to data.salvaged
  ottla --dir data.salvaged topic list

The source is not changed, and every record keeps its offset. What was left is told, with the reason.
A salvage that was killed is run again, and begins anew.
Exit codes: 0 nothing was left but what is not whole above what is proven to be durable, which a recovery cuts, too,
3 something proven was left or is not as it was, or something whole was left behind a tear, 1 failed.";

/// Apache Kafka's commit log, in a directory: topics, records in, records out.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Args {
    /// The data directory
    #[arg(long, global = true, value_name = "DIR", env = "OTTLA_DIR", default_value = "./data")]
    pub dir: PathBuf,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list, describe, alter and delete topics
    #[command(subcommand)]
    Topic(Topic),
    /// Send a record for each line of standard input
    Produce(Produce),
    /// Print the records of a topic, from its start to its end
    Consume(Consume),
    /// List, describe, move, delete and export consumer groups
    #[command(subcommand)]
    Group(Group),
    /// Take over the log directory of a stopped Kafka broker, or give it back
    Adopt(Adopt),
    /// Put a topic into the log directory of a stopped Kafka broker that has created it
    HandOver(HandOver),
    /// Print what stands in files: batches, records, indexes, checkpoints, snapshots
    Dump(Dump),
    /// Check everything in a data directory, ours or a Kafka broker's
    Verify(Verify),
    /// Copy all that is sound of a damaged data directory, ours or a Kafka broker's, into a new one
    Salvage(Salvage),
}

#[derive(Debug, Subcommand)]
pub enum Topic {
    /// Create a topic, and the data directory if there is none
    #[command(
        after_help = "Example:\n  ottla topic create orders --partitions 3 --config segment.bytes=67108864"
    )]
    Create {
        name: String,
        /// How many partitions it has
        #[arg(long, value_name = "N", default_value_t = 1)]
        partitions: PartitionId,
        /// A setting by Kafka's name; may be repeated
        #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
        config: Vec<(String, String)>,
    },
    /// List the topics, a name a line
    List {
        #[command(flatten)]
        reading: Reading,
    },
    /// Show a topic: its id, its settings, the offsets of its partitions
    Describe {
        name: String,
        #[command(flatten)]
        reading: Reading,
    },
    /// Change settings of a topic, or add partitions
    #[command(after_help = "Example:\n  ottla topic alter orders --config durability=interval:100")]
    Alter {
        name: String,
        /// A setting by Kafka's name; may be repeated. What is not named stays as it is
        #[arg(long, value_name = "NAME=VALUE", value_parser = setting, required_unless_present = "partitions")]
        config: Vec<(String, String)>,
        /// How many partitions it is to have, not fewer than now; most keys go to another one then
        #[arg(long, value_name = "N")]
        partitions: Option<PartitionId>,
    },
    /// Delete a topic with all its records
    Delete { name: String },
}

#[derive(Debug, ClapArgs)]
#[command(after_help = PRODUCE_EXAMPLES)]
pub struct Produce {
    pub topic: String,

    /// Create the topic, and the data directory, if it is not there
    #[arg(long)]
    pub create: bool,

    /// What ends the key in a line; without it, records have no key
    #[arg(long, value_name = "S", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key_separator: Option<String>,

    /// The partition; by default that of the key, or any
    #[arg(long, value_name = "P")]
    pub partition: Option<PartitionId>,

    /// A stronger durability than the topic's: synced, or interval: and milliseconds
    #[arg(long, value_name = "LEVEL", value_parser = durability)]
    pub durability: Option<Durability>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = CONSUME_EXAMPLES)]
pub struct Consume {
    pub topic: String,

    #[command(flatten)]
    pub start: Start,

    /// As a member of this consumer group: from where it has left off, or the log start, and what is printed is committed
    #[arg(long, value_name = "GROUP", value_parser = clap::builder::NonEmptyStringValueParser::new(),
          conflicts_with_all = ["from_beginning", "offset", "timestamp", "partition", "read_only"])]
    pub group: Option<String>,

    #[command(flatten)]
    pub reading: Reading,

    /// This partition alone; by default all, one after the other
    #[arg(long, value_name = "P")]
    pub partition: Option<PartitionId>,

    /// End after so many records
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,

    /// Which records of Kafka's transactions are printed: those that were committed, or all
    #[arg(long, value_name = "LEVEL", default_value = COMMITTED, value_parser = isolation())]
    pub isolation: Isolation,

    /// How a record is printed, in kcat's letters
    #[arg(long, value_name = "FMT", default_value = "%s\\n", conflicts_with = "json")]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = ADOPT_EXAMPLES)]
pub struct Adopt {
    /// The broker's log directory
    pub directory: PathBuf,

    /// Give a directory that was adopted back to Kafka, with what was appended since
    #[arg(long, conflicts_with = "config")]
    pub undo: bool,

    /// A setting of every topic, by Kafka's name; may be repeated. Kafka's own settings are not in the directory
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub config: Vec<(String, String)>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = HAND_OVER_EXAMPLES)]
pub struct HandOver {
    pub topic: String,

    /// The broker's log directory, in which it has created the topic with as many partitions
    #[arg(long, value_name = "LOG_DIR")]
    pub to: PathBuf,

    /// Delete the topic here, once the copy is on stable storage and was compared
    #[arg(long = "move")]
    pub give_up: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = DUMP_EXAMPLES)]
pub struct Dump {
    /// Files, or directories with everything in them, of ours or of Kafka's
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Print the records of each batch, too
    #[arg(long)]
    pub records: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct Verify {
    /// The directory; by default that of --dir
    pub directory: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = SALVAGE_EXAMPLES)]
pub struct Salvage {
    /// The directory; by default that of --dir
    pub directory: Option<PathBuf>,

    /// The new directory: empty, or not there yet
    #[arg(long, value_name = "OUT")]
    pub to: PathBuf,

    /// Keep also what stands whole behind a tear, which a recovery would cut
    #[arg(long)]
    pub keep_behind_tears: bool,
}

/// How a directory is opened that is only looked at.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct Reading {
    /// Change nothing, and need no right to: no recovery, no lock. What is damaged is told on standard error, and the exit
    /// code is 3. A Kafka broker's directory can be read, too. While somebody has the directory open, it is his to read from
    #[arg(long)]
    pub read_only: bool,
}

/// Where to begin; at the log start if nothing is said.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub struct Start {
    /// Begin at the log start, as by default
    #[arg(long)]
    pub from_beginning: bool,

    /// Begin at this offset; -N begins N records before the end
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub offset: Option<Place>,

    /// Begin at the first record of this time or later: milliseconds since 1970, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "T", value_parser = timestamp)]
    pub timestamp: Option<Timestamp>,
}

/// What `--offset` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    At(Offset),
    BeforeEnd(Offset),
}

impl std::str::FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('-') {
            Some(count) => count.parse().map(Self::BeforeEnd),
            None => text.parse().map(Self::At),
        }
    }
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("it takes a name, =, and a value")?;
    Ok((name.to_owned(), value.to_owned()))
}

const COMMITTED: &str = "read_committed";
const UNCOMMITTED: &str = "read_uncommitted";

fn isolation() -> impl TypedValueParser<Value = Isolation> {
    PossibleValuesParser::new([COMMITTED, UNCOMMITTED]).map(|level| match level.as_str() {
        UNCOMMITTED => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    })
}

fn durability(text: &str) -> Result<Durability, String> {
    text.parse().map_err(|error: ottla::Error| error.to_string())
}

pub fn timestamp(text: &str) -> Result<Timestamp, &'static str> {
    const EXPECTS: &str = "it takes milliseconds since 1970, or a time as 2026-01-31T12:00:00Z";
    if let Ok(millis) = text.parse::<u64>() {
        return Timestamp::try_from(millis).map_err(|_| EXPECTS);
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| EXPECTS)?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| EXPECTS)?;
    Timestamp::try_from(since.as_millis()).map_err(|_| EXPECTS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_time_is_in_milliseconds_or_written_out() {
        assert_eq!(timestamp("0"), Ok(0));
        assert_eq!(timestamp("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(timestamp("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(timestamp("2023-11-14 22:13:20.5"), Ok(1_700_000_000_500));
        for odd in ["", "-1", "now", "18446744073709551615", "1969-12-31T23:59:59Z"] {
            assert!(timestamp(odd).is_err(), "{odd}");
        }
    }
}
