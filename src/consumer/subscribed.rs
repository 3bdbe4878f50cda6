//! What a consumer in a group knows of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Broker, Membership, MembershipSettings};
use crate::error::Result;
use crate::group::Generation;
use crate::sync::Signal;

/// What a consumer in a group knows of it.
pub struct Subscribed {
    pub membership: Membership,
    pub settings: MembershipSettings,
    pub topics: BTreeSet<Arc<str>>,
    /// The one in which it was given what it has; `None` before the first, and once it was lost.
    pub generation: Option<Generation>,
    /// When it is to join, if it is.
    pub join_at: Option<Duration>,
}

impl Subscribed {
    pub fn new(
        broker: &Broker,
        group: &str,
        settings: MembershipSettings,
        topics: BTreeSet<Arc<str>>,
        signal: &Arc<Signal>,
    ) -> Result<Self> {
        let membership = Membership::new(broker.shared(), group, settings, signal)?;
        Ok(Self { membership, settings, topics, generation: None, join_at: Some(Duration::ZERO) })
    }

    pub fn is_cooperative(&self) -> bool {
        self.settings.assignor.is_cooperative()
    }

    /// It is to join at this time, or earlier.
    pub fn join(&mut self, at: Duration) {
        self.join_at = Some(self.join_at.map_or(at, |before| before.min(at)));
    }
}
