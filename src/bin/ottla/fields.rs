//! A line of named fields: `name: value name: value`, or a JSON object.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// A line that is being written, field by field, so that nothing of it is kept.
#[derive(Debug)]
pub struct Fields<'a, W> {
    out: &'a mut W,
    is_json: bool,
    is_empty: bool,
}

impl<'a, W: Write> Fields<'a, W> {
    pub fn begin(out: &'a mut W, is_json: bool) -> io::Result<Self> {
        if is_json {
            out.write_all(b"{")?;
        }
        Ok(Self { out, is_json, is_empty: true })
    }

    /// What text says with a sign in front, or not at all.
    pub fn sign(&mut self, text: &str) -> io::Result<()> {
        if self.is_json { Ok(()) } else { self.out.write_all(text.as_bytes()) }
    }

    /// What a reader of text knows by the lines around this one.
    pub fn tag(&mut self, name: &'static str, value: impl Serialize) -> io::Result<()> {
        if !self.is_json {
            return Ok(());
        }
        let before = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        write!(self.out, "{before}\"{name}\":")?;
        Ok(serde_json::to_writer(&mut *self.out, &value)?)
    }

    pub fn field(&mut self, name: &'static str, value: impl Display + Serialize) -> io::Result<()> {
        if self.is_json {
            return self.tag(name, value);
        }
        let before = if self.is_empty { "" } else { " " };
        self.is_empty = false;
        write!(self.out, "{before}{name}: {value}")
    }

    /// A field that has no value sometimes: null in JSON, nothing in text.
    pub fn optional(
        &mut self,
        name: &'static str,
        value: Option<impl Display + Serialize>,
    ) -> io::Result<()> {
        match value {
            Some(value) => self.field(name, value),
            None => self.tag(name, ()),
        }
    }

    pub fn end(self) -> io::Result<()> {
        self.out.write_all(if self.is_json { b"}\n" } else { b"\n" })
    }
}
