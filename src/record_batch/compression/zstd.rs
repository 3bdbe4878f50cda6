//! Zstandard (RFC 8878): frames one behind the other; one is written, with the size of its content.
//!
//! Frames are decompressed into a buffer as a whole, so that the library needs no window, whose size the frame would
//! choose. A frame need not say how large its content is, as those of Java do not, and one that does may lie: the buffer
//! begins small, and one that is too small is made larger.

use std::fmt;

use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{CCtx, DCtx, compress_bound, get_error_name, get_frame_content_size, is_error_kind};

use super::{Codec, Failure, malformed};

/// How many times as large as the compressed bytes the first buffer is at most, and each further one as the one before.
const FIRST_GUESS: usize = 8;
const NEXT_GUESS: usize = 4;
const LEAST_GUESS: usize = 4096;

/// The workspace of Zstandard: more than a MiB for compressing, some hundred KiB for decompressing.
#[derive(Default)]
pub struct Zstd {
    compressor: Option<CCtx<'static>>,
    decompressor: Option<DCtx<'static>>,
}

impl Codec for Zstd {
    fn compress(&mut self, level: i32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let Some(compressor) = made(&mut self.compressor, CCtx::try_create) else { return no_memory() };
        let begin = out.len();
        out.resize(begin.saturating_add(compress_bound(plain.len())), 0);
        let room = out.get_mut(begin..).unwrap_or_default();
        let length =
            compressor.compress(room, plain, level).or_else(|code| malformed(get_error_name(code)))?;
        out.truncate(begin.saturating_add(length));
        Ok(())
    }

    fn decompress(&mut self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let Some(decompressor) = made(&mut self.decompressor, DCtx::try_create) else { return no_memory() };
        let mut guess = first_guess(bytes).min(limit);
        loop {
            let mut plain = Vec::with_capacity(guess);
            let code = match decompressor.decompress(&mut plain, bytes) {
                Ok(_) => return Ok(plain),
                Err(code) => code,
            };
            if !is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) {
                return malformed(get_error_name(code));
            }
            if guess >= limit {
                return Err(Failure::TooLarge);
            }
            guess = guess.max(LEAST_GUESS).saturating_mul(NEXT_GUESS).min(limit);
        }
    }
}

/// What the first frame says of its size, as far as one can believe that.
fn first_guess(bytes: &[u8]) -> usize {
    let most = bytes.len().saturating_mul(FIRST_GUESS).max(LEAST_GUESS);
    let stated = get_frame_content_size(bytes).ok().flatten();
    stated.and_then(|stated| usize::try_from(stated).ok()).unwrap_or(most).min(most)
}

fn made<T>(place: &mut Option<T>, make: impl FnOnce() -> Option<T>) -> Option<&mut T> {
    if place.is_none() {
        *place = make();
    }
    place.as_mut()
}

fn no_memory<T>() -> Result<T, Failure> {
    malformed("there is no memory for it")
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zstd")
    }
}
