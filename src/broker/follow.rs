//! Follows a partition: reads on where it has ended, as soon as there is more.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::Duration;

use super::closing::Lease;
use super::partition::Batches;
use crate::error::Result;
use crate::model::Position;
use crate::mutant::{self, Mutant};
use crate::partition_log::{BatchReader, Wakeup, WakeupHandle};
use crate::record_batch::RecordBatch;

/// The batches of a partition without an end, an iterator that waits; made by [`Batches::follow`].
///
/// `next` waits for what comes, and has what was sent written and synced at once, as
/// [`Consumer::poll`](crate::Consumer::poll) does. It ends when its [handle](Self::wakeup_handle) says so, and after an
/// error: one of reading, [`Closed`](crate::ErrorKind::Closed), or
/// [`UnknownTopicOrPartition`](crate::ErrorKind::UnknownTopicOrPartition) for a topic that was deleted. It keeps the broker
/// open.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-follow-{}", std::process::id()));
/// # use ottla::{Broker, Record, Start, TopicConfig};
/// # let broker = Broker::open(&dir)?;
/// # let orders = broker.ensure_topic("orders", TopicConfig::new())?;
/// let follow = orders.partition(0)?.read(Start::Earliest)?.follow();
/// let handle = follow.wakeup_handle();
/// let view = std::thread::spawn(move || {
///     let mut orders = Vec::new();
///     for batch in follow {
///         orders.extend(batch?.records().filter_map(|record| record.value));
///         if orders.len() == 2 {
///             handle.wake(); // or somebody else does
///         }
///     }
///     Ok::<_, ottla::Error>(orders)
/// });
/// orders.producer().send(Record::new("paid"))?.wait()?;
/// orders.producer().send(Record::new("sent"))?.wait()?;
/// assert_eq!(view.join().unwrap()?, [b"paid"[..].into(), b"sent"[..].into()]);
/// # drop((orders, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
pub struct Follow {
    reader: BatchReader,
    broker: Arc<Lease>,
    wakeup: Wakeup,
    has_ended: bool,
}

impl Batches {
    /// Waits for more at the high watermark, instead of ending there.
    #[must_use]
    pub fn follow(self) -> Follow {
        let (reader, broker) = self.into_parts();
        let wakeup = Wakeup::default();
        reader.log().listen(wakeup.signal());
        Follow { reader, broker, wakeup, has_ended: false }
    }
}

impl Follow {
    /// Where the next batch begins; [`Start::Resume`](crate::Start::Resume) comes back to it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.reader.position()
    }

    /// Ends the iteration from another thread: `next` returns `None`, now if it waits, else when it is called. To go on,
    /// read from [`position`](Self::position).
    #[must_use]
    pub fn wakeup_handle(&self) -> WakeupHandle {
        self.wakeup.handle()
    }

    /// `None` once it was woken.
    fn wait_for_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let seen = self.wakeup.signal().generation();
            if self.wakeup.take() {
                return Ok(None);
            }
            self.reader.log().check_readable()?;
            self.reader.extend()?;
            if let Some(batch) = self.reader.next() {
                return batch.map(Some);
            }
            let log = self.reader.log();
            if !log.takes_records() || !log.make_visible() {
                let signal = self.wakeup.signal();
                let seen = if mutant::is(Mutant::SignalSeenAfterLook) { signal.generation() } else { seen };
                self.broker.env.options.clock.wait(signal, seen, Duration::MAX);
            }
        }
    }
}

impl Iterator for Follow {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let batch = self.wait_for_batch().transpose();
        self.has_ended = !matches!(batch, Some(Ok(_)));
        batch
    }
}

impl FusedIterator for Follow {}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("position", &self.position()).finish_non_exhaustive()
    }
}
