//! What stands at the root of a data directory.

use std::collections::BTreeMap;

use super::finding::{Finding, FindingKind, Severity};
use super::loss_check::severity_of;
use super::segment_check::{is_missing, plain};
use super::small_files::{decode_offsets, most};
use super::survey::{DirectoryKind, Survey};
use super::{FileKind, Verifying};
use crate::broker::{LostPartition, Marker, TopicState};
use crate::checkpoint;
use crate::error::{IoContext, Result};
use crate::file_name::{
    CLEAN_SHUTDOWN, CLEANER_POINTS, CLUSTER_METADATA, ENDS, HIGH_WATERMARKS, LOG_STARTS, MANIFEST,
    PARTITION_METADATA, RECOVERY_POINTS, REMOTE_INDEXES, is_kafka_leftover, parse_partition_dir,
    partition_dir,
};
use crate::model::{Offset, PartitionId, TopicName};
use crate::vfs::{DirEntry, EntryKind, read_file};

const RESTORE: &str = "nothing can make it again: restore it from a copy, or salvage the directory";
const WRITTEN_ANEW: &str =
    "no record is concerned: it is written anew when the directory is opened and closed";
const CLEANED_ANEW: &str = "no record is concerned: without it Kafka compacts from the beginning again";
const BEGUN_ANEW: &str = "without it a log begins where its first segment does, for Kafka, too: records that had been \
                          deleted come back; restore it from a copy";
const LOOKED_AT_ANEW: &str = "no record is changed: Kafka then looks at every log from its beginning if it was not stopped \
                              in order; but what is gone at the end of a log is not known by it any more";
const FOUND_ANEW: &str = "no record is changed: Kafka then takes the end of each log; but what is gone there is not known by it any more";

/// Kafka's, with which a cluster begins.
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// Looks at everything but the partitions.
pub fn check(survey: &Survey, out: &mut Verifying<'_>) {
    if survey.kind == DirectoryKind::Ottla {
        check_manifest(survey, out);
        check_ends(survey, out);
        check_marker(survey, out);
    }
    for name in [RECOVERY_POINTS, HIGH_WATERMARKS, LOG_STARTS, CLEANER_POINTS] {
        if let Err(what) = check_checkpoint(survey, name) {
            let file = survey.root.join(name);
            let advice = advice_on(survey.kind, name);
            out.add(Finding::new(FindingKind::OffsetCheckpoint, Severity::Derived, file, what, advice));
        }
    }
    // A broker that runs makes and removes them.
    if survey.kind == DirectoryKind::Kafka && !survey.is_live {
        check_lost_partitions(survey, out);
        check_numbers(survey, out);
        check_ids(survey, out);
    }
    for entry in &survey.entries {
        check_entry(survey, entry, out);
    }
}

/// What comes of one of Kafka's checkpoints that is damaged. The ends file says what ours does.
fn advice_on(kind: DirectoryKind, name: &str) -> &'static str {
    match (kind, name) {
        (_, CLEANER_POINTS) => CLEANED_ANEW,
        (DirectoryKind::Ottla, _) => WRITTEN_ANEW,
        (DirectoryKind::Kafka, LOG_STARTS) => BEGUN_ANEW,
        (DirectoryKind::Kafka, RECOVERY_POINTS) => LOOKED_AT_ANEW,
        (DirectoryKind::Kafka, _) => FOUND_ANEW,
    }
}

fn check_manifest(survey: &Survey, out: &mut Verifying<'_>) {
    let Err(error) = &survey.manifest else { return };
    let what = if is_missing(error) { "the manifest is missing".to_owned() } else { plain(error) };
    let advice =
        "restore it from a copy, or salvage the directory, which finds the topics by their directories";
    let file = survey.root.join(MANIFEST);
    out.add(Finding::new(FindingKind::Manifest, Severity::Damage, file, what, advice));
}

