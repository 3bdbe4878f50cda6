//! The assignors, whoever comes and goes: every partition has one owner, the shares are even, and what need not move stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla::internals::{
    Assignor, Generation, MemberId, PartitionCounts, Shares, Subscriber, Subscribers, TopicPartition,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];
const MEMBERS: u32 = 6;

/// What happens to a group before its next round.
#[derive(Clone, Debug)]
enum Event {
    /// A member comes, or changes its mind.
    Subscribes { member: u32, topics: BTreeSet<usize> },
    /// It goes, and what it has with it.
    Leaves { member: u32 },
    /// Partitions are added to a topic, or the topic is deleted.
    Topic { topic: usize, partitions: Option<u32> },
}

/// One round: what has happened before it, and who does not learn what it decided.
#[derive(Clone, Debug)]
struct Round {
    events: Vec<Event>,
    asleep: BTreeSet<u32>,
}

/// A group of clients that do as they are told.
#[derive(Default)]
struct Clients {
    members: Subscribers,
    partitions: PartitionCounts,
    generation: Generation,
}

fn topics() -> impl Strategy<Value = BTreeSet<usize>> {
    btree_set(0..TOPICS.len(), 0..=TOPICS.len())
}

fn event(are_uniform: bool) -> impl Strategy<Value = Event> {
    let wanted = if are_uniform { Just((0..TOPICS.len()).collect()).boxed() } else { topics().boxed() };
    prop_oneof![
        4 => (0..MEMBERS, wanted).prop_map(|(member, topics)| Event::Subscribes { member, topics }),
        2 => (0..MEMBERS).prop_map(|member| Event::Leaves { member }),
        3 => (0..TOPICS.len(), prop_oneof![6 => (0..9u32).prop_map(Some), 1 => Just(None)])
            .prop_map(|(topic, partitions)| Event::Topic { topic, partitions }),
    ]
}

fn rounds(are_uniform: bool) -> impl Strategy<Value = Vec<Round>> {
    let round = (vec(event(are_uniform), 0..5), btree_set(0..MEMBERS, 0..3));
    vec(round.prop_map(|(events, asleep)| Round { events, asleep }), 1..8)
}

fn id(member: u32) -> MemberId {
    MemberId::from(format!("m{member}"))
}

impl Clients {
    fn happens(&mut self, event: &Event) {
        match event {
            Event::Subscribes { member, topics } => {
                let topics: BTreeSet<_> = topics.iter().map(|topic| Arc::from(TOPICS[*topic])).collect();
                let member = self.members.entry(id(*member)).or_default();
                // A client gives back what it does not want before it joins.
                member.owned.retain(|owned| topics.contains(&owned.topic));
                member.topics = topics;
            }
            Event::Leaves { member } => _ = self.members.remove(&id(*member)),
            Event::Topic { topic, partitions: Some(partitions) } => {
                let known = self.partitions.entry(Arc::from(TOPICS[*topic])).or_default();
                *known = (*known).max(*partitions);
            }
            Event::Topic { topic, partitions: None } => _ = self.partitions.remove(TOPICS[*topic]),
        }
    }

    /// A round; those who are asleep go on with what they have. True if somebody gave something back, and joins again.
    fn round(&mut self, asleep: &BTreeSet<u32>) -> bool {
        self.generation += 1;
        let shares = Assignor::CooperativeSticky.assign(&self.members, &self.partitions);
        self.nobody_gets_what_another_has(&shares);
        let asleep: BTreeSet<_> = asleep.iter().map(|member| id(*member)).collect();
        let mut gave_back = false;
        for (id, member) in self.members.iter_mut().filter(|(id, _)| !asleep.contains(id)) {
            let share: BTreeSet<_> = shares[id].iter().cloned().collect();
            gave_back |= !member.owned.is_subset(&share);
            member.owned = share;
            member.generation = Some(self.generation);
        }
        gave_back
    }

    /// Whoever gets a partition may have it before the others have done anything.
    fn nobody_gets_what_another_has(&self, shares: &Shares) {
        for (receiver, share) in shares {
            for partition in share {
                let mut others = self.members.iter().filter(|(id, _)| *id != receiver);
                let owner = others.find(|(_, other)| other.owned.contains(partition));
                assert!(owner.is_none(), "{receiver} gets {partition} while {owner:?} has it");
            }
        }
    }

    fn settle(&mut self) -> usize {
        let mut rounds = 1;
        while self.round(&BTreeSet::new()) {
            rounds += 1;
            assert!(rounds < 20, "the group does not settle");
        }
        rounds
    }

    fn owned(&self) -> Shares {
        let owned = |member: &Subscriber| member.owned.iter().cloned().collect();
        self.members.iter().map(|(id, member)| (id.clone(), owned(member))).collect()
    }
}

/// Every partition of a topic that somebody subscribes to is there once, at a subscriber; sorted.
fn each_once(members: &Subscribers, partitions: &PartitionCounts, shares: &Shares) {
    let mut wanted = Vec::new();
    for (topic, count) in partitions {
        if members.values().any(|member| member.topics.contains(topic)) {
            wanted.extend((0..*count).map(|partition| TopicPartition::new(Arc::clone(topic), partition)));
        }
    }
    let mut found: Vec<_> = shares.values().flatten().cloned().collect();
    found.sort();
    assert_eq!(found, wanted);
    for (id, share) in shares {
        assert!(share.is_sorted(), "{share:?}");
        assert!(
            share.iter().all(|partition| members[id].topics.contains(&partition.topic)),
            "{id} {share:?}"
        );
    }
    assert!(shares.keys().eq(members.keys()));
}

