//! Salvages a directory: what is sound of it goes into a new one, which ottla opens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Verifying;
use super::evidence::Evidence;
use super::finding::{Finding, FindingKind, Progress, Severity, VerifyReport};
use super::log_copy::Copied;
use super::partition_copy::PartitionCopy;
use super::root_check::check_lost_partitions;
use super::segment_check::{Proof, is_missing, plain};
use super::survey::{DirectoryKind, PartitionPlace, Survey};
use super::target::{Target, require_finished};
use super::verify::{Verify, total};
use super::watcher::Watcher;
use crate::broker::{AdoptedEnd, KafkaSegments, Manifest, TopicEntry, TopicState, encode_partition_metadata};
use crate::config::{Durability, TopicConfig};
use crate::ends_file::{EndsFile, Owner};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::{ENDS, LOG_STARTS, MANIFEST, PARTITION_METADATA, partition_dir};
use crate::model::{Offset, PartitionId, TopicId, TopicName};
use crate::segment::SegmentDir;
use crate::vfs::{EntryKind, OsVfs, Vfs, real_path, replace_file};

/// How [`salvage`](super::salvage) is done.
///
/// ```no_run
/// use ottla::inspect::Salvage;
/// let report = Salvage::new()
///     .progress(|progress| eprint!("\r{} of {} bytes", progress.done, progress.total))
///     .run("data", "data.salvaged")?;
/// for left in &report.left {
///     println!("{left}");
/// }
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Salvage<'a> {
    watcher: Watcher<'a>,
    keeps_behind_tears: bool,
}

/// What [`salvage`](super::salvage) has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// What was left out, what was not kept as it was, and what was gone before: where, which offsets, why.
    pub left: Vec<Finding>,
    /// How many topics the new directory has.
    pub topics: usize,
    /// How many partitions.
    pub partitions: usize,
    /// How many batches were copied.
    pub batches: u64,
    /// How many records in them.
    pub records: u64,
    /// How many whole batches were left because they stand behind a tear; 0 where they are kept.
    pub left_batches: u64,
    /// How many records in them.
    pub left_records: u64,
    /// What verifying the new directory has found: nothing that is damaged.
    pub verified: VerifyReport,
}

/// What is to be copied where.
struct Copying<'a> {
    survey: &'a Survey,
    to: &'a Path,
    keeps_behind: bool,
}

/// A topic of the new directory.
#[derive(Debug)]
struct Salvaged {
    id: TopicId,
    config: TopicConfig,
    places: BTreeMap<PartitionId, Placed>,
}

/// A partition, and what the rest of the evidence tells of it.
#[derive(Debug)]
struct Placed {
    place: PartitionPlace,
    log_start: Option<Offset>,
}

impl<'a> Salvage<'a> {
    /// Without anybody who is told of the progress.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Is called each time that another MiB of logs was read, and once all is copied; the new directory is verified then.
    #[must_use]
    pub fn progress(mut self, told: impl FnMut(Progress) + 'a) -> Self {
        self.watcher = Watcher::new(told);
        self
    }

    /// Whether what stands whole behind a tear is kept, too: behind a batch above the proven end that did not come to the
    /// disk. A recovery cuts the log there, so that nothing follows on what is missing, and that is the default; a
    /// [`BehindTear`](super::FindingKind::BehindTear) of each segment says what is to be had. What was not synced may have
    /// been acknowledged: by Kafka, or on a topic whose durability says so; on a synced topic it never was. What is missing
    /// becomes a hole. Default: `false`.
    #[must_use]
    pub fn keep_behind_tears(mut self, on: bool) -> Self {
        self.keeps_behind_tears = on;
        self
    }

