//! What has to be done when: the chores of a broker, and the threads that do them, or whoever calls `tick`.
//!
//! A chore is asked for by a [`Reminder`], which only ever brings it forward, and says itself when it has more to do.
//! It runs on one thread at a time, and perhaps once more after it has been dropped by its owner. Nothing here knows
//! what the chores are.

#[expect(clippy::module_inception, reason = "the folder is the layer, the file is its noun")]
mod agenda;
mod crew;
#[cfg(test)]
mod tests;

pub use agenda::{Agenda, Chore, Reminder};
pub use crew::Crew;
