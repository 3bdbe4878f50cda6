//! Creating a topic: the steps, each durable before the next begins.

use std::path::PathBuf;
use std::sync::Arc;

use super::manifest::{TopicEntry, TopicState};
use super::partition_dirs;
use super::shared::{Admin, Shared};
use super::topic_logs::TopicLogs;
use super::topics::{claim_slots, free_slots, store};
use crate::config::TopicConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{TopicId, TopicName};
use crate::mutant::{self, Mutant};

/// Creates a topic. A failure leaves nothing of it behind, or stops further changes if that fails, too.
pub fn create(shared: &Shared, name: &str, config: &TopicConfig) -> Result<Arc<TopicLogs>> {
    shared.check_open()?;
    let config = config.clone().or_durability(shared.env.options.durability);
    let name = check(name, &config)?;
    let created = make(shared, name, config);
    shared.groups.topics_changed();
    created
}

/// Creates a topic in which the broker keeps state of its own.
pub fn create_internal(shared: &Shared, name: &str, config: &TopicConfig) -> Result<Arc<TopicLogs>> {
    make(shared, TopicName::new(name)?, config.clone())
}

fn make(shared: &Shared, name: TopicName, config: TopicConfig) -> Result<Arc<TopicLogs>> {
    shared.check_open()?;
    let mut admin = shared.admin.lock();
    admin.check()?;
    check_name_is_free(&admin, &name)?;
    let partitions = 0..config.partitions;
    partition_dirs::check_places_are_free(&shared.env, &name, partitions.clone())?;

    let begun =
        if mutant::is(Mutant::LiveBeforeDirectories) { TopicState::Live } else { TopicState::Creating };
    let entry = TopicEntry::new(TopicId::random(|| shared.env.vfs.random()), begun, config);
    // The evidence is there before anybody could look for it.
    let named = claim_slots(shared, entry.id, partitions.clone()).and_then(|slots| {
        store(shared, &mut admin, &name, Some(&entry))?;
        Ok(slots)
    });
    let slots = named.map_err(|error| {
        free_slots(shared, entry.id, partitions);
        error.in_topic(name.as_str())
    })?;
    let mut made = Vec::new();
    let created = partition_dirs::make(&shared.env, &name, &entry, slots, &mut made).and_then(|logs| {
        store(shared, &mut admin, &name, Some(&TopicEntry { state: TopicState::Live, ..entry.clone() }))?;
        Ok(logs)
    });
    match created {
        Ok(logs) => {
            let logs = Arc::new(TopicLogs::new(name.clone(), entry.id, entry.config, logs));
            shared.topics.write().insert(name, Arc::clone(&logs));
            Ok(logs)
        }
        Err(error) => {
            if admin.failed.is_none() {
                undo(shared, &mut admin, &name, &entry, None, &made);
            }
            Err(error.in_topic(name.as_str()))
        }
    }
}

/// Fails for a name or a configuration with which no topic can be created, wherever that is.
pub fn check(name: &str, config: &TopicConfig) -> Result<TopicName> {
    let name = TopicName::new(name)?;
    name.check_writable()?;
    let valid = config.validate().and_then(|()| config.check_codec());
    valid.map_err(|error| error.in_topic(name.as_str()))?;
    Ok(name)
}

/// Takes back what was made of a topic, or of its new partitions, and has the manifest say again what it said
/// `before`; what cannot be taken back stops further changes.
pub fn undo(
    shared: &Shared,
    admin: &mut Admin,
    name: &TopicName,
    entry: &TopicEntry,
    before: Option<&TopicEntry>,
    made: &[PathBuf],
) {
    let undone = made
        .iter()
        .try_for_each(|dir| partition_dirs::remove_whole(&shared.env, dir))
        .and_then(|()| store(shared, admin, name, before));
    let kept = before.map_or(0, |before| before.config.partitions);
    free_slots(shared, entry.id, kept..entry.config.partitions);
    if let Err(error) = undone {
        admin.failed.get_or_insert(error);
    }
}

fn check_name_is_free(admin: &Admin, name: &TopicName) -> Result<()> {
    let Some(existing) = admin.manifest.topics.keys().find(|existing| existing.collides_with(name)) else {
        return Ok(());
    };
    if existing == name {
        return Err(
            Error::new(ErrorKind::TopicAlreadyExists, "the topic exists already").in_topic(name.as_str())
        );
    }
    let what = format!("the name collides with topic {}: '.' and '_' count as the same", existing.as_str());
    Err(Error::new(ErrorKind::InvalidTopic, what).in_topic(name.as_str()).advise("choose another name"))
}
