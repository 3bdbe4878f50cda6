//! Opening one partition anew, while the directory is open.

use super::damage;
use super::recovery_report::PartitionRecovery;
use super::reserve::with_reserve;
use super::shared::Shared;
use crate::error::Result;
use crate::partition_log::{PartitionLog, preserve};

/// Reopens a partition that has failed; `None` if it has not.
pub fn reopen(shared: &Shared, log: &PartitionLog) -> Result<Option<PartitionRecovery>> {
    shared.check_open()?;
    let reopened = reopen_alone(shared, log);
    // Without a lock, for wakers may do anything.
    log.tell();
    reopened
}

/// While nobody else changes topics.
fn reopen_alone(shared: &Shared, log: &PartitionLog) -> Result<Option<PartitionRecovery>> {
    // Meanwhile nobody closes the directory, or deletes the topic.
    let admin = shared.admin.lock();
    log.check_readable()?;
    let Some(failed) = log.look_at_failure().map_err(damage::advised)? else { return Ok(None) };
    // The disk may say that the topic is being deleted.
    admin.check()?;
    let (vfs, root) = (shared.env.vfs.as_ref(), &*shared.env.root);
    let copy = with_reserve(vfs, root, || preserve(failed.context(), &failed.cut));
    let copy = copy.map_err(|error| log.place(error))?;
    let (context, cut) = (failed.context().clone(), failed.cut.clone());
    let outcome = failed.reopen(copy)?;
    // Evidence is never more than what is true: an older one, if this fails, costs nothing that was acknowledged.
    _ = shared.ends.sync();
    Ok(Some(PartitionRecovery::of(&context, &cut, outcome)))
}
