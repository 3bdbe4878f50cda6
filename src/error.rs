//! The one error of the crate: what happened, where, and what to do about it.
//!
//! The lowest floor: it carries primitives only, so that every module can use it and it uses none.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what to do.
///
/// Match on [`kind`](Self::kind), or ask what a caller does next: [`is_retriable`](Self::is_retriable),
/// [`is_indeterminate`](Self::is_indeterminate), [`is_corruption`](Self::is_corruption). The message is for
/// people; the place is there in parts for programs.
///
/// ```
/// use ottla::{ErrorKind, TopicConfig};
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-error-{}", std::process::id()));
/// let broker = ottla::Broker::open(&dir)?;
/// let error = broker.create_topic("no/slashes", TopicConfig::new()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidTopic);
/// assert!(!error.is_retriable());
/// # drop(broker); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Report>);

/// The kinds of [`Error`]; the names follow Kafka's error codes where Kafka has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The name cannot be a topic's, or collides with an existing one (`INVALID_TOPIC_EXCEPTION`).
    InvalidTopic,
    /// `create_topic` of a name that exists (`TOPIC_ALREADY_EXISTS`).
    TopicAlreadyExists,
    /// `ensure_topic` of a name that exists with another configuration; the message lists each difference.
    TopicConfigDiffers,
    /// No such topic or partition, or it was deleted (`UNKNOWN_TOPIC_OR_PARTITION`).
    UnknownTopicOrPartition,
    /// No partitions, or too many (`INVALID_PARTITIONS`).
    InvalidPartitions,
    /// A configuration value out of its bounds, or an unknown configuration name (`INVALID_CONFIG`).
    InvalidConfig,
    /// A record that the format cannot hold (`INVALID_RECORD`).
    InvalidRecord,
    /// A negative record timestamp (`INVALID_TIMESTAMP`).
    InvalidTimestamp,
    /// A record above `max.message.bytes` or `segment.bytes`, or a compressed batch that holds more than
    /// [`max_decompressed_bytes`](crate::BrokerOptions::max_decompressed_bytes) (`MESSAGE_TOO_LARGE`).
    MessageTooLarge,
    /// A record that was to get another offset than the next one: somebody was faster. [`Error::offset`] is where
    /// the partition ends, [`Error::available_offsets`] up to where it can be read already. Nothing was written.
    UnexpectedOffset,
    /// An offset below the log start or above the end; see [`Error::available_offsets`]
    /// (`OFFSET_OUT_OF_RANGE`).
    OffsetOutOfRange,
    /// A position above the end of its leader epoch: what stood below it was lost in an unclean stop, and other records
    /// may have its offsets now. [`Error::offset`] is where they part (`LogTruncationException` of Kafka's consumer).
    LogTruncated,
    /// Bytes that are not what was written: a checksum, a length or a structure is wrong (`CORRUPT_MESSAGE`).
    CorruptMessage,
    /// A codec whose feature this build does not have: a batch that is compressed with it, a topic or a producer that
    /// asks for it (`UNSUPPORTED_COMPRESSION_TYPE`).
    UnsupportedCompressionType,
    /// A batch in a message format other than version 2 (`UNSUPPORTED_FOR_MESSAGE_FORMAT`).
    UnsupportedForMessageFormat,
    /// A file of a newer version of this crate (`UNSUPPORTED_VERSION`).
    UnsupportedVersion,
    /// The buffer memory is full of records that the disk has not taken yet; this one was not taken, and can be sent
    /// again (`BufferExhaustedException` of Kafka's producer).
    BufferExhausted,
    /// The record was not written, and the log is as it was: the disk is full, say. It can be sent again.
    NotWritten,
    /// The file system failed (`KAFKA_STORAGE_ERROR`).
    StorageError,
    /// A write or a sync failed: the record may or may not be in the log after the next open.
    Indeterminate,
    /// Another process, or another handle of this one, has the directory open.
    DirectoryInUse,
    /// The path is no data directory of ours, and cannot become one, or is [not to](crate::BrokerOptions::create_if_missing).
    DirectoryNotOurs,
    /// The broker was opened by the process that this one was forked off; nothing was done.
    ForkedProcess,
    /// The broker was closed.
    Closed,
    /// A poll was ended by a [`WakeupHandle`](crate::WakeupHandle) (`WakeupException` of Kafka's consumer).
    Wakeup,
    /// A consumer group without a name (`INVALID_GROUP_ID`).
    InvalidGroupId,
    /// The consumer is not, or no longer, a member of its group: it has not polled for too long, say. What it had read belongs to
    /// others by now (`UNKNOWN_MEMBER_ID`).
    UnknownMemberId,
    /// A commit from before the partition was another consumer's (`ILLEGAL_GENERATION`).
    IllegalGeneration,
    /// The assignor of the consumer is not that of the other members (`INCONSISTENT_GROUP_PROTOCOL`).
    InconsistentGroupProtocol,
    /// The group was deleted after it had lost the consumer, which goes on in a new one (`COORDINATOR_NOT_AVAILABLE`).
    CoordinatorNotAvailable,
    /// The metadata of a commit has more than 4096 bytes (`OFFSET_METADATA_TOO_LARGE`).
    OffsetMetadataTooLarge,
    /// A group that is to be deleted has members (`NON_EMPTY_GROUP`).
    NonEmptyGroup,
    /// There is no such group (`GROUP_ID_NOT_FOUND`).
    GroupIdNotFound,
    /// A call that does not go together with those before it: a consumer polls, or it acquires (`INVALID_REQUEST`).
    InvalidRequest,
    /// An acquired record that is not its consumer's any more: its partition was taken from it, say (`INVALID_RECORD_STATE`).
    InvalidRecordState,
    /// A record that was rejected, or handed out as often as it may be, and no
    /// [dead-letter topic](crate::ConsumerBuilder::dead_letter_topic) takes it.
    RejectedRecord,
    /// A [`RebalanceListener`](crate::RebalanceListener), or the pattern of a subscription, has panicked; the group goes on.
    ListenerPanicked,
    /// A deadline passed before everything was done (`REQUEST_TIMED_OUT`).
    TimedOut,
}

