//! Looking into log directories, ours and Kafka's, without a broker and without changing anything.
//!
//! [`inspect`] shows what stands in a file or a directory, item by item.
//!
//! Nothing here takes a lock, so that nobody is locked out, and nothing is mapped: files are read by positioned reads,
//! and what the disk cannot read is told and not fatal.

mod entries;
mod evidence;
mod file_kind;
mod finding;
mod index_check;
mod item;
mod items;
mod kafka_epochs;
mod log_copy;
mod log_walk;
mod loss_check;
mod partition_check;
mod partition_copy;
pub(crate) mod read_only;
mod root_check;
mod salvage;
mod segment_check;
mod small_files;
mod survey;
mod target;
mod verify;
mod watcher;

use std::path::Path;
use std::sync::Arc;

use crate::error::{IoContext, Result};
use crate::record_batch::Codecs;
use crate::vfs::{OsVfs, Vfs};

pub use crate::producer_snapshot::ProducerState;
use verify::Verifying;

pub use file_kind::FileKind;
pub use finding::{Finding, FindingKind, Progress, Severity, VerifyReport};
pub use item::{BatchInfo, Content, DamageInfo, Item, Marker, SlotInfo, TopicInfo};
pub use items::Items;
pub use salvage::{Salvage, SalvageReport};
pub use verify::Verify;

/// More bytes than this, decompressed, and a batch is not looked into: what a broker reads, too, if nothing else is said.
const MOST_DECOMPRESSED: usize = 256 * 1024 * 1024;

fn codecs() -> Arc<Codecs> {
    Codecs::new(MOST_DECOMPRESSED)
}

/// Shows what stands in a file or a directory: batches, index entries, checkpoints, snapshots, whatever is there.
///
/// Files are told by their names, Kafka's and ours; they are read as the items are asked for, and none is held in memory
/// as a whole that is larger than a checkpoint. A damaged place is an item like others, and reading goes on behind it where
/// it soundly can. It works beside a live owner, who may be in the midst of writing the last batch.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-inspect-{}", std::process::id()));
/// use ottla::inspect::{Content, inspect};
/// # use ottla::{Broker, Record, TopicConfig};
/// # let broker = Broker::open(&dir)?;
/// # broker.ensure_topic("orders", TopicConfig::new())?.producer().send(Record::new("paid"))?.wait()?;
/// let mut records = 0;
/// for item in inspect(dir.join("orders-0"))? {
///     match item.content {
///         Content::Batch(batch) => records += batch.records_count,
///         Content::Damage(damage) => eprintln!("{}", damage.error),
///         _ => {}
///     }
/// }
/// assert_eq!(records, 1);
/// # drop(broker); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
///
/// # Errors
/// [`StorageError`](crate::ErrorKind::StorageError) if there is nothing at the path, or it cannot be listed.
pub fn inspect(path: impl AsRef<Path>) -> Result<Items> {
    Inspect::new().open(path)
}

/// Holds a data directory, ours or Kafka's, to everything that it says of itself, and changes nothing.
///
/// Every record batch is read: sizes, checksum, every record, and that offsets rise without a gap (where no Kafka broker
/// has written), each with the leader epoch that the checkpoint gives its offset. The indexes of segments that have ended
/// are held against the log entry by entry, and so are transaction indexes; producer snapshots, epochs, topic ids, the
/// manifest, the ends file and Kafka's checkpoints are read. Records whose codec this build lacks are checked as a whole,
/// by the checksum of their batch.
///
/// What a stop that was not in order leaves is no damage: zeros behind the last batch are normal, a torn tail above the
/// proven end is [`Unrecovered`](Severity::Unrecovered). While somebody has the directory open only what is proven to be
/// durable is looked at, which no owner changes; [`VerifyReport::is_live`] says so.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-verify-{}", std::process::id()));
/// # use ottla::{Broker, Record, TopicConfig};
/// # use std::time::Duration;
/// let broker = Broker::open(&dir)?;
/// broker.ensure_topic("orders", TopicConfig::new())?.producer().send(Record::new("paid"))?.wait()?;
/// broker.close(Duration::from_secs(10))?;
/// let report = ottla::inspect::verify(&dir)?;
/// assert!(report.is_sound() && report.records == 1, "{:?}", report.findings);
/// # std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
///
/// # Errors
/// [`DirectoryNotOurs`](crate::ErrorKind::DirectoryNotOurs) if it is no log directory, or one into which a salvage was not
/// finished,
/// [`StorageError`](crate::ErrorKind::StorageError) if it cannot be listed,
/// [`DirectoryInUse`](crate::ErrorKind::DirectoryInUse) if somebody has opened or closed it meanwhile: then it is worth
/// another look. What is damaged is a finding, and no error.
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport> {
    Verify::new().run(path)
}

