//! How a broker is opened.

use crate::clock::Clock;
use crate::config::Durability;

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
    pub(super) durability: Durability,
    pub(super) isolate_damage: bool,
    pub(super) reserve: u64,
    pub(super) background: bool,
    pub(super) clock: Clock,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            batch_size: 16 * 1024,
            memory_maps: true,
            durability: Durability::Synced,
            isolate_damage: false,
            reserve: 1024 * 1024,
            background: true,
            clock: Clock::system(),
        }
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

    /// The durability of topics that are created without one of their own. It is stored with them: those that exist
    /// keep theirs. Default: [`Durability::Synced`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether a directory is opened in which acknowledged records are damaged. Default: `false`, opening fails, and
    /// the error names every damaged partition.
    ///
    /// With `true`, everything that is done with a damaged partition fails with the error that says what is wrong with
    /// it, and the others work; [`RecoveryReport::damaged`](crate::RecoveryReport::damaged) lists them. Nothing of a
    /// damaged partition is changed, and such a broker never counts as closed in order: the next opening looks at
    /// everything again.
    #[must_use]
    pub fn isolate_damage(mut self, on: bool) -> Self {
        self.isolate_damage = on;
        self
    }

    /// How much space is set aside in the data directory, in bytes, so that it can be opened, and topics deleted, when
    /// the disk is full; 0 sets nothing aside. Default: 1 MiB.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// Whether the broker has a thread of its own, for what comes with time: the syncs of interval topics, the evidence
    /// for recovery, Kafka's checkpoints. Default: `true`; without, whoever owns the broker calls
    /// [`tick`](crate::Broker::tick).
    #[must_use]
    pub fn background(mut self, on: bool) -> Self {
        self.background = on;
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
