//! The clean-shutdown marker: Kafka's `.kafka_cleanshutdown`, present only between an orderly stop and the next
//! start.

use std::io;
use std::path::Path;

use crate::error::{IoContext, Result};
use crate::file_name::CLEAN_SHUTDOWN;
use crate::mutant::{self, Mutant};
use crate::vfs::{Vfs, read_file, replace_file};

/// What we write: no broker, so no broker epoch (Kafka: `CleanShutdownFileHandler`).
const CONTENT: &[u8] = br#"{"version":0,"brokerEpoch":-1}"#;

/// What stands in the place of the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Absent,
    /// The directory was closed in order.
    Ours,
    /// Anything else: it counts as absent.
    Foreign,
}

pub fn read(vfs: &dyn Vfs, root: &Path) -> Result<Marker> {
    let path = root.join(CLEAN_SHUTDOWN);
    match read_file(vfs, &path, 1024) {
        Ok(content) if content == CONTENT => Ok(Marker::Ours),
        Ok(_) => Ok(Marker::Foreign),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Marker::Absent),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Marker::Foreign),
        Err(error) => Err(error).doing("read", &path),
    }
}

/// Removes the marker, durably: from now on a stop is unclean until [`write`] says otherwise.
pub fn remove(vfs: &dyn Vfs, root: &Path) -> Result<()> {
    let path = root.join(CLEAN_SHUTDOWN);
    match vfs.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).doing("remove", &path),
        _ => {}
    }
    mutant::unless(Mutant::MarkerRemovalNotSynced, || vfs.sync_dir(root)).doing("sync", root)
}

/// Writes the marker, as the last thing of an orderly stop.
pub fn write(vfs: &dyn Vfs, root: &Path) -> Result<()> {
    replace_file(vfs, root, CLEAN_SHUTDOWN, CONTENT).doing("write", &root.join(CLEAN_SHUTDOWN))
}
