//! Undoing an adoption: a directory that was taken over from a Kafka broker becomes Kafka's again.
//!
//! The directory is closed in order, and then, under its lock:
//!
//! 1. `ottla.returning` says what is under way: nobody opens the directory until it is done;
//! 2. what was appended gets the leader epoch that Kafka had, and so does the checkpoint of the epochs; a log without a
//!    producer snapshot gets one that leaves Kafka to read it from its beginning;
//! 3. the clean-shutdown marker is written; Kafka's other checkpoints are what closing has made of them;
//! 4. `meta.properties` gets its name back, and the directory is Kafka's;
//! 5. our own files at the root go.
//!
//! Each step may be the last one before a crash: undoing again begins at the first, and doing one twice is doing it once.

mod kafkas_part;
mod restamping;

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directory::not_ours;
use super::manifest::{AdoptedEnd, Manifest, TopicEntry, TopicState};
use super::marker::{self, Marker};
use super::open::take_lock;
use super::options::BrokerOptions;
use crate::ends_file::Owner;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{
    ADOPTED_PROPERTIES, ENDS, MANIFEST, META_PROPERTIES, RESERVE, RETURNING, partition_dir, temporary,
};
use crate::model::{PartitionId, TopicName};
use crate::partition_log::producer_snapshots;
use crate::segment::{SegmentDir, segment_bases};
use crate::vfs::{Vfs, replace_file};

/// What undoing an adoption has done; see [`Broker::undo_adoption`](crate::Broker::undo_adoption).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UndoReport {
    pub(super) topics: usize,
    pub(super) partitions: usize,
    pub(super) restamped: u64,
}

impl UndoReport {
    /// How many topics were given back.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics
    }

    /// How many partitions they have together.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// How many record batches were appended since the adoption, and have Kafka's leader epoch now.
    #[must_use]
    pub fn restamped_batches(&self) -> u64 {
        self.restamped
    }
}

/// Gives the directory back.
pub fn give_back(vfs: &Arc<dyn Vfs>, root: &Path, options: BrokerOptions) -> Result<UndoReport> {
    if judge(vfs.as_ref(), root)? == State::Ours && marker::read(vfs.as_ref(), root)? != Marker::Ours {
        // What a crash has left is recovered first.
        let timeout = options.close_timeout;
        options.open_with(Arc::clone(vfs), root)?.close(timeout)?;
    }
    let _lock = take_lock(vfs.as_ref(), root)?;
    // Once more, now that nobody else can change it.
    match judge(vfs.as_ref(), root)? {
        State::Ours if marker::read(vfs.as_ref(), root)? != Marker::Ours => Err(in_use(root)),
        State::Ours | State::Returning => return_all(vfs, root),
        State::Returned => tidy_up(vfs.as_ref(), root).map(|()| UndoReport::default()),
    }
}

/// How far a directory is on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ours,
    Returning,
    /// It is Kafka's; what was ours at the root may still be there.
    Returned,
}

fn judge(vfs: &dyn Vfs, root: &Path) -> Result<State> {
    let entries = vfs.read_dir(root).doing("list", root)?;
    let holds = |name: &str| entries.iter().any(|entry| entry.name == name);
    if holds(META_PROPERTIES) {
        return match holds(RETURNING) {
            true => Ok(State::Returned),
            false => Err(not_ours(root, "the directory is a Kafka broker's already")),
        };
    }
    if !holds(ADOPTED_PROPERTIES) || !holds(MANIFEST) {
        return Err(not_ours(root, "the directory was not taken over from a Kafka broker"));
    }
    Ok(if holds(RETURNING) { State::Returning } else { State::Ours })
}

fn in_use(root: &Path) -> Error {
    Error::new(ErrorKind::DirectoryInUse, "somebody has used the directory meanwhile")
        .in_file(root)
        .advise("close the broker there, and undo the adoption then; nothing was changed")
}

