//! How a broker is opened.

use std::time::Duration;

use super::adopting::AdoptSettings;
use super::scrubbing::ScrubSettings;
use crate::clock::Clock;
use crate::config::{Durability, TopicConfig};
use crate::error::{Error, ErrorKind, Result};

/// With fewer, a partition that rolls would have to let go of its own files.
const FEWEST_OPEN_FILES: usize = 16;

/// The settings of a [`Broker`](crate::Broker); nothing of them is stored.
///
/// ```no_run
/// use ottla::Broker;
/// let broker = Broker::options().batch_size(64 * 1024).memory_maps(false).open("data")?;
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    pub(super) create_if_missing: bool,
    pub(super) adopting: AdoptSettings,
    pub(super) batch_size: usize,
    pub(super) memory_maps: bool,
    pub(super) durability: Durability,
    pub(super) isolate_damage: bool,
    pub(super) reserve: u64,
    pub(super) open_files: usize,
    pub(super) background: bool,
    /// Whether ticks come as soon as threads would.
    pub(super) ticks_come: bool,
    pub(super) sync_threads: usize,
    pub(super) buffer_memory: usize,
    pub(super) max_block: Duration,
    pub(super) max_decompressed_bytes: usize,
    pub(super) close_timeout: Duration,
    pub(super) scrub: Option<ScrubSettings>,
    pub(super) clock: Clock,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            adopting: AdoptSettings::default(),
            batch_size: 16 * 1024,
            memory_maps: true,
            durability: Durability::Synced,
            isolate_damage: false,
            reserve: 1024 * 1024,
            open_files: 512,
            background: true,
            ticks_come: false,
            sync_threads: 4,
            buffer_memory: 32 * 1024 * 1024,
            max_block: Duration::from_secs(60),
            max_decompressed_bytes: 256 * 1024 * 1024,
            close_timeout: Duration::from_secs(30),
            scrub: None,
            clock: Clock::system(),
        }
    }
}

impl BrokerOptions {
    /// Without threads, has the broker rely on ticks for what threads would do at once, as a suite's own ticks do.
    #[cfg(feature = "test-util")]
    pub(crate) fn relying_on_ticks(mut self) -> Self {
        self.ticks_come = true;
        self
    }

    /// Whether a data directory is made where there is none. Default: `true`; with `false`, opening a path at which nothing
    /// is, or an empty directory, fails with [`DirectoryNotOurs`](ErrorKind::DirectoryNotOurs), and makes nothing: for
    /// tools that look at what is there.
    #[must_use]
    pub fn create_if_missing(mut self, on: bool) -> Self {
        self.create_if_missing = on;
        self
    }

    /// Whether the directory of a stopped Kafka broker, one with a `meta.properties`, is taken over. Default: `false`,
    /// and opening one fails.
    ///
    /// With `true` every topic in it becomes one of ours, with its id, its records at their offsets, and the
    /// configuration that is given [for it](Self::adopted_topic) or [for all](Self::adopted_topics): Kafka keeps its own
    /// elsewhere. All partitions of a topic have to be there. How the broker stopped is judged by what it has left
    /// itself; after a stop that was not in order, what is not whole above its recovery points is cut and kept in
    /// quarantine files, and [`RecoveryReport`](crate::RecoveryReport) tells. New records get leader epochs above Kafka's.
    ///
    /// Kafka's internal topics (`__consumer_offsets`, `__transaction_state`, `__share_group_state`) can be read, and not
    /// written. Its log of the cluster, and directories that it was about to delete or to move, are left alone; the
    /// report names the latter.
    ///
    /// A transaction of a Kafka producer that was open when the broker stopped stays open, for there is no transaction
    /// coordinator here, and readers of committed records, which is the default, stop where it begins:
    /// [`Partition::open_transactions`](crate::Partition::open_transactions) lists them, and says how to have them ended.
    ///
    /// Last of all `meta.properties` is renamed to `meta.properties.adopted`, so that no broker starts on the directory;
    /// after a crash before that it is Kafka's as before. [`Broker::undo_adoption`](crate::Broker::undo_adoption) gives
    /// it back. A directory that is ours already, or new, is opened as without this option.
    ///
    /// # Errors
    /// Of [opening](Self::open), all with nothing changed:
    /// [`DirectoryInUse`](ErrorKind::DirectoryInUse) while the broker runs;
    /// [`CorruptMessage`](ErrorKind::CorruptMessage) for a topic id, checkpoint or log that is damaged or missing;
    /// [`StorageError`](ErrorKind::StorageError) if partitions of a topic are missing, or the directory of one is a symbolic link,
    /// or compaction was interrupted;
    /// [`UnsupportedForMessageFormat`](ErrorKind::UnsupportedForMessageFormat) for logs of brokers before 0.11.
    #[must_use]
    pub fn adopt(mut self, on: bool) -> Self {
        self.adopting.is_on = on;
        self
    }

