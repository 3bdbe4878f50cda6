//! `ottla group`: list, describe, reset the offsets of, delete, export.

use std::fmt;

use ottla::{Broker, ErrorKind, GroupDescription, GroupPartition, Isolation, Offset, Partition, Position};
use serde::Serialize;

use crate::failure::Failure;
use crate::group_args::{Group, ResetOffsets, To};
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{Missing, Session};

pub fn run(command: &Group, session: &Session, output: Output) -> Result<(), Failure> {
    session.with(Missing::IsAnError, |broker| match command {
        Group::List => output.print(&List::new(broker)?),
        Group::Describe { group } => output.print(&Description(describe(broker, group)?)),
        Group::ResetOffsets(reset) => reset_offsets(reset, broker, output),
        Group::Delete { group } => {
            let _progress = Progress::of_unknown("deleting the group");
            broker.delete_group(group).map_err(unknown)?;
            output.print(&Done::Deleted(group))
        }
        Group::Export { group } => output.print(&Export::new(&describe(broker, group)?)),
    })
}

fn describe(broker: &Broker, group: &str) -> Result<GroupDescription, Failure> {
    broker.describe_group(group).map_err(unknown)
}

fn unknown(error: ottla::Error) -> Failure {
    Failure::from(error).hint(ErrorKind::GroupIdNotFound, "`ottla group list` shows those there are")
}

/// Resolves all places before any of them is committed.
fn reset_offsets(reset: &ResetOffsets, broker: &Broker, output: Output) -> Result<(), Failure> {
    let ResetOffsets { group, dry_run, .. } = reset;
    let places = partitions(reset, broker)?
        .into_iter()
        .map(|partition| Ok((partition.clone(), place(&partition, reset.to)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let moved = places.iter().map(|(partition, position)| Moved {
        topic: partition.topic().to_owned(),
        partition: partition.id(),
        new_offset: position.offset(),
    });
    let report = Reset { group, dry_run: *dry_run, partitions: moved.collect() };
    if !dry_run {
        broker.alter_group_offsets(group, places)?;
    }
    output.print(&report)
}

fn partitions(reset: &ResetOffsets, broker: &Broker) -> Result<Vec<Partition>, Failure> {
    let topic = broker.topic(&reset.topic)?;
    if let Some(partition) = reset.partition {
        return Ok(vec![topic.partition(partition)?]);
    }
    let count = topic.partition_count();
    if matches!(reset.to, To(ottla::Start::At(_))) && count > 1 {
        return Err(Failure::Refused(format!(
            "topic {} has {count} partitions, and an offset is that of one of them; name it with --partition",
            topic.name()
        )));
    }
    Ok(topic.partitions().collect())
}

/// With the leader epoch of what stands before it.
fn place(partition: &Partition, To(start): To) -> Result<Position, Failure> {
    let batches = partition.read_with(start, Isolation::ReadUncommitted).map_err(|error| {
        Failure::from(error).hint(ErrorKind::OffsetOutOfRange, "`ottla topic describe` shows what there is")
    })?;
    Ok(batches.position())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Done<'a> {
    Deleted(&'a str),
}

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Deleted(group) = self;
        writeln!(f, "Deleted group {group}.")
    }
}

#[derive(Serialize)]
struct List(Vec<Listed>);

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
}

impl List {
    fn new(broker: &Broker) -> Result<Self, Failure> {
        let listed = broker
            .groups()?
            .into_iter()
            .map(|listing| Listed { group: listing.name().to_owned(), state: listing.state().to_string() });
        Ok(Self(listed.collect()))
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|listed| writeln!(f, "{}", listed.group))
    }
}

/// A table as text, everything there is to know as JSON.
struct Description(GroupDescription);

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Description {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = &self.0;
        let members = group.members().iter().map(|member| MemberState {
            member: member.id(),
            client_id: member.client_id(),
            host: member.host(),
        });
        let description = DescriptionState {
            group: group.name(),
            state: group.state().to_string(),
            generation: group.generation(),
            protocol_type: group.protocol_type(),
            assignor: group.assignor(),
            partitions: group.partitions().iter().map(PartitionState::new).collect(),
            members: members.collect(),
        };
        description.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescriptionState<'a> {
    group: &'a str,
    state: String,
    generation: u32,
    protocol_type: &'a str,
    assignor: Option<&'a str>,
    partitions: Vec<PartitionState<'a>>,
    members: Vec<MemberState<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartitionState<'a> {
    topic: &'a str,
    partition: u32,
    committed: Option<Offset>,
    leader_epoch: Option<u32>,
    metadata: &'a str,
    commit_timestamp: Option<i64>,
    high_watermark: Option<Offset>,
    lag: Option<u64>,
    member: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberState<'a> {
    member: &'a str,
    client_id: &'a str,
    host: &'a str,
}

impl<'a> PartitionState<'a> {
    fn new(state: &'a GroupPartition) -> Self {
        let committed = state.committed();
        Self {
            topic: state.topic(),
            partition: state.partition(),
            committed: committed.map(Position::offset),
            leader_epoch: committed.and_then(Position::leader_epoch),
            metadata: state.metadata(),
            commit_timestamp: state.commit_timestamp(),
            high_watermark: state.high_watermark(),
            lag: state.lag(),
            member: state.member(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reset<'a> {
    group: &'a str,
    dry_run: bool,
    partitions: Vec<Moved>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Moved {
    topic: String,
    partition: u32,
    new_offset: Offset,
}

/// In the columns of `kafka-consumer-groups --reset-offsets`.
impl fmt::Display for Reset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<30} {:<30} {:<10} NEW-OFFSET", "GROUP", "TOPIC", "PARTITION")?;
        for Moved { topic, partition, new_offset } in &self.partitions {
            writeln!(f, "{:<30} {topic:<30} {partition:<10} {new_offset}", self.group)?;
        }
        Ok(())
    }
}

/// What is committed, in the lines that `kafka-consumer-groups --reset-offsets --from-file` takes for one group: without a
/// header, and without quotes, which no topic's name needs.
#[derive(Serialize)]
struct Export(Vec<Committed>);

#[derive(Serialize)]
struct Committed {
    topic: String,
    partition: u32,
    offset: Offset,
}

impl Export {
    fn new(group: &GroupDescription) -> Self {
        let committed = |state: &GroupPartition| {
            let offset = state.committed()?.offset();
            Some(Committed { topic: state.topic().to_owned(), partition: state.partition(), offset })
        };
        Self(group.partitions().iter().filter_map(committed).collect())
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Committed { topic, partition, offset }| {
            writeln!(f, "{topic},{partition},{offset}")
        })
    }
}
