//! `ottla produce`: a record for each line of standard input, and word of what is durable.

use std::fmt;
use std::time::{Duration, Instant};

use ottla::{Broker, Durability, ErrorKind, Topic, TopicConfig, TopicProducer};
use serde::Serialize;

use crate::args::Produce;
use crate::failure::Failure;
use crate::intake::{End, Intake};
use crate::output::Output;
use crate::progress::Progress;
use crate::sender::Sender;
use crate::session::{Missing, Session};

/// How long it takes at most until something is told to be durable.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub fn run(args: &Produce, session: &Session, output: Output) -> Result<(), Failure> {
    let missing = if args.create { Missing::IsCreated } else { Missing::IsAnError };
    if args.create {
        // Before there is a directory.
        Broker::check_topic(&args.topic, &TopicConfig::new())?;
    }
    session.with(missing, |broker| {
        let topic = topic(broker, args)?;
        let sync_every = sync_every(args, &topic)?;
        if let Some(partition) = args.partition {
            topic.partition(partition)?;
        }
        let intake = Intake::start(Sender::new(args, &topic)?)?;
        report(&intake, &topic.producer().synced(), sync_every, output)
    })
}

fn topic(broker: &Broker, args: &Produce) -> Result<Topic, Failure> {
    match broker.topic(&args.topic) {
        Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition && args.create => {
            Ok(broker.create_topic(&args.topic, TopicConfig::new())?)
        }
        found => found.map_err(|error| {
            Failure::from(error).hint(ErrorKind::UnknownTopicOrPartition, "--create makes it as it is needed")
        }),
    }
}

/// How often everything is synced, so that a power cut takes no more than was asked for.
fn sync_every(args: &Produce, topic: &Topic) -> Result<Duration, Failure> {
    let level: Durability = topic.config().get("durability").unwrap_or_default().parse()?;
    match args.durability {
        Some(asked) if at_risk(asked) > at_risk(level) => Err(Failure::Refused(format!(
            "the durability of topic {} is {level}, and {asked} would be weaker: ask for a stronger one, or alter \
             the topic",
            topic.name()
        ))),
        Some(asked) if asked != level => Ok(at_risk(asked).min(TELL_EVERY)),
        // The broker keeps the topic's own level.
        _ => Ok(TELL_EVERY),
    }
}

/// What a power cut may take of what was acknowledged.
fn at_risk(level: Durability) -> Duration {
    match level {
        Durability::Synced => Duration::ZERO,
        Durability::Interval(every) => every,
        _ => Duration::MAX,
    }
}

/// Syncs what was sent, and tells that it is durable, until standard input ends or something fails.
fn report(
    intake: &Intake,
    producer: &TopicProducer,
    sync_every: Duration,
    output: Output,
) -> Result<(), Failure> {
    let progress = Progress::of_input();
    let (mut durable, mut told) = (0, 0);
    let (mut sync_due, mut tell_due) = (Instant::now(), Instant::now());
    loop {
        let wait = || {
            let end = intake.wait_for_more(told);
            let due = if intake.lines() > durable { sync_due } else { tell_due };
            end.or_else(|| intake.wait_until(due))
        };
        let end = wait();
        let lines = intake.lines();
        // A sender that failed may have failed because of what comes to light here.
        if lines > durable || end.is_some() {
            sync_due = Instant::now() + sync_every;
            producer.flush()?;
            durable = lines;
        }
        if let Some(End(outcome)) = end {
            drop(progress);
            output.tell(&Durable { durable });
            return outcome;
        }
        progress.show(intake.bytes(), &format!("durable {durable}"));
        if tell_due <= Instant::now() {
            (told, tell_due) = (durable, Instant::now() + TELL_EVERY);
            if !progress.is_drawn() {
                output.tell(&Durable { durable });
            }
        }
    }
}

/// So many lines, the first ones, are on stable storage.
#[derive(Serialize)]
struct Durable {
    durable: u64,
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "durable {}", self.durable)
    }
}
