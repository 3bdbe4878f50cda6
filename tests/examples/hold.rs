//! Holds a data directory open, and does there what standard input says: for the tests with a broker that is not ours.
//!
//! `hold DIR` opens the directory, gives topic `held` some records if it has none, and prints `open`. Then each line is
//! a command: `append` appends a record and prints its offset, `count` reads all records and prints how many they are,
//! `close` closes in order, prints `closed`, and ends. An error is printed with its kind; the exit status is then 3.

use std::process::ExitCode;
use std::time::Duration;

use ottla::{Broker, Offset, Record, Start, Topic, TopicConfig};

const FIRST_RECORDS: Offset = 10;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: hold DIR");
        return ExitCode::from(2);
    };
    match Broker::open(dir).and_then(|broker| hold(&broker)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:?}: {error}", error.kind());
            ExitCode::from(3)
        }
    }
}

fn hold(broker: &Broker) -> ottla::Result<()> {
    let topic = broker.ensure_topic("held", TopicConfig::new())?;
    if count(&topic)? == 0 {
        for _ in 0..FIRST_RECORDS {
            append(&topic)?;
        }
    }
    println!("open");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "append" => println!("{}", append(&topic)?),
            "count" => println!("{}", count(&topic)?),
            "close" => {
                broker.close(Duration::from_secs(60))?;
                println!("closed");
                break;
            }
            other => eprintln!("there is no command {other:?}"),
        }
    }
    Ok(())
}

/// Appends a record that holds its own offset.
fn append(topic: &Topic) -> ottla::Result<Offset> {
    let offset = topic.partition(0)?.log_end_offset();
    let metadata = topic.producer().send(Record::new(&offset.to_string()).expected_offset(offset))?.wait()?;
    Ok(metadata.offset())
}

/// Reads every record back; each has to be what [`append`] sent.
fn count(topic: &Topic) -> ottla::Result<Offset> {
    let mut count = 0;
    for batch in topic.partition(0)?.read(Start::Earliest)? {
        for record in &batch? {
            assert_eq!((record.offset(), record.value()), (count, Some(count.to_string().as_bytes())));
            count += 1;
        }
    }
    Ok(count)
}
