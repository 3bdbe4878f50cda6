//! Adopting: taking over the directory of a stopped Kafka broker.
//!
//! Kafka's evidence ([`KafkaEvidence`]) and its directories ([`inventory`]) are read, and each partition is judged
//! ([`partition`]), before anything is changed. Then come the steps, each of which may be the last one before a crash:
//!
//! 1. what is to be cut is copied, and the clean-shutdown marker removed, as a broker does, too;
//! 2. each partition is mended, and a new segment begun behind what Kafka has written: it stays Kafka's, and
//!    everything of ours lies in segments of our own;
//! 3. the ends file and the manifest are written, with the lengths of Kafka's segments, which change no more;
//! 4. `meta.properties` is renamed to `meta.properties.adopted`.
//!
//! Up to the last step the directory is Kafka's: a broker starts on it, or it is adopted again, from the beginning.

mod epochs;
mod inventory;
mod partition;
mod settings;
mod transaction_indexes;

use std::path::PathBuf;
use std::sync::Arc;

use super::damage;
use super::environment::Environment;
use super::giving_back;
use super::kafka_evidence::KafkaEvidence;
use super::kafka_segments::KafkaSegments;
use super::manifest::{AdoptedEnd, Manifest, TopicEntry, TopicState};
use super::marker;
use super::recovery_report::{PartitionRecovery, RecoveryReport};
use crate::ends_file::{EndsFile, Owner, ProvenEnd};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{ADOPTED_PROPERTIES, META_PROPERTIES, RETURNING, partition_dir};
use crate::model::{PartitionId, TopicName};
use crate::partition_log::{LeaderEpochs, LogContext, cut_back, preserve};
use crate::segment::{ActiveSegment, SegmentDir};
use inventory::Inventory;
use partition::Taken;

pub use inventory::topic_id;
pub use settings::AdoptSettings;

/// A directory that was Kafka's, and is ours.
pub struct Adopted {
    pub manifest: Manifest,
    pub ends: Arc<EndsFile>,
    pub report: RecoveryReport,
}

/// Takes over the directory, whose lock the caller holds.
pub fn adopt(env: &Environment) -> Result<Adopted> {
    judge(env)
        .map_err(|error| match error.kind() {
            ErrorKind::CorruptMessage if env.options.isolate_damage => error
                .advise_also("an adoption does not isolate damage: it takes over every partition, or none"),
            _ => error,
        })?
        .carry_out()
}

/// Reads and judges everything.
fn judge(env: &Environment) -> Result<Change<'_>> {
    let (vfs, root) = (env.vfs.as_ref(), &*env.root);
    let evidence = KafkaEvidence::read(vfs, root)?;
    let Inventory { topics, mut notes } = Inventory::read(vfs, root, &evidence)?;
    let mut manifest = Manifest::new(vfs);
    let (mut partitions, mut damages) = (Vec::new(), Vec::new());
    for (name, found) in &topics {
        let config = env.options.adopting.config(name, found.partitions, env.options.durability);
        config.validate().map_err(|error| error.in_topic(name.as_str()))?;
        let mut entry = TopicEntry::new(found.id, TopicState::Live, config);
        for partition in 0..found.partitions {
            let dir =
                SegmentDir::new(Arc::clone(&env.vfs), &root.join(partition_dir(name, partition)), false);
            let taken = partition::judge(&dir, &env.codecs, evidence.of(name, partition))
                .map_err(|error| error.in_partition(name.as_str(), partition));
            let taken = match taken {
                // So that all are named.
                Err(error) if error.is_corruption() => {
                    damages.push(error);
                    continue;
                }
                taken => taken?,
            };
            let place = partition_dir(name, partition);
            notes.extend(taken.notes.iter().map(|note| format!("{place}: {note}")));
            entry.adopted.insert(partition, AdoptedEnd { offset: taken.end.offset, epoch: taken.epoch });
            partitions.push((name.clone(), partition, taken));
        }
        manifest.topics.insert(name.clone(), entry);
    }
    if let Some(error) = damage::together(&damages) {
        return Err(error);
    }
    check_named(env, &manifest)?;
    let report = RecoveryReport { clean: evidence.clean, notes, adopted: true, ..RecoveryReport::default() };
    Ok(Change { env, manifest, partitions, report })
}

/// A configuration for a topic that is not there is a mistake, in a name perhaps.
fn check_named(env: &Environment, manifest: &Manifest) -> Result<()> {
    let is_there = |name: &String| manifest.topics.keys().any(|topic| topic.as_str() == name);
    match env.options.adopting.by_topic.keys().find(|name| !is_there(name)) {
        None => Ok(()),
        Some(name) => {
            let what =
                "there is no such topic in the broker's directory, for which a configuration was given";
            Err(Error::new(ErrorKind::UnknownTopicOrPartition, what).in_topic(name).in_file(&env.root))
        }
    }
}

/// What is to be done, once everything was judged.
struct Change<'a> {
    env: &'a Environment,
    manifest: Manifest,
    partitions: Vec<(TopicName, PartitionId, Taken)>,
    report: RecoveryReport,
}

