//! Writes a data directory and, beside it, what stands in it as JSON lines, for a decoder that is not ours.
//!
//! `write_sample DIR OUT.jsonl`

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use ottla::{Broker, Record, Start, TopicConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: write_sample DIR OUT.jsonl".into());
    };
    let broker = Broker::open(&dir)?;
    let topic = broker.create_topic("sample", TopicConfig::new().segment_bytes(64 * 1024))?;
    let producer = topic.producer();
    for number in 0..5000u32 {
        let key = format!("key-{}", number % 7);
        let value = vec![(number % 251) as u8; (number as usize * 37) % 300];
        let mut record = Record::new(&value).timestamp(1_700_000_000_000 + i64::from(number * 31 % 1000));
        match number % 5 {
            0 => {}
            1 => record = record.key(&key),
            2 => record = record.key("").header("trace", &key).header("", "empty name"),
            3 => record = Record::tombstone(&key).timestamp(1_700_000_000_000),
            _ => record = record.key(&key).header("é", &value).null_header("null").header("é", ""),
        }
        let delivery = producer.send(record)?;
        if number % 100 == 0 {
            delivery.wait()?;
        }
    }
    producer.flush()?;

    let mut out = std::io::BufWriter::new(std::fs::File::create(out)?);
    for batch in topic.partition(0)?.read(Start::Earliest)? {
        for record in &batch? {
            let headers: Vec<String> = record
                .headers()
                .map(|header| format!("[{:?}, {}]", header.key(), hex(header.value())))
                .collect();
            writeln!(
                out,
                r#"{{"offset": {}, "timestamp": {}, "key": {}, "value": {}, "headers": [{}]}}"#,
                record.offset(),
                record.timestamp().unwrap_or(-1),
                hex(record.key()),
                hex(record.value()),
                headers.join(", "),
            )?;
        }
    }
    out.flush()?;
    broker.close(Duration::from_secs(60))?;
    Ok(())
}

fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let mut text = String::from("\"");
    for byte in bytes {
        _ = write!(text, "{byte:02x}");
    }
    text + "\""
}
