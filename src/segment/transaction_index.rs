//! The transaction index of a segment, `.txnindex`: the aborted transactions whose marker the segment holds.
//!
//! An entry, 34 bytes, big-endian, without header or checksum:
//!
//! | Off | Size | Field | |
//! |---|---|---|---|
//! | 0 | 2 | version | 0 |
//! | 2 | 8 | producer id | |
//! | 10 | 8 | first offset | of the transaction's first record; it may lie in an earlier segment |
//! | 18 | 8 | last offset | that of the abort marker |
//! | 26 | 8 | last stable offset | as it became with that marker: the first offset of the oldest transaction that was still open, or the offset behind the marker |
//!
//! Last offsets strictly rise in a file. A segment without an aborted transaction has no such file, and commits leave no
//! trace (Kafka: `TransactionIndex`, `AbortedTxn`).

use byteorder::{BigEndian, ByteOrder};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{MAX_OFFSET, Offset};

const VERSION: usize = 0;
const PRODUCER_ID: usize = VERSION + 2;
const FIRST_OFFSET: usize = PRODUCER_ID + 8;
const LAST_OFFSET: usize = FIRST_OFFSET + 8;
const LAST_STABLE_OFFSET: usize = LAST_OFFSET + 8;
const ENTRY_LEN: usize = LAST_STABLE_OFFSET + 8;
const _: () = assert!(ENTRY_LEN == 34);

/// A transaction that was rolled back: an entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    /// That of its first record.
    pub first_offset: Offset,
    /// That of its marker.
    pub last_offset: Offset,
    /// Up to where everything was decided once it had ended.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    /// The entries of the index of the segment at `base`, which `bytes` holds whole.
    ///
    /// # Errors
    /// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) for an entry of a version above 0; else
    /// [`CorruptMessage`](ErrorKind::CorruptMessage), with the position in the file.
    pub fn read_all(bytes: &[u8], base: Offset) -> Result<Vec<Self>> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_LEN>();
        let mut read: Vec<Self> = Vec::with_capacity(entries.len());
        let mut position = 0_usize;
        for entry in entries {
            let least = read.last().map_or(base, |before| before.last_offset.saturating_add(1));
            let entry = Self::read(entry, least).map_err(|error| error.at_position(position as u64))?;
            read.push(entry);
            position = position.saturating_add(ENTRY_LEN);
        }
        if !rest.is_empty() {
            let what = format!("a transaction index ends with {} bytes of {ENTRY_LEN}", rest.len());
            return Err(Error::corrupt(what).at_position(position as u64));
        }
        Ok(read)
    }

    /// Reads one entry, whose marker lies at `least` or behind it.
    fn read(bytes: &[u8; ENTRY_LEN], least: Offset) -> Result<Self> {
        match BigEndian::read_i16(field(bytes, VERSION)) {
            0 => {}
            version @ ..0 => return Err(malformed(&format!("the version {version}"))),
            version => {
                let what =
                    format!("a transaction index has an entry of version {version}, only 0 can be read");
                return Err(Error::new(ErrorKind::UnsupportedVersion, what));
            }
        }
        let number = |at| BigEndian::read_i64(field(bytes, at));
        let offset = |at| {
            let number = number(at);
            let offset = Offset::try_from(number).ok().filter(|offset| *offset <= MAX_OFFSET);
            offset.ok_or_else(|| malformed(&format!("the offset {number}")))
        };
        let entry = Self {
            producer_id: number(PRODUCER_ID),
            first_offset: offset(FIRST_OFFSET)?,
            last_offset: offset(LAST_OFFSET)?,
            last_stable_offset: offset(LAST_STABLE_OFFSET)?,
        };
        entry.check(least).map(|()| entry)
    }

    fn check(&self, least: Offset) -> Result<()> {
        let Self { producer_id, first_offset, last_offset, last_stable_offset } = *self;
        let problem = if producer_id < 0 {
            format!("the producer id {producer_id}")
        } else if first_offset > last_offset {
            format!("a marker at {last_offset} before its transaction at {first_offset}")
        } else if last_offset < least {
            format!("a marker at {last_offset}, where none can lie below {least}")
        } else if last_stable_offset > last_offset.saturating_add(1) {
            format!("the last stable offset {last_stable_offset} above its marker at {last_offset}")
        } else {
            return Ok(());
        };
        Err(malformed(&problem))
    }

    /// Writes the entry behind what `buffer` holds.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        let mut bytes = [0; ENTRY_LEN];
        let mut put = |at: usize, number: i64| {
            BigEndian::write_i64(bytes.get_mut(at..).unwrap_or_default(), number);
        };
        put(PRODUCER_ID, self.producer_id);
        put(FIRST_OFFSET, self.first_offset.cast_signed());
        put(LAST_OFFSET, self.last_offset.cast_signed());
        put(LAST_STABLE_OFFSET, self.last_stable_offset.cast_signed());
        buffer.extend_from_slice(&bytes);
    }
}

