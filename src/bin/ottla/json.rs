//! A record as JSON.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ottla::{PartitionId, RecordView};
use serde::{Serialize, Serializer};

/// A line for each record; nothing is lost of bytes that are no text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    topic: &'a str,
    partition: PartitionId,
    offset: u64,
    leader_epoch: Option<u32>,
    timestamp: Option<i64>,
    key: Option<Bytes<'a>>,
    value: Option<Bytes<'a>>,
    headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
struct Header<'a> {
    key: Bytes<'a>,
    value: Option<Bytes<'a>>,
}

/// A string where the bytes are UTF-8, else an object: `{"base64": "…"}`.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Encoded {
            base64: String,
        }
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Encoded { base64: STANDARD.encode(self.0) }.serialize(serializer),
        }
    }
}

pub fn print(
    out: &mut impl Write,
    (topic, partition): (&str, PartitionId),
    record: &RecordView<'_>,
) -> io::Result<()> {
    let headers = record
        .headers()
        .map(|header| Header { key: Bytes(header.key_bytes()), value: header.value().map(Bytes) });
    let record = Record {
        topic,
        partition,
        offset: record.offset(),
        leader_epoch: record.leader_epoch(),
        timestamp: record.timestamp(),
        key: record.key().map(Bytes),
        value: record.value().map(Bytes),
        headers: headers.collect(),
    };
    serde_json::to_writer(&mut *out, &record)?;
    out.write_all(b"\n")
}
