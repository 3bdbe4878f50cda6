//! The numbers and names that every floor speaks: offsets, timestamps, topics, records, places to begin.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// The number of a record in its partition: 0, 1, 2, … up to 2^63 − 1.
pub type Offset = u64;

/// The number of a partition in its topic, from 0.
pub type PartitionId = u32;

/// Milliseconds since the Unix epoch.
pub type Timestamp = i64;

/// The number of a leadership of a partition; batches carry the one under which they were appended.
pub type LeaderEpoch = u32;

/// The greatest offset that Kafka's signed 64-bit field can hold.
pub(crate) const MAX_OFFSET: Offset = i64::MAX as u64;

/// A place in a partition to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The log start offset: the oldest record there is.
    Earliest,
    /// The high watermark, or the last stable offset with [`Isolation::ReadCommitted`]: only what comes from now on.
    Latest,
    /// The first record, in the order of the offsets, whose timestamp is this one or a later one; the high watermark if
    /// there is none below it. Timestamps need not rise: older records may follow, and records without a timestamp are
    /// passed over. (Kafka: `offsetsForTimes`, which answers nothing where there is no such record.)
    Time(Timestamp),
    /// This offset, which must lie between the log start offset and the high watermark.
    At(Offset),
    /// Where somebody has left off: the offset as with [`At`](Self::At), and what stood below it must still be what
    /// was read; else it is [`LogTruncated`](crate::ErrorKind::LogTruncated), which says where to go on.
    Resume(Position),
}

/// Which records of transactions a reader is given: `isolation.level`.
///
/// Records outside of transactions are given at both levels, and Kafka's own markers at none. What is written with this
/// crate has no transactions so far; they are in logs that a Kafka broker has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// `read_committed`, the default (Kafka's consumer: `read_uncommitted`): the records of transactions that were
    /// committed. Reading ends at the [last stable offset](crate::Partition::last_stable_offset), where the oldest
    /// transaction begins that has not ended; in a directory that was taken over none of them ever ends
    /// ([`open_transactions`](crate::Partition::open_transactions)).
    #[default]
    ReadCommitted,
    /// `read_uncommitted`: those of transactions that were aborted, or have not ended, too.
    ReadUncommitted,
}

/// Reads what [`Display`](fmt::Display) writes, as it stands in Kafka's `isolation.level`.
///
/// ```
/// use ottla::Isolation;
/// assert_eq!("read_uncommitted".parse::<Isolation>()?, Isolation::ReadUncommitted);
/// assert_eq!(Isolation::default().to_string(), "read_committed");
/// # Ok::<(), ottla::Error>(())
/// ```
impl FromStr for Isolation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "read_committed" => Ok(Self::ReadCommitted),
            "read_uncommitted" => Ok(Self::ReadUncommitted),
            _ => {
                let what = format!("isolation.level={text} is not possible");
                let error = Error::new(ErrorKind::InvalidConfig, what);
                Err(error.advise("it takes read_committed or read_uncommitted"))
            }
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadCommitted => "read_committed",
            Self::ReadUncommitted => "read_uncommitted",
        })
    }
}

/// An offset together with the leader epoch of what stands before it: a place to come back to.
///
/// What a consumer of a topic that is not synced has seen can be lost in a power cut, and its offsets given out again,
/// under a new leader epoch. [`Start::Resume`] tells that; an offset alone would go on as if nothing had happened.
///
/// To keep one, store its two numbers, and the [id](crate::Topic::id) of the topic beside them: a topic that was deleted
/// and created again begins with the same epochs, and so does a directory that was restored from a copy go on with those
/// of the copy; neither can be told from the position.
///
/// ```
/// use ottla::Position;
/// let position = Position::new(42, Some(3));
/// let stored = (position.offset(), position.leader_epoch());
/// assert_eq!(Position::new(stored.0, stored.1), position);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    offset: Offset,
    leader_epoch: Option<LeaderEpoch>,
}

impl Position {
    /// A position as it was stored. Without an epoch it is held to nothing.
    #[must_use]
    pub fn new(offset: Offset, leader_epoch: Option<LeaderEpoch>) -> Self {
        Self { offset, leader_epoch }
    }

    /// The offset of the next record.
    #[must_use]
    pub fn offset(self) -> Offset {
        self.offset
    }

    /// The leader epoch of the record before it, if there is one.
    #[must_use]
    pub fn leader_epoch(self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }
}

/// What a record's timestamp says: `message.timestamp.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The time that the producer gave the record.
    #[default]
    CreateTime,
    /// The time at which the record was appended to the log.
    LogAppendTime,
}

