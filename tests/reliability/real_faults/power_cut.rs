//! File systems that stop at once, with what is in their journal or without, while a process appends; mounted again and
//! opened, again and again.

use super::volume::Volume;
use crate::appender::Appender;
use crate::dice::Dice;
use crate::figures::Figures;
use crate::ledger::{Ledger, Stop};
use crate::opening::check;
use crate::posix;
use crate::runner::Size;

/// A directory sees so many power cuts before it is made anew.
const LIVES: u32 = 15;

pub fn run(kind: &str, size: Size, dice: &mut Dice, figures: &mut Figures) -> Result<(), String> {
    let volume = Volume::make(kind, 320, 640)?;
    let (mut ledger, mut checked) = (Ledger::default(), 0);
    for life in 0..size.of(3, 40, 300) {
        if life % LIVES == 0 {
            _ = std::fs::remove_dir_all(volume.data());
            checked += std::mem::take(&mut ledger).checked;
        }
        let appender =
            Appender { dir: volume.data(), life, seed: dice.next(), threads: 4, members: 0, sends: 0 };
        ledger.begin(life);
        let mut child = appender.start();
        for _ in 0..2 + dice.below(500) {
            let line = child.line().expect("it lives until the disk is gone");
            assert!(ledger.take_down(&line).is_some(), "{kind}, life {life}: {line}");
        }
        // What was acknowledged by now was synced by now. A sync that runs while ext4 stops may return success all the same
        // (Linux 6.18), and nobody would live to hear of it if it was the power.
        child.stop();
        child.said().iter().for_each(|line| _ = ledger.take_down(line));
        ledger.is_over = true;
        let is_killed = dice.below(2) == 0;
        volume.cut_power(dice.below(2) == 0, || {
            if is_killed {
                child.kill();
            } else {
                // It learns that its disk is gone.
                posix::signal(child.pid(), libc::SIGCONT);
            }
            ledger.take_down_all(&mut child);
            child.wait();
        });
        check(&volume.data(), &mut ledger, Stop::PowerCut, dice.below(2) == 0);
        figures.add(&format!("{kind} power cuts"), 1);
    }
    figures.add(&format!("acknowledged records checked after them on {kind}"), checked + ledger.checked);
    Ok(())
}
