//! `dump`, `verify` and `salvage`, on a sound directory, on a damaged one, and on what a real Kafka has written; and
//! `consume` at both isolation levels. What they print stands in golden/.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ottla::{Broker, Record, TopicConfig};
use serde_json::{Value, json};

use crate::support::{Answer, Place};

const DAMAGED: i32 = 3;
const LOG: &str = "data/t-0/00000000000000000000.log";

/// Topic `t` with three batches of a record each, of known times, closed in order.
fn sound(name: &str) -> Place {
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
fn damaged(name: &str) -> Place {
    let place = sound(name);
    let log = place.path().join(LOG);
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(3).position(|bytes| bytes == b"sec").unwrap();
    bytes[at] ^= 1;
    fs::write(log, bytes).unwrap();
    place
}

/// The same as a crash leaves it, that has torn a batch.
fn torn(name: &str) -> Place {
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
        "partitions": 1, "batches": 2, "records": 2});
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
    place.ok(&["adopt", "kafka"], "");
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

fn copy(from: &Path, to: &Path) {
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
        (&["dump", LOG, "data/nothing"][..], "nothing"),
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
        assert_eq!(place.content(), before, "{args:?}");
    }
    let live = place.ok(&["verify", &owned], "");
    assert!(live.contains("\nSomebody has it open: "), "{live}");
    drop(broker);
}
