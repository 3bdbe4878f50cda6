//! A roll: what is made ready before it, what it waits for, and what follows it.

use std::io::ErrorKind::{Other, StorageFull};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::inspect::FindingKind;
use ottla::internals::{
    CrashProfile, EntryKind, MemoryVfs, OpenMode, Vfs, open_on, open_ticked_on, verify_on,
};
use ottla::{Broker, Durability, ErrorKind, Record, Topic, TopicConfig};

use crate::support::{ROOT, ScriptedVfs, options, send_all, values};

const TIMEOUT: Duration = Duration::from_secs(10);
const FIRST: &str = "00000000000000000000.log";
const FIRST_TIMES: &str = "00000000000000000000.timeindex";
const SECOND: &str = "00000000000000000001.log";
/// The next log before it has its name.
const NEXT: &str = "next-segment.tmp";

struct Place {
    vfs: Arc<ScriptedVfs>,
    broker: Broker,
    topic: Topic,
}

impl Place {
    /// A record of 700 bytes, with which the next roll is near.
    fn near_its_end(level: Durability) -> Self {
        let vfs = ScriptedVfs::new();
        let broker = open_ticked_on(options(), Arc::clone(&vfs) as Arc<dyn Vfs>, Path::new(ROOT)).unwrap();
        let topic = broker.create_topic("t", config(level)).unwrap();
        send_all(&topic, [[1; 700]]).unwrap();
        vfs.take_calls();
        Self { vfs, broker, topic }
    }

    /// The same, and the next log is made.
    fn made_ready(level: Durability) -> Self {
        let place = Self::near_its_end(level);
        place.broker.tick().unwrap();
        assert!(place.has_next());
        place.vfs.take_calls();
        place
    }

    fn has_next(&self) -> bool {
        has_next(self.vfs.memory())
    }

    /// The calls of an append that rolls.
    fn roll(&self) -> Vec<String> {
        send_all(&self.topic, [[2; 700]]).unwrap();
        assert!(self.found() == [[1; 700], [2; 700]]);
        self.vfs.take_calls()
    }

    fn found(&self) -> Vec<Vec<u8>> {
        values(&self.topic.partition(0).unwrap()).unwrap()
    }

    /// The calls of a reader.
    fn read(&self) -> Vec<String> {
        assert_eq!(self.found().len(), 2);
        self.vfs.take_calls()
    }

    /// The segment and the offset of the proven end.
    fn proven(&self) -> (u64, u64) {
        let ends = self.vfs.content("ottla.ends");
        let number = |at: usize| u64::from_be_bytes(ends[at..at + 8].try_into().unwrap());
        let newest =
            [4096, 8192].into_iter().filter(|at| ends.len() > *at).max_by_key(|at| number(at + 8)).unwrap();
        (number(newest + 48), number(newest + 56))
    }
}

fn config(level: Durability) -> TopicConfig {
    TopicConfig::new().segment_bytes(1024).durability(level)
}

fn has_next(vfs: &MemoryVfs) -> bool {
    vfs.kind(&Path::new(ROOT).join("t-0").join(NEXT)).unwrap() == Some(EntryKind::File)
}

/// They are there, in this order.
#[track_caller]
fn assert_order(calls: &[String], wanted: &[&str]) {
    let at = |wanted: &&str| {
        calls.iter().position(|call| call == wanted).unwrap_or_else(|| panic!("no {wanted:?} in {calls:#?}"))
    };
    assert!(wanted.iter().map(at).is_sorted(), "{calls:#?}");
}

fn is_there(calls: &[String], wanted: &str) -> bool {
    calls.iter().any(|call| call.starts_with(wanted))
}

