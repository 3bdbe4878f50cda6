//! Which protocol the members agree on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::join_request::MemberProtocol;

/// Whether a candidate supports a protocol that all the others support.
pub fn have_common<'a>(
    candidate: &[MemberProtocol],
    others: impl Iterator<Item = &'a [MemberProtocol]> + Clone,
) -> bool {
    candidate.iter().any(|protocol| others.clone().all(|other| supports(other, &protocol.name)))
}

/// Each member votes for the first of its protocols that all support. Most votes win; of equals the first by name.
pub fn elect<'a>(members: impl Iterator<Item = &'a [MemberProtocol]> + Clone) -> Option<Arc<str>> {
    let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for member in members.clone() {
        let is_common = |name: &str| members.clone().all(|other| supports(other, name));
        if let Some(choice) = member.iter().find(|protocol| is_common(&protocol.name)) {
            *votes.entry(&choice.name).or_default() += 1;
        }
    }
    // The last of several maxima would win.
    votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| Arc::clone(name))
}

fn supports(protocols: &[MemberProtocol], name: &str) -> bool {
    protocols.iter().any(|protocol| *protocol.name == *name)
}
