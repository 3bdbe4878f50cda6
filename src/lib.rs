//! Apache Kafka's commit log as a library: topics, partitions, producers and consumers over Kafka's own files,
//! inside your process.
//!
//! **An acknowledged record is on stable storage.** [`Delivery::wait`] returns after an `fdatasync` that covers
//! the record has succeeded; consumers see nothing before that.
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
//! | learn what a crash has left | [`RecoveryReport`] |
//! | append | [`Producer`], [`Record`], [`Delivery`] |
//! | read a partition from anywhere | [`Partition::read`], [`RecordBatch`] |
//! | read several partitions, and wait for more | [`Consumer`] |
//! | test a service without a disk, or move its time | `Broker::in_memory`, `ManualClock` (feature `test-util`) |
//!
//! # What it does not do yet
//!
//! Retention, compaction, compressed batches, consumer groups, transactions and an async interface are not there,
//! and no durability level but the strictest. It runs on Linux.
//!
//! # Panics and threads
//!
//! The library starts no thread and prints nothing. Bad input and bad files are errors, never panics.
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod broker;
mod clock;
mod config;
mod consumer;
mod ends_file;
mod error;
mod file_name;
mod model;
mod partition_log;
mod partitioner;
mod producer;
mod record_batch;
mod segment;
mod sync;
mod vfs;

pub use broker::{Batches, Broker, BrokerOptions, Partition, PartitionRecovery, RecoveryReport, Topic};
pub use config::TopicConfig;
pub use consumer::{Consumer, ConsumerBuilder, ConsumerRecord, ConsumerRecordIter, ConsumerRecords};
pub use error::{Error, ErrorKind, Result};
pub use model::{LeaderEpoch, Offset, PartitionId, Record, Start, Timestamp, TimestampType, TopicId};
pub use producer::{Delivery, Producer, RecordMetadata, TopicProducer};
pub use record_batch::{Header, Headers, OwnedHeader, OwnedRecord, RecordBatch, RecordView, Records};

#[cfg(feature = "test-util")]
pub use clock::{Clock, ManualClock};

/// What the project's own suites and fuzz targets reach behind the interface for; no promise stands here.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod internals;
