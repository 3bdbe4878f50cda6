//! `cooperative-sticky`: even, sticky, and never two owners at a time.

use super::claims::Claims;
use super::roster::{Owners, Roster};
use super::{constrained, general};

/// The assignment of this round: what is to be, without what another member has to give back first.
pub fn assign(roster: &Roster<'_>) -> Owners {
    let claims = Claims::of(roster);
    let owned = claims.owners();
    let mut owners = if roster.is_uniform() {
        constrained::assign(roster, &owned)
    } else {
        general::assign(roster, owned)
    };
    for (partition, owner) in owners.iter_mut().enumerate() {
        *owner = owner.filter(|receiver| !claims.stand_against(partition, *receiver));
    }
    owners
}
