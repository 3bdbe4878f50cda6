//! Opening a directory that was closed in order.

use std::fs::File;
use std::time::{Duration, Instant};

use ottla::{Broker, TopicConfig};

use crate::row::Row;
use crate::workplace::Workplace;
use crate::{Outcome, per_second};

pub const ROWS: &[Row] = &[Row {
    name: "reopen 5 M records after an orderly stop",
    unit: "openings/s",
    floor: Some(0.1),
    ours: reopen,
    raw: raw_reopen,
}];

fn filled_and_closed(place: &Workplace) -> Outcome<()> {
    let broker = Broker::open(place.dir.join("data"))?;
    let config = TopicConfig::new().segment_bytes(16 * 1024 * 1024);
    let topic = broker.create_topic("ratios", config)?;
    place.fill(&topic, 5000)?;
    Ok(broker.close(Duration::from_secs(30))?)
}

fn reopen(place: &Workplace) -> Outcome<f64> {
    filled_and_closed(place)?;
    let start = Instant::now();
    let broker = Broker::open(place.dir.join("data"))?;
    let took = start.elapsed();
    assert_eq!(broker.topic("ratios")?.partition(0)?.high_watermark(), 5_000_000);
    Ok(per_second(1, took))
}

/// Opens every file there is, and reads its first byte.
fn raw_reopen(place: &Workplace) -> Outcome<f64> {
    filled_and_closed(place)?;
    let start = Instant::now();
    for dir in [place.dir.join("data"), place.dir.join("data/ratios-0")] {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_file() {
                _ = std::os::unix::fs::FileExt::read_at(&File::open(path)?, &mut [0], 0)?;
            }
        }
    }
    Ok(per_second(1, start.elapsed()))
}
