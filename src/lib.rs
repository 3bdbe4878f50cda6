//! Apache Kafka's commit log as a library: topics, partitions, producers and consumers over Kafka's own files,
//! inside your process.
//!
//! **An acknowledged record is on stable storage.** [`Delivery::wait`] returns after an `fdatasync` that covers
//! the record has succeeded; consumers see nothing before that. A topic that needs less says so: [`Durability`].
//!
//! ```
//! use std::time::Duration;
//! use ottla::{Broker, Record, Start, TopicConfig};
//! # let dir = std::env::temp_dir().join(format!("ottla-doc-lib-{}", std::process::id()));
//!
//! let broker = Broker::open(&dir)?;
//! let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
//!
//! let producer = broker.producer();
//! let metadata = producer
//!     .send(&orders, Record::new("paid").key("order-42").header("trace", "a1"))?
//!     .wait()?;
//!
//! for batch in orders.partition(metadata.partition())?.read(Start::Earliest)? {
//!     for record in &batch? {
//!         println!("{}: {:?}", record.offset(), record.value());
//!     }
//! }
//! broker.close(Duration::from_secs(10))?;
//! # std::fs::remove_dir_all(&dir).ok();
//! # Ok::<(), ottla::Error>(())
//! ```
//!
//! | To | see |
//! |---|---|
//! | open a data directory, create and delete topics | [`Broker`], [`TopicConfig`] |
//! | know what is promised, what is assumed of the disk, what to do after an error | [`durability`] |
//! | learn what a crash has left | [`RecoveryReport`] |
//! | append, and wait, wait for so long, or await | [`Producer`], [`Record`], [`Delivery`] |
//! | append without ever blocking | [`Producer::try_send`], [`BrokerOptions::buffer_memory`] |
//! | change a topic that is in use | [`Broker::alter_topic`] |
//! | choose what an acknowledgement survives | [`Durability`], [`Producer::synced`] |
//! | read a partition from anywhere | [`Partition::read`], [`RecordBatch`] |
//! | come back to where you were | [`Position`], [`Start::Resume`] |
//! | begin at a time | [`Start::Time`] |
//! | read on as records come | [`Batches::follow`] |
//! | read several partitions, and wait for more | [`Consumer`] |
//! | share the records of topics among consumers, and remember how far they came | [`ConsumerBuilder::group`], [`Consumer::commit`] |
//! | settle records one by one, on any thread, with bounded retries and a dead-letter topic | [`Consumer::acquire`] |
//! | take a consumer's records in async code | `Consumer::into_stream` (feature `async`) |
//! | know where defaults are others than Kafka's | [`defaults`] |
//! | go on after a disk had a bad moment | [`Partition::reopen`] |
//! | compress | [`Compression`], [`Producer::compression`] (features `gzip`, `snappy`, `lz4`, `zstd`) |
//! | read what Kafka's producers wrote in transactions | [`Isolation`] |
//! | take over a Kafka broker's directory, and give it back | [`BrokerOptions::adopt`], [`Broker::undo_adoption`] |
//! | put a topic into a Kafka broker's directory | [`HandOver`] |
//! | look into files, verify a directory, salvage what is sound of one | [`inspect`] |
//! | test a service without a disk, or move its time | `Broker::in_memory`, `ManualClock` (feature `test-util`) |
//! | crash a service in a unit test, after every call | `simulator` (feature `test-util`) |
//!
//! # Files
//!
//! What cannot be made again is an error when it cannot be read, and nothing is changed then; the rest is made again.
//!
//! | File | Holds | Damaged or missing |
//! |---|---|---|
//! | `topic-0/*.log` | the records | an error below what is proven to be durable; above it cut, and kept in `ottla.quarantine.*` |
//! | `topic-0/leader-epoch-checkpoint`, `partition.metadata` | leader epochs, the topic id | an error |
//! | `ottla.manifest` | topics and their configurations | an error |
//! | `ottla.ends` | what of each partition is proven to be durable | an error once both slots of a partition are bad |
//! | `topic-0/*.index`, `*.timeindex` | where in a log to begin looking | made again |
//! | `.kafka_cleanshutdown` | that the last stop was an orderly one | everything is looked at |
//! | `*-offset-checkpoint` | what Kafka wants to know | written anew, with a [note](RecoveryReport::notes) |
//! | `ottla.reserve` | space for the day when the disk is full | set aside again |
//! | `meta.properties.adopted` | whose directory it was before it was taken over | it cannot be given back |
//! | `ottla.returning` | that the directory is on its way back to Kafka | undo the adoption once more |
//! | `.lock` | who has the directory open | made again |
//!
//! An error that concerns partitions alone can be [confined to them](BrokerOptions::isolate_damage).
//!
//! # What it does not do yet
//!
//! Retention, compaction and transactions of its own are not there.
//! It runs on Linux.
//!
//! # From async code
//!
//! [`Producer::try_send`] never blocks, and a [`Delivery`] is awaited in any executor; with a deadline of the executor's
//! own it can be awaited again later, for it is still on its way. With feature `async` a consumer is a stream, and what of it
//! may hold up a thread its `ConsumerStream` says; a [`Commit`] is awaited like a delivery. Everything else may block a thread of
//! the executor and belongs where it may: reading, polling, acquiring and following, creating, altering and closing, and
//! dropping the last handle, which closes.
//!
//! # Panics and threads
//!
//! A broker has one thread to begin with and [a few](BrokerOptions::sync_threads) when there is work for them: they write
//! and sync for whoever does not wait himself, and do what comes with time. It ends them when it closes.
//! [Without them](BrokerOptions::background) somebody calls [`Broker::tick`]. The library prints nothing. Bad input and bad files are errors, never
//! panics. A broker does not survive a fork: in the child every call is an error.
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod agenda;
mod broker;
mod checkpoint;
mod clock;
mod config;
mod consumer;
pub mod defaults;
pub mod durability;
mod ends_file;
mod error;
mod file_name;
mod group;
pub mod inspect;
mod model;
mod mutant;
mod partition_log;
mod partitioner;
mod producer;
mod producer_snapshot;
mod record_batch;
mod segment;
#[cfg(feature = "test-util")]
pub mod simulator;
mod sync;
mod vfs;