    /// The configuration of the topics of a Kafka broker that is [adopted](Self::adopt), but for those that are named;
    /// their number of partitions is what it is. Default: that of [`TopicConfig::new`].
    #[must_use]
    pub fn adopted_topics(mut self, config: TopicConfig) -> Self {
        self.adopting.default = config;
        self
    }

    /// The configuration of one topic of a Kafka broker that is [adopted](Self::adopt); its number of partitions is what
    /// it is. A name that the broker does not have is an error of opening.
    #[must_use]
    pub fn adopted_topic(mut self, name: &str, config: TopicConfig) -> Self {
        self.adopting.by_topic.insert(name.to_owned(), config);
        self
    }

    /// The size up to which records share a record batch, in bytes, 0 to 2^31 − 1; a larger record gets a batch
    /// of its own, and with 0 every record does. What is compressed counts as it is before that: larger batches
    /// compress better. Default: 16 KiB (Kafka's `batch.size`).
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
    ///
    /// It does not reach an [adoption](Self::adopt), which takes over every partition of a Kafka broker, or none: what is
    /// damaged there is an error that says so, and nothing is changed.
    #[must_use]
    pub fn isolate_damage(mut self, on: bool) -> Self {
        self.isolate_damage = on;
        self
    }

    /// How much space is set aside in the data directory, in bytes, so that it can be opened, and topics deleted, when
    /// the disk is full; 0 sets nothing aside, and a disk without so much space none either. Default: 1 MiB.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// How many files the broker has open at most, at least 16. Default: 512, half of the 1,024 descriptors that a process
    /// usually may have.
    ///
    /// Any number of partitions work with it: whoever needs a file has others closed that were not used for the longest
    /// time, and that are opened again when they are needed. A partition on which something is not synced yet is synced
    /// first. What is in use stays open, so that there may be more for a moment: a few for each thread that appends or
    /// reads, and the files that a [`Batches`](crate::Batches) or a [`Consumer`](crate::Consumer) is in the midst of.
    /// Sealed segments count only where [maps](Self::memory_maps) are off: a map needs no descriptor. On top come the
    /// lock of the directory, and for the length of a call a directory that is listed or synced.
    #[must_use]
    pub fn open_files(mut self, most: usize) -> Self {
        self.open_files = most;
        self
    }

    /// Whether the broker has threads of its own: they write and sync for whoever awaits a
    /// [`Delivery`](crate::Delivery), or waits for it with a timeout, and what nobody waits for; and they do what comes
    /// with time: the syncs of interval topics, the evidence for recovery, Kafka's checkpoints. Default: `true`; without
    /// them, whoever owns the broker calls [`tick`](crate::Broker::tick).
    #[must_use]
    pub fn background(mut self, on: bool) -> Self {
        self.background = on;
        self
    }

    /// How many threads the broker may have, 1 to 64: as many partitions are synced at once, and as many disks or files
    /// can hang without holding up the rest. They are started as there is work for them, one when the broker is opened.
    /// Default: 4.
    #[must_use]
    pub fn sync_threads(mut self, most: usize) -> Self {
        self.sync_threads = most;
        self
    }

    /// How many bytes of records may be on their way to the files, of all partitions together, at least 1. Above that
    /// [`send`](crate::Producer::send) waits for room, and [`try_send`](crate::Producer::try_send) fails. The record that
    /// reaches the bound is still taken, whatever its size. Default: 32 MiB (Kafka's `buffer.memory`).
    #[must_use]
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// How long a send waits for room in the buffer memory before it fails with
    /// [`BufferExhausted`](crate::ErrorKind::BufferExhausted); with zero it fails at once.
    /// [Without threads](Self::background) it never waits for others: it writes its own partition's records, or fails.
    /// Default: 60 s (Kafka's `max.block.ms`).
    #[must_use]
    pub fn max_block(mut self, most: Duration) -> Self {
        self.max_block = most;
        self
    }