#[test]
fn the_next_log_is_made_where_a_roll_is_near_and_not_before() {
    for level in [Durability::Synced, Durability::Os] {
        let vfs = ScriptedVfs::new();
        let broker = open_ticked_on(options(), Arc::clone(&vfs) as Arc<dyn Vfs>, Path::new(ROOT)).unwrap();
        let topic = broker.create_topic("t", config(level)).unwrap();
        let mut made = Vec::new();
        for _ in 0..8 {
            send_all(&topic, [[0; 100]]).unwrap();
            vfs.take_calls();
            broker.tick().unwrap();
            made.push(is_there(&vfs.take_calls(), &format!("create {NEXT}")));
        }
        // A record of 100 bytes takes 171: the fifth comes into the last quarter, and the sixth rolls. A roll that waits
        // for no sync gains nothing by it.
        let is_made = level == Durability::Synced;
        assert_eq!(made, [false, false, false, false, is_made, false, false, false], "{level}");
    }
}

#[test]
fn the_roll_of_a_synced_topic_names_the_log_that_was_made_and_leaves_the_indexes_for_later() {
    let place = Place::near_its_end(Durability::Synced);
    place.broker.tick().unwrap();
    let calls = place.vfs.take_calls();
    assert_order(&calls, &[&format!("create {NEXT}"), &format!("allocate {NEXT}")]);
    assert!(!is_there(&calls, "sync next") && !is_there(&calls, "sync_dir"), "{calls:#?}");

    let calls = place.roll();
    let order = [
        &format!("set_len {FIRST}"),
        &format!("sync {FIRST}"),
        &format!("rename to {SECOND}"),
        "sync_dir t-0",
        &format!("write {SECOND}"),
        &format!("sync {SECOND}"),
        "write ottla.ends",
    ];
    assert_order(&calls, &order.map(AsRef::as_ref));
    for other in ["create ", "allocate ", &format!("sync {FIRST_TIMES}")] {
        assert!(!is_there(&calls, other), "{other}: {calls:#?}");
    }
    assert_eq!(place.proven(), (0, 1), "nothing is proven behind indexes that are not synced");
    place.broker.tick().unwrap();
    let calls = place.vfs.take_calls();
    assert_order(&calls, &[&format!("sync {FIRST_TIMES}"), "write ottla.ends"]);
    assert!(!is_there(&calls, &format!("sync {SECOND}")), "its errors are the leader's: {calls:#?}");
    assert_eq!(place.proven(), (1, 2));
    assert!(is_there(&place.read(), &format!("map {FIRST}")));
}

#[test]
fn the_roll_of_an_os_topic_makes_its_log_and_syncs_nothing() {
    let place = Place::near_its_end(Durability::Os);
    let calls = place.roll();
    assert_order(&calls, &[&format!("create {SECOND}"), &format!("write {SECOND}")]);
    assert!(!is_there(&calls, "sync"), "{calls:#?}");
    place.broker.tick().unwrap();
    let calls = place.vfs.take_calls();
    let order =
        [&format!("sync {FIRST}"), &format!("sync {FIRST_TIMES}"), "sync_dir t-0", &format!("sync {SECOND}")];
    assert_order(&calls, &order.map(AsRef::as_ref));
    assert_eq!(place.proven(), (1, 2));
}

/// Whatever stands in the way of making it ready, the roll goes as it would have without.
#[test]
fn a_next_log_that_cannot_be_made_or_named_is_made_by_the_roll() {
    for (call, kind) in
        [("create", Other), ("create", StorageFull), ("allocate", StorageFull), ("allocate", Other)]
    {
        let place = Place::near_its_end(Durability::Synced);
        place.vfs.fail(&format!("{call} {NEXT}"), 0, kind);
        place.broker.tick().unwrap();
        assert!(!place.has_next(), "{call}: it keeps no space from the records");
        let calls = place.roll();
        assert!(is_there(&calls, &format!("create {SECOND}")), "{calls:#?}");
        place.broker.close(TIMEOUT).unwrap();
    }
    let place = Place::made_ready(Durability::Synced);
    place.vfs.fail_once(&format!("rename to {SECOND}"), 0, Other);
    assert!(is_there(&place.roll(), &format!("create {SECOND}")));
    place.broker.close(TIMEOUT).unwrap();
    assert!(!place.has_next());
    assert!(place.vfs.open_broker().unwrap().recovery_report().is_clean());
}

