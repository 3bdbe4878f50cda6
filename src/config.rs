//! The configuration of a topic: Kafka's names, bounds and defaults, in one table.
//!
//! It is stored with the topic, so that reopening needs none.

mod durability;

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Compression, PartitionId, TimestampType};

pub use durability::Durability;

/// The most partitions that one topic may have.
pub(crate) const MAX_PARTITIONS: PartitionId = 10_000;

const MIB: u64 = 1024 * 1024;

/// How a topic is laid out and what it accepts.
///
/// ```
/// use ottla::TopicConfig;
/// let config = TopicConfig::new().partitions(3).segment_bytes(64 * 1024 * 1024);
/// assert_eq!(config.get("segment.bytes").as_deref(), Some("67108864"));
/// assert_eq!(config, TopicConfig::new().partitions(3).set("segment.bytes", "67108864")?);
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    pub(crate) partitions: PartitionId,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: u64,
    pub(crate) segment_index_bytes: u64,
    pub(crate) index_interval_bytes: u64,
    pub(crate) max_message_bytes: u64,
    pub(crate) timestamp_type: TimestampType,
    /// `None`: the producer's.
    pub(crate) compression_type: Option<Compression>,
    pub(crate) compression_levels: CompressionLevels,
    /// `None`: the broker's.
    pub(crate) durability: Option<Durability>,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            partitions: 1,
            segment_bytes: 1024 * MIB,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_index_bytes: 10 * MIB,
            index_interval_bytes: 4096,
            max_message_bytes: MIB + 12,
            timestamp_type: TimestampType::CreateTime,
            compression_type: None,
            compression_levels: CompressionLevels::default(),
            durability: None,
        }
    }
}

impl TopicConfig {
    /// The defaults: one partition, and Kafka's values for the rest.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many partitions the topic has, 1 to 10,000. Default: 1.
    ///
    /// They can be [added](crate::Broker::alter_topic) later, at a price: a key's partition is its hash modulo their
    /// number, so most keys go elsewhere from then on, and what was written before stays where it is.
    #[must_use]
    pub fn partitions(mut self, partitions: PartitionId) -> Self {
        self.partitions = partitions;
        self
    }

