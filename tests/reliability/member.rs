//! A member of a group in a child: it processes what it is given, commits in every way there is, leaves and comes back, and
//! reports.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ottla::{
    Broker, Commit, Committer, Consumer, ConsumerRecord, ConsumerRecords, Offset, OffsetAndMetadata,
    Partition, RebalanceListener,
};

use crate::appender::PLACES;
use crate::dice::Dice;
use crate::member_report::{CommitNumber, MemberNumber, MemberReport};
use crate::record_id::RecordId;

/// The group of all of them.
pub const GROUP: &str = "workers";

/// How many commits it has on their way at most.
const WINDOW: usize = 4;
const POLL: Duration = Duration::from_millis(10);

pub struct Member<'a> {
    broker: &'a Broker,
    dice: Dice,
    /// The listener has it, too.
    held: Arc<Mutex<Held>>,
    on_their_way: VecDeque<(CommitNumber, Commit)>,
}

/// What a member has of the group.
struct Held {
    member: MemberNumber,
    /// By place: the offset of what it processes next.
    next: [Option<Offset>; PLACES.len()],
    /// Places that it was given, and has not begun with.
    given: Vec<Partition>,
    commits: CommitNumber,
}

impl<'a> Member<'a> {
    pub fn new(broker: &'a Broker, member: MemberNumber, dice: Dice) -> Self {
        let held = Held { member, next: [None; PLACES.len()], given: Vec::new(), commits: 0 };
        Self { broker, dice, held: Arc::new(Mutex::new(held)), on_their_way: VecDeque::new() }
    }

    pub fn take_part(&mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let commits_itself = self.dice.below(4) == 0;
            let mut consumer = self.join(commits_itself);
            for _ in 0..=self.dice.below(200) {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                if commits_itself {
                    // It may be acknowledged at any moment from here on, and nobody hears of it.
                    _ = self.held().begin_commit(None);
                }
                let records = consumer.poll(POLL).unwrap();
                self.process(&consumer, &records);
                self.commit(&mut consumer, &records);
            }
            // It leaves at once, whatever it has processed and not committed.
            drop(consumer);
            self.held().leave();
            if self.dice.below(2) == 0 {
                // They are made, whoever waits for them.
                self.on_their_way.clear();
            }
        }
    }

    fn join(&mut self, commits_itself: bool) -> Consumer {
        let most = 1 + usize::try_from(self.dice.below(16)).unwrap();
        let mut builder = self.broker.consumer().group(GROUP).max_poll_records(most);
        if commits_itself {
            builder = builder.auto_commit(Duration::from_millis(self.dice.below(20)));
        }
        let mut consumer = builder.subscribe(PLACES.map(|(topic, _)| topic)).unwrap();
        let ear = Ear { held: Arc::clone(&self.held), commits: self.dice.below(2) == 0 };
        consumer.set_rebalance_listener(ear).unwrap();
        consumer
    }

    /// Reports each record, and where each place was begun that is new.
    fn process(&self, consumer: &Consumer, records: &ConsumerRecords) {
        let mut by_place: BTreeMap<u8, Vec<(Offset, RecordId)>> = BTreeMap::new();
        for record in records {
            let place = place(record.topic(), record.partition());
            by_place.entry(place).or_default().push((record.offset(), RecordId::read(&record.view())));
        }
        let mut held = self.held();
        for partition in std::mem::take(&mut held.given) {
            let place = place(partition.topic(), partition.id());
            let first = by_place.get(&place).map(|records| records[0].0);
            held.begin(place, first.unwrap_or_else(|| consumer.position(&partition).unwrap().offset()));
        }
        for (place, records) in by_place {
            held.process(place, &records);
        }
    }

    fn commit(&mut self, consumer: &mut Consumer, records: &ConsumerRecords) {
        let one = records.iter().nth(usize::try_from(self.dice.below(16)).unwrap());
        match (self.dice.below(8), one) {
            (0, _) => {
                let number = self.held().begin_commit(None);
                let outcome = consumer.commit();
                self.held().end_commit(number, outcome);
            }
            (1 | 2, _) => {
                let number = self.held().begin_commit(None);
                match consumer.commit_async() {
                    Ok(commit) => self.on_their_way.push_back((number, commit)),
                    Err(error) => self.held().end_commit(number, Err(error)),
                }
            }
            (3, Some(record)) => {
                let number = self.held().begin_commit(Some(&record));
                let outcome = consumer.commit_through(&record);
                self.held().end_commit(number, outcome);
            }
            (4, Some(record)) => {
                let number = self.held().begin_commit(Some(&record));
                let outcome = commit_with_words(consumer, &record);
                self.held().end_commit(number, outcome);
            }
            _ => {}
        }
        while self.on_their_way.len() > WINDOW {
            let Some((number, commit)) = self.on_their_way.pop_front() else { return };
            let outcome = commit.wait();
            self.held().end_commit(number, outcome);
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }
}

