//! Which suites are run, how much of each, and what is said of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::figures::Figures;
use crate::recipe;

/// A suite: what it is called, and one run of it. It panics at what must not be.
#[derive(Clone, Copy)]
pub struct Suite {
    pub name: &'static str,
    pub run: fn(Size) -> Figures,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// What every `cargo test` does: a few seconds a suite.
    Quick,
    /// A minute or two a suite, and more of it.
    Ci,
    /// What is done now and then, for hours.
    Long,
}

impl Size {
    fn named(name: &str) -> Option<Self> {
        [("quick", Self::Quick), ("ci", Self::Ci), ("long", Self::Long)]
            .into_iter()
            .find_map(|(known, size)| (known == name).then_some(size))
    }

    /// The number for this size.
    pub fn of<T>(self, quick: T, ci: T, long: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Ci => ci,
            Self::Long => long,
        }
    }
}

/// `[SIZE [SUITE…]]`, where every name is a suite's; without a size what `cargo test` is given: parts of names.
pub fn main(suites: &[Suite]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with('-')).collect();
    let (size, names) = match arguments.split_first() {
        Some((first, rest)) if Size::named(first).is_some() => (Size::named(first), rest),
        _ => (None, arguments.as_slice()),
    };
    let is_meant = |suite: &Suite| match size {
        Some(_) => names.is_empty() || names.iter().any(|name| name == suite.name),
        None => names.is_empty() || names.iter().any(|part| suite.name.contains(part.as_str())),
    };
    let unknown = names.iter().find(|name| !suites.iter().any(|suite| suite.name == **name));
    if let (Some(_), Some(name)) = (size, unknown) {
        let known: Vec<_> = suites.iter().map(|suite| suite.name).collect();
        eprintln!("no suite is called {name}; there are: {}", known.join(" "));
        return ExitCode::from(2);
    }
    let size = size.unwrap_or(Size::Quick);
    // Counted by hand, so that one that fails does not hide the others.
    let failed = suites.iter().filter(|suite| is_meant(suite)).filter(|suite| !passes(suite, size)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(suite: &Suite, size: Size) -> bool {
    let began = Instant::now();
    // The panic has been printed by the time it arrives here.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if recipe::is_anothers(suite.name) {
            return Figures::skipped("a case of another suite is asked for");
        }
        (suite.run)(size)
    }));
    let seconds = began.elapsed().as_secs();
    match &outcome {
        Ok(figures) => println!("{}: {figures} ({seconds} s)", suite.name),
        Err(_) => println!("{}: FAILED ({seconds} s)", suite.name),
    }
    outcome.is_ok()
}
