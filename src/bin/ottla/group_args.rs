//! What can be asked of consumer groups.

use std::str::FromStr;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use ottla::{Offset, PartitionId, Start};

const DESCRIBE_EXAMPLES: &str = "\
Examples:
  ottla group describe billing
  ottla group describe billing --json | jq '[.partitions[].lag] | add'

The columns are those of kafka-consumer-groups. Members are in a service that has the directory open, which describes
its groups itself; from here a group has none.";

const RESET_EXAMPLES: &str = "\
Examples:
  ottla group reset-offsets billing --topic orders --to earliest --dry-run
  ottla group reset-offsets billing --topic orders --to 2026-01-31T12:00:00Z
  ottla group reset-offsets billing --topic orders --partition 0 --to 42

A group that has committed nothing so far is made.";

const EXPORT_EXAMPLES: &str = "\
Example:
  ottla group export billing > billing.csv
  kafka-consumer-groups.sh --bootstrap-server … --group billing --reset-offsets --from-file billing.csv --execute

A line is topic,partition,offset.";

#[derive(Debug, Subcommand)]
pub enum Group {
    /// List the groups that have committed something, a name a line
    List,
    /// Show a group: its state, what it has committed of each partition, how far it is behind
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe {
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        group: String,
    },
    /// Move what a group has committed of a topic
    #[command(after_help = RESET_EXAMPLES)]
    ResetOffsets(ResetOffsets),
    /// Delete a group with all that it has committed
    Delete {
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        group: String,
    },
    /// Print what a group has committed as Kafka's tool takes it
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        group: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct ResetOffsets {
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub group: String,

    #[arg(long)]
    pub topic: String,

    /// This partition alone; by default all
    #[arg(long, value_name = "P")]
    pub partition: Option<PartitionId>,

    /// earliest, latest, an offset, or the first record of a time or later, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "PLACE")]
    pub to: To,

    /// Only print where it would be moved to
    #[arg(long)]
    pub dry_run: bool,
}

/// What `--to` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To(pub Start);

impl FromStr for To {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTS: &str = "it takes earliest, latest, an offset, or a time as 2026-01-31T12:00:00Z";
        Ok(Self(match text {
            "earliest" => Start::Earliest,
            "latest" => Start::Latest,
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Start::At(text.parse::<Offset>().map_err(|_| EXPECTS)?)
            }
            // A number with a sign is neither.
            _ if text.starts_with(['+', '-']) => return Err(EXPECTS),
            _ => Start::Time(crate::args::timestamp(text).map_err(|_| EXPECTS)?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_offset_and_a_time_is_written_out() {
        let to = |text: &str| text.parse::<To>().map(|To(start)| start);
        assert_eq!(to("earliest"), Ok(Start::Earliest));
        assert_eq!(to("latest"), Ok(Start::Latest));
        assert_eq!(to("1700000000000"), Ok(Start::At(1_700_000_000_000)));
        assert_eq!(to("2023-11-14T22:13:20Z"), Ok(Start::Time(1_700_000_000_000)));
        for odd in ["", "-1", "+1", "Earliest", "end", "18446744073709551616"] {
            assert!(to(odd).is_err(), "{odd}");
        }
    }
}