fn commit_with_words(consumer: &mut Consumer, record: &ConsumerRecord<'_>) -> ottla::Result<()> {
    let is_its =
        |partition: &Partition| (partition.topic(), partition.id()) == (record.topic(), record.partition());
    let partition = consumer.assignment().into_iter().find(is_its).expect("it was handed out just now");
    let words = record.position().offset().to_string();
    consumer.commit_offsets([(partition, OffsetAndMetadata::new(record.position()).metadata(&words))])
}

/// The number of a place.
pub fn place(topic: &str, partition: u32) -> u8 {
    let place = PLACES.iter().position(|place| *place == (topic, partition));
    u8::try_from(place.expect("it subscribes to no others")).unwrap()
}

impl Held {
    fn tell(&self, report: &MemberReport) {
        report.tell(self.member);
    }

    fn begin(&mut self, place: u8, offset: Offset) {
        self.tell(&MemberReport::Takes { place, offset });
        self.next[usize::from(place)] = Some(offset);
    }

    fn process(&mut self, place: u8, records: &[(Offset, RecordId)]) {
        let (first, last) = (records[0].0, records[records.len() - 1].0);
        assert_eq!(last - first + 1, records.len() as u64, "a gap behind offset {first}");
        let records = records.iter().map(|(_, id)| *id).collect();
        self.tell(&MemberReport::Processed { place, first, records });
        self.next[usize::from(place)] = Some(last + 1);
    }

    /// Says what is going to be committed: up to this record, or all that was processed.
    fn begin_commit(&mut self, through: Option<&ConsumerRecord<'_>>) -> CommitNumber {
        let all = self.next.iter().enumerate();
        let all = all.filter_map(|(place, next)| Some((u8::try_from(place).unwrap(), (*next)?)));
        let offsets = match through {
            Some(record) => vec![(place(record.topic(), record.partition()), record.offset() + 1)],
            None => all.collect(),
        };
        self.commits += 1;
        self.tell(&MemberReport::Commits { number: self.commits, offsets });
        self.commits
    }

    fn end_commit(&self, number: CommitNumber, outcome: ottla::Result<()>) {
        outcome.unwrap();
        self.tell(&MemberReport::Committed { number });
    }

    fn leave(&mut self) {
        self.next = [None; PLACES.len()];
        self.given.clear();
    }
}

/// What hears of its assignment.
struct Ear {
    held: Arc<Mutex<Held>>,
    /// Whether it commits what is about to be taken.
    commits: bool,
}

impl RebalanceListener for Ear {
    fn assigned(&mut self, partitions: &[Partition]) {
        self.held.lock().unwrap().given.extend_from_slice(partitions);
    }

    fn revoked(&mut self, partitions: &[Partition], committer: &mut Committer<'_>) {
        let mut held = self.held.lock().unwrap();
        if self.commits {
            let number = held.begin_commit(None);
            let outcome = committer.commit();
            held.end_commit(number, outcome);
        }
        for partition in partitions {
            let gone = place(partition.topic(), partition.id());
            held.next[usize::from(gone)] = None;
            held.given.retain(|given| place(given.topic(), given.id()) != gone);
        }
    }

    fn lost(&mut self, partitions: &[Partition]) {
        panic!("{partitions:?} are lost, and it has polled all the time");
    }
}
