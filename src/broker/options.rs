//! How a broker is opened.

use std::path::Path;
use std::sync::Arc;

use super::Broker;
use super::open;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::vfs::{OsVfs, Vfs};

/// The settings of a [`Broker`]; nothing of them is stored.
///
/// ```no_run
/// use ottla::Broker;
/// let broker = Broker::options().batch_size(64 * 1024).memory_maps(false).open("data")?;
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    pub(super) batch_size: usize,
    pub(super) memory_maps: bool,
    pub(super) clock: Clock,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self { batch_size: 16 * 1024, memory_maps: true, clock: Clock::system() }
    }
}

impl BrokerOptions {
    /// The size up to which records share a record batch, in bytes, 0 to 2^31 − 1; a larger record gets a batch
    /// of its own, and with 0 every record does. Default: 16 KiB (Kafka's `batch.size`).
    #[must_use]
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// Whether files that can no longer change are read through read-only memory maps. Default: `true`.
    ///
    /// A map reads faster. But if the disk cannot read a mapped page, or another process shortens a mapped
    /// file, the operating system ends this process with SIGBUS; with maps off the same is an error of the
    /// read.
    #[must_use]
    pub fn memory_maps(mut self, on: bool) -> Self {
        self.memory_maps = on;
        self
    }

    /// The clock that gives records their timestamps and ends waits. Default: the system's.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the data directory, creating it if there is nothing at `path`; see [`Broker::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Broker> {
        let path = path.as_ref();
        // The directory stays the same one when the process changes its working directory.
        let absolute = std::path::absolute(path).doing("find", path)?;
        self.open_on(Arc::new(OsVfs), &absolute)
    }

    /// Opens an empty broker in memory; see [`Broker::in_memory`].
    #[cfg(feature = "test-util")]
    pub fn in_memory(self) -> Result<Broker> {
        self.open_on(Arc::new(crate::vfs::MemoryVfs::new()), Path::new("/data"))
    }

    /// Opens the data directory of a given file system.
    pub(crate) fn open_on(self, vfs: Arc<dyn Vfs>, path: &Path) -> Result<Broker> {
        if i32::try_from(self.batch_size).is_err() {
            let what = format!("a batch size of {} bytes is not possible", self.batch_size);
            return Err(Error::new(ErrorKind::InvalidConfig, what).advise("it takes 0 to 2147483647 bytes"));
        }
        open::open(vfs, path, self).map(Broker::new)
    }
}
