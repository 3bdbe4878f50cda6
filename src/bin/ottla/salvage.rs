//! `ottla salvage`: what is sound of a data directory goes into a new one.

use std::fmt;
use std::path::Path;

use ottla::inspect::{Salvage, SalvageReport, Severity};
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::finding::FindingLine;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::progress::Progress;

pub fn run(salvage: &args::Salvage, dir: &Path, output: Output) -> Result<Outcome, Failure> {
    let from = salvage.directory.as_deref().unwrap_or(dir);
    let progress = Progress::of_bytes();
    let work = Salvage::new().keep_behind_tears(salvage.keep_behind_tears).progress(|now| {
        progress.show_of(now.done, now.total);
        // The copy is read back then, which takes its time, too.
        if now.done == now.total {
            progress.show(now.done, "verifying the copy");
        }
    });
    let report = work.run(from, &salvage.to)?;
    drop(progress);
    let summary = Summary::new(from, &salvage.to, &report);
    Failure::unless_closed(print(&report, &summary, output))?;
    Ok(Outcome::of_sound(summary.complete))
}

fn print(report: &SalvageReport, summary: &Summary, output: Output) -> Result<(), Failure> {
    report.left.iter().try_for_each(|finding| output.print(&FindingLine::new(finding)))?;
    output.print(summary)
}

/// The last line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    salvaged: String,
    to: String,
    complete: bool,
    left: usize,
    topics: usize,
    partitions: usize,
    batches: u64,
    records: u64,
    left_batches: u64,
    left_records: u64,
}

impl Summary {
    fn new(from: &Path, to: &Path, report: &SalvageReport) -> Self {
        Self {
            salvaged: from.display().to_string(),
            to: to.display().to_string(),
            // Of what recovery would cut, whoever is in need may want what is whole.
            complete: report.left_batches == 0
                && report.left.iter().all(|finding| finding.severity < Severity::Derived),
            left: report.left.len(),
            topics: report.topics,
            partitions: report.partitions,
            batches: report.batches,
            records: report.records,
            left_batches: report.left_batches,
            left_records: report.left_records,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { salvaged, to, topics, partitions, batches, records, .. } = self;
        write!(f, "Salvaged {salvaged} to {to}: ")?;
        writeln!(f, "{topics} topics, {partitions} partitions, {batches} batches, {records} records.")?;
        match self {
            Self { left: 0, .. } => writeln!(f, "Nothing was left."),
            Self { complete: true, .. } => writeln!(f, "Nothing was left but what recovery would have cut."),
            _ => writeln!(f, "What was left, or is not as it was, stands above."),
        }?;
        match self.left_batches {
            0 => Ok(()),
            batches => writeln!(
                f,
                "{batches} whole batches, {} records, were left behind tears; --keep-behind-tears keeps them, too.",
                self.left_records
            ),
        }
    }
}
