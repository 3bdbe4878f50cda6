//! The model checker: the real library on a file system in memory, its threads in every order that a scheduler of
//! shuttle's comes upon.
//!
//! It needs a build of its own, `RUSTFLAGS="--cfg ottla_check"`, in which `src/sync` takes its locks and threads from
//! the checker: `.ci/check` makes it, and runs `check [quick|ci|long] [NAME…]`. In any other build there is nothing to
//! run. A failure leaves its schedule in a file, and says how to run it again.
//!
//! A check is an entry of its module's `CHECKS`: a name, and a function that is one execution. Whatever it starts is
//! joined when it returns, the clock is driven by hand, and nothing else is left to chance but what
//! [`world::chance`] says, so that a schedule can be replayed.

#[cfg(ottla_check)]
mod agenda;
#[cfg(ottla_check)]
mod altering;
#[cfg(ottla_check)]
mod background;
#[cfg(ottla_check)]
mod close;
#[cfg(ottla_check)]
mod conditions;
#[cfg(ottla_check)]
mod deliveries;
#[cfg(ottla_check)]
mod descriptors;
#[cfg(ottla_check)]
mod disk;
#[cfg(ottla_check)]
mod evidence;
#[cfg(ottla_check)]
mod explore;
#[cfg(ottla_check)]
mod faults;
#[cfg(ottla_check)]
mod group_commit;
#[cfg(ottla_check)]
mod hanging;
#[cfg(ottla_check)]
mod levels;
#[cfg(ottla_check)]
mod memory;
#[cfg(ottla_check)]
mod parked;
#[cfg(ottla_check)]
mod publish;
#[cfg(ottla_check)]
mod reopening;
#[cfg(ottla_check)]
mod schedule;
#[cfg(ottla_check)]
mod streams;
#[cfg(ottla_check)]
mod told;
#[cfg(ottla_check)]
mod wakeups;
#[cfg(ottla_check)]
mod world;

#[cfg(not(ottla_check))]
fn main() {
    println!("check: skipped, the model checker needs a build of its own: .ci/check");
}

#[cfg(ottla_check)]
fn main() -> std::process::ExitCode {
    let themes = [
        publish::CHECKS,
        group_commit::CHECKS,
        faults::CHECKS,
        close::CHECKS,
        levels::CHECKS,
        conditions::CHECKS,
        evidence::CHECKS,
        background::CHECKS,
        agenda::CHECKS,
        altering::CHECKS,
        deliveries::CHECKS,
        descriptors::CHECKS,
        hanging::CHECKS,
        memory::CHECKS,
        reopening::CHECKS,
        streams::CHECKS,
        wakeups::CHECKS,
    ];
    explore::main(&themes.concat())
}
