//! What a coordinator allows its groups.

use std::time::Duration;

/// What a coordinator allows its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// The shortest session timeout that a member may have: `group.min.session.timeout.ms`. Default: 6 s.
    pub min_session_timeout: Duration,
    /// The longest: `group.max.session.timeout.ms`. Default: 30 min.
    pub max_session_timeout: Duration,
    /// How many members a group may have: `group.max.size`. Who is in already keeps the place. Default: no limit.
    pub max_size: usize,
    /// How long the first member of an empty group waits for others: `group.initial.rebalance.delay.ms`. If some come it waits
    /// again, up to the longest rebalance timeout in all. Default: 0 (Kafka: 3 s).
    pub initial_rebalance_delay: Duration,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            max_size: usize::MAX,
            initial_rebalance_delay: Duration::ZERO,
        }
    }
}
