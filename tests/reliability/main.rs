//! The reliability suites: the library under crashes, failures, damage and strangers, and one line of figures for each.
//!
//! `.ci/suites [quick|ci|long] [SUITE…]` runs them in one of three sizes; `cargo test` runs all of them quickly. A suite
//! does what is legal to do to a process, a disk or a directory, and holds what is left against what was acknowledged.
//! It panics at the first thing that is lost, wrong or hanging, and says how to see that again.

mod figures;
mod runner;

use runner::Suite;

fn main() -> std::process::ExitCode {
    const SUITES: &[Suite] = &[];
    runner::main(SUITES)
}
