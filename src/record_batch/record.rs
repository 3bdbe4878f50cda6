//! One record inside a batch.
//!
//! | Field | Type | |
//! |---|---|---|
//! | length | varint | bytes behind this field |
//! | attributes | i8 | 0; ignored when read |
//! | timestamp delta | varlong | from the batch's base timestamp; may be negative |
//! | offset delta | varint | from the batch's base offset; strictly rising |
//! | key length, key | varint, bytes | −1: null |
//! | value length, value | varint, bytes | −1: null, a tombstone |
//! | headers count | varint | then for each header: |
//! | · key length, key | varint, UTF-8 | never null |
//! | · value length, value | varint, bytes | −1: null |

use std::borrow::Cow;

use super::varint::{read_varint, read_varlong};
use crate::model::{LeaderEpoch, Offset, Position, Timestamp};

/// A record as it stands in its batch; borrows the batch's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    pub(super) offset: Offset,
    pub(super) leader_epoch: Option<LeaderEpoch>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    /// The number of the record in its partition.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The leadership of the partition under which the record was appended, if the batch names one.
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// The place behind the record: [`Start::Resume`](crate::Start::Resume) reads on from there.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.offset.saturating_add(1), self.leader_epoch)
    }

    /// Milliseconds since the Unix epoch: the producer's time, or the time of the append, as the topic's
    /// `message.timestamp.type` says. `None` if the record has none.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// The key; `None` for a null key, which is another thing than an empty one.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value; `None` for a null value, a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers, in the order in which they were added.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// The value of the last header with this name; the inner `None` is a null value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.headers()
            .filter(|header| header.key_bytes() == name.as_bytes())
            .last()
            .map(|header| header.value())
    }

    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            timestamp: self.timestamp,
            key: self.key.map(Into::into),
            value: self.value.map(Into::into),
            headers: self
                .headers()
                .map(|header| (header.key().into_owned().into(), header.value().map(Into::into)))
                .collect(),
        }
    }
}

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRecord {
    /// The number of the record in its partition.
    pub offset: Offset,
    /// The leadership under which it was appended.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<Timestamp>,
    /// The key; `None` for null.
    pub key: Option<Box<[u8]>>,
    /// The value; `None` for null, a tombstone.
    pub value: Option<Box<[u8]>>,
    /// The headers, in the order in which they were added.
    pub headers: Vec<OwnedHeader>,
}

/// A header that owns its bytes: its name, and its value or `None` for null.
pub type OwnedHeader = (Box<str>, Option<Box<[u8]>>);

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// The name. Bytes that are no UTF-8 (Kafka does not check them) are replaced by U+FFFD.
    #[must_use]
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }

    /// The name as it was written.
    #[must_use]
    pub fn key_bytes(&self) -> &'a [u8] {
        self.key
    }

    /// The value; `None` for null.
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }
}

/// The headers of a record, an iterator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The batch was checked before it gave out its first record.
        read_header(&mut self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// A record before its batch has given it an offset and a timestamp.
#[derive(Clone, Copy)]
pub(super) struct RawRecord<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: u32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Reads the record at the front of `bytes` and moves past it; its headers are not looked at.
// Inlined with all that it calls: a call for each number costs more than the number.
#[inline(always)]
pub(super) fn read_record<'a>(bytes: &mut &'a [u8]) -> Result<RawRecord<'a>, &'static str> {
    let length = read_varint(bytes).ok_or("a record's length does not end")?;
    let length = usize::try_from(length).map_err(|_| "a record's length is negative")?;
    let (mut body, rest) = bytes.split_at_checked(length).ok_or("a record runs past its batch")?;
    *bytes = rest;
    let (_attributes, after) = body.split_first().ok_or("a record is empty")?;
    body = after;
    let timestamp_delta = read_varlong(&mut body).ok_or("a record's timestamp does not end")?;
    let offset_delta = read_varint(&mut body).ok_or("a record's offset does not end")?;
    let key = read_bytes(&mut body).ok_or("a record's key runs past the record")?;
    let value = read_bytes(&mut body).ok_or("a record's value runs past the record")?;
    let headers = read_varint(&mut body).ok_or("a record's headers count does not end")?;
    Ok(RawRecord {
        timestamp_delta,
        offset_delta: u32::try_from(offset_delta).map_err(|_| "a record's offset delta is negative")?,
        key,
        value,
        headers: Headers {
            bytes: body,
            left: usize::try_from(headers).map_err(|_| "a record's headers count is negative")?,
        },
    })
}

/// Walks over the headers of a record, which must end where the record ends.
#[inline(always)]
pub(super) fn check_headers(headers: Headers<'_>) -> Result<(), &'static str> {
    let mut bytes = headers.bytes;
    // A header takes at least two bytes, so a count that lies ends this loop early.
    for _ in 0..headers.left {
        read_header(&mut bytes).ok_or("a record's header runs past the record")?;
    }
    if bytes.is_empty() { Ok(()) } else { Err("bytes are left behind a record's headers") }
}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Option<Header<'a>> {
    let key = read_bytes(bytes)??;
    let value = read_bytes(bytes)?;
    Some(Header { key, value })
}

/// Reads a length and as many bytes; the inner `None` is null, the outer one says that the bytes do not hold it.
#[inline(always)]
fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_varint(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(value))
}
