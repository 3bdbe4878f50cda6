//! A small complete directory, damaged in every small way: each bit flipped, each file cut at each length and removed, each
//! pair of files swapped. It is verified, opened, and read: the error that says what is wrong and where, or all of the data.
//!
//! What no reader of Kafka's format can tell is counted apart: bytes that its checksum leaves out, gaps where a compaction may
//! have been, and files that do not name whose they are and were swapped.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla::Error;
use ottla::internals::{MemoryVfs, OpenMode, Vfs, verify_on};

use crate::dice::{Dice, seed};
use crate::figures::Figures;
use crate::runner::Size;
use crate::seeded::Seeded;
use crate::service::end_process;
use crate::specimen::{ADOPTED, Content, Left, ROOT, Specimen, bytes, open, options, path, read_all};

/// What is done to the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Damage {
    Flip { file: String, byte: u64, bit: u8 },
    Cut { file: String, len: u64 },
    Remove { file: String },
    Swap { one: String, other: String },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// An error that names what is damaged.
    ExactError,
    /// All of the data; the file can be made again, and was, or nothing of it was believed.
    Derived,
    /// All of the data: what was damaged has a twin, or says nothing.
    Spare,
    /// All of the records, and another leader epoch in one of the 21 bytes that Kafka's checksum leaves out.
    OutsideCrc,
    /// Whole batches are missing from segments that Kafka has written, where its compaction may have taken them.
    LawfulGap,
    /// Two producer snapshots of Kafka's, which do not say what offset they are of, stand for one another: of what
    /// transactions have committed, less is given out.
    OtherSnapshot,
    /// Two logs of the same offsets stand for one another, of partitions that they do not name: only `verify` sees it, by
    /// the indexes.
    OtherLog,
    /// Behind what was proven to be durable something was taken for the rest of a write, and cut.
    Residue,
}

const VERDICTS: [(Verdict, &str); 8] = [
    (Verdict::ExactError, "exact error"),
    (Verdict::Derived, "rebuilt cache"),
    (Verdict::Spare, "twin or spare bytes"),
    (Verdict::OutsideCrc, "outside the CRC"),
    (Verdict::LawfulGap, "lawful gaps in segments of Kafka's"),
    (Verdict::OtherSnapshot, "snapshots of Kafka's swapped"),
    (Verdict::OtherLog, "logs of the same offsets swapped and seen by verify alone"),
    (Verdict::Residue, "residue in the unproven tail"),
];

pub fn run(size: Size) -> Figures {
    let _recipe = Seeded::new("bitflip");
    let mut figures = Figures::new();
    let mut histogram = BTreeMap::new();
    let mut total = 0;
    for left in [Left::InOrder, Left::Killed] {
        let specimen = Specimen::new(left);
        total = specimen.files().iter().map(|(_, len)| len).sum();
        let mut damages = damages(&specimen);
        let mut dice = Dice::new(seed());
        // One of so many; a process that was killed leaves more to be told apart.
        let flips = if left == Left::Killed { size.of(600, 1, 1) } else { size.of(600, 16, 1) };
        let of = [flips, 1, size.of(30, 1, 1)];
        damages.retain(|damage| match damage {
            Damage::Flip { .. } | Damage::Cut { .. } => dice.below(of[0]) == 0,
            Damage::Remove { .. } => dice.below(of[1]) == 0,
            Damage::Swap { .. } => dice.below(of[2]) == 0,
        });
        for damage in &damages {
            figures.add(damage.name(), 1);
        }
        judge_all(&specimen, &damages, &mut histogram);
    }
    assert!(total >= 16 * 1024, "a directory of {total} bytes");
    for (verdict, name) in VERDICTS {
        figures.add(name, histogram.get(&verdict).copied().unwrap_or_default());
    }
    for name in ["silently wrong", "panics"] {
        figures.add(name, 0);
    }
    figures
}

fn damages(specimen: &Specimen) -> Vec<Damage> {
    let files = specimen.files();
    let mut damages = Vec::new();
    for (file, len) in &files {
        for byte in 0..*len {
            damages.extend((0..8).map(|bit| Damage::Flip { file: file.clone(), byte, bit }));
            damages.push(Damage::Cut { file: file.clone(), len: byte });
        }
        damages.push(Damage::Remove { file: file.clone() });
    }
    for (number, (one, _)) in files.iter().enumerate() {
        damages.extend(
            files[..number].iter().map(|(other, _)| Damage::Swap { one: one.clone(), other: other.clone() }),
        );
    }
    damages
}

