//! What is promised of records once they were acknowledged, what is assumed of the disk for it, and what to do after each
//! error. It is a page, without code.
//!
//! # What is promised
//!
//! A topic says what its acknowledgements survive ([`Durability`](crate::Durability)):
//!
//! | Level | Acknowledged when | The process dies | The power fails | Consumers see |
//! |---|---|---|---|---|
//! | `Synced`, the default | an `fdatasync` that covers the record has succeeded, and the name of its file is on stable storage | nothing acknowledged is lost | nothing acknowledged is lost | what is on stable storage |
//! | `Interval(d)` | the operating system has the bytes | nothing acknowledged is lost | at most what was acknowledged within `d`, and during the sync under way | what is written |
//! | `Os` | the operating system has the bytes | nothing acknowledged is lost | what came after the last sync | what is written |
//!
//! At every level:
//!
//! - what is found after a crash is the beginning of what was sent to a partition, in its order, without a gap, and at
//!   least as long as the level promises;
//! - a batch ([`Producer::send_batch`](crate::Producer::send_batch)) is there as a whole or not at all;
//! - no reader gets other bytes than were sent: a damaged place is an error that names it;
//! - what was reported as *not written* is never read;
//! - what of a `Synced` topic was read once is never taken back by a power cut, for nothing is read before it is on
//!   stable storage. On the other levels it can be, and the offsets can be given to other records: a [`Position`](crate::Position) carries
//!   the leader epoch, by which [`Start::Resume`](crate::Start::Resume) tells.
//!
//! # The three outcomes of an append
//!
//! | Outcome | What is known | What to do |
//! |---|---|---|
//! | acknowledged | it is in the log, at the offset of the [`RecordMetadata`](crate::RecordMetadata) | nothing |
//! | not written: [`Error::is_retriable`](crate::Error::is_retriable), and each other error but the next and a wait that [timed out](crate::ErrorKind::TimedOut) | it is not in the log, and never will be | mend what the error names, send it again |
//! | indeterminate: [`Error::is_indeterminate`](crate::Error::is_indeterminate) | it may be in the log, or not | [reopen](crate::Partition::reopen) the partition or the broker, look for it, then decide |
//!
//! An append that may be sent twice carries the offset that it expects, so that the second one fails where the first has
//! come through:
//!
//! ```
//! use ottla::{Broker, Error, ErrorKind, Record, Topic, TopicConfig};
//!
//! /// Appends the record at this offset once, whatever happened to an earlier attempt.
//! fn append_once(topic: &Topic, event: &str, offset: u64) -> Result<(), Error> {
//!     let record = Record::new(event).partition(0).expected_offset(offset);
//!     match topic.producer().send(record).and_then(|delivery| delivery.wait()) {
//!         // Ours from the earlier attempt, if nobody else appends to this partition.
//!         Err(error) if error.kind() == ErrorKind::UnexpectedOffset && error.offset() > Some(offset) => Ok(()),
//!         Err(error) if error.is_indeterminate() => {
//!             topic.partition(0)?.reopen()?;
//!             append_once(topic, event, offset)
//!         }
//!         outcome => outcome.map(drop),
//!     }
//! }
//! # let dir = std::env::temp_dir().join(format!("ottla-doc-durability-{}", std::process::id()));
//! # let broker = Broker::open(&dir)?;
//! # let topic = broker.ensure_topic("journal", TopicConfig::new())?;
//! append_once(&topic, "paid", 0)?;
//! append_once(&topic, "paid", 0)?; // It is there already.
//! assert_eq!(topic.partition(0)?.log_end_offset(), 1);
//! # drop((topic, broker)); std::fs::remove_dir_all(&dir).ok();
//! # Ok::<(), Error>(())
//! ```
//!
//! # What is assumed of the file system and the disk
//!
//! 1. **A sync that succeeds is true**: after `fdatasync` of a file its bytes and its length, and after `fsync` of a
//!    directory the names in it, are on stable storage. A disk that acknowledges from a volatile cache and ignores flushes
//!    breaks it, and so do file systems mounted without barriers. Seen on Linux 6.18: a loop device counts a write that was
//!    done in part as done; on ext4 a sync that is under way while another one aborts the journal may return success.
//! 2. **A write damages no byte outside of its range** (powersafe overwrite).
//! 3. **A rename is one change**: after a crash there is the old name or the new one.
//!
//! Nothing else. In particular it is *not* assumed that sectors are written whole, that writes reach the disk in their order,
//! that a file's length and its bytes come together, that what was cut stays cut before it was synced, that bytes which were
//! never synced are either old or zero, or that a sync which failed has left anything behind that can be trusted.
//!
//! | Assumption | ottla | SQLite | etcd's log | raft-wal |
//! |---|---|---|---|---|
//! | sectors are written whole | no | no | yes: its test for torn writes looks at sectors | no |
//! | powersafe overwrite | yes | yes, by default | yes | yes |
//! | bytes on the disk stay as they were written | no: each read checks, and recovery tells rot from a torn tail by evidence | yes: left to the hardware | checked on recovery | mostly: the commit is checked on recovery, a read that fails is an error |
//!
//! (Read from SQLite's *Atomic Commit* and *Powersafe Overwrite*, raft-wal's *System Assumptions*, and etcd's source.)
//!
//! # How a torn tail is told from rot
//!
//! After each sync a partition writes into `ottla.ends` how far it is proven to be durable. What is damaged *below* that was
//! acknowledged, and is an error: [`Broker::open`](crate::Broker::open) fails, names every such partition with file, position and offsets, and
//! changes nothing. What is damaged *above* is the rest of a write that was under way: it is cut, what was cut is kept in
//! `ottla.quarantine.*`, and the [`RecoveryReport`](crate::RecoveryReport) says so. The first append after that begins a new leader epoch.
//!
//! # What is not protected
//!
//! - **The last second before an unclean stop, against rot.** `ottla.ends` is itself synced once a second. If the machine stops
//!   uncleanly *and* bytes that were synced within that second are damaged beside, by something else than the stop, they look
//!   like a torn tail and are cut. No log with a single copy can tell; the quarantine file has them.
//! - **Bytes that the checksum does not cover.** Kafka's CRC-32C covers a batch from its attributes on. The 21 bytes before
//!   them (base offset, length, leader epoch, magic, the checksum) are held against their neighbours: offsets rise without a
//!   gap in our own segments, lengths fit, epochs are those of `leader-epoch-checkpoint`. What remains can be other numbers, never
//!   other records.
//! - **Damage on the way in.** A record that memory has damaged before its checksum was made is stored as it is.
//! - **Others who write.** The directory is locked against other processes and a Kafka broker, not against an editor, a
//!   backup that is restored over a running service, or `rm`. Network file systems, and copies of a directory taken while it
//!   is open, are not supported.
//! - **The disk itself.** There is one copy. Whoever needs two has a disk below it that keeps two, or a Kafka cluster.
//!
//! # When the disk hangs
//!
//! A sync that does not return loses nothing: on a `Synced` topic nothing is acknowledged meanwhile, on an `Interval` topic what
//! is sent waits after twice the interval. Who waits with a deadline, closes with one, or only looks is not held up, and neither
//! are other partitions whose files the disk still takes. [`Partition::oldest_unsynced`](crate::Partition::oldest_unsynced) is
//! the number that shows it: how long the oldest record waits for its sync.
//!
//! # What a map can do to its host
//!
//! Segments that can no longer change are read through read-only memory maps. If the disk cannot read a mapped page, or another
//! process shortens the file, the operating system ends the whole process with `SIGBUS`. With
//! [`memory_maps(false)`](crate::BrokerOptions::memory_maps) the same is an [error](crate::ErrorKind::StorageError) of the read. Nothing
//! is ever written through a map.
//!
//! # What to do after an error
//!
//! | [`ErrorKind`](crate::ErrorKind) | What has happened | What to do |
//! |---|---|---|
//! | [`NotWritten`](crate::ErrorKind::NotWritten) | the disk did not take it: full, or over a quota | make room, send again; the reserve of 1 MiB lets topics be deleted on a full disk |
//! | [`BufferExhausted`](crate::ErrorKind::BufferExhausted) | more was sent than the disk takes | wait, send again |
//! | [`Indeterminate`](crate::ErrorKind::Indeterminate) | a sync failed, or the broker went before it | [`Partition::reopen`](crate::Partition::reopen), look whether the record is there, then decide. Look at the disk: a sync does not fail for nothing |
//! | [`StorageError`](crate::ErrorKind::StorageError) of an append | the partition has stopped after a failure | as above; this record was not taken |
//! | [`StorageError`](crate::ErrorKind::StorageError) of a read or of opening | the file system does not give what it was asked for, or a failed sync may have taken what was visible and not durable | look at the cause in [`Error::io_error`](crate::Error::io_error), [reopen](crate::Partition::reopen) a partition that has failed; nothing was changed |
//! | [`CorruptMessage`](crate::ErrorKind::CorruptMessage) | bytes are not what was written | copy the directory first. Then: [`isolate_damage`](crate::BrokerOptions::isolate_damage) to go on with the other partitions, [`inspect`](crate::inspect) to see what is damaged, and its salvage to copy what is sound into a new directory |
//! | [`LogTruncated`](crate::ErrorKind::LogTruncated), [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) | a power cut took what stood below this position (not on a `Synced` topic), or the position is another log's | choose where to begin: [`Error::offset`](crate::Error::offset), [`Error::available_offsets`](crate::Error::available_offsets) |
//! | [`DirectoryInUse`](crate::ErrorKind::DirectoryInUse) | another process has it open; the message names it | end that one, or wait |
//! | [`DirectoryNotOurs`](crate::ErrorKind::DirectoryNotOurs) | the path is somebody else's, or a Kafka broker's | another path, or [`adopt`](crate::BrokerOptions::adopt) |
//! | [`TimedOut`](crate::ErrorKind::TimedOut) of a wait | it is still on its way | wait again: the delivery is not used up |
//! | [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion) | a newer version of this library wrote it | use that one |
