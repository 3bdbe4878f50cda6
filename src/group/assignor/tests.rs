//! Examples that were worked by hand, and what the assignors do with bad input. The properties are in the suite.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::group::TopicPartition;

use super::*;

fn counts(topics: &[(&str, u32)]) -> PartitionCounts {
    topics.iter().map(|(topic, partitions)| (Arc::from(*topic), *partitions)).collect()
}

fn partitions(text: &str) -> BTreeSet<TopicPartition> {
    let partition = |word: &str| {
        let (topic, partition) = word.rsplit_once('p').unwrap();
        TopicPartition::new(topic, partition.parse().unwrap())
    };
    text.split_whitespace().map(partition).collect()
}

fn member(topics: &str, generation: Generation, owned: &str) -> Subscriber {
    Subscriber {
        topics: topics.split_whitespace().map(Arc::from).collect(),
        owned: partitions(owned),
        generation: (generation > 0).then_some(generation),
    }
}

fn fresh(topics: &str) -> Subscriber {
    member(topics, 0, "")
}

/// The shares as `C0 t0p0 t0p1 | C1 …`.
fn assign<const N: usize>(
    assignor: Assignor,
    topics: &[(&str, u32)],
    members: [(&str, Subscriber); N],
) -> String {
    let members = members.into_iter().map(|(id, subscriber)| (MemberId::from(id), subscriber)).collect();
    let shares = assignor.assign(&members, &counts(topics));
    let line = |(id, share): (&MemberId, &Vec<TopicPartition>)| {
        let share: String = share.iter().map(|p| format!(" {}p{}", p.topic, p.partition)).collect();
        format!("{id}{share}")
    };
    shares.iter().map(line).collect::<Vec<_>>().join(" | ")
}

fn sticky<const N: usize>(topics: &[(&str, u32)], members: [(&str, Subscriber); N]) -> String {
    assign(Assignor::CooperativeSticky, topics, members)
}

#[test]
fn range_gives_partitions_that_follow_on_each_other() {
    let shares =
        assign(Assignor::Range, &[("t0", 3), ("t1", 3)], [("C0", fresh("t0 t1")), ("C1", fresh("t0 t1"))]);
    assert_eq!(shares, "C0 t0p0 t0p1 t1p0 t1p1 | C1 t0p2 t1p2");
}

#[test]
fn range_shares_each_topic_among_those_who_subscribe_to_it() {
    let shares = assign(
        Assignor::Range,
        &[("t0", 5), ("t1", 1), ("unread", 3)],
        [("a", fresh("t0")), ("b", fresh("t0 t1 gone")), ("c", fresh("t0 t1")), ("d", fresh(""))],
    );
    assert_eq!(shares, "a t0p0 t0p1 | b t0p2 t0p3 t1p0 | c t0p4 | d");
}

#[test]
fn range_forgets_what_was_owned() {
    let shares =
        assign(Assignor::Range, &[("t", 2)], [("a", member("t", 3, "tp1")), ("b", member("t", 3, "tp0"))]);
    assert_eq!(shares, "a tp0 | b tp1");
}

#[test]
fn sticky_deals_a_topic_out_in_turn() {
    let shares = sticky(&[("t0", 7)], [("C0", fresh("t0")), ("C1", fresh("t0")), ("C2", fresh("t0"))]);
    assert_eq!(shares, "C0 t0p0 t0p3 t0p6 | C1 t0p1 t0p4 | C2 t0p2 t0p5");
}

#[test]
fn a_member_that_comes_gets_what_is_given_back_in_the_second_round() {
    let topics = [("t0", 7)];
    let others = [("C1", member("t0", 1, "t0p1 t0p4")), ("C2", member("t0", 1, "t0p2 t0p5"))];
    let [one, two] = others.clone();
    let first = sticky(&topics, [("C0", member("t0", 1, "t0p0 t0p3 t0p6")), one, two, ("C3", fresh("t0"))]);
    assert_eq!(first, "C0 t0p0 t0p3 | C1 t0p1 t0p4 | C2 t0p2 t0p5 | C3");
    let [one, two] = others;
    let second =
        sticky(&topics, [("C0", member("t0", 2, "t0p0 t0p3")), one, two, ("C3", member("t0", 2, ""))]);
    assert_eq!(second, "C0 t0p0 t0p3 | C1 t0p1 t0p4 | C2 t0p2 t0p5 | C3 t0p6");
}

