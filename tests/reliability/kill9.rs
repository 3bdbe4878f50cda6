//! A process that appends, and whose threads are members of a group that processes that and commits, is killed again and
//! again, at any moment, also while it opens; the directory is carried on.
//!
//! After every kill it is opened, everything is read and held against what the process has reported, and it is opened
//! once more, after an orderly stop or as after a second crash, which changes nothing. The group goes on, there and in the
//! next process, at its last commit.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::appender::Appender;
use crate::dice::{Dice, seed};
use crate::figures::Figures;
use crate::group_ledger::GroupLedger;
use crate::ledger::{Ledger, Stop};
use crate::opening::check_and;
use crate::report::Report;
use crate::runner::Size;
use crate::scratch::Scratch;
use crate::seeded::Seeded;

/// A directory sees so many kills before it is made anew.
const LIVES: u32 = 12;

const KILLS: &str = "kills";
const OPENING: &str = "of them while opening";
const CHECKED: &str = "acknowledged records checked";
const COMMITS: &str = "acknowledged commits checked";
const RESUMED: &str = "partitions resumed from the last commit";
const PROCESSED: &str = "records processed at least once";
/// None of them may be 0.
const ALL: [&str; 6] = [KILLS, OPENING, CHECKED, COMMITS, RESUMED, PROCESSED];

pub fn run(size: Size) -> Figures {
    let kills = size.of(24, 250, 5000);
    let _recipe = Seeded::new("kill9");
    // Much of the time is the disk's.
    let workers = 4;
    let next = AtomicU32::new(0);
    let work = || {
        let mut figures = Figures::new();
        loop {
            let first = next.fetch_add(LIVES, Ordering::Relaxed);
            if first >= kills {
                return figures;
            }
            let mut dice = Dice::new(seed().wrapping_add(first.into()));
            // Most of them where there is much to interrupt in a second, some where a sync takes its time.
            let on_disk = (first / LIVES).is_multiple_of(4);
            let scratch = if on_disk { Scratch::new("kill9") } else { Scratch::in_memory("kill9") };
            carry_on(&mut dice, &scratch, LIVES.min(kills - first), size.of(300, 500, 600), &mut figures);
        }
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it has said what is wrong")).collect()
    });
    let mut figures = Figures::new();
    for name in ALL {
        figures.add(name, done.iter().map(|figures| figures.get(name)).sum());
    }
    figures.add("lost", 0);
    assert_eq!(figures.missing(&ALL), None);
    figures
}

fn carry_on(dice: &mut Dice, scratch: &Scratch, lives: u32, reports: u64, figures: &mut Figures) {
    let (mut ledger, mut group) = (Ledger::default(), GroupLedger::default());
    for life in 0..lives {
        let seed = dice.next();
        let appender = Appender { dir: scratch.data(), life, seed, threads: 4, members: 3, sends: 0 };
        let opened = kill(&appender, dice, reports, &mut ledger, &mut group);
        figures.add(KILLS, 1);
        figures.add(OPENING, u64::from(!opened));
        let in_order = life.is_multiple_of(2);
        check_and(&appender.dir, &mut ledger, Stop::Kill, in_order, |broker, found| {
            group.check(broker, found);
        });
    }
    figures.add(CHECKED, ledger.checked);
    figures.add(COMMITS, group.checked);
    figures.add(RESUMED, group.resumed);
    figures.add(PROCESSED, group.finish(&scratch.data()));
}

/// Lets it live for some time; returns whether it came to open the directory.
fn kill(
    appender: &Appender,
    dice: &mut Dice,
    reports: u64,
    ledger: &mut Ledger,
    group: &mut GroupLedger,
) -> bool {
    ledger.begin(appender.life);
    group.begin();
    let mut child = appender.start();
    let mut opened = false;
    // Counted from the moment at which it is there: now and then it gets no further than opening.
    let wanted = if dice.below(10) == 0 { 1 } else { 2 + dice.below(reports * 2) };
    let mut taken = 0;
    while taken < wanted {
        let line = child.line().expect("it lives until it is killed");
        if group.take_down(&line) {
            continue;
        }
        match ledger.take_down(&line) {
            Some(report) => opened |= report == Report::Opened,
            None => panic!("the child: {line}"),
        }
        taken += 1;
    }
    let moment = Instant::now() + Duration::from_micros(dice.below(2000));
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    child.kill();
    while let Some(line) = child.line() {
        opened |= !group.take_down(&line) && ledger.take_down(&line) == Some(Report::Opened);
    }
    child.wait();
    opened
}
