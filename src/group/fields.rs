//! The fields of Kafka's message schemas, read and written one behind the other. Big-endian.
//!
//! | Field | as it was | in a flexible version |
//! |---|---|---|
//! | i16, i32, i64 | 2, 4, 8 bytes | the same |
//! | string | i16 length, UTF-8; −1: null | uvarint length + 1, UTF-8; 0: null |
//! | bytes | i32 length; −1: null | uvarint length + 1; 0: null |
//! | array | i32 count; −1: null | uvarint count + 1; 0: null |
//! | tagged fields | none | uvarint count, then each: uvarint tag, uvarint size, as many bytes |
//!
//! A string of more than 32767 bytes is none in either. A uvarint is groups of seven bits, the lowest first, the high bit says "more": at most 5 bytes.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![deny(clippy::little_endian_bytes, clippy::host_endian_bytes)]

use byteorder::{BigEndian, ReadBytesExt, WriteBytesExt};

use crate::error::{Error, ErrorKind, Result};

/// Reads the fields of a structure; what it gives out borrows the bytes, and no length of theirs asks for memory.
pub struct Fields<'a> {
    structure: &'static str,
    rest: &'a [u8],
    is_flexible: bool,
}

impl<'a> Fields<'a> {
    /// `structure` is what an error says cannot be read.
    pub fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self { structure, rest: bytes, is_flexible: false }
    }

    /// The version in front, which must be one of 0 to `newest`.
    pub fn version(&mut self, newest: i16) -> Result<i16> {
        let version = self.i16("version")?;
        if (0..=newest).contains(&version) {
            return Ok(version);
        }
        let what = format!("{} has version {version}, and only 0 to {newest} can be read", self.structure);
        Err(Error::new(ErrorKind::UnsupportedVersion, what))
    }

    /// What comes is of a flexible version.
    pub fn now_flexible(&mut self) {
        self.is_flexible = true;
    }

    pub fn i16(&mut self, field: &str) -> Result<i16> {
        self.rest.read_i16::<BigEndian>().map_err(|_| self.unended(field))
    }

    pub fn i32(&mut self, field: &str) -> Result<i32> {
        self.rest.read_i32::<BigEndian>().map_err(|_| self.unended(field))
    }

    pub fn i64(&mut self, field: &str) -> Result<i64> {
        self.rest.read_i64::<BigEndian>().map_err(|_| self.unended(field))
    }

    /// A number that is not negative.
    pub fn u32(&mut self, field: &str) -> Result<u32> {
        let number = self.i32(field)?;
        u32::try_from(number).map_err(|_| self.impossible(field, number))
    }

    /// The same, or −1 for none.
    pub fn optional_u32(&mut self, field: &str) -> Result<Option<u32>> {
        match self.i32(field)? {
            -1 => Ok(None),
            number => u32::try_from(number).map(Some).map_err(|_| self.impossible(field, number)),
        }
    }

    pub fn string(&mut self, field: &str) -> Result<&'a str> {
        self.nullable_string(field)?.ok_or_else(|| self.malformed(&format!("its {field} is null")))
    }

    pub fn nullable_string(&mut self, field: &str) -> Result<Option<&'a str>> {
        let length = if self.is_flexible { self.compact(field)? } else { self.i16(field)?.into() };
        // The same limit for both, so that what was read can be written.
        if length > i16::MAX.into() {
            return Err(
                self.malformed(&format!("its {field} has a length of {length}, which is not possible"))
            );
        }
        let Some(bytes) = self.take(field, length)? else { return Ok(None) };
        let text = std::str::from_utf8(bytes);
        text.map(Some).map_err(|_| self.malformed(&format!("its {field} is no UTF-8")))
    }

    pub fn bytes(&mut self, field: &str) -> Result<&'a [u8]> {
        self.nullable_bytes(field)?.ok_or_else(|| self.malformed(&format!("its {field} is null")))
    }

    pub fn nullable_bytes(&mut self, field: &str) -> Result<Option<&'a [u8]>> {
        let length = self.count_or_length(field)?;
        self.take(field, length)
    }

    /// Calls `element` for each element of an array. One that is announced and not there is its error, so that a count that
    /// lies ends early.
    pub fn array(&mut self, field: &str, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let count = self.count_or_length(field)?;
        if count < 0 {
            return Err(self.malformed(&format!("its {field} have no count")));
        }
        (0..count).try_for_each(|_| element(self))
    }

    /// Passes over the tagged fields of a flexible version: which there are is for newer brokers to know.
    pub fn skip_tags(&mut self) -> Result<()> {
        if !self.is_flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint("count of tagged fields")? {
            self.uvarint("tag")?;
            let size = self.uvarint("size of a tagged field")?;
            self.take("tagged field", size.into())?;
        }
        Ok(())
    }

    /// Fails if something is left.
    pub fn end(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.malformed(&format!("{left} bytes are left behind it"))),
        }
    }

    /// The error of this structure.
    pub fn malformed(&self, reason: &str) -> Error {
        Error::corrupt(format!("{} cannot be read: {reason}", self.structure))
    }

    fn impossible(&self, field: &str, number: i32) -> Error {
        self.malformed(&format!("its {field} is {number}, which is not possible"))
    }

    fn unended(&self, field: &str) -> Error {
        self.malformed(&format!("its {field} does not end"))
    }

    fn count_or_length(&mut self, field: &str) -> Result<i64> {
        if self.is_flexible { self.compact(field) } else { Ok(self.i32(field)?.into()) }
    }

    /// A length or count of a flexible version, −1 for null.
    fn compact(&mut self, field: &str) -> Result<i64> {
        Ok(i64::from(self.uvarint(field)?).saturating_sub(1))
    }

    fn uvarint(&mut self, field: &str) -> Result<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.rest.read_u8().map_err(|_| self.unended(field))?;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.unended(field))
    }

    /// So many bytes, or null for −1.
    fn take(&mut self, field: &str, length: i64) -> Result<Option<&'a [u8]>> {
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length)
            .map_err(|_| self.malformed(&format!("its {field} has a negative length")))?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.unended(field))?;
        self.rest = rest;
        Ok(Some(bytes))
    }
}