/// Copies all that is sound of a data directory, ours or Kafka's, into a new one that [`Broker::open`](crate::Broker::open)
/// opens, and says what was left, and why. The source is not changed, and nothing is overwritten.
///
/// Topics, their ids, configurations and partitions stay, and every record keeps its offset. Where the manifest cannot be
/// read, topics are taken from the directories, with default configurations. Damaged batches are left out, and so are those
/// above the proven end that recovery would cut: what of those is whole is listed, and kept if
/// [asked for](Salvage::keep_behind_tears). A batch whose leader epoch was changed is kept, with the right one: its
/// records have a checksum of their own. What was gone before of what a Kafka broker has written is listed as [`verify`] lists
/// it: a segment, a partition or a topic, or the end of a log.
///
/// **A hole in a log is an empty batch**: a header that names the offsets, and no record. Kafka's log cleaner leaves such
/// batches where it took all records, and every reader passes over them. So no offset that was acknowledged is given out
/// again, batches follow one another without a gap, and a hole is told from damage. Where the first segments are missing,
/// the log begins behind them.
///
/// The new directory is on stable storage, and [verified](verify), when this returns. It counts as one that was not closed
/// in order: its first opening looks at everything, and begins a new leader epoch. Producer snapshots are not copied.
///
/// ```no_run
/// let report = ottla::inspect::salvage("data", "data.salvaged")?;
/// for left in &report.left {
///     println!("{left}");
/// }
/// # Ok::<(), ottla::Error>(())
/// ```
///
/// # Errors
/// [`DirectoryInUse`](crate::ErrorKind::DirectoryInUse) if somebody has the source open, or has opened it meanwhile, after
/// which what was copied is of no use, or if somebody else salvages into the target,
/// [`DirectoryNotOurs`](crate::ErrorKind::DirectoryNotOurs) if the source is no log directory, or the target is neither
/// empty nor missing, or lies in the source.
///
/// After any other error, and where the process was killed, the target holds a part, and a marker that says so: neither
/// [`Broker::open`](crate::Broker::open) nor [`verify`] takes it for a directory. The same salvage, run again, begins it
/// anew; nothing but what a salvage makes is removed.
pub fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<SalvageReport> {
    Salvage::new().run(from, to)
}

/// What [`inspect`] shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inspect {
    records: bool,
}

impl Inspect {
    /// Batches without their records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether each batch is followed by its records. Default: `false`; then nothing is decompressed, and a batch is whole
    /// if its checksum is right. A batch of more than 256 MiB, decompressed, is damage that says so.
    #[must_use]
    pub fn records(mut self, on: bool) -> Self {
        self.records = on;
        self
    }

    /// See [`inspect`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Items> {
        let path = path.as_ref();
        self.open_on(Arc::new(OsVfs), &std::path::absolute(path).doing("find", path)?)
    }

    pub(crate) fn open_on(self, vfs: Arc<dyn Vfs>, path: &Path) -> Result<Items> {
        Items::open(vfs, path, self.records)
    }
}
