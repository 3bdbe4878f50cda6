//! `dump`, `verify` and `salvage`, on a sound directory, on a damaged one, and on what a real Kafka has written; and
//! `consume` at both isolation levels. What they print stands in golden/.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ottla::{Broker, Record, TopicConfig};
use serde_json::{Value, json};

use crate::support::{Answer, Place, assert_without_rust};

const DAMAGED: i32 = 3;
const LOG: &str = "data/t-0/00000000000000000000.log";

/// Topic `t` with three batches of a record each, of known times, closed in order.
pub fn sound(name: &str) -> Place {
    let place = Place::new(name);
    let broker = Broker::open(place.data()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    for (number, value) in (0..).zip(["first", "sec\nond\\", "third"]) {
        let record = Record::new(value).key("k").header("h", "1").timestamp(1_700_000_000_000 + number);
        topic.producer().send(record).unwrap().wait().unwrap();
    }
    broker.close(std::time::Duration::from_secs(10)).unwrap();
    place
}

/// The same, and a bit of the second record has turned.
pub fn damaged(name: &str) -> Place {
    let place = sound(name);
    let log = place.path().join(LOG);
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(3).position(|bytes| bytes == b"sec").unwrap();
    bytes[at] ^= 1;
    fs::write(log, bytes).unwrap();
    place
}

/// The same as a crash leaves it, that has torn a batch.
pub fn torn(name: &str) -> Place {
    let place = sound(name);
    fs::remove_file(place.data().join(".kafka_cleanshutdown")).unwrap();
    let mut bytes = fs::read(place.path().join(LOG)).unwrap();
    bytes.extend(b"half a batch");
    fs::write(place.path().join(LOG), bytes).unwrap();
    place
}

fn kafka() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka")
}

/// What was printed, without what differs from run to run: where the directory lies, and the ids in it.
fn plain(place: &Path, text: &str) -> String {
    let mut text = text.replace(&place.display().to_string(), "…");
    for name in ["topicId: ", "directoryId: ", "\"topicId\":\"", "\"directoryId\":\""] {
        let parts: Vec<&str> = text.split(name).collect();
        let masked = parts.iter().enumerate().map(|(number, part)| match number {
            0 => (*part).to_owned(),
            _ => format!("{name}…{}", &part[22..]),
        });
        text = masked.collect();
    }
    text
}

fn assert_golden(answer: &Answer, place: &Path, code: i32, golden: &str) {
    let printed = plain(place, &answer.text());
    assert_eq!(printed, golden, "it prints:\n{printed}");
    assert_eq!((answer.code, answer.stderr.as_str()), (code, ""));
}

#[test]
fn a_sound_directory_is_dumped_and_verified_and_not_changed() {
    let place = sound("sound");
    let before = place.content();
    let call = |args: &[&str]| place.call(args, "");
    let dump = call(&["dump", "data", "--records"]);
    assert_golden(&dump, place.path(), 0, include_str!("golden/sound-dump.txt"));
    let json = call(&["dump", "data", "--records", "--json"]);
    assert_golden(&json, place.path(), 0, include_str!("golden/sound-dump.jsonl"));
    let without = call(&["dump", LOG]).text();
    assert_eq!(without.lines().count(), 4, "a file and three batches: {without}");

    let sound = "Sound: 1 partitions, 1 segments, 3 batches, 3 records, 237 bytes, 1 index entries.\n";
    assert_eq!(place.ok(&["verify"], ""), sound, "of --dir");
    assert_eq!(place.ok(&["verify", "data", "--dir", "elsewhere"], ""), sound);
    let json = place.ok(&["verify", "--json"], "");
    let json: Value = serde_json::from_str(&json).unwrap();
    let expected = json!({"sound": true, "live": false, "clean": true, "findings": 0, "partitions": 1,
        "segments": 1, "batches": 3, "records": 3, "bytes": 237, "indexEntries": 1});
    assert_eq!(json, expected);
    assert_eq!(place.content(), before);

    let salvaged = place.ok(&["salvage", "--to", "out"], "");
    let expected =
        "Salvaged ./data to out: 1 topics, 1 partitions, 3 batches, 3 records.\nNothing was left.\n";
    assert_eq!(salvaged, expected);
}

