//! How a broker is opened.

use crate::clock::Clock;

/// The settings of a [`Broker`](crate::Broker); nothing of them is stored.
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
}
