//! Segments of Kafka's that are lost after an adoption: whoever looks at the directory says so, and nobody takes it for what
//! compaction has left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::Severity;
use ottla::internals::{
    MemoryVfs, Vfs, hand_over_on, open_on, open_read_only_on, salvage_on, undo_adoption_on, verify_on,
};
use ottla::{Error, HandOver, Isolation, Piece, Start};

use crate::adopting::batches;
use crate::kafka_fixtures::Read;
use crate::salvaging::{OUT, kafkas};
use crate::support::{ROOT, options, tree};
use crate::verifying::{content, files, path, replace};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The directory of a Kafka broker, adopted, and closed in order.
fn adopted(dir: &str) -> MemoryVfs {
    let vfs = kafkas(dir);
    let broker = open_on(options().adopt(true), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    broker.close(TIMEOUT).unwrap();
    vfs
}

/// What is done to a segment.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Its log is removed.
    Log,
    /// All of its files are.
    Segment,
    /// Its log is cut to this length.
    Cut(usize),
}

impl Harm {
    /// Every one that leaves nothing but whole batches.
    fn all(log: &[u8]) -> Vec<Self> {
        [Self::Log, Self::Segment].into_iter().chain(batches(log).into_iter().map(Self::Cut)).collect()
    }

    fn does(self, vfs: &MemoryVfs, log: &str) {
        match self {
            Self::Log => vfs.remove_file(&path(log)).unwrap(),
            Self::Cut(len) => replace(vfs, log, &content(vfs, log)[..len]),
            Self::Segment => {
                let stem = log.strip_suffix(".log").unwrap();
                for name in files(vfs).iter().filter(|name| name.starts_with(stem)) {
                    vfs.remove_file(&path(name)).unwrap();
                }
            }
        }
    }
}

/// The logs of an adopted directory in which Kafka has written something.
fn kafkas_logs(vfs: &MemoryVfs) -> Vec<String> {
    let logs = files(vfs).into_iter().filter(|name| name.contains('/') && name.ends_with(".log"));
    logs.filter(|name| !content(vfs, name).is_empty()).collect()
}

fn partition_of(log: &str) -> (String, u32) {
    let (topic, partition) = log.split_once('/').unwrap().0.rsplit_once('-').unwrap();
    (topic.to_owned(), partition.parse().unwrap())
}

fn assert_damage(error: &Error, log: &str, what: &str) {
    let (topic, partition) = partition_of(log);
    assert!(error.is_corruption(), "{what}: {error}");
    assert_eq!(
        (error.topic(), error.partition()),
        (Some(topic.as_str()), Some(partition)),
        "{what}: {error}"
    );
    assert!(error.file().is_some() && error.offset().is_some(), "{what}: {error}");
}

/// Opening fails, and with damage isolated the other partitions are there.
fn assert_opening_tells(vfs: &MemoryVfs, log: &str, what: &str) {
    let open = |options| open_on(options, Arc::new(vfs.fork()), Path::new(ROOT));
    assert_damage(&open(options()).unwrap_err(), log, what);
    let broker = open(options().isolate_damage(true)).unwrap();
    for topic in broker.topics().unwrap() {
        for partition in topic.partitions() {
            let is_harmed = partition_of(log) == (topic.name().to_owned(), partition.id());
            let read = Read::all(&partition, Isolation::ReadUncommitted);
            let error = read.map_or_else(Some, |read| read.error);
            assert_eq!(error.is_some(), is_harmed, "{what}: {} {error:?}", topic.name());
        }
    }
}

/// A reader that only reads comes to a gap.
fn assert_reading_tells(vfs: &MemoryVfs, log: &str, what: &str) {
    let (topic, partition) = partition_of(log);
    let broker = open_read_only_on(Arc::new(vfs.fork()), Path::new(ROOT)).unwrap();
    let partition = broker.topic(&topic).unwrap().partition(partition).unwrap();
    let mut pieces = partition.read(Start::Earliest).unwrap();
    let is_told = pieces.any(|piece| piece.map_or(true, |piece| matches!(piece, Piece::Gap(_))));
    assert!(is_told, "{what}: it is read over");
}

fn assert_inspecting_tells(vfs: &MemoryVfs, log: &str, what: &str) {
    let fork = Arc::new(vfs.fork());
    let verified = verify_on(fork.clone(), Path::new(ROOT)).unwrap().findings;
    let left = salvage_on(fork, Path::new(ROOT), Path::new(OUT)).unwrap().left;
    for (findings, who) in [(verified, "verify"), (left, "salvage")] {
        let is_it = |partition: &(String, u32)| *partition == partition_of(log);
        let damages = findings.iter().filter(|finding| finding.severity == Severity::Damage);
        let (of_it, others): (Vec<_>, Vec<_>) =
            damages.partition(|damage| damage.partition.as_ref().is_some_and(is_it));
        assert!(others.is_empty(), "{what}, {who}: {others:#?}");
        assert!(of_it.iter().any(|damage| damage.offsets.is_some()), "{what}, {who}: {of_it:#?}");
    }
}