#[test]
fn damage_is_shown_found_and_left_behind() {
    let place = damaged("damaged");
    let before = place.content();
    let call = |args: &[&str]| place.call(args, "");
    let dump = call(&["dump", LOG, "--records"]);
    assert_golden(&dump, place.path(), DAMAGED, include_str!("golden/damaged-dump.txt"));
    let json = call(&["dump", LOG, "--json"]).text();
    let damage = json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let damage: Vec<Value> = damage.filter(|item| item["type"] == "damage").collect();
    assert_eq!(damage.len(), 1, "{json}");
    assert_eq!(damage[0]["damagedOffsets"], json!({"start": 1, "end": 2}));
    assert_eq!(damage[0]["kind"], "CorruptMessage");

    let text = call(&["verify"]);
    assert_golden(&text, place.path(), DAMAGED, include_str!("golden/damaged-verify.txt"));
    let lines = call(&["verify", "--json"]);
    assert_golden(&lines, place.path(), DAMAGED, include_str!("golden/damaged-verify.jsonl"));
    let salvage = call(&["salvage", "data", "--to", "out"]);
    assert_golden(&salvage, place.path(), DAMAGED, include_str!("golden/damaged-salvage.txt"));
    let json = call(&["salvage", "data", "--to", "again", "--json"]);
    let last: Value = serde_json::from_str(json.text().lines().last().unwrap()).unwrap();
    let expected = json!({"salvaged": "data", "to": "again", "complete": false, "left": 1, "topics": 1,
        "partitions": 1, "batches": 2, "records": 2, "leftBatches": 0, "leftRecords": 0});
    assert_eq!((json.code, last), (DAMAGED, expected));
    let after = place.content();
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "the source is as it was");

    assert_eq!(call(&["verify", "out"]).code, 0);
    let records = place.ok(&["--dir", "out", "consume", "t", "--format", r"%o %s\n"], "");
    assert_eq!(records, "0 first\n2 third\n");
}

#[test]
fn what_a_crash_has_torn_is_no_damage_of_the_directory() {
    let place = torn("torn");
    assert_eq!(place.call(&["dump", LOG], "").code, DAMAGED, "it cannot be read");
    let verified = place.ok(&["verify"], "");
    let (finding, summary) = verified.split_once('\n').unwrap();
    assert!(finding.starts_with("Unrecovered: "), "{verified}");
    assert!(summary.starts_with("Sound: ") && summary.contains("not closed in order"), "{verified}");
    let salvaged = place.ok(&["salvage", "--to", "out"], "");
    assert!(salvaged.ends_with("Nothing was left but what recovery would have cut.\n"), "{salvaged}");
}

#[test]
fn what_stands_whole_behind_a_tear_is_told_and_kept_if_asked_for() {
    let place = torn("behind");
    let mut log = fs::read(place.path().join(LOG)).unwrap();
    // The last batch again, with the offset behind the one that is torn: it does not lie under the checksum.
    let mut batch = log[159..237].to_vec();
    batch[..8].copy_from_slice(&4_u64.to_be_bytes());
    log.extend(batch);
    fs::write(place.path().join(LOG), log).unwrap();
    let salvage = |args: &[&str]| place.call(&[&["salvage", "--to"], args].concat(), "");
    let left = salvage(&["out"]);
    let text = left.text();
    assert_eq!(left.code, DAMAGED, "{text}");
    let says = "1 whole batches, 1 records, were left behind tears; --keep-behind-tears keeps them, too.\n";
    assert!(text.ends_with(says), "{text}");
    let behind = "Unrecovered: 1 whole batches, 1 records, stand behind a tear, above what is proven to be durable \
                  (topic t, partition 0, offsets 4 to 4, file ";
    assert!(text.contains(behind) && text.contains("bytes 249 to 327"), "{text}");
    assert_eq!(place.ok(&["--dir", "out", "consume", "t", "--format", "%o "], ""), "0 1 2 ");

    let kept = salvage(&["kept", "--keep-behind-tears"]);
    assert_eq!(kept.code, 0, "{kept:?}");
    assert_eq!(place.ok(&["--dir", "kept", "consume", "t", "--format", "%o "], ""), "0 1 2 4 ");
    let json = salvage(&["again", "--json"]);
    let last: Value = serde_json::from_str(json.text().lines().last().unwrap()).unwrap();
    let found = (&last["leftBatches"], &last["leftRecords"], &last["complete"]);
    assert_eq!(found, (&json!(1), &json!(1), &json!(false)));
}

