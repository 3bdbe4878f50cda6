//! A worker pool over a durable log: threads share the jobs of a topic, and a restart goes on where they were.
//!
//! `cargo run --release -p ottla --example worker_pool`
//!
//! Each worker is a consumer of one group, which gives it partitions of its own. It commits behind its work, so that a job
//! is done at least once: one that was done, and not committed when the process died, is done again. A worker that is slow
//! reads later, and takes no memory for what waits: that lies in the log. More workers than partitions have nothing to do.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla::{Broker, Consumer, ErrorKind, GroupPartition, Record, TopicConfig, WakeupHandle};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const WORKERS: usize = 4;
const PARTITIONS: u32 = 8;
const JOBS: u32 = 2000;
/// How many jobs a worker takes at once: what it holds in memory, and what is done again at the worst.
const AT_ONCE: usize = 50;

/// What was done, and how often: a service sends mails, or calls somebody.
#[derive(Default)]
struct Done {
    jobs: Mutex<BTreeMap<u32, u32>>,
    count: AtomicUsize,
}

impl Done {
    fn work(&self, job: Option<&[u8]>) -> Outcome<()> {
        let job = u32::from_be_bytes(job.unwrap_or_default().try_into()?);
        *self.jobs.lock().unwrap().entry(job).or_default() += 1;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Works until it is woken, or until `enough` says so; returns how many jobs it has done.
fn run(mut consumer: Consumer, done: &Done, enough: impl Fn(&Done) -> bool) -> Outcome<usize> {
    let mut count = 0;
    while !enough(done) {
        let records = match consumer.poll(Duration::from_secs(60)) {
            Err(error) if error.kind() == ErrorKind::Wakeup => break,
            polled => polled?,
        };
        for record in &records {
            done.work(record.value())?;
            count += 1;
        }
        match consumer.commit() {
            Ok(()) => {}
            // It has taken too long: others have its jobs by now, and the next poll joins again.
            Err(error) if error.kind() == ErrorKind::UnknownMemberId => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(count) // and dropping the consumer leaves the group: others take over what it had
}

/// As many workers as there are to be, until all of them were woken or have had enough.
fn pool(broker: &Broker, done: &Done, enough: impl Fn(&Done) -> bool + Sync) -> Outcome<Vec<usize>> {
    let consumer = || broker.consumer().group("mailing").max_poll_records(AT_ONCE).subscribe(["jobs"]);
    let consumers = (0..WORKERS).map(|_| consumer()).collect::<Result<Vec<_>, _>>()?;
    let handles: Vec<WakeupHandle> = consumers.iter().map(Consumer::wakeup_handle).collect();
    // The first one that has had enough sends the others home: they may wait for jobs that do not come.
    let stop = || handles.iter().for_each(WakeupHandle::wake);
    std::thread::scope(|scope| {
        let start = |consumer| {
            scope.spawn(|| {
                let worked = run(consumer, done, &enough);
                stop();
                worked
            })
        };
        let workers: Vec<_> = consumers.into_iter().map(start).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
    })
}

fn main() -> Outcome<()> {
    let dir = std::env::temp_dir().join(format!("ottla-worker-pool-{}", std::process::id()));
    let done = Done::default();

    println!("The first life: {JOBS} jobs, and {WORKERS} workers that are stopped half-way.");
    let broker = Broker::open(&dir)?;
    let jobs = broker.ensure_topic("jobs", TopicConfig::new().partitions(PARTITIONS))?;
    let producer = jobs.producer();
    for job in 0..JOBS {
        _ = producer.send(Record::new(&job.to_be_bytes()).partition(job % PARTITIONS))?;
    }
    producer.flush()?; // on stable storage
    let half = JOBS as usize / 2;
    let shares = pool(&broker, &done, |done| done.count.load(Ordering::Relaxed) >= half)?;
    println!("  They have done {shares:?}.");
    drop((jobs, producer));
    broker.close(Duration::from_secs(10))?;

    println!("The second life: the same group goes on behind what was committed.");
    let broker = Broker::open(&dir)?;
    let lag = |broker: &Broker| -> Outcome<u64> {
        let group = broker.describe_group("mailing")?;
        Ok(group.partitions().iter().filter_map(GroupPartition::lag).sum())
    };
    println!("  {} jobs wait.", lag(&broker)?);
    let shares = pool(&broker, &done, |done| done.jobs.lock().unwrap().len() == JOBS as usize)?;
    println!("  They have done {shares:?}, and {} jobs wait.", lag(&broker)?);
    print!("{}", broker.describe_group("mailing")?);
    broker.close(Duration::from_secs(10))?;

    let jobs = done.jobs.into_inner()?;
    assert_eq!(jobs.len(), JOBS as usize); // each at least once
    println!(
        "{} of {JOBS} jobs were done more than once.",
        jobs.values().filter(|times| **times > 1).count()
    );
    Ok(std::fs::remove_dir_all(&dir)?)
}