fn malformed(what: &str) -> Error {
    Error::corrupt(format!("an entry of a transaction index names {what}"))
}

/// The bytes from `at` on. Every caller passes a constant inside the entry.
fn field(bytes: &[u8; ENTRY_LEN], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Producer 4000, offsets 10 to 20, stable up to 21; what Kafka 4.2's `DumpLogSegments` reads it as, too.
    const VECTOR: [u8; ENTRY_LEN] = [
        0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0,
        0, 0, 21,
    ];

    fn aborted(first_offset: Offset, last_offset: Offset) -> AbortedTransaction {
        let last_stable_offset = last_offset + 1;
        AbortedTransaction { producer_id: 4000, first_offset, last_offset, last_stable_offset }
    }

    fn bytes_of(entries: &[AbortedTransaction]) -> Vec<u8> {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.write(&mut bytes));
        bytes
    }

    #[test]
    fn the_worked_bytes_read_and_write() {
        assert_eq!(AbortedTransaction::read_all(&VECTOR, 0).unwrap(), [aborted(10, 20)]);
        assert_eq!(bytes_of(&[aborted(10, 20)]), VECTOR);
    }

    #[test]
    fn entries_read_back() {
        let entries = [
            aborted(0, 1),
            // Another transaction was open, and began earlier.
            AbortedTransaction { last_stable_offset: 2, ..aborted(5, 9) },
            AbortedTransaction { producer_id: i64::MAX, ..aborted(3, MAX_OFFSET - 1) },
        ];
        assert_eq!(AbortedTransaction::read_all(&bytes_of(&entries), 1).unwrap(), entries);
        assert_eq!(AbortedTransaction::read_all(&[], 1).unwrap(), []);
    }

    #[test]
    fn what_cannot_be_is_an_error_where_it_stands() {
        let negative = AbortedTransaction { producer_id: -1, ..aborted(10, 20) };
        let late = AbortedTransaction { last_stable_offset: 22, ..aborted(10, 20) };
        for (second, base) in [
            (aborted(21, 20), 0),
            (aborted(3, 5), 0),
            (aborted(10, u64::MAX - 1), 0),
            (negative, 0),
            (late, 0),
        ] {
            let error = AbortedTransaction::read_all(&bytes_of(&[aborted(0, 5), second]), base).unwrap_err();
            assert_eq!((error.kind(), error.position()), (ErrorKind::CorruptMessage, Some(34)), "{second:?}");
        }
        let error = AbortedTransaction::read_all(&VECTOR, 21).unwrap_err();
        assert!(error.is_corruption(), "below its segment: {error}");
    }

    #[test]
    fn versions_and_torn_entries_are_told_apart() {
        let with_version = |version: [u8; 2]| [&version[..], &VECTOR[2..]].concat();
        let kind = |bytes: &[u8]| AbortedTransaction::read_all(bytes, 0).unwrap_err().kind();
        assert_eq!(kind(&with_version([0, 1])), ErrorKind::UnsupportedVersion);
        assert_eq!(kind(&with_version([0xff, 0xff])), ErrorKind::CorruptMessage);
        for len in (1..VECTOR.len()).chain(VECTOR.len() + 1..2 * VECTOR.len()) {
            let bytes = bytes_of(&[aborted(10, 20), aborted(21, 30)]);
            assert_eq!(kind(&bytes[..len]), ErrorKind::CorruptMessage, "{len}");
        }
    }
}