fn check_ends(survey: &Survey, out: &mut Verifying<'_>) {
    let file = survey.root.join(ENDS);
    let places = match &survey.ends {
        Ok(places) => places,
        Err(error) => {
            let what = if is_missing(error) { "the ends file is missing".to_owned() } else { plain(error) };
            out.add(Finding::new(FindingKind::Ends, Severity::Damage, file, what, RESTORE));
            return;
        }
    };
    // A live owner may be in the midst of writing one.
    for place in places.iter().filter(|place| place.slot.is_none() && !survey.is_live) {
        let (severity, advice) = match survey.is_clean() {
            true => (Severity::Derived, "its twin counts; both are written anew as records come"),
            false => (Severity::Unrecovered, "its twin counts, and the next opening writes the file anew"),
        };
        let what = "a slot of the ends file is not whole";
        let finding = Finding::new(FindingKind::Ends, severity, &file, what, advice);
        out.add(finding.bytes(place.position..place.position.saturating_add(512)));
    }
}

fn check_marker(survey: &Survey, out: &mut Verifying<'_>) {
    if survey.marker == Marker::Foreign {
        let file = survey.root.join(CLEAN_SHUTDOWN);
        let what = "the clean-shutdown marker is not ours";
        let advice = "it counts as absent: the next opening looks at everything";
        out.add(Finding::new(FindingKind::CleanShutdown, Severity::Derived, file, what, advice));
    }
}

/// Holds one of Kafka's checkpoints to its form, and, where the directory was closed in order, to what it is to say.
fn check_checkpoint(survey: &Survey, name: &str) -> Result<(), String> {
    let path = survey.root.join(name);
    let bytes =
        match read_file(survey.vfs.as_ref(), &path, most(FileKind::OffsetCheckpoint)).doing("read", &path) {
            Err(error) if is_missing(&error) => return Ok(()),
            read => read.map_err(|error| plain(&error))?,
        };
    let entries = decode_offsets(&bytes).map_err(|error| plain(&error))?;
    let is_ours = survey.kind == DirectoryKind::Ottla && name != CLEANER_POINTS;
    if !is_ours || !survey.is_clean() {
        return Ok(());
    }
    let text = checkpoint::encode(
        entries.iter().map(|(topic, partition, offset)| format!("{topic} {partition} {offset}")),
    );
    if text.as_bytes() != bytes {
        return Err("it reads right, and is not as it was written: a byte was changed".to_owned());
    }
    if name == LOG_STARTS {
        return Ok(());
    }
    let found: BTreeMap<(String, PartitionId), Offset> =
        entries.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect();
    for place in &survey.partitions {
        let key = (place.topic.as_str().to_owned(), place.partition);
        let Some(proven) = place.proven else { continue };
        match found.get(&key) {
            Some(offset) if *offset == proven.offset => {}
            Some(offset) => {
                return Err(format!(
                    "it gives {}-{} the offset {offset}, and {} is proven",
                    key.0, key.1, proven.offset
                ));
            }
            None => return Err(format!("it does not name {}-{}", key.0, key.1)),
        }
    }
    if survey.manifest.is_ok() && found.len() > survey.partitions.len() {
        return Err("it names a partition that is not there".to_owned());
    }
    Ok(())
}

/// Each directory of a broker has checkpoints of its own: what they name was in this one.
pub fn check_lost_partitions(survey: &Survey, out: &mut Verifying<'_>) {
    for lost in survey.evidence.lost_partitions(&survey.entries) {
        let LostPartition { topic, partition, checkpoint, offset, weight } = lost;
        let file = survey.root.join(partition_dir(&topic, partition));
        let what = format!("{checkpoint} names the partition, and its directory is missing");
        let advice = match severity_of(weight) {
            Severity::Damage => {
                "restore the directory from a copy, or bring it back from where it is; a broker would make an empty one"
            }
            _ => {
                "nothing says that it was on stable storage: a power cut may have taken it with what was written there"
            }
        };
        let finding = Finding::new(FindingKind::Partition, severity_of(weight), file, what, advice);
        out.partition = Some((topic.as_str().to_owned(), partition));
        out.add(if offset > 0 { finding.offsets(0..offset) } else { finding });
        out.partition = None;
    }
}

