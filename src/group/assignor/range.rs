//! `range`: of each topic, each subscriber gets partitions that follow on each other.

use super::roster::{Owners, Roster};

/// Of n partitions of a topic, m subscribers get n / m each, and the first n % m of them one more.
///
/// (Kafka hands out first what lies in a member's own rack: there are no racks here.)
pub fn assign(roster: &Roster<'_>) -> Owners {
    let mut owners = vec![None; roster.partitions()];
    for topic in roster.topics() {
        let mut partitions = topic.range();
        let (each, more) =
            (partitions.len() / topic.subscribers.len(), partitions.len() % topic.subscribers.len());
        for (place, member) in topic.subscribers.iter().enumerate() {
            for partition in partitions.by_ref().take(each + usize::from(place < more)) {
                owners[partition] = Some(*member);
            }
        }
    }
    owners
}