impl Change<'_> {
    fn carry_out(self) -> Result<Adopted> {
        let Self { env, mut manifest, partitions, mut report } = self;
        let (vfs, root) = (env.vfs.as_ref(), &*env.root);
        // What an adoption has left that was interrupted means nothing.
        let ends = Arc::new(EndsFile::create(vfs, root)?);
        let mut contexts = Vec::new();
        for (name, partition, _) in &partitions {
            let entry = manifest.topics.get(name).ok_or_else(|| super::topics::unknown(name.as_str()))?;
            let owner = Owner { topic: entry.id, partition: *partition };
            contexts.push(env.log_context(name, entry, ends.without_slot(owner)));
        }
        // Of all partitions, before anything is cut: a disk without room for the copies is left as it was.
        let copies = contexts.iter().zip(&partitions).map(|(context, (_, _, taken))| match &taken.cut {
            Some(cut) => preserve(context, cut),
            None => Ok(None),
        });
        let copies = copies.collect::<Result<Vec<_>>>()?;
        marker::remove(vfs, root)?;
        for ((context, (_, _, taken)), copy) in contexts.iter().zip(&partitions).zip(copies) {
            let mended = mend(context, taken, copy);
            let mended = mended.map_err(|error| error.in_partition(&context.topic, context.partition))?;
            report.partitions.extend(mended);
        }
        prove(env, &ends, &contexts, &partitions)?;
        note_segments(&mut manifest, &contexts, &partitions)?;
        // Kafka has the directory back, and we take it again. The manifest's sync makes it durable.
        giving_back::remove_if_there(vfs, &root.join(RETURNING))?;
        manifest.stage(vfs, root)?;
        Manifest::commit(vfs, root)?;
        let meta = root.join(META_PROPERTIES);
        vfs.rename(&meta, &root.join(ADOPTED_PROPERTIES)).doing("rename", &meta)?;
        vfs.sync_dir(root).doing("sync", root)?;
        Ok(Adopted { manifest, ends, report })
    }
}

/// Cuts what is not whole, and begins a segment behind what Kafka has written. Doing it again changes nothing.
fn mend(context: &LogContext, taken: &Taken, copy: Option<PathBuf>) -> Result<Option<PartitionRecovery>> {
    let LogContext { dir, config, clock, codecs, .. } = context;
    let (vfs, end) = (dir.vfs().as_ref(), taken.end);
    remove_leftovers(dir, taken)?;
    let outcome = taken.cut.as_ref().map(|cut| cut_back(context, cut, copy)).transpose()?.unwrap_or_default();
    if let Some(from) = taken.cut.as_ref().and_then(|cut| cut.unproven.first()) {
        transaction_indexes::rebuild(dir, codecs, *from, end.offset, taken.has_transactions)?;
    }
    if let Some(epochs) = &taken.more_epochs {
        epochs.stage(vfs, dir.path())?;
        LeaderEpochs::commit(vfs, dir.path())?;
    }
    if end.position > 0 || !taken.has_segments {
        ActiveSegment::create(dir, end.offset, config, clock.now())?;
    }
    vfs.sync_dir(dir.path()).doing("sync", dir.path())?;
    let cut = taken.cut.as_ref().filter(|_| outcome.cut_bytes > 0);
    Ok(cut.map(|cut| PartitionRecovery::of(context, cut, outcome)))
}

/// Removes what Kafka would. What stands beside a log that was removed goes first: without either it is a sign of loss.
fn remove_leftovers(dir: &SegmentDir, taken: &Taken) -> Result<()> {
    let vfs = dir.vfs().as_ref();
    let remove =
        |paths: &[PathBuf]| paths.iter().try_for_each(|path| vfs.remove_file(path).doing("remove", path));
    remove(&taken.orphans)?;
    if !taken.orphans.is_empty() {
        vfs.sync_dir(dir.path()).doing("sync", dir.path())?;
    }
    remove(&taken.deleted)
}

/// Notes which segments Kafka has left, now that they are mended.
fn note_segments(
    manifest: &mut Manifest,
    contexts: &[LogContext],
    partitions: &[(TopicName, PartitionId, Taken)],
) -> Result<()> {
    for (context, (name, partition, taken)) in contexts.iter().zip(partitions) {
        let Some(entry) = manifest.topics.get_mut(name) else { continue };
        entry.segments.insert(*partition, KafkaSegments::measure(&context.dir, taken.end.offset)?);
    }
    Ok(())
}

/// Writes the first slot of each partition: what Kafka has written is proven, and ours begins behind it.
fn prove(
    env: &Environment,
    ends: &Arc<EndsFile>,
    contexts: &[LogContext],
    partitions: &[(TopicName, PartitionId, Taken)],
) -> Result<()> {
    let slots = ends.claim(contexts.iter().map(|context| context.slot.owner()));
    let now = env.options.clock.monotonic();
    for (slot, (_, _, Taken { log_start, end, .. })) in slots.iter().zip(partitions) {
        let offset = end.offset;
        slot.publish(
            ProvenEnd {
                generation: 1,
                log_start: *log_start,
                segment: offset,
                offset,
                position: 0,
                log_end: offset,
            },
            now,
        );
    }
    ends.sync()
}
