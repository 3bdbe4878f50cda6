//! The record of a control batch: Kafka's own markers, which occupy an offset and are never delivered.
//!
//! Key: version i16, type i16. Value of a transaction marker: version i16, coordinator epoch i32. Higher
//! versions are read as version 0.

use byteorder::{BigEndian, ReadBytesExt};

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// The transaction of the batch's producer was rolled back.
    Abort { coordinator_epoch: i32 },
    /// The transaction of the batch's producer was committed.
    Commit { coordinator_epoch: i32 },
    /// A type of Kafka's metadata log, or one that came later; skipped.
    Other { kind: i16 },
}

impl ControlRecord {
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, &'static str> {
        let kind = second_field(key, |rest| rest.read_i16::<BigEndian>())
            .ok_or("the key of a control record is no version and type")?;
        if !matches!(kind, 0 | 1) {
            return Ok(Self::Other { kind });
        }
        let coordinator_epoch = second_field(value, |rest| rest.read_i32::<BigEndian>())
            .ok_or("the value of a transaction marker is no version and epoch")?;
        Ok(match kind {
            0 => Self::Abort { coordinator_epoch },
            _ => Self::Commit { coordinator_epoch },
        })
    }
}

/// The field behind the version, which must not be negative.
fn second_field<T>(bytes: Option<&[u8]>, read: impl Fn(&mut &[u8]) -> std::io::Result<T>) -> Option<T> {
    let mut rest = bytes?;
    let version = rest.read_i16::<BigEndian>().ok()?;
    (version >= 0).then(|| read(&mut rest).ok())?
}
