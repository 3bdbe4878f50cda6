//! The records of a batch, compressed and decompressed: codecs that are there, their bounds and their workspaces.
//!
//! What is compressed is everything behind the header, as one stream. The formats are those that Kafka's own code
//! writes and reads, each described in its file; all but Kafka's batch are little-endian.
//!
//! | Codec | Written | Read |
//! |---|---|---|
//! | gzip | one member, level 6 if nothing else is said | members one behind the other |
//! | snappy | xerial's framing, blocks of 32 KiB | xerial's framing, or one raw block, as librdkafka writes it |
//! | lz4 | one frame of independent blocks of 64 KiB, without checksums | one frame of independent blocks, with or without |
//! | zstd | one frame, level 3 if nothing else is said | frames one behind the other |

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(test)]
mod tests;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt;
use std::sync::Arc;

use super::HEADER_LEN;
use crate::config::CompressionLevels;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Compression;
use crate::sync::Mutex;

/// The codecs of a broker: how much a batch may hold, and the workspaces, which are used again by whoever comes.
#[derive(Debug)]
pub struct Codecs {
    limit: usize,
    idle: Mutex<Vec<(Compression, Box<dyn Codec>)>>,
}

/// So many workspaces are kept; some take more than a MiB.
const MOST_IDLE: usize = 8;

/// One codec with its workspace.
trait Codec: Send + fmt::Debug {
    /// Appends what `plain` becomes to `out`; a codec without levels looks at none.
    fn compress(&mut self, level: i32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure>;

    /// What `bytes`, all of them, have become of; never more than `limit` bytes, nor room for more than follows from
    /// bytes that are there.
    fn decompress(&mut self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure>;
}

/// Why records are not compressed, or not decompressed.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")),
    expect(dead_code, reason = "without a codec nothing fails")
)]
enum Failure {
    /// They are more than the limit.
    TooLarge,
    /// The bytes are none that the codec writes; in decompressing, they are corrupt.
    Malformed(String),
}

impl Codecs {
    /// `limit` is how many bytes the records of a batch may have before they are compressed.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, idle: Mutex::new(Vec::new()) })
    }

    /// How many bytes the records of a batch may have before they are compressed.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Appends the batch to `packed` with its records compressed; the header is still to be written. False, and nothing
    /// is appended, if that would not make it smaller.
    pub fn pack(
        &self,
        compression: Compression,
        levels: CompressionLevels,
        batch: &[u8],
        packed: &mut Vec<u8>,
    ) -> Result<bool> {
        if compression == Compression::None {
            return Ok(false);
        }
        let before = packed.len();
        let compressed = self.append(compression, levels, batch, packed);
        let is_smaller = packed.len().saturating_sub(before) < batch.len();
        if compressed.is_err() || !is_smaller {
            packed.truncate(before);
        }
        compressed.map(|()| is_smaller)
    }

    /// The batch with its records compressed, whatever that makes of it.
    #[cfg(feature = "test-util")]
    pub fn pack_always(&self, compression: Compression, batch: &[u8]) -> Result<Vec<u8>> {
        let mut packed = Vec::new();
        self.append(compression, CompressionLevels::default(), batch, &mut packed)?;
        Ok(packed)
    }

    fn append(
        &self,
        compression: Compression,
        levels: CompressionLevels,
        batch: &[u8],
        packed: &mut Vec<u8>,
    ) -> Result<()> {
        let (header, records) = batch.split_at_checked(HEADER_LEN).unwrap_or_default();
        packed.extend_from_slice(header);
        let compressed =
            self.with(compression, |codec| codec.compress(level(levels, compression), records, packed))?;
        compressed.map_err(|failure| {
            let what = format!("the records cannot be compressed with {compression}: {failure}");
            Error::new(ErrorKind::InvalidRecord, what)
        })
    }

    /// What the compressed records of a batch are.
    pub fn unpack(&self, compression: Compression, records: &[u8]) -> Result<Vec<u8>> {
        let decompressed = self.with(compression, |codec| codec.decompress(records, self.limit))?;
        decompressed.map_err(|failure| match failure {
            Failure::TooLarge => Error::new(
                ErrorKind::MessageTooLarge,
                format!("a batch that is compressed with {compression} holds more than {} bytes", self.limit),
            )
            .advise("no more is decompressed here"),
            Failure::Malformed(why) => {
                Error::corrupt(format!("a batch cannot be decompressed with {compression}: {why}"))
            }
        })
    }

    /// Lends the workspace of a codec.
    fn with<T>(&self, compression: Compression, work: impl FnOnce(&mut dyn Codec) -> T) -> Result<T> {
        let kept = {
            let mut idle = self.idle.lock();
            let at = idle.iter().position(|(other, _)| *other == compression);
            at.map(|at| idle.remove(at).1)
        };
        let mut codec = match kept.or_else(|| make(compression)) {
            Some(codec) => codec,
            None => return Err(compression.missing()),
        };
        let done = work(codec.as_mut());
        let mut idle = self.idle.lock();
        if idle.len() >= MOST_IDLE {
            // The one that nobody has wanted for the longest time.
            idle.remove(0);
        }
        idle.push((compression, codec));
        Ok(done)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("they are too large"),
            Self::Malformed(why) => f.write_str(why),
        }
    }
}

/// The level of a codec; 0 of one that has none.
fn level(levels: CompressionLevels, compression: Compression) -> i32 {
    match compression {
        Compression::Gzip => levels.gzip,
        Compression::Zstd => levels.zstd,
        Compression::None | Compression::Snappy | Compression::Lz4 => 0,
    }
}

/// A codec, if this build has it.
fn make(compression: Compression) -> Option<Box<dyn Codec>> {
    match compression {
        Compression::None => None,
        #[cfg(feature = "gzip")]
        Compression::Gzip => Some(Box::new(gzip::Gzip::default())),
        #[cfg(feature = "snappy")]
        Compression::Snappy => Some(Box::new(snappy::Snappy::default())),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => Some(Box::new(lz4::Lz4::default())),
        #[cfg(feature = "zstd")]
        Compression::Zstd => Some(Box::new(zstd::Zstd::default())),
        #[cfg(not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")))]
        _ => None,
    }
}

#[cfg(any(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd"))]
fn malformed<T>(why: impl fmt::Display) -> Result<T, Failure> {
    Err(Failure::Malformed(why.to_string()))
}
