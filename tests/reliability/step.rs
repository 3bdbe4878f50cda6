//! What a service does next: one call, or a few that belong together.

use std::time::Duration;

use ottla::TopicConfig;
use ottla::internals::{CrashProfile, Fault, Repeat};

use crate::told::Place;

/// A change of a configuration.
#[derive(Clone, Copy)]
pub struct Change(pub &'static str, pub fn(TopicConfig) -> TopicConfig);

#[derive(Clone, Debug)]
pub enum Step {
    /// Sends records of these sizes, and waits for the last one.
    Send(Place, Vec<usize>),
    /// Sends records of these sizes, and nobody waits.
    Leave(Place, Vec<usize>),
    /// Sends them as one batch, and waits for it.
    Batch(Place, Vec<usize>),
    /// Sends a record that is to get the next offset, and one that is to get another and is refused.
    Expect(Place, usize),
    /// Awaits a record, by a waker that panics or does not, while somebody ticks.
    Await(Place, usize, bool),
    /// Joins the group, reads to the end, commits that, and leaves.
    Commit(Place),
    /// Joins the group, and commits some offset with words beside it.
    CommitAt(Place, u64),
    /// Moves what the group has committed.
    MoveGroup(Place, u64),
    DeleteGroup,
    /// Joins a group with a dead-letter topic, acquires to the end, accepts some, rejects some, commits, and leaves.
    Work(Place),
    /// Has everything written that was sent to a topic.
    Flush(Place),
    /// Has everything synced that was sent to a topic.
    Sync(Place),
    Create(Place),
    Delete(Place),
    Alter(Place, Change),
    /// Adds a partition, up to four.
    Grow(Place),
    /// Closes the broker.
    Close,
    /// Closes the broker and opens it again.
    Reopen,
    /// Reopens a partition after a failure.
    Mend(Place),
    /// Reads everything, and holds it against what was told.
    Look,
    Tick,
    Advance(Duration),
    /// The wall clock is set, to so many milliseconds before or after what it said at first.
    SetWall(i64),
    /// Lets the interval of an interval topic pass, and learns from the next record whether the sync has failed.
    PassInterval(Place),
    /// Lets more than the interval pass and nobody ticks: the next record waits for the sync of the last.
    Overdue(Place),
    /// The next sync of a file fails, and what it was to sync is lost.
    FailSync,
    /// From here on the call of this number fails.
    Fail(u64, Fault, Repeat),
    /// The disk works again, and another process opens the directory.
    Heal,
    /// The process dies, and another one opens the directory.
    Kill,
    /// The power fails, and somebody opens what that has left: the image of this profile and number.
    PowerCut(CrashProfile, u64),
}

impl Step {
    /// The partition that it is about, if it is about one.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Send(place, _)
            | Self::Leave(place, _)
            | Self::Batch(place, _)
            | Self::Expect(place, _)
            | Self::Commit(place)
            | Self::CommitAt(place, _)
            | Self::MoveGroup(place, _)
            | Self::Await(place, ..) => Some(place),
            _ => None,
        }
    }
}

pub fn send(place: Place, sizes: &[usize]) -> Step {
    Step::Send(place, sizes.to_vec())
}

pub fn leave(place: Place, sizes: &[usize]) -> Step {
    Step::Leave(place, sizes.to_vec())
}

pub fn batch(place: Place, sizes: &[usize]) -> Step {
    Step::Batch(place, sizes.to_vec())
}

pub fn alter(topic: Place, name: &'static str, change: fn(TopicConfig) -> TopicConfig) -> Step {
    Step::Alter(topic, Change(name, change))
}

pub fn advance(milliseconds: u64) -> Step {
    Step::Advance(Duration::from_millis(milliseconds))
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}
