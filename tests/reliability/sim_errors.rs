//! `sim_errors`: the n-th call fails, for every n, once and for ever; whatever the library makes of it, what it has said
//! holds, and when the disk works again so does everything.

use ottla::internals::{CrashProfile, Fault, MemoryVfs, Repeat};

use crate::crew::share;
use crate::figures::Figures;
use crate::oracle::{check, open};
use crate::recipe::{self, Recipe};
use crate::recoveries::cut_power_after_recovery;
use crate::runner::Size;
use crate::service::{Service, end_process};
use crate::told::{End, Told};
use crate::workload::{Beginning, Workload};
use crate::workloads::workloads;

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
struct Case<'a> {
    workload: &'a Workload,
    beginning: &'a Beginning,
    number: u64,
}

/// One way in which it fails.
struct Failure<'a> {
    case: &'a Case<'a>,
    fault: Fault,
    repeat: Repeat,
    recipe: Recipe,
    /// So many images are looked at after it.
    images: usize,
    /// Whether recoveries of what it leaves fail as well.
    is_sampled: bool,
}

pub fn run_suite(size: Size) -> Figures {
    let images = recipe::number_at(3).unwrap_or(size.of(2, 2, 12));
    // What fails by itself keeps the fault for itself.
    let workloads = workloads().into_iter().filter(|workload| !workload.fails_a_sync());
    let workloads: Vec<_> = workloads.map(|workload| (workload.beginning(), workload)).collect();
    let cases = workloads.iter().enumerate().flat_map(|(number, (beginning, workload))| {
        let stride = if recipe::is_one() { 1 } else { size.of(61, workload.fails_each, 1) };
        cases(beginning, workload, stride, number % stride)
    });
    let cases: Vec<_> = cases.filter(|case| case.recipe(images).is_asked_for()).collect();
    let mut figures = Figures::new();
    figures.add("workloads", workloads.len() as u64);
    figures.add("calls", cases.len() as u64);
    for failures in share(&cases, |case| fail_in_every_way(case, images)) {
        failures.each(|name, count| figures.add(name, count));
    }
    let missing = figures.missing(&["poisons", "not written", "indeterminate", "failed recoveries"]);
    assert!(recipe::is_one() || missing.is_none(), "there was none: {missing:?}, {figures}");
    figures.add("acknowledged records lost", 0);
    figures
}

fn cases<'a>(
    beginning: &'a Beginning,
    workload: &'a Workload,
    stride: usize,
    first: usize,
) -> impl Iterator<Item = Case<'a>> {
    let vfs = beginning.vfs.fork();
    let before = vfs.counts().all;
    workload.run(&vfs, beginning, "without a failure", |_| ());
    let last = vfs.counts().all - before;
    (1 + first as u64..=last).step_by(stride).map(move |number| Case { workload, beginning, number })
}

impl Case<'_> {
    fn recipe(&self, images: usize) -> Recipe {
        Recipe::new("sim_errors", &[&self.workload.name, &self.number, &images])
    }
}

fn fail_in_every_way(case: &Case<'_>, images: usize) -> Figures {
    let mut figures = Figures::new();
    for (kind, fault) in FAULTS.into_iter().enumerate() {
        for repeat in [Repeat::Once, Repeat::Forever] {
            // A call that is interrupted for ever is tried for ever.
            if matches!((fault, repeat), (Fault::Interrupted, Repeat::Forever)) {
                continue;
            }
            let recipe = case.recipe(images).with(format!("{fault:?}")).with(format!("{repeat:?}"));
            if recipe.is_asked_for() {
                let is_sampled = recipe::is_one() || (case.number + kind as u64).is_multiple_of(16);
                fail(&Failure { case, fault, repeat, recipe, images, is_sampled }, &mut figures);
            }
        }
    }
    figures
}

fn fail(failure: &Failure<'_>, figures: &mut Figures) {
    let Failure { case, fault, repeat, recipe, .. } = failure;
    figures.add("calls × kinds", 1);
    let vfs = case.beginning.vfs.fork();
    vfs.fail_nth(case.number, *fault, *repeat);
    case.workload.run(&vfs, case.beginning, &recipe.to_string(), |service| {
        let failures = service.told.failures;
        figures.add("poisons", failures.poisons);
        figures.add("not written", failures.not_written);
        figures.add("indeterminate", failures.indeterminate);
        if let Some(call) = vfs.failed_call() {
            figures.add("calls failed", 1);
            look_at(service, failure, &format!("{call} {recipe}"), figures);
            service.heal();
        }
    });
}

/// Looks at what is left, by copies.
fn look_at(service: &Service, failure: &Failure<'_>, what: &str, figures: &mut Figures) {
    let (vfs, told, number) = (&service.vfs, &service.told, failure.case.number);
    let end = service.end_is();
    check(&vfs.restart(), told, end, &format!("{what}, killed"));
    let again = vfs.restart();
    // Every other time the page cache cannot be passed, and recovery writes the files anew.
    again.let_cache_be_passed(number.is_multiple_of(2));
    let mut images = 1;
    // To a recovery, a read of nothing is the end of the file.
    if failure.is_sampled && failure.fault != Fault::Short(0) {
        figures.add("failed recoveries", fail_recovery(&again, told, end, failure, what));
        images += cut_power_after_recovery(&again, told, number, what);
    }
    for image in vfs.images(CrashProfile::Ordered, failure.images, number) {
        check(&image.vfs, told, End::PowerCut, &format!("{what}, then the power: {}", image.description));
        images += 1;
    }
    figures.add("images after them", images as u64);
}

/// Calls of the recovery fail, too; when the disk works again, the next one finds everything.
fn fail_recovery(vfs: &MemoryVfs, told: &Told, end: End, failure: &Failure<'_>, what: &str) -> u64 {
    const EVERY: usize = 7;
    let whole = vfs.fork();
    let before = whole.counts().all;
    end_process(&whole, open(&whole, told).unwrap_or_else(|error| panic!("{what}: {error}")));
    let calls = whole.counts().all - before;
    let mut failed = 0;
    for call in (1 + failure.case.number % EVERY as u64..=calls).step_by(EVERY) {
        let vfs = vfs.fork();
        vfs.fail_nth(call, failure.fault, failure.repeat);
        if let Ok(broker) = open(&vfs, told) {
            end_process(&vfs, broker);
        }
        let end = if vfs.has_failed_to_sync() { End::PowerCut } else { end };
        check(&vfs.restart(), told, end, &format!("{what}, its recovery failed at call {call}"));
        failed += 1;
    }
    failed
}
