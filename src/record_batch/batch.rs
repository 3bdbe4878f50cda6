//! A record batch that was read: owns its bytes, and lends its records.

use std::fmt;

use bytes::{Buf, Bytes};

use super::control::ControlRecord;
use super::record::{check_headers, read_record};
use super::{BatchHeader, Codecs, HEADER_LEN, OwnedRecord, RecordView};
use crate::error::{Error, Result};
use crate::model::{Compression, LeaderEpoch, MAX_OFFSET, Offset, Timestamp, TimestampType};

/// A checked batch of records: the unit in which a partition is written and read.
///
/// It owns its bytes, which cost a reference and not a copy; its records borrow from it.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-batch-{}", std::process::id()));
/// use ottla::{Broker, Record, Start, TopicConfig};
/// let broker = Broker::open(&dir)?;
/// let topic = broker.ensure_topic("orders", TopicConfig::new())?;
/// topic.producer().send(Record::new("paid").key("order-42"))?.wait()?;
/// for batch in topic.partition(0)?.read(Start::Earliest)? {
///     for record in &batch? {
///         assert_eq!(record.key(), Some(&b"order-42"[..]));
///     }
/// }
/// # drop((topic, broker)); std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RecordBatch {
    header: BatchHeader,
    /// The records, decompressed.
    records: Bytes,
    /// Which of the records are given out.
    given: Given,
}

/// A run of records that stand one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    /// Where the first one begins.
    position: usize,
    count: u32,
}

impl RecordBatch {
    /// Takes the bytes of exactly one batch, and checks all of them: sizes, checksum, every record.
    pub(crate) fn parse(bytes: Bytes, codecs: &Codecs) -> Result<Self> {
        let header = BatchHeader::check(&bytes)?;
        Self::decode(header, bytes, codecs).map_err(|error| error.at_offset(header.base_offset))
    }

    /// Checks what tells that a batch is whole, in the bytes of exactly one: sizes, checksum, and every record unless they
    /// are compressed. It needs no codec.
    pub(crate) fn check_whole(mut bytes: Bytes) -> Result<BatchHeader> {
        let header = BatchHeader::check(&bytes)?;
        if header.compression() == Compression::None {
            bytes.advance(HEADER_LEN);
            Self::over(header, bytes).map_err(|error| error.at_offset(header.base_offset))?;
        }
        Ok(header)
    }

    /// The batch with this header, whose bytes have the checksum that they should.
    fn decode(header: BatchHeader, mut bytes: Bytes, codecs: &Codecs) -> Result<Self> {
        bytes.advance(HEADER_LEN);
        match header.compression() {
            Compression::None => Self::over(header, bytes),
            // As Kafka reads it; where compaction has left no records it says that nothing is compressed.
            _ if bytes.is_empty() => Self::over(header, bytes),
            compression => Self::over(header, codecs.unpack(compression, &bytes)?.into()),
        }
    }

    /// The batch with these records, all of which are checked.
    fn over(header: BatchHeader, records: Bytes) -> Result<Self> {
        let batch = Self { header, records, given: Given { position: 0, count: header.records_count } };
        batch.check_records().map_err(Error::corrupt)?;
        Ok(batch)
    }

    /// Leaves out the records below `offset` from now on.
    pub(crate) fn starting_at(self, offset: Offset) -> Self {
        if offset <= self.base_offset() {
            return self;
        }
        let given = self.given_behind(|record| record.offset() < offset);
        Self { given, ..self }
    }

    /// Keeps the first `count` records from now on, and returns a batch with the others, if there are any.
    pub(crate) fn split_off(&mut self, count: usize) -> Option<Self> {
        let count = u32::try_from(count).ok().filter(|count| *count < self.given.count)?;
        let mut left = count;
        let given = self.given_behind(|_| {
            let is_kept = left > 0;
            left = left.saturating_sub(1);
            is_kept
        });
        self.given.count = count;
        Some(Self { given, ..self.clone() })
    }

