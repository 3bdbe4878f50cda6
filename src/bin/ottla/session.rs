//! A data directory for the length of a command.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla::{Broker, ErrorKind, RecoveryReport};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// A disk that hangs for longer has lost us.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether a command makes a data directory where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    IsCreated,
    IsAnError,
}

/// Opens the directory, does what is to be done, closes it in order.
#[derive(Debug)]
pub struct Session {
    dir: PathBuf,
    output: Output,
}

impl Session {
    pub fn new(dir: &Path, output: Output) -> Self {
        Self { dir: dir.to_owned(), output }
    }

    /// The failure of the work comes before that of closing.
    pub fn with<T>(
        &self,
        missing: Missing,
        work: impl FnOnce(&Broker) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let broker = self.open(missing)?;
        let outcome = work(&broker);
        let closed = broker.close(CLOSE_TIMEOUT).map_err(Failure::from);
        outcome.and_then(|value| closed.map(|()| value))
    }

    fn open(&self, missing: Missing) -> Result<Broker, Failure> {
        let _progress = Progress::of_unknown("opening the data directory");
        let broker = Broker::options()
            .create_if_missing(missing == Missing::IsCreated)
            .open(&self.dir)
            .map_err(|error| {
                Failure::from(error).hint(
                    ErrorKind::DirectoryNotOurs,
                    "--dir or OTTLA_DIR names another, `ottla topic create` makes one, and `ottla adopt` takes over a broker's",
                )
            })?;
        for cut in cuts(broker.recovery_report()) {
            self.output.tell(&cut);
        }
        Ok(broker)
    }
}

/// What was cut from a partition after a crash: nobody is to find that out by himself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cut<'a> {
    recovered: &'a str,
    partition: u32,
    end_offset: u64,
    cut_bytes: u64,
    quarantine: Vec<String>,
}

fn cuts(report: &RecoveryReport) -> impl Iterator<Item = Cut<'_>> {
    report.partitions().iter().map(|recovery| Cut {
        recovered: recovery.topic(),
        partition: recovery.partition(),
        end_offset: recovery.end_offset(),
        cut_bytes: recovery.cut_bytes(),
        quarantine: recovery.quarantined().map(|path| path.display().to_string()).collect(),
    })
}

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recovered, partition, end_offset, cut_bytes, quarantine } = self;
        write!(f, "recovered {recovered}-{partition} up to offset {end_offset}: ")?;
        write!(f, "{cut_bytes} bytes behind it were cut")?;
        if !quarantine.is_empty() {
            write!(f, ", and are kept in {}", quarantine.join(", "))?;
        }
        writeln!(f)
    }
}