// The cause stands in the message, and is therefore no `source()`: a chain of errors would print it twice.
#[derive(Clone, Debug)]
struct Report {
    kind: ErrorKind,
    what: String,
    topic: Option<String>,
    partition: Option<u32>,
    offset: Option<u64>,
    available: Option<RangeInclusive<u64>>,
    file: Option<PathBuf>,
    position: Option<u64>,
    advice: Option<String>,
    cause: Option<Arc<io::Error>>,
}

impl Error {
    /// What went wrong, for a `match`.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// True if nothing was written, and the same call can succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self.kind(), ErrorKind::DirectoryInUse | ErrorKind::NotWritten | ErrorKind::BufferExhausted)
    }

    /// True if the record may or may not be in the log: reopen, and look before writing it again.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.kind() == ErrorKind::Indeterminate
    }

    /// True if the disk holds other bytes than were written.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        self.kind() == ErrorKind::CorruptMessage
    }

    /// The topic concerned, if there is one.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.0.topic.as_deref()
    }

    /// The partition concerned, if there is one.
    #[must_use]
    pub fn partition(&self) -> Option<u32> {
        self.0.partition
    }

    /// The offset concerned, if there is one.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// With [`ErrorKind::OffsetOutOfRange`] and [`ErrorKind::UnexpectedOffset`], the positions that can be read from: log start to high watermark.
    #[must_use]
    pub fn available_offsets(&self) -> Option<RangeInclusive<u64>> {
        self.0.available.clone()
    }

    /// The file or directory concerned, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The byte position in [`file`](Self::file), if it is known.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.0.position
    }

    /// The operating system's error behind this one, if there is one.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        self.0.cause.as_deref()
    }

    /// What happened, without the place.
    pub(crate) fn what(&self) -> &str {
        &self.0.what
    }

    /// What to do about it.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Report {
            kind,
            what: what.into(),
            topic: None,
            partition: None,
            offset: None,
            available: None,
            file: None,
            position: None,
            advice: None,
            cause: None,
        }))
    }

    /// A failure of the file system while doing `action` (an infinitive) to `file`.
    pub(crate) fn storage(action: &str, file: &Path, source: io::Error) -> Self {
        Self::new(ErrorKind::StorageError, format!("could not {action}")).in_file(file).caused_by(source)
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::CorruptMessage, what)
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_what(mut self, what: String) -> Self {
        self.0.what = what;
        self
    }

    pub(crate) fn in_topic(mut self, topic: &str) -> Self {
        self.0.topic = Some(topic.to_owned());
        self
    }

    pub(crate) fn in_partition(mut self, topic: &str, partition: u32) -> Self {
        self.0.partition = Some(partition);
        self.in_topic(topic)
    }

    pub(crate) fn at_offset(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    pub(crate) fn available(mut self, offsets: RangeInclusive<u64>) -> Self {
        self.0.available = Some(offsets);
        self
    }

    pub(crate) fn in_file(mut self, file: &Path) -> Self {
        self.0.file = Some(file.to_owned());
        self
    }

    pub(crate) fn at_position(mut self, position: u64) -> Self {
        self.0.position = Some(position);
        self
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    pub(crate) fn without_advice(mut self) -> Self {
        self.0.advice = None;
        self
    }

    pub(crate) fn reworded(mut self, what: impl Into<String>) -> Self {
        self.0.what = what.into();
        self
    }

    /// Says this, too.
    pub(crate) fn advise_also(self, advice: &str) -> Self {
        let advice = match &self.0.advice {
            Some(first) => format!("{first}; {advice}"),
            None => advice.to_owned(),
        };
        self.advise(advice)
    }

    pub(crate) fn caused_by(mut self, cause: io::Error) -> Self {
        self.0.cause = Some(Arc::new(cause));
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.0)
    }
}

impl std::error::Error for Report {}

/// `what (topic …, partition …, offset …, file …, byte …): cause; advice`
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let place = [
            self.topic.as_ref().map(|topic| format!("topic {topic}")),
            self.partition.map(|partition| format!("partition {partition}")),
            self.offset.map(|offset| format!("offset {offset}")),
            self.file.as_ref().map(|file| format!("file {}", file.display())),
            self.position.map(|position| format!("byte {position}")),
        ];
        let place: Vec<String> = place.into_iter().flatten().collect();
        if !place.is_empty() {
            write!(f, " ({})", place.join(", "))?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// The first error of the two, but one that leaves the log as it was only where there is no other.
pub(crate) fn worse(one: Result<()>, other: Result<()>) -> Result<()> {
    match (one, other) {
        (Err(one), Err(other)) if one.kind() == ErrorKind::NotWritten => Err(other),
        (one, other) => one.and(other),
    }
}

/// Gives an `io::Error` its place.
pub(crate) trait IoContext<T> {
    /// `action` is an infinitive: "read", "sync", "create".
    fn doing(self, action: &str, file: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, action: &str, file: &Path) -> Result<T> {
        self.map_err(|source| Error::storage(action, file, source))
    }
}