impl Damage {
    fn name(&self) -> &'static str {
        match self {
            Self::Flip { .. } => "bits flipped",
            Self::Cut { .. } => "lengths",
            Self::Remove { .. } => "files removed",
            Self::Swap { .. } => "pairs swapped",
        }
    }

    /// Whether it has changed anything.
    fn apply(&self, vfs: &MemoryVfs) -> bool {
        let open = |file: &str| vfs.open(&path(file), OpenMode::Write).unwrap();
        match self {
            Self::Flip { file, byte, bit } => {
                let file = open(file);
                let mut there = [0];
                file.read_at(&mut there, *byte).unwrap();
                file.write_at(&[there[0] ^ (1 << bit)], *byte).unwrap();
            }
            Self::Cut { file, len } => open(file).set_len(*len).unwrap(),
            Self::Remove { file } => vfs.remove_file(&path(file)).unwrap(),
            Self::Swap { one, other } => {
                if bytes(vfs, one) == bytes(vfs, other) {
                    return false;
                }
                let aside = path("aside");
                vfs.rename(&path(one), &aside).unwrap();
                vfs.rename(&path(other), &path(one)).unwrap();
                vfs.rename(&aside, &path(other)).unwrap();
            }
        }
        true
    }

    /// Whether it can take whole batches of Kafka's, and leave whole ones.
    fn takes_batches(&self) -> bool {
        let is_log = |file: &&str| file.starts_with(ADOPTED) && file.ends_with(".log");
        !matches!(self, Self::Flip { .. }) && self.files().iter().any(is_log)
    }

    /// Whether it swaps two files with this ending.
    fn swaps(&self, ending: &str) -> bool {
        matches!(self, Self::Swap { .. }) && self.files().iter().all(|file| file.ends_with(ending))
    }

    fn files(&self) -> Vec<&str> {
        match self {
            Self::Flip { file, .. } | Self::Cut { file, .. } | Self::Remove { file } => vec![file],
            Self::Swap { one, other } => vec![one, other],
        }
    }
}

fn judge_all(specimen: &Specimen, damages: &[Damage], histogram: &mut BTreeMap<Verdict, u64>) {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counts: BTreeMap<Verdict, u64> = BTreeMap::new();
        let mut wrong = 0;
        while let Some(damage) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = catch_unwind(AssertUnwindSafe(|| judge(specimen, damage)));
            match verdict {
                Ok(verdict) => *counts.entry(verdict).or_default() += 1,
                // Some more, which say whether it is one thing or many.
                Err(_) => {
                    eprintln!("that was {:?}: {damage:?}", specimen.left);
                    wrong += 1;
                    assert!(wrong < 10, "and so on");
                }
            }
        }
        assert_eq!(wrong, 0, "see above");
        counts
    };
    let counts: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it has said what is wrong")).collect()
    });
    for (verdict, count) in counts.into_iter().flatten() {
        *histogram.entry(verdict).or_default() += count;
    }
}

