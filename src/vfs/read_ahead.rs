//! Reads a file from front to back in large pieces, and hands out parts of them that live as long as they are held.

use std::io;

use bytes::{Bytes, BytesMut};

use super::FileView;

/// The first piece has this size, each further one twice as much, up to [`MAX_PIECE`]: what an allocator still hands
/// out again without asking the operating system, and what a processor's cache keeps until it is looked at.
const MIN_PIECE: usize = 8 * 1024;
const MAX_PIECE: usize = 64 * 1024;
/// The pieces of who reads on to the end in any case: larger ones move less of what is left of the one before.
const WHOLE_PIECE: usize = 256 * 1024;

/// The bytes of a file from some position on, as far as they were read.
///
/// From a map they are a reference. Else they stand in a buffer, which is used again for the next piece if nobody holds
/// a part of it any more; what was read and not passed is kept, and not read twice.
#[derive(Debug)]
pub struct ReadAhead {
    view: FileView,
    /// Where in the file the next byte lies that was not passed.
    position: u64,
    /// The whole buffer. The bytes from `used` to `filled` are those of the file from `position` on.
    buffer: Bytes,
    used: usize,
    filled: usize,
    piece: usize,
    most: usize,
}

impl ReadAhead {
    pub fn new(view: FileView, position: u64) -> Self {
        let (piece, most) = (MIN_PIECE, MAX_PIECE);
        Self { view, position, buffer: Bytes::new(), used: 0, filled: 0, piece, most }
    }

    /// The same for who reads the whole file: in larger pieces from the first one on.
    pub fn of_whole(view: FileView) -> Self {
        Self { piece: WHOLE_PIECE, most: WHOLE_PIECE, ..Self::new(view, 0) }
    }

    /// Where the next byte lies.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What has been read and not passed.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.used..self.filled]
    }

    /// Sees to it that `len` bytes are there, of which no more than `left` can be; false if the file ends before.
    pub fn fill(&mut self, len: usize, left: u64) -> io::Result<bool> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let len = len.min(left);
        if self.bytes().len() >= len {
            return Ok(true);
        }
        if let FileView::Mapped(_) = self.view {
            self.buffer = self.view.read(self.position, left)?;
            (self.used, self.filled) = (0, self.buffer.len());
        } else {
            self.read_piece(self.piece.max(len).min(left))?;
            self.piece = self.piece.saturating_mul(2).min(self.most);
        }
        Ok(self.bytes().len() >= len)
    }

    /// Hands out the next `len` bytes, or all that are there if they are fewer.
    pub fn share(&self, len: usize) -> Bytes {
        self.buffer.slice(self.used..self.filled.min(self.used.saturating_add(len)))
    }

    /// Moves past `len` bytes, whether they were read or not.
    pub fn skip(&mut self, len: usize) {
        self.position = self.position.saturating_add(len as u64);
        self.used = self.used.saturating_add(len).min(self.filled);
    }

    /// Reads behind what is there, until it is `len` bytes or the file ends.
    fn read_piece(&mut self, len: usize) -> io::Result<()> {
        let kept = self.bytes().len();
        let mut buffer = self.room(len);
        let read = self.view.read_into(&mut buffer[kept..len], self.position + kept as u64);
        self.buffer = buffer.freeze();
        (self.used, self.filled) = (0, kept);
        self.filled += read?;
        Ok(())
    }

    /// A buffer of at least `len` bytes which begins with those that are there: the one there is, if nobody else has it.
    fn room(&mut self, len: usize) -> BytesMut {
        let kept = self.used..self.filled;
        match std::mem::take(&mut self.buffer).try_into_mut() {
            Ok(mut buffer) if buffer.len() >= len => {
                buffer.copy_within(kept, 0);
                buffer
            }
            Ok(buffer) => larger(&buffer[kept], len),
            Err(shared) => larger(&shared[kept], len),
        }
    }
}

fn larger(kept: &[u8], len: usize) -> BytesMut {
    let mut buffer = BytesMut::zeroed(len);
    buffer[..kept.len()].copy_from_slice(kept);
    buffer
}
