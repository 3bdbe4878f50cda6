//! A record as JSON, and its bytes.

use std::fmt::{self, Write as _};
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
pub struct Header<'a> {
    pub key: Bytes<'a>,
    pub value: Option<Bytes<'a>>,
}

/// A string where the bytes are UTF-8, else an object: `{"base64": "…"}`.
pub struct Bytes<'a>(pub &'a [u8]);

/// On one line, whatever they are: `\n` and the like where a line would end, `\xHH` for what is no text.
impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                // A terminal would obey them.
                if char == '\\' || char.is_control() {
                    write!(f, "{}", char.encode_utf8(&mut [0; 4]).as_bytes().escape_ascii())?;
                } else {
                    f.write_char(char)?;
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

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