/// The partitions of a topic are numbered from 0. A broker of a cluster has some of them, and each of its directories.
fn check_numbers(survey: &Survey, out: &mut Verifying<'_>) {
    let mut partitions: BTreeMap<&TopicName, Vec<PartitionId>> = BTreeMap::new();
    for place in &survey.partitions {
        partitions.entry(&place.topic).or_default().push(place.partition);
    }
    let lost = survey.evidence.lost_partitions(&survey.entries);
    for (topic, numbers) in partitions {
        let is_lost = |number| lost.iter().any(|lost| lost.topic == *topic && lost.partition == number);
        let most = numbers.iter().copied().max().unwrap_or_default();
        let Some(missing) = (0..most).find(|number| !numbers.contains(number) && !is_lost(*number)) else {
            continue;
        };
        let what = format!("the directory has partition {most} of the topic, and not partition {missing}");
        let advice = "another directory of the broker, or another broker, has it, if the topic is whole; to adopt the \
                      directory, bring all partitions of the topic into it";
        let file = survey.root.join(partition_dir(topic, missing));
        out.partition = Some((topic.as_str().to_owned(), missing));
        out.add(Finding::new(FindingKind::Partition, Severity::Note, file, what, advice));
        out.partition = None;
    }
}

/// Each topic has an id of its own.
fn check_ids(survey: &Survey, out: &mut Verifying<'_>) {
    let mut topics: BTreeMap<u128, &TopicName> = BTreeMap::new();
    for place in &survey.partitions {
        let Some(id) = place.id else { continue };
        let other = *topics.entry(id.as_u128()).or_insert(&place.topic);
        if *other != place.topic && place.partition == 0 {
            let what = format!("the topic has the same topic id as topic {}", other.as_str());
            let advice = "no record is concerned: restore the file from a copy, or start the broker once, and stop it; an \
                          adoption refuses the directory";
            let file = place.dir.join(PARTITION_METADATA);
            out.partition = Some((place.topic.as_str().to_owned(), place.partition));
            out.add(Finding::new(FindingKind::Partition, Severity::Damage, file, what, advice));
            out.partition = None;
        }
    }
}

/// What stands at the root and is nobody's.
fn check_entry(survey: &Survey, entry: &DirEntry, out: &mut Verifying<'_>) {
    if is_known(entry) {
        return;
    }
    if entry.kind == EntryKind::Other && parse_partition_dir(&entry.name).is_some() {
        let what =
            "the directory of a partition is a symbolic link, or no directory at all: it was not looked into";
        let advice = "links are not followed: bring the directory itself here";
        let file = survey.root.join(&entry.name);
        out.add(Finding::new(FindingKind::Partition, Severity::Damage, file, what, advice));
        return;
    }
    let what = match entry.kind {
        EntryKind::Directory if parse_partition_dir(&entry.name).is_some() => {
            if survey.manifest.is_err() || !is_unnamed(survey, &entry.name) {
                return;
            }
            "the manifest names no such partition"
        }
        EntryKind::Directory if is_kafka_leftover(&entry.name) => {
            // Of a topic that is being deleted, as the manifest says.
            if survey.kind == DirectoryKind::Ottla && (!survey.is_clean() || is_being_deleted(survey)) {
                return;
            }
            "a directory is left that was being deleted, moved or put aside"
        }
        EntryKind::File => "nothing of this name belongs into a data directory",
        EntryKind::Directory => {
            "the directory is no partition's; a Kafka broker would refuse to start with it"
        }
        EntryKind::Other => "it is no regular file and no directory",
    };
    let advice = "it is left alone; remove it, or move it away, if it is nobody's";
    out.add(Finding::new(FindingKind::Foreign, Severity::Note, survey.root.join(&entry.name), what, advice));
}

fn is_known(entry: &DirEntry) -> bool {
    let name = entry.name.as_str();
    match entry.kind {
        EntryKind::File => {
            FileKind::of(name).0 != FileKind::Unknown || name == BOOTSTRAP || name.starts_with('.')
        }
        EntryKind::Directory => [CLUSTER_METADATA, REMOTE_INDEXES, "lost+found"].contains(&name),
        EntryKind::Other => false,
    }
}

/// Whether the manifest knows nothing of the directory of a partition.
fn is_unnamed(survey: &Survey, name: &str) -> bool {
    let Some((_, partition)) = parse_partition_dir(name) else { return true };
    let Some(entry) = survey.entry_of(name) else { return true };
    let most = match entry.state {
        TopicState::Growing { to } => to,
        _ => entry.config.partitions,
    };
    partition >= most
}

fn is_being_deleted(survey: &Survey) -> bool {
    let is = |state: TopicState| !matches!(state, TopicState::Live);
    survey.manifest.as_ref().is_ok_and(|manifest| manifest.topics.values().any(|entry| is(entry.state)))
}
