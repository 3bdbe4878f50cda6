//! `sim_kafka`: crashes while a directory goes over from Kafka to us, back again, or a topic of it does. At every moment
//! it is somebody's, whole, and doing it again ends as if nothing had happened.

use std::path::Path;

use ottla::ErrorKind;
use ottla::internals::{CrashProfile, MemoryVfs, Vfs};

use crate::adopting::{Kafkas, adopt, assert_taken_over, open};
use crate::crew::share;
use crate::figures::Figures;
use crate::giving_back::{appended_to, assert_kafkas, record_count, undo};
use crate::handing_over::{KAFKA, assert_handed_over, both, expected, kafka, of, read_all, run};
use crate::recipe::{self, Recipe};
use crate::runner::Size;
use crate::support::ROOT;

/// Something that is interrupted.
struct Transfer {
    name: &'static str,
    begin: MemoryVfs,
    /// Whether it was done.
    act: fn(&MemoryVfs) -> bool,
    /// Judges what is left, does it again, and judges that; returns what it has seen.
    judge: fn(&MemoryVfs, &str) -> &'static str,
}

/// One of the calls at which it is.
struct Point<'a> {
    transfer: &'a Transfer,
    number: u64,
}

impl Point<'_> {
    fn recipe(&self, budget: usize) -> Recipe {
        Recipe::new("sim_kafka", &[&self.transfer.name, &self.number, &budget])
    }
}

/// What must have been met, where every call is tried.
const SEEN: [&str; 6] =
    ["Kafka's still", "ours already", "on the way back", "back again", "not begun", "handed over"];

pub fn run_suite(size: Size) -> Figures {
    let stride = if recipe::is_one() { 1 } else { size.of(7, 1, 1) };
    let budget = recipe::number_at(3).unwrap_or(size.of(4, 10, 60));
    let transfers = transfers();
    let points = transfers.iter().flat_map(|transfer| points(transfer, stride));
    let points: Vec<_> = points.filter(|point| point.recipe(budget).is_asked_for()).collect();
    let mut figures = Figures::new();
    figures.add("crash points", points.len() as u64);
    for seen in share(&points, |point| crash_at(point, budget)) {
        seen.each(|name, count| figures.add(name, count));
    }
    let missing = figures.missing(&SEEN);
    assert!(recipe::is_one() || stride > 1 || missing.is_none(), "nothing was {missing:?}: {figures}");
    figures.add("acknowledged records lost", 0);
    figures
}

fn points(transfer: &Transfer, stride: usize) -> impl Iterator<Item = Point<'_>> {
    let vfs = transfer.begin.fork();
    let before = vfs.counts().changing;
    assert!((transfer.act)(&vfs), "{}", transfer.name);
    let calls = vfs.counts().changing - before;
    (0..calls).step_by(stride).map(move |number| Point { transfer, number })
}

fn crash_at(point: &Point<'_>, budget: usize) -> Figures {
    let (transfer, mut seen) = (point.transfer, Figures::new());
    let vfs = transfer.begin.fork();
    vfs.stop_after(point.number);
    if (transfer.act)(&vfs) {
        seen.add("done without the last calls", 1);
        return seen;
    }
    let recipe = point.recipe(budget);
    let mut judge = |vfs: &MemoryVfs, recipe: &Recipe, description: &str| {
        if recipe.is_asked_for() {
            let what = format!("{description} {recipe}");
            seen.add("directories", 1);
            seen.add((transfer.judge)(vfs, &what), 1);
        }
    };
    judge(&vfs.restart(), &recipe.with("killed"), "killed");
    for profile in [CrashProfile::Strict, CrashProfile::Ordered, CrashProfile::Adversarial] {
        let recipe = recipe.with(format!("{profile:?}"));
        for (number, image) in vfs.images(profile, budget, point.number).enumerate() {
            judge(&image.vfs, &recipe.with(number), &image.description);
        }
    }
    seen
}

fn transfers() -> Vec<Transfer> {
    let mut transfers = Vec::new();
    for (stop, kafkas) in [("stopped", Kafkas::stopped_in_order()), ("killed", Kafkas::killed())] {
        let stopped = stop == "stopped";
        let (adopted, returned) = if stopped {
            ("adoption after a stop", "return after a stop")
        } else {
            ("adoption after a kill", "return after a kill")
        };
        let left = appended_to(&kafkas, stopped);
        transfers.push(Transfer {
            name: adopted,
            begin: kafkas.vfs,
            act: |vfs| adopt(vfs).map(std::mem::forget).is_ok(),
            judge: judge_adoption,
        });
        transfers.push(Transfer {
            name: returned,
            begin: left,
            act: |vfs| undo(vfs).is_ok(),
            judge: judge_return,
        });
    }
    transfers.push(Transfer {
        name: "hand-over",
        begin: both(),
        act: |vfs| run(vfs, of("orders")).is_ok(),
        judge: |vfs, what| judge_hand_over(vfs, false, what),
    });
    transfers.push(Transfer {
        name: "hand-over that gives up",
        begin: both(),
        act: |vfs| run(vfs, of("orders").give_up(true)).is_ok(),
        judge: |vfs, what| judge_hand_over(vfs, true, what),
    });
    transfers
}

fn holds(vfs: &MemoryVfs, name: &str) -> bool {
    vfs.kind(&Path::new(ROOT).join(name)).unwrap().is_some()
}

/// The directory is Kafka's or ours, and whichever it is, everything is there.
fn judge_adoption(vfs: &MemoryVfs, what: &str) -> &'static str {
    let is_kafkas = holds(vfs, "meta.properties");
    let broker = adopt(vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(broker.recovery_report().is_adopted(), is_kafkas, "{what}");
    assert_taken_over(vfs, broker, what);
    if is_kafkas { "Kafka's still" } else { "ours already" }
}

/// While it is on its way back nobody opens the directory.
fn judge_return(vfs: &MemoryVfs, what: &str) -> &'static str {
    let (is_kafkas, is_returning) = (holds(vfs, "meta.properties"), holds(vfs, "ottla.returning"));
    if is_kafkas || is_returning {
        let error = open(vfs).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::DirectoryNotOurs, "{what}: {error}");
    } else {
        let broker = open(&vfs.restart()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(record_count(&broker), 25, "{what}");
    }
    if !is_kafkas || is_returning {
        undo(vfs).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_kafkas(vfs, what);
    match (is_kafkas, is_returning) {
        (_, true) => "on the way back",
        (true, false) => "back again",
        (false, false) => "ours still",
    }
}

/// Either side can be opened, and every partition of Kafka's is empty or complete.
fn judge_hand_over(vfs: &MemoryVfs, gives_up: bool, what: &str) -> &'static str {
    let ours = read_all(vfs, ROOT, false);
    assert!(ours.is_none() || ours == Some(expected()), "{what}: {ours:?}");
    let mut seen = "half of Kafka's directories there";
    if ["orders-0", "orders-1"].iter().all(|name| vfs.kind(&kafka(name)).unwrap().is_some()) {
        let found = read_all(vfs, KAFKA, true).unwrap();
        assert!(found.is_empty() || found == expected(), "{what}: {} records", found.len());
        seen = if found.is_empty() { "not begun" } else { "handed over" };
    }
    match run(vfs, of("orders").give_up(gives_up)) {
        Ok(report) => assert_eq!(report.is_given_up(), gives_up, "{what}"),
        Err(error) => {
            assert!(gives_up, "{what}: {error}");
            assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{what}: {error}");
            assert_eq!(ours, None, "{what}");
        }
    }
    assert_handed_over(vfs, what);
    seen
}
