//! The evidence of the ends file, written after every sync and synced beside it: whatever a power cut leaves of it is
//! true, and enough.

use std::time::Duration;

use ottla::Durability;
use ottla::internals::CrashProfile;
use shuttle::thread;

use crate::explore::Check;
use crate::world::{PowerCut, World, chance, value};

pub const CHECKS: &[Check] =
    &[Check { name: "evidence", run: evidence }, Check { name: "evidence_of_three", run: evidence_of_three }];

/// A sender, two threads that have the file synced, and a disk that keeps any part of what was not synced.
fn evidence() {
    let world = World::new();
    let cut = || world.power_cut_as(CrashProfile::Adversarial, chance(1 << 32));
    let tick = |times| {
        for _ in 0..times {
            world.clock.advance(Duration::from_secs(1));
            world.broker.tick().unwrap();
        }
        cut()
    };
    let cuts = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for number in 1..=3 {
                world.send_and_wait(&value(1, number, 100));
            }
            cut()
        });
        let tickers = [scope.spawn(|| tick(1)), scope.spawn(|| tick(2))];
        [sender].into_iter().chain(tickers).map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    cuts.into_iter().for_each(PowerCut::recover);
    world.recover();
}

/// What was written before the file is synced, beside that, and behind it: a disk may lose any of the last two.
fn evidence_of_three() {
    let world = World::with(Durability::Synced, false);
    world.send_and_wait(&value(1, 1, 20));
    thread::scope(|scope| {
        scope.spawn(|| {
            world.clock.advance(Duration::from_secs(1));
            world.broker.tick().unwrap();
        });
        scope.spawn(|| world.send_and_wait(&value(1, 2, 20)));
    });
    world.send_and_wait(&value(1, 3, 20));
    for _ in 0..6 {
        world.power_cut_as(CrashProfile::Adversarial, chance(1 << 32)).recover();
    }
}