#[test]
fn a_next_log_that_a_killed_process_has_left_is_gone_with_the_next_opening() {
    let vfs = MemoryVfs::new();
    let open = |vfs: &MemoryVfs| open_ticked_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let broker = open(&vfs);
    let topic = broker.create_topic("t", config(Durability::Synced)).unwrap();
    send_all(&topic, [[1; 700]]).unwrap();
    broker.tick().unwrap();
    assert!(has_next(&vfs));
    std::mem::forget((broker, topic));

    let vfs = vfs.restart();
    let broker = open(&vfs);
    assert!(!has_next(&vfs));
    assert_eq!(broker.recovery_report().partitions().len(), 0, "nothing of it is a record");
    let topic = broker.topic("t").unwrap();
    send_all(&topic, [[2; 700]]).unwrap();
    assert!(values(&topic.partition(0).unwrap()).unwrap() == [[1; 700], [2; 700]]);
    broker.close(TIMEOUT).unwrap();
}

#[test]
fn closing_leaves_nothing_but_segments() {
    let place = Place::made_ready(Durability::Synced);
    place.broker.close(TIMEOUT).unwrap();
    let entries = place.vfs.memory().read_dir(&Path::new(ROOT).join("t-0")).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    let first = ["index", "log", "timeindex"].map(|suffix| format!("{:020}.{suffix}", 0));
    assert_eq!(names[..3], first);
    assert_eq!(names[3..], ["leader-epoch-checkpoint", "partition.metadata"]);
    assert!(place.vfs.open_broker().unwrap().recovery_report().is_clean());
}

/// The segment that was made ahead has its indexes as any other.
#[test]
fn a_segment_of_a_log_that_was_made_ahead_has_all_its_files_when_it_is_closed() {
    let place = Place::made_ready(Durability::Synced);
    place.roll();
    place.broker.close(TIMEOUT).unwrap();
    assert_eq!(place.vfs.content(&format!("t-0/{SECOND}")).len(), 770);
    assert_eq!(place.vfs.content("t-0/00000000000000000001.index").len(), 0);
    assert_eq!(place.vfs.content("t-0/00000000000000000001.timeindex").len(), 12);
}

#[test]
fn a_topic_is_deleted_with_its_next_log() {
    let place = Place::made_ready(Durability::Synced);
    place.broker.delete_topic("t").unwrap();
    assert!(
        !place
            .vfs
            .memory()
            .read_dir(Path::new(ROOT))
            .unwrap()
            .iter()
            .any(|entry| entry.name.starts_with("t-"))
    );
    place.broker.create_topic("t", config(Durability::Synced)).unwrap();
}

/// While somebody makes the next log, nobody closes the partition or removes its directory.
#[test]
fn a_deletion_waits_for_whoever_makes_the_next_log() {
    let place = Place::near_its_end(Durability::Synced);
    place.vfs.pause(&format!("create {NEXT}"));
    std::thread::scope(|scope| {
        let tick = scope.spawn(|| place.broker.tick());
        place.vfs.wait_until_paused();
        // Appends do not wait for it.
        send_all(&place.topic, [[2; 700]]).unwrap();
        let deletion = scope.spawn(|| place.broker.delete_topic("t"));
        while place.topic.producer().send(Record::new("still there?")).is_ok() {
            std::thread::yield_now();
        }
        // Time enough for one that does not wait.
        (0..100_000).take_while(|_| !deletion.is_finished()).for_each(|_| std::thread::yield_now());
        let waits = !deletion.is_finished();
        place.vfs.resume();
        tick.join().unwrap().unwrap();
        deletion.join().unwrap().unwrap();
        assert!(waits);
    });
    let calls = place.vfs.take_calls();
    let renamed = calls.iter().position(|call| call.ends_with("-delete")).unwrap();
    assert!(calls[..renamed].contains(&format!("create {NEXT}")), "{calls:#?}");
    assert!(
        !place
            .vfs
            .memory()
            .read_dir(Path::new(ROOT))
            .unwrap()
            .iter()
            .any(|entry| entry.name.starts_with("t-"))
    );
}