#[test]
fn a_salvage_that_was_not_finished_is_no_damage() {
    let place = sound("unfinished");
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    let from = place.data().canonicalize().unwrap();
    fs::write(out.join("ottla.salvaging"), format!("ottla salvaging 1\nfrom {from:?}\n")).unwrap();
    fs::write(out.join("ottla.ends"), "half").unwrap();
    for args in
        [&["verify", "out"][..], &["--dir", "out", "topic", "list"], &["salvage", "out", "--to", "other"]]
    {
        let answer = place.call(args, "");
        assert_eq!(answer.code, 1, "{args:?}: {answer:?}");
        assert!(answer.stderr.contains("a salvage into this directory was not finished"), "{answer:?}");
        assert!(answer.stderr.contains("run the salvage again, or delete the directory"), "{answer:?}");
    }
    place.ok(&["salvage", "--to", "out"], "");
    assert!(place.ok(&["verify", "out"], "").starts_with("Sound: "));
}

#[test]
fn what_kafka_has_written_is_shown_and_sound() {
    let place = Place::new("kafkas");
    let dump = |name: &str, json: &[&str]| {
        let path = kafka().join(name).display().to_string();
        place.call(&[&["dump", "--records", &path], json].concat(), "")
    };
    let transactions = dump("stopped/ongoing-0", &[]);
    assert_golden(&transactions, &kafka(), 0, include_str!("golden/kafka-ongoing.txt"));
    let shapes = dump("stopped/shapes-0", &["--json"]);
    assert_golden(&shapes, &kafka(), 0, include_str!("golden/kafka-shapes.jsonl"));
    for name in ["stopped", "killed"] {
        let answer = dump(name, &[]);
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{name}");
        let path = kafka().join(name).display().to_string();
        assert!(place.ok(&["verify", &path], "").starts_with("Sound: "), "{name}");
    }
}

