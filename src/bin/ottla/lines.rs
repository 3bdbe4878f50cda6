//! Standard input, line by line, with a bound on what a line may take.

use std::io::{self, BufRead, BufReader, Read};

/// How much is read at once.
const BUFFER: usize = 256 * 1024;

/// The lines of a stream, without their line ends; a `\r` before one belongs to the line.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    most: usize,
    number: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Whole(&'a [u8]),
    TooLong,
    End,
}

impl<R: Read> Lines<R> {
    /// `most`: the size of the longest line, in bytes.
    pub fn new(reader: R, most: usize) -> Self {
        let reader = BufReader::with_capacity(BUFFER, reader);
        Self { reader, line: Vec::new(), most, number: 0 }
    }

    /// Of the line that came last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the next line has come whole, so that reading it waits for nobody.
    pub fn is_ready(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    pub fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        let with_end = u64::try_from(self.most).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.reader.by_ref().take(with_end).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        Ok(if self.line.len() > self.most { Line::TooLong } else { Line::Whole(&self.line) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let mut lines = Lines::new(&b"one\n\n two \r\nlast"[..], 100);
        for expected in [&b"one"[..], b"", b" two \r", b"last"] {
            assert_eq!(lines.next().unwrap(), Line::Whole(expected));
        }
        assert_eq!(lines.number(), 4);
        assert_eq!(lines.next().unwrap(), Line::End);
    }

    #[test]
    fn a_line_takes_no_more_than_it_may() {
        let mut lines = Lines::new(&b"123\n12345\n"[..], 3);
        assert_eq!(lines.next().unwrap(), Line::Whole(b"123"));
        assert_eq!(lines.next().unwrap(), Line::TooLong);
        let mut endless = Lines::new(io::repeat(b'x'), 1000);
        assert_eq!(endless.next().unwrap(), Line::TooLong);
        assert!(endless.line.capacity() < 10_000);
    }
}
