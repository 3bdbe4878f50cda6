//! How partitions are read by the suites: in full, by every offset and time, and from positions on.

use ottla::{ErrorKind, Partition, Result, Start, Timestamp};

use crate::told::Sent;

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    offset: u64,
    timestamp: Timestamp,
    value: Vec<u8>,
}

/// The values of a partition from its beginning to its high watermark, each at its offset.
pub fn values_of(partition: &Partition, what: &str) -> Result<Vec<Vec<u8>>> {
    Ok(read_all(partition, what)?.into_iter().map(|seen| seen.value).collect())
}

fn read_all(partition: &Partition, what: &str) -> Result<Vec<Seen>> {
    let mut found = Vec::new();
    for batch in partition.read(Start::Earliest)? {
        for record in &batch? {
            let value = record.value().unwrap_or_default().to_vec();
            found.push(Seen {
                offset: record.offset(),
                timestamp: record.timestamp().unwrap_or_default(),
                value,
            });
        }
    }
    for (number, seen) in found.iter().enumerate() {
        assert_eq!(seen.offset, number as u64, "{what}: offsets have a gap");
    }
    assert_eq!(found.len() as u64, partition.high_watermark(), "{what}: what is read ends elsewhere");
    Ok(found)
}

/// What is found by offset and by time, through the indexes, is what a scan finds. Returns what there is.
pub fn scan_and_look_up(partition: &Partition, what: &str) -> Result<Vec<Vec<u8>>> {
    let found = read_all(partition, what)?;
    for seen in some_of(&found) {
        let by_offset = first(partition, Start::At(seen.offset))?;
        assert_eq!(by_offset, Some(seen.value.clone()), "{what}: by offset {}", seen.offset);
        let by_time = first(partition, Start::Time(seen.timestamp))?;
        let expected = found.iter().find(|other| other.timestamp >= seen.timestamp);
        let expected = expected.map(|seen| seen.value.clone());
        assert_eq!(by_time, expected, "{what}: by the time of offset {}", seen.offset);
    }
    Ok(found.into_iter().map(|seen| seen.value).collect())
}

/// The first, the last, and some between them.
fn some_of(found: &[Seen]) -> impl Iterator<Item = &Seen> {
    let step = (found.len() / 4).max(1);
    found.iter().rev().step_by(step)
}

fn first(partition: &Partition, start: Start) -> Result<Option<Vec<u8>>> {
    let batch = partition.read(start)?.next().transpose()?;
    let record = batch.as_ref().and_then(|batch| batch.iter().next());
    Ok(record.map(|record| record.value().unwrap_or_default().to_vec()))
}

/// From a position one reads on if the record before it is still there; if it is not, that is an error.
pub fn check_positions(partition: &Partition, sent: &Sent, what: &str) {
    for (position, before) in &sent.positions {
        let number = usize::try_from(position.offset()).unwrap();
        let stands = sent.values.get(number - 1) == Some(before);
        match partition.read(Start::Resume(*position)) {
            Ok(_) => {
                assert!(stands, "{what}: read on from {position:?}, before which there is something else");
            }
            Err(error) => {
                assert!(!stands, "{what}: {position:?}: {error}");
                let kinds = [ErrorKind::LogTruncated, ErrorKind::OffsetOutOfRange];
                assert!(kinds.contains(&error.kind()), "{what}: {position:?}: {error}");
            }
        }
    }
}
