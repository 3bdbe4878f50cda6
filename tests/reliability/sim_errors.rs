//! `sim_errors`: the n-th call fails, for every n; whatever the library makes of it, what it has said holds.

use ottla::internals::{CrashProfile, Fault, MemoryVfs, Operation, Repeat};

use crate::crew::share;
use crate::figures::Figures;
use crate::oracle::{check, check_power_cut_after_recovery};
use crate::recipe::{self, Recipe};
use crate::runner::Size;
use crate::told::End;
use crate::workloads::{Script, WORKLOADS, run};

const FAULTS: [Fault; 7] = [
    Fault::Io,
    Fault::NoSpace,
    Fault::Interrupted,
    Fault::TooManyFiles,
    Fault::ReadOnly,
    Fault::Short(1),
    Fault::Short(0),
];

/// A call of a workload.
struct Case {
    name: &'static str,
    script: Script,
    number: u64,
}

impl Case {
    fn recipe(&self, budget: usize) -> Recipe {
        Recipe::new("sim_errors", &[&self.name, &self.number, &budget])
    }
}

pub fn run_suite(size: Size) -> Figures {
    let stride = if recipe::is_one() { 1 } else { size.of(13, 1, 1) };
    let budget = recipe::number_at(3).unwrap_or(size.of(2, 3, 12));
    let cases = WORKLOADS.into_iter().flat_map(|workload| cases(workload, stride));
    let cases: Vec<_> = cases.filter(|case| case.recipe(budget).is_asked_for()).collect();
    let mut figures = Figures::new();
    for failures in share(&cases, |case| fail(case, budget)) {
        failures.each(|name, count| figures.add(name, count));
    }
    assert!(recipe::is_one() || figures.get("calls failed") > 500, "{figures}");
    figures.add("acknowledged records lost", 0);
    figures
}

fn cases((name, script): (&'static str, Script), stride: usize) -> impl Iterator<Item = Case> {
    let vfs = MemoryVfs::new();
    run(name, script, &vfs);
    let last = vfs.counts().all;
    (1..=last).step_by(stride).map(move |number| Case { name, script, number })
}

fn fail(case: &Case, budget: usize) -> Figures {
    let mut figures = Figures::new();
    for (fault, repeat) in FAULTS.iter().flat_map(|fault| [(*fault, Repeat::Once), (*fault, Repeat::Forever)])
    {
        // A call that is interrupted for ever is tried for ever.
        if matches!((fault, repeat), (Fault::Interrupted, Repeat::Forever)) {
            continue;
        }
        let recipe = case.recipe(budget).with(format!("{fault:?}")).with(format!("{repeat:?}"));
        if recipe.is_asked_for() {
            figures.add("calls × kinds", 1);
            fail_with(case, fault, repeat, (budget, &recipe), &mut figures);
        }
    }
    figures
}

fn fail_with(
    case: &Case,
    fault: Fault,
    repeat: Repeat,
    (budget, recipe): (usize, &Recipe),
    figures: &mut Figures,
) {
    let vfs = MemoryVfs::new();
    vfs.fail_nth(case.number, fault, repeat);
    let told = run(case.name, case.script, &vfs);
    let Some(call) = vfs.failed_call() else { return };
    figures.add("calls failed", 1);
    let what = format!("{call} {recipe}");
    // What a disk has failed to sync is as good as lost in a power cut.
    let syncs = [Operation::SyncData, Operation::SyncAll, Operation::SyncDir];
    let a_sync_failed = syncs.contains(&call.operation) || repeat == Repeat::Forever;
    let end = if a_sync_failed { End::PowerCut } else { End::Kill };
    check(&vfs.restart(), &told, end, &format!("{what}, killed"));
    let again = vfs.restart();
    // Every other time the page cache cannot be passed, and recovery writes the files anew.
    again.let_cache_be_passed(case.number.is_multiple_of(2));
    let mut images = check_power_cut_after_recovery(&again, &told, case.number, &what);
    for image in vfs.images(CrashProfile::Ordered, budget, case.number) {
        check(&image.vfs, &told, End::PowerCut, &format!("{what}, then the power: {}", image.description));
        images += 1;
    }
    figures.add("images after them", images as u64);
}
