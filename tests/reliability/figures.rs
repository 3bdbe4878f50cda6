//! What a suite has done, in the order in which it is told.

use std::fmt;

/// Numbers with their names, printed in one line.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    numbers: Vec<(String, u64)>,
    /// Why there are none.
    skipped: Option<String>,
    /// What of it was left out, and why.
    lacks: Vec<String>,
}

impl Figures {
    pub fn new() -> Self {
        Self::default()
    }

    /// A suite that this machine cannot run: what it lacks.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::default() }
    }

    /// Says that a part was left out: which, and what this machine lacks for it.
    pub fn lack(&mut self, what: impl Into<String>) {
        self.lacks.push(what.into());
    }

    /// Adds to a number, which stands where it was first named.
    pub fn add(&mut self, name: &str, count: u64) {
        match self.numbers.iter_mut().find(|(known, _)| known == name) {
            Some((_, number)) => *number += count,
            None => self.numbers.push((name.to_owned(), count)),
        }
    }

    /// Shows every number.
    pub fn each(&self, mut show: impl FnMut(&str, u64)) {
        self.numbers.iter().for_each(|(name, count)| show(name, *count));
    }

    /// What was counted under this name.
    pub fn get(&self, name: &str) -> u64 {
        self.numbers.iter().find(|(known, _)| known == name).map_or(0, |(_, number)| *number)
    }

    /// The name of the first number that must be above zero and is not: what was not met was not tested.
    pub fn missing<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names.iter().find(|name| self.get(name) == 0).copied()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.skipped {
            return write!(f, "skipped: {why}");
        }
        for (number, (name, count)) in self.numbers.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {name}")?;
        }
        for what in &self.lacks {
            write!(f, "; without {what}")?;
        }
        Ok(())
    }
}