#[test]
fn what_a_member_leaves_behind_is_shared_out_at_once() {
    let shares = sticky(
        &[("t0", 7)],
        [("C0", member("t0", 1, "t0p0 t0p3 t0p6")), ("C2", member("t0", 1, "t0p2 t0p5"))],
    );
    assert_eq!(shares, "C0 t0p0 t0p3 t0p4 t0p6 | C2 t0p1 t0p2 t0p5");
}

#[test]
fn sticky_counts_over_all_topics() {
    let topics = [("t0", 3), ("t1", 3)];
    let shares = sticky(&topics, [("C0", fresh("t0 t1")), ("C1", fresh("t0 t1"))]);
    assert_eq!(shares, "C0 t0p0 t0p2 t1p1 | C1 t0p1 t1p0 t1p2");

    let third = |generation, second: &str| {
        let first =
            if second.is_empty() { ("t0p0 t0p2 t1p1", "t0p1 t1p0 t1p2") } else { ("t0p0 t1p1", second) };
        sticky(
            &topics,
            [
                ("C0", member("t0 t1", generation, first.0)),
                ("C1", member("t0 t1", generation, first.1)),
                ("C2", fresh("t0 t1")),
            ],
        )
    };
    assert_eq!(third(1, ""), "C0 t0p0 t1p1 | C1 t0p1 t1p0 | C2");
    assert_eq!(third(2, "t1p0 t0p1"), "C0 t0p0 t1p1 | C1 t0p1 t1p0 | C2 t0p2 t1p2");
}

#[test]
fn a_claim_of_an_older_generation_gives_way() {
    let shares = sticky(&[("t", 2)], [("a", member("t", 1, "tp0 tp1")), ("b", member("t", 2, "tp1"))]);
    assert_eq!(shares, "a tp0 | b tp1");
}

#[test]
fn what_two_claim_in_one_generation_both_give_back() {
    let shares = sticky(&[("t", 2)], [("a", member("t", 2, "tp0 tp1")), ("b", member("t", 2, "tp1"))]);
    assert_eq!(shares, "a tp0 | b");
}

/// It is behind by a generation, and reads them still.
#[test]
fn a_member_that_is_behind_keeps_what_nobody_else_has() {
    let shares = sticky(
        &[("t", 4)],
        [("a", member("t", 6, "tp0")), ("b", member("t", 5, "tp2 tp3")), ("c", member("t", 6, ""))],
    );
    assert_eq!(shares, "a tp0 | b tp2 tp3 | c tp1");
}

/// A partition that its owner does not subscribe to any more goes to another one when it was given back.
#[test]
fn what_a_member_has_and_does_not_want_is_given_back_first() {
    let with =
        |owned| sticky(&[("t", 1), ("u", 1)], [("a", member("u", 1, owned)), ("b", member("t", 1, ""))]);
    assert_eq!(with("tp0 up0"), "a up0 | b");
    assert_eq!(with("up0"), "a up0 | b tp0");
}

#[test]
fn partitions_that_are_gone_are_nobodys() {
    let shares =
        sticky(&[("t", 2)], [("a", member("t", 1, "tp0 tp1 tp2 tp3 xp0")), ("b", member("t", 1, ""))]);
    assert_eq!(shares, "a tp0 | b");
}

#[test]
fn general_serves_first_who_has_no_choice() {
    let shares = sticky(
        &[("t0", 1), ("t1", 2), ("t2", 3)],
        [("C0", fresh("t0")), ("C1", fresh("t0 t1")), ("C2", fresh("t0 t1 t2"))],
    );
    assert_eq!(shares, "C0 t0p0 | C1 t1p0 t1p1 | C2 t2p0 t2p1 t2p2");
}

#[test]
fn without_members_nobody_gets_anything() {
    for assignor in Assignor::ALL {
        assert_eq!(assign(assignor, &[("t", 3)], []), "");
        assert_eq!(assign(assignor, &[], [("a", fresh("t"))]), "a");
        assert_eq!(assign(assignor, &[("t", 0)], [("a", fresh("t")), ("b", fresh("t"))]), "a | b");
    }
}

#[test]
fn an_assignor_is_known_by_its_name() {
    for assignor in Assignor::ALL {
        assert_eq!(Assignor::named(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::named("sticky"), None);
    assert!(Assignor::CooperativeSticky.is_cooperative() && !Assignor::Range.is_cooperative());
}
