//! A consumer's records as a stream, for async code.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::{FusedStream, Stream};

use super::acquiring::Taking;
use super::consumer::Consumer;
use super::records::ConsumerRecords;
use crate::broker::Parking;
use crate::error::{ErrorKind, Result};

/// A consumer's records as a [`Stream`] of the `futures` crates, for any executor; made by [`Consumer::stream`] and
/// [`Consumer::into_stream`], with feature `async`.
///
/// An item is what a [poll](Consumer::poll) hands out: records that borrow their bytes from it, up to
/// [`fetch_max_bytes`](crate::ConsumerBuilder::fetch_max_bytes) and [`max_poll_records`](crate::ConsumerBuilder::max_poll_records)
/// of them, never none. With 1 for the latter they come one by one.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-stream-{}", std::process::id()));
/// use ottla::{Broker, Record, TopicConfig};
///
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     struct Unpark(std::thread::Thread);
/// #     impl std::task::Wake for Unpark {
/// #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
/// #     }
/// #     let mut future = std::pin::pin!(future);
/// #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
/// #     let mut context = std::task::Context::from_waker(&waker);
/// #     loop {
/// #         if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) { return output }
/// #         std::thread::park();
/// #     }
/// # }
/// let broker = Broker::open(&dir)?;
/// let orders = broker.ensure_topic("orders", TopicConfig::new())?;
/// let mut stream = broker.consumer().group("billing").subscribe(["orders"])?.into_stream();
/// let worker = async {
///     orders.producer().send(Record::new("paid"))?.await?;
///     while let Some(records) = stream.next().await {
///         for record in &records? {
///             assert_eq!(record.value(), Some(&b"paid"[..]));
///         }
///         stream.consumer().commit_async()?.await?;
///         # break;
///     }
///     Ok::<_, ottla::Error>(())
/// };
/// block_on(worker)?;
/// # drop((stream, orders, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
///
/// # Cancelling
///
/// A future of the next item may be dropped at any time, as `select!` and timeouts do: a position moves only with the records
/// that are handed out. When the stream is dropped, or [gives its consumer back](Self::into_consumer), the consumer stands behind
/// them.
///
/// # Errors
///
/// Those of [`poll`](Consumer::poll), as items: the position stays, and the next item tries again at once. After
/// [`Closed`](ErrorKind::Closed) the stream has ended.
///
/// # In a group
///
/// The consumer takes part in its group while the stream is polled, and is woken for it; its
/// [listener](crate::RebalanceListener) is called by the task that polls. A task that waits for records is in a poll, however long
/// none come. From the moment at which it has an item, or was woken, it has the [most time between two
/// polls](crate::ConsumerBuilder::max_poll_interval) until it polls again; else its partitions go to others. To ask for the
/// next item says that those before are done with, as far as [`auto_commit`](crate::ConsumerBuilder::auto_commit) goes.
///
/// # What blocks
///
/// But for what is listed here, polling the stream waits for no sync and for no other consumer: assignments, automatic commits, and
/// commits of others whose partitions it takes over become durable beside it. It reads, from the page cache as a rule, and
/// decompresses, up to the fetch limits. These things hold up the thread that polls, each as long as the disk takes:
///
/// - the first join of the first group of a directory, which makes the internal topic;
/// - what a listener does, also a commit in [`revoked`](crate::RebalanceListener::revoked);
/// - an automatic commit of a topic with less [durability](crate::Durability) than synced, which syncs its records first, and one
///   that meets an assignment on its way to the disk, which waits for it: one sync each;
/// - an automatic commit while the buffer memory is full, for
///   [`max_block`](crate::BrokerOptions::max_block) at most;
/// - after a commit of the group of which nobody knows what became of it, the internal topic is read again.
///
/// So does dropping the consumer, where it commits by itself. [Without the broker's
/// threads](crate::BrokerOptions::background) records become visible by [`tick`](crate::Broker::tick) and by the waits of others,
/// and tasks are woken by `tick` and by closing.
#[must_use = "a stream does nothing unless it is polled"]
pub struct ConsumerStream<C = Consumer> {
    /// Before the consumer, which may leave its group when it is dropped.
    parking: Parking,
    consumer: C,
    has_ended: bool,
}

/// So often a poll of the stream looks again if something has come since it began; then others of the executor have their
/// turn.
const MOST_LOOKS: usize = 8;

