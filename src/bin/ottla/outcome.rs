//! How a command has ended that did what was asked for, and its exit code.

use std::process::ExitCode;

/// What 3 says: everything was done, and damage was found.
const DAMAGE_FOUND: u8 = 3;

/// How a command has ended; one that could not do its work ends with a [`Failure`](crate::failure::Failure).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Files were looked at, and some are damaged.
    DamageFound,
}

impl Outcome {
    pub fn of_sound(is_sound: bool) -> Self {
        if is_sound { Self::Done } else { Self::DamageFound }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::DamageFound => Self::from(DAMAGE_FOUND),
        }
    }
}
