//! The records in which a real Kafka keeps its groups, replayed: exactly the groups, commits and members that Kafka's own tool
//! and admin client told of.

use std::collections::{BTreeMap, BTreeSet};

use ottla::internals::{
    Assignment, CommittedGroup, CommittedOffsets, MemberMetadata, Subscription, decode_group_record,
    read_generation,
};
use ottla::{ErrorKind, Isolation, OwnedRecord, ReadOnlyBroker, Start};
use serde_json::Value;

use crate::kafka_fixtures::root;

fn open() -> ReadOnlyBroker {
    ReadOnlyBroker::open(root().join("groups")).unwrap()
}

fn records(isolation: Isolation) -> Vec<OwnedRecord> {
    let partition = open().topic("__consumer_offsets").unwrap().partition(0).unwrap();
    let pieces = partition.read_with(Start::Earliest, isolation).unwrap();
    pieces.flat_map(|piece| piece.unwrap().into_batch().unwrap().records().collect::<Vec<_>>()).collect()
}

fn replay(records: &[OwnedRecord]) -> CommittedOffsets {
    let mut offsets = CommittedOffsets::default();
    for record in records {
        offsets.apply(record.key.as_deref(), record.value.as_deref()).unwrap();
    }
    offsets
}

fn groups() -> CommittedOffsets {
    replay(&records(Isolation::ReadCommitted))
}

fn expected(name: &str) -> String {
    std::fs::read_to_string(root().join("expected/groups").join(name)).unwrap()
}

/// The rows of the tables that Kafka's tool has printed, a column by its name.
fn rows(name: &str) -> Vec<BTreeMap<String, String>> {
    let (text, mut header, mut rows) = (expected(name), Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        if words[0] == "GROUP" {
            header = words;
        } else {
            assert_eq!(words.len(), header.len(), "{line}");
            rows.push(header.iter().cloned().zip(words).collect());
        }
    }
    rows
}

/// The groups of KIP-848, whose members stand in records of other types.
fn newer_groups() -> BTreeSet<String> {
    let rows = rows("state.txt").into_iter().filter(|row| row["GROUP-EPOCH"] != "-");
    rows.map(|row| row["GROUP"].clone()).collect()
}

#[test]
fn the_commits_are_those_that_kafka_returned() {
    let number = |value: &Value| value.as_i64().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut kafkas: Vec<_> = expected("commits.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            let place = (text(&line["group"]), text(&line["topic"]), number(&line["partition"]));
            (place, number(&line["offset"]), number(&line["leader_epoch"]), text(&line["metadata"]))
        })
        .collect();
    kafkas.sort();
    let groups = groups();
    let mut ours = Vec::new();
    for (id, group) in groups.groups() {
        for (partition, committed) in &group.offsets {
            let place = (id.to_string(), partition.topic.to_string(), i64::from(partition.partition));
            let epoch = committed.leader_epoch.map_or(-1, i64::from);
            let offset = i64::try_from(committed.offset).unwrap();
            ours.push((place, offset, epoch, committed.metadata.to_string()));
            assert!(committed.commit_timestamp > 1_700_000_000_000, "{committed:?}");
        }
    }
    assert_eq!(ours, kafkas);
    assert!(ours.len() >= 30, "{} commits", ours.len());
    // What would not be noticed if it was never there.
    for metadata in ["kept", "by hand", "büro – ключ", "in transaction 2"] {
        assert!(ours.iter().any(|commit| commit.3 == metadata), "{metadata}");
    }
}

#[test]
fn offsets_and_log_ends_are_those_that_kafkas_tool_printed() {
    let (groups, broker, mut compared) = (groups(), open(), 0);
    let mut kafkas = BTreeSet::new();
    for row in rows("describe.txt") {
        let partition: u32 = row["PARTITION"].parse().unwrap();
        let log = broker.topic(&row["TOPIC"]).unwrap().partition(partition).unwrap();
        assert_eq!(log.high_watermark().to_string(), row["LOG-END-OFFSET"], "{row:?}");
        if row["CURRENT-OFFSET"] != "-" {
            let found = groups.group(&row["GROUP"]).unwrap().offsets.iter();
            let found: Vec<_> = found
                .filter(|(at, _)| *at.topic == *row["TOPIC"] && at.partition == partition)
                .map(|(_, committed)| committed.offset.to_string())
                .collect();
            assert_eq!(found, [row["CURRENT-OFFSET"].clone()], "{row:?}");
            compared += 1;
        }
        kafkas.insert(row["GROUP"].clone());
    }
    assert_eq!(groups.groups().map(|(_, group)| group.offsets.len()).sum::<usize>(), compared);
    assert_eq!(groups.groups().map(|(id, _)| id.to_string()).collect::<BTreeSet<_>>(), kafkas);
}

