//! `model`: a service does anything at all, in any order, and a vector of records is all that it is held against, and what
//! its group was told that it has committed. Between its calls it is killed, the power fails, calls of the file system
//! fail, clocks are set, and wakers panic.

use std::time::Duration;

use ottla::Durability;
use ottla::internals::{CrashProfile, Fault, MemoryVfs, Repeat};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::crew::share;
use crate::figures::Figures;
use crate::oracle::check;
use crate::recipe::{self, Recipe};
use crate::runner::Size;
use crate::service::Service;
use crate::step::{Change, Step};
use crate::told::{End, Place, Told};

/// Steps of a case.
const STEPS: usize = 100;

pub fn run_suite(size: Size) -> Figures {
    let cases: Vec<u64> = (0..size.of(40, 2_000, 40_000)).collect();
    let asked: Vec<_> = match recipe::number_at(1) {
        Some(seed) => vec![seed as u64],
        None => cases,
    };
    let mut figures = Figures::new();
    figures.add("cases", asked.len() as u64);
    figures.add("steps each", STEPS as u64);
    for Told { failures, commits, .. } in share(&asked, |seed| run_case(*seed)) {
        figures.add("commits", commits);
        figures.add("poisons", failures.poisons);
        figures.add("not written", failures.not_written);
        figures.add("indeterminate", failures.indeterminate);
    }
    let missing = figures.missing(&["commits", "poisons", "not written", "indeterminate"]);
    assert!(recipe::is_one() || missing.is_none(), "there was none: {missing:?}, {figures}");
    figures.add("acknowledged records lost", 0);
    figures
}

/// Takes the steps of a seed; where they fail, finds fewer that do.
fn run_case(seed: u64) -> Told {
    let recipe = Recipe::new("model", &[&seed]);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let steps = proptest::collection::vec(step(), STEPS).new_tree(&mut runner).unwrap().current();
    let attempt = |steps: &[Step]| {
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(steps, &recipe)));
        lived.map_err(|panic| said(panic.as_ref()))
    };
    match attempt(&steps) {
        Ok(told) => told,
        Err(reason) => {
            // What fails with fewer steps is said at the end.
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| {}));
            let (steps, reason) = shrink(steps, reason, attempt);
            std::panic::set_hook(hook);
            panic!("{reason} {recipe}; so it is after {steps:?}")
        }
    }
}

/// Leaves steps out, many and then few at a time, as long as it still fails.
fn shrink(
    mut steps: Vec<Step>,
    mut reason: String,
    attempt: impl Fn(&[Step]) -> Result<Told, String>,
) -> (Vec<Step>, String) {
    let mut count = steps.len() / 2;
    while count > 0 {
        let mut at = 0;
        while at < steps.len() {
            let end = steps.len().min(at + count);
            let fewer = [&steps[..at], &steps[end..]].concat();
            match attempt(&fewer) {
                Ok(_) => at = end,
                Err(still) => (steps, reason) = (fewer, still),
            }
        }
        count /= 2;
    }
    (steps, reason)
}

/// The message of a panic.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("a panic without a text").to_owned()
}

fn live(steps: &[Step], recipe: &Recipe) -> Told {
    let vfs = MemoryVfs::new();
    let mut service = Service::begin(&vfs, Told::default(), true, recipe.to_string());
    service.take_all(steps);
    let (vfs, told, end) = (service.vfs.clone(), service.told.clone(), service.end_is());
    check(&vfs.restart(), &told, end, &format!("at last, killed {recipe}"));
    for image in vfs.images(CrashProfile::Adversarial, 3, 0) {
        check(&image.vfs, &told, End::PowerCut, &format!("at last, {} {recipe}", image.description));
    }
    told
}

// ---- What may come next ----

const PLACES: [Place; 7] = ["a", "a/1", "a/2", "os", "os/1", "interval", "lz4"];
const TOPICS: [Place; 4] = ["a", "os", "interval", "lz4"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (place(), sizes(900, 4)).prop_map(|(place, sizes)| Step::Send(place, sizes)),
        8 => (place(), sizes(900, 3)).prop_map(|(place, sizes)| Step::Leave(place, sizes)),
        6 => (place(), sizes(280, 3)).prop_map(|(place, sizes)| Step::Batch(place, sizes)),
        3 => (place(), 4..900_usize).prop_map(|(place, size)| Step::Expect(place, size)),
        3 => (place(), 4..900_usize, any::<bool>()).prop_map(|(place, size, panics)| Step::Await(place, size, panics)),
        3 => place().prop_map(Step::Commit),
        2 => (place(), 0..1_000_u64).prop_map(|(place, number)| Step::CommitAt(place, number)),
        2 => (place(), 0..1_000_u64).prop_map(|(place, number)| Step::MoveGroup(place, number)),
        1 => Just(Step::DeleteGroup),
        4 => topic().prop_map(Step::Flush),
        3 => topic().prop_map(Step::Sync),
        1 => topic().prop_map(Step::Create),
        1 => topic().prop_map(Step::Delete),
        2 => change().prop_map(|(topic, change)| Step::Alter(topic, change)),
        1 => prop_oneof![Just("a"), Just("os")].prop_map(Step::Grow),
        3 => Just(Step::Reopen),
        5 => Just(Step::Look),
        6 => Just(Step::Tick),
        5 => (0..2_000_u64).prop_map(|time| Step::Advance(Duration::from_millis(time))),
        1 => (-100_000..100_000_i64).prop_map(Step::SetWall),
        1 => Just(Step::PassInterval("interval")),
        1 => Just(Step::Overdue("interval")),
        2 => Just(Step::Kill),
        3 => (profile(), 0..100_u64).prop_map(|(profile, number)| Step::PowerCut(profile, number)),
        1 => Just(Step::FailSync),
        2 => (1..40_u64, fault()).prop_map(|(call, (fault, repeat))| Step::Fail(call, fault, repeat)),
        3 => Just(Step::Heal),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    proptest::sample::select(PLACES.as_slice())
}

fn topic() -> impl Strategy<Value = Place> {
    proptest::sample::select(TOPICS.as_slice())
}

fn sizes(most: usize, count: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(4..most, 1..=count)
}

fn profile() -> impl Strategy<Value = CrashProfile> {
    use CrashProfile::{Adversarial, Ordered, Prefix, Strict};
    proptest::sample::select([Strict, Prefix, Ordered, Adversarial].as_slice())
}

fn fault() -> impl Strategy<Value = (Fault, Repeat)> {
    use Fault::{Interrupted, Io, NoSpace, ReadOnly, Short, TooManyFiles};
    let once =
        proptest::sample::select([Io, NoSpace, Interrupted, TooManyFiles, ReadOnly, Short(7)].as_slice());
    let forever = proptest::sample::select([Io, NoSpace, TooManyFiles, ReadOnly].as_slice());
    prop_oneof![
        once.prop_map(|fault| (fault, Repeat::Once)),
        forever.prop_map(|fault| (fault, Repeat::Forever)),
    ]
}

fn change() -> impl Strategy<Value = (Place, Change)> {
    const CHANGES: [(Place, Change); 4] = [
        ("a", Change("2 KiB", |config| config.segment_bytes(2048))),
        ("a", Change("1 KiB", |config| config.segment_bytes(1024))),
        ("os", Change("synced", |config| config.durability(Durability::Synced))),
        ("os", Change("os", |config| config.durability(Durability::Os))),
    ];
    proptest::sample::select(CHANGES.as_slice())
}
