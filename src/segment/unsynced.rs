//! Files that were written and are not on stable storage yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{IoContext, Result};
use crate::mutant::{self, Mutant};
use crate::vfs::VfsFile;

/// What of a segment has to be synced. It can be synced while the segment takes more, which may then be synced, too.
#[must_use = "what it names is durable once it was synced"]
#[derive(Debug)]
pub struct Unsynced {
    files: Vec<(Arc<dyn VfsFile>, PathBuf)>,
    /// Whether more than data and length counts: files that were shortened.
    whole: bool,
}

type File<'a> = (Arc<dyn VfsFile>, &'a Path);

impl Unsynced {
    /// Of a file that was only appended to.
    pub(super) fn data<'a>(files: impl IntoIterator<Item = File<'a>>) -> Self {
        Self { files: owned(files), whole: false }
    }

    pub(super) fn whole<'a>(files: impl IntoIterator<Item = File<'a>>) -> Self {
        Self { files: owned(files), whole: true }
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What has to be synced of both, this one's files first.
    pub fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        Self { whole: self.whole || other.whole, ..self }
    }

    /// Makes what was written survive a power cut. After an error, nothing may be concluded from a later success.
    pub fn sync(&self) -> Result<()> {
        self.files.iter().try_for_each(|(file, path)| {
            let synced = if self.whole { file.sync_all() } else { file.sync_data() };
            let again = |error| match error {
                _ if mutant::is(Mutant::SyncRetried) => file.sync_data(),
                _ if mutant::is(Mutant::SyncErrorIgnored) => Ok(()),
                error => Err(error),
            };
            synced.or_else(again).doing("sync", path)
        })
    }
}

fn owned<'a>(files: impl IntoIterator<Item = File<'a>>) -> Vec<(Arc<dyn VfsFile>, PathBuf)> {
    files.into_iter().map(|(file, path)| (file, path.to_owned())).collect()
}
