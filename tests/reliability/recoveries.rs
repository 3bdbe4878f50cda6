//! Crashes of those who open what a crash has left: in the midst of it, and soon after.

use ottla::Record;
use ottla::internals::{CrashProfile, MemoryVfs};

use crate::oracle::{Contents, contents, open};
use crate::service::end_process;
use crate::told::Told;

const PROFILES: [(CrashProfile, usize); 3] =
    [(CrashProfile::Strict, 1), (CrashProfile::Ordered, 1), (CrashProfile::Adversarial, 2)];

/// A crash in the midst of a recovery changes no verdict: the next one finds what the first would have found. Nothing is
/// pending on the disk at first. `most` says at how many calls of the recovery, spread over it. Returns the number of
/// crashes.
pub fn crash_recovery(vfs: &MemoryVfs, told: &Told, most: u64, seed: u64, what: &str) -> usize {
    let (whole, calls) = recovered(&vfs.fork(), told, what);
    let step = calls.div_ceil(most.max(1)).max(1);
    let mut crashes = 0;
    for call in (seed % step..calls).step_by(usize::try_from(step).unwrap()) {
        let stopped = vfs.fork();
        stopped.stop_after(call);
        let what = format!("{what}, its recovery stopped at call {call}");
        if let Ok(broker) = open(&stopped, told) {
            end_process(&stopped, broker);
        }
        let killed = [(stopped.restart(), "killed".to_owned())];
        let images = PROFILES.into_iter().flat_map(|(profile, budget)| stopped.images(profile, budget, seed));
        for (left, description) in
            killed.into_iter().chain(images.map(|image| (image.vfs, image.description)))
        {
            let what = format!("{what}: {description}");
            assert_eq!(recovered(&left, told, &what).0, whole, "{what}");
            crashes += 1;
        }
    }
    crashes
}

/// What a recovery finds, and how many calls it takes that change something.
fn recovered(vfs: &MemoryVfs, told: &Told, what: &str) -> (Contents, u64) {
    let before = vfs.counts().changing;
    let broker = open(vfs, told).unwrap_or_else(|error| panic!("{what}: {error}"));
    let calls = vfs.counts().changing - before;
    let found = contents(&broker, what);
    end_process(vfs, broker);
    (found, calls)
}

/// What one life has shown to a reader, or acknowledged, outlives the power cut that ends it. Returns the number of power
/// cuts.
pub fn cut_power_after_recovery(vfs: &MemoryVfs, told: &Told, seed: u64, what: &str) -> usize {
    let broker = open(vfs, told).unwrap_or_else(|error| panic!("{what}: {error}"));
    // At once, and then after an append, with which a new leader epoch begins.
    for image in vfs.images(CrashProfile::Strict, 1, seed) {
        let what = format!("{what}, recovered, then the power");
        assert_eq!(recovered(&image.vfs, told, &what).0, contents(&broker, &what), "{what}");
    }
    for topic in broker.topics().unwrap() {
        for partition in 0..topic.partition_count() {
            let record = Record::new("goes on").partition(partition);
            topic.producer().synced().send(record).unwrap().wait().unwrap();
        }
    }
    let shown = contents(&broker, what);
    end_process(vfs, broker);
    let mut images = 1;
    for (profile, budget) in PROFILES {
        for image in vfs.images(profile, budget, seed) {
            let what = format!("{what}, recovered, then the power: {}", image.description);
            assert_eq!(recovered(&image.vfs, told, &what).0, shown, "{what}");
            images += 1;
        }
    }
    images
}
