//! How `consume` prints a record: a format in kcat's letters.

use std::io::{self, Write};
use std::str::FromStr;

use ottla::{PartitionId, RecordView};

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeySize,
    Value,
    ValueSize,
    ValueSizeInBinary,
    Headers,
}

impl Format {
    pub fn print(
        &self,
        out: &mut impl Write,
        (topic, partition): (&str, PartitionId),
        record: &RecordView<'_>,
    ) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.write_all(bytes),
                Piece::Topic => out.write_all(topic.as_bytes()),
                Piece::Partition => write!(out, "{partition}"),
                Piece::Offset => write!(out, "{}", record.offset()),
                Piece::Timestamp => write!(out, "{}", record.timestamp().unwrap_or(-1)),
                Piece::Key => out.write_all(record.key().unwrap_or_default()),
                Piece::KeySize => write!(out, "{}", size(record.key())),
                Piece::Value => out.write_all(record.value().unwrap_or_default()),
                Piece::ValueSize => write!(out, "{}", size(record.value())),
                Piece::ValueSizeInBinary => out.write_all(&size(record.value()).to_be_bytes()),
                Piece::Headers => print_headers(out, record),
            }?;
        }
        Ok(())
    }
}

/// −1 for null, as in the format of the log.
fn size(bytes: Option<&[u8]>) -> i32 {
    // Larger than that is no record.
    bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}

fn print_headers(out: &mut impl Write, record: &RecordView<'_>) -> io::Result<()> {
    for (index, header) in record.headers().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(header.key_bytes())?;
        out.write_all(b"=")?;
        out.write_all(header.value().unwrap_or(b"NULL"))?;
    }
    Ok(())
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, behind)) = rest.split_first() {
            rest = match byte {
                b'%' => {
                    let (piece, behind) = parse_letter(behind)?;
                    match piece {
                        Piece::Literal(bytes) => literal.extend(bytes),
                        piece => {
                            pieces.extend(take_literal(&mut literal));
                            pieces.push(piece);
                        }
                    }
                    behind
                }
                b'\\' => {
                    let (byte, behind) = parse_escape(behind)?;
                    literal.push(byte);
                    behind
                }
                byte => {
                    literal.push(byte);
                    behind
                }
            };
        }
        pieces.extend(take_literal(&mut literal));
        Ok(Self(pieces))
    }
}

fn take_literal(literal: &mut Vec<u8>) -> Option<Piece> {
    (!literal.is_empty()).then(|| Piece::Literal(std::mem::take(literal)))
}

fn parse_letter(rest: &[u8]) -> Result<(Piece, &[u8]), String> {
    let Some((letter, behind)) = rest.split_first() else {
        return Err("it ends with a single %; %% is a percent sign".to_owned());
    };
    let piece = match letter {
        b't' => Piece::Topic,
        b'p' => Piece::Partition,
        b'o' => Piece::Offset,
        b'T' => Piece::Timestamp,
        b'k' => Piece::Key,
        b'K' => Piece::KeySize,
        b's' => Piece::Value,
        b'S' => Piece::ValueSize,
        b'R' => Piece::ValueSizeInBinary,
        b'h' => Piece::Headers,
        b'%' => Piece::Literal(b"%".to_vec()),
        other => {
            let known = "%t %p %o %T %k %K %s %S %R %h and %%";
            return Err(format!("%{} means nothing; there are {known}", char::from(*other)));
        }
    };
    Ok((piece, behind))
}

fn parse_escape(rest: &[u8]) -> Result<(u8, &[u8]), String> {
    let Some((letter, behind)) = rest.split_first() else {
        return Err(r"it ends with a single \; \\ is a backslash".to_owned());
    };
    let byte = match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'\\' => b'\\',
        b'x' => return parse_hexadecimal(behind),
        other => {
            return Err(format!(r"\{} means nothing; there are \n \r \t \\ and \xHH", char::from(*other)));
        }
    };
    Ok((byte, behind))
}

fn parse_hexadecimal(rest: &[u8]) -> Result<(u8, &[u8]), String> {
    let byte = rest.split_at_checked(2).and_then(|(digits, behind)| {
        // A sign is a digit to `from_str_radix`.
        let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
        let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        Some((byte, behind))
    });
    byte.ok_or_else(|| r"\x takes two hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_escapes_and_the_text_between() {
        let format: Format = r"%t-%p: 100%%\t\x41é\n".parse().unwrap();
        let literal = |text: &str| Piece::Literal(text.as_bytes().to_vec());
        let pieces = [Piece::Topic, literal("-"), Piece::Partition, literal(": 100%\tAé\n")];
        assert_eq!(format.0, pieces);
        assert_eq!("".parse::<Format>().unwrap().0, []);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for odd in ["%", "%z", "%é", r"\", r"\q", r"\x", r"\x4", r"\x4g", r"\x+1", r"\xé"] {
            assert!(odd.parse::<Format>().is_err(), "{odd}");
        }
    }
}
