//! Deliberate faults, by which the suites are tested: a suite that does not notice one has a hole.
//!
//! They are compiled into the model checker's build alone (`cfg(ottla_check)`), where the environment chooses one at run
//! time; in every other build [`is`] is false, and what stands behind it is gone. `.ci/mutants` runs against each the
//! suite that has to notice it.

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $(#[cfg($($feature:tt)+)])? $name:ident,)+) => {
        /// What is done wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $what])+ $(#[cfg($($feature)+)])? $name,)+
        }

        #[cfg(ottla_check)]
        impl Mutant {
            /// Every one of them.
            pub const ALL: &[Self] = &[$($(#[cfg($($feature)+)])? Self::$name),+];

            /// What it does wrong, in a sentence.
            pub fn what(self) -> String {
                match self {
                    $($(#[cfg($($feature)+)])? Self::$name => [$($what),+].map(str::trim).join(" "),)+
                }
            }
        }
    };
}

mutants! {
    // ---- Writing and acknowledging ----
    /// A record is acknowledged before it is synced.
    AckBeforeSync,
    /// What is being synced counts as durable before it is.
    PublishBeforeSync,
    /// What is being written is visible before it is.
    PublishBeforeWrite,
    /// Readers of a synced topic see what was written and not synced.
    UnsyncedVisible,
    /// A sync that has failed is tried again, and believed.
    SyncRetried,
    /// Whether a sync has failed is not asked.
    SyncErrorIgnored,
    /// What came while a sync ran counts as synced by it.
    SyncCoversLater,
    /// A short write is taken for a full one.
    ShortWriteTakenAsFull,
    /// What a failed write has left is not cut.
    FailedWriteNotCut,
    /// What a failed write has left is cut, and the cut not synced.
    CutNotSynced,
    /// The offsets of what was not written are not given out again.
    OffsetsNotTakenBack,

    // ---- Segments ----
    /// A segment of a synced topic is rolled without being synced.
    RollWithoutSync,
    /// The name of a new segment is not synced.
    SegmentNameNotSynced,
    /// The last segment is not synced when the log is closed.
    SealNotSynced,
    /// An index is trusted whatever lies where it points.
    StaleIndexTrusted,
    /// The checksum of a batch is not checked.
    CrcNotChecked,
    /// The length of a batch is trusted before there is room for it.
    LengthTrusted,

    // ---- Evidence and recovery ----
    /// The twin with the newest durable state is rewritten.
    NewestTwinRewritten,
    /// A twin is written while the ends file is being synced.
    TwinWrittenDuringSync,
    /// Of two twins the first one counts, though the other is newer.
    OlderTwinCounts,
    /// The ends file says that something is durable before it is.
    EvidenceBeforeSync,
    /// A topic is named by the manifest before its slots are synced.
    SlotNotSynced,
    /// Recovery cuts at the first invalid batch, whatever is proven.
    DamageCut,
    /// Recovery takes zeros for the end of a log, whatever is proven.
    ZerosAreTheEnd,
    /// Recovery does not ask the ends file.
    EndsFileIgnored,
    /// Recovery reads what the page cache has.
    ScanThroughPageCache,
    /// Recovery calls the directory mended before it is, so that a second one does not go on.
    RecoveryNotIdempotent,
    /// A life after an unclean stop goes on with the leader epoch of the one before.
    EpochNotBegun,

    // ---- The directory ----
    /// The clean-shutdown marker is written by a close that has failed.
    MarkerInSpiteOfPoison,
    /// The removal of the clean-shutdown marker is not synced.
    MarkerRemovalNotSynced,
    /// The manifest is written in place.
    ManifestInPlace,
    /// A file is replaced by one that is not synced.
    StagedNotSynced,
    /// The name of a file that takes another's place is not synced.
    RenameNotSynced,
    /// The manifest calls a topic live before its directories are there.
    LiveBeforeDirectories,
    /// The directories of new partitions are not synced before the manifest names them.
    DirectoriesNotSynced,
    /// The files of a topic are removed before the manifest says so.
    UnlinkBeforeManifest,
    /// The manifest forgets a deleted topic before its files are removed.
    ForgottenBeforeUnlink,
    /// A directory without a manifest is new, whatever it holds.
    MissingManifestMeansNew,

    // ---- Groups ----
    /// What a commit names need not be durable.
    CommitBeforeData,
    /// A commit is acknowledged before it is synced.
    CommitAckedBeforeSync,
    /// A commit above the high watermark is accepted.
    CommitAboveEnd,
    /// A commit passes a rejected record before the dead-letter topic has it for certain.
    BurialNotAwaited,
    /// What was committed of a topic outlives it.
    CommitsNotForgotten,

    // ---- Threads ----
    /// Whoever waits for a leader is not told that it has finished.
    LeaderNotAnnounced,
    /// Whoever is to be woken registers after it has looked, and not with it.
    RegisteredAfterLook,
    /// A follower takes note of the signal after it has looked.
    SignalSeenAfterLook,
    /// The task of a stream leaves its waker after it has looked at the signal once more.
    #[cfg(feature = "async")]
    ParkedAfterLook,
    /// A second leader goes to work beside the first.
    TwoLeaders,
    /// A sender who waits for room is not told that there is some.
    RoomNotTold,
    /// A close does not wait for what was taken.
    ClosedUnflushed,
    /// A thread of the broker's that is needed sooner is not called.
    CrewNotCalled,
}

/// Whether this fault was chosen, which in this build none is.
#[cfg(not(ottla_check))]
#[inline(always)]
pub const fn is(_: Mutant) -> bool {
    false
}

#[cfg(ottla_check)]
pub use chosen::*;

/// Does what is wrong if this fault was chosen.
#[inline(always)]
pub fn does(mutant: Mutant, wrong: impl FnOnce()) {
    if is(mutant) {
        wrong();
    }
}

/// Does what is right unless this fault was chosen.
#[inline(always)]
pub fn unless<E>(mutant: Mutant, right: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    if is(mutant) { Ok(()) } else { right() }
}

#[cfg(ottla_check)]
mod chosen {
    use super::Mutant;
    use crate::sync::OnceLock;

    /// The variable that names the fault, for processes that are started as well.
    pub const VARIABLE: &str = "OTTLA_MUTANT";

    /// Whether this fault was chosen.
    pub fn is(mutant: Mutant) -> bool {
        chosen() == Some(mutant)
    }

    /// The fault that was chosen.
    pub fn chosen() -> Option<Mutant> {
        static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();
        *CHOSEN.get_or_init(|| std::env::var(VARIABLE).ok().as_deref().and_then(named))
    }

    fn named(name: &str) -> Option<Mutant> {
        Mutant::ALL.iter().copied().find(|mutant| format!("{mutant:?}") == name)
    }
}