    /// How many bytes the records of a compressed batch may have once they are decompressed, 1 to 2^31 − 1. A batch that
    /// holds more is read as [`MessageTooLarge`](crate::ErrorKind::MessageTooLarge), and none is written. Default: 256 MiB.
    ///
    /// It keeps a few bytes that decompress to very many from taking all memory; Kafka has no such bound. What a
    /// batch claims of its own length never makes room for more than the bytes that are there can become.
    #[must_use]
    pub fn max_decompressed_bytes(mut self, most: usize) -> Self {
        self.max_decompressed_bytes = most;
        self
    }

    /// How long dropping the last handle may take, as if it was given to [`close`](crate::Broker::close).
    /// Default: 30 s.
    #[must_use]
    pub fn close_timeout(mut self, most: Duration) -> Self {
        self.close_timeout = most;
        self
    }

    /// Has the broker read what was sealed again and again, and hold it to its checksums: a round each `interval`, the first
    /// one when it is opened, at about so many bytes a second. Default: off, and nothing is read that nobody asked for.
    ///
    /// It finds early what a disk has lost of records that are rarely read, while there is still a copy to restore it from.
    /// [`Broker::scrub_report`](crate::Broker::scrub_report) tells what it has found; nothing is changed, and nobody else's
    /// reading is: the sound records of a damaged segment stay readable. It protects from nothing: it repairs nothing, and
    /// what is lost without a copy is lost.
    ///
    /// Read are the logs of the segments that have ended, up to what is proven to be durable; not the last segment of a
    /// partition, nor indexes, which are checked when they are used. Where the file system can (`O_DIRECT`), the page cache
    /// is passed, so that it is the disk that answers; where it cannot, what is cached hides the disk, and
    /// [`ScrubReport::reads_past_cache`](crate::ScrubReport::reads_past_cache) says so. What the disk's own memory holds
    /// back is not seen. [Without threads](Self::background) it goes on with each [`tick`](crate::Broker::tick).
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-scrub-{}", std::process::id()));
    /// use std::time::Duration;
    /// const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// let broker = ottla::Broker::options().scrub(WEEK, 8 * 1024 * 1024).open(&dir)?;
    /// let report = broker.scrub_report().expect("it was asked for");
    /// for damage in report.findings() {
    ///     eprintln!("{damage}");
    /// }
    /// # drop(broker); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of [opening](Self::open): [`InvalidConfig`](ErrorKind::InvalidConfig) for no time between two rounds, or 0 bytes.
    #[must_use]
    pub fn scrub(mut self, interval: Duration, bytes_per_second: u64) -> Self {
        self.scrub = Some(ScrubSettings { interval, bytes_per_second });
        self
    }

    /// Checks every bound.
    pub(super) fn validate(&self) -> Result<()> {
        let bounds = [
            (i32::try_from(self.batch_size).is_ok(), "batch_size", self.batch_size, "0 to 2147483647 bytes"),
            (
                self.max_decompressed_bytes > 0 && i32::try_from(self.max_decompressed_bytes).is_ok(),
                "max_decompressed_bytes",
                self.max_decompressed_bytes,
                "1 to 2147483647 bytes",
            ),
            ((1..=64).contains(&self.sync_threads), "sync_threads", self.sync_threads, "1 to 64 threads"),
            (self.buffer_memory > 0, "buffer_memory", self.buffer_memory, "at least 1 byte"),
            (self.open_files >= FEWEST_OPEN_FILES, "open_files", self.open_files, "at least 16 files"),
        ];
        if let Some((_, name, value, expects)) = bounds.into_iter().find(|(is_valid, ..)| !is_valid) {
            let what = format!("{name} = {value} is not possible");
            return Err(Error::new(ErrorKind::InvalidConfig, what).advise(format!("it takes {expects}")));
        }
        self.scrub.map_or(Ok(()), ScrubSettings::validate)?;
        self.adopting.validate()?;
        TopicConfig::new().durability(self.durability).validate()
    }

    /// The clock that gives records their timestamps and ends waits. Default: the system's.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}
