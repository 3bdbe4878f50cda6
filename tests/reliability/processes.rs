//! One writer: second processes, second handles, forks, holders that are killed, and holders that take their time.
//!
//! Whoever has the directory locks a file beside it, in another way, which nobody else may have locked then, and writes
//! records that name him: in the log those of one turn stand together.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use ottla::{Broker, ErrorKind, Record, Start, Topic, TopicConfig};

use crate::child::{self, Child, argument, listen, tell};
use crate::dice::{Dice, seed};
use crate::figures::Figures;
use crate::posix::{self, Pid};
use crate::runner::Size;
use crate::scratch::Scratch;
use crate::seeded::Seeded;

pub const CONTENDER: child::Role = ("contender", contend);
pub const HOLDER: child::Role = ("holder", hold);
pub const FORKER: child::Role = ("forker", fork);

const TIMEOUT: Duration = Duration::from_secs(60);

pub fn run(size: Size) -> Figures {
    let _recipe = Seeded::new("processes");
    let mut figures = Figures::new();
    contenders(size.of(10, 150, 600), &mut figures);
    handles(size.of(10, 200, 1000), &mut figures);
    for round in 0..size.of(1u32, 10, 40) {
        killed_holder(round.is_multiple_of(2), &mut figures);
        slow_close(&mut figures);
        forked_holder(&mut figures);
    }
    figures.add("double writers", 0);
    figures
}

fn topic(broker: &Broker) -> Topic {
    broker.ensure_topic("t", TopicConfig::new().segment_bytes(16 * 1024)).unwrap()
}

fn append(topic: &Topic, value: &str) {
    topic.producer().send(Record::new(value)).unwrap().wait().unwrap();
}

fn values(broker: &Broker) -> Vec<String> {
    let batches = topic(broker).partition(0).unwrap().read(Start::Earliest).unwrap();
    let values = |batch: ottla::Result<ottla::RecordBatch>| -> Vec<_> {
        batch.unwrap().iter().map(|it| String::from_utf8(it.value().unwrap().to_vec()).unwrap()).collect()
    };
    batches.flat_map(values).collect()
}

fn options() -> ottla::BrokerOptions {
    Broker::options().reserve_bytes(0)
}

/// Tries to open until it is killed; whenever it has, it appends, and closes again.
fn contend(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    let me = std::process::id();
    let [mark, queue] = ["mark", "queue"]
        .map(|name| File::options().create(true).append(true).open(dir.with_file_name(name)).unwrap());
    for turn in 0u32.. {
        let broker = match options().open(dir) {
            Ok(broker) => broker,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
                // Until whoever has it lets go.
                queue.lock_shared().unwrap();
                queue.unlock().unwrap();
                continue;
            }
        };
        // Of a process that dies this lock goes before the broker's, so that nobody who has that one finds it taken.
        assert!(posix::set_process_lock(&mark, true), "a second writer");
        queue.lock().unwrap();
        let topic = topic(&broker);
        for number in 0..1 + turn % 7 {
            append(&topic, &format!("{me}.{turn} {number}"));
            tell(&format!("appended {me}.{turn} {number}"));
        }
        posix::set_process_lock(&mark, false);
        queue.unlock().unwrap();
        if turn.is_multiple_of(2) {
            broker.close(TIMEOUT).unwrap();
        }
    }
}

