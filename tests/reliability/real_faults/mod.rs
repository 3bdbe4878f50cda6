//! Faults of real kernels and file systems: system calls that fail, disks that are full, devices that cannot write or read,
//! file systems that stop as in a power cut. Each part is left out, and named, where the machine lacks what it needs.

mod power_cut;
mod read_error;
mod system_calls;
mod thin;
mod volume;

use crate::child::Role;
use crate::dice::{Dice, seed};
use crate::figures::Figures;
use crate::posix::is_root;
use crate::runner::Size;
use crate::seeded::Seeded;

pub const ROLES: [Role; 3] = [thin::WITNESS, thin::MAPPER, read_error::READER];

/// Does so much of it; fails with what the machine lacks.
type Part = fn(Size, &mut Dice, &mut Figures) -> Result<(), String>;

const PARTS: [(&str, Part); 6] = [
    ("failing system calls", system_calls::run),
    ("a full file system", thin::full),
    ("failing syncs", thin::run),
    ("read errors", read_error::run),
    ("power cuts of ext4", |size, dice, figures| power_cut::run("ext4", size, dice, figures)),
    ("power cuts of XFS", |size, dice, figures| power_cut::run("xfs", size, dice, figures)),
];

pub fn run(size: Size) -> Figures {
    if !is_root() {
        return Figures::skipped("it needs root");
    }
    let _recipe = Seeded::new("real_faults");
    let mut figures = Figures::new();
    // One part alone, to see something again.
    let meant = std::env::var("OTTLA_PART").unwrap_or_default();
    for (number, (name, part)) in (0..).zip(PARTS).filter(|(_, (name, _))| name.contains(&meant)) {
        let mut dice = Dice::new(seed() ^ (number << 40));
        if let Err(why) = part(size, &mut dice, &mut figures) {
            figures.lack(format!("{name} ({why})"));
        }
    }
    figures.add("lost", 0);
    figures
}
