//! A service in its lives: what it does with its broker, writing down what it is told, and how it goes on after failures.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{CrashProfile, Fault, MemoryVfs, Operation, open_on, open_ticked_on};
use ottla::{Broker, Delivery, ErrorKind, ManualClock, Partition, Result, Topic};

use crate::acquiring::DEAD;
use crate::look::{check_positions, values_of};
use crate::step::Step;
use crate::support::{ROOT, options};
use crate::told::{End, Outcome, Place, Told, split};

/// What the clock says at first.
pub const NOON: i64 = 1_700_000_000_000;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where groups commit.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A program, its directory, and what it was told.
pub struct Service {
    pub vfs: MemoryVfs,
    pub clock: ManualClock,
    pub told: Told,
    /// `None` while it cannot be opened.
    broker: Option<Broker>,
    /// Whether ticks come as soon as threads would do what is due.
    is_ticked: bool,
    /// What nobody has waited for yet, with the numbers of the records.
    pub left: Vec<(Place, std::ops::Range<usize>, Delivery)>,
    /// Whether a call has failed since the directory was opened.
    is_excused: bool,
    /// What the one is called that is run, for the messages.
    what: String,
}

impl Service {
    pub fn begin(vfs: &MemoryVfs, told: Told, is_ticked: bool, what: impl Into<String>) -> Self {
        let (vfs, clock) = (vfs.clone(), ManualClock::at(NOON));
        let mut service = Self {
            vfs,
            clock,
            told,
            broker: None,
            is_ticked,
            left: Vec::new(),
            is_excused: false,
            what: what.into(),
        };
        let opened = service.open();
        service.check_reason("opening", opened);
        service
    }

    /// Takes every step, as far as the process lives, whatever becomes of the one before.
    pub fn take_all(&mut self, steps: &[Step]) {
        for step in steps {
            if self.vfs.is_stopped() {
                return;
            }
            self.take(step);
        }
    }

    pub fn take(&mut self, step: &Step) {
        if self.broker.is_none() {
            let opened = self.open();
            self.check_reason("opening again", opened);
        }
        if self.broker.is_some() && self.is_possible(step) {
            let outcome = self.attempt(step);
            let failed = outcome.is_err();
            self.check_reason(&format!("{step:?}"), outcome);
            if failed && !self.vfs.is_stopped() {
                self.mend_all();
            }
        }
    }

    /// Whether the partition of a step is there, or will be once its topic is made.
    fn is_possible(&self, step: &Step) -> bool {
        let Some((name, number)) = step.place().map(split) else { return true };
        let topic = self.broker().and_then(|broker| broker.topic(name));
        number == 0 || topic.is_ok_and(|topic| number < topic.partition_count())
    }

    /// Nothing fails for no reason.
    fn check_reason(&mut self, what: &str, outcome: Outcome) {
        self.is_excused |= self.vfs.failed_call().is_some();
        if let Err(error) = outcome {
            assert!(self.is_excused, "{}: {what}: {error}", self.what);
        }
    }

