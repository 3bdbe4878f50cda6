//! Variable-length integers: zig-zag, then groups of seven bits, the lowest first, the high bit says "more".
//!
//! | value | bytes | | value | bytes |
//! |---|---|---|---|---|
//! | 0 | `00` | | 64 | `80 01` |
//! | −1 | `01` | | 300 | `d8 04` |
//! | 63 | `7e` | | 2147483647 | `fe ff ff ff 0f` |
//!
//! A varint (32 bits) takes at most 5 bytes, a varlong (64 bits) at most 10. Longer encodings of small values
//! are accepted, as Kafka accepts them.

/// Reads a varint from the front of `bytes` and moves past it; `None` if it does not end.
#[inline(always)]
pub fn read_varint(bytes: &mut &[u8]) -> Option<i32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Kafka drops the bits of a fifth byte above the 32nd"
    )]
    let raw = read_groups(bytes, 5)? as u32;
    Some((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
}

/// Reads a varlong from the front of `bytes` and moves past it; `None` if it does not end.
#[inline(always)]
pub fn read_varlong(bytes: &mut &[u8]) -> Option<i64> {
    let raw = read_groups(bytes, 10)?;
    Some((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
}

/// Nearly all numbers of a record are one or two bytes long; those are read in line.
#[inline(always)]
fn read_groups(bytes: &mut &[u8], most: u32) -> Option<u64> {
    match *bytes {
        [first, rest @ ..] if *first < 0x80 => {
            *bytes = rest;
            Some(u64::from(*first))
        }
        [first, second, rest @ ..] if *second < 0x80 => {
            *bytes = rest;
            Some(u64::from(*first & 0x7f) | (u64::from(*second) << 7))
        }
        _ => {
            // By value, so that the slice stays in registers.
            let (value, rest) = many_groups(bytes, most)?;
            *bytes = rest;
            Some(value)
        }
    }
}

#[inline(never)]
fn many_groups(mut bytes: &[u8], most: u32) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for group in 0..most {
        let (&byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u64::from(byte & 0x7f).wrapping_shl(group.saturating_mul(7));
        if byte < 0x80 {
            return Some((value, bytes));
        }
    }
    None
}

/// Appends `value`; a varint and a varlong of the same value have the same bytes.
pub fn write_varlong(buffer: &mut Vec<u8>, value: i64) {
    let mut raw = zig_zag(value);
    while raw >= 0x80 {
        buffer.push(low_group(raw) | 0x80);
        raw >>= 7;
    }
    buffer.push(low_group(raw));
}

/// How many bytes [`write_varlong`] appends for `value`.
pub fn varlong_len(value: i64) -> usize {
    let bits = u64::BITS.saturating_sub((zig_zag(value) | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

fn zig_zag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn low_group(raw: u64) -> u8 {
    (raw & 0x7f) as u8
}
