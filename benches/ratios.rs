//! Ours against bare system calls, interleaved, several rounds: `cargo bench --bench ratios`.
//!
//! One line a row: `row | ours | raw | ratio (median, spread) | floor | ok or SHORT`. Ratios above 1 mean that ours
//! is faster. `-- --json FILE` writes the same; `-- --rounds N` sets the rounds, and
//! `-- NAME` takes only the rows whose name has that in it. It ends with 0 whatever they are.

mod raw;

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla::{Broker, Durability, Record, Start, Topic, TopicConfig};
use raw::Raw;

const PAYLOAD: usize = 100;
const THREADS: usize = 16;
/// How many single records, and how many batches of a thousand, are written without a sync.
const ONES: usize = 200_000;
const BATCHES: usize = 500;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut json, mut rounds, mut only) = (None, 5, String::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = Some(PathBuf::from(arguments.next().ok_or("--json takes a file")?)),
            "--rounds" => rounds = arguments.next().ok_or("--rounds takes a number")?.parse()?,
            // What cargo adds.
            "--bench" => {}
            name => name.clone_into(&mut only),
        }
    }
    println!("row | ours | raw | ratio (median, spread) | floor | ok or SHORT");
    let mut lines = Vec::new();
    for row in ROWS.iter().filter(|row| row.name.contains(&only)) {
        let measured = row.measure(rounds)?;
        println!("{measured}");
        lines.push(measured.json());
    }
    if let Some(file) = json {
        std::fs::write(file, format!("[\n  {}\n]\n", lines.join(",\n  ")))?;
    }
    Ok(())
}

/// Two ways to do the same, each returning how much of `unit` it does in a second.
struct Row {
    name: &'static str,
    unit: &'static str,
    floor: Option<f64>,
    ours: fn(&Workplace) -> Outcome<f64>,
    raw: fn(&Workplace) -> Outcome<f64>,
}

const ROWS: [Row; 8] = [
    Row {
        name: "append 1 a call, os",
        unit: "records/s",
        floor: Some(0.6),
        ours: append_os,
        raw: raw_append_os,
    },
    Row {
        name: "append 1000 a call, os",
        unit: "records/s",
        floor: Some(0.5),
        ours: append_batches_os,
        raw: raw_append_batches_os,
    },
    Row {
        name: "append 1 a call, synced, 1 thread",
        unit: "records/s",
        floor: None,
        ours: |place| append_synced(place, 1, 1500),
        raw: |place| raw_append_synced(place, 1, 1500),
    },
    Row {
        name: "append 1 a call, synced, 16 threads",
        unit: "records/s",
        floor: None,
        ours: |place| append_synced(place, THREADS, 600),
        raw: |place| raw_append_synced(place, THREADS, 100),
    },
    Row {
        name: "synced, 16 threads against 1 (ours both)",
        unit: "records/s",
        floor: Some(3.0),
        ours: |place| append_synced(place, THREADS, 600),
        raw: |place| append_synced(place, 1, 1500),
    },
    Row {
        name: "append 1000 a call, one sync",
        unit: "records/s",
        floor: None,
        ours: append_groups,
        raw: raw_append_groups,
    },
    Row {
        name: "scan in order, checksums checked",
        unit: "bytes/s",
        floor: Some(0.35),
        ours: scan,
        raw: raw_scan,
    },
    Row {
        name: "reopen 5 M records after an orderly stop",
        unit: "openings/s",
        floor: Some(0.1),
        ours: reopen,
        raw: raw_reopen,
    },
];

