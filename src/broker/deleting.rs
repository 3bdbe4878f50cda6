//! Deleting a topic: the steps, each durable before the next begins.

use super::manifest::{TopicEntry, TopicState};
use super::partition_dirs;
use super::reserve;
use super::shared::{Admin, Shared};
use super::topics::{free_slots, live, store};
use crate::error::{Error, Result};
use crate::model::TopicName;
use crate::mutant::{self, Mutant};

/// Deletes a topic: from the moment at which the manifest says so it is gone, whatever happens then.
pub fn delete(shared: &Shared, name: &str) -> Result<()> {
    shared.check_open()?;
    let name = TopicName::new(name)?;
    name.check_writable()?;
    let topic = shared.topics.read().get(&name).cloned();
    // What cannot be read now could not be forgotten later.
    shared.groups.load()?;
    let deleted = delete_alone(shared, &name);
    topic.iter().for_each(|topic| topic.tell());
    shared.groups.topics_changed();
    deleted
}

/// While nobody else changes topics.
fn delete_alone(shared: &Shared, name: &TopicName) -> Result<()> {
    let mut admin = shared.admin.lock();
    admin.check()?;
    let entry = live(&admin, name)?;

    let place = |error: Error| error.in_topic(name.as_str());
    partition_dirs::check_removable(&shared.env, name, &entry).map_err(place)?;
    let remove_now = || partition_dirs::remove(&shared.env, name, &entry, 0..entry.config.partitions);
    mutant::does(Mutant::UnlinkBeforeManifest, || _ = remove_now());
    let deleting = TopicEntry { state: TopicState::Deleting, ..entry };
    let stored = store(shared, &mut admin, name, Some(&deleting));
    if let (Err(error), Some(_), Some(topic)) = (&stored, &admin.failed, shared.topics.read().get(name)) {
        // The disk may say that the topic is being deleted: nothing may be acknowledged in it any more.
        topic.logs.iter().for_each(|log| log.fail(error.clone()));
    }
    stored.map_err(place)?;
    let removed = shared.topics.write().remove(name);
    if let Some(topic) = removed {
        topic.logs.iter().for_each(|log| log.delete());
    }
    remove(shared, &mut admin, name, &deleting).map_err(place)?;
    // Deleting may have needed it, and has made room for it.
    reserve::set_aside(shared.env.vfs.as_ref(), &shared.env.root, shared.env.options.reserve)
}

/// Removes the directories of a topic that is not, or no longer, live, and then its entry.
pub fn remove(shared: &Shared, admin: &mut Admin, name: &TopicName, entry: &TopicEntry) -> Result<()> {
    let partitions = 0..entry.config.partitions;
    mutant::does(Mutant::ForgottenBeforeUnlink, || _ = store(shared, admin, name, None));
    // Of one that was never live nothing is committed.
    let forgotten = match entry.state {
        TopicState::Deleting => {
            mutant::unless(Mutant::CommitsNotForgotten, || shared.groups.forget_topic(name))
        }
        _ => Ok(()),
    };
    let removed = forgotten
        .and_then(|()| partition_dirs::remove(&shared.env, name, entry, partitions.clone()))
        .and_then(|()| store(shared, admin, name, None));
    free_slots(shared, entry.id, partitions);
    if let Err(error) = &removed {
        admin.failed.get_or_insert_with(|| error.clone());
    }
    removed
}
