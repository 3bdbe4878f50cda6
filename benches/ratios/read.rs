//! Reading: a log in order, and batches here and there.
//!
//! The twin reads the same files: in order, by `pread`s of 64 KiB into one buffer, or 16 KiB from a random position. It
//! checks nothing, and knows nothing of records.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use ottla::{Broker, Partition, Start, TopicConfig};

use crate::row::Row;
use crate::workplace::Workplace;
use crate::{Outcome, per_second};

const THOUSANDS: usize = 1000;
const READS: usize = 50_000;

pub const ROWS: &[Row] = &[
    Row {
        name: "scan, active",
        unit: "bytes/s",
        floor: Some(0.35),
        ours: |place| Filled::new(place, ACTIVE, true)?.scan(),
        raw: |place| Filled::new(place, ACTIVE, true)?.raw_scan(),
    },
    Row {
        name: "scan, sealed and mapped",
        unit: "bytes/s",
        floor: Some(0.35),
        ours: |place| Filled::new(place, SEALED, true)?.scan(),
        raw: |place| Filled::new(place, SEALED, true)?.raw_scan(),
    },
    Row {
        name: "scan, sealed, by pread",
        unit: "bytes/s",
        floor: Some(0.35),
        ours: |place| Filled::new(place, SEALED, false)?.scan(),
        raw: |place| Filled::new(place, SEALED, false)?.raw_scan(),
    },
    Row {
        name: "random read, active",
        unit: "reads/s",
        floor: None,
        ours: |place| Filled::new(place, ACTIVE, true)?.random_reads(),
        raw: |place| Filled::new(place, ACTIVE, true)?.raw_random_reads(),
    },
    Row {
        name: "random read, sealed and mapped",
        unit: "reads/s",
        floor: None,
        ours: |place| Filled::new(place, SEALED, true)?.random_reads(),
        raw: |place| Filled::new(place, SEALED, true)?.raw_random_reads(),
    },
];

/// `segment.bytes`: all in one segment, which is active; or in many, of which the last one is.
const ACTIVE: u64 = 1024 * 1024 * 1024;
const SEALED: u64 = 4 * 1024 * 1024;

/// An open partition with a million records in batches of 16 KiB.
struct Filled<'a> {
    place: &'a Workplace,
    _broker: Broker,
    partition: Partition,
}

impl<'a> Filled<'a> {
    fn new(place: &'a Workplace, segment_bytes: u64, maps: bool) -> Outcome<Self> {
        let broker = Broker::options().memory_maps(maps).open(place.dir.join("data"))?;
        let topic = broker.create_topic("ratios", TopicConfig::new().segment_bytes(segment_bytes))?;
        place.fill(&topic, THOUSANDS)?;
        Ok(Self { place, _broker: broker, partition: topic.partition(0)? })
    }

    /// Looks at every record.
    fn scan(&self) -> Outcome<f64> {
        let start = Instant::now();
        let (mut bytes, mut sum) = (0, 0u64);
        for batch in self.partition.read(Start::Earliest)? {
            let batch = batch?;
            bytes += batch.size();
            let first = |value: Option<&[u8]>| value.map_or(0, |value| u64::from(value[0]));
            sum += batch.iter().map(|record| first(record.value())).sum::<u64>();
        }
        std::hint::black_box(sum);
        Ok(per_second(bytes, start.elapsed()))
    }

    fn raw_scan(&self) -> Outcome<f64> {
        let mut buffer = vec![0; 64 * 1024];
        let start = Instant::now();
        let mut bytes = 0;
        for log in self.place.logs()? {
            let file = File::open(log)?;
            let mut position = 0;
            loop {
                match file.read_at(&mut buffer, position)? {
                    0 => break,
                    read => position += read as u64,
                }
            }
            bytes += usize::try_from(position)?;
        }
        Ok(per_second(bytes, start.elapsed()))
    }

    /// The batch at a random offset.
    fn random_reads(&self) -> Outcome<f64> {
        let end = self.partition.high_watermark();
        let start = Instant::now();
        for offset in random_numbers().take(READS).map(|number| number % end) {
            let batch = self.partition.read(Start::At(offset))?.next().ok_or("the offset is there")??;
            assert_eq!(batch.iter().next().map(|record| record.offset()), Some(offset));
        }
        Ok(per_second(READS, start.elapsed()))
    }

    fn raw_random_reads(&self) -> Outcome<f64> {
        let logs: Vec<PathBuf> = self.place.logs()?;
        let files = logs.iter().map(|log| Ok(File::open(log)?)).collect::<Outcome<Vec<_>>>()?;
        let mut buffer = vec![0; 16 * 1024];
        let start = Instant::now();
        for number in random_numbers().take(READS) {
            let file = &files[usize::try_from(number)? % files.len()];
            let most = file.metadata()?.len().saturating_sub(buffer.len() as u64).max(1);
            std::hint::black_box(file.read_at(&mut buffer, (number >> 16) % most)?);
        }
        Ok(per_second(READS, start.elapsed()))
    }
}

/// Xorshift; the same in every round.
fn random_numbers() -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}
