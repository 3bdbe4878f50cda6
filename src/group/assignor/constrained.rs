//! The sticky assignment where every member subscribes to the same topics (Kafka: `ConstrainedAssignmentBuilder`).
//!
//! Of P partitions, each of C members gets ⌊P/C⌋, and P mod C of them one more. It is Kafka's algorithm step by step, so that the
//! same members with the same partitions get what Kafka's clients would give them.

use std::collections::VecDeque;

use super::roster::{Owners, Roster};

/// Shares out all partitions; `owned` is who has them so far.
pub fn assign(roster: &Roster<'_>, owned: &Owners) -> Owners {
    if roster.members() == 0 {
        return Vec::new();
    }
    let mut sharing = Sharing::new(roster);
    for (member, owned) in owned_by_members(roster, owned).iter().enumerate() {
        sharing.keep(member, owned);
    }
    for partition in 0..roster.partitions() {
        if sharing.owners[partition].is_none() {
            sharing.give(partition);
        }
    }
    sharing.owners
}

/// What each member has, in the order in which it would keep it: by the number in the topic, then by topic.
fn owned_by_members(roster: &Roster<'_>, owned: &Owners) -> Vec<Vec<usize>> {
    let mut by_members = vec![Vec::new(); roster.members()];
    for (partition, owner) in owned.iter().enumerate() {
        if let Some(owner) = owner {
            by_members[*owner].push(partition);
        }
    }
    for owned in &mut by_members {
        // Stable: what has the same number stays in the order of the topics.
        owned.sort_by_cached_key(|partition| roster.place_in_topic(*partition));
    }
    by_members
}

struct Sharing {
    owners: Owners,
    /// What every member gets at least.
    min: usize,
    /// How many members may still be given one more than that.
    more: usize,
    /// Members with less than `min`, in the order in which they are served, each with what it has.
    under: VecDeque<(usize, usize)>,
    /// Members with exactly `min`, which may get one more.
    exact: VecDeque<usize>,
}

impl Sharing {
    fn new(roster: &Roster<'_>) -> Self {
        Self {
            owners: vec![None; roster.partitions()],
            min: roster.partitions() / roster.members(),
            more: roster.partitions() % roster.members(),
            under: VecDeque::new(),
            exact: VecDeque::new(),
        }
    }

    /// A member keeps of what it has as much as is fair.
    fn keep(&mut self, member: usize, owned: &[usize]) {
        let kept = if owned.len() < self.min {
            self.under.push_back((member, owned.len()));
            owned.len()
        } else if owned.len() > self.min && self.more > 0 {
            self.count_one_more();
            self.min + 1
        } else {
            if self.more > 0 {
                self.exact.push_back(member);
            }
            self.min
        };
        for partition in &owned[..kept] {
            self.owners[*partition] = Some(member);
        }
    }

    /// Nobody else may have more than `min` once as many as may have it do.
    fn count_one_more(&mut self) {
        self.more -= 1;
        if self.more == 0 {
            self.exact.clear();
        }
    }

    /// The next in turn of those with less than `min` gets the partition; after them, each of the others gets one.
    fn give(&mut self, partition: usize) {
        let member = if let Some((member, had)) = self.under.pop_front() {
            if had + 1 == self.min {
                self.exact.push_back(member);
            } else {
                self.under.push_back((member, had + 1));
            }
            Some(member)
        } else {
            self.exact.pop_front()
        };
        debug_assert!(member.is_some(), "the shares add up to all partitions");
        self.owners[partition] = member;
    }
}
