//! `--read-only`: what is there is printed, what is damaged is told, and nothing changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ottla::Broker;
use serde_json::Value;

use crate::inspecting::{damaged, sound, torn};
use crate::support::Place;

const DAMAGED: i32 = 3;

/// Every file of the data directory, with its bytes.
fn files(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let below = |path: PathBuf| if path.is_dir() { names(&path) } else { vec![path] };
    let files = names(&place.data()).into_iter().flat_map(below);
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_sound_directory_is_read_and_not_even_locked() {
    let place = sound("read-only-sound");
    fs::remove_file(place.data().join(".lock")).unwrap();
    let before = files(&place);
    for (args, expected) in [
        (&["topic", "list", "--read-only"][..], "t\n"),
        (&["consume", "t", "--read-only", "--format", "%o %k\\n"], "0 k\n1 k\n2 k\n"),
        (&["consume", "t", "--read-only", "--offset", "-1"], "third\n"),
        (&["consume", "t", "--read-only", "--timestamp", "1700000000002", "--max", "1"], "third\n"),
    ] {
        let answer = place.call(args, "");
        assert_eq!(
            (answer.code, String::from_utf8_lossy(&answer.stdout).as_ref()),
            (0, expected),
            "{args:?} {answer:?}"
        );
        assert_eq!(answer.stderr, "", "{args:?}");
    }
    let described = place.call(&["topic", "describe", "t", "--read-only"], "");
    let own = String::from_utf8_lossy(&described.stdout).into_owned();
    assert_eq!(files(&place), before, "nothing changes");
    let with_owner = place.call(&["topic", "describe", "t"], "");
    assert_eq!(own, String::from_utf8_lossy(&with_owner.stdout), "the same as an owner sees");
    let refused = place.call(&["consume", "none", "--read-only"], "");
    assert_eq!(refused.code, 1, "{refused:?}");
    let odd = place.call(&["consume", "t", "--read-only", "--offset", "7"], "");
    assert!(odd.code == 1 && odd.stderr.contains("describe --read-only"), "{odd:?}");
}

#[test]
fn a_gap_is_told_on_standard_error_and_the_exit_code_is_3() {
    let place = damaged("read-only-damaged");
    let before = files(&place);
    let answer = place.call(&["consume", "t", "--read-only"], "");
    assert_eq!((answer.code, &answer.stdout[..]), (DAMAGED, &b"first\nthird\n"[..]), "{answer:?}");
    assert!(answer.stderr.starts_with("damaged: the offset 1 is damaged: "), "{answer:?}");
    assert!(answer.stderr.contains("00000000000000000000.log, byte "), "{answer:?}");
    let json = place.call(&["consume", "t", "--read-only", "--json"], "");
    let told: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((&told["damage"]["topic"], &told["damage"]["offset"]), (&"t".into(), &1.into()), "{told}");
    assert!(told["damage"]["file"].is_string() && told["damage"]["position"].is_u64(), "{told}");

    fs::remove_file(place.data().join("t-0/leader-epoch-checkpoint")).unwrap();
    for args in [
        &["consume", "t", "--read-only"][..],
        &["topic", "list", "--read-only"],
        &["topic", "describe", "t", "--read-only"],
    ] {
        let answer = place.call(args, "");
        assert_eq!(answer.code, DAMAGED, "{args:?} {answer:?}");
        assert!(
            answer.stderr.contains("the leader epochs of a partition with records are missing"),
            "{answer:?}"
        );
    }
    assert_eq!(files(&place).len() + 1, before.len(), "nothing is made");
}

#[test]
fn what_was_not_closed_in_order_is_shown_as_far_as_it_is_proven_and_an_owner_is_named() {
    let place = torn("read-only-torn");
    let before = files(&place);
    let answer = place.call(&["consume", "t", "--read-only"], "");
    assert_eq!((answer.code, &answer.stdout[..]), (0, &b"first\nsec\nond\\\nthird\n"[..]), "{answer:?}");
    assert!(answer.stderr.contains("It was not closed in order"), "{answer:?}");
    assert_eq!(files(&place), before, "nothing is cut");
    let owner = Broker::open(place.data()).unwrap();
    let refused = place.call(&["topic", "list", "--read-only"], "");
    assert!(refused.code == 1 && refused.stderr.contains("in use by process"), "{refused:?}");
    drop(owner);
}
