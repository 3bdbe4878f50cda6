//! `sim_crash`: the process ends at every call that changes something, and so may the power: whatever may be on the disk
//! then is opened, and held against what was acknowledged.

use std::collections::HashSet;

use ottla::internals::{CrashProfile, ImageClass, MemoryVfs};

use crate::crew::share;
use crate::figures::Figures;
use crate::oracle::{check, check_power_cut_after_recovery, check_salvaged};
use crate::recipe::{self, Recipe};
use crate::runner::Size;
use crate::told::End;
use crate::workloads::{Script, WORKLOADS, run};

const PROFILES: [CrashProfile; 4] =
    [CrashProfile::Strict, CrashProfile::Prefix, CrashProfile::Ordered, CrashProfile::Adversarial];
/// Classes that no run goes without.
const CLASSES: [ImageClass; 5] = [
    ImageClass::TornWrite,
    ImageClass::Hole,
    ImageClass::ZeroTail,
    ImageClass::LostEntry,
    ImageClass::UndoneRename,
];

/// A crash point of a workload.
struct Point {
    name: &'static str,
    script: Script,
    number: u64,
}

impl Point {
    fn recipe(&self, budget: usize) -> Recipe {
        Recipe::new("sim_crash", &[&self.name, &self.number, &budget])
    }
}

pub fn run_suite(size: Size) -> Figures {
    // Every so many points, and so many images of each profile there.
    let stride = if recipe::is_one() { 1 } else { size.of(5, 1, 1) };
    let budget = recipe::number_at(3).unwrap_or(size.of(3, 24, 200));
    let points = WORKLOADS.into_iter().flat_map(|workload| points(workload, stride));
    let points: Vec<_> = points.filter(|point| point.recipe(budget).is_asked_for()).collect();
    let done = share(&points, |point| crash_at(point, budget));
    let mut figures = Figures::new();
    figures.add("crash points", points.len() as u64);
    let mut distinct = HashSet::new();
    for (crashes, fingerprints) in done {
        crashes.each(|name, count| figures.add(name, count));
        distinct.extend(fingerprints);
    }
    figures.add("distinct images", distinct.len() as u64);
    let classes = CLASSES.map(|class| class.to_string());
    let missing = figures.missing(&classes.each_ref().map(String::as_str));
    assert!(recipe::is_one() || missing.is_none(), "no image of this class was met: {missing:?}, {figures}");
    figures.add("acknowledged records lost", 0);
    figures
}

fn points((name, script): (&'static str, Script), stride: usize) -> impl Iterator<Item = Point> {
    let vfs = MemoryVfs::new();
    run(name, script, &vfs);
    let last = vfs.counts().changing;
    (0..=last).step_by(stride).map(move |number| Point { name, script, number })
}

fn crash_at(point: &Point, budget: usize) -> (Figures, HashSet<u64>) {
    let (mut figures, mut distinct) = (Figures::new(), HashSet::new());
    let vfs = MemoryVfs::new();
    vfs.stop_after(point.number);
    let told = run(point.name, point.script, &vfs);
    let recipe = point.recipe(budget);
    let mut double = 0;
    if recipe.with("killed").is_asked_for() {
        let what = format!("killed {}", recipe.with("killed"));
        check(&vfs.restart(), &told, End::Kill, &what);
        double += check_power_cut_after_recovery(&vfs.restart(), &told, point.number, &what);
    }
    for profile in PROFILES {
        let recipe = recipe.with(format!("{profile:?}"));
        for (number, image) in vfs.images(profile, budget, point.number).enumerate() {
            let recipe = recipe.with(number);
            if !recipe.is_asked_for() || !distinct.insert(image.vfs.fingerprint()) {
                continue;
            }
            let number = point.number + distinct.len() as u64;
            let what = format!("{} {recipe}", image.description);
            if recipe::is_one() || number.is_multiple_of(5) {
                double += check_power_cut_after_recovery(&image.vfs.fork(), &told, point.number, &what);
            }
            if recipe::is_one() || number.is_multiple_of(7) {
                check_salvaged(&image.vfs, &told, &what);
                figures.add("salvaged", 1);
            }
            check(&image.vfs, &told, End::PowerCut, &what);
            image.classes.iter().for_each(|class| figures.add(&class.to_string(), 1));
        }
    }
    figures.add("power cuts after a recovery", double as u64);
    (figures, distinct)
}
