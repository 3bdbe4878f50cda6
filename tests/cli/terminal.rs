//! Progress: on a terminal, for work that takes a while, and nothing of it elsewhere.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::Place;

/// Runs `ottla produce` on a terminal (of util-linux's `script`), fed through a pipe with a name.
#[test]
fn a_terminal_sees_how_far_it_is() {
    let place = Place::new("terminal");
    let made = Command::new("mkfifo").arg(place.path().join("input")).status().unwrap();
    assert!(made.success());
    let shell = format!("'{}' produce t --create < input", env!("CARGO_BIN_EXE_ottla"));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]).current_dir(place.path());
    command.env_remove("OTTLA_DIR").env("TERM", "xterm");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = OpenOptions::new().write(true).open(place.path().join("input")).unwrap();
    let mut terminal = child.stdout.take().unwrap();

    // It is fed until it has drawn something: it does so only for what takes a while.
    let mut seen = String::new();
    let mut lines = 0;
    let (drawn, drawing) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            _ = drawn.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
    });
    while !seen.contains("B/s durable ") {
        writeln!(input, "a line").unwrap();
        lines += 1;
        seen.extend(drawing.try_iter());
    }
    drop(input);
    assert!(child.wait().unwrap().success(), "{seen}");
    reader.join().unwrap();
    seen.extend(drawing.try_iter());
    assert!(seen.ends_with(&format!("durable {lines}\r\n")), "the end is plain: {seen:?}");
}

#[test]
fn elsewhere_there_is_nothing_of_it() {
    let place = Place::new("no-terminal");
    let answer = place.call(&["produce", "t", "--create"], "a line\n".repeat(200_000));
    assert!(answer.stdout.is_empty());
    assert!(answer.stderr.lines().all(|line| line.starts_with("durable ")), "{}", answer.stderr);
    let answer = place.call(&["consume", "t"], "");
    assert_eq!((answer.stdout.len(), answer.stderr.as_str()), (200_000 * 7, ""));
}

#[test]
fn what_is_done_at_once_draws_nothing() {
    let place = Place::new("at-once");
    place.ok(&["produce", "t", "--create"], "a line\n");
    let shell = format!("'{}' verify", env!("CARGO_BIN_EXE_ottla"));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]).current_dir(place.path());
    command.env_remove("OTTLA_DIR").env("TERM", "xterm");
    let seen = command.stdin(Stdio::null()).output().unwrap().stdout;
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("Sound: 1 partitions, ") && seen.lines().count() == 1, "{seen:?}");
}
