//! The oracle: what was sent to a directory and what was said of it, against what is read there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla::{Broker, Start};

use crate::appender::PLACES;
use crate::child::Child;
use crate::record_id::RecordId;
use crate::report::{Group, Report};

/// What a stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A process was killed: the operating system has everything.
    Kill,
    /// The same where the disk may have been full: a record may have been refused, and a later one taken, before the
    /// process could tell of either.
    KillWithoutRoom,
    /// The disk has lost what was not synced.
    PowerCut,
    /// The same, and syncs have failed before.
    FailedSync,
}

impl Stop {
    fn is_kill(self) -> bool {
        matches!(self, Self::Kill | Self::KillWithoutRoom)
    }
}

/// The records of each place, in their order.
pub type View = [Vec<RecordId>; PLACES.len()];

/// Of one directory, life by life.
#[derive(Default)]
pub struct Ledger {
    /// What was read the last time.
    confirmed: View,
    /// The life that is being lived, and what it has reported.
    life: u32,
    told: BTreeMap<(u8, u8), Vec<Told>>,
    /// How many acknowledged records were held against what is there.
    pub checked: u64,
    /// How many records were reported as not written, or as unknown.
    pub not_written: u64,
    pub unknown: u64,
    /// How many partitions were opened anew in midst of a life.
    pub reopened: u64,
    pub is_closed: bool,
    /// Whether acknowledgements count no more: what says them lies.
    pub is_over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    group: Group,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nobody has said: there, if all before it is, or refused.
    Sent,
    Acknowledged {
        offset: u64,
        is_synced: bool,
    },
    NotWritten,
    Unknown,
}

impl Ledger {
    pub fn begin(&mut self, life: u32) {
        self.life = life;
        self.told.clear();
        (self.is_closed, self.is_over) = (false, false);
    }

    /// Takes down what the child says until it is gone.
    pub fn take_down_all(&mut self, child: &mut Child) {
        while let Some(line) = child.line() {
            self.take_down(&line);
        }
    }

    /// Takes down a line; returns what it says.
    pub fn take_down(&mut self, line: &str) -> Option<Report> {
        let report = Report::decode(line)?;
        match report {
            Report::Sends(group) => {
                let told = self.told.entry((group.thread, group.place)).or_default();
                told.push(Told { group, outcome: Outcome::Sent });
            }
            Report::Acknowledged { .. } if self.is_over => {}
            Report::Acknowledged { group, offset, is_synced } => {
                self.settle(group, Outcome::Acknowledged { offset, is_synced });
            }
            Report::NotWritten(group) => {
                self.not_written += u64::from(group.count);
                self.settle(group, Outcome::NotWritten);
            }
            Report::Unknown(group) => {
                self.unknown += u64::from(group.count);
                self.settle(group, Outcome::Unknown);
            }
            Report::Closed => self.is_closed = true,
            Report::Reopened => self.reopened += 1,
            Report::Begins | Report::Opened | Report::Closing => {}
        }
        Some(report)
    }

    fn settle(&mut self, group: Group, outcome: Outcome) {
        let told = self.told.get_mut(&(group.thread, group.place)).expect("it was sent");
        let told = told.iter_mut().rev().find(|told| told.group == group).expect("it was sent");
        assert_eq!(told.outcome, Outcome::Sent, "told once");
        told.outcome = outcome;
    }

    /// Holds what is there against everything that was said; from now on it has to stay.
    pub fn check(&mut self, found: &View, stop: Stop) {
        for (place, found) in found.iter().enumerate() {
            let (topic, partition) = PLACES[place];
            let kept = &self.confirmed[place];
            assert!(
                found.starts_with(kept),
                "{topic}-{partition}: what was read before is not there any more"
            );
            self.check_place(u8::try_from(place).unwrap(), found, kept.len(), stop);
        }
        self.confirmed = found.clone();
        self.told.clear();
    }

