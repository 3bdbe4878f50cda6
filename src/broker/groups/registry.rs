//! The groups of an open directory: loaded from the internal topic when the first of them is used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::commits::Published;
use super::coordinator::GroupCoordinator;
use super::error::refused;
use super::offsets_topic;
use super::replayed::Replayed;
use crate::agenda::Reminder;
use crate::broker::shared::Shared;
use crate::broker::topic_logs::Topics;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{CommittedGroup, Group, GroupConfig, GroupSnapshot, TopicPartition};
use crate::sync::Mutex;

/// The groups of an open directory.
#[derive(Debug)]
pub struct Groups {
    pub(super) clock: Clock,
    topics: Arc<Topics>,
    pub(super) groups: Mutex<Option<Coordinators>>,
    /// Held while the internal topic is read.
    loading: Mutex<()>,
    /// Gone once the broker is closed.
    pub(super) reminder: Mutex<Option<Reminder>>,
}

type Coordinators = BTreeMap<Arc<str>, Arc<GroupCoordinator>>;

impl Groups {
    pub fn new(clock: Clock, topics: Arc<Topics>) -> Self {
        let (groups, loading, reminder) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { clock, topics, groups, loading, reminder }
    }

    /// The group of this name, as it was left if there was one.
    pub fn coordinator(&self, shared: &Shared, id: &str) -> Result<Arc<GroupCoordinator>> {
        shared.check_open()?;
        let group = Group::new(id, GroupConfig::default()).map_err(|error| refused(id, error))?;
        self.load()?;
        let groups = &mut *self.groups.lock();
        let groups = groups.get_or_insert_default();
        if let Some(coordinator) = groups.get(id) {
            return Ok(Arc::clone(coordinator));
        }
        let coordinator = self.coordinate(group, BTreeMap::new());
        groups.insert(id.into(), Arc::clone(&coordinator));
        Ok(coordinator)
    }

    /// Reads the internal topic, unless that was done. A failure has changed nothing, and the next call tries again.
    pub fn load(&self) -> Result<()> {
        let _one_at_a_time = self.loading.lock();
        if self.groups.lock().is_some() {
            return Ok(());
        }
        let groups = self.read()?;
        *self.groups.lock() = Some(groups);
        Ok(())
    }

    fn read(&self) -> Result<Coordinators> {
        let Some(topic) = offsets_topic::find(&self.topics)? else { return Ok(Coordinators::new()) };
        let mut replayed = Replayed::default();
        topic.logs.iter().try_for_each(|log| replayed.read(log)).map_err(unread)?;
        let mut groups = Coordinators::new();
        // Kafka had groups without a name once; nobody can be in one any more.
        for (id, known) in replayed.groups().filter(|(id, _)| !id.is_empty()) {
            let coordinator = self.coordinate(restored(id, known)?, replayed.offsets_of(id));
            let log = offsets_topic::log_of(&topic, id)?;
            coordinator.log.get_or_init(|| log);
            groups.insert(Arc::clone(id), coordinator);
        }
        Ok(groups)
    }

    fn coordinate(
        &self,
        group: Group,
        offsets: BTreeMap<TopicPartition, Published>,
    ) -> Arc<GroupCoordinator> {
        GroupCoordinator::new(group, offsets, self.clock.clone(), Arc::clone(&self.topics))
    }

    /// The groups that are loaded.
    pub(super) fn loaded(&self) -> Vec<Arc<GroupCoordinator>> {
        self.groups.lock().iter().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    /// The group was deleted.
    pub(super) fn remove(&self, group: &Arc<GroupCoordinator>) {
        if let Some(groups) = &mut *self.groups.lock()
            && groups.get(&group.id).is_some_and(|known| Arc::ptr_eq(known, group))
        {
            groups.remove(&group.id);
        }
    }

    /// The deletion of the group could not be written, or nobody knows whether it was: there is one again that has committed the
    /// same, until the internal topic tells otherwise.
    pub(super) fn bring_back(&self, group: &GroupCoordinator, error: &Error) {
        let (snapshot, offsets) = {
            let state = group.state.lock();
            (state.group.snapshot(), state.offsets.clone())
        };
        let restored =
            Group::restore(Arc::clone(&group.id), GroupConfig::default(), snapshot, self.clock.monotonic());
        let Ok(restored) = restored else { return };
        let restored = self.coordinate(restored, offsets);
        // The same: what it writes belongs behind what was written.
        if let Some(log) = group.log.get() {
            restored.log.get_or_init(|| Arc::clone(log));
        }
        restored.state.lock().is_stale = error.kind() != ErrorKind::NotWritten;
        if let Some(groups) = &mut *self.groups.lock() {
            groups.entry(Arc::clone(&group.id)).or_insert(restored);
        }
    }

    /// A topic was created, altered or deleted; the caller holds no lock.
    pub fn topics_changed(&self) {
        self.loaded().iter().for_each(|group| group.topics_changed());
    }

    /// Has the groups looked after from this time on.
    pub(super) fn look_after(&self, at: Duration) {
        if let Some(reminder) = &*self.reminder.lock() {
            reminder.set(at);
        }
    }

    /// The broker is being closed: whoever waits for an assignment learns of it.
    pub fn end(&self) {
        *self.reminder.lock() = None;
        self.loaded().iter().for_each(|group| group.wake_all());
    }
}

/// Says what the error means to whoever wanted something of a group.
fn unread(error: Error) -> Error {
    match error.kind() {
        ErrorKind::CorruptMessage => error.advise_also(
            "groups cannot be used as long as it is damaged, topics can; salvage what is sound into a new directory",
        ),
        ErrorKind::UnsupportedVersion => {
            error.advise_also("groups can be used by the version of this library, or of Kafka, that wrote it; topics can by this one")
        }
        _ => error,
    }
}

/// The group as it goes on: its members were those of a process that is no more.
fn restored(id: &Arc<str>, known: &CommittedGroup) -> Result<Group> {
    let snapshot = known.metadata.as_ref().map_or_else(GroupSnapshot::default, |metadata| GroupSnapshot {
        protocol_type: Arc::clone(&metadata.protocol_type),
        generation: metadata.generation,
        ..GroupSnapshot::default()
    });
    Group::restore(Arc::clone(id), GroupConfig::default(), snapshot, Duration::ZERO)
        .map_err(|error| refused(id, error))
}