#[test]
fn transactions_are_consumed_at_both_levels() {
    let place = Place::new("isolation");
    copy(&kafka().join("stopped"), &place.path().join("kafka"));
    let adopted = place.ok(&["adopt", "kafka"], "");
    let open = |producer, offset| {
        format!("ongoing-0 has an open transaction of producer {producer} from offset {offset} on\n")
    };
    let told =
        [open(17, 4), open(18, 5), "`ottla consume` ends before an open transaction".to_owned()].concat();
    assert!(adopted.contains(&told), "{adopted}");
    let describe = |topic| place.ok(&["--dir", "kafka", "topic", "describe", topic], "");
    let why = "\tHighWatermark: 9\tLogEndOffset: 9\tLastStableOffset: 4\tOpenTransactions: of producer 17 from offset 4 on, \
               of producer 18 from offset 5 on\n";
    assert!(describe("ongoing").ends_with(why), "{}", describe("ongoing"));
    assert!(!describe("shapes").contains("LastStableOffset"));
    let json = place.ok(&["--dir", "kafka", "topic", "describe", "ongoing", "--json"], "");
    let json: Value = serde_json::from_str(&json).unwrap();
    let expected = json!([{"producerId": 17, "firstOffset": 4}, {"producerId": 18, "firstOffset": 5}]);
    let partition = &json["partitions"][0];
    assert_eq!((&partition["openTransactions"], &partition["lastStableOffset"]), (&expected, &json!(4)));
    let consume = |more: &[&str]| {
        let args = [&["--dir", "kafka", "consume", "ongoing", "--format", "%o "], more].concat();
        place.ok(&args, "")
    };
    let uncommitted = ["--isolation", "read_uncommitted"];
    assert_eq!(consume(&[]), "0 3 ");
    assert_eq!(consume(&["--isolation", "read_committed"]), "0 3 ");
    assert_eq!(consume(&uncommitted), "0 2 3 4 5 8 ");
    // The end is where reading ends.
    assert_eq!(consume(&["--offset", "-1"]), "3 ");
    assert_eq!(consume(&[&uncommitted[..], &["--offset", "-1"]].concat()), "8 ");
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Who names a file wants to see what is in it; in a directory anything may stand.
#[test]
fn a_file_of_which_nothing_is_known_is_not_read_and_that_is_said() {
    let place = sound("unknown");
    fs::write(place.data().join("notes.txt"), "whatever").unwrap();
    let named = place.call(&["dump", "data/notes.txt", LOG], "");
    assert_eq!(named.code, 1, "{named:?}");
    assert!(named.text().contains("/data/notes.txt kind: Unknown bytes: 8\n"), "{named:?}");
    assert!(named.text().starts_with("Not reading ") && named.text().contains("\nDumping "), "{named:?}");
    assert!(
        named.stderr.contains("data/notes.txt: ") && named.stderr.contains("it was not read"),
        "{named:?}"
    );
    let inside = place.call(&["dump", "data"], "");
    assert_eq!((inside.code, inside.stderr.as_str()), (0, ""));
    assert!(
        inside.text().contains("Not reading ") && inside.text().contains("notes.txt kind: Unknown"),
        "{inside:?}"
    );
}

#[test]
fn the_directory_of_a_partition_that_is_a_link_is_not_sound() {
    let place = Place::new("linked");
    copy(&kafka().join("stopped"), &place.path().join("kafka"));
    fs::rename(place.path().join("kafka/shapes-0"), place.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", place.path().join("kafka/shapes-0")).unwrap();
    let verified = place.call(&["verify", "kafka"], "");
    assert_eq!(verified.code, DAMAGED, "{verified:?}");
    assert!(
        verified.text().contains("shapes-0") && verified.text().contains("symbolic link"),
        "{verified:?}"
    );
    let before = place.content();
    let refused = place.call(&["adopt", "kafka"], "");
    assert!(refused.code == 1 && refused.stderr.contains("shapes-0"), "{refused:?}");
    assert_eq!(place.content(), before);
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let place = damaged("unread");
    for (args, code) in
        [(&["dump", "data"][..], DAMAGED), (&["verify"], DAMAGED), (&["salvage", "--to", "out"], DAMAGED)]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(code), &b""[..]), "{args:?}");
    }
}

#[test]
fn what_cannot_be_looked_at_is_an_error_and_nothing_is_changed() {
    let place = sound("unlooked");
    fs::create_dir(place.path().join("full")).unwrap();
    fs::write(place.path().join("full/file"), "").unwrap();
    let owner = Place::new("unlooked-owner");
    let broker = Broker::open(owner.data()).unwrap();
    let owned = owner.data().display().to_string();
    let before = place.content();
    for (args, says) in [
        (&["dump", LOG, "data/nothing"][..], "there is no such file or directory"),
        (&["verify", "data/t-0"], "name "),
        (&["verify", "nowhere"], "nowhere"),
        (&["verify", "full"], "full"),
        (&["salvage", "full", "--to", "out"], "full"),
        (&["salvage", "--to", "full"], "not empty"),
        (&["salvage", "--to", "data/out"], "would lie in the one"),
        (&["salvage", &owned, "--to", "out"], "close the broker there first"),
    ] {
        let answer = place.call(args, "");
        assert_eq!((answer.code, answer.text().as_str()), (1, ""), "{args:?}: {answer:?}");
        assert!(answer.stderr.starts_with("ottla: ") && answer.stderr.contains(says), "{args:?}: {answer:?}");
        assert_without_rust(&answer.stderr);
        assert_eq!(place.content(), before, "{args:?}");
    }
    let live = place.ok(&["verify", &owned], "");
    assert!(live.contains("\nSomebody has it open: "), "{live}");
    drop(broker);
}
