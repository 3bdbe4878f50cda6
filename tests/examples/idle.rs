//! How often an idle broker wakes: the context switches of all threads of the process, in a minute.
//!
//! `idle [SECONDS] [DIR]` takes 60 seconds, and a directory below the system's temporary one, which it removes. The time
//! in which the broker comes to rest is not counted: Kafka's checkpoints are written up to a minute after the last
//! append, so it waits for 75 seconds before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ottla::{Broker, Durability, Record, TopicConfig};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How long the last chore takes to come, and some more.
const REST: Duration = Duration::from_secs(75);
/// What the project promises.
const TARGET: f64 = 10.0;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let seconds = arguments.next().map_or(Ok(60), |seconds| seconds.to_string_lossy().parse());
    let Ok(seconds @ 1..) = seconds else {
        eprintln!("usage: idle [SECONDS] [DIR]");
        return ExitCode::from(2);
    };
    let default = || std::env::temp_dir().join(format!("ottla-idle-{}", std::process::id()));
    let dir = arguments.next().map_or_else(default, PathBuf::from);
    let outcome = measure(&dir, Duration::from_secs(seconds));
    _ = fs::remove_dir_all(&dir);
    match outcome {
        Ok(wakes) if wakes < TARGET => ExitCode::SUCCESS,
        Ok(wakes) => {
            eprintln!("{wakes:.1} a minute are more than {TARGET}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the wake-ups a minute.
fn measure(dir: &Path, period: Duration) -> Outcome<f64> {
    let broker = Broker::open(dir)?;
    let interval = Durability::Interval(Duration::from_millis(50));
    for (name, durability) in [("synced", Durability::Synced), ("interval", interval), ("os", Durability::Os)]
    {
        let config = TopicConfig::new().partitions(4).durability(durability);
        let producer = broker.create_topic(name, config)?.producer();
        for partition in 0..4 {
            // Led by the sender, and by the broker's threads.
            producer.send(Record::new("a").partition(partition))?.wait()?;
            let delivery = producer.send(Record::new("b").partition(partition))?;
            delivery.wait_timeout(Duration::from_secs(10))?;
        }
    }
    println!("appended to 12 partitions; {} threads; waiting for rest", switches()?.len());
    pass(REST);

    let (before, began) = (switches()?, Instant::now());
    pass(period);
    let (after, took) = (switches()?, began.elapsed());
    let mut sum = 0;
    for (thread, (name, count)) in &after {
        let woken = count - before.get(thread).map_or(0, |(_, count)| *count);
        println!("  {name:<16} {woken:>5} switches");
        // The one that measures wakes once itself.
        sum += if *thread == std::process::id() { woken.saturating_sub(1) } else { woken };
    }
    let wakes = sum as f64 * 60.0 / took.as_secs_f64();
    println!("{sum} wake-ups in {:.0} s: {wakes:.1} a minute", took.as_secs_f64());
    broker.close(Duration::from_secs(10))?;
    Ok(wakes)
}

/// Returns once so much time has passed; wakes once, at its end.
fn pass(period: Duration) {
    let until = Instant::now() + period;
    loop {
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => std::thread::park_timeout(left),
            _ => return,
        }
    }
}

/// The context switches, of both kinds, of each thread of the process, with its name.
fn switches() -> Outcome<BTreeMap<u32, (String, u64)>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let dir = entry?.path();
        let thread = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().parse()?;
        let status = fs::read_to_string(dir.join("status"))?;
        let field = |name: &str| {
            let mut lines = status.lines().filter_map(|line| line.split_once(':'));
            lines.find(|line| line.0 == name).map_or("", |line| line.1.trim()).to_owned()
        };
        let count = |name: &str| field(name).parse::<u64>();
        let both = count("voluntary_ctxt_switches")? + count("nonvoluntary_ctxt_switches")?;
        threads.insert(thread, (field("Name"), both));
    }
    Ok(threads)
}
