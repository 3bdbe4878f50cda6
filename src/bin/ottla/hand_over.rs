//! `ottla hand-over`: a topic goes into the log directory of a stopped Kafka broker.

use std::fmt;
use std::path::Path;

use ottla::{ErrorKind, HandOver, HandOverReport, HandedOver, PartitionId};
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

pub fn run(hand_over: &args::HandOver, dir: &Path, output: Output) -> Result<(), Failure> {
    let args::HandOver { topic, to, give_up } = hand_over;
    let progress = Progress::of_bytes();
    let work = HandOver::new(topic).from(dir).to(to).give_up(*give_up);
    let report = work.progress(move |done, all| progress.show_of(done, all)).run().map_err(|error| {
        Failure::from(error).hint(
            ErrorKind::DirectoryInUse,
            "both sides have to be stopped, and ours closed in order: `ottla topic list` does that",
        )
    })?;
    output.print(&Done::new(topic, &report))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    handed_over: &'a str,
    given_up: bool,
    partitions: Vec<Copied>,
    next_step: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Copied {
    partition: PartitionId,
    log_start_offset: u64,
    log_end_offset: u64,
    batches: u64,
    restamped_batches: u64,
    bytes: u64,
    was_there: bool,
}

impl<'a> Done<'a> {
    fn new(topic: &'a str, report: &'a HandOverReport) -> Self {
        Self {
            handed_over: topic,
            given_up: report.is_given_up(),
            partitions: report.partitions().iter().map(Copied::new).collect(),
            next_step: report.next_step(),
        }
    }
}

impl Copied {
    fn new(partition: &HandedOver) -> Self {
        Self {
            partition: partition.partition(),
            log_start_offset: partition.log_start_offset(),
            log_end_offset: partition.log_end_offset(),
            batches: partition.batches(),
            restamped_batches: partition.restamped_batches(),
            bytes: partition.bytes(),
            was_there: partition.was_there(),
        }
    }
}

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handed_over, given_up, partitions, next_step } = self;
        let ours = if *given_up { ", and deleted it here" } else { "" };
        writeln!(f, "Handed over topic {handed_over}{ours}.")?;
        for copied in partitions {
            let Copied { partition, log_start_offset, log_end_offset, .. } = copied;
            write!(f, "\tPartition: {partition}\tLogStartOffset: {log_start_offset}")?;
            write!(f, "\tLogEndOffset: {log_end_offset}\tBatches: {}", copied.batches)?;
            write!(f, "\tRestamped: {}\tBytes: {}", copied.restamped_batches, copied.bytes)?;
            writeln!(f, "{}", if copied.was_there { "\twas there" } else { "" })?;
        }
        writeln!(f, "Next: {next_step}.")
    }
}
