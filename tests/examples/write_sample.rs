//! Writes a data directory and, beside it, what was sent to each of its topics as JSON lines, for a decoder that is not
//! ours. There is a topic for each codec, `sample-zstd` and so on, and all are sent the same.
//!
//! `write_sample DIR OUT.jsonl [NAME=VALUE…]`, with configurations of the topics, or `batch.size`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use ottla::{Broker, Record, Topic, TopicConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: write_sample DIR OUT.jsonl [NAME=VALUE…]".into());
    };
    let (mut options, mut config) = (Broker::options(), TopicConfig::new().segment_bytes(64 * 1024));
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or("a configuration is NAME=VALUE")?;
        match name {
            "batch.size" => options = options.batch_size(value.parse()?),
            _ => config = config.set(name, value)?,
        }
    }
    let broker = options.open(&dir)?;
    for codec in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let config = config.clone().set("compression.type", codec)?;
        write(&broker.create_topic(&format!("sample-{codec}"), config)?, &out)?;
    }
    broker.close(Duration::from_secs(60))?;
    Ok(())
}

fn write(topic: &Topic, out: &str) -> Result<(), Box<dyn std::error::Error>> {
    let producer = topic.producer();
    // What is sent is written down, and not what the library reads back: two mistakes could agree.
    let mut out = std::io::BufWriter::new(std::fs::File::create(out)?);
    for number in 0..5000u32 {
        let sent = Sent::new(number);
        let delivery = producer.send(sent.record())?;
        writeln!(out, "{}", sent.json(delivery.offset()))?;
        if number % 100 == 0 {
            delivery.wait()?;
        }
    }
    producer.flush()?;
    out.flush()?;
    Ok(())
}

type Bytes = Option<Vec<u8>>;

/// A record with all the forms that keys, values and headers take.
struct Sent {
    timestamp: i64,
    key: Bytes,
    value: Bytes,
    headers: Vec<(&'static str, Bytes)>,
}

impl Sent {
    fn new(number: u32) -> Self {
        let key = Some(format!("key-{}", number % 7).into_bytes());
        let value = Some(vec![(number % 251) as u8; (number as usize * 37) % 300]);
        let timestamp = 1_700_000_000_000 + i64::from(number * 31 % 1000);
        let plain = Self { timestamp, key: None, value: value.clone(), headers: Vec::new() };
        match number % 5 {
            0 => plain,
            1 => Self { key, ..plain },
            2 => Self {
                headers: vec![("trace", key), ("", Some(b"empty name".to_vec()))],
                key: Some(Vec::new()),
                ..plain
            },
            3 => Self { key, value: None, ..plain },
            _ => {
                Self { key, headers: vec![("é", value), ("null", None), ("é", Some(Vec::new()))], ..plain }
            }
        }
    }

    fn record(&self) -> Record<'_> {
        let mut record = Record::default().timestamp(self.timestamp);
        if let Some(value) = &self.value {
            record = Record::new(value).timestamp(self.timestamp);
        }
        if let Some(key) = &self.key {
            record = record.key(key);
        }
        for (name, value) in &self.headers {
            record = match value {
                Some(value) => record.header(name, value),
                None => record.null_header(name),
            };
        }
        record
    }

    fn json(&self, offset: u64) -> String {
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("[{name:?}, {}]", hex(value.as_deref())))
            .collect();
        format!(
            r#"{{"offset": {offset}, "timestamp": {}, "key": {}, "value": {}, "headers": [{}]}}"#,
            self.timestamp,
            hex(self.key.as_deref()),
            hex(self.value.as_deref()),
            headers.join(", ")
        )
    }
}

fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let mut text = String::from("\"");
    for byte in bytes {
        _ = write!(text, "{byte:02x}");
    }
    text + "\""
}
