//! Verifies a data directory: everything that is there, against everything that is said of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::evidence::Evidence;
use super::finding::{Finding, FindingKind, Progress, Severity, VerifyReport};
use super::log_walk::Found;
use super::partition_check::PartitionCheck;
use super::root_check;
use super::survey::{PartitionPlace, Survey};
use super::target::require_finished;
use super::watcher::Watcher;
use crate::error::{IoContext, Result};
use crate::file_name::SegmentFile;
use crate::model::{Offset, PartitionId};
use crate::record_batch::Codecs;
use crate::vfs::{OpenMode, OsVfs, Vfs};

/// Progress is told each time that so many bytes were read.
const TOLD_EVERY: u64 = 1024 * 1024;

/// How [`verify`](super::verify) is done.
///
/// ```no_run
/// use ottla::inspect::Verify;
/// let report = Verify::new()
///     .progress(|progress| eprint!("\r{} of {} bytes", progress.done, progress.total))
///     .run("data")?;
/// for finding in &report.findings {
///     println!("{:?}: {finding}", finding.severity);
/// }
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Verify<'a> {
    watcher: Watcher<'a>,
}

impl<'a> Verify<'a> {
    /// Without anybody who is told of the progress.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Is called each time that another MiB of logs was read, and at the end.
    #[must_use]
    pub fn progress(mut self, told: impl FnMut(Progress) + 'a) -> Self {
        self.watcher = Watcher::new(told);
        self
    }

    /// See [`verify`](super::verify).
    pub fn run(self, path: impl AsRef<Path>) -> Result<VerifyReport> {
        let path = path.as_ref();
        self.run_on(Arc::new(OsVfs), &std::path::absolute(path).doing("find", path)?)
    }

    pub(crate) fn run_on(self, vfs: Arc<dyn Vfs>, root: &Path) -> Result<VerifyReport> {
        let survey = Survey::take(vfs, root)?;
        require_finished(&survey)?;
        let mut out = self.look(&survey);
        if survey.is_live {
            out.forget(&survey.changed_topics());
        }
        survey.require_unchanged()?;
        Ok(out.end())
    }

    /// Looks at everything, whatever comes of it meanwhile.
    pub(super) fn look(self, survey: &Survey) -> Verifying<'a> {
        let mut out = Verifying::new(self.watcher, total(survey));
        (out.report.is_live, out.report.is_clean) = (survey.is_live, survey.is_clean());
        root_check::check(survey, &mut out);
        let evidence = Evidence::of(survey);
        for place in &survey.partitions {
            PartitionCheck::new(survey, &evidence.completed(place), &mut out).run();
        }
        out
    }
}

/// How much there is to be read.
pub fn total(survey: &Survey) -> u64 {
    let vfs = survey.vfs.as_ref();
    let of = |place: &PartitionPlace| {
        let entries = vfs.read_dir(&place.dir).unwrap_or_default();
        let logs = entries
            .iter()
            .filter(|entry| matches!(SegmentFile::parse(&entry.name), Some((SegmentFile::Log, _))));
        let len = |name: &str| vfs.open(&place.dir.join(name), OpenMode::Read).and_then(|file| file.size());
        logs.map(|entry| len(&entry.name).unwrap_or_default()).sum::<u64>()
    };
    survey.partitions.iter().map(of).sum()
}

/// A verification under way: what it has found, and who is told how far it is.
pub struct Verifying<'a> {
    pub report: VerifyReport,
    /// The partition that is looked at.
    pub partition: Option<(String, PartitionId)>,
    pub codecs: Arc<Codecs>,
    /// How many whole batches a salvage has left behind tears, with how many records.
    pub left_whole: (u64, u64),
    watcher: Watcher<'a>,
    done: Progress,
    untold: u64,
}

impl<'a> Verifying<'a> {
    pub fn new(watcher: Watcher<'a>, total: u64) -> Self {
        let done = Progress { done: 0, total };
        Self {
            report: VerifyReport::default(),
            partition: None,
            codecs: super::codecs(),
            left_whole: (0, 0),
            watcher,
            done,
            untold: 0,
        }
    }

    pub fn add(&mut self, mut finding: Finding) {
        finding.partition.clone_from(&self.partition);
        self.report.findings.push(finding);
    }

    /// Whether damage of this partition's records was found that goes to an offset, or may.
    pub fn has_damage_up_to(&self, offset: Offset) -> bool {
        let of_this = self.report.findings.iter().filter(|finding| finding.partition == self.partition);
        let reaches = |offsets: &Range<Offset>| offsets.end >= offset || offsets.is_empty();
        of_this.filter(|finding| finding.severity == Severity::Damage).any(|finding| {
            finding.kind != FindingKind::LeaderEpoch && finding.offsets.as_ref().is_some_and(reaches)
        })
    }

    /// Whether something of this kind was found of this partition.
    pub fn has_told(&self, kind: FindingKind) -> bool {
        let mut findings = self.report.findings.iter();
        findings.any(|finding| finding.kind == kind && finding.partition == self.partition)
    }

    /// Whether damage of a file was found that has these offsets.
    pub fn has_damage_of(&self, file: &Path, offsets: &Range<Offset>) -> bool {
        let covers = |of: &Range<Offset>| of.start <= offsets.start && of.end >= offsets.end;
        let mut damages = self.report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
        damages.any(|damage| damage.file == file && damage.offsets.as_ref().is_some_and(covers))
    }

    pub fn count(&mut self, found: &Found) {
        self.report.batches += 1;
        self.report.records += u64::from(found.header.records_count);
        self.report.bytes += found.header.size as u64;
    }

    pub fn count_left(&mut self, batches: u64, records: u64) {
        let (all_batches, all_records) = &mut self.left_whole;
        *all_batches = all_batches.saturating_add(batches);
        *all_records = all_records.saturating_add(records);
    }

    /// So many bytes more were read.
    pub fn advance(&mut self, bytes: u64) {
        self.done.done = self.done.done.saturating_add(bytes);
        self.untold = self.untold.saturating_add(bytes);
        if self.untold >= TOLD_EVERY {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.untold = 0;
        self.done.total = self.done.total.max(self.done.done);
        self.watcher.tell(self.done);
    }

    /// A live owner has changed these topics meanwhile: what was found of them may be wrong.
    fn forget(&mut self, topics: &BTreeSet<String>) {
        let is_of = |finding: &Finding| {
            finding.partition.as_ref().is_some_and(|(topic, _)| topics.contains(topic.as_str()))
        };
        self.report.findings.retain(|finding| !is_of(finding));
    }

    pub fn end(mut self) -> VerifyReport {
        // What recovery cuts was not read.
        self.done.done = self.done.total;
        self.tell();
        self.report
    }
}
