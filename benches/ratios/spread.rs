//! Sixteen threads, each of which sends to any of 64 partitions and waits.
//!
//! The twin has 64 files: a `pwrite` to one of them, and an `fdatasync` where the row says so.

use ottla::{Durability, PartitionId, Record, TopicConfig};

use crate::Outcome;
use crate::append::on_threads;
use crate::raw::Raw;
use crate::row::Row;
use crate::workplace::Workplace;

const THREADS: usize = 16;
const PARTITIONS: PartitionId = 64;
/// How many records each thread sends.
const SYNCED: usize = 600;
const OS: usize = 20_000;

pub const ROWS: &[Row] = &[
    Row {
        name: "16 threads over 64 partitions, synced",
        unit: "records/s",
        floor: None,
        ours: |place| spread(place, Durability::Synced, SYNCED),
        raw: |place| raw_spread(place, true, SYNCED),
    },
    Row {
        name: "16 threads over 64 partitions, os",
        unit: "records/s",
        floor: None,
        ours: |place| spread(place, Durability::Os, OS),
        raw: |place| raw_spread(place, false, OS),
    },
];

fn spread(place: &Workplace, durability: Durability, times: usize) -> Outcome<f64> {
    let (_broker, topic) =
        place.topic_with(TopicConfig::new().partitions(PARTITIONS).durability(durability))?;
    let payloads: Vec<_> = place.payloads().collect();
    // The first append to a partition creates its files, and so does the twin before it begins.
    for partition in 0..PARTITIONS {
        topic.producer().send(Record::new(payloads[0]).partition(partition))?.wait()?;
    }
    on_threads(THREADS, times, |number| {
        let record = Record::new(payloads[number % payloads.len()]).partition(anywhere(number));
        topic.producer().send(record)?.wait()?;
        Ok(())
    })
}

fn raw_spread(place: &Workplace, is_synced: bool, times: usize) -> Outcome<f64> {
    let create = |number| Ok(Raw::create(&place.dir.join(format!("raw-{number}")))?);
    let files = (0..PARTITIONS).map(create).collect::<Outcome<Vec<_>>>()?;
    let payloads: Vec<_> = place.payloads().collect();
    on_threads(THREADS, times, |number| {
        let file = &files[anywhere(number) as usize];
        file.append(std::iter::once(payloads[number % payloads.len()]))?;
        if is_synced {
            file.sync()?;
        }
        Ok(())
    })
}

/// A partition that the number does not foretell (the finish of splitmix64); the same in every round.
fn anywhere(number: usize) -> PartitionId {
    let mut mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((mixed ^ (mixed >> 31)) % u64::from(PARTITIONS)).unwrap_or(0)
}
