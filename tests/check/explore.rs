//! Runs checks: each under a random scheduler and under one that interrupts seldom, side by side.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use shuttle::scheduler::{
    PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::schedule::{Recorder, Replay, Tally, lock, print};

/// One execution of a workload, which panics if something is wrong.
#[derive(Clone, Copy)]
pub struct Check {
    pub name: &'static str,
    pub run: fn(),
}

/// How often a check runs under each scheduler: for a look, for every change, for a night.
const EXECUTIONS: [(&str, usize); 3] = [("quick", 400), ("ci", 2000), ("long", 100_000)];
/// The file of a schedule to be run again.
const REPLAY: &str = "OTTLA_REPLAY";
/// An execution with more steps than this does not end.
const MOST_STEPS: usize = 200_000;
/// A stack that the whole library has room in.
const STACK: usize = 512 * 1024;
/// So many priority changes are tried at most; most faults of concurrency need one or two.
const DEPTH: usize = 4;

/// `check [quick|ci|long] [NAME…]`: a name stands for every check that begins with it.
pub fn main(checks: &[Check]) -> ExitCode {
    let mut words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let named = EXECUTIONS.iter().find(|(name, _)| words.first().is_some_and(|word| word == name));
    if named.is_some() {
        words.remove(0);
    }
    let (_, executions) = *named.unwrap_or(&EXECUTIONS[0]);
    let is_chosen =
        |check: &&Check| words.is_empty() || words.iter().any(|word| check.name.starts_with(word));
    let chosen: Vec<_> = checks.iter().filter(is_chosen).copied().collect();
    if chosen.is_empty() {
        let names: Vec<_> = checks.iter().map(|check| check.name).collect();
        eprintln!("no check is called {words:?}; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    save_schedules_of_panics();
    if let Some(path) = std::env::var_os(REPLAY) {
        return replay(&chosen, Path::new(&path));
    }
    let began = Instant::now();
    let outcomes: Vec<_> = chosen.iter().map(|check| explore(*check, executions)).collect();
    let total: usize = outcomes.iter().map(|outcome| outcome.executions).sum();
    let failures = outcomes.iter().filter(|outcome| outcome.failed).count();
    let (count, seconds) = (chosen.len(), began.elapsed().as_secs());
    println!("check: {count} checks, {total} executions in {seconds} s, failures {failures}");
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Outcome {
    executions: usize,
    failed: bool,
}

/// Runs the check so often under each scheduler, and says what came of it.
fn explore(check: Check, executions: usize) -> Outcome {
    let Check { name, .. } = check;
    let began = Instant::now();
    // A workload that goes another way at the second time cannot be replayed.
    let twice = move || UncontrolledNondeterminismCheckScheduler::new(RandomScheduler::new(3));
    let has_failed = Arc::new(AtomicBool::new(false));
    let others = Arc::clone(&has_failed);
    let random = thread::spawn(move || {
        let first = run(check, "twice", twice(), &has_failed);
        let second = run(check, "random", RandomScheduler::new(executions), &has_failed);
        [first, second]
    });
    let seldom = thread::spawn(move || [run(check, "seldom", PctScheduler::new(DEPTH, executions), &others)]);
    let runs = [random.join().unwrap().as_slice(), seldom.join().unwrap().as_slice()].concat();

    let sum = |of: fn(&Run) -> usize| -> usize { runs.iter().map(of).sum() };
    let (executions, schedules) = (sum(|run| run.executions), sum(|run| run.schedules));
    let failures = sum(|run| usize::from(run.failed));
    let steps = runs.iter().map(|run| run.most_steps).max().unwrap_or_default();
    let seconds = began.elapsed().as_secs_f32();
    println!(
        "check {name}: {executions} executions, {schedules} schedules of up to {steps} steps in {seconds:.1} s, \
         failures {failures}"
    );
    Outcome { executions, failed: failures > 0 }
}

#[derive(Clone, Copy)]
struct Run {
    executions: usize,
    schedules: usize,
    most_steps: usize,
    failed: bool,
}

fn run(
    check: Check,
    how: &'static str,
    scheduler: impl Scheduler + 'static,
    has_failed: &Arc<AtomicBool>,
) -> Run {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let at_work = AtWork { name: check.name, how, tally: Arc::clone(&tally), saved: false };
    AT_WORK.set(Some(at_work));
    let runner = Runner::new(Recorder::new(scheduler, &tally, has_failed), config());
    let failed = catch_unwind(AssertUnwindSafe(|| runner.run(check.run))).is_err();
    has_failed.fetch_or(failed, Ordering::SeqCst);
    AT_WORK.set(None);
    let tally = lock(&tally);
    let executions = tally.executions + usize::from(failed);
    Run { executions, schedules: tally.schedules.len(), most_steps: tally.most_steps, failed }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    // The schedule is saved by the hook below.
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    config
}

fn replay(chosen: &[Check], path: &Path) -> ExitCode {
    let [check] = chosen else {
        eprintln!("{REPLAY} runs one check: name it");
        return ExitCode::from(2);
    };
    match Replay::load(path) {
        Err(error) => {
            eprintln!("{REPLAY}: {error}");
            ExitCode::from(2)
        }
        Ok(replay) => {
            let failed = run(*check, "replay", replay, &Arc::default()).failed;
            println!("check {}: the schedule {}", check.name, if failed { "fails" } else { "passes" });
            if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
    }
}

// ---- The schedule of a failure ----

struct AtWork {
    name: &'static str,
    how: &'static str,
    tally: Arc<Mutex<Tally>>,
    saved: bool,
}

thread_local! {
    /// What this thread explores.
    static AT_WORK: RefCell<Option<AtWork>> = const { RefCell::new(None) };
}

/// Has the first panic of an execution save its schedule: unwinding, the panicking thread goes through the library
/// once more, and may bring down the process.
fn save_schedules_of_panics() {
    let print_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print_panic(panic);
        AT_WORK.with_borrow_mut(|at_work| {
            if let Some(at_work) = at_work.as_mut().filter(|at_work| !at_work.saved) {
                at_work.saved = true;
                at_work.save();
            }
        });
    }));
}

impl AtWork {
    fn save(&self) {
        let Self { name, how, .. } = self;
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{how}.schedule"));
        let Ok(tally) = self.tally.try_lock() else { return };
        match std::fs::write(&path, print(&tally.steps)) {
            Ok(()) => eprintln!(
                "check {name}: FAILED in execution {} ({how}); again: {REPLAY}={} .ci/check quick {name}",
                tally.executions + 1,
                path.display()
            ),
            Err(error) => eprintln!("check {name}: FAILED, and {}: {error}", path.display()),
        }
    }
}
