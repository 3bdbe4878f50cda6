//! Snappy, in the framing of xerial's library for Java, or as one raw block without any.
//!
//! | Off | Size | Field | |
//! |----:|----:|---|---|
//! | 0 | 8 | magic | `82` `SNAPPY` `00` |
//! | 8 | 4 | version | 1, big-endian |
//! | 12 | 4 | least version that reads it | 1, big-endian |
//! | 16 | 4 | length | of the raw block behind it, big-endian; this and the block again and again |
//!
//! A raw block begins with the length of its plain bytes, which anybody could have written there: room is made for no
//! more than its bytes can become.

use std::fmt;

use byteorder::{BigEndian, ReadBytesExt, WriteBytesExt};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Codec, Failure, malformed};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSION: i32 = 1;
/// What Java's library compresses at a time.
const BLOCK: usize = 32 * 1024;
/// A copy of 64 bytes takes three.
const MOST_EXPANSION: usize = 22;

/// The workspace of snappy: the table of the encoder.
pub struct Snappy {
    encoder: Encoder,
}

impl Default for Snappy {
    fn default() -> Self {
        Self { encoder: Encoder::new() }
    }
}

impl Codec for Snappy {
    fn compress(&mut self, _level: i32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        out.extend_from_slice(&MAGIC);
        let versions = out.write_i32::<BigEndian>(VERSION).and_then(|()| out.write_i32::<BigEndian>(VERSION));
        versions.or_else(malformed)?;
        plain.chunks(BLOCK).try_for_each(|block| self.compress_block(block, out))
    }

    fn decompress(&mut self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let mut plain = Vec::new();
        if !bytes.starts_with(&MAGIC) {
            decompress_block(bytes, &mut plain, limit)?;
            return Ok(plain);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            // Streams may follow one another.
            if let Some(behind) = rest.strip_prefix(&MAGIC) {
                rest = check_versions(behind)?;
                continue;
            }
            let length = rest.read_u32::<BigEndian>().or_else(|_| malformed("a block has no length"))?;
            let block = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
            let Some((block, behind)) = block else {
                return malformed(format!("a block of {length} bytes is longer than what is there"));
            };
            decompress_block(block, &mut plain, limit)?;
            rest = behind;
        }
        Ok(plain)
    }
}

impl Snappy {
    fn compress_block(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let at = out.len();
        let begin = at.saturating_add(4);
        out.resize(begin.saturating_add(max_compress_len(plain.len())), 0);
        let room = out.get_mut(begin..).unwrap_or_default();
        let length = self.encoder.compress(plain, room).or_else(malformed)?;
        out.truncate(begin.saturating_add(length));
        let mut field = out.get_mut(at..begin).unwrap_or_default();
        field.write_u32::<BigEndian>(u32::try_from(length).unwrap_or(u32::MAX)).or_else(malformed)
    }
}

/// What stands behind the two versions.
fn check_versions(mut rest: &[u8]) -> Result<&[u8], Failure> {
    let version = rest.read_i32::<BigEndian>().or_else(|_| malformed("the framing ends in its header"))?;
    rest.read_i32::<BigEndian>().or_else(|_| malformed("the framing ends in its header"))?;
    if version < VERSION {
        return malformed(format!("the framing has the version {version}"));
    }
    Ok(rest)
}

/// Appends what a raw block holds.
fn decompress_block(block: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), Failure> {
    let length = decompress_len(block).or_else(malformed)?;
    if length > block.len().saturating_mul(MOST_EXPANSION) {
        return malformed(format!("{length} bytes cannot come of a block of {}", block.len()));
    }
    let begin = plain.len();
    let end = begin.saturating_add(length);
    if end > limit {
        return Err(Failure::TooLarge);
    }
    plain.resize(end, 0);
    let room = plain.get_mut(begin..).unwrap_or_default();
    Decoder::new().decompress(block, room).map(|_| ()).or_else(malformed)
}

impl fmt::Debug for Snappy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snappy")
    }
}
