//! What all handles of a broker share: the open directory.

use std::sync::Arc;
use std::time::Duration;

use super::checkpoints::Checkpoints;
use super::environment::Environment;
use super::manifest::Manifest;
use super::marker;
use super::recovery_report::RecoveryReport;
use super::reserve::with_reserve;
use super::topic_logs::Topics;
use crate::agenda::Background;
use crate::ends_file::EndsFile;
use crate::error::{Error, ErrorKind, Result, worse};
use crate::model::DirectoryId;
use crate::partition_log::{PartitionLog, check_process};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::vfs::VfsLock;

/// How long dropping the last handle may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// An open data directory.
///
/// Locks, in the order in which they are taken: `admin` (held while topics are created and deleted), `topics`.
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
}

/// The truth about topics, and whether it may change.
#[derive(Debug)]
pub struct Admin {
    pub manifest: Manifest,
    /// Why topics are no longer created or deleted: a step failed, and the disk may hold either side of it. Of a
    /// closed broker, why it was not closed in order.
    pub failed: Option<Error>,
    /// Released when the broker closes; `None` from then on.
    pub lock: Option<Box<dyn VfsLock>>,
    /// Ended when the broker closes.
    pub background: Option<Background>,
}

impl Admin {
    /// Fails if topics can no longer be created and deleted.
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

    /// Closes every partition, and then the directory. The second call returns what the first one did.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        check_process(&self.env.mark)?;
        let deadline = self.env.options.clock.monotonic().saturating_add(timeout);
        self.is_open.store(false, Ordering::SeqCst);
        let mut admin = self.admin.lock();
        if admin.lock.is_none() {
            return admin.failed.clone().map_or(Ok(()), Err);
        }
        let failed = admin.failed.take();
        let topics = std::mem::take(&mut *self.topics.write());
        let logs: Vec<_> = topics.values().flat_map(|topic| &topic.logs).map(Arc::clone).collect();
        let outcome = self.close_partitions(&logs, deadline);
        let outcome = worse(outcome, end_background(&mut admin));
        let outcome = failed.map_or(outcome, Err);
        // Records that were not written leave the log as it was. For the rest, the marker vouches for every
        // partition and for the evidence, so one failure leaves it out.
        let in_order = match &outcome {
            Err(error) if error.kind() != ErrorKind::NotWritten => Err(error.clone()),
            _ => self.close_directory(&logs),
        };
        self.checkpoints.end();
        let outcome = in_order.and(outcome);
        admin.failed = outcome.clone().err();
        admin.lock = None;
        outcome
    }

    fn close_directory(&self, logs: &[Arc<PartitionLog>]) -> Result<()> {
        let (vfs, root) = (self.env.vfs.as_ref(), &*self.env.root);
        self.ends.sync()?;
        with_reserve(vfs, root, || self.checkpoints.close(logs))?;
        if logs.iter().any(|log| log.damage().is_some()) {
            // What could be closed is; the marker would vouch for all.
            return Ok(());
        }
        with_reserve(vfs, root, || marker::write(vfs, root))
    }

    /// Leaves the directory as a crash would.
    fn abandon(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        for topic in self.topics.read().values() {
            topic.logs.iter().for_each(|log| log.abandon());
        }
        self.checkpoints.end();
        _ = end_background(&mut self.admin.lock());
    }

    fn close_partitions(&self, logs: &[Arc<PartitionLog>], deadline: Duration) -> Result<()> {
        // First of all nobody gets an offset any more, so that no partition waits for the next one's senders.
        logs.iter().for_each(|log| log.refuse_appends());
        let mut outcome = Ok(());
        for log in logs {
            let closed = if self.env.options.clock.monotonic() < deadline {
                log.close()
            } else {
                log.abandon();
                Err(log.place(Error::new(ErrorKind::TimedOut, "the partition was not closed in time")))
            };
            outcome = worse(outcome, closed);
        }
        outcome
    }
}

/// Joins the broker's thread.
fn end_background(admin: &mut Admin) -> Result<()> {
    match admin.background.take().is_none_or(Background::end) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::StorageError, "the broker's thread has panicked")),
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.env.mark.is_ours() {
            // The directory is the parent's, and so is the thread, which cannot be joined from here.
            std::mem::forget(self.admin.get_mut().background.take());
        } else if std::thread::panicking() {
            // Whatever has panicked may have left half a change; the next opening looks at all of it.
            self.abandon();
        } else {
            // Nobody is left to hear of a failure; the marker then stays away, and the next opening recovers.
            _ = self.close(CLOSE_TIMEOUT);
        }
    }
}

pub fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the broker is closed").advise("open the directory again")
}
