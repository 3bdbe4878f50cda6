//! Gzip (RFC 1952).
//!
//! | Off | Size | Field | Written |
//! |----:|----:|---|---|
//! | 0 | 2 | magic | `1f 8b` |
//! | 2 | 1 | method | 8, deflate |
//! | 3 | 1 | flags | 0 |
//! | 4 | 4 | time | 0, none |
//! | 8 | 1 | extra flags | 0 |
//! | 9 | 1 | operating system | 255, unknown |
//! | 10 | … | deflate stream | the level that was asked for |
//! | | 4 | CRC-32 | of the plain bytes, little-endian |
//! | | 4 | size | of the plain bytes modulo 2^32, little-endian |
//!
//! Members may follow one another, as Java's `GZIPInputStream` reads them. What is no member behind the first one is
//! passed over by Java, and an error here: nobody writes it.

use std::fmt;
use std::io::Read;

use byteorder::{LittleEndian, WriteBytesExt};
use flate2::bufread::GzDecoder;
use flate2::{Compress, FlushCompress, Status};

use super::{Codec, Failure, malformed};

const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The workspace of gzip: that of deflating takes some hundred KiB.
#[derive(Default)]
pub struct Gzip {
    /// With its level, which it keeps.
    deflate: Option<(i32, Compress)>,
}

impl Codec for Gzip {
    fn compress(&mut self, level: i32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let deflate = match self.deflate.take() {
            Some((of, mut deflate)) if of == level => {
                deflate.reset();
                deflate
            }
            _ => {
                // A negative one leaves it to the library, as in Java's.
                let level =
                    u32::try_from(level).map_or_else(|_| Default::default(), flate2::Compression::new);
                Compress::new(level, false)
            }
        };
        let (_, deflate) = self.deflate.insert((level, deflate));
        out.extend_from_slice(&HEADER);
        let mut rest = plain;
        loop {
            // What does not shrink needs a little more than it has.
            out.reserve(rest.len().saturating_add(1024));
            let before = deflate.total_in();
            let status = deflate.compress_vec(rest, out, FlushCompress::Finish);
            let taken = usize::try_from(deflate.total_in().saturating_sub(before)).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            match status {
                Ok(Status::StreamEnd) => break,
                Ok(Status::Ok | Status::BufError) => {}
                Err(error) => return malformed(error),
            }
        }
        let size = u32::try_from(plain.len() % (1 << 32)).unwrap_or_default();
        let trailer = out
            .write_u32::<LittleEndian>(crc32fast::hash(plain))
            .and_then(|()| out.write_u32::<LittleEndian>(size));
        trailer.or_else(malformed)
    }

    fn decompress(&mut self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let mut plain = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut member = GzDecoder::new(rest);
            // One more tells that there are more.
            let room = limit.saturating_sub(plain.len()).saturating_add(1);
            let read = member.by_ref().take(room as u64).read_to_end(&mut plain);
            if plain.len() > limit {
                return Err(Failure::TooLarge);
            }
            if let Err(error) = read {
                return malformed(error);
            }
            rest = member.into_inner();
        }
        Ok(plain)
    }
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gzip")
    }
}