impl Row {
    fn measure(&self, rounds: usize) -> Outcome<Measured<'_>> {
        let mut pairs = Vec::new();
        for _ in 0..rounds.max(1) {
            // A new place each time, so that no round finds what another has left.
            let ours = (self.ours)(&Workplace::new()?)?;
            let raw = (self.raw)(&Workplace::new()?)?;
            pairs.push((ours, raw));
        }
        let sorted = |value: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = pairs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (ours, raw, ratios) =
            (sorted(|pair| pair.0), sorted(|pair| pair.1), sorted(|pair| pair.0 / pair.1));
        Ok(Measured {
            row: self,
            ours: ours[ours.len() / 2],
            raw: raw[raw.len() / 2],
            ratio: ratios[ratios.len() / 2],
            spread: (ratios[0], ratios[ratios.len() - 1]),
        })
    }
}

struct Measured<'a> {
    row: &'a Row,
    ours: f64,
    raw: f64,
    ratio: f64,
    spread: (f64, f64),
}

impl Measured<'_> {
    fn verdict(&self) -> &'static str {
        match self.row.floor {
            Some(floor) if self.ratio < floor => "SHORT",
            _ => "ok",
        }
    }

    fn json(&self) -> String {
        let floor = self.row.floor.map_or("null".to_owned(), |floor| floor.to_string());
        format!(
            r#"{{"row": {:?}, "unit": {:?}, "ours": {:.1}, "raw": {:.1}, "ratio": {:.3}, "least": {:.3}, "most": {:.3}, "floor": {floor}, "verdict": {:?}}}"#,
            self.row.name,
            self.row.unit,
            self.ours,
            self.raw,
            self.ratio,
            self.spread.0,
            self.spread.1,
            self.verdict()
        )
    }
}

impl std::fmt::Display for Measured<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Row { name, unit, floor, .. } = self.row;
        let floor = floor.map_or("-".to_owned(), |floor| floor.to_string());
        let (least, most) = self.spread;
        write!(
            f,
            "{name} | {:.0} {unit} | {:.0} {unit} | {:.2} ({least:.2} to {most:.2}) | {floor} | {}",
            self.ours,
            self.raw,
            self.ratio,
            self.verdict()
        )
    }
}

/// A directory of one measurement, and payloads that do not compress.
struct Workplace {
    dir: PathBuf,
    payloads: Vec<u8>,
}

impl Workplace {
    fn new() -> Outcome<Self> {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ottla-ratios-{}-{count}", std::process::id()));
        std::fs::create_dir(&dir)?;
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Ok(Self { dir, payloads: words.flatten().take(1000 * PAYLOAD).collect() })
    }

    /// A thousand payloads.
    fn payloads(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.payloads.chunks(PAYLOAD)
    }

    fn topic(&self) -> Outcome<(Broker, Topic)> {
        self.topic_with(TopicConfig::new())
    }

    fn topic_with(&self, config: TopicConfig) -> Outcome<(Broker, Topic)> {
        let broker = Broker::open(self.dir.join("data"))?;
        let topic = broker.create_topic("ratios", config)?;
        Ok((broker, topic))
    }

    fn raw(&self) -> Outcome<Raw> {
        Ok(Raw::create(&self.dir.join("raw"))?)
    }

    /// Appends `thousands` times a thousand records, and makes them durable.
    fn fill(&self, topic: &Topic, thousands: usize) -> Outcome<()> {
        let producer = topic.producer();
        for _ in 0..thousands {
            for payload in self.payloads() {
                _ = producer.send(Record::new(payload))?;
            }
        }
        Ok(producer.flush()?)
    }

    fn logs(&self) -> Outcome<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.dir.join("data/ratios-0"))?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == "log")).collect())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Runs `work` on so many threads, each so often; returns how often in a second.
fn on_threads(threads: usize, times: usize, work: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<f64> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || (0..times).try_for_each(|time| work(thread + time))))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    Ok(per_second(threads * times, start.elapsed()))
}

fn append_synced(place: &Workplace, threads: usize, times: usize) -> Outcome<f64> {
    let (_broker, topic) = place.topic()?;
    let payloads: Vec<_> = place.payloads().collect();
    on_threads(threads, times, |number| {
        topic.producer().send(Record::new(payloads[number % payloads.len()]))?.wait()?;
        Ok(())
    })
}

