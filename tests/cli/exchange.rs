//! `adopt` and `hand-over`: with directories as Kafka leaves them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, assert_without_rust};

/// A stopped broker's log directory that has the topic with one empty partition.
fn make_kafka(place: &Place) {
    let dir = place.path().join("kafka/orders-0");
    fs::create_dir_all(&dir).unwrap();
    fs::write(place.path().join("kafka/meta.properties"), "version=1\nnode.id=1\n").unwrap();
    fs::write(dir.join("partition.metadata"), "version: 0\ntopic_id: rE6H2AcSSMCQ7GdNHWIEMQ").unwrap();
    fs::write(dir.join("leader-epoch-checkpoint"), "0\n1\n0 0\n").unwrap();
    for suffix in ["log", "index", "timeindex"] {
        fs::write(dir.join(format!("00000000000000000000.{suffix}")), "").unwrap();
    }
}

#[test]
fn a_topic_goes_to_kafka_and_the_directory_comes_and_goes() {
    let place = Place::new("exchange");
    make_kafka(&place);
    place.ok(&["produce", "orders", "--create"], "a\nb\n");
    let handed = place.ok(&["hand-over", "orders", "--to", "kafka"], "");
    assert!(
        handed.starts_with("Handed over topic orders.\n\tPartition: 0\tLogStartOffset: 0\tLogEndOffset: 2\t"),
        "{handed}"
    );
    assert!(handed.contains("\nNext: start the broker on "), "{handed}");

    let refused = place.call(&["--dir", "kafka", "topic", "list"], "");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("only one that is stopped can be adopted")
            && refused.stderr.contains("ottla adopt"),
        "{}",
        refused.stderr
    );
    let adopted = place.ok(&["adopt", "kafka", "--config", "durability=os"], "");
    assert!(adopted.starts_with("Adopted kafka, whose broker had not stopped in order.\n"), "{adopted}");
    assert!(
        adopted.contains("\tTopic: orders\tPartition: 0\tLogStartOffset: 0\tLogEndOffset: 2\n"),
        "{adopted}"
    );
    assert!(place.ok(&["--dir", "kafka", "topic", "describe", "orders"], "").contains("durability=os"));
    place.ok(&["--dir", "kafka", "produce", "orders"], "c\n");
    assert_eq!(place.ok(&["--dir", "kafka", "consume", "orders"], ""), "a\nb\nc\n");
    let again = place.call(&["adopt", "kafka"], "");
    assert!(again.code == 1 && again.stderr.contains("ours already"), "{again:?}");

    place.ok(&["--dir", "kafka", "topic", "create", "made-here"], "");
    let unknown = place.call(&["adopt", "--undo", "kafka"], "");
    assert!(unknown.code == 1 && unknown.stderr.contains("hand the topic over from the copy"), "{unknown:?}");
    assert_without_rust(&unknown.stderr);
    place.ok(&["--dir", "kafka", "topic", "delete", "made-here"], "");

    let returned = place.ok(&["adopt", "--undo", "kafka"], "");
    assert!(returned.starts_with("Returned kafka to Kafka: 1 topics, 1 partitions.\n"), "{returned}");
    assert!(place.path().join("kafka/meta.properties").exists());
    assert_eq!(place.call(&["adopt", "--undo", "kafka"], "").code, 1);
}

#[test]
fn the_same_in_json() {
    let place = Place::new("exchange-json");
    make_kafka(&place);
    place.ok(&["produce", "orders", "--create"], "a\nb\n");
    let ask = |args: &[&str]| -> Value {
        serde_json::from_str(&place.ok(&[args, &["--json"]].concat(), "")).unwrap()
    };
    let handed = ask(&["hand-over", "orders", "--to", "kafka", "--move"]);
    assert_eq!((&handed["handedOver"], &handed["givenUp"]), (&json!("orders"), &json!(true)));
    assert_eq!(handed["partitions"][0]["logEndOffset"], 2);
    assert_eq!(ask(&["topic", "list"]), json!([]));
    let adopted = ask(&["adopt", "kafka"]);
    let partition = json!({"topic": "orders", "partition": 0, "logStartOffset": 0, "logEndOffset": 2});
    assert_eq!((&adopted["adopted"], &adopted["partitions"]), (&json!("kafka"), &json!([partition])));
    let returned = ask(&["adopt", "--undo", "kafka"]);
    let expected = json!({"returned": "kafka", "topics": 1, "partitions": 1, "restampedBatches": 0});
    assert_eq!(returned, expected);
}

#[test]
fn what_cannot_be_handed_over_or_adopted_is_left_as_it_was() {
    let place = Place::new("exchange-refused");
    make_kafka(&place);
    place.ok(&["topic", "create", "orders", "--partitions", "2"], "");
    place.ok(&["topic", "create", "other"], "");
    let before = place.content();
    for (args, says) in [
        (&["hand-over", "orders", "--to", "kafka"][..], "than here (0 to 1)"),
        (&["hand-over", "other", "--to", "kafka"], "create the topic with 1 partitions"),
        (&["hand-over", "nobody", "--to", "kafka"], "no such topic"),
        (&["hand-over", "orders", "--to", "data"], "meta.properties"),
        (&["adopt", "nowhere"], "no Kafka broker's directory"),
        (&["adopt", "kafka", "--config", "segment.bytes=1"], "segment.bytes"),
        (&["adopt", "--undo", "kafka"], "already"),
        (&["adopt", "--undo", "data"], "was not taken over"),
    ] {
        let answer = place.call(args, "");
        assert_eq!(answer.code, 1, "{args:?}: {answer:?}");
        assert!(answer.stderr.contains(says), "{args:?}: {}", answer.stderr);
        assert_without_rust(&answer.stderr);
        assert_eq!(place.content(), before, "{args:?}");
    }
}
