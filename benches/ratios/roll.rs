//! The longest append of those with which a segment is rolled, against ten times what an ordinary one takes at most.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ottla::{Durability, Record, TopicConfig};

use crate::Outcome;
use crate::row::Row;
use crate::workplace::Workplace;

const ROLLS: usize = 20;
const SEGMENT: u64 = 1024 * 1024;
const VALUE: usize = 1024;
/// How often a roll may last as long as an ordinary append of the longest thousandth.
const MOST: u32 = 10;

pub const ROWS: &[Row] = &[
    Row {
        name: "append across 20 rolls, synced (10 x ordinary p99.9)",
        unit: "appends/s",
        floor: Some(1.0),
        ours: |place| across_rolls(place, Durability::Synced),
        raw: allowed,
    },
    Row {
        name: "append across 20 rolls, os (10 x ordinary p99.9)",
        unit: "appends/s",
        floor: Some(1.0),
        ours: |place| across_rolls(place, Durability::Os),
        raw: allowed,
    },
];

thread_local! {
    /// What the last run allows, from the same appends: another run meets other noise.
    static ALLOWED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn allowed(_: &Workplace) -> Outcome<f64> {
    Ok(1.0 / ALLOWED.get().as_secs_f64())
}

/// One record a call, each waited for. Returns how many appends there would be in a second if each took as long as the
/// longest of those that rolled.
fn across_rolls(place: &Workplace, level: Durability) -> Outcome<f64> {
    let config = TopicConfig::new().segment_bytes(SEGMENT).durability(level);
    let (_broker, topic) = place.topic_with(config)?;
    let producer = topic.producer();
    let payloads: Vec<_> = place.payloads().flatten().copied().collect();
    let mut took = Vec::new();
    // A batch is longer than its value by less than 100 bytes.
    let appends = (ROLLS + 1) * usize::try_from(SEGMENT)? / (VALUE + 50);
    for value in payloads.chunks_exact(VALUE).cycle().take(appends) {
        let start = Instant::now();
        producer.send(Record::new(value))?.wait()?;
        took.push(start.elapsed());
    }
    let mut rolled = Vec::new();
    for log in place.logs()? {
        let base: usize = log.file_stem().unwrap_or_default().to_string_lossy().parse()?;
        if base > 0 {
            rolled.push(std::mem::take(&mut took[base]));
        }
    }
    took.retain(|took| *took > Duration::ZERO);
    took.sort_unstable();
    rolled.sort_unstable();
    let at = |per_mille: usize| took[took.len() * per_mille / 1000];
    let longest = *rolled.last().ok_or("nothing was rolled")?;
    println!(
        "  {} ordinary: p50 {:?}, p99 {:?}, p99.9 {:?}, most {:?}; {} rolled: p50 {:?}, most {longest:?}",
        took.len(),
        at(500),
        at(990),
        at(999),
        took[took.len() - 1],
        rolled.len(),
        rolled[rolled.len() / 2],
    );
    ALLOWED.set(at(999) * MOST);
    Ok(1.0 / longest.as_secs_f64())
}
