//! The oracle of a group: what its members have processed and committed, against where it goes on.
//!
//! Whatever becomes of the process, a place goes on at the last commit that was acknowledged or at one that was sent behind it;
//! and so each record is processed at least once, those of a place in their order and by one member at a time.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ottla::{Broker, ErrorKind, Offset, Position, Start};

use crate::appender::{PLACES, open};
use crate::ledger::{View, view};
use crate::member::{GROUP, place};
use crate::member_report::{CommitNumber, MemberNumber, MemberReport};
use crate::record_id::RecordId;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Of one directory, life by life.
#[derive(Default)]
pub struct GroupLedger {
    places: [Place; PLACES.len()],
    /// Commits whose member has not told what became of them.
    open: BTreeMap<CommitId, Vec<(u8, Offset)>>,
    /// How many acknowledged commits of places were held against what is there.
    pub checked: u64,
    /// How often the first member of a life went on with a place at its last commit.
    pub resumed: u64,
}

type CommitId = (MemberNumber, CommitNumber);

#[derive(Default)]
struct Place {
    /// Where it goes on, unless it is at one of the next.
    acknowledged: Offset,
    /// Those that were sent behind it, in their order.
    sent: Vec<(CommitId, Offset)>,
    /// By offset.
    processed: Vec<RecordId>,
    /// Who has it, and what comes next.
    owner: Option<(MemberNumber, Offset)>,
    /// How many commits of this life were acknowledged.
    acknowledgements: u64,
}

impl GroupLedger {
    /// A process begins: nobody has anything.
    pub fn begin(&mut self) {
        self.open.clear();
        self.places.iter_mut().for_each(|place| place.owner = None);
    }

    /// Takes down a line; false if it is no member's.
    pub fn take_down(&mut self, line: &str) -> bool {
        let Some((member, report)) = MemberReport::decode(line) else { return false };
        match report {
            MemberReport::Takes { place, offset } => {
                self.resumed += u64::from(self.place(place).take(member, offset));
            }
            MemberReport::Processed { place, first, records } => {
                self.place(place).process(member, first, &records);
            }
            MemberReport::Commits { number, offsets } => {
                for (place, offset) in &offsets {
                    self.place(*place).commit((member, number), *offset);
                }
                self.open.insert((member, number), offsets);
            }
            MemberReport::Committed { number } => {
                for (place, offset) in self.open.remove(&(member, number)).expect("it was sent") {
                    self.place(place).acknowledge((member, number), offset);
                }
            }
        }
        true
    }

    fn place(&mut self, place: u8) -> &mut Place {
        &mut self.places[usize::from(place)]
    }

    /// Holds what the group has committed, and what it has processed, against everything that was said.
    pub fn check(&mut self, broker: &Broker, found: &View) {
        let committed = committed(broker);
        for ((place, found), committed) in self.places.iter_mut().zip(found).zip(committed) {
            let offset = committed.map_or(0, Position::offset);
            place.assert_allowed(offset);
            (place.acknowledged, place.owner) = (offset, None);
            place.sent.clear();
            self.checked += std::mem::take(&mut place.acknowledgements);
            let processed = &place.processed[..];
            assert!(found.starts_with(processed), "a member was handed out what is not there");
            assert!(offset <= processed.len() as u64, "{offset} is committed, and was never processed");
        }
    }

    /// The rest is processed here; returns how many records were processed at all.
    pub fn finish(&mut self, dir: &Path) -> u64 {
        self.begin();
        let broker = open(dir).unwrap();
        let found = view(&broker);
        let mut consumer = broker.consumer().group(GROUP).subscribe(PLACES.map(|(topic, _)| topic)).unwrap();
        let deadline = Instant::now() + TIMEOUT;
        while self.places.iter().zip(&found).any(|(place, found)| place.end() < found.len() as u64) {
            for record in &consumer.poll(Duration::from_millis(10)).unwrap() {
                let place = self.place(place(record.topic(), record.partition()));
                if place.owner.is_none() {
                    place.take(0, record.offset());
                }
                place.process(0, record.offset(), &[RecordId::read(&record.view())]);
            }
            assert!(Instant::now() < deadline, "the group does not go on");
        }
        let places = self.places.iter().zip(&found);
        places
            .map(|(place, found)| assert!(place.processed == *found, "what is there was not processed"))
            .count();
        drop(consumer);
        broker.close(TIMEOUT).unwrap();
        self.places.iter().map(|place| place.processed.len() as u64).sum()
    }
}

impl Place {
    fn assert_allowed(&self, offset: Offset) {
        let (acknowledged, sent) = (self.acknowledged, &self.sent);
        let is_allowed = offset == acknowledged || sent.iter().any(|(_, sent)| *sent == offset);
        assert!(
            is_allowed,
            "goes on at {offset}: {acknowledged} is acknowledged, and then was sent: {sent:?}"
        );
    }

    /// Somebody begins with it; true if that is where a killed process has committed.
    fn take(&mut self, member: MemberNumber, offset: Offset) -> bool {
        self.assert_allowed(offset);
        let is_first = self.owner.replace((member, offset)).is_none();
        is_first && offset > 0
    }

    fn process(&mut self, member: MemberNumber, first: Offset, records: &[RecordId]) {
        assert_eq!(self.owner, Some((member, first)), "processed by {member} at {first}");
        for (offset, id) in (first..).zip(records) {
            match self.processed.get(usize::try_from(offset).unwrap()) {
                Some(known) => assert_eq!(known, id, "another record at {offset}"),
                None => self.processed.push(*id),
            }
        }
        assert!(
            first + records.len() as u64 <= self.processed.len() as u64,
            "records before {first} are left out"
        );
        self.owner = Some((member, first + records.len() as u64));
    }

    fn commit(&mut self, id: CommitId, offset: Offset) {
        let is_owners = self.owner.is_some_and(|(member, next)| member == id.0 && offset <= next);
        assert!(is_owners, "{id:?} commits {offset}, and the place is with {:?}", self.owner);
        self.sent.push((id, offset));
    }

    fn acknowledge(&mut self, id: CommitId, offset: Offset) {
        self.acknowledgements += 1;
        // If it is not there, one behind it was acknowledged before.
        if let Some(at) = self.sent.iter().position(|(sent, _)| *sent == id) {
            self.sent.drain(..=at);
            self.acknowledged = offset;
        }
    }

    /// Where the next record is processed.
    fn end(&self) -> Offset {
        self.owner.map_or(self.acknowledged, |(_, next)| next)
    }
}

/// What the group has committed of each place, which can be read on from.
fn committed(broker: &Broker) -> [Option<Position>; PLACES.len()] {
    let mut committed = [None; PLACES.len()];
    let group = match broker.describe_group(GROUP) {
        Ok(group) => group,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::GroupIdNotFound, "{error}");
            return committed;
        }
    };
    for partition in group.partitions() {
        let Some(position) = partition.committed() else { continue };
        let words = partition.metadata();
        assert!(words.is_empty() || words == position.offset().to_string(), "{partition:?}");
        let there = broker.topic(partition.topic()).unwrap().partition(partition.partition()).unwrap();
        let next =
            there.read(Start::Resume(position)).unwrap_or_else(|error| panic!("{partition:?}: {error}"));
        assert_eq!(next.position().offset(), position.offset(), "{partition:?}");
        committed[usize::from(place(partition.topic(), partition.partition()))] = Some(position);
    }
    committed
}