    /// `segment.bytes`: the size that no segment file exceeds, 1 KiB to 2^31 − 1 bytes. Default: 1 GiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// `segment.ms`: a segment is rolled once a record comes that is this much younger than the segment's
    /// first batch; at least 1 ms, kept in whole milliseconds. Default: 7 days.
    #[must_use]
    pub fn segment_ms(mut self, age: Duration) -> Self {
        self.segment_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// `segment.index.bytes`: the size that no index file exceeds, 24 bytes to 2^31 − 1. A segment whose index
    /// is full is rolled. Default: 10 MiB.
    #[must_use]
    pub fn segment_index_bytes(mut self, bytes: u64) -> Self {
        self.segment_index_bytes = bytes;
        self
    }

    /// `index.interval.bytes`: a batch gets an index entry once more than this many bytes went to the log
    /// since the last one, 0 to 2^31 − 1. Default: 4096.
    #[must_use]
    pub fn index_interval_bytes(mut self, bytes: u64) -> Self {
        self.index_interval_bytes = bytes;
        self
    }

    /// `max.message.bytes`: the size that no record batch exceeds, its header included, up to 2^31 − 1 bytes. Of one that
    /// is compressed that is its size in the file, so that it may hold more, up to
    /// [`max_decompressed_bytes`](crate::BrokerOptions::max_decompressed_bytes). Default: 1,048,588 (1 MiB and 12 bytes).
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// `message.timestamp.type`: whose time a record carries. Default: [`TimestampType::CreateTime`].
    #[must_use]
    pub fn timestamp_type(mut self, kind: TimestampType) -> Self {
        self.timestamp_type = kind;
        self
    }

    /// `compression.type`: how record batches are compressed, whatever the producer asks for; with
    /// [`Compression::None`], Kafka's `uncompressed`, never. Default: Kafka's `producer`, which is as
    /// [each producer says](crate::Producer::compression), and so not at all where none does.
    ///
    /// A batch that compressing would make larger is written as it is: its header says so, and readers need not care.
    /// (Kafka writes the larger one.) A topic is not created with a codec whose feature is missing, and it is
    /// [`UnsupportedCompressionType`](ErrorKind::UnsupportedCompressionType) to send to one that was created by another
    /// build.
    #[must_use]
    pub fn compression_type(mut self, compression: Compression) -> Self {
        self.compression_type = Some(compression);
        self
    }

    /// `compression.gzip.level`: how hard gzip works, 1 to 9, or −1, the library's own choice, which is 6. Default: −1.
    ///
    /// The levels of a topic hold whether the codec is the topic's or was asked for by a producer. What is written already
    /// stays as it is. (lz4 has no level here: there is one way in which it is written.)
    #[must_use]
    pub fn compression_gzip_level(mut self, level: i32) -> Self {
        self.compression_levels.gzip = level;
        self
    }

    /// `compression.zstd.level`: how hard Zstandard works, −131072 to 22. Default: 3.
    #[must_use]
    pub fn compression_zstd_level(mut self, level: i32) -> Self {
        self.compression_levels.zstd = level;
        self
    }

    /// `durability`: what an acknowledgement survives. Default: the broker's when the topic is created, which is
    /// [`Durability::Synced`] unless [`BrokerOptions::durability`](crate::BrokerOptions::durability) says otherwise.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Settles what was left to the broker.
    pub(crate) fn or_durability(mut self, default: Durability) -> Self {
        self.durability.get_or_insert(default);
        self
    }

    /// The level of a topic that exists.
    pub(crate) fn level(&self) -> Durability {
        self.durability.unwrap_or(Durability::Synced)
    }

    /// Sets a value by its name, Kafka's where Kafka has one, e.g. `segment.bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an unknown name, or text that is no value for it. Bounds are checked
    /// when a topic is created or altered.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self> {
        let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
            let known: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
            return Err(Error::new(ErrorKind::InvalidConfig, format!("unknown configuration {name:?}"))
                .advise(format!("the known ones are {}", known.join(", "))));
        };
        match (entry.set)(&mut self, value) {
            Some(()) => Ok(self),
            None => Err(invalid(name, value, entry.expects)),
        }
    }

    /// The value by its name, or `None` for an unknown name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        ENTRIES.iter().find(|entry| entry.name == name).map(|entry| (entry.get)(self))
    }

    /// Every configuration with its name, in a fixed order; the number of partitions is not one.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, String)> {
        ENTRIES.iter().map(|entry| (entry.name, (entry.get)(self)))
    }

    /// Fails if the topic asks for a codec that this build does not have.
    pub(crate) fn check_codec(&self) -> Result<()> {
        self.compression_type.unwrap_or_default().check()
    }

    /// Checks every bound.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.partitions == 0 || self.partitions > MAX_PARTITIONS {
            let what = format!("a topic cannot have {} partitions", self.partitions);
            return Err(Error::new(ErrorKind::InvalidPartitions, what)
                .advise(format!("ask for 1 to {MAX_PARTITIONS}")));
        }
        for entry in &ENTRIES {
            if !(entry.in_bounds)(self) {
                return Err(invalid(entry.name, &(entry.get)(self), entry.expects));
            }
        }
        Ok(())
    }

    /// Each difference as `name: ours instead of theirs`, where `self` is what was asked for.
    pub(crate) fn differences(&self, existing: &Self) -> Vec<String> {
        let partitions = ("partitions", self.partitions.to_string(), existing.partitions.to_string());
        let entries = ENTRIES.iter().map(|entry| (entry.name, (entry.get)(self), (entry.get)(existing)));
        std::iter::once(partitions)
            .chain(entries)
            .filter(|(_, asked, exists)| asked != exists)
            .map(|(name, asked, exists)| format!("{name} is {exists}, not {asked}"))
            .collect()
    }
}

/// How hard each codec works that can be told; the defaults are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompressionLevels {
    /// `compression.gzip.level`: −1 or 1 to 9.
    pub(crate) gzip: i32,
    /// `compression.zstd.level`: −131072 to 22.
    pub(crate) zstd: i32,
}

impl Default for CompressionLevels {
    fn default() -> Self {
        Self { gzip: -1, zstd: 3 }
    }
}

fn invalid(name: &str, value: &str, expects: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("{name}={value} is not possible"))
        .advise(format!("it takes {expects}"))
}

/// One configuration: its name, and how it is read, written and checked.
struct Entry {
    name: &'static str,
    expects: &'static str,
    get: fn(&TopicConfig) -> String,
    set: fn(&mut TopicConfig, &str) -> Option<()>,
    in_bounds: fn(&TopicConfig) -> bool,
}

/// File sizes and positions are signed 32-bit numbers in Kafka's indexes.
const MAX_I32: u64 = i32::MAX as u64;

macro_rules! number {
    ($name:literal, $($field:ident).+, $bounds:expr, $expects:literal) => {
        Entry {
            name: $name,
            expects: $expects,
            get: |config| config.$($field).+.to_string(),
            set: |config, text| text.parse().ok().map(|value| config.$($field).+ = value),
            in_bounds: |config| ($bounds).contains(&config.$($field).+),
        }
    };
}