/// What was acknowledged stays so; nothing behind it is believed of that disk.
#[test]
fn indexes_that_cannot_be_synced_behind_the_roll_stop_the_partition() {
    let place = Place::made_ready(Durability::Synced);
    place.roll();
    place.vfs.fail_once(&format!("sync {FIRST_TIMES}"), 0, Other);
    place.broker.tick().unwrap();
    assert!(place.topic.producer().send(Record::new("refused")).is_err());
    assert!(place.found() == [[1; 700], [2; 700]]);
    assert_eq!(place.proven(), (0, 1));
    assert!(place.broker.close(TIMEOUT).is_err());
}

/// Indexes that were not synced may say anything after a power cut: they are made again.
#[test]
fn indexes_that_were_not_synced_are_made_again_after_a_kill() {
    let vfs = MemoryVfs::new();
    let broker = open_ticked_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let topic = broker.create_topic("t", config(Durability::Synced)).unwrap();
    send_all(&topic, [[1; 700], [2; 700]]).unwrap();
    let path = Path::new(ROOT).join("t-0").join(FIRST_TIMES);
    let times = |vfs: &MemoryVfs| vfs.open(&path, OpenMode::Read).unwrap().map().unwrap().to_vec();
    let whole = times(&vfs);
    std::mem::forget((broker, topic));
    let vfs = vfs.restart();
    vfs.open(&path, OpenMode::Write).unwrap().write_at(&[0; 12], 0).unwrap();
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    assert_eq!(times(&vfs), whole);
}

/// Without threads nobody may come to do it: the roll itself does.
#[test]
fn without_threads_the_roll_syncs_the_indexes() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", config(Durability::Synced)).unwrap();
    let place = Place { vfs, broker, topic };
    send_all(&place.topic, [[1; 700]]).unwrap();
    place.broker.tick().unwrap();
    assert!(place.has_next());
    place.vfs.take_calls();
    let calls = place.roll();
    let order = [&format!("sync {FIRST}"), &format!("sync {FIRST_TIMES}"), &format!("rename to {SECOND}")];
    assert_order(&calls, &order.map(AsRef::as_ref));
    assert_eq!(place.proven(), (1, 2));
}

/// Nobody ticks though ticks were promised: the indexes that wait are few.
#[test]
fn segments_that_wait_for_the_sync_of_their_indexes_are_few() {
    let place = Place::near_its_end(Durability::Synced);
    for number in 0..20 {
        send_all(&place.topic, [[number; 700]]).unwrap();
    }
    let calls = place.vfs.take_calls();
    let syncs = calls.iter().filter(|call| call.starts_with("sync ") && call.ends_with(".timeindex")).count();
    assert_eq!(syncs, 20 - 8);
    place.broker.tick().unwrap();
    assert_eq!(place.proven(), (20, 21));
}

/// The disk refuses to shorten the segment that ends, once: the log is as it was, and goes on.
#[test]
fn a_trim_that_fails_once_stops_nobody() {
    for level in [Durability::Synced, Durability::Os] {
        let place = Place::near_its_end(level);
        place.vfs.fail_once("set_len 0", 0, Other);
        let refused = place.topic.producer().send(Record::new(&[2; 700])).unwrap().wait().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotWritten, "{refused}");
        assert_eq!(place.found(), [[1; 700]]);
        _ = place.topic.producer().flush();
        place.roll();
        place.broker.close(TIMEOUT).unwrap();
        let broker = place.vfs.open_broker().unwrap();
        assert!(broker.recovery_report().is_clean());
        assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap().len(), 2);
    }
}

