//! `sim_crash`: the process ends at every call that changes something, and so may the power: whatever may be on the disk
//! then is opened, and held against what was acknowledged. Whoever opens it may crash as well.

use std::collections::HashSet;
use std::sync::Mutex;

use ottla::internals::{CrashProfile, MemoryVfs};

use crate::crew::share;
use crate::figures::Figures;
use crate::image_class::{CLASSES, Seen};
use crate::oracle::{check, check_at_a_glance, check_salvaged};
use crate::recipe::{self, Recipe};
use crate::recoveries::{crash_recovery, cut_power_after_recovery};
use crate::runner::Size;
use crate::service::Service;
use crate::told::{End, Told};
use crate::workload::{Beginning, Workload};
use crate::workloads::workloads;

const PROFILES: [CrashProfile; 4] =
    [CrashProfile::Strict, CrashProfile::Prefix, CrashProfile::Ordered, CrashProfile::Adversarial];

/// A crash point of a workload.
struct Point<'a> {
    workload: &'a Workload,
    beginning: &'a Beginning,
    number: u64,
}

/// What is done at each of them.
#[derive(Clone, Copy)]
struct Effort {
    /// Every so many crash points.
    stride: usize,
    /// At most so many images of each profile.
    images: usize,
    /// Every so many images are verified, and written to, as well.
    verified: usize,
    /// Every so many images are salvaged, recovered again and again.
    sample: u64,
}

pub fn run_suite(size: Size) -> Figures {
    let stride = if recipe::is_one() { 1 } else { size.of(23, 1, 1) };
    let images = recipe::number_at(3).unwrap_or(size.of(3, 600, 2000));
    let of = |several| if recipe::is_one() { 1 } else { several };
    let (verified, sample) = (of(size.of(4, 4, 1)), of(size.of(3, 80, 8)) as u64);
    let effort = Effort { stride, images, verified, sample };
    let workloads: Vec<_> =
        workloads().into_iter().map(|workload| (workload.beginning(), workload)).collect();
    let points = workloads.iter().enumerate().flat_map(|(number, (beginning, workload))| {
        points(beginning, workload, effort.stride, number % effort.stride)
    });
    let points: Vec<_> = points.filter(|point| point.recipe(effort).is_asked_for()).collect();
    let mut figures = Figures::new();
    figures.add("workloads", workloads.len() as u64);
    figures.add("crash points", points.len() as u64);
    let (known, mut distinct) = (Known::default(), HashSet::new());
    for (crashes, fingerprints) in share(&points, |point| crash_at(point, effort, &known)) {
        crashes.each(|name, count| figures.add(name, count));
        distinct.extend(fingerprints);
    }
    figures.add("distinct images", distinct.len() as u64);
    figures.add("acknowledged records lost", 0);
    if !recipe::is_one() && size >= Size::Ci {
        let missing = figures.missing(&CLASSES);
        assert!(missing.is_none(), "no image of this class was met: {missing:?}, {figures}");
        assert!(distinct.len() >= 200_000, "too few images: {figures}");
    }
    figures
}

fn points<'a>(
    beginning: &'a Beginning,
    workload: &'a Workload,
    stride: usize,
    first: usize,
) -> impl Iterator<Item = Point<'a>> {
    let vfs = beginning.vfs.fork();
    let before = vfs.counts().changing;
    workload.run(&vfs, beginning, "without a crash", |_| ());
    let last = vfs.counts().changing - before;
    (first as u64..=last).step_by(stride).map(move |number| Point { workload, beginning, number })
}

impl Point<'_> {
    fn recipe(&self, effort: Effort) -> Recipe {
        Recipe::new("sim_crash", &[&self.workload.name, &self.number, &effort.images])
    }
}

/// What was looked at already: images, each with what was told.
type Known = Mutex<HashSet<(u64, u64)>>;

fn crash_at(point: &Point<'_>, effort: Effort, known: &Known) -> (Figures, HashSet<u64>) {
    let (mut figures, mut distinct) = (Figures::new(), HashSet::new());
    let recipe = point.recipe(effort);
    let vfs = point.beginning.vfs.fork();
    vfs.stop_after(point.number);
    let run = |service: &mut Service| (service.told.clone(), service.end_is());
    let (told, end) = point.workload.run(&vfs, point.beginning, &recipe.to_string(), run);
    let killed = recipe.with("killed");
    if killed.is_asked_for() {
        let what = format!("killed {killed}");
        check(&vfs.restart(), &told, end, &what);
        let cuts = cut_power_after_recovery(&vfs.restart(), &told, point.number, &what);
        figures.add("power cuts after a recovery", cuts as u64);
    }
    let (seen, story) = (Seen::of(&vfs.restart()), told.fingerprint());
    for profile in PROFILES {
        let recipe = recipe.with(format!("{profile:?}"));
        for (number, image) in vfs.images(profile, effort.images, point.number).enumerate() {
            let recipe = recipe.with(number);
            let fingerprint = image.vfs.fingerprint();
            let is_new = || recipe::is_one() || known.lock().unwrap().insert((fingerprint, story));
            if recipe.is_asked_for() && is_new() {
                distinct.insert(fingerprint);
                seen.classes(&image).into_iter().for_each(|class| figures.add(class, 1));
                let what = format!("{} {recipe}", image.description);
                let is_sampled = (point.number + distinct.len() as u64).is_multiple_of(effort.sample);
                if is_sampled {
                    try_again_and_again(&image.vfs, &told, point.number, &what, &mut figures);
                }
                if distinct.len() < 8 || distinct.len().is_multiple_of(effort.verified) {
                    check(&image.vfs, &told, End::PowerCut, &what);
                } else {
                    check_at_a_glance(&image.vfs, &told, End::PowerCut, &what);
                }
            }
        }
    }
    figures.add("recoveries", distinct.len() as u64);
    (figures, distinct)
}

/// Salvages an image, and has its recovery crash.
fn try_again_and_again(vfs: &MemoryVfs, told: &Told, seed: u64, what: &str, figures: &mut Figures) {
    const CALLS: u64 = 3;
    check_salvaged(vfs, told, what);
    figures.add("salvaged", 1);
    figures.add("recoveries that crashed", crash_recovery(vfs, told, CALLS, seed, what) as u64);
    let cuts = cut_power_after_recovery(&vfs.fork(), told, seed, what);
    figures.add("power cuts after a recovery", cuts as u64);
}