    /// See [`salvage`](super::salvage).
    pub fn run(self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<SalvageReport> {
        // A link would hide that one lies in the other.
        let real = |path: &Path| real_path(path).doing("find", path);
        self.run_on(Arc::new(OsVfs), &real(from.as_ref())?, &real(to.as_ref())?)
    }

    pub(crate) fn run_on(self, vfs: Arc<dyn Vfs>, from: &Path, to: &Path) -> Result<SalvageReport> {
        let survey = Survey::take(Arc::clone(&vfs), from)?;
        if survey.is_live {
            return Err(Error::new(ErrorKind::DirectoryInUse, "somebody has the directory open")
                .in_file(from)
                .advise("close the broker there first; nothing was written"));
        }
        require_finished(&survey)?;
        Target::check(vfs.as_ref(), from, to)?;
        let mut out = Verifying::new(self.watcher, total(&survey));
        let topics = topics_of(&survey, &mut out)?;
        let target = Target::claim(vfs.as_ref(), from, to)?;
        let copying = Copying { survey: &survey, to, keeps_behind: self.keeps_behind_tears };
        let partitions = copying.copy(&topics, &mut out)?;
        let (left_batches, left_records) = out.left_whole;
        let copied = out.end();
        survey.require_unchanged()?;
        let verified = verified(Arc::clone(&vfs), to)?;
        target.finish()?;
        Ok(SalvageReport {
            left: copied.findings,
            topics: topics.len(),
            partitions,
            batches: copied.batches,
            records: copied.records,
            left_batches,
            left_records,
            verified,
        })
    }
}

/// Reads back what was written; its lock is held, so that nobody comes in between.
fn verified(vfs: Arc<dyn Vfs>, to: &Path) -> Result<VerifyReport> {
    let mut survey = Survey::take(vfs, to)?;
    survey.is_live = false;
    let verified = Verify::new().look(&survey).end();
    match verified.findings.iter().find(|finding| finding.severity >= Severity::Derived) {
        None => Ok(verified),
        Some(finding) => Err(Error::corrupt(format!("what was written reads back otherwise: {finding}"))
            .in_file(to)
            .advise("look at the disk; the source was not changed")),
    }
}

/// The topics by the manifest, or, where that cannot be read, by the directories.
fn topics_of(survey: &Survey, out: &mut Verifying<'_>) -> Result<BTreeMap<TopicName, Salvaged>> {
    match survey.kind {
        DirectoryKind::Ottla => note_root(survey, out),
        DirectoryKind::Kafka => check_lost_partitions(survey, out),
    }
    note_checkpoints(survey, out);
    let evidence = Evidence::of(survey);
    let mut topics: BTreeMap<TopicName, Salvaged> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for place in &survey.partitions {
        let topic = topics.entry(place.topic.clone()).or_insert_with(|| {
            let id = place
                .id
                .filter(|id| taken.insert(id.as_u128()))
                .unwrap_or_else(|| TopicId::random(|| survey.vfs.random()));
            let config = place.config.clone().unwrap_or_else(|| {
                let config = TopicConfig::new().or_durability(Durability::Synced);
                config.partitions(place.partition.saturating_add(1))
            });
            Salvaged { id, config, places: BTreeMap::new() }
        });
        topic.config.partitions = topic.config.partitions.max(place.partition.saturating_add(1));
        let log_start = evidence.log_start(place);
        let place = evidence.completed(place);
        topic.places.insert(place.partition, Placed { place, log_start });
    }
    topics.iter().try_for_each(|(name, topic)| {
        topic.config.validate().map_err(|error| error.in_topic(name.as_str()))
    })?;
    Ok(topics)
}

/// What of the root files cannot be taken over.
fn note_root(survey: &Survey, out: &mut Verifying<'_>) {
    let mut note = |kind, name: &str, error: &Error, advice| {
        let what = if is_missing(error) { "the file is missing".to_owned() } else { plain(error) };
        out.add(Finding::new(kind, Severity::Damage, survey.root.join(name), what, advice));
    };
    if let Err(error) = &survey.manifest {
        let advice =
            "topics and ids were taken from the directories, and every configuration is the default one";
        note(FindingKind::Manifest, MANIFEST, error, advice);
    }
    if let Err(error) = &survey.ends {
        let advice =
            "everything that is whole was kept; whether there was more at the end of a log is not known";
        note(FindingKind::Ends, ENDS, error, advice);
    }
}

/// Kafka's checkpoints that cannot be read, where something depends on them.
fn note_checkpoints(survey: &Survey, out: &mut Verifying<'_>) {
    let lacks_start = survey.partitions.iter().any(|place| place.proven.is_none());
    for (name, error) in &survey.unread {
        let (severity, advice) = match (*name, survey.kind) {
            (LOG_STARTS, _) if lacks_start => {
                let advice =
                    "a log begins where its first segment does: records may be there that had been deleted";
                (Severity::Damage, advice)
            }
            (_, DirectoryKind::Kafka) => {
                (Severity::Derived, "what is gone of the logs was told by the rest of the evidence alone")
            }
            (_, DirectoryKind::Ottla) => continue,
        };
        let file = survey.root.join(name);
        out.add(Finding::new(FindingKind::OffsetCheckpoint, severity, file, plain(error), advice));
    }
}

impl Copying<'_> {
    /// Makes the new directory; returns the number of its partitions.
    fn copy(&self, topics: &BTreeMap<TopicName, Salvaged>, out: &mut Verifying<'_>) -> Result<usize> {
        let Self { survey, to, .. } = *self;
        let vfs = survey.vfs.as_ref();
        let ends = Arc::new(EndsFile::create(vfs, to)?);
        let mut manifest = Manifest::new(vfs);
        let mut partitions: usize = 0;
        for (name, topic) in topics {
            let owners = (0..topic.config.partitions).map(|partition| Owner { topic: topic.id, partition });
            let mut entry = TopicEntry::new(topic.id, TopicState::Live, topic.config.clone());
            for slot in ends.claim(owners) {
                let partition = slot.owner().partition;
                out.partition = Some((name.as_str().to_owned(), partition));
                let Copied { end, epochs } = self.copy_partition(name, topic, partition, out)?;
                slot.publish(end, Duration::ZERO);
                // Up to there the log may hold transactions, which readers then look for.
                let kafka_end = topic.places.get(&partition).map_or(0, |placed| placed.place.kafka_end);
                if kafka_end > 0 {
                    let offset = end.offset.min(kafka_end);
                    let epoch = offset.checked_sub(1).and_then(|last| epochs.at(last));
                    entry.adopted.insert(partition, AdoptedEnd { offset, epoch });
                    let dir = SegmentDir::new(
                        Arc::clone(&survey.vfs),
                        &to.join(partition_dir(name, partition)),
                        false,
                    );
                    // The last one is written to.
                    let segments = KafkaSegments::measure(&dir, offset.min(end.segment))?;
                    entry.segments.insert(partition, segments);
                }
                partitions = partitions.saturating_add(1);
            }
            manifest.topics.insert(name.clone(), entry);
        }
        out.partition = None;
        ends.sync()?;
        vfs.sync_dir(to).doing("sync", to)?;
        manifest.stage(vfs, to)?;
        Manifest::commit(vfs, to)?;
        Ok(partitions)
    }