/// Whoever is to believe an index finds it: once the proven end has passed a segment, or the directory was closed in order,
/// a power cut takes no name of an index.
#[test]
fn the_names_of_indexes_are_durable_where_they_are_proven() {
    let work = |vfs: &MemoryVfs, level: Durability, ticks: bool| -> ottla::Result<()> {
        for round in 0..2_u8 {
            let memory = Arc::new(vfs.clone());
            let broker = match ticks {
                true => open_ticked_on(options(), memory, Path::new(ROOT))?,
                false => open_on(options(), memory, Path::new(ROOT))?,
            };
            let topic = broker.ensure_topic("t", config(level))?;
            for number in 0..3_u8 {
                send_all(&topic, [[round * 3 + number; 700]])?;
                broker.tick()?;
            }
            topic.producer().flush()?;
            broker.close(TIMEOUT)?;
        }
        Ok(())
    };
    let (mut points, mut images) = (0, 0);
    for (level, ticks) in
        [Durability::Synced, Durability::Os].into_iter().flat_map(|level| [(level, true), (level, false)])
    {
        for point in 0.. {
            let vfs = MemoryVfs::new();
            vfs.stop_after(point);
            if work(&vfs, level, ticks).is_ok() {
                break;
            }
            points += 1;
            for image in vfs.images(CrashProfile::Strict, 1, point) {
                let Ok(report) = verify_on(Arc::new(image.vfs), Path::new(ROOT)) else { continue };
                let missing = report.findings.iter().find(|finding| finding.kind == FindingKind::Index);
                assert!(missing.is_none(), "{level}, ticked {ticks}, call {point}: {missing:#?}");
                images += 1;
            }
        }
    }
    assert!(points > 200 && images > 150, "{points} {images}");
}

/// A roll that failed has written the indexes; the segment was taken up again, and nobody synced them any more where nothing
/// was added, so that a segment could be proven to be durable whose indexes were not.
#[test]
fn indexes_that_a_failed_roll_has_written_are_synced_when_the_segment_ends() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let config = TopicConfig::new().segment_bytes(1024).index_interval_bytes(1).durability(Durability::Os);
    let topic = broker.create_topic("t", config).unwrap();
    send_all(&topic, [[1; 300], [2; 300]]).unwrap();
    vfs.fail("create 0000", 0, StorageFull);
    assert_eq!(send_all(&topic, [[3; 800]]).unwrap_err().kind(), ErrorKind::NotWritten);
    vfs.fail_no_more();
    vfs.take_calls();
    broker.close(TIMEOUT).unwrap();
    let calls = vfs.take_calls();
    for file in [FIRST, FIRST_TIMES, "00000000000000000000.index"] {
        assert!(calls.contains(&format!("sync {file}")), "{file} is not synced: {calls:?}");
    }
}

/// A reopening that cannot sync the indexes fails; the next one makes them again, and the end of what is proven waits for it.
#[test]
fn indexes_that_a_reopening_could_not_make_again_are_made_by_the_next_one() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", config(Durability::Os)).unwrap();
    send_all(&topic, [[1; 700], [2; 700]]).unwrap();
    vfs.fail(&format!("sync {FIRST_TIMES}"), 0, Other);
    assert!(topic.producer().synced().flush().is_err());
    let partition = topic.partition(0).unwrap();
    assert!(partition.reopen().is_err());
    vfs.fail_no_more();
    vfs.take_calls();
    assert!(partition.reopen().unwrap().is_some());
    let calls = vfs.take_calls();
    assert_order(&calls, &[&format!("sync {FIRST_TIMES}"), "write ottla.ends"]);
    assert_eq!(values(&partition).unwrap(), [[1; 700], [2; 700]]);
}
