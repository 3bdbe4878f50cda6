//! What all handles of a broker share: the open directory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::manifest::Manifest;
use super::marker;
use super::options::BrokerOptions;
use super::recovery_report::RecoveryReport;
use super::topic_logs::TopicLogs;
use crate::ends_file::EndsFile;
use crate::error::{Error, ErrorKind, Result, worse};
use crate::model::TopicName;
use crate::sync::{AtomicBool, Mutex, Ordering, RwLock};
use crate::vfs::{Vfs, VfsLock};

/// How long dropping the last handle may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// An open data directory.
///
/// Locks, in the order in which they are taken: `admin` (held while topics are created and deleted), `topics`.
#[derive(Debug)]
pub struct Shared {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) root: PathBuf,
    pub(super) options: BrokerOptions,
    pub(super) ends: Arc<EndsFile>,
    pub(super) admin: Mutex<Admin>,
    /// False from the moment at which closing begins.
    pub(super) is_open: AtomicBool,
    pub(super) topics: RwLock<BTreeMap<TopicName, Arc<TopicLogs>>>,
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
    /// Fails once the broker is closed.
    pub fn check_open(&self) -> Result<()> {
        if self.is_open.load(Ordering::SeqCst) { Ok(()) } else { Err(closed()) }
    }

    /// Closes every partition, and then the directory. The second call returns what the first one did.
    pub fn close(&self, timeout: Duration) -> Result<()> {
        let deadline = self.options.clock.monotonic().saturating_add(timeout);
        self.is_open.store(false, Ordering::SeqCst);
        let mut admin = self.admin.lock();
        if admin.lock.is_none() {
            return admin.failed.clone().map_or(Ok(()), Err);
        }
        let failed = admin.failed.take();
        let outcome = self.close_partitions(deadline);
        let outcome = failed.map_or(outcome, Err);
        // Records that were not written leave the log as it was. For the rest, the marker vouches for every
        // partition and for the evidence, so one failure leaves it out.
        let in_order = match &outcome {
            Err(error) if error.kind() != ErrorKind::NotWritten => Err(error.clone()),
            _ => self.ends.sync().and_then(|()| marker::write(self.vfs.as_ref(), &self.root)),
        };
        let outcome = in_order.and(outcome);
        admin.failed = outcome.clone().err();
        admin.lock = None;
        outcome
    }

    /// Leaves the directory as a crash would.
    fn abandon(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        for topic in self.topics.read().values() {
            topic.logs.iter().for_each(|log| log.abandon());
        }
    }

    fn close_partitions(&self, deadline: Duration) -> Result<()> {
        let topics = std::mem::take(&mut *self.topics.write());
        let logs: Vec<_> = topics.values().flat_map(|topic| &topic.logs).collect();
        // First of all nobody gets an offset any more, so that no partition waits for the next one's senders.
        logs.iter().for_each(|log| log.refuse_appends());
        let mut outcome = Ok(());
        for log in logs {
            let closed = if self.options.clock.monotonic() < deadline {
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

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
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