/// Writes the fields of a structure in a version that is not flexible.
pub struct FieldsWriter {
    structure: &'static str,
    bytes: Vec<u8>,
}

impl FieldsWriter {
    /// `structure` is what an error says cannot be written.
    pub fn new(structure: &'static str) -> Self {
        Self { structure, bytes: Vec::new() }
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub fn i16(&mut self, number: i16) {
        // Writing to a vector does not fail, here and below.
        _ = self.bytes.write_i16::<BigEndian>(number);
    }

    pub fn i32(&mut self, number: i32) {
        _ = self.bytes.write_i32::<BigEndian>(number);
    }

    pub fn i64(&mut self, number: i64) {
        _ = self.bytes.write_i64::<BigEndian>(number);
    }

    /// A number that Kafka's signed field can hold.
    pub fn u32(&mut self, field: &str, number: u32) -> Result<()> {
        self.i32(i32::try_from(number).map_err(|_| self.too_large(field, number.into()))?);
        Ok(())
    }

    /// The same, −1 for none.
    pub fn optional_u32(&mut self, field: &str, number: Option<u32>) -> Result<()> {
        match number {
            Some(number) => self.u32(field, number)?,
            None => self.i32(-1),
        }
        Ok(())
    }

    /// A number of 64 bits that Kafka's signed field can hold.
    pub fn u64(&mut self, field: &str, number: u64) -> Result<()> {
        self.i64(i64::try_from(number).map_err(|_| self.too_large(field, number))?);
        Ok(())
    }

    pub fn string(&mut self, field: &str, text: &str) -> Result<()> {
        self.i16(i16::try_from(text.len()).map_err(|_| self.too_long(field, text.len()))?);
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub fn nullable_string(&mut self, field: &str, text: Option<&str>) -> Result<()> {
        match text {
            Some(text) => self.string(field, text)?,
            None => self.i16(-1),
        }
        Ok(())
    }

    pub fn bytes(&mut self, field: &str, bytes: &[u8]) -> Result<()> {
        self.count(field, bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub fn nullable_bytes(&mut self, field: &str, bytes: Option<&[u8]>) -> Result<()> {
        match bytes {
            Some(bytes) => self.bytes(field, bytes)?,
            None => self.i32(-1),
        }
        Ok(())
    }

    /// The count of an array, whose elements come next.
    pub fn count(&mut self, field: &str, count: usize) -> Result<()> {
        self.i32(i32::try_from(count).map_err(|_| self.too_long(field, count))?);
        Ok(())
    }

    fn too_long(&self, field: &str, length: usize) -> Error {
        self.unwritable(&format!("its {field}, of length {length}, is longer than the format can hold"))
    }

    fn too_large(&self, field: &str, number: u64) -> Error {
        self.unwritable(&format!("its {field}, {number}, is larger than the format can hold"))
    }

    fn unwritable(&self, reason: &str) -> Error {
        Error::new(ErrorKind::InvalidRecord, format!("{} cannot be written: {reason}", self.structure))
    }
}
