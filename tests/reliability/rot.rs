//! `rot`: what disks do to what they hold, sector by sector and batch by batch: zeros where something stood, what stood
//! there before, what belongs elsewhere, lengths that nobody wrote, indexes of another log. An error, or all of the data.

use std::path::Path;
use std::sync::Arc;

use ottla::internals::{MemoryVfs, open_on};
use ottla::{Broker, Record, Result, Start, TopicConfig};

use crate::crew::share;
use crate::figures::Figures;
use crate::recipe::{self, Recipe};
use crate::runner::Size;
use crate::support::{ROOT, get, options, put, values};

/// Of each of the two topics, whose batches are of one size, so that any two of them can change places.
const RECORDS: u8 = 24;
const SECTOR: usize = 512;
/// Nothing that is read needs more, whatever stands in it.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;

/// A file with something else in it.
struct Damage {
    /// What was done, and to which part.
    what: String,
    file: String,
    content: Vec<u8>,
    /// Whether the file can be made again, so that nothing may be missing.
    is_derived: bool,
}

impl Damage {
    fn recipe(&self, state: &str) -> Recipe {
        Recipe::new("rot", &[&state, &self.file, &self.what])
    }
}

pub fn run_suite(size: Size) -> Figures {
    let mut figures = Figures::new();
    let memory = peak_memory();
    for (state, vfs) in [("closed", closed()), ("killed", killed())] {
        let damages = damages(&vfs);
        let every = if recipe::is_one() { 1 } else { size.of(3, 1, 1) };
        let is_chosen = |(number, damage): &(usize, Damage)| {
            damage.recipe(state).is_asked_for() && (damage.is_derived || number.is_multiple_of(every))
        };
        let chosen = damages.into_iter().enumerate().filter(is_chosen);
        let chosen: Vec<_> = chosen.map(|(_, damage)| damage).collect();
        let told = share(&chosen, |damage| judge(&vfs, state, damage));
        for (damage, is_error) in chosen.iter().zip(told) {
            figures.add(damage.what.split(' ').next().unwrap_or_default(), 1);
            figures.add(if is_error { "errors" } else { "all of the data" }, 1);
        }
    }
    let grown = peak_memory().saturating_sub(memory);
    assert!(grown < MOST_MEMORY, "reading what is damaged took {grown} bytes of memory");
    for name in ["silently wrong", "panics"] {
        figures.add(name, 0);
    }
    figures
}

// ---- The directory ----

fn closed() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    fill(&vfs).close(std::time::Duration::from_secs(10)).unwrap();
    vfs
}

/// Everything was acknowledged, and says so.
fn killed() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    std::mem::forget(fill(&vfs));
    vfs.restart()
}

fn fill(vfs: &MemoryVfs) -> Broker {
    let broker = open(vfs).unwrap();
    for (topic, len) in [("a", 200), ("b", 280)] {
        let config = TopicConfig::new().segment_bytes(4096).index_interval_bytes(512);
        let producer = broker.create_topic(topic, config).unwrap().producer();
        for number in 0..RECORDS {
            producer.send(Record::new(&value(number, len))).unwrap().wait().unwrap();
        }
    }
    broker
}

fn value(number: u8, len: usize) -> Vec<u8> {
    vec![number + 1; len]
}

fn open(vfs: &MemoryVfs) -> Result<Broker> {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT))
}

// ---- The damage ----

fn damages(vfs: &MemoryVfs) -> Vec<Damage> {
    let mut damages = Vec::new();
    for base in bases(vfs) {
        let log = format!("a-0/{base}.log");
        damages.extend(of_log(&log, &get(vfs, &log)));
        for index in ["index", "timeindex"] {
            let name = format!("a-0/{base}.{index}");
            damages.extend(of_index(&name, &get(vfs, &name), if index == "index" { 8 } else { 12 }));
            let other = get(vfs, &format!("b-0/{:020}.{index}", 0));
            let what = "indexes of another log".to_owned();
            damages.push(Damage { what, file: name, content: other, is_derived: true });
        }
    }
    damages
}

fn bases(vfs: &MemoryVfs) -> Vec<String> {
    let files = crate::support::tree(vfs, &Path::new(ROOT).join("a-0"));
    let names = files.keys().filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".log"));
    names.map(str::to_owned).collect()
}

