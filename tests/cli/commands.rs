//! What each command prints, as text and as JSON.

use serde_json::{Value, json};

use crate::support::Place;

#[test]
fn it_says_its_version_and_shows_examples() {
    let place = Place::new("help");
    assert_eq!(place.ok(&["--version"], ""), concat!("ottla ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in [
        &[][..],
        &["produce"],
        &["consume"],
        &["topic", "create"],
        &["group", "describe"],
        &["group", "reset-offsets"],
        &["group", "export"],
        &["adopt"],
        &["hand-over"],
        &["dump"],
        &["verify"],
        &["salvage"],
    ] {
        assert!(place.ok(&[command, &["--help"]].concat(), "").contains("Example"), "{command:?}");
    }
    assert!(place.ok(&["--help"], "").contains("Exit codes: 0 done, 1 failed, "));
}

#[test]
fn a_topic_from_its_creation_to_its_deletion() {
    let place = Place::new("life");
    let created =
        place.ok(&["topic", "create", "orders", "--partitions", "2", "--config", "segment.bytes=65536"], "");
    assert_eq!(created, "Created topic orders.\n");
    place.ok(&["topic", "create", "audit"], "");
    assert_eq!(place.ok(&["topic", "list"], ""), "audit\norders\n");

    place.ok(&["produce", "orders", "--partition", "1"], "a\nb\n");
    let altered = ["topic", "alter", "orders", "--config", "durability=os", "--partitions", "3"];
    assert_eq!(place.ok(&altered, ""), "Altered topic orders.\n");
    let description = place.ok(&["topic", "describe", "orders"], "");
    let lines: Vec<&str> = description.lines().collect();
    assert_eq!(lines.len(), 4, "{description}");
    assert!(lines[0].starts_with("Topic: orders\tTopicId: "), "{description}");
    for part in ["\tPartitionCount: 3\t", "segment.bytes=65536", "durability=os"] {
        assert!(lines[0].contains(part), "{description}");
    }
    let second = "\tTopic: orders\tPartition: 1\tLogStartOffset: 0\tHighWatermark: 2\tLogEndOffset: 2";
    assert_eq!(lines[2], second);

    assert_eq!(place.ok(&["topic", "delete", "orders"], ""), "Deleted topic orders.\n");
    assert_eq!(place.ok(&["topic", "list"], ""), "audit\n");
}

#[test]
fn the_same_in_json() {
    let place = Place::new("json");
    let ask = |args: &[&str]| -> Value {
        serde_json::from_str(&place.ok(&[args, &["--json"]].concat(), "a\nb\n")).unwrap()
    };
    assert_eq!(ask(&["topic", "create", "orders"]), json!({"created": "orders"}));
    let told = place.call(&["produce", "orders", "--json"], "a\nb\n").stderr;
    assert!(told.ends_with("{\"durable\":2}\n"), "{told}");
    assert_eq!(ask(&["topic", "list"]), json!([{"topic": "orders", "partitions": 1}]));
    let description = ask(&["topic", "describe", "orders"]);
    assert_eq!(description["config"]["durability"], "synced");
    let partition = json!({"partition": 0, "logStartOffset": 0, "lastStableOffset": 2, "highWatermark": 2,
        "logEndOffset": 2});
    assert_eq!(description["partitions"], json!([partition]));
    assert_eq!(ask(&["topic", "alter", "orders", "--partitions", "2"]), json!({"altered": "orders"}));
    assert_eq!(ask(&["topic", "delete", "orders"]), json!({"deleted": "orders"}));
    assert_eq!(ask(&["topic", "list"]), json!([]));

    let failed = place.call(&["consume", "orders", "--json"], "");
    assert_eq!((failed.code, failed.text().as_str()), (1, ""));
    let error: Value = serde_json::from_str(&failed.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "UnknownTopicOrPartition");
    assert_eq!(error["error"]["topic"], "orders");
}

/// A topic with what a line of input cannot hold: headers, nulls, bytes that are no text.
fn topic_with_odd_records(place: &Place) {
    let broker = ottla::Broker::open(place.data()).unwrap();
    let topic = broker.create_topic("odd", ottla::TopicConfig::new()).unwrap();
    let producer = topic.producer();
    let record = ottla::Record::new("v=1").key("k").timestamp(1_700_000_000_000);
    _ = producer.send(record.header("a", "1").null_header("b").header("a", "2")).unwrap();
    _ = producer.send(ottla::Record::tombstone(b"\xff").timestamp(1_700_000_000_001)).unwrap();
    _ = producer.send(ottla::Record::new("").timestamp(1_700_000_000_002)).unwrap();
}

#[test]
fn a_record_in_the_letters_of_kcat() {
    let place = Place::new("format");
    topic_with_odd_records(&place);
    let consume = |format: &str| place.call(&["consume", "odd", "--format", format], "").stdout;
    let every = consume(r"%t|%p|%o|%T|%K|%s|%S|%h|%%|\x41\t\n");
    assert_eq!(
        String::from_utf8(every).unwrap(),
        "odd|0|0|1700000000000|1|v=1|3|a=1,b=NULL,a=2|%|A\t\n\
         odd|0|1|1700000000001|1||-1||%|A\t\n\
         odd|0|2|1700000000002|-1||0||%|A\t\n"
    );
    assert_eq!(consume("%k"), b"k\xff");
    assert_eq!(consume("%R"), [0, 0, 0, 3, 255, 255, 255, 255, 0, 0, 0, 0]);
    assert_eq!(place.ok(&["consume", "odd"], ""), "v=1\n\n\n", "by default a value a line");
}

#[test]
fn a_record_in_json_loses_nothing() {
    let place = Place::new("record");
    topic_with_odd_records(&place);
    let lines = place.ok(&["consume", "odd", "--json"], "");
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let headers =
        json!([{"key": "a", "value": "1"}, {"key": "b", "value": null}, {"key": "a", "value": "2"}]);
    let first = json!({"topic": "odd", "partition": 0, "offset": 0, "leaderEpoch": 0, "timestamp": 1_700_000_000_000_u64,
        "key": "k", "value": "v=1", "headers": headers});
    assert_eq!(records[0], first);
    assert_eq!(records[1]["key"], json!({"base64": "/w=="}));
    assert_eq!(records[1]["value"], Value::Null);
    assert_eq!((&records[2]["key"], &records[2]["value"]), (&Value::Null, &json!("")));
}

#[test]
fn places_to_begin_and_to_end() {
    let place = Place::new("places");
    topic_with_odd_records(&place);
    let offsets = |args: &[&str]| {
        let all = [&["consume", "odd", "--format", "%o "], args].concat();
        place.ok(&all, "")
    };
    assert_eq!(offsets(&[]), "0 1 2 ");
    assert_eq!(offsets(&["--from-beginning", "--max", "2"]), "0 1 ");
    assert_eq!(offsets(&["--max", "0"]), "");
    assert_eq!(offsets(&["--offset", "1"]), "1 2 ");
    assert_eq!(offsets(&["--offset", "3"]), "", "the end is a place to begin");
    assert_eq!(offsets(&["--offset", "-1"]), "2 ");
    assert_eq!(offsets(&["--offset", "-100"]), "0 1 2 ");
    assert_eq!(offsets(&["--timestamp", "1700000000001"]), "1 2 ");
    assert_eq!(offsets(&["--timestamp", "2023-11-14T22:13:20.002Z", "--partition", "0"]), "2 ");
    assert_eq!(offsets(&["--timestamp", "1700000000003"]), "");
}

#[test]
fn keys_and_partitions() {
    let place = Place::new("keys");
    place.ok(&["topic", "create", "t", "--partitions", "3"], "");
    place.ok(&["produce", "t", "--key-separator", ": "], "a: 1\nb: 2\na: 3\nc: \n");
    let all = place.ok(&["consume", "t", "--format", r"%p %k=%s\n"], "");
    // Kafka's murmur2.
    let partition = |key: &str| {
        let broker = ottla::Broker::open(place.data()).unwrap();
        broker.topic("t").unwrap().partition_for_key(key).unwrap().id()
    };
    let expected =
        [("a", "1"), ("b", "2"), ("a", "3"), ("c", "")].map(|(k, v)| (partition(k), format!("{k}={v}")));
    let mut expected: Vec<_> = expected.into_iter().collect();
    expected.sort_by_key(|(partition, _)| *partition);
    let expected: String =
        expected.iter().map(|(partition, record)| format!("{partition} {record}\n")).collect();
    assert_eq!(all, expected);

    place.ok(&["produce", "t", "--key-separator", "=", "--partition", "2"], "x=1\n");
    let last = place.ok(&["consume", "t", "--partition", "2", "--offset", "-1", "--format", "%k %s"], "");
    assert_eq!(last, "x 1", "the partition that was named rules over the key");
}

#[test]
fn the_directory_is_named_by_option_or_environment() {
    let place = Place::new("named");
    place.ok(&["topic", "create", "one", "--dir", "here"], "");
    let mut command = place.command(&["topic", "list"]);
    let output = command.env("OTTLA_DIR", place.path().join("here")).output().unwrap();
    assert_eq!(output.stdout, b"one\n");
    assert!(!place.data().exists());
    place.ok(&["produce", "made", "--create"], "a\n");
    assert_eq!(place.ok(&["--dir", "data", "topic", "list"], ""), "made\n");
}

#[test]
fn what_a_crash_has_left_is_told() {
    let place = Place::new("crash");
    place.ok(&["produce", "t", "--create"], "a\n");
    std::fs::remove_file(place.data().join(".kafka_cleanshutdown")).unwrap();
    let log = place.data().join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend(b"half a batch");
    std::fs::write(&log, bytes).unwrap();
    let answer = place.call(&["consume", "t"], "");
    assert_eq!((answer.code, answer.text().as_str()), (0, "a\n"));
    let told = "recovered t-0 up to offset 1: 12 bytes behind it were cut, and are kept in ";
    assert!(answer.stderr.starts_with(told), "{answer:?}");
    assert_eq!(place.call(&["consume", "t"], "").stderr, "", "once");
}
