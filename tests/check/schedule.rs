//! A schedule: who went on at each step of an execution, and what chance said; recorded, written down, replayed.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// One decision of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Task(usize),
    Chance(u64),
}

/// What became of the executions of one scheduler.
#[derive(Debug, Default)]
pub struct Tally {
    pub executions: usize,
    /// By a hash, since they are many.
    pub schedules: HashSet<u64>,
    /// Of the execution at work.
    pub steps: Vec<Step>,
    hash: u64,
    pub most_steps: usize,
}

impl Tally {
    fn push(&mut self, step: Step) {
        let number = match step {
            Step::Task(id) => id as u64,
            Step::Chance(number) => !number,
        };
        self.hash = (self.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.steps.push(step);
    }

    fn end(&mut self) {
        if !self.steps.is_empty() {
            self.executions += 1;
            self.schedules.insert(self.hash);
            self.most_steps = self.most_steps.max(self.steps.len());
        }
        (self.hash, self.steps) = (0, Vec::new());
    }
}

/// Keeps the tally of a scheduler, which ends once another one of its check has come upon a failure.
pub struct Recorder<S> {
    inner: S,
    tally: Arc<Mutex<Tally>>,
    has_failed: Arc<AtomicBool>,
}

impl<S> Recorder<S> {
    pub fn new(inner: S, tally: &Arc<Mutex<Tally>>, has_failed: &Arc<AtomicBool>) -> Self {
        Self { inner, tally: Arc::clone(tally), has_failed: Arc::clone(has_failed) }
    }
}

impl<S: Scheduler> Scheduler for Recorder<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        lock(&self.tally).end();
        if self.has_failed.load(Ordering::SeqCst) {
            return None;
        }
        self.inner.new_execution()
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let next = self.inner.next_task(runnable, current, yields)?;
        lock(&self.tally).push(Step::Task(next.into()));
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        let number = self.inner.next_u64();
        lock(&self.tally).push(Step::Chance(number));
        number
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes once through what was recorded. Behind its end, which is where the execution failed, anybody goes on.
pub struct Replay {
    steps: std::vec::IntoIter<Step>,
    begun: bool,
}

impl Replay {
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let steps = parse(&text).ok_or_else(|| format!("{}: no schedule", path.display()))?;
        Ok(Self { steps: steps.into_iter(), begun: false })
    }
}

impl Scheduler for Replay {
    fn new_execution(&mut self) -> Option<Schedule> {
        (!std::mem::replace(&mut self.begun, true)).then(|| Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], _: Option<TaskId>, _: bool) -> Option<TaskId> {
        let wanted = match self.steps.next() {
            None => return Some(runnable[0].id()),
            Some(Step::Task(id)) => TaskId::from(id),
            Some(Step::Chance(_)) => panic!("the schedule is not one of this code: it has a chance here"),
        };
        let found = runnable.iter().any(|task| task.id() == wanted);
        assert!(found, "the schedule is not one of this code: {wanted:?} cannot go on here");
        Some(wanted)
    }

    fn next_u64(&mut self) -> u64 {
        match self.steps.next() {
            None => 0,
            Some(Step::Chance(number)) => number,
            Some(Step::Task(id)) => panic!("the schedule is not one of this code: task {id} goes on here"),
        }
    }
}

/// A word for each stretch of one task, as `2x17`, and for each chance, as `?5`.
pub fn print(steps: &[Step]) -> String {
    let mut text = String::new();
    for stretch in steps.chunk_by(|one, other| matches!(one, Step::Task(_)) && one == other) {
        _ = match stretch {
            [Step::Chance(number), ..] => write!(text, "?{number} "),
            [Step::Task(id), ..] => write!(text, "{id}x{} ", stretch.len()),
            [] => Ok(()),
        };
    }
    text.push('\n');
    text
}

fn parse(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('?') {
            Some(number) => steps.push(Step::Chance(number.parse().ok()?)),
            None => {
                let (id, times) = word.split_once('x')?;
                steps.extend(std::iter::repeat_n(Step::Task(id.parse().ok()?), times.parse().ok()?));
            }
        }
    }
    Some(steps)
}
