//! The evidence of the ends file, written after every sync and synced beside it: whatever a power cut leaves of it is
//! true, and enough.

use std::time::Duration;

use ottla::internals::CrashProfile;
use shuttle::thread;

use crate::explore::Check;
use crate::world::{PowerCut, World, chance, value};

pub const CHECKS: &[Check] = &[Check { name: "evidence", run: evidence }];

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