fn return_all(vfs: &Arc<dyn Vfs>, root: &Path) -> Result<UndoReport> {
    let manifest = Manifest::load(vfs.as_ref(), root)?;
    manifest.topics.iter().try_for_each(|(name, entry)| check_known(name, entry))?;
    // Kafka trusts a directory that was closed in order: what is damaged is found before anything is changed.
    kafkas_part::check(vfs, root, &manifest)?;
    each_partition(vfs, root, &manifest, |dir, _, adopted| restamping::check(dir, adopted))?;
    let text = b"This directory is being given back to Kafka: undo its adoption once more to finish.\n";
    replace_file(vfs.as_ref(), root, RETURNING, text).doing("write", &root.join(RETURNING))?;
    marker::remove(vfs.as_ref(), root)?;
    let mut report = UndoReport { topics: manifest.topics.len(), ..UndoReport::default() };
    each_partition(vfs, root, &manifest, |dir, _, adopted| {
        report.restamped += return_partition(dir, adopted)?;
        report.partitions += 1;
        Ok(())
    })?;
    marker::write(vfs.as_ref(), root)?;
    let adopted = root.join(ADOPTED_PROPERTIES);
    vfs.rename(&adopted, &root.join(META_PROPERTIES)).doing("rename", &adopted)?;
    vfs.sync_dir(root).doing("sync", root)?;
    tidy_up(vfs.as_ref(), root)?;
    Ok(report)
}

/// A topic that Kafka does not know would be set aside by it.
fn check_known(name: &TopicName, entry: &TopicEntry) -> Result<()> {
    let known = PartitionId::try_from(entry.adopted.len()).unwrap_or(PartitionId::MAX);
    let what = match (known, entry.config.partitions) {
        _ if entry.state != TopicState::Live => "the topic is being created, altered or deleted".to_owned(),
        (0, _) => "the topic was created here, and Kafka does not know it".to_owned(),
        (known, partitions) if known < partitions => {
            format!("the topic has {partitions} partitions, and Kafka knows {known} of them")
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::UnknownTopicOrPartition, what).in_topic(name.as_str()).advise(
        "Kafka would set it aside: with a copy of the whole directory made, delete the topic in this one, undo the \
         adoption, and hand the topic over from the copy; nothing was changed",
    ))
}

fn each_partition(
    vfs: &Arc<dyn Vfs>,
    root: &Path,
    manifest: &Manifest,
    mut work: impl FnMut(&SegmentDir, (&TopicName, Owner), AdoptedEnd) -> Result<()>,
) -> Result<()> {
    for (name, entry) in &manifest.topics {
        for (partition, adopted) in &entry.adopted {
            let path = root.join(partition_dir(name, *partition));
            let dir = SegmentDir::new(Arc::clone(vfs), &path, false).with_kafka_end(adopted.offset);
            let owner = Owner { topic: entry.id, partition: *partition };
            work(&dir, (name, owner), *adopted)
                .map_err(|error| error.in_partition(name.as_str(), *partition))?;
        }
    }
    Ok(())
}

fn return_partition(dir: &SegmentDir, adopted: AdoptedEnd) -> Result<u64> {
    let (vfs, path) = (dir.vfs().as_ref(), dir.path());
    let restamped = restamping::restamp(dir, adopted)?;
    let entries = vfs.read_dir(path).doing("list", path)?;
    if let (true, Some(first)) =
        (producer_snapshots::offsets(&entries).is_empty(), segment_bases(dir)?.first())
    {
        producer_snapshots::write_empty(dir, *first)?;
    }
    vfs.sync_dir(path).doing("sync", path)?;
    Ok(restamped)
}

/// Removes what is ours at the root, the sign that there is something to be removed last of all.
fn tidy_up(vfs: &dyn Vfs, root: &Path) -> Result<()> {
    let manifest = temporary(MANIFEST);
    for name in [ENDS, MANIFEST, &manifest, RESERVE] {
        remove_if_there(vfs, &root.join(name))?;
    }
    vfs.sync_dir(root).doing("sync", root)?;
    remove_if_there(vfs, &root.join(RETURNING))?;
    vfs.sync_dir(root).doing("sync", root)
}

pub fn remove_if_there(vfs: &dyn Vfs, path: &Path) -> Result<()> {
    match vfs.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.doing("remove", path),
    }
}