static ENTRIES: [Entry; 10] = [
    number!("segment.bytes", segment_bytes, 1024..=MAX_I32, "1024 to 2147483647 bytes"),
    number!("segment.ms", segment_ms, 1..=i64::MAX as u64, "1 to 9223372036854775807 milliseconds"),
    number!("segment.index.bytes", segment_index_bytes, 24..=MAX_I32, "24 to 2147483647 bytes"),
    number!("index.interval.bytes", index_interval_bytes, 0..=MAX_I32, "0 to 2147483647 bytes"),
    number!("max.message.bytes", max_message_bytes, 0..=MAX_I32, "0 to 2147483647 bytes"),
    Entry {
        name: "message.timestamp.type",
        expects: "CreateTime or LogAppendTime",
        get: |config| format!("{:?}", config.timestamp_type),
        set: |config, text| {
            config.timestamp_type = match text {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => return None,
            };
            Some(())
        },
        in_bounds: |_| true,
    },
    Entry {
        name: "compression.type",
        expects: "producer, uncompressed, gzip, snappy, lz4 or zstd",
        get: |config| match config.compression_type {
            None => "producer".to_owned(),
            Some(Compression::None) => "uncompressed".to_owned(),
            Some(codec) => codec.to_string(),
        },
        set: |config, text| {
            config.compression_type = match text {
                "producer" => None,
                "uncompressed" => Some(Compression::None),
                // Kafka's word for it is another one here.
                "none" => return None,
                name => Some(Compression::ALL.into_iter().find(|codec| codec.to_string() == name)?),
            };
            Some(())
        },
        in_bounds: |_| true,
    },
    Entry {
        in_bounds: |config| matches!(config.compression_levels.gzip, -1 | 1..=9),
        ..number!("compression.gzip.level", compression_levels.gzip, 1..=9, "1 to 9, or -1")
    },
    number!("compression.zstd.level", compression_levels.zstd, -131_072..=22, "-131072 to 22"),
    Entry {
        name: "durability",
        expects: Durability::EXPECTS,
        get: |config| config.durability.map_or_else(|| "the broker's".to_owned(), |level| level.to_string()),
        set: |config, text| text.parse().ok().map(|level| config.durability = Some(level)),
        in_bounds: |config| config.durability.is_none_or(Durability::is_valid),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_reads_back_what_it_wrote() {
        let config = TopicConfig::new()
            .segment_bytes(2048)
            .segment_ms(Duration::from_secs(1))
            .segment_index_bytes(240)
            .index_interval_bytes(0)
            .max_message_bytes(999)
            .timestamp_type(TimestampType::LogAppendTime)
            .compression_type(Compression::Zstd)
            .compression_gzip_level(9)
            .compression_zstd_level(-5)
            .durability(Durability::Interval(Duration::from_millis(250)));
        let mut copy = TopicConfig::new();
        for (name, value) in config.entries() {
            assert_ne!(
                TopicConfig::new().get(name),
                Some(value.clone()),
                "{name} should differ from its default"
            );
            copy = copy.set(name, &value).unwrap();
        }
        assert_eq!(copy, config);
        assert_eq!(config.differences(&TopicConfig::new()).len(), ENTRIES.len());
    }

    #[test]
    fn unknown_names_and_values_are_refused() {
        for (name, value) in [
            ("segment.byte", "1024"),
            ("segment.bytes", ""),
            ("segment.bytes", "-1"),
            ("segment.bytes", "1 KiB"),
            ("message.timestamp.type", "createtime"),
            ("compression.type", "none"),
            ("compression.type", "GZIP"),
            ("compression.gzip.level", "best"),
            ("compression.lz4.level", "9"),
            ("durability", "interval"),
            ("durability", "interval:-1"),
            ("durability", "the broker's"),
        ] {
            let error = TopicConfig::new().set(name, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        assert!(TopicConfig::new().validate().is_ok());
        assert!(TopicConfig::new().segment_bytes(1024).validate().is_ok());
        assert!(TopicConfig::new().segment_bytes(1023).validate().is_err());
        assert!(TopicConfig::new().segment_bytes(MAX_I32 + 1).validate().is_err());
        assert!(TopicConfig::new().segment_ms(Duration::ZERO).validate().is_err());
        for (level, gzip, zstd) in [
            (-131_073, false, false),
            (-1, true, true),
            (0, false, true),
            (9, true, true),
            (23, false, false),
        ] {
            assert_eq!(
                TopicConfig::new().compression_gzip_level(level).validate().is_ok(),
                gzip,
                "gzip {level}"
            );
            assert_eq!(
                TopicConfig::new().compression_zstd_level(level).validate().is_ok(),
                zstd,
                "zstd {level}"
            );
        }
        for (interval, possible) in [("0", false), ("1", true), ("86400000", true)] {
            let config = TopicConfig::new().set("durability", &format!("interval:{interval}"));
            assert_eq!(config.is_ok(), possible, "{interval}");
        }
        let never = Durability::Interval(Duration::ZERO);
        assert!(TopicConfig::new().durability(never).validate().is_err());
        let odd = Durability::Interval(Duration::from_micros(1500));
        assert!(TopicConfig::new().durability(odd).validate().is_err(), "not in whole milliseconds");
        assert!(TopicConfig::new().partitions(MAX_PARTITIONS).validate().is_ok());
        for partitions in [0, MAX_PARTITIONS + 1] {
            let error = TopicConfig::new().partitions(partitions).validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidPartitions);
        }
    }
}
