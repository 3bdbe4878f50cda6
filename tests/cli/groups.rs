//! Consumer groups: `consume --group`, and `group` with all that it can.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::inspecting::copy;
use crate::support::Place;

/// Topic `t` with partitions 0 and 1; lines a, b, c in 0 and d, e in 1.
fn place_with_topic(name: &str) -> Place {
    let place = Place::new(name);
    place.ok(&["topic", "create", "t", "--partitions", "2"], "");
    place.ok(&["produce", "t", "--partition", "0"], "a\nb\nc\n");
    place.ok(&["produce", "t", "--partition", "1"], "d\ne\n");
    place
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

fn describe(place: &Place, group: &str) -> Value {
    serde_json::from_str(&place.ok(&["group", "describe", group, "--json"], "")).unwrap()
}

/// The committed offset of each partition, null where there is none.
fn committed(place: &Place, group: &str) -> Vec<Value> {
    let described = describe(place, group);
    let partitions = described["partitions"].as_array().unwrap().iter();
    partitions.map(|partition| partition["committed"].clone()).collect()
}

#[test]
fn a_group_goes_on_where_it_has_left_off() {
    let place = place_with_topic("group-consume");
    let consume = ["consume", "t", "--group", "billing"];
    assert_eq!(place.ok(&["group", "list"], ""), "");
    assert_eq!(sorted(&place.ok(&consume, "")), ["a", "b", "c", "d", "e"]);
    assert_eq!(place.ok(&consume, ""), "");
    place.ok(&["produce", "t", "--partition", "1"], "f\n");
    assert_eq!(place.ok(&consume, ""), "f\n");
    assert_eq!(place.ok(&["group", "list"], ""), "billing\n");
    assert_eq!(
        sorted(&place.ok(&["consume", "t", "--group", "other"], "")).len(),
        6,
        "each group has its own"
    );
    let listed: Value = serde_json::from_str(&place.ok(&["group", "list", "--json"], "")).unwrap();
    let expected = json!([{"group": "billing", "state": "Empty"}, {"group": "other", "state": "Empty"}]);
    assert_eq!(listed, expected);
    assert_eq!(place.ok(&["consume", "t"], "").lines().count(), 6, "without a group it reads everything");
}

#[test]
fn what_was_printed_is_committed_and_no_more() {
    let place = place_with_topic("group-max");
    let consume = ["consume", "t", "--group", "billing", "--max", "2", "--format", "%p%o "];
    let mut seen = Vec::new();
    for left in [3, 1, 0, 0] {
        let lines = place.ok(&consume, "");
        seen.extend(lines.split_whitespace().map(str::to_owned));
        let committed: u64 = committed(&place, "billing").iter().filter_map(Value::as_u64).sum();
        assert_eq!(committed, 5 - left, "after {seen:?}");
    }
    seen.sort();
    assert_eq!(seen, ["00", "01", "02", "10", "11"]);
}

#[test]
fn what_nobody_has_read_is_not_committed() {
    let place = place_with_topic("group-broken-pipe");
    // More than fits into a pipe: the command is held up before it can commit.
    place.ok(&["produce", "t", "--partition", "0"], format!("{}\n", "x".repeat(1000)).repeat(3000));
    let mut command = place.command(&["consume", "t", "--group", "billing"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    assert!(child.wait().unwrap().success(), "who has stopped reading has seen enough");
    let printed = place.ok(&["consume", "t", "--group", "billing"], "");
    let all = place.ok(&["consume", "t"], "");
    // The first batch is larger than a pipe, so that it broke in there.
    assert_eq!(printed.lines().count(), all.lines().count(), "something was committed that nobody has read");
    assert_eq!(place.ok(&["consume", "t", "--group", "billing"], ""), "");
}

#[test]
fn describing_shows_the_lag() {
    let place = place_with_topic("group-describe");
    place.ok(&["consume", "t", "--group", "billing"], "");
    place.ok(&["produce", "t", "--partition", "1"], "f\ng\n");
    let text = place.ok(&["group", "describe", "billing"], "");
    let table = "\
GROUP    TOPIC  PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST  CLIENT-ID
billing  t      0          3               3               0    -            -     -
billing  t      1          2               4               2    -            -     -
";
    let (line, rest) = text.split_once("\n\n").unwrap();
    assert!(line.starts_with("Group: billing\tState: Empty\tGeneration: "), "{line}");
    assert!(line.ends_with("\tAssignor: -\tMembers: 0"), "{line}");
    assert_eq!(rest, table);
    let described = describe(&place, "billing");
    assert_eq!(described["group"], "billing");
    assert_eq!(described["members"], json!([]));
    let one = &described["partitions"][1];
    assert_eq!((&one["committed"], &one["highWatermark"], &one["lag"]), (&json!(2), &json!(4), &json!(2)));
    // A topic that is gone has taken with it what was committed of it.
    place.ok(&["topic", "delete", "t"], "");
    assert_eq!(describe(&place, "billing")["partitions"], json!([]));
}

#[test]
fn offsets_are_reset() {
    let place = place_with_topic("group-reset");
    place.ok(&["consume", "t", "--group", "billing"], "");
    let reset = |more: &[&str]| {
        let args = [&["group", "reset-offsets", "billing", "--topic", "t"], more].concat();
        let printed = place.ok(&args, "");
        let lines: Vec<Vec<_>> =
            printed.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        assert_eq!(lines[0], ["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"]);
        lines[1..].iter().map(|line| (line[2].clone(), line[3].clone())).collect::<Vec<_>>()
    };
    let both =
        |zero: &str, one: &str| vec![("0".to_owned(), zero.to_owned()), ("1".to_owned(), one.to_owned())];
    assert_eq!(reset(&["--to", "earliest", "--dry-run"]), both("0", "0"));
    assert_eq!(committed(&place, "billing"), [3, 2], "a dry run moves nothing");
    assert_eq!(reset(&["--to", "earliest"]), both("0", "0"));
    assert_eq!(committed(&place, "billing"), [0, 0]);
    assert_eq!(reset(&["--to", "latest"]), both("3", "2"));
    assert_eq!(reset(&["--to", "1", "--partition", "0"]), both("1", "")[..1]);
    assert_eq!(committed(&place, "billing"), [1, 2]);
    assert_eq!(place.ok(&["consume", "t", "--group", "billing"], ""), "b\nc\n");
    assert_eq!(reset(&["--to", "1970-01-01T00:00:00Z"]), both("0", "0"));
    assert_eq!(reset(&["--to", "2100-01-01T00:00:00Z"]), both("3", "2"), "nothing is as late");
    // As with Kafka's tool, a group can be there before its first consumer.
    place.ok(&["group", "reset-offsets", "audit", "--topic", "t", "--to", "latest"], "");
    place.ok(&["produce", "t", "--partition", "0"], "new\n");
    assert_eq!(place.ok(&["consume", "t", "--group", "audit"], ""), "new\n");
}

#[test]
fn a_deleted_group_begins_anew() {
    let place = place_with_topic("group-delete");
    place.ok(&["consume", "t", "--group", "billing"], "");
    place.ok(&["consume", "t", "--group", "other"], "");
    assert_eq!(place.ok(&["group", "delete", "billing"], ""), "Deleted group billing.\n");
    assert_eq!(place.ok(&["group", "list"], ""), "other\n");
    assert_eq!(place.call(&["group", "describe", "billing"], "").code, 1);
    assert_eq!(place.ok(&["consume", "t", "--group", "other"], ""), "", "others stay as they are");
    assert_eq!(place.ok(&["consume", "t", "--group", "billing"], "").lines().count(), 5);
}

#[test]
fn an_export_is_what_kafkas_tool_takes() {
    let place = place_with_topic("group-export");
    place.ok(&["topic", "create", "a.b_c-d"], "");
    place.ok(&["produce", "a.b_c-d"], "1\n");
    place.ok(&["consume", "t", "--group", "billing"], "");
    place.ok(&["consume", "a.b_c-d", "--group", "billing"], "");
    // Its CsvRecordNoGroup: no header, no quotes, these three columns.
    assert_eq!(place.ok(&["group", "export", "billing"], ""), "a.b_c-d,0,1\nt,0,3\nt,1,2\n");
    let exported: Value =
        serde_json::from_str(&place.ok(&["group", "export", "billing", "--json"], "")).unwrap();
    assert_eq!(exported[2], json!({"topic": "t", "partition": 1, "offset": 2}));
}

/// The rows that Kafka's own tool has printed of a directory, and ours of the same one, taken over.
#[test]
fn an_adopted_directory_has_the_groups_that_kafkas_tool_shows() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka");
    let place = Place::new("group-adopted");
    copy(&fixtures.join("groups"), &place.data());
    place.ok(&["adopt", "data", "--config", "durability=os"], "");
    let kafkas = fs::read_to_string(fixtures.join("expected/groups/describe.txt")).unwrap();
    let mut compared = 0;
    // What is left out is whose each partition was: those members are gone.
    let rows = |text: &str, group: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().take(6).map(str::to_owned).collect());
        let mut rows: Vec<Vec<_>> = lines.filter(|row: &Vec<_>| row.len() == 6 && row[0] == group).collect();
        rows.sort();
        rows
    };
    for group in place.ok(&["group", "list"], "").lines() {
        let expected: Vec<_> = rows(&kafkas, group).into_iter().filter(|row| row[3] != "-").collect();
        let ours = place.ok(&["group", "describe", group], "");
        assert_eq!(rows(&ours, group), expected, "{group}:\n{ours}");
        compared += expected.len();
    }
    assert!(compared > 20, "{compared}");
}
