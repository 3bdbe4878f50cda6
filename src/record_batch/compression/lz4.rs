//! The LZ4 frame as Kafka reads and writes it; numbers are little-endian.
//!
//! | Off | Size | Field | Written |
//! |----:|----:|---|---|
//! | 0 | 4 | magic | `04 22 4d 18` |
//! | 4 | 1 | flags | `60`: version 1, independent blocks, no checksums, no size |
//! | 5 | 1 | size of blocks | `40`: 64 KiB at most |
//! | 6 | 0 or 8 | size of the content | none; passed over when read |
//! | | 1 | header checksum | `82`: the second byte of the XXH32 of flags to size |
//! | | 4 | length of a block | the top bit says that it is not compressed; 0 ends the frame |
//! | | … | block | |
//! | | 0 or 4 | block checksum | none; its XXH32, checked when read |
//! | | 0 or 4 | content checksum | none; behind the end, and as in Kafka passed over when read |

use byteorder::{ByteOrder, LittleEndian, ReadBytesExt, WriteBytesExt};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use twox_hash::XxHash32;

use super::{Codec, Failure, malformed};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Everything before the first block of a frame that is written.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK: usize = 64 * 1024;
const NOT_COMPRESSED: u32 = 1 << 31;

const RESERVED: u8 = 0b11;
const HAS_CONTENT_CHECKSUM: u8 = 1 << 2;
const HAS_CONTENT_SIZE: u8 = 1 << 3;
const HAS_BLOCK_CHECKSUM: u8 = 1 << 4;
const IS_INDEPENDENT: u8 = 1 << 5;

/// The workspace of LZ4: room for a block.
#[derive(Debug, Default)]
pub struct Lz4 {
    block: Vec<u8>,
}

impl Codec for Lz4 {
    fn compress(&mut self, _level: i32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        out.extend_from_slice(&HEADER);
        for chunk in plain.chunks(BLOCK) {
            let room = room(&mut self.block, get_maximum_output_size(chunk.len()));
            let length = compress_into(chunk, room).or_else(malformed)?;
            let compressed = room.get(..length).filter(|_| length < chunk.len());
            let (bytes, mark) = compressed.map_or((chunk, NOT_COMPRESSED), |bytes| (bytes, 0));
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            out.write_u32::<LittleEndian>(length | mark).or_else(malformed)?;
            out.extend_from_slice(bytes);
        }
        out.write_u32::<LittleEndian>(0).or_else(malformed)
    }

    fn decompress(&mut self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let (frame, mut rest) = Frame::read(bytes)?;
        let mut plain = Vec::new();
        while let Some(block) = frame.next_block(&mut rest)? {
            match block {
                Block::Plain(bytes) => plain.extend_from_slice(bytes),
                Block::Compressed(bytes) => {
                    // No byte of a block stands for more than 255.
                    let most = bytes.len().saturating_add(1).saturating_mul(256).min(frame.block_size);
                    let room = room(&mut self.block, most);
                    let length = decompress_into(bytes, room).or_else(malformed)?;
                    plain.extend_from_slice(room.get(..length).unwrap_or_default());
                }
            }
            if plain.len() > limit {
                return Err(Failure::TooLarge);
            }
        }
        if frame.flags & HAS_CONTENT_CHECKSUM != 0 {
            rest.read_u32::<LittleEndian>()
                .or_else(|_| malformed("the checksum of the content is missing"))?;
        }
        if rest.is_empty() { Ok(plain) } else { malformed("bytes are left behind the frame") }
    }
}

/// The first `len` bytes of a buffer that is used again and again.
fn room(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    buffer.get_mut(..len).unwrap_or_default()
}

/// What the header of a frame says.
struct Frame {
    flags: u8,
    /// The most bytes of a block, compressed or not.
    block_size: usize,
}

enum Block<'a> {
    Plain(&'a [u8]),
    Compressed(&'a [u8]),
}

impl Frame {
    /// Reads the header; what stands behind it is returned as well.
    fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Failure> {
        let Some(behind_magic) = bytes.strip_prefix(&MAGIC) else {
            return malformed("it does not begin with the magic of an LZ4 frame");
        };
        let [flags, sizes, ..] = *behind_magic else { return malformed("the frame ends in its header") };
        check_flags(flags, sizes)?;
        let descriptor_len = if flags & HAS_CONTENT_SIZE == 0 { 2 } else { 10 };
        let Some((descriptor, [checksum, rest @ ..])) = behind_magic.split_at_checked(descriptor_len) else {
            return malformed("the frame ends in its header");
        };
        if XxHash32::oneshot(0, descriptor).to_be_bytes().get(2) != Some(checksum) {
            return malformed("the checksum of the frame's header is wrong");
        }
        // 64 KiB, 256 KiB, 1 MiB, 4 MiB.
        let block_size = match sizes >> 4 {
            4 => BLOCK,
            5 => 4 * BLOCK,
            6 => 16 * BLOCK,
            _ => 64 * BLOCK,
        };
        Ok((Self { flags, block_size }, rest))
    }

    /// Takes the next block off the front; `None` at the end of the frame.
    fn next_block<'a>(&self, rest: &mut &'a [u8]) -> Result<Option<Block<'a>>, Failure> {
        let length = rest.read_u32::<LittleEndian>().or_else(|_| malformed("the frame does not end"))?;
        if length == 0 {
            return Ok(None);
        }
        let size = usize::try_from(length & !NOT_COMPRESSED).unwrap_or(usize::MAX);
        if size > self.block_size {
            return malformed(format!("a block has {size} bytes, and the frame says {}", self.block_size));
        }
        let Some((block, behind)) = rest.split_at_checked(size) else {
            return malformed(format!("a block of {size} bytes is longer than what is there"));
        };
        *rest = behind;
        if self.flags & HAS_BLOCK_CHECKSUM != 0 {
            let checksum = rest.split_at_checked(4);
            let Some((checksum, behind)) = checksum else {
                return malformed("the checksum of a block is missing");
            };
            if LittleEndian::read_u32(checksum) != XxHash32::oneshot(0, block) {
                return malformed("the checksum of a block is wrong");
            }
            *rest = behind;
        }
        Ok(Some(if length & NOT_COMPRESSED == 0 { Block::Compressed(block) } else { Block::Plain(block) }))
    }
}

fn check_flags(flags: u8, sizes: u8) -> Result<(), Failure> {
    if flags >> 6 != 1 {
        return malformed(format!("the frame has the version {}", flags >> 6));
    }
    if flags & RESERVED != 0 || sizes & 0b1000_1111 != 0 {
        return malformed("the frame has flags that Kafka does not know");
    }
    if flags & IS_INDEPENDENT == 0 {
        return malformed("the blocks of the frame depend on one another, which Kafka does not allow");
    }
    if sizes >> 4 < 4 {
        return malformed(format!("the frame has blocks of the size {}", sizes >> 4));
    }
    Ok(())
}
