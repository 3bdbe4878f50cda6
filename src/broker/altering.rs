//! Altering a topic: the steps, each durable before the next begins.
//!
//! The manifest that has the new configuration is the commit. What can fail comes before it: new partitions have
//! their directories, and where the level is raised every partition is synced, and held until the rule for what is
//! visible has changed.

use std::path::PathBuf;
use std::sync::Arc;

use super::creating::undo;
use super::manifest::{TopicEntry, TopicState};
use super::partition_dirs;
use super::shared::{Admin, Shared};
use super::topic_logs::TopicLogs;
use super::topics::{claim_slots, free_slots, live, store, unknown};
use crate::config::TopicConfig;
use crate::ends_file::EndsSlot;
use crate::error::{Error, ErrorKind, Result};
use crate::model::TopicName;
use crate::partition_log::Held;

/// Gives a topic another configuration, and more partitions. A failure leaves it as it was, or stops further changes
/// to topics if nobody knows.
pub fn alter(shared: &Shared, name: &str, config: TopicConfig) -> Result<Arc<TopicLogs>> {
    shared.check_open()?;
    let name = TopicName::new(name)?;
    name.check_writable()?;
    let mut admin = shared.admin.lock();
    admin.check()?;
    let before = live(&admin, &name)?;
    let found = shared.topics.read().get(&name).cloned();
    let topic = found.ok_or_else(|| unknown(name.as_str()))?;
    let after = TopicEntry { config: config.or_durability(before.config.level()), ..before.clone() };
    let place = |error: Error| error.in_topic(name.as_str());
    check(&before.config, &after.config).map_err(place)?;
    let altered = match after == before {
        true => Ok(()),
        false => Alteration { shared, topic: &topic, before, after }.run(&mut admin).map_err(place),
    };
    drop(admin);
    topic.tell();
    shared.groups.topics_changed();
    altered.map(|()| topic)
}

fn check(before: &TopicConfig, after: &TopicConfig) -> Result<()> {
    after.validate()?;
    // One that it has already says so to whoever sends, and is nobody's fault who changes something else.
    if after.compression_type != before.compression_type {
        after.check_codec()?;
    }
    if after.partitions >= before.partitions {
        return Ok(());
    }
    let what =
        format!("the topic has {} partitions, and cannot have {}", before.partitions, after.partitions);
    Err(Error::new(ErrorKind::InvalidPartitions, what)
        .advise("partitions are only ever added: create a topic with fewer, and copy the records"))
}

/// A change of a topic that is under way.
struct Alteration<'a> {
    shared: &'a Shared,
    topic: &'a TopicLogs,
    before: TopicEntry,
    after: TopicEntry,
}

impl Alteration<'_> {
    fn run(&self, admin: &mut Admin) -> Result<()> {
        let slots = if self.grows() { self.announce(admin)? } else { Vec::new() };
        let mut made = Vec::new();
        let done = self.finish(admin, slots, &mut made);
        // If the manifest may say that the topic has grown, the directories and slots of its partitions are needed.
        if done.is_err() && self.grows() && admin.failed.is_none() {
            undo(self.shared, admin, self.name(), &self.after, Some(&self.before), &made);
        }
        done
    }

    /// Claims the slots of the new partitions, and says in the manifest that their directories come.
    fn announce(&self, admin: &mut Admin) -> Result<Vec<EndsSlot>> {
        let new = self.before.config.partitions..self.after.config.partitions;
        partition_dirs::check_places_are_free(&self.shared.env, self.name(), new.clone())?;
        let growing = TopicEntry { state: TopicState::Growing { to: new.end }, ..self.before.clone() };
        let announced = claim_slots(self.shared, self.after.id, new.clone()).and_then(|slots| {
            store(self.shared, admin, self.name(), Some(&growing))?;
            Ok(slots)
        });
        if announced.is_err() {
            // Whatever the disk says, the topic is opened without them.
            free_slots(self.shared, self.after.id, new);
        }
        announced
    }

    /// Makes the new partitions, and what is written durable where that is promised now; commits; and has everybody
    /// see the change.
    fn finish(&self, admin: &mut Admin, slots: Vec<EndsSlot>, made: &mut Vec<PathBuf>) -> Result<()> {
        let growing = TopicEntry {
            state: TopicState::Growing { to: self.after.config.partitions },
            ..self.after.clone()
        };
        let more = match slots.is_empty() {
            true => Vec::new(),
            false => partition_dirs::make(&self.shared.env, self.name(), &growing, slots, made)?,
        };
        let held = if self.raises() { self.hold()? } else { Vec::new() };
        store(self.shared, admin, self.name(), Some(&self.after))?;
        self.topic.alter(&self.after.config, more);
        drop(held);
        Ok(())
    }

    fn hold(&self) -> Result<Vec<Held<'_>>> {
        self.topic.logs.iter().filter_map(|log| log.hold().transpose()).collect()
    }

    fn name(&self) -> &TopicName {
        &self.topic.name
    }

    fn grows(&self) -> bool {
        self.after.config.partitions > self.before.config.partitions
    }

    /// Whether records were acknowledged, and visible, before they were durable, and are no longer.
    fn raises(&self) -> bool {
        let is_written_enough = |entry: &TopicEntry| entry.config.level().is_written_enough();
        is_written_enough(&self.before) && !is_written_enough(&self.after)
    }
}
