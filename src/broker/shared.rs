//! What all handles of a broker share: the open directory.

use std::sync::Arc;

use super::checkpoints::Checkpoints;
use super::closing::Closing;
use super::environment::Environment;
use super::groups::Groups;
use super::manifest::Manifest;
use super::recovery_report::RecoveryReport;
use super::scrubbing::Scrubber;
use super::topic_logs::Topics;
use crate::agenda::Crew;
use crate::ends_file::EndsFile;
use crate::error::{Error, ErrorKind, Result};
use crate::model::DirectoryId;
use crate::partition_log::{PartitionLog, check_process};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::vfs::VfsLock;

/// An open data directory.
///
/// Locks, in the order in which they are taken: `admin` (held while topics are created, altered and deleted), `topics`.
#[derive(Debug)]
pub struct Shared {
    pub(super) env: Environment,
    pub(super) directory: DirectoryId,
    pub(super) ends: Arc<EndsFile>,
    pub(super) admin: Mutex<Admin>,
    /// False from the moment at which closing begins.
    pub(super) is_open: AtomicBool,
    pub(super) topics: Arc<Topics>,
    pub(super) checkpoints: Arc<Checkpoints>,
    pub(super) report: RecoveryReport,
    pub(super) groups: Arc<Groups>,
    /// Where it was asked for.
    pub(super) scrubber: Option<Arc<Scrubber>>,
    /// The broker's threads, if it has any.
    pub(super) crew: Option<Crew>,
    pub(super) closing: Closing,
    /// The partitions that are being closed.
    pub(super) logs: Mutex<Vec<Arc<PartitionLog>>>,
    #[cfg(feature = "async")]
    pub(super) parked: super::parked::ParkedTasks,
}

/// The truth about topics, and whether it may change.
#[derive(Debug)]
pub struct Admin {
    pub manifest: Manifest,
    /// Why topics are no longer created, altered or deleted: a step failed, and the disk may hold either side of it, or
    /// the broker is being closed.
    pub failed: Option<Error>,
    /// Released when the broker closes; `None` from then on.
    pub lock: Option<Box<dyn VfsLock>>,
}

impl Admin {
    /// Fails if topics can no longer be created, altered and deleted.
    pub fn check(&self) -> Result<()> {
        if self.lock.is_none() {
            return Err(closed());
        }
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}

impl Shared {
    /// Fails once the broker is closed, and in a process that was forked off its own.
    pub fn check_open(&self) -> Result<()> {
        check_process(&self.env.mark)?;
        if self.is_open.load(Ordering::SeqCst) { Ok(()) } else { Err(closed()) }
    }

    /// Wakes the tasks that wait for a consumer, if there can be any; the caller holds no lock.
    pub(super) fn wake_parked(&self) {
        #[cfg(feature = "async")]
        self.parked.wake_all();
    }
}

pub fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the broker is closed").advise("open the directory again")
}
