//! Records that say who sent them, and all of whose parts follow from that: what is read is held against what was sent.

use ottla::{Record, RecordView, Timestamp};

use crate::dice::Dice;

/// Which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The life of the directory in which it was sent.
    pub life: u32,
    pub thread: u8,
    /// The number of its place.
    pub place: u8,
    /// What its thread counts in that place, from 0.
    pub number: u32,
}

/// Its parts.
pub struct Parts {
    key: Option<[u8; 6]>,
    value: Vec<u8>,
    header: Option<[u8; 3]>,
    timestamp: Timestamp,
}

const ID_LEN: usize = 10;

impl RecordId {
    pub fn parts(self) -> Parts {
        let mut value =
            [&self.life.to_be_bytes()[..], &[self.thread, self.place], &self.number.to_be_bytes()].concat();
        let mut dice =
            Dice::new(value.iter().fold(7, |sum, byte| (sum << 7) ^ (sum >> 57) ^ u64::from(*byte)));
        let len = match dice.below(40) {
            0 => 5000,
            1..=3 => 900,
            _ => 90,
        };
        for _ in 0..dice.below(len) / 8 {
            value.extend(dice.next().to_be_bytes());
        }
        let bytes = dice.next().to_be_bytes();
        Parts {
            key: (bytes[7].is_multiple_of(3)).then(|| [0, 1, 2, 3, 4, 5].map(|at| bytes[at])),
            header: (bytes[7].is_multiple_of(5)).then(|| [0, 1, 2].map(|at| bytes[at])),
            timestamp: 1_700_000_000_000 + i64::from(bytes[6]),
            value,
        }
    }

    /// Whose record was read; panics if any part of it is another than the one that was sent.
    pub fn read(record: &RecordView<'_>) -> Self {
        let id = Self::parse(record.value().unwrap_or_default());
        let id = id.unwrap_or_else(|| panic!("offset {} holds what nobody has sent", record.offset()));
        let parts = id.parts();
        let header = record.header("h").map(|value| value.unwrap_or_default().to_vec());
        assert!(
            record.value() == Some(&parts.value)
                && record.key() == parts.key.as_ref().map(|key| &key[..])
                && record.timestamp() == Some(parts.timestamp)
                && header == parts.header.map(|header| header.to_vec()),
            "offset {} holds another record than {id:?}, which was sent",
            record.offset(),
        );
        id
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (id, _) = value.split_first_chunk::<ID_LEN>()?;
        let number = |at: usize| u32::from_be_bytes([id[at], id[at + 1], id[at + 2], id[at + 3]]);
        Some(Self { life: number(0), thread: id[4], place: id[5], number: number(6) })
    }
}

impl Parts {
    pub fn record(&self) -> Record<'_> {
        let mut record = Record::new(&self.value).timestamp(self.timestamp);
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        if let Some(header) = &self.header {
            record = record.header("h", header);
        }
        record
    }
}