/// What would give away what is left is refused, and has changed nothing.
fn assert_giving_away_is_refused(vfs: &MemoryVfs, log: &str, what: &str) {
    let fork = vfs.fork();
    let before = tree(&fork, Path::new(ROOT));
    let undone = undo_adoption_on(options(), Arc::new(fork.clone()), Path::new(ROOT));
    assert_damage(&undone.unwrap_err(), log, what);
    let (topic, _) = partition_of(log);
    if !topic.starts_with("__") {
        let hand_over = HandOver::new(&topic).from(ROOT).to("/kafka").give_up(true);
        assert_damage(&hand_over_on(hand_over, Arc::new(fork.clone())).unwrap_err(), log, what);
    }
    let mut after = tree(&fork, Path::new(ROOT));
    // Whoever looks takes the lock.
    after.retain(|path, _| before.contains_key(path));
    assert!(before == after, "{what}: something was changed");
}

fn assert_all_tell(dir: &str) {
    let vfs = adopted(dir);
    for log in kafkas_logs(&vfs) {
        for harm in Harm::all(&content(&vfs, &log)) {
            let (harmed, what) = (vfs.fork(), format!("{dir}/{log}, {harm:?}"));
            harm.does(&harmed, &log);
            assert_opening_tells(&harmed, &log, &what);
            assert_reading_tells(&harmed, &log, &what);
            assert_inspecting_tells(&harmed, &log, &what);
            assert_giving_away_is_refused(&harmed, &log, &what);
        }
    }
}

#[test]
fn whatever_is_lost_of_what_a_stopped_broker_wrote_is_told() {
    assert_all_tell("stopped");
}

#[test]
fn whatever_is_lost_of_what_a_killed_broker_wrote_is_told() {
    assert_all_tell("killed");
}

#[test]
fn what_was_not_harmed_is_sound() {
    for dir in ["stopped", "killed"] {
        let vfs = adopted(dir);
        let verified = verify_on(Arc::new(vfs.fork()), Path::new(ROOT)).unwrap();
        assert!(verified.is_sound(), "{dir}: {:#?}", verified.findings);
        let broker = open_on(options(), Arc::new(vfs.fork()), Path::new(ROOT)).unwrap();
        let notes: Vec<_> = broker.recovery_report().notes().collect();
        assert!(!notes.iter().any(|note| note.contains("earlier version")), "{dir}: {notes:?}");
    }
}

/// What lies before the beginning of the log may go at any time.
#[test]
fn what_readers_do_not_see_is_not_lost() {
    let vfs = kafkas("stopped");
    let starts = "log-start-offset-checkpoint";
    let text = String::from_utf8(content(&vfs, starts)).unwrap();
    let mut lines: Vec<_> = text.lines().skip(2).filter(|line| !line.starts_with("segments ")).collect();
    lines.push("segments 0 85");
    replace(&vfs, starts, format!("0\n{}\n{}\n", lines.len(), lines.join("\n")).as_bytes());
    let broker = open_on(options().adopt(true), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    broker.close(TIMEOUT).unwrap();
    Harm::Segment.does(&vfs, "segments-0/00000000000000000000.log");
    Harm::Segment.does(&vfs, "segments-0/00000000000000000040.log");
    let verified = verify_on(Arc::new(vfs.fork()), Path::new(ROOT)).unwrap();
    assert!(verified.is_sound(), "{:#?}", verified.findings);
    open_on(options(), Arc::new(vfs.fork()), Path::new(ROOT)).unwrap();
    let salvaged = salvage_on(Arc::new(vfs.fork()), Path::new(ROOT), Path::new(OUT)).unwrap();
    assert!(salvaged.left.is_empty(), "{:#?}", salvaged.left);
    undo_adoption_on(options(), Arc::new(vfs.fork()), Path::new(ROOT)).unwrap();
}

/// An earlier version has noted nothing; the directory opens, with a note.
#[test]
fn without_the_lines_the_report_says_so() {
    let vfs = adopted("stopped");
    let text = String::from_utf8(content(&vfs, "ottla.manifest")).unwrap();
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("segments ") && !line.starts_with("crc32 "))
        .flat_map(|line| [line, "\n"])
        .collect();
    let crc = crc32fast::hash(body.as_bytes());
    replace(&vfs, "ottla.manifest", format!("{body}crc32 {crc:08x}\n").as_bytes());
    let broker = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let notes: Vec<_> = broker.recovery_report().notes().collect();
    assert!(notes.iter().any(|note| note.contains("earlier version")), "{notes:?}");
}
