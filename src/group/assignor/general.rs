//! The sticky assignment where members subscribe to different topics (Kafka: `GeneralAssignmentBuilder`).
//!
//! How Kafka breaks ties depends on the order of a hash table, so that only balance and stickiness are the same. The balance: nobody
//! has two partitions more than somebody else who could take one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::roster::{Owners, Roster, Topic};

/// Shares out all partitions; `owned` is who has them so far.
pub fn assign(roster: &Roster<'_>, owned: Owners) -> Owners {
    let mut sharing = Sharing::new(roster, owned);
    sharing.give_out(roster);
    sharing.balance();
    sharing.owners
}

struct Sharing {
    owners: Owners,
    /// Who had each partition before.
    homes: Owners,
    /// The audience of each partition: a number for each set of subscribers that a topic has.
    audiences: Vec<usize>,
    /// Of each member: what it has, by the audience that could take it.
    held: Vec<BTreeMap<usize, Held>>,
    loads: Loads,
}

/// What a member has for one audience.
#[derive(Default)]
struct Held {
    /// What it had before.
    kept: BTreeSet<usize>,
    /// What it got now, behind the member that had it before.
    fresh: BTreeSet<(Option<usize>, usize)>,
}

impl Sharing {
    fn new(roster: &Roster<'_>, owned: Owners) -> Self {
        let mut numbers = BTreeMap::new();
        let mut audiences = vec![0; roster.partitions()];
        for topic in roster.topics() {
            let next = numbers.len();
            let audience = *numbers.entry(&topic.subscribers[..]).or_insert(next);
            audiences[topic.range()].fill(audience);
        }
        let mut subscribers = vec![&[][..]; numbers.len()];
        for (members, audience) in numbers {
            subscribers[audience] = members;
        }
        let mut sharing = Self {
            owners: vec![None; roster.partitions()],
            homes: owned,
            audiences,
            held: (0..roster.members()).map(|_| BTreeMap::new()).collect(),
            loads: Loads::new(roster.members(), &subscribers),
        };
        for partition in 0..roster.partitions() {
            if let Some(home) = sharing.homes[partition] {
                sharing.give(partition, home);
            }
        }
        sharing
    }

    /// What nobody has goes to whoever has the least; first what the fewest could take.
    fn give_out(&mut self, roster: &Roster<'_>) {
        let mut topics: Vec<_> = roster.topics().iter().collect();
        topics.sort_by_key(|topic| topic.subscribers.len());
        for partition in topics.into_iter().flat_map(Topic::range) {
            if self.owners[partition].is_none()
                && let Some((_, member)) = self.loads.least(self.audiences[partition])
            {
                self.give(partition, member);
            }
        }
    }

    /// Moves partitions until nobody has two more than somebody else who could take one of them.
    ///
    /// It ends, and never makes the balance worse: each move lowers the sum of the differences between all loads.
    fn balance(&mut self) {
        let mut has_moved = true;
        while has_moved {
            has_moved = false;
            for member in self.loads.heaviest_first() {
                while let Some((audience, receiver)) = self.relief_for(member) {
                    self.move_one(audience, member, receiver);
                    has_moved = true;
                }
            }
        }
    }

    /// Which audience can take something from a member, and who of it: rather where the member got something now, then where
    /// somebody has the least.
    fn relief_for(&self, member: usize) -> Option<(usize, usize)> {
        let load = self.loads.of(member);
        let reliefs = self.held[member].iter().filter_map(|(audience, held)| {
            let (least, receiver) = self.loads.least(*audience)?;
            (least + 2 <= load).then_some((held.fresh.is_empty(), least, *audience, receiver))
        });
        reliefs.min().map(|(_, _, audience, receiver)| (audience, receiver))
    }

    /// Moves what the receiver had before, or what the member got now, or the last of what it had.
    fn move_one(&mut self, audience: usize, member: usize, receiver: usize) {
        let Some(held) = self.held[member].get(&audience) else { return };
        let at_home = (Some(receiver), 0)..=(Some(receiver), usize::MAX);
        let fresh = held.fresh.range(at_home).next().or(held.fresh.first());
        let chosen = fresh.map(|(_, partition)| *partition).or(held.kept.last().copied());
        if let Some(partition) = chosen {
            self.take(partition, member);
            self.give(partition, receiver);
        }
    }

    fn give(&mut self, partition: usize, member: usize) {
        let held = self.held[member].entry(self.audiences[partition]).or_default();
        match self.homes[partition] {
            Some(home) if home == member => held.kept.insert(partition),
            home => held.fresh.insert((home, partition)),
        };
        self.owners[partition] = Some(member);
        self.loads.change(member, |load| load + 1);
    }

    fn take(&mut self, partition: usize, member: usize) {
        let audience = self.audiences[partition];
        if let Some(held) = self.held[member].get_mut(&audience) {
            held.kept.remove(&partition);
            held.fresh.remove(&(self.homes[partition], partition));
            if held.kept.is_empty() && held.fresh.is_empty() {
                self.held[member].remove(&audience);
            }
        }
        self.loads.change(member, |load| load - 1);
    }
}

/// How many partitions each member has.
struct Loads {
    loads: Vec<usize>,
    /// The audiences that each member belongs to.
    audiences: Vec<Vec<usize>>,
    /// The members of each audience, by load.
    queues: Vec<BTreeSet<(usize, usize)>>,
}

impl Loads {
    fn new(members: usize, subscribers: &[&[usize]]) -> Self {
        let mut audiences = vec![Vec::new(); members];
        for (audience, subscribers) in subscribers.iter().enumerate() {
            for member in *subscribers {
                audiences[*member].push(audience);
            }
        }
        let queues = subscribers.iter().map(|members| members.iter().map(|member| (0, *member)).collect());
        Self { loads: vec![0; members], audiences, queues: queues.collect() }
    }

    fn of(&self, member: usize) -> usize {
        self.loads[member]
    }

    /// The member of an audience with the least load, of several the first, and the load.
    fn least(&self, audience: usize) -> Option<(usize, usize)> {
        self.queues[audience].first().copied()
    }

    fn heaviest_first(&self) -> Vec<usize> {
        let mut members: Vec<_> = (0..self.loads.len()).collect();
        members.sort_by_key(|member| std::cmp::Reverse(self.loads[*member]));
        members
    }

    fn change(&mut self, member: usize, change: impl Fn(usize) -> usize) {
        let old = self.loads[member];
        let new = change(old);
        self.loads[member] = new;
        for audience in &self.audiences[member] {
            self.queues[*audience].remove(&(old, member));
            self.queues[*audience].insert((new, member));
        }
    }
}