impl Consumer {
    /// The records that come, as a stream for async code, of which the consumer can be used again.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-borrowed-stream-{}", std::process::id()));
    /// use ottla::{Broker, Record, TopicConfig};
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let broker = Broker::open(&dir)?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new())?;
    /// let mut consumer = broker.consumer().assign(orders.partitions())?;
    /// # let mut context = Context::from_waker(Waker::noop());
    /// // Given up before anything has come, as a timeout does.
    /// assert!(pin!(consumer.stream().next()).poll(&mut context).is_pending());
    /// orders.producer().send(Record::new("paid"))?.wait()?;
    /// assert_eq!(consumer.poll(std::time::Duration::ZERO)?.len(), 1);
    /// # drop((consumer, orders, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    pub fn stream(&mut self) -> ConsumerStream<&mut Self> {
        ConsumerStream::new(self)
    }

    /// The same stream, which has the consumer, so that a task can be spawned with it.
    pub fn into_stream(self) -> ConsumerStream {
        ConsumerStream::new(self)
    }

    /// The records that come next, if there are any; else the task is woken when there may be.
    fn poll_stream(&mut self, parking: &Parking, context: &mut Context<'_>) -> Poll<Result<ConsumerRecords>> {
        self.take_by(Taking::Polling)?;
        // In this order, so that nobody says after it that the member polls no longer.
        parking.return_to_poll();
        if let Err(error) = self.begin_poll(false) {
            return Poll::Ready(Err(error));
        }
        for _ in 0..MOST_LOOKS {
            let seen = self.wakeup.signal().generation();
            let (records, next) = self.look()?;
            if !records.is_empty() {
                return Poll::Ready(Ok(records));
            }
            self.ask_to_show();
            let until = next.min(self.next_auto_commit());
            if until > self.clock.monotonic() && parking.wait(context.waker(), seen, until) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Has records written and synced that were sent and are not visible yet.
    fn ask_to_show(&self) {
        let behind = self.assigned.iter().filter(|assigned| assigned.is_behind());
        behind.for_each(|assigned| assigned.log().ask_to_show());
    }

    /// When something is to be committed by the stream itself.
    fn next_auto_commit(&self) -> Duration {
        let is_due = |at: &Duration| {
            // What is past was tried in this poll.
            *at > self.clock.monotonic() && self.assigned.iter().any(|assigned| assigned.unsaved().is_some())
        };
        self.group.as_ref().and_then(|group| group.commit_at).filter(is_due).unwrap_or(Duration::MAX)
    }
}

impl<C: BorrowMut<Consumer>> ConsumerStream<C> {
    fn new(consumer: C) -> Self {
        let its: &Consumer = consumer.borrow();
        let membership = its.group.as_ref().map(|group| &group.membership);
        let parking = Parking::new(its.broker.shared(), its.wakeup.signal(), membership);
        Self { parking, consumer, has_ended: false }
    }

    /// The records that come next; `None` once the stream has ended. What `StreamExt::next` does, without another crate.
    ///
    /// # Errors
    /// Those of [`poll`](Consumer::poll).
    pub async fn next(&mut self) -> Option<Result<ConsumerRecords>> {
        poll_fn(|context| self.poll_records(context)).await
    }

    /// The consumer, to commit, seek or pause between two items.
    pub fn consumer(&mut self) -> &mut Consumer {
        self.parking.leave();
        self.consumer.borrow_mut()
    }

    /// Gives the consumer back; it stands behind what was handed out.
    #[must_use]
    pub fn into_consumer(self) -> C {
        self.consumer
    }

    fn poll_records(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<ConsumerRecords>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let consumer = self.consumer.borrow_mut();
        let polled = consumer.poll_stream(&self.parking, context);
        if let Poll::Ready(outcome) = &polled {
            self.parking.return_to_poll();
            consumer.end_poll();
            self.has_ended = outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed);
        }
        polled.map(Some)
    }
}

impl<C: BorrowMut<Consumer> + Unpin> Stream for ConsumerStream<C> {
    type Item = Result<ConsumerRecords>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_records(context)
    }
}

impl<C: BorrowMut<Consumer> + Unpin> FusedStream for ConsumerStream<C> {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

impl<C: BorrowMut<Consumer>> fmt::Debug for ConsumerStream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConsumerStream").field(self.consumer.borrow()).finish()
    }
}
