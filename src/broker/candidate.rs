//! A partition that is to be opened: looked at, judged, mended.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::damage::apart;
use super::manifest::TopicEntry;
use super::partition_metadata;
use super::recovery_report::{PartitionRecovery, RecoveryReport};
use crate::ends_file::ProvenEnd;
use crate::error::{Error, IoContext, Result};
use crate::file_name::ENDS;
use crate::model::TopicName;
use crate::mutant::{self, Mutant};
use crate::partition_log::{
    Cut, LastStop, LeaderEpochs, LogContext, LogEnd, PartitionLog, Plan, cut_back, plan, settle,
};
use crate::vfs::{EntryKind, Vfs};

/// What is known of a partition before it is opened.
pub struct Candidate {
    pub name: TopicName,
    pub context: LogContext,
    proven: ProvenEnd,
    epochs: LeaderEpochs,
    /// What is wrong with it, if anything is.
    pub damage: Option<Error>,
}

/// A partition that was opened, damaged or not.
pub type OpenLog = (TopicName, Arc<PartitionLog>);

impl Candidate {
    /// Looks at everything but the log.
    pub fn new(
        name: &TopicName,
        entry: &TopicEntry,
        context: LogContext,
        proven: Option<ProvenEnd>,
        root: &Path,
    ) -> Result<Self> {
        let (vfs, dir) = (context.dir.vfs().as_ref(), context.dir.path());
        let looked = require_directory(vfs, dir).and_then(|()| partition_metadata::check(vfs, dir, entry.id));
        let segments = entry.segments.get(&context.partition);
        let looked = looked.and_then(|()| match (segments, proven) {
            (Some(segments), Some(proven)) => segments.require(&context.dir, proven.log_start),
            _ => Ok(()),
        });
        let looked = looked.and_then(|()| match proven {
            Some(proven) => LeaderEpochs::load(vfs, dir, proven.offset),
            None => {
                let what =
                    "the ends file says nothing of the partition: both of its slots are damaged, or gone";
                Err(Error::corrupt(what).in_file(&root.join(ENDS)))
            }
        });
        let (epochs, damage) = match apart(looked, &context, proven)? {
            Ok(epochs) => (epochs, None),
            Err(damage) => (LeaderEpochs::default(), Some(damage)),
        };
        Ok(Self { name: name.clone(), context, proven: proven.unwrap_or_default(), epochs, damage })
    }

    /// What the log needs after an unclean stop; `None` if it is damaged.
    pub fn judge(&mut self) -> Result<Option<Cut>> {
        if self.damage.is_some() {
            return Ok(None);
        }
        let proven = if mutant::is(Mutant::EndsFileIgnored) { ProvenEnd::default() } else { self.proven };
        let planned = settle(&self.context, proven, &self.epochs).and_then(|facts| match plan(&facts) {
            Plan::Cut(cut) => Ok(cut),
            Plan::Damaged(damage) => Err(damage.error(&self.context)),
        });
        let judged = apart(planned, &self.context, None)?;
        self.damage = judged.as_ref().err().cloned();
        Ok(judged.ok())
    }

    /// Does what was planned, and opens the partition.
    pub fn mend(
        self,
        cut: Option<Cut>,
        copy: Option<PathBuf>,
        report: &mut RecoveryReport,
    ) -> Result<OpenLog> {
        let Some(cut) = cut else { return self.open(LastStop::Clean) };
        let outcome = cut_back(&self.context, &cut, copy)?;
        if outcome.cut_bytes > 0 {
            report.partitions.push(PartitionRecovery::of(&self.context, &cut, outcome));
        }
        let opened = self.open(LastStop::Unclean(cut.end))?;
        opened.1.publish();
        Ok(opened)
    }

    /// Opens it where it ends, with a new leader epoch for what comes.
    pub fn open_behind(self) -> Result<OpenLog> {
        let end = LogEnd::from(self.proven);
        self.open(LastStop::Unclean(end))
    }

    /// A damaged one opens as one that says so.
    pub fn open(self, last_stop: LastStop) -> Result<OpenLog> {
        let Self { name, context, proven, epochs, damage } = self;
        let opened = match damage {
            Some(damage) => Err(damage),
            None => {
                let within = match last_stop {
                    LastStop::Clean => {
                        epochs.require_within(proven.log_start, proven.offset, context.dir.path())
                    }
                    LastStop::Unclean(_) => Ok(()),
                };
                let opened =
                    within.and_then(|()| PartitionLog::open(context.clone(), proven, epochs, last_stop));
                apart(opened, &context, Some(proven))?
            }
        };
        Ok((name, opened.unwrap_or_else(|damage| PartitionLog::damaged(context, proven, damage))))
    }
}

/// A link is not followed: what it leads to is not ours to write to.
fn require_directory(vfs: &dyn Vfs, dir: &Path) -> Result<()> {
    match vfs.kind(dir).doing("look at", dir)? {
        Some(EntryKind::Directory) | None => Ok(()),
        Some(EntryKind::File | EntryKind::Other) => {
            Err(Error::corrupt("in the place of the partition's directory is something else, a link perhaps")
                .in_file(dir)
                .advise("put the directory itself there; nothing in the directory was changed"))
        }
    }
}
