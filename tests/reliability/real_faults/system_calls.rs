//! System calls of an appending process that fail, by `strace`: the n-th of each thread, once or from then on.

use std::process::{Command, Stdio};

use super::volume::call;
use crate::appender::{Appender, ROLE};
use crate::child::{self, Child};
use crate::dice::Dice;
use crate::figures::Figures;
use crate::ledger::{Ledger, Stop};
use crate::opening::check;
use crate::runner::Size;
use crate::scratch::Scratch;

/// Which call fails how, and up to which number of it.
const FAULTS: [(&str, &str, u64); 21] = [
    ("pwrite64", "EIO", 40),
    ("pwrite64", "ENOSPC", 40),
    ("pwrite64", "EINTR", 40),
    ("pwrite64", "EFBIG", 40),
    ("pwrite64", "EDQUOT", 40),
    ("fdatasync", "EIO", 30),
    ("fdatasync", "ENOSPC", 30),
    ("fsync", "EIO", 30),
    ("ftruncate", "EIO", 10),
    ("fallocate", "ENOSPC", 8),
    ("fallocate", "EOPNOTSUPP", 8),
    ("fallocate", "EINTR", 8),
    ("rename", "EIO", 8),
    ("unlink", "EIO", 4),
    ("mkdir", "EACCES", 6),
    ("openat", "EMFILE", 60),
    ("openat", "EIO", 60),
    ("pread64", "EIO", 20),
    ("statx", "EIO", 40),
    ("getdents64", "EIO", 8),
    ("fadvise64", "EIO", 6),
];

pub fn run(size: Size, dice: &mut Dice, figures: &mut Figures) -> Result<(), String> {
    call(Command::new("strace").args(["-f", "-o", "/dev/null", "true"]))?;
    for round in 0..size.of(4, 84, 840) {
        let fault = match size {
            Size::Quick => dice.pick(&FAULTS),
            _ => FAULTS[round % FAULTS.len()],
        };
        one(fault, dice, figures);
    }
    Ok(())
}

fn one((name, error, most): (&str, &str, u64), dice: &mut Dice, figures: &mut Figures) {
    let scratch = Scratch::in_memory("calls");
    let mut ledger = Ledger::default();
    let (nth, goes_on) = (1 + dice.below(most), dice.below(2) == 0);
    let when = format!("{nth}{}", if goes_on && error != "EINTR" { "+" } else { "" });
    // A sound life first, now and then: then it fails where a directory is opened and gone on with.
    let lives = 1 + u32::from(dice.below(2) == 0);
    for life in 0..lives {
        let appender =
            Appender { dir: scratch.data(), life, seed: dice.next(), threads: 3, members: 0, sends: 25 };
        ledger.begin(life);
        let is_last = life + 1 == lives;
        let log = scratch.path().join("calls");
        let mut child = if is_last {
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "--seccomp-bpf", "-e", &format!("trace={name}"), "-o"]).arg(&log);
            command.args(["-e", &format!("inject={name}:error={error}:when={when}")]);
            let own = child::command(ROLE.0, &appender.arguments());
            // A program that cannot even be started says so there.
            command.stderr(Stdio::null());
            Child::spawn(command.arg(own.get_program()).args(own.get_args()))
        } else {
            appender.start()
        };
        ledger.take_down_all(&mut child);
        child.wait();
        if is_last {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            figures.add("system calls failed", text.matches("(INJECTED)").count() as u64);
        } else {
            assert!(ledger.is_closed, "nothing has failed");
        }
        if !scratch.data().exists() {
            return;
        }
        eprintln_on_panic(&format!("{name} {error} when={when}, life {life}"), || {
            check(&scratch.data(), &mut ledger, Stop::Kill, dice.below(2) == 0);
        });
    }
    figures.add("runs with failing calls", 1);
    figures.add("records not written", ledger.not_written);
    figures.add("records indeterminate", ledger.unknown);
    figures.add("partitions reopened", ledger.reopened);
}

/// Says what it was, if it panics.
fn eprintln_on_panic(what: &str, run: impl FnOnce()) {
    struct Says<'a>(&'a str);
    impl Drop for Says<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("that was after {}", self.0);
            }
        }
    }
    let _says = Says(what);
    run();
}
