//! The images that a crash may leave: all of them where they are few, a telling selection where they are many.

use std::collections::HashSet;

use super::MemoryVfs;
use super::crash::{CrashProfile, Item, items, outcome};
use super::disk::Disk;
use super::image::{Image, classes, crashed, description};

/// An iterator over distinct images, the same for the same seed.
#[derive(Debug)]
pub struct Images {
    disk: Disk,
    profile: CrashProfile,
    items: Vec<Item>,
    picks: Picks,
    left: usize,
    seen: HashSet<u64>,
}

impl Images {
    pub(super) fn new(disk: Disk, profile: CrashProfile, budget: usize, seed: u64) -> Self {
        let items = items(profile, &disk);
        let picks = Picks::new(&items, budget, seed);
        Self { disk, profile, items, picks, left: budget, seen: HashSet::new() }
    }

    /// True if all images that the profile allows are listed, not a selection.
    pub fn is_complete(&self) -> bool {
        matches!(self.picks, Picks::Every(_))
    }
}

impl Iterator for Images {
    type Item = Image;

    fn next(&mut self) -> Option<Image> {
        while self.left > 0 {
            let picks = self.picks.next(&self.items)?;
            let outcome = outcome(&self.disk, &self.items, &picks);
            let image = crashed(&self.disk, self.profile, &outcome);
            if self.seen.insert(image.fingerprint()) {
                self.left -= 1;
                return Some(Image {
                    description: description(&self.disk, self.profile, &outcome),
                    classes: classes(&self.disk, &outcome, &image),
                    vfs: MemoryVfs::on(image),
                });
            }
        }
        None
    }
}

/// Which option each item gets, again and again.
#[derive(Debug)]
enum Picks {
    /// Every combination, counted like the figures of a number; `None` behind the last.
    Every(Option<Vec<usize>>),
    /// Those that tell most, then some by chance.
    Some { patterns: std::vec::IntoIter<Pattern>, rng: fastrand::Rng, tries: usize },
}

/// A combination that tells something.
#[derive(Clone, Copy, Debug)]
enum Pattern {
    /// Nothing has happened.
    Nothing,
    /// Everything has.
    Everything,
    /// Nothing but one item.
    Only { item: usize, option: usize },
    /// Everything but one item.
    Except { item: usize, option: usize },
    /// Everything of the first items, nothing of the others.
    First(usize),
}

impl Picks {
    fn new(items: &[Item], budget: usize, seed: u64) -> Self {
        let combinations =
            items.iter().try_fold(1_usize, |product, item| product.checked_mul(item.options()));
        if combinations.is_some_and(|combinations| combinations <= budget) {
            return Self::Every(Some(vec![0; items.len()]));
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut patterns = patterns(items);
        // Where not all have room, chance decides which, and leaves room for its own.
        rng.shuffle(&mut patterns);
        patterns.truncate(budget - budget / 4);
        let all = [Pattern::Nothing, Pattern::Everything].into_iter().chain(patterns);
        Self::Some { patterns: all.collect::<Vec<_>>().into_iter(), rng, tries: budget.saturating_mul(4) }
    }

    fn next(&mut self, items: &[Item]) -> Option<Vec<usize>> {
        match self {
            Self::Every(next) => {
                let picks = next.take()?;
                *next = successor(items, picks.clone());
                Some(picks)
            }
            Self::Some { patterns, rng, tries } => {
                if let Some(pattern) = patterns.next() {
                    return Some(pattern.picks(items));
                }
                *tries = tries.checked_sub(1)?;
                Some(by_chance(items, rng))
            }
        }
    }
}

fn successor(items: &[Item], mut picks: Vec<usize>) -> Option<Vec<usize>> {
    for (pick, item) in picks.iter_mut().zip(items) {
        *pick += 1;
        if *pick < item.options() {
            return Some(picks);
        }
        *pick = 0;
    }
    None
}

fn patterns(items: &[Item]) -> Vec<Pattern> {
    let mut patterns: Vec<_> = (1..items.len()).map(Pattern::First).collect();
    for (number, item) in items.iter().enumerate() {
        for option in 0..item.options() {
            if option != 0 {
                patterns.push(Pattern::Only { item: number, option });
            }
            if option != item.newest() {
                patterns.push(Pattern::Except { item: number, option });
            }
        }
    }
    patterns
}

impl Pattern {
    fn picks(self, items: &[Item]) -> Vec<usize> {
        let newest = items.iter().enumerate().map(|(number, item)| match self {
            Self::Nothing => 0,
            Self::Everything => item.newest(),
            Self::Only { item, option } => {
                if item == number {
                    option
                } else {
                    0
                }
            }
            Self::Except { item: except, option } => {
                if except == number {
                    option
                } else {
                    item.newest()
                }
            }
            Self::First(count) => {
                if number < count {
                    item.newest()
                } else {
                    0
                }
            }
        });
        newest.collect()
    }
}

/// Nearly nothing, nearly everything, or anything.
fn by_chance(items: &[Item], rng: &mut fastrand::Rng) -> Vec<usize> {
    let style = rng.usize(..3);
    let pick = |item: &Item| match (style, rng.usize(..8)) {
        (0, 1..) => 0,
        (1, 1..) => item.newest(),
        _ => rng.usize(..item.options()),
    };
    items.iter().map(pick).collect()
}
