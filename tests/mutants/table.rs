//! Runs the suites, first as they are, then with each fault, and prints a line for each.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ottla::internals::Mutant;

use crate::killer::{Killer, killer};
use crate::outcome::{Outcome, run};

/// So much of what a suite said stands in the table.
const MOST_SAID: usize = 220;

/// `[MUTANT…]`: those that are named, or all.
pub fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_meant = |mutant: &Mutant| names.is_empty() || names.contains(&format!("{mutant:?}"));
    let mutants: Vec<Mutant> = Mutant::ALL.iter().copied().filter(is_meant).collect();
    if mutants.len() < names.len() {
        let known: Vec<_> = Mutant::ALL.iter().map(|mutant| format!("{mutant:?}")).collect();
        eprintln!("one of {names:?} is no mutant; there are: {}", known.join(" "));
        return ExitCode::from(2);
    }
    let began = Instant::now();
    let mut killers: Vec<Killer> = Vec::new();
    for killer in mutants.iter().copied().map(killer) {
        if !killers.contains(&killer) {
            killers.push(killer);
        }
    }
    let red = count(&killers, |killer| passes(*killer));
    let survivors = count(&mutants, |mutant| is_killed(*mutant));
    println!(
        "mutants: {} suites without a mutant, {red} red; {} mutants, {} killed, {survivors} survived ({} s)",
        killers.len(),
        mutants.len(),
        mutants.len() - survivors,
        began.elapsed().as_secs()
    );
    if red + survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// For how many of them it is not true; two at a time.
fn count<T: Sync>(jobs: &[T], is_right: impl Fn(&T) -> bool + Sync) -> usize {
    let (next, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
            if !is_right(job) {
                wrong.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    wrong.into_inner()
}

/// Whether a suite is green without a mutant.
fn passes(killer: Killer) -> bool {
    let outcome = outcome(killer, None);
    let passed = matches!(outcome, Outcome::Passed(_));
    print("no mutant", killer, &describe(&outcome, "green"));
    passed
}

fn is_killed(mutant: Mutant) -> bool {
    let killer = killer(mutant);
    let outcome = outcome(killer, Some(mutant));
    let killed = matches!(outcome, Outcome::Failed(..));
    print(&format!("{mutant:?}"), killer, &describe(&outcome, "SURVIVED"));
    if !killed {
        println!("    {}", mutant.what());
    }
    killed
}

fn outcome(killer: Killer, mutant: Option<Mutant>) -> Outcome {
    killer.command(mutant).map_or_else(Outcome::Broken, run)
}

fn describe(outcome: &Outcome, if_passed: &str) -> String {
    let seconds = |took: &Duration| format!("{:.1} s", took.as_secs_f32());
    match outcome {
        Outcome::Passed(took) => format!("{if_passed} after {}", seconds(took)),
        Outcome::Failed(took, said) => {
            let said: String = said.chars().take(MOST_SAID).collect();
            format!("{} {said}", seconds(took))
        }
        Outcome::Broken(why) => format!("BROKEN {why}"),
    }
}

/// One line at a time, also where two threads print.
fn print(mutant: &str, killer: Killer, what: &str) {
    static LINE: Mutex<()> = Mutex::new(());
    let _line = LINE.lock();
    println!("{mutant:<24} {:<28} {what}", killer.to_string());
}
