//! The command line: the console tools of Kafka, on a data directory.
//!
//! A user of the library like any other: it sees nothing but the public interface.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adopt;
mod args;
mod consume;
mod dump;
mod failure;
mod fields;
mod finding;
mod format;
mod group;
mod group_args;
mod group_reader;
mod hand_over;
mod intake;
mod items;
mod json;
mod lines;
mod outcome;
mod output;
mod pending;
mod produce;
mod progress;
mod read_only;
mod salvage;
mod sender;
mod session;
mod settings;
mod span;
mod topic;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use failure::Failure;
use outcome::Outcome;
use output::Output;
use session::Session;

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2 and what is right.
    let args = Args::parse();
    let output = Output::new(args.json);
    match run(&args, output) {
        Ok(outcome) => outcome.into(),
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            output.complain(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, output: Output) -> Result<Outcome, Failure> {
    let session = Session::new(&args.dir, output);
    match &args.command {
        Command::Topic(args::Topic::List { reading }) if reading.read_only => {
            return read_only::list(&args.dir, output);
        }
        Command::Topic(args::Topic::Describe { name, reading }) if reading.read_only => {
            return read_only::describe(name, &args.dir, output);
        }
        Command::Consume(consume) if consume.reading.read_only => {
            return read_only::consume(consume, &args.dir, output);
        }
        Command::Topic(command) => topic::run(command, &session, output)?,
        Command::Produce(produce) => produce::run(produce, &session, output)?,
        Command::Consume(consume) => consume::run(consume, &session, output)?,
        Command::Group(command) => group::run(command, &session, output)?,
        Command::Adopt(adopt) => adopt::run(adopt, output)?,
        Command::HandOver(hand_over) => hand_over::run(hand_over, &args.dir, output)?,
        Command::Dump(dump) => return dump::run(dump, output),
        Command::Verify(verify) => return verify::run(verify, &args.dir, output),
        Command::Salvage(salvage) => return salvage::run(salvage, &args.dir, output),
    }
    Ok(Outcome::Done)
}