#[test]
fn members_and_what_they_were_given_are_those_that_kafkas_tool_printed() {
    let newer = newer_groups();
    let mut kafkas: Vec<_> = rows("members.txt")
        .into_iter()
        .filter(|row| !newer.contains(&row["GROUP"]))
        .map(|row| {
            let column = |name: &str| row.get(name).cloned().unwrap_or_default();
            ["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "CURRENT-ASSIGNMENT"]
                .map(column)
        })
        .collect();
    kafkas.sort();
    let groups = groups();
    let mut ours = Vec::new();
    for (id, member) in groups.groups().flat_map(|(id, group)| members(group).map(move |member| (id, member)))
    {
        ours.push([
            id.to_string(),
            member.member_id.to_string(),
            member.group_instance_id.as_deref().unwrap_or_default().to_owned(),
            member.client_host.to_string(),
            member.client_id.to_string(),
            printed(&Assignment::decode(&member.assignment).unwrap()),
        ]);
    }
    ours.sort();
    assert_eq!(ours, kafkas);
    let assignments: Vec<_> = ours.iter().map(|member| member[5].as_str()).collect();
    for assignment in ["t0:0,1;t1:0,1", "t0:2;t1:2", "t0:0,1,2;t1:0,1,2"] {
        assert!(assignments.contains(&assignment), "{assignment} in {assignments:?}");
    }
    assert!(ours.iter().any(|member| member[2] == "instance-0"), "no static member");
}

fn members(group: &CommittedGroup) -> impl Iterator<Item = &MemberMetadata> {
    group.metadata.iter().flat_map(|metadata| &metadata.members)
}

/// As Kafka's tool prints it: `t0:0,1;t1:2`.
fn printed(assignment: &Assignment) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for partition in &assignment.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.to_string());
    }
    let topics = topics.iter().map(|(topic, numbers)| format!("{topic}:{}", numbers.join(",")));
    topics.collect::<Vec<_>>().join(";")
}

#[test]
fn states_and_assignors_are_those_that_kafkas_tool_printed() {
    let (groups, newer) = (groups(), newer_groups());
    assert!(!newer.is_empty(), "no group of the newer kind");
    for row in rows("state.txt") {
        let group = groups.group(&row["GROUP"]).unwrap();
        if newer.contains(&row["GROUP"]) {
            assert_eq!(group.metadata, None, "{row:?}");
            continue;
        }
        let protocol = group.metadata.as_ref().and_then(|metadata| metadata.protocol.as_deref());
        let state = if members(group).next().is_some() { "Stable" } else { "Empty" };
        assert_eq!(protocol.unwrap_or("-"), row["ASSIGNMENT-STRATEGY"], "{row:?}");
        assert_eq!(state, row["STATE"], "{row:?}");
        assert_eq!(members(group).count().to_string(), row["#MEMBERS"], "{row:?}");
        let Some(metadata) = &group.metadata else { continue };
        assert_eq!(&*metadata.protocol_type, "consumer", "{row:?}");
        assert_eq!(metadata.leader.is_some(), state == "Stable", "{row:?}");
        assert!(metadata.generation >= 1 && metadata.current_state_timestamp.is_some(), "{row:?}");
        for member in members(group) {
            assert_eq!(member.session_timeout.as_secs(), 600, "{member:?}");
            assert_eq!(member.rebalance_timeout.as_secs(), 300, "{member:?}");
        }
    }
    assert!(groups.group("left").unwrap().metadata.is_some(), "a group whose members have left");
}

/// So members of both kinds write the same when they mean the same.
#[test]
fn the_blobs_of_kafkas_consumer_are_written_as_it_writes_them() {
    let (mut subscriptions, mut owning) = (0, 0);
    for record in records(Isolation::ReadUncommitted) {
        let one = replay(&[record]);
        for (id, group) in one.groups() {
            for member in members(group) {
                let subscription = Subscription::decode(&member.subscription).unwrap();
                assert_eq!(subscription.encode().unwrap(), *member.subscription, "{subscription:?}");
                assert_eq!(
                    subscription.topics.iter().map(|topic| &**topic).collect::<Vec<_>>(),
                    ["t0", "t1"]
                );
                if &**id == "cooperative" {
                    let generation = read_generation(subscription.user_data.as_deref().unwrap()).unwrap();
                    // A member that was given nothing has not told its assignor of the generation.
                    let is_told = generation.is_some() || subscription.owned.is_empty();
                    assert!(is_told && generation.is_none_or(|told| subscription.generation == Some(told)));
                    owning += usize::from(!subscription.owned.is_empty());
                }
                let assignment = Assignment::decode(&member.assignment).unwrap();
                assert_eq!(assignment.encode().unwrap(), *member.assignment, "{assignment:?}");
                subscriptions += 1;
            }
        }
    }
    println!("{subscriptions} subscriptions, {owning} with partitions");
    assert!(subscriptions >= 8 && owning >= 2, "{subscriptions} subscriptions, {owning} with partitions");
}

#[test]
fn a_transaction_that_was_aborted_or_is_open_commits_nothing() {
    let offset = |groups: &CommittedOffsets, id| {
        groups.group(id).unwrap().offsets.values().map(|committed| committed.offset).collect::<Vec<_>>()
    };
    let uncommitted = replay(&records(Isolation::ReadUncommitted));
    assert_eq!([offset(&groups(), "exactly-once"), offset(&uncommitted, "exactly-once")], [[2], [3]]);
    assert_eq!([offset(&groups(), "pending"), offset(&uncommitted, "pending")], [[1], [2]]);
}

#[test]
fn every_record_is_read_whole_and_written_so_that_it_means_the_same() {
    let (mut others, mut tombstones, mut versions) = (0, 0, BTreeSet::new());
    let (mut again, records) = (CommittedOffsets::default(), records(Isolation::ReadCommitted));
    for record in &records {
        let (key, value) = (record.key.as_deref().unwrap(), record.value.as_deref());
        let Some((our_key, our_value)) = decode_group_record(Some(key), value).unwrap() else {
            others += 1;
            continue;
        };
        assert_eq!(our_key, key);
        again.apply(Some(&our_key), our_value.as_deref()).unwrap();
        let Some(value) = value else {
            tombstones += 1;
            continue;
        };
        versions.insert((key[1], value[1]));
        for len in 0..value.len() {
            let error = decode_group_record(Some(key), Some(&value[..len])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{len} bytes of {value:?}");
        }
    }
    assert_eq!(again, replay(&records));
    assert!(others >= 5 && tombstones >= 5, "{others} of other types, {tombstones} tombstones");
    println!("{} records, {others} of other types, {tombstones} tombstones, {versions:?}", records.len());
}
