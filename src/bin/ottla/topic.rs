//! `ottla topic`: create, list, describe, alter, delete.

use std::collections::BTreeMap;
use std::fmt;

use ottla::{Broker, ErrorKind, OpenTransaction, PartitionId, Topic, TopicConfig};
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{Missing, Session};
use crate::settings::with_settings;

pub fn run(command: &args::Topic, session: &Session, output: Output) -> Result<(), Failure> {
    match command {
        args::Topic::Create { name, partitions, config } => {
            // Before there is a directory.
            let config = with_settings(TopicConfig::new().partitions(*partitions), config)?;
            Broker::check_topic(name, &config)?;
            session.with(Missing::IsCreated, |broker| {
                let _progress = Progress::of_unknown("creating the topic");
                broker.create_topic(name, config).map_err(|error| {
                    Failure::from(error).hint(ErrorKind::TopicAlreadyExists, "`ottla topic alter` changes it")
                })?;
                output.print(&Done::Created(name))
            })
        }
        args::Topic::List { .. } => session.with(Missing::IsAnError, |broker| {
            let topics = broker.topics()?;
            output.print(&List(topics.iter().map(Listed::new).collect()))
        }),
        args::Topic::Describe { name, .. } => {
            session.with(Missing::IsAnError, |broker| output.print(&Description::new(&broker.topic(name)?)))
        }
        args::Topic::Alter { name, config, partitions } => session.with(Missing::IsAnError, |broker| {
            let current = broker.topic(name)?.config();
            let altered = with_settings(current, config)?;
            let altered = match partitions {
                Some(count) => altered.partitions(*count),
                None => altered,
            };
            let _progress = Progress::of_unknown("altering the topic");
            broker.alter_topic(name, altered)?;
            output.print(&Done::Altered(name))
        }),
        args::Topic::Delete { name } => session.with(Missing::IsAnError, |broker| {
            let _progress = Progress::of_unknown("deleting the topic");
            broker.delete_topic(name)?;
            output.print(&Done::Deleted(name))
        }),
    }
}

/// What was done, in Kafka's words.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Done<'a> {
    Created(&'a str),
    Altered(&'a str),
    Deleted(&'a str),
}

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(name) => writeln!(f, "Created topic {name}."),
            Self::Altered(name) => writeln!(f, "Altered topic {name}."),
            Self::Deleted(name) => writeln!(f, "Deleted topic {name}."),
        }
    }
}

#[derive(Serialize)]
pub struct List(pub Vec<Listed>);

#[derive(Serialize)]
pub struct Listed {
    pub topic: String,
    pub partitions: PartitionId,
}

impl Listed {
    fn new(topic: &Topic) -> Self {
        Self { topic: topic.name().to_owned(), partitions: topic.partition_count() }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|listed| writeln!(f, "{}", listed.topic))
    }
}

#[derive(Serialize)]
pub struct Description {
    pub topic: String,
    pub id: String,
    pub config: BTreeMap<&'static str, String>,
    pub partitions: Vec<PartitionState>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionState {
    pub partition: PartitionId,
    pub log_start_offset: u64,
    /// Below the high watermark only where transactions are open.
    pub last_stable_offset: u64,
    pub high_watermark: u64,
    pub log_end_offset: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_transactions: Vec<OpenState>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenState {
    producer_id: i64,
    first_offset: u64,
}

impl OpenState {
    fn new(open: OpenTransaction) -> Self {
        Self { producer_id: open.producer_id, first_offset: open.first_offset }
    }
}

impl Description {
    fn new(topic: &Topic) -> Self {
        let partitions = topic.partitions().map(|partition| PartitionState {
            partition: partition.id(),
            log_start_offset: partition.log_start_offset(),
            last_stable_offset: partition.last_stable_offset(),
            high_watermark: partition.high_watermark(),
            log_end_offset: partition.log_end_offset(),
            open_transactions: partition.open_transactions().into_iter().map(OpenState::new).collect(),
        });
        Self {
            topic: topic.name().to_owned(),
            id: topic.id().to_string(),
            partitions: partitions.collect(),
            config: topic.config().entries().collect(),
        }
    }
}

/// As `kafka-topics --describe` prints it: tabs between, a line for the topic and one for each partition.
impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, id, config, partitions } = self;
        let config: Vec<_> = config.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "Topic: {topic}\tTopicId: {id}\tPartitionCount: {}", partitions.len())?;
        writeln!(f, "\tConfigs: {}", config.join(","))?;
        for state in partitions {
            let PartitionState { partition, log_start_offset, high_watermark, log_end_offset, .. } = state;
            write!(f, "\tTopic: {topic}\tPartition: {partition}\tLogStartOffset: {log_start_offset}")?;
            write!(f, "\tHighWatermark: {high_watermark}\tLogEndOffset: {log_end_offset}")?;
            if !state.open_transactions.is_empty() {
                write!(f, "\tLastStableOffset: {}\tOpenTransactions: ", state.last_stable_offset)?;
                for (number, OpenState { producer_id, first_offset }) in (0..).zip(&state.open_transactions) {
                    let comma = if number == 0 { "" } else { ", " };
                    write!(f, "{comma}of producer {producer_id} from offset {first_offset} on")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