/// Nobody has two more than another one who could take one of them.
fn even(members: &Subscribers, shares: &Shares) {
    for share in shares.values() {
        for (other, less) in shares.iter().filter(|(_, less)| less.len() + 2 <= share.len()) {
            let takes = share.iter().find(|partition| members[other].topics.contains(&partition.topic));
            assert!(takes.is_none(), "{other} with {} could take {takes:?} from {}", less.len(), share.len());
        }
    }
}

/// How much of what is owned can be kept in even shares.
fn keepable(members: &Subscribers, partitions: usize) -> usize {
    let (min, more) = (partitions / members.len(), partitions % members.len());
    let owned = || members.values().map(|member| member.owned.len());
    owned().map(|owned| owned.min(min)).sum::<usize>()
        + more.min(owned().filter(|owned| *owned > min).count())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn equal_subscriptions_settle_in_two_rounds_and_move_no_more_than_they_must(rounds in rounds(true)) {
        let mut clients = Clients::default();
        for Round { events, asleep } in rounds {
            events.iter().for_each(|event| clients.happens(event));
            clients.round(&asleep);
        }
        clients.settle();
        // From here on everybody is awake: one more change of the group.
        clients.happens(&Event::Subscribes { member: MEMBERS, topics: (0..TOPICS.len()).collect() });
        clients.members.remove(&id(0));
        let partitions = clients.partitions.values().map(|count| *count as usize).sum();
        let before = clients.owned();
        let keepable = keepable(&clients.members, partitions);
        prop_assert!(clients.settle() <= 2);

        let after = clients.owned();
        each_once(&clients.members, &clients.partitions, &after);
        let kept = |id: &MemberId| after[id].iter().filter(|partition| before[id].contains(partition)).count();
        prop_assert_eq!(before.keys().map(kept).sum::<usize>(), keepable);
        let sizes = || after.values().map(Vec::len);
        prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
        for (id, owned) in &before {
            prop_assert!(kept(id) == owned.len() || after[id].len() >= partitions / after.len());
        }
    }

    #[test]
    fn any_subscriptions_settle_and_then_nothing_moves(rounds in rounds(false)) {
        let mut clients = Clients::default();
        for Round { events, asleep } in rounds {
            events.iter().for_each(|event| clients.happens(event));
            clients.round(&asleep);
            prop_assert!(clients.settle() <= 2);
            let settled = clients.owned();
            each_once(&clients.members, &clients.partitions, &settled);
            even(&clients.members, &settled);
            clients.settle();
            prop_assert_eq!(clients.owned(), settled);
        }
    }

    #[test]
    fn range_gives_each_partition_once_and_evenly_in_each_topic(
        wanted in btree_map(0..MEMBERS, topics(), 0..6),
        partitions in btree_map(0..TOPICS.len(), 0..9u32, 0..TOPICS.len()),
    ) {
        let mut clients = Clients::default();
        for (member, topics) in wanted {
            clients.happens(&Event::Subscribes { member, topics });
        }
        for (topic, partitions) in partitions {
            clients.happens(&Event::Topic { topic, partitions: Some(partitions) });
        }
        let shares = Assignor::Range.assign(&clients.members, &clients.partitions);
        each_once(&clients.members, &clients.partitions, &shares);
        for topic in clients.partitions.keys() {
            let mut next = 0;
            let mut sizes = Vec::new();
            for (id, share) in &shares {
                let of_topic: Vec<_> = share.iter().filter(|p| p.topic == *topic).map(|p| p.partition).collect();
                if clients.members[id].topics.contains(topic) {
                    let end = next + u32::try_from(of_topic.len()).unwrap();
                    prop_assert!(of_topic.iter().copied().eq(next..end), "{:?}", shares);
                    next = end;
                    sizes.push(of_topic.len());
                }
            }
            // The first ones have the more.
            prop_assert!(sizes.is_sorted_by(|a, b| a >= b), "{:?}", shares);
            prop_assert!(sizes.first().zip(sizes.last()).is_none_or(|(most, least)| most - least <= 1));
        }
    }
}

/// So many members and partitions are shared out in a moment: anything quadratic in their product would take hours.
#[test]
fn a_thousand_members_share_a_thousand_topics() {
    const MANY: usize = 1000;
    let topics: Vec<Arc<str>> = (0..MANY).map(|topic| Arc::from(format!("t{topic:04}"))).collect();
    let partitions: PartitionCounts = topics.iter().map(|topic| (Arc::clone(topic), 4)).collect();
    for are_uniform in [true, false] {
        let member = |number: usize| {
            let wanted = topics.iter().enumerate().filter(|(topic, _)| are_uniform || *topic != number);
            let topics = wanted.map(|(_, topic)| Arc::clone(topic)).collect();
            (MemberId::from(format!("m{number:04}")), Subscriber { topics, ..Subscriber::default() })
        };
        let mut members: BTreeMap<_, _> = (0..MANY).map(member).collect();
        let begun = Instant::now();
        for _ in 0..2 {
            let shares = Assignor::CooperativeSticky.assign(&members, &partitions);
            assert!(shares.values().all(|share| share.len() == 4));
            for (member, share) in members.values_mut().zip(shares.into_values()) {
                member.owned = share.into_iter().collect();
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}
