//! The reliability suites: the library under crashes, failures, damage and strangers, and one line of figures for each.
//!
//! `.ci/suites [quick|ci|long] [SUITE…]` runs them in one of three sizes; `cargo test` runs all of them quickly. A suite
//! does what is legal to do to a process, a disk or a directory, and holds what is left against what was acknowledged.
//! It panics at the first thing that is lost, wrong or hanging, and says how to see that again.

mod acquiring;
#[path = "../suite/adopting.rs"]
#[expect(dead_code, unused_imports, reason = "its own tests run there")]
mod adopting;
mod appender;
mod bitflip;
mod child;
mod committing;
mod crew;
mod deeds;
mod dice;
mod figures;
#[path = "../suite/giving_back.rs"]
#[expect(dead_code, unused_imports, reason = "its own tests run there")]
mod giving_back;
mod group_deeds;
mod group_ledger;
#[path = "../suite/handing_over.rs"]
#[expect(dead_code, unused_imports, reason = "its own tests run there")]
mod handing_over;
mod hostile_directory;
mod image_class;
mod kill9;
mod ledger;
mod look;
mod member;
mod member_report;
mod model;
mod opening;
mod oracle;
mod posix;
mod processes;
mod real_faults;
mod recipe;
mod record_id;
mod recoveries;
mod report;
mod rot;
mod runner;
mod scratch;
mod seeded;
mod service;
mod sim_crash;
mod sim_errors;
mod sim_kafka;
mod specimen;
mod step;
#[path = "../suite/support.rs"]
#[expect(dead_code, reason = "the other suites use all of it")]
mod support;
mod told;
mod workload;
mod workloads;

use runner::Suite;

/// In the order in which they are run.
const SUITES: &[Suite] = &[
    Suite { name: "sim_crash", run: sim_crash::run_suite },
    Suite { name: "sim_errors", run: sim_errors::run_suite },
    Suite { name: "model", run: model::run_suite },
    Suite { name: "sim_kafka", run: sim_kafka::run_suite },
    Suite { name: "bitflip", run: bitflip::run },
    Suite { name: "hostile_directory", run: hostile_directory::run },
    Suite { name: "kill9", run: kill9::run },
    Suite { name: "processes", run: processes::run },
    Suite { name: "real_faults", run: real_faults::run },
    Suite { name: "rot", run: rot::run_suite },
];

/// What a child process of a suite can be.
const ROLES: &[&[child::Role]] = &[
    &[appender::ROLE],
    &[processes::CONTENDER, processes::HOLDER, processes::FORKER],
    &hostile_directory::ROLES,
    &real_faults::ROLES,
];

fn main() -> std::process::ExitCode {
    if let Some(code) = child::play(ROLES) {
        return code;
    }
    scratch::remove_leftovers();
    runner::main(SUITES)
}
