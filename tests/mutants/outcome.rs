//! How a suite ended, and what it said.

use std::io::{Read, pipe};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// A suite that takes longer hangs, which is no verdict: those that look for hangs say so themselves.
const MOST: Duration = Duration::from_secs(120);

/// What came of a suite.
#[derive(Debug)]
pub enum Outcome {
    Passed(Duration),
    /// It said that something is wrong: what it said first.
    Failed(Duration, String),
    /// It came to no verdict.
    Broken(String),
}

/// Runs a suite to its end, or for as long as it may take.
pub fn run(mut command: Command) -> Outcome {
    let began = Instant::now();
    let (mut from, to) = match pipe() {
        Ok(ends) => ends,
        Err(error) => return Outcome::Broken(error.to_string()),
    };
    let spawned = to.try_clone().and_then(|other| command.stdout(other).stderr(to).spawn());
    // It holds the ends to which the suite writes.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Outcome::Broken(error.to_string()),
    };
    let (told, tells) = channel();
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        _ = from.read_to_end(&mut said);
        _ = told.send(());
        String::from_utf8_lossy(&said).into_owned()
    });
    let has_hung = tells.recv_timeout(MOST).is_err();
    if has_hung {
        _ = child.kill();
    }
    let status = child.wait();
    let said = reader.join().unwrap_or_default();
    match status {
        _ if has_hung => Outcome::Broken(format!("hangs: no verdict in {} s", MOST.as_secs())),
        Err(error) => Outcome::Broken(error.to_string()),
        Ok(status) => judge(status, &said, began.elapsed()),
    }
}

/// A suite fails with a word of its own; anything else is a suite that did not run.
fn judge(status: ExitStatus, said: &str, took: Duration) -> Outcome {
    if status.success() {
        return Outcome::Passed(took);
    }
    if said.contains("FAILED") {
        Outcome::Failed(took, first_panic(said))
    } else {
        Outcome::Broken(tail(said))
    }
}

/// What the first panic says: the line behind `thread … panicked at …`.
fn first_panic(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains(" panicked at "));
    let place = lines.next().unwrap_or_default();
    let what = lines.next().unwrap_or_default().trim();
    if what.is_empty() { place.to_owned() } else { what.to_owned() }
}

fn tail(said: &str) -> String {
    format!("no verdict: {}", said.lines().last().unwrap_or("it said nothing"))
}
