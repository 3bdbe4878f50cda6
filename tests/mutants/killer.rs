//! Which suite has to notice which fault.

use std::ffi::OsString;
use std::fmt;
use std::process::Command;

use ottla::internals::{MUTANT_VARIABLE, Mutant};

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killer {
    /// The model checker's checks whose names begin so.
    Check(&'static str),
    /// The cases of a reliability suite that begin so; one without cases by name is run in its smallest size.
    Suite(&'static str),
}

/// The suite that has to notice a fault, and the smallest part of it that does.
pub fn killer(mutant: Mutant) -> Killer {
    use Killer::{Check, Suite};
    match mutant {
        Mutant::AckBeforeSync => Suite("sim_crash:appends"),
        Mutant::PublishBeforeSync => Check("publish_and_read"),
        Mutant::PublishBeforeWrite => Check("os_level"),
        Mutant::UnsyncedVisible => Check("full_batches"),
        Mutant::SyncRetried => Suite("sim_errors:appends"),
        Mutant::SyncErrorIgnored => Suite("sim_errors:appends"),
        Mutant::SyncCoversLater => Check("two_who_sync"),
        Mutant::ShortWriteTakenAsFull => Suite("sim_errors:appends"),
        Mutant::FailedWriteNotCut => Check("not_written"),
        Mutant::CutNotSynced => Check("not_written"),
        Mutant::OffsetsNotTakenBack => Check("not_written"),
        Mutant::RollWithoutSync => Suite("sim_crash:rolls"),
        Mutant::SegmentNameNotSynced => Suite("sim_crash:rolls"),
        Mutant::SealNotSynced => Suite("sim_crash:closes"),
        Mutant::StaleIndexTrusted => Suite("rot"),
        Mutant::CrcNotChecked => Suite("bitflip"),
        Mutant::LengthTrusted => Suite("rot"),
        Mutant::NewestTwinRewritten => Suite("sim_crash:appends"),
        Mutant::TwinWrittenDuringSync => Check("evidence_of_three"),
        Mutant::OlderTwinCounts => Suite("sim_crash:lives"),
        Mutant::EvidenceBeforeSync => Suite("sim_crash:appends"),
        Mutant::SlotNotSynced => Suite("sim_crash:topics"),
        Mutant::DamageCut => Suite("bitflip"),
        Mutant::ZerosAreTheEnd => Suite("rot"),
        Mutant::EndsFileIgnored => Suite("bitflip"),
        Mutant::ScanThroughPageCache => Suite("sim_errors:appends"),
        Mutant::RecoveryNotIdempotent => Suite("sim_crash:appends"),
        Mutant::EpochNotBegun => Check("reopen_unsynced"),
        Mutant::MarkerInSpiteOfPoison => Suite("sim_errors:lives"),
        Mutant::MarkerRemovalNotSynced => Suite("sim_crash:lives"),
        Mutant::ManifestInPlace => Suite("sim_crash:topics"),
        Mutant::StagedNotSynced => Suite("sim_crash:topics"),
        Mutant::RenameNotSynced => Suite("sim_crash:topics"),
        Mutant::LiveBeforeDirectories => Suite("sim_crash:topics"),
        Mutant::DirectoriesNotSynced => Suite("sim_crash:topics"),
        Mutant::UnlinkBeforeManifest => Suite("sim_crash:topics"),
        Mutant::ForgottenBeforeUnlink => Suite("sim_crash:topics"),
        Mutant::MissingManifestMeansNew => Suite("bitflip"),
        Mutant::CommitBeforeData => Suite("sim_crash:commits-what-was-not-synced"),
        Mutant::CommitAckedBeforeSync => Suite("sim_crash:commits"),
        Mutant::CommitAboveEnd => Suite("model"),
        Mutant::BurialNotAwaited => Suite("sim_crash:acquires"),
        Mutant::CommitsNotForgotten => Suite("sim_crash:commits-to-a-topic-of-the-same-name"),
        Mutant::LeaderNotAnnounced => Check("group_flush"),
        Mutant::RegisteredAfterLook => Check("futures"),
        Mutant::SignalSeenAfterLook => Check("follow_for_one"),
        Mutant::ParkedAfterLook => Check("stream"),
        Mutant::TwoLeaders => Check("group_commit"),
        Mutant::RoomNotTold => Check("full_memory_ends"),
        Mutant::ClosedUnflushed => Check("close"),
        Mutant::CrewNotCalled => Check("agenda_asked"),
    }
}

impl Killer {
    /// The process that runs it, with a fault in the library or, in its smallest size, without.
    pub fn command(self, mutant: Option<Mutant>) -> Result<Command, String> {
        // What shows in one schedule or image of hundreds is looked for as long as for every other change.
        let size = if mutant.is_some() { "ci" } else { "quick" };
        let mut command = match self {
            Self::Check(name) => {
                let mut command = Command::new(executable("OTTLA_CHECK")?);
                command.args([size, name]);
                command
            }
            Self::Suite(cases) => {
                let mut command = Command::new(executable("OTTLA_RELIABILITY")?);
                match cases.split_once(':') {
                    Some((suite, _)) => command.args([size, suite]).env("OTTLA_REPLAY", cases),
                    None => command.args(["quick", cases]).env_remove("OTTLA_REPLAY"),
                };
                command
            }
        };
        command
            .env_remove(MUTANT_VARIABLE)
            .envs(mutant.map(|mutant| (MUTANT_VARIABLE, format!("{mutant:?}"))));
        Ok(command)
    }
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(name) => write!(f, "concurrency {name}"),
            Self::Suite(cases) => f.write_str(&cases.replace(':', " ")),
        }
    }
}

fn executable(variable: &str) -> Result<OsString, String> {
    std::env::var_os(variable)
        .ok_or_else(|| format!("{variable} does not say where the suite is: .ci/mutants does"))
}
