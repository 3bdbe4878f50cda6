//! Much through the streams: files that come back as they were, a producer that is killed, readers that go away.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::Place;

/// The text of this repository, as often as it takes for so many lines.
fn real_text(lines: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.extend(fs::read(path).unwrap());
            }
        }
    }
    assert!(text.is_ascii() || std::str::from_utf8(&text).is_ok());
    let has = text.iter().filter(|byte| **byte == b'\n').count();
    text.repeat(lines.div_ceil(has))
}

#[test]
fn a_text_of_a_hundred_thousand_lines_comes_out_as_it_went_in() {
    let place = Place::new("text");
    let text = real_text(100_000);
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    place.ok(&["topic", "create", "text", "--config", "segment.bytes=1048576"], "");
    let produced = place.call(&["produce", "text"], &text);
    assert_eq!(produced.code, 0, "{produced:?}");
    assert_eq!(produced.stderr.lines().last(), Some(format!("durable {lines}").as_str()));
    assert!(produced.stdout.is_empty());
    let consumed = place.call(&["consume", "text"], "");
    assert_eq!((consumed.code, consumed.stderr.as_str()), (0, ""));
    assert!(consumed.stdout == text, "{} bytes came back of {}", consumed.stdout.len(), text.len());
}

#[test]
fn lines_of_every_length_and_of_any_bytes() {
    let place = Place::new("bytes");
    let every_byte: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let mut text = Vec::new();
    for length in [0, 1, 100, 4096, 65_536, 262_144, 1_000_000] {
        text.extend(every_byte.iter().cycle().take(length));
        text.push(b'\n');
    }
    text.extend(b"windows\r\n\n");
    place.ok(&["produce", "t", "--create"], &text);
    assert!(place.call(&["consume", "t"], "").stdout == text);
    // The last line may lack its end.
    place.ok(&["produce", "u", "--create"], "a\nb");
    assert_eq!(place.ok(&["consume", "u"], ""), "a\nb\n");
    let nothing = place.call(&["produce", "v", "--create"], "");
    assert_eq!((nothing.code, nothing.stderr.as_str()), (0, "durable 0\n"));
}

#[test]
fn whatever_the_level_and_whatever_is_asked_for_all_is_durable_at_the_end() {
    let place = Place::new("levels");
    for (topic, level) in [("synced", "synced"), ("interval", "interval:50"), ("os", "os")] {
        place.ok(&["topic", "create", topic, "--config", &format!("durability={level}")], "");
    }
    for (topic, asked) in [
        ("synced", "synced"),
        ("interval", "interval:10"),
        ("interval", "synced"),
        ("os", "interval:1"),
        ("os", "synced"),
    ] {
        let answer = place.call(&["produce", topic, "--durability", asked], real_text(1000));
        assert_eq!(answer.code, 0, "{answer:?}");
    }
}

/// A line of a length that varies.
fn line(number: u64) -> String {
    format!("line {number} {}", "x".repeat((number % 200).try_into().unwrap()))
}

/// A producer that is fed without end, up to its death.
struct Fed {
    child: Child,
    feeder: std::thread::JoinHandle<()>,
}

impl Fed {
    fn start(place: &Place, topic: &str) -> Self {
        let mut command = place.command(&["produce", topic, "--create"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            for number in 1_u64.. {
                if writeln!(input, "{}", line(number)).is_err() {
                    break;
                }
            }
        });
        Self { child, feeder }
    }

    /// Kills it once it has said so often what is durable; returns what it has said last.
    fn kill_after(mut self, times: usize) -> u64 {
        let told = BufReader::new(self.child.stderr.take().unwrap());
        let mut lines = told.lines().map(Result::unwrap);
        let mut durable = lines.nth(times - 1).unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if let Some(last) = lines.last() {
            durable = last;
        }
        self.feeder.join().unwrap();
        durable.strip_prefix("durable ").unwrap().parse().unwrap()
    }
}

#[test]
fn after_a_kill_every_line_is_there_that_was_said_to_be_durable() {
    for times in [1, 2, 3] {
        let place = Place::new(&format!("kill-{times}"));
        let durable = Fed::start(&place, "t").kill_after(times);
        let consumed = place.call(&["consume", "t"], "");
        assert_eq!(consumed.code, 0, "{}", consumed.stderr);
        let mut count = 0;
        for (consumed, number) in consumed.text().lines().zip(1_u64..) {
            assert_eq!(consumed, line(number));
            count = number;
        }
        assert!(count >= durable && durable > 0, "{count} lines are there, and {durable} were durable");
    }
}

/// Lines that come slowly are told of as they come, and the process waits for more without doing anything.
#[test]
fn a_line_that_comes_alone_is_told_of() {
    let place = Place::new("slow");
    let mut command = place.command(&["produce", "t", "--create"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    for number in 1..=3 {
        writeln!(input, "line {number}").unwrap();
        assert_eq!(told.next().unwrap(), format!("durable {number}"));
    }
    drop(input);
    assert_eq!(told.last().unwrap(), "durable 3");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new("pipe");
    place.ok(&["produce", "t", "--create"], real_text(50_000));
    for args in [&["consume", "t"][..], &["consume", "t", "--json"]] {
        let mut command = place.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 1];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    assert!(place.data().join(".kafka_cleanshutdown").exists(), "and the directory is closed in order");
}

/// Whoever cannot be told still gets the work done; an output that fails otherwise is an error.
#[test]
fn standard_error_may_be_closed_and_a_full_disk_is_an_error() {
    let place = Place::new("closed");
    let mut command = place.command(&["produce", "t", "--create"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a\nb\n").unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(place.ok(&["consume", "t"], ""), "a\nb\n");

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["consume", "t"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("ottla: could not write to standard output: "), "{message}");
}

/// A file that may grow no more is a full disk to whoever writes it, and a small batch would still get in.
#[test]
fn what_a_full_disk_does_not_take_leaves_no_gap() {
    let place = Place::new("full");
    let lines: String = (0..30_000).map(|number| format!("key-{} {}\n", number % 7, line(number))).collect();
    for (topic, partitions, options) in
        [("one", 1, ""), ("any", 3, ""), ("keyed", 3, "--key-separator ' '"), ("named", 3, "--partition 2")]
    {
        place.ok(&["topic", "create", topic, "--partitions", &partitions.to_string()], "");
        let produce = format!("'{}' produce {topic} {options}", env!("CARGO_BIN_EXE_ottla"));
        let shell = format!("trap '' XFSZ; ulimit -f 1000; exec {produce}");
        let answer = place.feed(place.shell(&shell), &lines);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.stderr.contains("File too large"), "the reason, not what came of it: {answer:?}");
        let told = answer.stderr.lines().rfind(|line| line.starts_with("durable ")).unwrap_or("durable 0");
        let durable: usize = told["durable ".len()..].parse().unwrap();

        let mut there = Vec::new();
        for partition in 0..partitions {
            let values = place.ok(&["consume", topic, "--partition", &partition.to_string()], "");
            let number = |line: &str| line.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap();
            let numbers: Vec<_> = values.lines().map(number).collect();
            assert!(numbers.is_sorted(), "{topic}-{partition} has another order");
            there.extend(numbers);
        }
        there.sort_unstable();
        let whole = there.iter().zip(0..).take_while(|(there, number)| *there == number).count();
        assert!(durable <= whole && whole < 30_000, "{topic}: {whole} lines are there, {durable} durable");
        if ["one", "named"].contains(&topic) {
            assert_eq!(whole, there.len(), "{topic} has a gap");
        }
    }
}
