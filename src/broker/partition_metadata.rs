//! Kafka's `partition.metadata`: the topic id, in every partition directory.
//!
//! ```text
//! version: 0
//! topic_id: rE6H2AcSSMCQ7GdNHWIEMQ
//! ```
//!
//! No line end behind the last line (Kafka: `PartitionMetadataFile`).

use std::io;
use std::path::Path;

use crate::error::{Error, IoContext, Result};
use crate::file_name::PARTITION_METADATA;
use crate::model::TopicId;
use crate::vfs::{Vfs, read_file, replace_file};

pub fn store(vfs: &dyn Vfs, dir: &Path, id: TopicId) -> Result<()> {
    replace_file(vfs, dir, PARTITION_METADATA, encode(id).as_bytes())
        .doing("write", &dir.join(PARTITION_METADATA))
}

/// The text of the file.
pub fn encode(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

/// Fails unless the directory belongs to the topic with this id.
pub fn check(vfs: &dyn Vfs, dir: &Path, id: TopicId) -> Result<()> {
    let path = dir.join(PARTITION_METADATA);
    let bytes = match read_file(vfs, &path, 4096) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(
                Error::corrupt("the partition's directory, or the topic id in it, is missing").in_file(&path)
            );
        }
        read => read.doing("read", &path)?,
    };
    let found = decode(&bytes).map_err(|error| error.in_file(&path))?;
    if found == id {
        return Ok(());
    }
    let what = format!("the directory belongs to topic id {found}, and the manifest says {id}");
    Err(Error::corrupt(what).in_file(&path))
}

pub fn decode(bytes: &[u8]) -> Result<TopicId> {
    let malformed = || Error::corrupt("a partition metadata file is not a version and a topic id");
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let mut lines = text.lines();
    let mut field = |name: &str| lines.next()?.split_once(':').filter(|(key, _)| *key == name);
    match (field("version"), field("topic_id")) {
        (Some((_, version)), Some((_, id))) if version.trim() == "0" => {
            TopicId::parse(id.trim()).ok_or_else(malformed)
        }
        _ => Err(malformed()),
    }
}