/// How the records of a batch are compressed (Kafka: `CompressionType`).
///
/// Each codec is a feature of this crate under its name in lower case, none is on by default, and `codecs` switches all of
/// them on. What is compressed stays Kafka's: any client or broker reads it.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-compression-{}", std::process::id()));
/// use ottla::{Broker, Compression, ErrorKind, Record, TopicConfig};
/// let broker = Broker::open(&dir)?;
/// let config = TopicConfig::new().compression_type(Compression::Zstd);
/// match broker.create_topic("clicks", config) {
///     Ok(clicks) => _ = clicks.producer().send(Record::new(&[b'.'; 1000]))?.wait()?,
///     // Built without the feature `zstd`.
///     Err(error) => assert_eq!(error.kind(), ErrorKind::UnsupportedCompressionType),
/// }
/// # drop(broker); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip at level 6: feature `gzip`.
    Gzip,
    /// Snappy in the framing of Java's library: feature `snappy`.
    Snappy,
    /// The LZ4 frame: feature `lz4`.
    Lz4,
    /// Zstandard at level 3: feature `zstd`.
    Zstd,
}

impl Compression {
    /// All of them; the place of each is its number in a batch.
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its number in a batch.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Whether this build has the codec.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    /// Fails if this build does not have the codec.
    pub(crate) fn check(self) -> Result<()> {
        if self.is_available() { Ok(()) } else { Err(self.missing()) }
    }

    /// The error of a build that does not have the codec.
    pub(crate) fn missing(self) -> Error {
        let what = format!("this build of ottla can neither read nor write batches compressed with {self}");
        Error::new(ErrorKind::UnsupportedCompressionType, what)
            .advise(format!("build it with the feature `{self}`"))
    }
}

/// Kafka's name: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// A record to be sent; borrows its parts.
///
/// ```
/// use ottla::Record;
/// let record = Record::new("paid").key("order-42").header("trace", "a1").timestamp(1_700_000_000_000);
/// let deletion = Record::tombstone("order-42");
/// # let _ = (record, deletion);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) partition: Option<PartitionId>,
    pub(crate) expected_offset: Option<Offset>,
}

impl<'a> Record<'a> {
    /// A record with a value and no key.
    #[must_use]
    pub fn new<V: AsRef<[u8]> + ?Sized>(value: &'a V) -> Self {
        Self { value: Some(value.as_ref()), ..Self::default() }
    }

    /// A record with a key and a null value: on a compacted topic, the deletion of the key.
    #[must_use]
    pub fn tombstone<K: AsRef<[u8]> + ?Sized>(key: &'a K) -> Self {
        Self::default().key(key)
    }

    /// Sets the key, which chooses the partition unless [`partition`](Self::partition) does. An empty key is
    /// a key. Default: null.
    #[must_use]
    pub fn key<K: AsRef<[u8]> + ?Sized>(mut self, key: &'a K) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Adds a header. Names may repeat, and keep their order.
    #[must_use]
    pub fn header<V: AsRef<[u8]> + ?Sized>(mut self, name: &'a str, value: &'a V) -> Self {
        self.headers.push((name, Some(value.as_ref())));
        self
    }

    /// Adds a header whose value is null.
    #[must_use]
    pub fn null_header(mut self, name: &'a str) -> Self {
        self.headers.push((name, None));
        self
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch; negative ones are refused.
    /// Default: the time of `send`.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Chooses the partition. Default: by key, and without a key a sticky one.
    #[must_use]
    pub fn partition(mut self, partition: PartitionId) -> Self {
        self.partition = Some(partition);
        self
    }
}

impl Record<'_> {
    /// Has the record taken only if it gets this offset: if nobody else has sent to the partition since its end
    /// was read. For optimistic concurrency; the condition is the partition's, not the key's, so that writers of
    /// different keys in one partition get into each other's way. The partition must be chosen, by number, by key,
    /// or by being the only one. A conditional record stands in a record batch of its own.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("ottla-doc-expected-{}", std::process::id()));
    /// use ottla::{Broker, ErrorKind, Record, TopicConfig};
    /// let broker = Broker::open(&dir)?;
    /// let account = broker.ensure_topic("account", TopicConfig::new())?;
    /// let producer = account.producer();
    /// producer.send(Record::new("opened").expected_offset(0))?.wait()?;
    /// let error = producer.send(Record::new("opened again").expected_offset(0)).unwrap_err();
    /// assert_eq!((error.kind(), error.offset()), (ErrorKind::UnexpectedOffset, Some(1)));
    /// # drop((account, producer, broker)); std::fs::remove_dir_all(&dir).ok();
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn expected_offset(mut self, offset: Offset) -> Self {
        self.expected_offset = Some(offset);
        self
    }

    /// The bytes of its parts.
    pub(crate) fn payload_len(&self) -> usize {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + len(*value)).sum();
        len(self.key) + len(self.value) + headers
    }
}