    fn attempt(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Send(place, sizes) => self.send(place, sizes),
            Step::Leave(place, sizes) => self.leave(place, sizes),
            Step::Batch(place, sizes) => self.send_batch(place, sizes),
            Step::Expect(place, size) => self.expect(place, *size),
            Step::Await(place, size, panics) => self.await_one(place, *size, *panics),
            Step::Commit(place) => self.commit(place),
            Step::CommitAt(place, number) => self.commit_at(place, *number),
            Step::MoveGroup(place, number) => self.move_group(place, *number),
            Step::DeleteGroup => self.delete_group(),
            Step::Work(place) => self.work(place),
            Step::Flush(topic) => self.flush(topic),
            Step::Sync(topic) => self.sync(topic),
            Step::Create(topic) => self.topic(topic).map(|_| ()),
            Step::Delete(topic) => self.delete(topic),
            Step::Alter(topic, change) => self.alter(topic, change.1),
            Step::Grow(topic) => self.grow(topic),
            Step::Close => self.close(),
            Step::Reopen => self.reopen(),
            Step::Mend(place) => self.mend(place),
            Step::Look => self.look_at_all(),
            Step::Tick => self.broker()?.tick().map(|_| ()),
            Step::Advance(time) => {
                self.clock.advance(*time);
                Ok(())
            }
            Step::SetWall(offset) => {
                self.clock.set_wall(NOON + offset);
                Ok(())
            }
            Step::PassInterval(place) => self.pass_interval(place),
            Step::Overdue(place) => self.overdue(place),
            Step::FailSync => {
                self.vfs.fail_next(Operation::SyncData, Fault::Io);
                Ok(())
            }
            Step::Fail(call, fault, repeat) => {
                self.is_excused |= self.vfs.failed_call().is_some();
                self.vfs.fail_nth(*call, *fault, *repeat);
                Ok(())
            }
            Step::Heal => {
                self.heal();
                self.kill()
            }
            Step::Kill => self.kill(),
            Step::PowerCut(profile, number) => {
                self.lose_power(*profile, *number);
                self.open()
            }
        }
    }

    // ---- Lives ----

    pub fn broker(&self) -> Result<Broker> {
        // It is there, or no step is taken.
        Ok(self.broker.clone().unwrap_or_else(|| panic!("{}: no broker", self.what)))
    }

    /// Opens the directory, and looks at what there is.
    fn open(&mut self) -> Outcome {
        let options = options().clock(self.clock.clock()).adopt(self.told.was_kafkas);
        let vfs = Arc::new(self.vfs.clone());
        let open = if self.is_ticked { open_ticked_on } else { open_on };
        let opened = open(options, vfs, Path::new(ROOT));
        if opened.is_err() && self.end_is() == End::PowerCut {
            // What a killed process has left in the page cache was lost as it was to be synced.
            self.told.cut_power();
        }
        self.broker = Some(opened?);
        self.is_excused = false;
        self.settle();
        Ok(())
    }

    fn close(&mut self) -> Outcome {
        let Some(broker) = self.broker.take() else { return Ok(()) };
        let closed = broker.close(TIMEOUT);
        self.wait_for_left();
        match closed {
            Ok(()) => self.told.synced(None),
            Err(_) if self.end_is() == End::PowerCut => self.told.cut_power(),
            Err(_) => {}
        }
        closed
    }

    fn reopen(&mut self) -> Outcome {
        let was_excused = self.is_excused;
        let closed = self.close();
        let opened = self.open();
        // What the close has told is of the life before.
        self.is_excused |= was_excused && closed.is_err();
        closed.and(opened)
    }

    fn kill(&mut self) -> Outcome {
        if self.end_is() == End::PowerCut {
            self.told.cut_power();
        }
        self.live_on(self.vfs.restart());
        self.open()
    }

    /// Of what may be on the disk then one is there.
    pub fn lose_power(&mut self, profile: CrashProfile, number: u64) {
        const BUDGET: usize = 8;
        let images: Vec<_> = self.vfs.images(profile, BUDGET, number).collect();
        let which = usize::try_from(number).unwrap() % images.len();
        self.told.cut_power();
        self.live_on(images[which].vfs.clone());
    }

    fn live_on(&mut self, left: MemoryVfs) {
        self.end_life();
        self.vfs = left;
    }

    /// The process ends; what it leaves, and what it was told.
    pub fn end(mut self) -> (MemoryVfs, Told) {
        if self.end_is() == End::PowerCut {
            self.told.cut_power();
        }
        let vfs = self.vfs.restart();
        self.end_life();
        (vfs, self.told.clone())
    }

    /// The process is gone: nothing of it is closed in order.
    fn end_life(&mut self) {
        self.left.clear();
        if let Some(broker) = self.broker.take() {
            end_process(&self.vfs, broker);
        }
    }

    /// What a disk has failed to sync is as good as lost in a power cut.
    pub fn end_is(&self) -> End {
        if self.vfs.has_failed_to_sync() { End::PowerCut } else { End::Kill }
    }

    // ---- What there is ----

    /// What an opening has left of every topic is what there is from now on.
    fn settle(&mut self) {
        let broker = self.broker().unwrap();
        let places: Vec<_> = self.told.topics.keys().copied().collect();
        for place in places {
            let (name, number) = split(place);
            let Ok(topic) = broker.topic(name) else {
                let is_lost = self.told.topics.get(place).is_some_and(|sent| sent.created);
                assert!(
                    !is_lost || self.told.maybe_deleted.contains(name),
                    "{}: topic {name} is lost",
                    self.what
                );
                self.told.forget(name);
                continue;
            };
            self.told.maybe_deleted.remove(name);
            if let Some((config, perhaps)) = self.told.altered.get_mut(name) {
                let found = topic.config();
                assert!(found == *config || Some(&found) == perhaps.as_ref(), "{}: {found:?}", self.what);
                (*config, *perhaps) = (found, None);
            }
            match topic.partition(number) {
                // What a disk has failed to sync may be gone, also while nobody has cut the power.
                Ok(partition) => self.look(place, &partition, self.end_is()),
                Err(_) => _ = self.told.topics.remove(place),
            }
        }
    }

    /// Holds a partition that was opened or mended against what was told, and takes what there is for certain.
    fn look(&mut self, place: Place, partition: &Partition, end: End) {
        let what = format!("{}: {place}", self.what);
        let count = usize::try_from(partition.high_watermark()).unwrap();
        let promised = self.told.promised(place, end);
        assert!(count >= promised, "{what} has {count} records of {promised}");
        let sent = self.told.sent(place);
        assert!(count <= sent.values.len(), "{what} has {count} records of {}", sent.values.len());
        let torn = sent.batches.iter().find(|batch| batch.start < count && count < batch.end);
        assert_eq!(torn, None, "{what} has {count} records");
        self.told.settle(place, count);
        self.read(place, partition, &what);
    }

    /// What can be read is what was told.
    fn read(&mut self, place: Place, partition: &Partition, what: &str) {
        let sent = self.told.sent(place);
        match values_of(partition, what) {
            Ok(found) => {
                assert!(sent.values.starts_with(&found), "{what} holds what was never sent: {found:?}");
                assert!(found.len() >= sent.acknowledged, "{what} shows {} records", found.len());
                check_positions(partition, sent, what);
            }
            Err(error) => {
                assert!(self.is_excused || self.vfs.failed_call().is_some(), "{what}: {error}");
            }
        }
    }

    fn look_at_all(&mut self) -> Outcome {
        let places: Vec<_> = self.told.topics.keys().copied().collect();
        for place in places {
            let (topic, number) = split(place);
            let Ok(partition) = self.broker()?.topic(topic).and_then(|topic| topic.partition(number)) else {
                continue;
            };
            let what = format!("{}: {place}, looked at", self.what);
            self.read(place, &partition, &what);
            self.look_at_commits(place, &what)?;
        }
        Ok(())
    }

    // ---- After failures ----

    /// Reopens what has failed, if it can be.
    fn mend_all(&mut self) {
        self.wait_for_left();
        let places: Vec<_> = self.told.topics.keys().copied().collect();
        for place in places {
            // What is not mended stays as it is.
            _ = self.broker.is_some().then(|| self.mend(place));
        }
        for name in [OFFSETS_TOPIC, DEAD] {
            let partition = self.broker.as_ref().map(|broker| broker.topic(name)?.partition(0));
            _ = partition.map(|partition| partition?.reopen());
        }
    }

    /// The disk works again: everything can be read, and the directory be opened anew.
    pub fn heal(&mut self) {
        self.vfs.fail_no_more();
        if self.broker.is_some() {
            let looked = self.look_at_all();
            assert!(looked.is_ok(), "{}: {looked:?}", self.what);
            // What has failed before may be told now.
            _ = self.close();
        }
        let opened = self.open();
        assert!(opened.is_ok(), "{}: healed, and cannot be opened: {opened:?}", self.what);
    }

    fn mend(&mut self, place: Place) -> Outcome {
        self.wait_for_left();
        let (topic, number) = split(place);
        let partition = self.broker()?.topic(topic).and_then(|topic| topic.partition(number));
        if let Ok(partition) = partition
            && partition.reopen()?.is_some()
        {
            self.told.failures.poisons += 1;
            self.look(place, &partition, End::PowerCut);
        }
        Ok(())
    }

    /// Learns what became of the records that nobody has waited for.
    pub fn wait_for_left(&mut self) {
        for (place, numbers, delivery) in std::mem::take(&mut self.left) {
            self.told.outcome(place, numbers, &delivery.wait());
        }
    }

    /// The topic, which is made if it is not there, and left alone if nobody knows.
    pub fn topic(&mut self, place: Place) -> Result<Topic> {
        let (broker, name) = (self.broker()?, split(place).0);
        match broker.topic(name) {
            Err(error)
                if error.kind() == ErrorKind::UnknownTopicOrPartition
                    && !self.told.maybe_deleted.contains(name) =>
            {
                self.told.sent(place);
                let topic = broker.create_topic(name, self.told.config(name))?;
                self.told.sent(place).created = true;
                Ok(topic)
            }
            found => {
                let topic = found?;
                self.told.sent(place).created |= topic.partition(split(place).1).is_ok();
                Ok(topic)
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end_life();
    }
}

/// Ends a process: its broker reaches the disk no more.
pub fn end_process(vfs: &MemoryVfs, broker: Broker) {
    vfs.stop_after(0);
    drop(broker);
}