    fn copy_partition(
        &self,
        name: &TopicName,
        topic: &Salvaged,
        partition: PartitionId,
        out: &mut Verifying<'_>,
    ) -> Result<Copied> {
        let Self { survey, to, keeps_behind } = *self;
        let dir: PathBuf = to.join(partition_dir(name, partition));
        make_dir(survey.vfs.as_ref(), &dir)?;
        let nothing = PartitionPlace {
            topic: name.clone(),
            partition,
            dir: survey.root.join(partition_dir(name, partition)),
            id: None,
            config: None,
            proven: None,
            recovery_point: None,
            kafka_end: 0,
            kafka_segments: None,
        };
        let placed = topic.places.get(&partition);
        let (place, log_start) = placed.map_or((&nothing, None), |placed| (&placed.place, placed.log_start));
        let proof = Proof::of(survey, place);
        if survey.kind == DirectoryKind::Ottla && place.proven.is_none() && survey.ends.is_ok() {
            let what = "the ends file says nothing of the partition";
            let advice = "everything that is whole was kept; whether there was more at the end of the log is not known";
            out.add(Finding::new(FindingKind::Ends, Severity::Damage, survey.root.join(ENDS), what, advice));
        }
        let copy = PartitionCopy {
            survey,
            place,
            proof,
            log_start,
            to: &dir,
            config: &topic.config,
            keeps_behind,
            is_behind: false,
            out,
        };
        let end = copy.run()?;
        let text = encode_partition_metadata(topic.id);
        replace_file(survey.vfs.as_ref(), &dir, PARTITION_METADATA, text.as_bytes()).doing("write", &dir)?;
        Ok(end)
    }
}

fn make_dir(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    if vfs.kind(dir).doing("look at", dir)? != Some(EntryKind::Directory) {
        vfs.create_dir(dir).doing("create the directory", dir)?;
    }
    match dir.parent() {
        Some(parent) => vfs.sync_dir(parent).doing("sync", parent),
        None => Ok(()),
    }
}
