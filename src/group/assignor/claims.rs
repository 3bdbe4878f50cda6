//! What members say that they own, held against each other.

use super::roster::{Owners, Roster};

use crate::group::Generation;

/// For each partition, who claims it.
#[derive(Debug)]
pub struct Claims(Vec<Claim>);

#[derive(Clone, Copy, Debug)]
enum Claim {
    Nobody,
    /// One member; whether it subscribes to the topic still.
    One {
        member: usize,
        subscribes: bool,
    },
    /// Several members, of which the one with the newest generation owns it, if it is one and subscribes still.
    Several {
        owner: Option<usize>,
    },
}

impl Claims {
    /// The claims of the members. A claim to a partition that is gone is none.
    pub fn of(roster: &Roster<'_>) -> Self {
        let mut claims: Vec<(usize, Option<Generation>, usize, bool)> = Vec::new();
        for (member, subscriber) in roster.subscribers().enumerate() {
            for owned in &subscriber.owned {
                if let Some(partition) = roster.number_of(owned) {
                    let subscribes = subscriber.topics.contains(&owned.topic);
                    claims.push((partition, subscriber.generation, member, subscribes));
                }
            }
        }
        claims.sort_unstable();
        let mut of_partitions = vec![Claim::Nobody; roster.partitions()];
        for claims in claims.chunk_by(|a, b| a.0 == b.0) {
            if let Some(&(partition, newest, member, subscribes)) = claims.last() {
                let of_newest = claims.iter().filter(|claim| claim.1 == newest).count();
                of_partitions[partition] = match claims.len() {
                    1 => Claim::One { member, subscribes },
                    _ => Claim::Several { owner: (of_newest == 1 && subscribes).then_some(member) },
                };
            }
        }
        Self(of_partitions)
    }

    /// The owner of each partition that has one: the one who claims it, of several the one of the newest generation. What two
    /// claim in one generation is nobody's, and so is what its claimant does not subscribe to.
    pub fn owners(&self) -> Owners {
        let owner = |claim: &Claim| match *claim {
            Claim::Nobody => None,
            Claim::One { member, subscribes } => subscribes.then_some(member),
            Claim::Several { owner } => owner,
        };
        self.0.iter().map(owner).collect()
    }

    /// Whether somebody else has to give a partition back before a member may get it. Every claim counts here, also one that is
    /// outdated: who makes it still reads the partition.
    pub fn stand_against(&self, partition: usize, receiver: usize) -> bool {
        match self.0[partition] {
            Claim::Nobody => false,
            Claim::One { member, .. } => member != receiver,
            // The owner was given it after the others, and so when they had no claim to it any more.
            Claim::Several { owner } => owner != Some(receiver),
        }
    }
}
