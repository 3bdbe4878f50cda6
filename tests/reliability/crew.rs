//! Work that is shared by the cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does every job once, each on one of as many threads as there are cores, and returns what came of them in the order of
/// the jobs. A job that panics ends them all.
pub fn share<J: Sync, T: Send>(jobs: &[J], work: impl Fn(&J) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    let work_on = || {
        while failed.lock().unwrap().is_none() {
            let number = next.fetch_add(1, Ordering::SeqCst);
            let Some(job) = jobs.get(number) else { return };
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(job))) {
                Ok(outcome) => done.lock().unwrap().push((number, outcome)),
                Err(panic) => *failed.lock().unwrap() = Some(panic),
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| _ = scope.spawn(work_on)));
    if let Some(panic) = failed.into_inner().unwrap() {
        std::panic::resume_unwind(panic);
    }
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
