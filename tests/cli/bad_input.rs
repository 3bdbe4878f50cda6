//! Bad input of every kind, in tables: what is said, the exit code, and a directory that is as it was.

use std::fs;
use std::path::Path;

use ottla::{Broker, Record, TopicConfig};

use crate::support::{Place, assert_without_rust};

/// A call, its standard input, its exit code, and what its message says.
type Case<'a> = (&'a [&'a str], &'a str, i32, &'a [&'a str]);

const FAILED: i32 = 1;
const USAGE: i32 = 2;

fn refused(place: &Place, cases: &[Case<'_>]) {
    let before = place.content();
    for (args, stdin, code, says) in cases {
        let answer = place.call(args, stdin);
        assert_eq!(answer.code, *code, "{args:?}: {answer:?}");
        assert_eq!(answer.text(), "", "{args:?}: answers go to standard output, complaints do not");
        for part in *says {
            assert!(answer.stderr.contains(part), "{args:?} does not say {part:?}: {}", answer.stderr);
        }
        assert_without_rust(&answer.stderr);
        let mark = if *code == FAILED { "ottla: " } else { "Usage: " };
        let is_marked = answer.stderr.contains(mark) || answer.stderr.starts_with("error: ");
        assert!(is_marked, "{args:?}: {}", answer.stderr);
        let after = place.content();
        for (path, content) in &after {
            // A directory that was opened, and closed again, says so in its evidence.
            let is_evidence = path.ends_with("ottla.ends") && !answer.stderr.contains("ottla.ends");
            assert!(
                is_evidence || before.get(path) == Some(content),
                "{args:?} has changed {}",
                path.display()
            );
        }
        assert_eq!(after.len(), before.len(), "{args:?} has deleted something");
    }
}

#[test]
fn wrong_usage() {
    let place = Place::new("usage");
    let cases: [Case<'_>; 24] = [
        (&["no-such-command"], "", USAGE, &["unrecognized subcommand"]),
        (&["topic"], "", USAGE, &["Usage: "]),
        (&["topic", "create"], "", USAGE, &["<NAME>"]),
        (&["topic", "create", "t", "--partitions", "three"], "", USAGE, &["invalid value 'three'"]),
        (&["topic", "create", "t", "--partitions", "-1"], "", USAGE, &["'-1'"]),
        (&["topic", "create", "t", "--partitions", "4294967296"], "", USAGE, &["4294967296"]),
        (&["topic", "create", "t", "--config", "segment.bytes"], "", USAGE, &["a name, =, and a value"]),
        (&["topic", "alter", "t"], "", USAGE, &["--config <NAME=VALUE>"]),
        (&["topic", "delete"], "", USAGE, &["<NAME>"]),
        (&["produce"], "", USAGE, &["<TOPIC>"]),
        (&["produce", "t", "--create", "--key-separator", ""], "a", USAGE, &["--key-separator"]),
        (&["produce", "t", "--create", "--durability", "strong"], "a", USAGE, &["synced, os, or interval:"]),
        (&["produce", "t", "--create", "--durability", "interval:0"], "a", USAGE, &["from 1 on"]),
        (&["produce", "t", "--create", "--partition", "x"], "a", USAGE, &["invalid value 'x'"]),
        (&["consume", "t", "--offset", "1", "--from-beginning"], "", USAGE, &["cannot be used with"]),
        (&["consume", "t", "--offset", "1", "--timestamp", "1"], "", USAGE, &["cannot be used with"]),
        (&["consume", "t", "--offset", "first"], "", USAGE, &["invalid value 'first'"]),
        (&["consume", "t", "--timestamp", "yesterday"], "", USAGE, &["2026-01-31T12:00:00Z"]),
        (&["consume", "t", "--max", "-1"], "", USAGE, &["'-1'"]),
        (&["consume", "t", "--format", "%q"], "", USAGE, &["%q means nothing"]),
        (&["consume", "t", "--format", "%s", "--json"], "", USAGE, &["cannot be used with"]),
        (&["consume", "t", "--isolation", "serializable"], "", USAGE, &["read_committed, read_uncommitted"]),
        (&["dump"], "", USAGE, &["<PATH>"]),
        (&["salvage", "data"], "", USAGE, &["--to <OUT>"]),
    ];
    refused(&place, &cases);
}

#[test]
fn no_data_directory() {
    let place = Place::new("nowhere");
    let says = &["there is no data directory here", "OTTLA_DIR", "nothing was changed"][..];
    fs::create_dir(place.path().join("empty")).unwrap();
    let cases: [Case<'_>; 7] = [
        (&["topic", "list"], "", FAILED, says),
        (&["topic", "describe", "t"], "", FAILED, says),
        (&["topic", "alter", "t", "--partitions", "2"], "", FAILED, says),
        (&["topic", "delete", "t"], "", FAILED, says),
        (&["produce", "t"], "a\n", FAILED, says),
        (&["consume", "t"], "", FAILED, says),
        (&["topic", "list", "--dir", "empty"], "", FAILED, says),
    ];
    refused(&place, &cases);
    // What cannot be is found before there is a directory.
    let create = |config| ["topic", "create", "t", "--config", config];
    let unknown = create("no.such.name=1");
    let bounds = ["compression.gzip.level=10", "compression.zstd.level=23", "segment.bytes=1"].map(create);
    let cases: [Case<'_>; 8] = [
        (&unknown, "", FAILED, &["no.such.name", "segment.bytes"]),
        (&bounds[0], "", FAILED, &["compression.gzip.level=10", "1 to 9, or -1", "topic t"]),
        (&bounds[1], "", FAILED, &["compression.zstd.level=23", "-131072 to 22"]),
        (&bounds[2], "", FAILED, &["segment.bytes=1 ", "1024 to"]),
        (&["topic", "create", "t", "--partitions", "0"], "", FAILED, &["0 partitions"]),
        (&["topic", "create", "a/b"], "", FAILED, &["cannot name a topic"]),
        (&["produce", "a/b", "--create"], "a\n", FAILED, &["cannot name a topic"]),
        (&["produce", "__consumer_offsets", "--create"], "a\n", FAILED, &["__consumer_offsets"]),
    ];
    refused(&place, &cases);
    assert!(!place.data().exists());
}

/// Topics `t` with three records, `a.b`, `two` with two partitions, `os` of that durability.
fn place_with_topics(name: &str) -> Place {
    let place = Place::new(name);
    let broker = Broker::open(place.data()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().max_message_bytes(1000)).unwrap();
    for value in ["a", "b", "c"] {
        topic.producer().send(Record::new(value)).unwrap().wait().unwrap();
    }
    broker.create_topic("a.b", TopicConfig::new()).unwrap();
    broker.create_topic("two", TopicConfig::new().partitions(2)).unwrap();
    let interval = TopicConfig::new().set("durability", "interval:100").unwrap();
    broker.create_topic("interval", interval).unwrap();
    drop((broker, topic));
    place
}

#[test]
fn names_numbers_and_settings() {
    let place = place_with_topics("names");
    let long = "x".repeat(250);
    let cases: [Case<'_>; 19] = [
        (&["topic", "create", "t"], "", FAILED, &["exists", "topic t", "`ottla topic alter`"]),
        (&["topic", "create", "a_b"], "", FAILED, &["a.b", "choose another name"]),
        (&["topic", "create", ""], "", FAILED, &["cannot name a topic"]),
        (&["topic", "create", ".."], "", FAILED, &["cannot name a topic"]),
        (&["topic", "create", "a/b"], "", FAILED, &["cannot name a topic"]),
        (&["topic", "create", "grün"], "", FAILED, &["cannot name a topic"]),
        (&["topic", "create", &long], "", FAILED, &["cannot name a topic"]),
        (&["topic", "create", "n", "--partitions", "0"], "", FAILED, &["0 partitions", "1 to 10000"]),
        (&["topic", "create", "n", "--partitions", "10001"], "", FAILED, &["10001 partitions"]),
        (&["topic", "create", "n", "--config", "segment.bytes=1023"], "", FAILED, &["1024 to"]),
        (&["topic", "create", "n", "--config", "segment.bytes=1 GiB"], "", FAILED, &["1 GiB"]),
        (&["topic", "create", "n", "--config", "durability=none"], "", FAILED, &["synced, os"]),
        (&["topic", "describe", "T"], "", FAILED, &["no such topic", "case-sensitive"]),
        (&["topic", "alter", "n", "--partitions", "2"], "", FAILED, &["no such topic"]),
        (&["topic", "alter", "two", "--partitions", "1"], "", FAILED, &["partitions are only ever added"]),
        (&["topic", "alter", "t", "--config", "segment.ms=0"], "", FAILED, &["segment.ms=0"]),
        (&["topic", "alter", "t", "--config", "no.such.name=1"], "", FAILED, &["no.such.name"]),
        (&["topic", "delete", "n"], "", FAILED, &["no such topic"]),
        (&["topic", "delete", "no/name"], "", FAILED, &["cannot name a topic"]),
    ];
    refused(&place, &cases);
}

#[test]
fn records_that_cannot_be_taken() {
    let place = place_with_topics("records");
    let (long, longer) = ("x".repeat(990), "x".repeat(100_000));
    let cases: [Case<'_>; 10] = [
        (&["produce", "n"], "a\n", FAILED, &["no such topic", "topic n", "--create"]),
        (&["produce", "n", "--partition", "0"], "a\n", FAILED, &["--create"]),
        (&["produce", "t", "--partition", "1"], "a\n", FAILED, &["no such partition", "partition 1"]),
        (&["produce", "t", "--durability", "os"], "a\n", FAILED, &["is synced", "os would be weaker"]),
        (&["produce", "t", "--durability", "interval:5"], "a\n", FAILED, &["interval:5 would be weaker"]),
        (&["produce", "interval", "--durability", "interval:101"], "a\n", FAILED, &["weaker"]),
        (&["produce", "interval", "--durability", "os"], "a\n", FAILED, &["weaker"]),
        (&["produce", "t"], &long, FAILED, &["durable 0\n", "line 1: ", "max.message.bytes"]),
        (&["produce", "t"], &longer, FAILED, &["durable 0\n", "line 1: ", "1000", "topic alter"]),
        (&["produce", "t", "--key-separator", ":"], "a=1\n", FAILED, &["line 1: ", "no key separator \":\""]),
    ];
    refused(&place, &cases);
}

/// What comes before the bad line is there, and is said to be durable.
#[test]
fn a_bad_line_between_good_ones() {
    let place = place_with_topics("between");
    let answer = place.call(&["produce", "t", "--key-separator", "="], "k=d\nl=e\nm\nn=f\n");
    assert_eq!(answer.code, FAILED);
    assert!(answer.stderr.contains("durable 2\nottla: line 3: "), "{answer:?}");
    assert_eq!(place.ok(&["consume", "t"], ""), "a\nb\nc\nd\ne\n");
    let answer = place.call(&["produce", "t"], format!("f\n{}\ng\n", "x".repeat(1001)));
    assert!(answer.stderr.contains("durable 1\nottla: line 2: "), "{answer:?}");
    let before = "the lines before it were sent";
    assert!(answer.stderr.contains(before), "{answer:?}");
    for (args, line) in [
        (&["produce", "t", "--key-separator", "="][..], "m\n".to_owned()),
        (&["produce", "t"], "x".repeat(1001)),
    ] {
        let answer = place.call(args, line);
        assert!(
            answer.stderr.contains("line 1: ") && !answer.stderr.contains(before),
            "there are none: {answer:?}"
        );
    }
    assert_eq!(place.ok(&["consume", "t", "--offset", "-2"], ""), "e\nf\n");
}

#[test]
fn places_that_do_not_exist() {
    let place = place_with_topics("places");
    let cases: [Case<'_>; 6] = [
        (&["consume", "n"], "", FAILED, &["no such topic", "topic n"]),
        (&["consume", "t", "--partition", "7"], "", FAILED, &["no such partition", "numbered from 0"]),
        (
            &["consume", "t", "--offset", "4"],
            "",
            FAILED,
            &["begins at 0 and ends before 3", "topic describe"],
        ),
        (&["consume", "t", "--offset", "18446744073709551615"], "", FAILED, &["outside the log"]),
        (&["consume", "two", "--offset", "0"], "", FAILED, &["2 partitions", "--partition"]),
        (&["consume", "two", "--partition", "1", "--offset", "1"], "", FAILED, &["outside the log"]),
    ];
    refused(&place, &cases);
}

#[test]
fn groups_that_cannot_be() {
    let place = place_with_topics("groups");
    place.ok(&["consume", "t", "--group", "g"], "");
    let reset = |args: &[&'static str]| [&["group", "reset-offsets", "g"], args].concat();
    let resets = [
        reset(&["--topic", "n", "--to", "latest"]),
        reset(&["--topic", "t", "--partition", "7", "--to", "latest"]),
        reset(&["--topic", "t", "--to", "4"]),
        reset(&["--topic", "t", "--to", "4", "--dry-run"]),
        reset(&["--topic", "two", "--to", "0"]),
        reset(&["--topic", "t", "--to", "end"]),
        reset(&["--topic", "t", "--to", "-1"]),
        reset(&["--topic", "t"]),
        reset(&["--to", "latest"]),
    ];
    let unknown = &["group \"G\"", "no such group", "case-sensitive", "`ottla group list`"][..];
    let cases: [Case<'_>; 23] = [
        (&["group", "describe", "G"], "", FAILED, unknown),
        (&["group", "delete", "G"], "", FAILED, unknown),
        (&["group", "export", "G"], "", FAILED, unknown),
        (&["group", "describe", ""], "", USAGE, &["a value is required for '<GROUP>'"]),
        (&["group", "delete", ""], "", USAGE, &["<GROUP>"]),
        (&["group", "export", ""], "", USAGE, &["<GROUP>"]),
        (&["group"], "", USAGE, &["Usage: "]),
        (&resets[0], "", FAILED, &["no such topic", "topic n"]),
        (&resets[1], "", FAILED, &["no such partition", "partition 7"]),
        (&resets[2], "", FAILED, &["begins at 0 and ends before 3", "topic describe"]),
        (&resets[3], "", FAILED, &["begins at 0 and ends before 3"]),
        (&resets[4], "", FAILED, &["2 partitions", "--partition"]),
        (&resets[5], "", USAGE, &["earliest, latest, an offset, or a time"]),
        (&resets[6], "", USAGE, &["'-1'"]),
        (&resets[7], "", USAGE, &["--to <PLACE>"]),
        (&resets[8], "", USAGE, &["--topic <TOPIC>"]),
        (&["consume", "n", "--group", "g"], "", FAILED, &["no such topic", "topic n"]),
        (&["consume", "t", "--group", ""], "", USAGE, &["--group <GROUP>"]),
        (&["consume", "t", "--group", "g", "--offset", "1"], "", USAGE, &["cannot be used with"]),
        (&["consume", "t", "--group", "g", "--timestamp", "1"], "", USAGE, &["cannot be used with"]),
        (&["consume", "t", "--group", "g", "--from-beginning"], "", USAGE, &["cannot be used with"]),
        (&["consume", "t", "--group", "g", "--partition", "0"], "", USAGE, &["cannot be used with"]),
        (&["consume", "t", "--group", "g", "--read-only"], "", USAGE, &["cannot be used with"]),
    ];
    refused(&place, &cases);
}

#[test]
fn groups_of_a_directory_in_use() {
    let place = place_with_topics("groups-in-use");
    let _broker = Broker::open(place.data()).unwrap();
    let holder = format!("in use by process {}", std::process::id());
    let says = &[&*holder][..];
    let cases: [Case<'_>; 6] = [
        (&["consume", "t", "--group", "g"], "", FAILED, says),
        (&["group", "list"], "", FAILED, says),
        (&["group", "describe", "g"], "", FAILED, says),
        (&["group", "reset-offsets", "g", "--topic", "t", "--to", "latest"], "", FAILED, says),
        (&["group", "delete", "g"], "", FAILED, says),
        (&["group", "export", "g"], "", FAILED, says),
    ];
    refused(&place, &cases);
}

#[test]
fn directories_that_are_not_ours() {
    let place = Place::new("foreign");
    let make = |path: &str| {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    };
    let log = "lost/orders-0/00000000000000000000.log";
    ["file", "notes/notes.txt", "kafka/meta.properties", log].iter().for_each(|path| make(path));
    make("linked/meta.properties");
    std::os::unix::fs::symlink(place.path().join("lost/orders-0"), place.path().join("linked/orders-0"))
        .unwrap();
    fs::create_dir(place.path().join("empty")).unwrap();
    let create = |dir| ["--dir", dir, "topic", "create", "t"];
    let lost = place.path().join("lost").display().to_string();
    let cases: [Case<'_>; 14] = [
        (&create("file"), "", FAILED, &["is not a directory", "nothing was changed"]),
        (&create("file/below"), "", FAILED, &["could not", "file/below"]),
        (&create("notes"), "", FAILED, &["is not empty", "notes.txt", "--dir"]),
        (&create("kafka"), "", FAILED, &["Kafka broker", "meta.properties"]),
        (&create("lost"), "", FAILED, &["is not empty", "orders-0"]),
        (&create("/proc/ottla"), "", FAILED, &["could not", "/proc/ottla"]),
        (&["--dir", "notes", "produce", "t", "--create"], "a\n", FAILED, &["notes.txt"]),
        (
            &["adopt", "notes"],
            "",
            FAILED,
            &["notes.txt", "neither meta.properties nor", "the broker's log.dirs"],
        ),
        (&["adopt", "empty"], "", FAILED, &["no Kafka broker's directory here"]),
        (&["adopt", "nowhere"], "", FAILED, &["no Kafka broker's directory here"]),
        (&["adopt", "linked"], "", FAILED, &["symbolic link", "linked/orders-0", "nothing was changed"]),
        (&["verify", "lost/orders-0"], "", FAILED, &["that of a partition", &lost]),
        (&["salvage", "lost/orders-0", "--to", "out"], "", FAILED, &["that of a partition", &lost]),
        (&["dump", "notes/notes.txt", "lost/nothing.log"], "", FAILED, &["no such file", "lost/nothing.log"]),
    ];
    refused(&place, &cases);
}

#[test]
fn a_directory_that_somebody_has_open() {
    let place = place_with_topics("in-use");
    let broker = Broker::open(place.data()).unwrap();
    let holder = format!("in use by process {}", std::process::id());
    let says = &[holder.as_str()][..];
    let cases: [Case<'_>; 4] = [
        (&["topic", "list"], "", FAILED, says),
        (&["topic", "create", "n"], "", FAILED, says),
        (&["produce", "t"], "d\n", FAILED, says),
        (&["consume", "t"], "", FAILED, says),
    ];
    refused(&place, &cases);
    drop(broker);
    assert_eq!(place.ok(&["consume", "t"], ""), "a\nb\nc\n");
}

#[test]
fn a_directory_that_is_damaged() {
    type Damage = (&'static str, fn(&Path), &'static str);
    let damages: [Damage; 9] = [
        ("ottla.manifest", |path| fs::write(path, "").unwrap(), "ottla.manifest"),
        ("ottla.manifest", newer, "version"),
        ("ottla.manifest", |path| fs::remove_file(path).unwrap(), "not empty"),
        ("ottla.ends", |path| fs::write(path, "garbage").unwrap(), "ottla.ends"),
        ("ottla.ends", |path| fs::remove_file(path).unwrap(), "ottla.ends"),
        (
            "t-0/leader-epoch-checkpoint",
            |path| fs::write(path, "garbage").unwrap(),
            "leader-epoch-checkpoint",
        ),
        ("t-0/partition.metadata", |path| fs::remove_file(path).unwrap(), "partition.metadata"),
        ("t-0/00000000000000000000.log", |path| fs::remove_file(path).unwrap(), "topic t, partition 0"),
        ("t-0/00000000000000000000.log", |path| fs::write(path, "garbage").unwrap(), "topic t, partition 0"),
    ];
    for (file, damage, says) in damages {
        let place = place_with_topics("damaged");
        damage(&place.data().join(file));
        let says = &[says][..];
        let cases: [Case<'_>; 4] = [
            (&["consume", "t"], "", FAILED, says),
            (&["produce", "t"], "d\n", FAILED, says),
            (&["topic", "list"], "", FAILED, says),
            (&["topic", "create", "n"], "", FAILED, says),
        ];
        refused(&place, &cases);
    }
}

/// A manifest of a version that is yet to come.
fn newer(path: &Path) {
    let text = fs::read_to_string(path).unwrap().replacen("ottla manifest 1\n", "ottla manifest 2\n", 1);
    let (body, _) = text.split_once("crc32 ").unwrap();
    fs::write(path, format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes()))).unwrap();
}

/// What lies before the damage is printed, and then it is said where the damage is.
#[test]
fn a_flipped_bit_in_a_record() {
    let place = place_with_topics("flipped");
    let log = place.data().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == b'c').unwrap();
    bytes[last] ^= 1;
    fs::write(&log, bytes).unwrap();
    let answer = place.call(&["consume", "t"], "");
    assert_eq!((answer.code, answer.text().as_str()), (FAILED, "a\nb\n"));
    for part in ["checksum", "topic t, partition 0, offset 2", "00000000000000000000.log", "byte "] {
        assert!(answer.stderr.contains(part), "{}", answer.stderr);
    }
}