fn of_log(file: &str, log: &[u8]) -> Vec<Damage> {
    let batches = batches(log);
    let end = batches.last().map_or(0, |batch| batch.end);
    let mut damages = Vec::new();
    let mut with = |what: String, change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = log.to_vec();
        change(&mut content);
        if content != log {
            damages.push(Damage { what, file: file.to_owned(), content, is_derived: false });
        }
    };
    for at in (0..end).step_by(SECTOR) {
        let sector = at..(at + SECTOR).min(end);
        with(format!("zeros in {sector:?}"), &|log| log[sector.clone()].fill(0));
        with(format!("zeros from {at} on"), &|log| log[at..].fill(0));
        with(format!("sectors of before at {at}"), &|log| log.copy_within(0..sector.len(), at));
    }
    for (one, here) in batches.iter().enumerate() {
        with(format!("zeros from batch {one} on"), &|log| log[here.start..].fill(0));
        for length in [0, 1, 0x4000_0000, i32::MAX.cast_unsigned(), u32::MAX] {
            let field = here.start + 8..here.start + 12;
            with(format!("lengths of {length} in batch {one}"), &|log| {
                log[field.clone()].copy_from_slice(&length.to_be_bytes());
            });
        }
        for (other, there) in batches.iter().enumerate().filter(|(other, _)| *other != one) {
            with(format!("batches {one} in the place of {other}"), &|log| {
                log.copy_within(here.clone(), there.start);
            });
            with(format!("batches {one} and {other} in each other's place"), &|log| {
                let aside = log[here.clone()].to_vec();
                log.copy_within(there.clone(), here.start);
                log[there.clone()].copy_from_slice(&aside);
            });
        }
    }
    damages
}

/// Entries change places: their keys, or what they point at.
fn of_index(file: &str, index: &[u8], entry: usize) -> Vec<Damage> {
    let mut damages = Vec::new();
    let count = index.len() / entry;
    for (one, other) in (0..count).flat_map(|one| (0..count).map(move |other| (one, other))) {
        let mut content = index.to_vec();
        // The second half of an entry is what it points at.
        let (from, to) = (one * entry + entry - 4, other * entry + entry - 4);
        content.copy_within(from..from + 4, to);
        if content != index {
            let what = format!("indexes whose entry {other} points where {one} does");
            damages.push(Damage { what, file: file.to_owned(), content, is_derived: true });
        }
    }
    damages
}

fn batches(log: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut batches: Vec<std::ops::Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(length) = log.get(at + 8..at + 12) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        batches.push(at..at + 12 + length);
        at += 12 + length;
    }
    batches
}

// ---- The verdict ----

/// Whether it was an error; else everything is there, wherever reading begins.
fn judge(vfs: &MemoryVfs, state: &str, damage: &Damage) -> bool {
    let recipe = damage.recipe(state);
    let vfs = vfs.fork();
    put(&vfs, &damage.file, &damage.content);
    match read(&vfs) {
        Ok(wrong) => {
            assert_eq!(wrong, None, "{recipe}");
            false
        }
        Err(error) => {
            assert!(error.is_corruption() && !damage.is_derived, "{recipe}: {error}");
            true
        }
    }
}

/// What is read that was not written so.
fn read(vfs: &MemoryVfs) -> Result<Option<String>> {
    let broker = open(vfs)?;
    let partition = broker.topic("a")?.partition(0)?;
    let written: Vec<_> = (0..RECORDS).map(|number| value(number, 200)).collect();
    let found = values(&partition)?;
    if found != written {
        let firsts: Vec<_> = found.iter().map(|value| value.first().copied()).collect();
        return Ok(Some(format!("from the beginning: {firsts:?}")));
    }
    for (offset, value) in (0..).zip(&written) {
        let batch = partition.read(Start::At(offset))?.next().transpose()?;
        let first = batch.as_ref().and_then(|batch| batch.into_iter().next());
        let first = first.map(|record| (record.offset(), record.value().map(<[u8]>::to_vec)));
        if first != Some((offset, Some(value.clone()))) {
            return Ok(Some(format!("from {offset} on: {:?}", first.map(|(offset, _)| offset))));
        }
    }
    Ok(None)
}

/// What the process has ever taken of memory, in bytes; 0 where nobody says.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