pub use broker::{
    Batches, Broker, BrokerOptions, Follow, GroupDescription, GroupListing, GroupMember, GroupPartition,
    HandOver, HandOverReport, HandedOver, Partition, PartitionRecovery, RecoveryReport, ScrubReport, Topic,
    UndoReport,
};
pub use config::{Durability, TopicConfig};
#[cfg(feature = "async")]
pub use consumer::ConsumerStream;
pub use consumer::{
    AcquiredRecord, AcquiredRecords, Commit, Committer, Consumer, ConsumerBuilder, ConsumerRecord,
    ConsumerRecordIter, ConsumerRecords, OffsetAndMetadata, OffsetReset, RebalanceListener,
};
pub use error::{Error, ErrorKind, Result};
pub use group::{Assignor, GroupState};
pub use inspect::read_only::{Piece, ReadOnlyBatches, ReadOnlyBroker, ReadOnlyPartition, ReadOnlyTopic};
pub use model::{
    Compression, DirectoryId, Isolation, LeaderEpoch, Offset, PartitionId, Position, Record, Start,
    Timestamp, TimestampType, TopicId,
};
pub use partition_log::{Gap, OpenTransaction, WakeupHandle};
pub use producer::{Delivery, Producer, RecordMetadata, TopicProducer};
pub use record_batch::{Header, Headers, OwnedHeader, OwnedRecord, RecordBatch, RecordView, Records};

#[cfg(feature = "test-util")]
pub use clock::{Clock, ManualClock};

/// What the project's own suites and fuzz targets reach behind the interface for; no promise stands here.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod internals;