fn judge(specimen: &Specimen, damage: &Damage) -> Verdict {
    let vfs = specimen.vfs.restart();
    if !damage.apply(&vfs) {
        return Verdict::Spare;
    }
    let verified = verify_on(Arc::new(vfs.clone()), Path::new(ROOT));
    let broker = match open(&vfs, options()) {
        Ok(broker) => broker,
        Err(error) => {
            assert_names(&error, damage);
            if let Ok(report) = &verified {
                assert!(!report.is_sound(), "verify finds nothing, and opening says: {error}");
            }
            return Verdict::ExactError;
        }
    };
    let cut = broker.recovery_report().partitions().to_vec();
    let content = read_all(&broker);
    end_process(&vfs, broker);
    let content = match content {
        Ok(content) => content,
        Err(error) => {
            assert_names(&error, damage);
            assert!(!verified.unwrap().is_sound(), "verify finds nothing, and reading says: {error}");
            return Verdict::ExactError;
        }
    };
    if content == specimen.content {
        return if damage.files().iter().all(|file| is_derived(file)) {
            Verdict::Derived
        } else {
            Verdict::Spare
        };
    }
    let names = |content: &[Content]| {
        content.iter().map(|it| (it.topic.clone(), it.partition, it.config.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(&content), names(&specimen.content), "other topics");
    if damage.swaps(".log") && !verified.as_ref().unwrap().is_sound() && is_swapped(specimen, &content) {
        return Verdict::OtherLog;
    }
    let mut verdict = Verdict::OutsideCrc;
    let places = content.iter().zip(&specimen.content).zip(&specimen.proven);
    for ((found, whole), proven) in places.filter(|((found, whole), _)| found != whole) {
        let place = format!("{}-{}", found.topic, found.partition);
        assert_eq!(
            found.committed, whole.committed,
            "{place}: a group goes on elsewhere, and nobody says so"
        );
        if found.records == whole.records && found.lookups == whole.lookups {
            assert!(is_outside_crc(specimen, damage), "{place} has other epochs");
            assert!(!verified.as_ref().unwrap().is_sound(), "verify does not see it");
            continue;
        }
        if found.topic == ADOPTED && is_outside_crc(specimen, damage) {
            continue;
        }
        if found.topic == ADOPTED && all(whole, found, is_thinned) && damage.takes_batches() {
            verdict = Verdict::LawfulGap;
            continue;
        }
        if found.records[0] == whole.records[0] && damage.swaps(".snapshot") {
            assert!(all(whole, found, <[_]>::starts_with), "{place} gives out what was not committed");
            verdict = Verdict::OtherSnapshot;
            continue;
        }
        assert!(all(whole, found, <[_]>::starts_with), "{place} holds other records, and nobody says so");
        // What is cut off may leave zeros, or nothing, to cut.
        let leaves_less = !matches!(damage, Damage::Flip { .. });
        assert!(
            leaves_less
                || cut.iter().any(|cut| cut.topic() == found.topic && cut.partition() == found.partition),
            "{place} holds fewer records, and nobody says so"
        );
        let count = found.records[0].len();
        assert!(count >= *proven, "{place} has {count} records, and {proven} were proven to be durable");
        verdict = Verdict::Residue;
    }
    verdict
}

type Comparison = fn(&[(u64, u32)], &[(u64, u32)]) -> bool;

/// Whether it holds of the records at both isolation levels.
fn all(whole: &Content, found: &Content, holds: Comparison) -> bool {
    whole.records.iter().zip(&found.records).all(|(whole, found)| holds(whole, found))
}

/// Whether exactly two partitions differ, and each holds at every offset what it holds itself or what the other does.
fn is_swapped(specimen: &Specimen, content: &[Content]) -> bool {
    let differ: Vec<_> =
        content.iter().zip(&specimen.content).filter(|(found, whole)| found != whole).collect();
    let [(one, whole_one), (other, whole_other)] = differ[..] else { return false };
    let of_both = |found: &Content| {
        let mut both = whole_one.records[0].iter().chain(&whole_other.records[0]);
        found.records[0].iter().all(|record| both.clone().any(|it| it == record)) && both.next().is_some()
    };
    let offsets =
        |content: &Content| content.records[0].iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
    of_both(one)
        && of_both(other)
        && offsets(one) == offsets(whole_one)
        && offsets(other) == offsets(whole_other)
}

/// Whether some are gone, and the others are what they were.
fn is_thinned<T: PartialEq>(whole: &[T], found: &[T]) -> bool {
    let mut whole = whole.iter();
    found.iter().all(|found| whole.any(|it| it == found))
}

/// The error says where to look.
fn assert_names(error: &Error, damage: &Damage) {
    let text = error.to_string();
    let is_named = damage.files().iter().any(|file| {
        let (dir, name) = file.rsplit_once('/').unwrap_or(("", file));
        let partition = dir.rsplit_once('-');
        text.contains(name)
            || partition.is_some_and(|(topic, partition)| {
                text.contains(&format!("topic {topic}, partition {partition}"))
            })
    });
    assert!(is_named, "it names something else: {error}");
}

/// What can be made again from the rest.
fn is_derived(file: &str) -> bool {
    let endings = ["index", "snapshot", "checkpoint", ".reserve", "cleanshutdown", ".adopted"];
    endings.iter().any(|ending| file.ends_with(ending)) && !file.ends_with("leader-epoch-checkpoint")
}

/// Whether the damage lies in the bytes of a batch that Kafka's checksum leaves out.
fn is_outside_crc(specimen: &Specimen, damage: &Damage) -> bool {
    const LENGTH_AT: usize = 8;
    const CRC_BEGINS: u64 = 21;
    let Damage::Flip { file, byte, .. } = damage else { return false };
    if !file.ends_with(".log") {
        return false;
    }
    let log = bytes(&specimen.vfs, file);
    let mut begins = 0;
    while let Some(header) = log.get(begins..begins + 61) {
        let len = u32::from_be_bytes(header[LENGTH_AT..LENGTH_AT + 4].try_into().unwrap());
        let at = begins as u64;
        if (at..at + CRC_BEGINS).contains(byte) {
            return true;
        }
        begins += 12 + len as usize;
    }
    false
}
