//! Disks without room: a full file system, where writes fail, and a device that has promised more than it has, where syncs do.
//!
//! After a sync that failed, the page cache still serves what never came to the disk. A process that opens the directory
//! then, also while another one keeps the pages in memory by a map, is to see only what the disk has.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::volume::{Memory, Volume};
use crate::appender::{Appender, PLACES, open};
use crate::child::{self, Child, argument, listen, tell};
use crate::dice::Dice;
use crate::figures::Figures;
use crate::ledger::{Ledger, Stop, logs, view};
use crate::opening::check;
use crate::posix::Pinned;
use crate::runner::Size;

pub const WITNESS: child::Role = ("witness", witness);
pub const MAPPER: child::Role = ("mapper", map);

/// Appends until there is no room, and goes on; opened without room and with it.
pub fn full(size: Size, dice: &mut Dice, figures: &mut Figures) -> Result<(), String> {
    for _ in 0..size.of(1, 10, 50) {
        let memory = Memory::mount("full", 2)?;
        let dir = memory.path().join("data");
        let mut ledger = Ledger::default();
        for life in 0..3 {
            let appender =
                Appender { dir: dir.clone(), life, seed: dice.next(), threads: 4, members: 0, sends: 2000 };
            ledger.begin(life);
            let before = ledger.not_written;
            let mut child = appender.start();
            let most = dice.below(400);
            while let Some(line) = child.line() {
                ledger.take_down(&line);
                if ledger.not_written > before + most {
                    child.kill();
                }
            }
            child.wait();
            if let Err(error) = open(&dir) {
                assert!(error.io_error().is_some() && error.to_string().contains("space"), "{error}");
                figures.add("openings refused on a full disk", 1);
            }
            memory.resize(3 + life);
            check(&dir, &mut ledger, Stop::KillWithoutRoom, dice.below(2) == 0);
        }
        figures.add("disks filled", 1);
        figures.add("records not written", ledger.not_written);
    }
    Ok(())
}

/// Appends until a sync fails; opened by a process that reads and is killed, and then as the disk has it.
pub fn run(size: Size, dice: &mut Dice, figures: &mut Figures) -> Result<(), String> {
    for round in 0..size.of(2, 12, 60) {
        let mut volume = Volume::make("ext4", 96, 120)?;
        volume.become_thin()?;
        let mut ledger = Ledger::default();
        let filler = volume.memory.path().join("filler");
        for life in 0..2 {
            let appender =
                Appender { dir: volume.data(), life, seed: dice.next(), threads: 4, members: 0, sends: 3000 };
            ledger.begin(life);
            let mut child = appender.start();
            for _ in 0..30 + dice.below(300) {
                if let Some(line) = child.line() {
                    ledger.take_down(&line);
                }
            }
            fill(&filler);
            ledger.take_down_all(&mut child);
            child.wait();
            // Where the journal could not be written, ext4 takes no change any more; a sync of another file that runs at that
            // moment may return success, and what it was to sync is gone (Linux 6.18): nobody can tell.
            let journal_failed = File::create(volume.path().join("probe")).is_err();
            let mapper = (round % 2 == 0).then(|| Mapper::start(&volume.data()));
            if dice.below(2) == 0 {
                std::fs::remove_file(&filler).unwrap();
            }
            let shown = shown(&volume.data());
            figures.add("openings refused after a failed sync", u64::from(shown.is_none()));
            drop(mapper);
            _ = std::fs::remove_file(&filler);
            volume.cut_power(dice.below(2) == 0, || {});
            let found = view(&open(&volume.data()).unwrap_or_else(|error| panic!("{error}")));
            for (place, shown) in shown.iter().flatten().enumerate() {
                let count = found[place].len();
                assert!(
                    count >= *shown,
                    "{:?}: a ghost was shown: {shown} records, and {count} are there",
                    PLACES[place]
                );
            }
            if journal_failed {
                figures.add("journals that failed with it", 1);
                break;
            }
            check(&volume.data(), &mut ledger, Stop::FailedSync, dice.below(2) == 0);
            figures.add("failed syncs of a thin device", 1);
            figures.add("of them while the logs were mapped", u64::from(round % 2 == 0));
        }
        figures.add("records indeterminate", ledger.unknown);
    }
    Ok(())
}

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// How many records of each place a process is shown that opens the directory now, and is killed then; `None` if it is
/// refused.
fn shown(dir: &Path) -> Option<Vec<usize>> {
    let mut child = Child::start(WITNESS.0, &[argument(dir)]);
    let line = child.line().expect("it says what it sees");
    child.kill();
    child.wait();
    let numbers = line.strip_prefix("shown ")?;
    Some(numbers.split(' ').map(|number| number.parse().unwrap()).collect())
}

fn witness(arguments: &[String]) {
    match open(Path::new(&arguments[0])) {
        Ok(broker) => {
            let counts = view(&broker).map(|records| records.len().to_string());
            tell(&format!("shown {}", counts.join(" ")));
            listen();
        }
        Err(error) => {
            assert!(!error.is_corruption(), "{error}");
            tell(&format!("refused {error}"));
        }
    }
}

/// A process that keeps every page of the logs in memory.
struct Mapper(#[expect(dead_code, reason = "it lives as long as this")] Child);

impl Mapper {
    fn start(dir: &Path) -> Self {
        let mut child = Child::start(MAPPER.0, &[argument(dir)]);
        child.expect("maps");
        Self(child)
    }
}

fn map(arguments: &[String]) {
    let logs = logs(Path::new(&arguments[0]));
    let pinned: Vec<_> = logs
        .iter()
        .filter(|(_, (len, _))| *len > 0)
        .map(|(path, _)| Pinned::new(&File::open(path).unwrap()))
        .collect();
    assert!(pinned.iter().all(Result::is_ok));
    tell("maps");
    listen();
    drop(pinned);
}
