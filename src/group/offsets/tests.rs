//! Records replayed: the newest of each key counts.

use std::collections::BTreeMap;

use super::*;

fn commit(group: &str, topic: &str, partition: u32, offset: i64) -> GroupRecord {
    let value = OffsetCommitValue {
        offset: u64::try_from(offset).ok(),
        leader_epoch: Some(1),
        metadata: format!("at {offset}").into(),
        commit_timestamp: offset,
    };
    let partition = TopicPartition::new(topic, partition);
    GroupRecord::OffsetCommit { group: group.into(), partition, value: Some(value) }
}

fn metadata(group: &str, generation: u32) -> GroupRecord {
    let value = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation,
        protocol: None,
        leader: None,
        current_state_timestamp: None,
        members: Vec::new(),
    };
    GroupRecord::GroupMetadata { group: group.into(), value: Some(value) }
}

fn tombstone(of: GroupRecord) -> GroupRecord {
    match of {
        GroupRecord::OffsetCommit { group, partition, .. } => {
            GroupRecord::OffsetCommit { group, partition, value: None }
        }
        GroupRecord::GroupMetadata { group, .. } => GroupRecord::GroupMetadata { group, value: None },
    }
}

fn replay(records: impl IntoIterator<Item = GroupRecord>) -> CommittedOffsets {
    let mut offsets = CommittedOffsets::default();
    for record in records {
        let (key, value) = record.encode().unwrap();
        offsets.apply(Some(&key), value.as_deref()).unwrap();
    }
    offsets
}

#[test]
fn the_newest_commit_of_a_partition_counts() {
    let offsets = replay([
        commit("g", "t", 0, 5),
        commit("g", "t", 1, 7),
        commit("h", "t", 0, 1),
        commit("g", "t", 0, 3),
        metadata("g", 1),
        metadata("g", 2),
    ]);
    let committed = offsets.committed("g", &TopicPartition::new("t", 0)).unwrap();
    let expected =
        Committed { offset: 3, leader_epoch: Some(1), metadata: "at 3".into(), commit_timestamp: 3 };
    assert_eq!(committed, &expected);
    assert_eq!(offsets.committed("g", &TopicPartition::new("t", 1)).unwrap().offset, 7);
    assert_eq!(offsets.committed("h", &TopicPartition::new("t", 0)).unwrap().offset, 1);
    assert_eq!(offsets.group("g").unwrap().metadata.as_ref().unwrap().generation, 2);
    assert_eq!(offsets.committed("h", &TopicPartition::new("t", 1)), None);
    assert_eq!(offsets.committed("i", &TopicPartition::new("t", 0)), None);
}

#[test]
fn a_tombstone_removes_what_it_names_and_a_group_goes_with_its_last() {
    let mut offsets = replay([commit("g", "t", 0, 5), commit("g", "t", 1, 7), metadata("g", 1)]);
    offsets.apply_record(tombstone(metadata("g", 0)));
    assert_eq!(offsets.group("g").unwrap().metadata, None);
    offsets.apply_record(tombstone(commit("g", "t", 0, 0)));
    let left: Vec<_> = offsets.group("g").unwrap().offsets.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["t-1"]);
    offsets.apply_record(tombstone(commit("g", "t", 1, 0)));
    assert_eq!(offsets, CommittedOffsets::default());
    offsets.apply_record(tombstone(commit("never", "t", 1, 0)));
    assert_eq!(offsets, CommittedOffsets::default());
}

#[test]
fn a_commit_of_no_offset_takes_the_older_one_away() {
    let offsets = replay([commit("g", "t", 0, 5), commit("g", "t", 0, -1)]);
    assert_eq!(offsets.groups().count(), 0);
}

#[test]
fn a_record_that_cannot_be_read_changes_nothing() {
    let before = replay([commit("g", "t", 0, 5)]);
    let mut offsets = before.clone();
    let (key, value) = commit("g", "t", 0, 6).encode().unwrap();
    let value = value.unwrap();
    assert!(offsets.apply(Some(&key), Some(&value[..value.len() - 1])).is_err());
    assert!(offsets.apply(Some(&key[..3]), None).is_err());
    assert!(offsets.apply(None, None).is_err());
    assert_eq!(offsets, before);
}

#[test]
fn other_kinds_of_groups_are_passed_over() {
    let mut offsets = CommittedOffsets::default();
    offsets.apply(Some(&[0, 3, 0, 1, b'g']), Some(&[0, 0, 0, 0, 0, 7])).unwrap();
    assert_eq!(offsets.groups().count(), 0);
}

/// Against a map from keys to their newest values; and compaction, which leaves the newest of each key, changes nothing.
#[test]
fn what_is_left_is_the_newest_of_each_key() {
    let mut dice = fastrand::Rng::with_seed(5);
    for _ in 0..300 {
        let records: Vec<_> = (0..dice.usize(..60)).map(|_| any_record(&mut dice)).collect();
        let mut newest = BTreeMap::new();
        for (number, record) in records.iter().enumerate() {
            newest.insert(record.encode().unwrap().0, number);
        }
        let offsets = replay(records.iter().cloned());
        let (mut commits, mut metadata) = (0, 0);
        for number in newest.values() {
            match &records[*number] {
                GroupRecord::OffsetCommit { group, partition, value } => {
                    let committed = value.clone().and_then(Committed::of);
                    commits += usize::from(committed.is_some());
                    assert_eq!(offsets.committed(group, partition), committed.as_ref());
                }
                GroupRecord::GroupMetadata { group, value } => {
                    metadata += usize::from(value.is_some());
                    let known = offsets.group(group).and_then(|group| group.metadata.as_ref());
                    assert_eq!(known, value.as_ref());
                }
            }
        }
        let groups = || offsets.groups().map(|(_, group)| group);
        assert_eq!(groups().map(|group| group.offsets.len()).sum::<usize>(), commits);
        assert_eq!(groups().filter(|group| group.metadata.is_some()).count(), metadata);
        assert!(groups().all(|group| group.metadata.is_some() || !group.offsets.is_empty()));

        let kept = records
            .iter()
            .enumerate()
            .filter(|(number, record)| newest[&record.encode().unwrap().0] == *number);
        assert_eq!(replay(kept.map(|(_, record)| record.clone())), offsets);
    }
}

fn any_record(dice: &mut fastrand::Rng) -> GroupRecord {
    let group = ["g", "h"][dice.usize(..2)];
    let record = match dice.u8(..4) {
        0 => metadata(group, dice.u32(..9)),
        _ => commit(group, ["t", "u"][dice.usize(..2)], dice.u32(..2), dice.i64(-1..9)),
    };
    if dice.u8(..4) == 0 { tombstone(record) } else { record }
}