    fn check_place(&mut self, place: u8, found: &[RecordId], kept: usize, stop: Stop) {
        let (topic, partition) = PLACES[usize::from(place)];
        let mut by_thread: BTreeMap<u8, Vec<(usize, u32)>> = BTreeMap::new();
        for (offset, id) in found.iter().enumerate().skip(kept) {
            assert!(
                id.life == self.life && id.place == place,
                "{topic}-{partition}: offset {offset} holds {id:?}, which was not sent there in life {}",
                self.life
            );
            by_thread.entry(id.thread).or_default().push((offset, id.number));
        }
        for ((thread, _), told) in self.told.iter().filter(|((_, there), _)| *there == place) {
            let found = by_thread.remove(thread).unwrap_or_default();
            let what = format!("{topic}-{partition}, life {}, thread {thread}", self.life);
            check_order(&what, told, &found, stop);
            self.checked += check_acknowledged(&what, told, &found, stop);
        }
        assert!(by_thread.is_empty(), "{topic}-{partition}: what nobody has sent: {by_thread:?}");
    }
}

/// What is there is what was sent, in that order, without a gap, and whole groups only.
fn check_order(what: &str, told: &[Told], found: &[(usize, u32)], stop: Stop) {
    let mut left = found;
    let mut missing = None;
    for Told { group, outcome } in told {
        let numbers = group.first..group.first + group.count;
        let there = left.iter().take_while(|(_, number)| numbers.contains(number)).count();
        let (these, behind) = left.split_at(there);
        if there == 0 {
            let may_be_refused = *outcome == Outcome::Sent && stop == Stop::KillWithoutRoom;
            if !may_be_refused && !matches!(outcome, Outcome::NotWritten | Outcome::Unknown) {
                missing = missing.or(Some(group));
            }
            continue;
        }
        assert_ne!(
            *outcome,
            Outcome::NotWritten,
            "{what}: {group:?} is there, which was told as not written"
        );
        assert_eq!(missing, None, "{what}: {group:?} is there, and not what was sent before");
        let first = these[0].0;
        let is_whole =
            numbers.clone().enumerate().map(|(at, number)| (first + at, number)).eq(these.iter().copied());
        assert!(is_whole, "{what}: of {group:?} there is {these:?}");
        left = behind;
    }
    assert!(left.is_empty(), "{what}: what was never sent, or stands elsewhere: {left:?}");
}

/// What is acknowledged and has to be there stands where it was said; returns how many records that are.
fn check_acknowledged(what: &str, told: &[Told], found: &[(usize, u32)], stop: Stop) -> u64 {
    let mut checked = 0;
    let offsets: BTreeMap<u32, usize> = found.iter().map(|(offset, number)| (*number, *offset)).collect();
    for Told { group, outcome } in told {
        let Outcome::Acknowledged { offset, is_synced } = *outcome else { continue };
        match offsets.get(&group.first) {
            Some(there) => {
                assert_eq!(*there as u64, offset, "{what}: {group:?} stands elsewhere");
                checked += u64::from(group.count);
            }
            None => assert!(
                !stop.is_kill() && !is_synced,
                "{what}: {group:?} was acknowledged at offset {offset}, and is lost"
            ),
        }
    }
    checked
}

/// Reads everything, from the beginning and through the indexes.
pub fn view(broker: &Broker) -> View {
    std::array::from_fn(|place| {
        let (topic, partition) = PLACES[place];
        // A life that ended while it created them.
        let Ok(topic) = broker.topic(topic) else { return Vec::new() };
        let partition = topic.partition(partition).unwrap();
        let mut found = Vec::new();
        for batch in partition.read(Start::Earliest).unwrap() {
            let batch = batch.unwrap_or_else(|error| panic!("{error}"));
            for record in &batch {
                assert_eq!(record.offset(), found.len() as u64, "{partition:?} has a gap");
                found.push(RecordId::read(&record));
            }
        }
        assert_eq!(partition.high_watermark(), found.len() as u64, "{partition:?} is not read to its end");
        for offset in (0..found.len()).step_by(found.len() / 7 + 1) {
            let batch = partition.read(Start::At(offset as u64)).unwrap().next().unwrap().unwrap();
            let record = batch.iter().find(|record| record.offset() == offset as u64);
            assert_eq!(RecordId::read(&record.unwrap()), found[offset], "{partition:?}, read at {offset}");
        }
        found
    })
}

/// The logs of the directory, each with a checksum of its bytes.
pub fn logs(dir: &Path) -> BTreeMap<PathBuf, (usize, u32)> {
    let mut logs = BTreeMap::new();
    for entry in
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        for path in std::fs::read_dir(entry).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|it| it == "log") {
                let bytes = std::fs::read(&path).unwrap();
                logs.insert(path, (bytes.len(), crc32fast::hash(&bytes)));
            }
        }
    }
    logs
}
