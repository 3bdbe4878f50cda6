//! The suites, put to the test: against each deliberate fault of the library runs the suite that has to notice it.
//!
//! It needs the model checker's build, which holds the [faults](ottla::internals::Mutant), and in which the environment
//! chooses one: `.ci/mutants [MUTANT…]` makes it, and hands over where the suites are. In any other build there is
//! nothing to run. A suite that passes with a fault in the library has a hole; one that fails without is worth nothing.

#[cfg(ottla_check)]
mod killer;
#[cfg(ottla_check)]
mod outcome;
#[cfg(ottla_check)]
mod table;

#[cfg(not(ottla_check))]
fn main() {
    println!("mutants: skipped, they need a build of their own: .ci/mutants");
}

#[cfg(ottla_check)]
fn main() -> std::process::ExitCode {
    table::main()
}