/// Several at once, killed one after the other.
fn contenders(kills: u32, figures: &mut Figures) {
    let scratch = Scratch::in_memory("processes");
    let data = scratch.data();
    let mut dice = Dice::new(seed());
    let mut told = Vec::new();
    let start = || Child::start(CONTENDER.0, &[argument(&data)]);
    let mut children: Vec<_> = (0..3).map(|_| start()).collect();
    for _ in 0..kills {
        let victim = usize::try_from(dice.below(children.len() as u64)).unwrap();
        for _ in 0..dice.below(12) {
            told.push(children[victim].line().expect("it lives"));
        }
        end(std::mem::replace(&mut children[victim], start()), &mut told);
        figures.add("contenders killed", 1);
    }
    children.into_iter().for_each(|child| end(child, &mut told));

    let broker = options().open(&data).unwrap();
    let found = values(&broker);
    broker.close(TIMEOUT).unwrap();
    let appended: Vec<_> = told.iter().filter_map(|line| line.strip_prefix("appended ")).collect();
    let there: BTreeSet<_> = found.iter().map(String::as_str).collect();
    assert_eq!(there.len(), found.len(), "a record stands there twice");
    let lost: Vec<_> = appended.iter().filter(|line| !there.contains(*line)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    figures.add("turns", assert_together(&found));
    figures.add("acknowledged records checked", appended.len() as u64);
}

fn end(mut child: Child, told: &mut Vec<String>) {
    child.kill();
    told.extend(std::iter::from_fn(|| child.line()));
    child.wait();
}

/// The records of one turn stand together; returns how many turns there were.
fn assert_together(found: &[String]) -> u64 {
    let names: Vec<_> = found.iter().map(|value| value.split(' ').next().unwrap()).collect();
    let runs = names.chunk_by(|one, other| one == other).count();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(runs, distinct.len(), "two have written at the same time");
    runs as u64
}

/// Threads of one process open the directory at once, under several names: one of them gets it.
fn handles(rounds: u32, figures: &mut Figures) {
    const THREADS: usize = 4;
    let scratch = Scratch::in_memory("handles");
    let (data, link) = (scratch.data(), scratch.path().join("link"));
    drop(options().open(&data).unwrap());
    std::os::unix::fs::symlink(&data, &link).unwrap();
    let before = leaks();
    let begin = Barrier::new(THREADS);
    for round in 0..rounds {
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = |thread: usize| {
                let path = if thread.is_multiple_of(2) { &data } else { &link };
                begin.wait();
                options().open(path)
            };
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || open(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let holders = opened.iter().filter(|opened| opened.is_ok()).count();
        assert_eq!(holders, 1, "round {round}: {opened:?}");
        for error in opened.iter().filter_map(|opened| opened.as_ref().err()) {
            assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
        }
        figures.add("second handles refused", THREADS as u64 - 1);
    }
    assert_eq!(leaks(), before, "descriptors and threads of brokers that were closed");
}

/// How many descriptors and threads this process has.
fn leaks() -> (usize, usize) {
    let count = |what: &str| std::fs::read_dir(what).map_or(0, Iterator::count);
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// Opens, appends, and does what it is told.
fn hold(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    let broker = options().open(dir).unwrap();
    let topic = topic(&broker);
    append(&topic, "holder");
    // A program that it runs has none of its files.
    let mut bystander = Command::new("sleep");
    let mut bystander = bystander.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    tell(&format!("holds {}", bystander.id()));
    while let Some(word) = listen() {
        match word.as_str() {
            "close" => {
                // So much is to be written and synced that it takes its time.
                for _ in 0..2000 {
                    _ = topic.producer().send(Record::new(&[b'x'; 9000])).unwrap();
                }
                tell("closing");
                broker.close(TIMEOUT).unwrap();
                tell("closed");
            }
            word => panic!("{word}"),
        }
    }
    _ = bystander.kill();
    _ = bystander.wait();
}

fn refused(data: &Path, holder: Pid) {
    let error = options().open(data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
    assert!(error.is_retriable() && error.to_string().contains(&format!("process {holder}")), "{error}");
}

/// Opens as soon as it may be opened; nobody says when.
fn open_at_last(data: &Path) -> Broker {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match options().open(data) {
            Ok(broker) => return broker,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
                assert!(Instant::now() < deadline, "it stays locked: {error}");
                std::thread::yield_now();
            }
        }
    }
}

/// The lock goes with its holder, though a program lives on that the holder has started.
fn killed_holder(is_stopped: bool, figures: &mut Figures) {
    let scratch = Scratch::in_memory("holder");
    let mut child = Child::start(HOLDER.0, &[argument(&scratch.data())]);
    let said = child.line().unwrap();
    let bystander: Pid = said.strip_prefix("holds ").unwrap().parse().unwrap();
    refused(&scratch.data(), child.pid());
    if is_stopped {
        // Whoever stands still holds it still.
        posix::signal(child.pid(), libc::SIGSTOP);
        refused(&scratch.data(), child.pid());
    }
    child.kill();
    child.wait();
    let broker = options().open(scratch.data()).unwrap();
    assert!(!broker.recovery_report().is_clean());
    assert_eq!(values(&broker), ["holder"]);
    assert!(posix::is_alive(bystander), "it was to outlive the holder");
    posix::signal(bystander, libc::SIGKILL);
    figures.add("holders killed", 1);
}

/// Who is closing has it until he is done, however long that takes.
fn slow_close(figures: &mut Figures) {
    let scratch = Scratch::in_memory("slow");
    let mut child = Child::start(HOLDER.0, &[argument(&scratch.data())]);
    child.line().unwrap();
    child.say("close");
    child.expect("closing");
    posix::signal(child.pid(), libc::SIGSTOP);
    // It stands still somewhere on its way; what it has not given up yet nobody gets.
    if let Err(error) = options().create_if_missing(false).open(scratch.data()) {
        assert_eq!(error.kind(), ErrorKind::DirectoryInUse, "{error}");
        figures.add("refused by a slow close", 1);
    }
    posix::signal(child.pid(), libc::SIGCONT);
    let broker = open_at_last(&scratch.data());
    let found = values(&broker);
    // Not one of them was acknowledged, and each is there: closing is in order.
    assert_eq!(found.len(), 2001);
    broker.close(TIMEOUT).unwrap();
    child.expect("closed");
}

/// A holder forks: the child can do nothing with it, and keeps the lock until it goes, too.
fn fork(arguments: &[String]) {
    let dir = Path::new(&arguments[0]);
    // Without threads, so that it may fork.
    let broker = options().background(false).open(dir).unwrap();
    let topic = topic(&broker);
    append(&topic, "parent");
    let child = posix::fork(|| {
        posix::die_with_parent();
        let error = topic.producer().send(Record::new("child")).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ForkedProcess, "{error}");
        tell("forked");
        i32::from(listen().is_some())
    });
    append(&topic, "parent");
    tell(&format!("forks {child}"));
    assert_eq!(posix::wait(child), 0);
    tell("child is gone");
    append(&topic, "parent");
    broker.close(TIMEOUT).unwrap();
}

fn forked_holder(figures: &mut Figures) {
    let scratch = Scratch::in_memory("fork");
    let mut parent = Child::start(FORKER.0, &[argument(&scratch.data())]);
    let mut said = BTreeSet::new();
    while said.len() < 2 {
        said.insert(parent.line().expect("both live").split(' ').next().unwrap().to_owned());
    }
    refused(&scratch.data(), parent.pid());
    parent.close_input();
    parent.expect("child is gone");
    let broker = open_at_last(&scratch.data());
    assert_eq!(values(&broker), ["parent"; 3]);
    figures.add("forks", 1);
}
