//! `ottla verify`: whether a data directory is sound.

use std::fmt;
use std::path::Path;

use ottla::inspect::{Verify, VerifyReport};
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::finding::FindingLine;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::progress::Progress;

pub fn run(verify: &args::Verify, dir: &Path, output: Output) -> Result<Outcome, Failure> {
    let progress = Progress::of_bytes();
    let work = Verify::new().progress(move |now| progress.show_of(now.done, now.total));
    let report = work.run(verify.directory.as_deref().unwrap_or(dir))?;
    // Who reads no further than the first lines gets the exit code all the same.
    Failure::unless_closed(print(&report, output))?;
    Ok(Outcome::of_sound(report.is_sound()))
}

fn print(report: &VerifyReport, output: Output) -> Result<(), Failure> {
    report.findings.iter().try_for_each(|finding| output.print(&FindingLine::new(finding)))?;
    output.print(&Summary::new(report))
}

/// The last line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    sound: bool,
    live: bool,
    clean: bool,
    findings: usize,
    partitions: usize,
    segments: usize,
    batches: u64,
    records: u64,
    bytes: u64,
    index_entries: u64,
}

impl Summary {
    fn new(report: &VerifyReport) -> Self {
        Self {
            sound: report.is_sound(),
            live: report.is_live,
            clean: report.is_clean,
            findings: report.findings.len(),
            partitions: report.partitions,
            segments: report.segments,
            batches: report.batches,
            records: report.records,
            bytes: report.bytes,
            index_entries: report.index_entries,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partitions, segments, batches, records, bytes, index_entries, .. } = self;
        write!(f, "{}: ", if self.sound { "Sound" } else { "Damaged" })?;
        write!(f, "{partitions} partitions, {segments} segments, {batches} batches, {records} records, ")?;
        writeln!(f, "{bytes} bytes, {index_entries} index entries.")?;
        match self {
            Self { live: true, .. } => {
                writeln!(f, "Somebody has it open: what is not yet proven to be durable was not looked at.")
            }
            Self { clean: false, .. } => {
                writeln!(f, "It was not closed in order: the next opening recovers it.")
            }
            _ => Ok(()),
        }
    }
}
