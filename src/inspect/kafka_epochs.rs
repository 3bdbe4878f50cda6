//! The leader epochs of a log that is Kafka's own, held to its checkpoint.
//!
//! Kafka gives records out with whatever epoch their batch has. A reader of ours holds it to the checkpoint, and so an
//! adoption refuses what is found here.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::finding::{Finding, FindingKind, Severity};
use super::log_walk::Found;
use super::survey::{DirectoryKind, PartitionPlace, Survey};
use crate::model::Offset;
use crate::partition_log::{EpochCheck, LeaderEpochs};

/// Where a batch stands.
#[derive(Clone, Debug)]
struct Place {
    log: PathBuf,
    bytes: Range<u64>,
    offsets: Range<Offset>,
}

/// The epochs of a partition of Kafka's, batch by batch.
#[derive(Debug)]
pub struct KafkaEpochs {
    check: EpochCheck<Place>,
    /// A run of batches with the same wrong epoch.
    wrong: Option<Finding>,
}

const ADVICE: &str = "the field lies outside the checksum, and no record is concerned: a broker gives them out with this \
                      epoch; an adoption refuses the directory; salvage it to have the records with the epoch of their \
                      offset, or restore the file from a copy";
const NEWER: &str = "a broker that was killed may leave it like that, and its recovery believes the batches; so does an \
                     adoption";

impl KafkaEpochs {
    /// `None` for a partition of ours, of which each reader holds the batches to the checkpoint.
    pub fn of(survey: &Survey, place: &PartitionPlace, epochs: Option<&LeaderEpochs>) -> Option<Self> {
        let open_from = (!survey.is_clean()).then_some(place.recovery_point.unwrap_or_default());
        let epochs = epochs.filter(|_| survey.kind == DirectoryKind::Kafka)?;
        Some(Self { check: EpochCheck::new(epochs.clone(), open_from), wrong: None })
    }

    /// Takes the next batch; returns what is found to be wrong before it.
    pub fn take(&mut self, found: &Found, log: &Path) -> Option<Finding> {
        let header = &found.header;
        let place = Place {
            log: log.to_owned(),
            bytes: found.position..found.position.saturating_add(header.size as u64),
            offsets: header.base_offset..header.next_offset(),
        };
        let wrong = match self.check.take(header.base_offset, header.leader_epoch, place) {
            Ok(()) => return self.wrong.take(),
            Err(wrong) => wrong,
        };
        let what = wrong.what();
        let Place { log, bytes, offsets } = wrong.place;
        if let Some(run) = self.wrong.as_mut().filter(|run| run.what == what && run.file == log)
            && let (Some(of_run), Some(offsets_of_run)) = (&mut run.bytes, &mut run.offsets)
            && of_run.end == bytes.start
        {
            (of_run.end, offsets_of_run.end) = (bytes.end, offsets.end);
            return None;
        }
        let finding = Finding::new(FindingKind::LeaderEpoch, Severity::Damage, log, what, ADVICE);
        self.wrong.replace(finding.bytes(bytes).offsets(offsets))
    }

    /// What is found at the end of the log.
    pub fn finish(self) -> impl Iterator<Item = Finding> {
        let newer: Vec<_> = self
            .check
            .newer()
            .iter()
            .map(|newer| {
                let what =
                    format!("a batch begins the leader epoch {}, which the checkpoint lacks", newer.epoch);
                let Place { log, bytes, offsets } = newer.place.clone();
                let finding = Finding::new(FindingKind::LeaderEpoch, Severity::Unrecovered, log, what, NEWER);
                finding.bytes(bytes).offsets(offsets)
            })
            .collect();
        self.wrong.into_iter().chain(newer)
    }
}
