//! Groups as they are printed, and what there is to say of them.

use std::time::Duration;

use ottla::{Broker, Consumer, ErrorKind, Position, Record, Topic, TopicConfig};

use crate::support::options;

fn consumer(broker: &Broker) -> Consumer {
    broker.consumer().group("billing").subscribe(["t0", "t1"]).unwrap()
}

fn poll_all(consumers: &mut [Consumer]) {
    for _ in 0..10 {
        consumers.iter_mut().for_each(|consumer| drop(consumer.poll(Duration::ZERO).unwrap()));
    }
}

fn topics(broker: &Broker) -> [Topic; 2] {
    ["t0", "t1"].map(|name| broker.create_topic(name, TopicConfig::new().partitions(3)).unwrap())
}

/// The worked example of Kafka's cooperative-sticky assignor: t0 and t1 with three partitions each, C0 and C1.
#[test]
fn the_worked_example_as_it_is_printed() {
    let broker = options().in_memory().unwrap();
    drop(topics(&broker));
    let mut consumers = [consumer(&broker), consumer(&broker)];
    // Both are in the group, and own nothing, when the partitions are shared out.
    ["t0", "t1"].iter().for_each(|name| broker.delete_topic(name).unwrap());
    poll_all(&mut consumers);
    let [t0, _] = topics(&broker);
    poll_all(&mut consumers);

    let send = |value| t0.producer().send(Record::new(value).partition(1)).unwrap().wait().unwrap();
    ["a", "b", "c"].iter().for_each(|value| drop(send(value)));
    for consumer in &mut consumers {
        let records = consumer.poll(Duration::ZERO).unwrap();
        if let Some(second) = records.iter().nth(1) {
            consumer.commit_through(&second).unwrap();
        }
    }
    let group = broker.describe_group("billing").unwrap();
    let ids: Vec<_> = group.members().iter().map(|member| member.id().to_owned()).collect();
    let printed = group.to_string();
    // Ids are random, and as long as these.
    assert_eq!(ids.iter().map(String::len).collect::<Vec<_>>(), [42, 42]);
    let named = printed.replace(&ids[0], &format!("{:<42}", "C0")).replace(&ids[1], &format!("{:<42}", "C1"));
    let squeezed: Vec<_> = named
        .lines()
        .map(|line| line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
        .collect();
    let generation = group.generation();
    let expected = [
        &format!(
            "Group: billing\tState: Stable\tGeneration: {generation}\tAssignor: cooperative-sticky\tMembers: 2"
        ),
        "",
        "GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID",
        "billing t0 0 - 0 0 C0 /in-process ottla",
        "billing t0 1 2 3 1 C1 /in-process ottla",
        "billing t0 2 - 0 0 C0 /in-process ottla",
        "billing t1 0 - 0 0 C1 /in-process ottla",
        "billing t1 1 - 0 0 C0 /in-process ottla",
        "billing t1 2 - 0 0 C1 /in-process ottla",
        "",
        "GROUP CONSUMER-ID HOST CLIENT-ID #PARTITIONS ASSIGNMENT",
        "billing C0 /in-process ottla 3 t0:0,2;t1:1",
        "billing C1 /in-process ottla 3 t0:1;t1:0,2",
    ];
    assert_eq!(squeezed, expected, "{printed}");
    // Every column begins where its name does.
    for table in printed.split("\n\n").skip(1) {
        let lines: Vec<_> = table.lines().collect();
        let begin = |name: &str| lines[0].find(name).unwrap();
        for line in &lines[1..] {
            assert!(line[begin("CONSUMER-ID")..].starts_with("ottla-"), "{printed}");
            assert!(line[begin("HOST")..].starts_with("/in-process"), "{printed}");
        }
    }
}

#[test]
fn offsets_are_moved_while_nobody_reads_and_within_the_log() {
    let broker = options().in_memory().unwrap();
    let [t0, _] = topics(&broker);
    let partition = t0.partition(0).unwrap();
    _ = t0.producer().send(Record::new("a").partition(0)).unwrap().wait().unwrap();
    let kind = |offset| {
        let to = (partition.clone(), Position::new(offset, None));
        broker.alter_group_offsets("billing", [to]).map_err(|error| error.kind())
    };
    let mut member = consumer(&broker);
    assert_eq!(kind(1), Ok(()), "it has subscribed, and is not in the group before its first poll");
    _ = member.poll(Duration::ZERO).unwrap();
    assert_eq!(kind(0), Err(ErrorKind::NonEmptyGroup));
    poll_all(std::slice::from_mut(&mut member));
    assert_eq!(kind(0), Err(ErrorKind::NonEmptyGroup));
    drop(member);
    assert_eq!(kind(2), Err(ErrorKind::OffsetOutOfRange));
    assert_eq!(kind(0), Ok(()));
    let nameless = broker.alter_group_offsets("", [(partition.clone(), Position::new(0, None))]);
    assert_eq!(nameless.map_err(|error| error.kind()), Err(ErrorKind::InvalidGroupId));
    let one_bad =
        [Position::new(1, None), Position::new(1, Some(7))].map(|position| (partition.clone(), position));
    _ = broker.alter_group_offsets("billing", one_bad).unwrap_err();
    let group = broker.describe_group("billing").unwrap();
    let committed = group.partitions()[0].committed().map(Position::offset);
    assert_eq!(committed, Some(0), "all of them or none");
}

#[test]
fn a_group_without_a_name_is_told_apart_from_one_that_there_is_not() {
    let broker = options().in_memory().unwrap();
    let kinds = |name: &str| {
        let (described, deleted) = (broker.describe_group(name), broker.delete_group(name));
        [described.map(drop), deleted].map(|outcome| outcome.unwrap_err().kind())
    };
    assert_eq!(kinds(""), [ErrorKind::InvalidGroupId; 2]);
    assert_eq!(kinds("billing"), [ErrorKind::GroupIdNotFound; 2]);
}