    /// The records that are given out behind those at the front for which `passes` is true.
    fn given_behind(&self, mut passes: impl FnMut(&RecordView<'_>) -> bool) -> Given {
        let mut records = self.iter();
        loop {
            let given = Given {
                position: self.records.len().saturating_sub(records.bytes.len()),
                count: records.left,
            };
            match records.next() {
                Some(record) if passes(&record) => {}
                _ => return given,
            }
        }
    }

    /// The offset of the first record that was ever in the batch.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// The offset of the last record that was ever in the batch.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    /// The offset behind the batch, where reading goes on.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// The leadership of the partition under which the batch was appended, if it names one.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.header.known_epoch()
    }

    /// Whose time the records carry.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.header.attributes.timestamp_type()
    }

    /// The greatest timestamp of the records; `None` if none has one.
    #[must_use]
    pub fn max_timestamp(&self) -> Option<Timestamp> {
        present(self.header.max_timestamp)
    }

    /// The size in bytes, as it stands in the file.
    #[must_use]
    pub fn size(&self) -> usize {
        self.header.size
    }

    /// How the records are compressed in the file; those that are lent are not.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.header.compression()
    }

    /// What the batch holds in memory, in bytes, about.
    pub(crate) fn size_in_memory(&self) -> usize {
        self.records.len().saturating_add(HEADER_LEN)
    }

    #[cfg(test)]
    pub(super) fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// True if the batch holds a marker of Kafka's own and no application's records.
    pub(crate) fn is_control(&self) -> bool {
        self.header.attributes.is_control()
    }

    /// What the marker in a control batch says.
    pub(crate) fn control_record(&self) -> Option<ControlRecord> {
        let record = self.is_control().then(|| self.iter().next())??;
        ControlRecord::parse(record.key(), record.value()).ok()
    }

    /// The records, borrowed; `for record in &batch` is the same.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        let bytes = self.records.get(self.given.position..).unwrap_or_default();
        Records { header: &self.header, bytes, left: self.given.count }
    }

    /// The records, each owning its bytes.
    pub fn records(&self) -> impl Iterator<Item = OwnedRecord> + '_ {
        self.iter().map(|record| record.to_owned())
    }

    fn check_records(&self) -> Result<(), &'static str> {
        let mut bytes = &*self.records;
        let mut least_delta = 0;
        for _ in 0..self.header.records_count {
            let record = read_record(&mut bytes)?;
            check_headers(record.headers)?;
            if record.offset_delta < least_delta {
                return Err("the offsets of the records do not rise");
            }
            least_delta = record.offset_delta.saturating_add(1);
            if self.header.base_timestamp.checked_add(record.timestamp_delta).is_none() {
                return Err("a record's timestamp is beyond the range of timestamps");
            }
        }
        if !bytes.is_empty() {
            return Err("bytes are left behind the last record of a batch");
        }
        if least_delta > self.header.last_offset_delta.saturating_add(1) {
            return Err("a record's offset lies behind its batch");
        }
        if self.is_control() { self.check_control_records() } else { Ok(()) }
    }

    fn check_control_records(&self) -> Result<(), &'static str> {
        self.iter().try_for_each(|record| ControlRecord::parse(record.key(), record.value()).map(|_| ()))
    }
}

impl fmt::Debug for RecordBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBatch")
            .field("header", &self.header)
            .field("records", &self.iter().collect::<Vec<_>>())
            .finish()
    }
}

impl<'a> IntoIterator for &'a RecordBatch {
    type Item = RecordView<'a>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// The records of a batch, an iterator.
#[derive(Clone)]
pub struct Records<'a> {
    header: &'a BatchHeader,
    bytes: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordView<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordView<'a>> {
        self.left = self.left.checked_sub(1)?;
        let record = read_record(&mut self.bytes);
        debug_assert!(record.is_ok(), "a batch is checked before it gives out records");
        let record = record.ok()?;
        let header = self.header;
        let timestamp = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.saturating_add(record.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        Some(RecordView {
            offset: header.base_offset.saturating_add(record.offset_delta.into()).min(MAX_OFFSET),
            leader_epoch: header.known_epoch(),
            timestamp: present(timestamp),
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Records<'_> {}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// −1 is Kafka's "no timestamp".
fn present(timestamp: i64) -> Option<Timestamp> {
    (timestamp != -1).then_some(timestamp)
}
