//! How often consumers that have nothing to do wake: `cargo bench --bench idle` (`-- --seconds N`, 60 without it).
//!
//! Sixteen members of a group, each a thread that is blocked in `poll`, and the threads of their broker. Counted is how often
//! the system has put each of the threads to sleep because it had nothing more to do.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use ottla::{Broker, Consumer, ErrorKind, TopicConfig, WakeupHandle};

const MEMBERS: u32 = 16;
const LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// Until everybody has its partitions.
const SETTLED: Duration = Duration::from_secs(2);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--seconds").skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(60), |seconds| seconds.parse())?;
    let dir = std::env::temp_dir().join(format!("ottla-idle-{}", std::process::id()));
    let counted = count(&dir, Duration::from_secs(seconds));
    std::fs::remove_dir_all(&dir)?;
    let (of_most, of_all) = counted?;
    let a_minute = |count: u64| count as f64 * 60.0 / seconds as f64;
    println!("{MEMBERS} idle members of a group, {seconds} s");
    println!("wake-ups a minute of the thread that wakes most often: {:.1}", a_minute(of_most));
    println!("wake-ups a minute of all threads of the process: {:.1}", a_minute(of_all));
    Ok(())
}

/// How often the thread that wakes most has woken, and how often all together.
fn count(dir: &Path, time: Duration) -> Outcome<(u64, u64)> {
    let broker = Broker::open(dir)?;
    broker.create_topic("idle", TopicConfig::new().partitions(MEMBERS))?;
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for _ in 0..MEMBERS {
            let consumer = broker.consumer().group("readers").subscribe(["idle"])?;
            handles.push(consumer.wakeup_handle());
            scope.spawn(|| poll(consumer));
        }
        std::thread::sleep(SETTLED);
        let before = sleeps()?;
        std::thread::sleep(time);
        let after = sleeps()?;
        handles.iter().for_each(WakeupHandle::wake);
        let counts = after.iter().map(|(thread, count)| {
            let known = before.iter().find(|(known, _)| known == thread);
            count - known.map_or(0, |(_, count)| *count)
        });
        Ok((counts.clone().max().unwrap_or(0), counts.sum()))
    })
}

fn poll(mut consumer: Consumer) {
    loop {
        match consumer.poll(LONG) {
            Ok(records) => assert!(records.is_empty(), "nothing was sent"),
            Err(error) if error.kind() == ErrorKind::Wakeup => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// By thread, how often it has gone to sleep by itself; without this one, which sleeps on purpose.
fn sleeps() -> Outcome<Vec<(String, u64)>> {
    let mut counts = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?;
        let id = task.file_name().to_string_lossy().into_owned();
        let status = std::fs::read_to_string(task.path().join("status"))?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let count = count.ok_or("the system does not count them")?.trim().parse()?;
        if id != std::process::id().to_string() {
            counts.push((id, count));
        }
    }
    Ok(counts)
}