fn raw_append_synced(place: &Workplace, threads: usize, times: usize) -> Outcome<f64> {
    let raw = place.raw()?;
    let payloads: Vec<_> = place.payloads().collect();
    on_threads(threads, times, |number| {
        raw.append(std::iter::once(payloads[number % payloads.len()]))?;
        Ok(raw.sync()?)
    })
}

/// Written when the call returns.
fn append_os(place: &Workplace) -> Outcome<f64> {
    let (_broker, topic) = place.topic_with(TopicConfig::new().durability(Durability::Os))?;
    let producer = topic.producer();
    let start = Instant::now();
    for payload in place.payloads().cycle().take(ONES) {
        producer.send(Record::new(payload))?.wait()?;
    }
    Ok(per_second(ONES, start.elapsed()))
}

fn raw_append_os(place: &Workplace) -> Outcome<f64> {
    let raw = place.raw()?;
    let start = Instant::now();
    for payload in place.payloads().cycle().take(ONES) {
        raw.append(std::iter::once(payload))?;
    }
    Ok(per_second(ONES, start.elapsed()))
}

fn append_batches_os(place: &Workplace) -> Outcome<f64> {
    let (_broker, topic) = place.topic_with(TopicConfig::new().durability(Durability::Os))?;
    let producer = topic.producer();
    let start = Instant::now();
    for _ in 0..BATCHES {
        let records: Vec<_> = place.payloads().map(Record::new).collect();
        producer.send_batch(&records)?.wait()?;
    }
    Ok(per_second(BATCHES * 1000, start.elapsed()))
}

fn raw_append_batches_os(place: &Workplace) -> Outcome<f64> {
    let raw = place.raw()?;
    let start = Instant::now();
    for _ in 0..BATCHES {
        raw.append(place.payloads())?;
    }
    Ok(per_second(BATCHES * 1000, start.elapsed()))
}

fn append_groups(place: &Workplace) -> Outcome<f64> {
    let (_broker, topic) = place.topic()?;
    let start = Instant::now();
    for _ in 0..300 {
        place.fill(&topic, 1)?;
    }
    Ok(per_second(300 * 1000, start.elapsed()))
}

fn raw_append_groups(place: &Workplace) -> Outcome<f64> {
    let raw = place.raw()?;
    let start = Instant::now();
    for _ in 0..300 {
        raw.append(place.payloads())?;
        raw.sync()?;
    }
    Ok(per_second(300 * 1000, start.elapsed()))
}

fn scan(place: &Workplace) -> Outcome<f64> {
    let (_broker, topic) = place.topic()?;
    place.fill(&topic, 1000)?;
    let start = Instant::now();
    let (mut bytes, mut sum) = (0, 0u64);
    for batch in topic.partition(0)?.read(Start::Earliest)? {
        let batch = batch?;
        bytes += batch.size();
        sum += batch.iter().map(|record| record.value().map_or(0, |value| u64::from(value[0]))).sum::<u64>();
    }
    std::hint::black_box(sum);
    Ok(per_second(bytes, start.elapsed()))
}

fn raw_scan(place: &Workplace) -> Outcome<f64> {
    let (broker, topic) = place.topic()?;
    place.fill(&topic, 1000)?;
    broker.close(Duration::from_secs(30))?;
    let mut buffer = vec![0; 64 * 1024];
    let start = Instant::now();
    let mut bytes = 0;
    for log in place.logs()? {
        bytes += read_all(&log, &mut buffer)?;
    }
    Ok(per_second(bytes, start.elapsed()))
}

fn read_all(path: &Path, buffer: &mut [u8]) -> Outcome<usize> {
    let file = File::open(path)?;
    let mut position = 0;
    loop {
        let read = std::os::unix::fs::FileExt::read_at(&file, buffer, position)?;
        if read == 0 {
            return Ok(usize::try_from(position)?);
        }
        position += read as u64;
    }
}

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