/// The name of a topic, checked: 1 to 249 of the characters `a-z A-Z 0-9 . _ -`, not `.` or `..`
/// (Kafka: `org.apache.kafka.common.internals.Topic`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicName(Arc<str>);

impl TopicName {
    pub const MAX_LEN: usize = 249;

    pub fn new(name: &str) -> Result<Self> {
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > Self::MAX_LEN {
            "it is longer than 249 characters"
        } else if name == "." || name == ".." {
            "it would be a directory's own name"
        } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            "it holds a character other than a-z, A-Z, 0-9, '.', '_' and '-'"
        } else {
            return Ok(Self(Arc::from(name)));
        };
        let shown: String = name.chars().take(Self::MAX_LEN).collect();
        Err(Error::new(ErrorKind::InvalidTopic, format!("{shown:?} cannot name a topic: {reason}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the topics in which Kafka keeps its own state: nobody writes to them but the broker itself (Kafka:
    /// `Topic.isInternal`).
    pub fn is_internal(&self) -> bool {
        ["__consumer_offsets", "__transaction_state", "__share_group_state"].contains(&self.as_str())
    }

    /// Fails for those topics.
    pub fn check_writable(&self) -> Result<()> {
        if !self.is_internal() {
            return Ok(());
        }
        let what = "the topic is one of Kafka's own, which can be read and not written";
        Err(Error::new(ErrorKind::InvalidTopic, what).in_topic(self.as_str()))
    }

    /// True if Kafka's metric names would take the two for one: `a.b` and `a_b`.
    pub fn collides_with(&self, other: &Self) -> bool {
        let fold = |byte: u8| if byte == b'.' { b'_' } else { byte };
        self.0.bytes().map(fold).eq(other.0.bytes().map(fold))
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// A UUID in Kafka's text form: 22 characters of URL-safe base64.
macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one of random bytes; Kafka skips those whose text begins with `-`, which its tools take for an option.
            pub(crate) fn random(bytes: impl Fn() -> [u8; 16]) -> Self {
                loop {
                    let id = Self(uuid::Builder::from_random_bytes(bytes()).into_uuid());
                    if !id.to_string().starts_with('-') {
                        return id;
                    }
                }
            }

            /// Reads the text form; the two that Kafka reserves (all zero, and the metadata topic's) are none.
            pub(crate) fn parse(text: &str) -> Option<Self> {
                let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
                let id = Uuid::from_bytes(bytes.try_into().ok()?);
                (id.as_u128() > 1).then_some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

identity! {
    /// The identity of a topic through deletion and creation under the same name; Kafka's text form is 22
    /// characters of URL-safe base64.
    TopicId
}

identity! {
    /// The identity of a data directory; a copy of the directory has the same one, which is how a copy is known.
    DirectoryId
}

impl TopicId {
    pub(crate) fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    pub(crate) fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// 32 hexadecimal digits, as in the name of a directory that is being deleted.
    pub(crate) fn simple_hex(self) -> String {
        self.0.simple().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_stands_where_its_number_says() {
        assert!((0..).zip(Compression::ALL).all(|(number, codec)| codec.number() == number));
    }

    #[test]
    fn topic_names_follow_kafka() {
        for good in ["a", "orders", "a.b_c-D9", "...", &"x".repeat(249)] {
            assert_eq!(TopicName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "../a", "a b", "a\0", "ä", &"x".repeat(250)] {
            assert_eq!(TopicName::new(bad).unwrap_err().kind(), ErrorKind::InvalidTopic, "{bad:?}");
        }
    }

    #[test]
    fn names_that_differ_in_dots_and_underscores_only_collide() {
        let name = |text| TopicName::new(text).unwrap();
        assert!(name("a.b").collides_with(&name("a_b")));
        assert!(!name("a.b").collides_with(&name("a-b")));
        assert!(!name("a.b").collides_with(&name("a.bc")));
    }

    #[test]
    fn topic_ids_read_back_and_reserved_ones_are_refused() {
        for _ in 0..1000 {
            let id = TopicId::random(|| Uuid::new_v4().into_bytes());
            assert_eq!(TopicId::parse(&id.to_string()), Some(id));
            assert!(!id.to_string().starts_with('-'));
        }
        for bad in ["", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAQ", "not base64!!!!!!!!!!!!!", "AAAA"]
        {
            assert_eq!(TopicId::parse(bad), None, "{bad}");
        }
    }
}
