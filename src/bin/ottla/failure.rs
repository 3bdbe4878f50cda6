//! Why a command has failed, for people and for programs.

use std::fmt;
use std::io;

use serde::Serialize;

/// What ends a command.
#[derive(Debug)]
pub enum Failure {
    /// The library's error, and what to do about it on the command line.
    Library { error: ottla::Error, hint: Option<&'static str> },
    /// What the library was not asked for, since it can be seen without.
    Refused(String),
    /// Standard input or output.
    Stream { doing: &'static str, error: io::Error },
    /// A line of standard input; those before it were sent.
    Line { number: u64, cause: Box<Failure> },
    /// Nobody reads what is printed any more, and that is all right.
    OutputClosed,
}

/// What the command line has for a damaged directory.
const AROUND_DAMAGE: &str = "`ottla verify` lists everything that is damaged, `ottla consume --read-only` reads around it, \
                             and `ottla salvage` copies what is sound";

impl Failure {
    /// Adds what to do, on the command line, about an error of this kind.
    pub fn hint(self, kind: ottla::ErrorKind, text: &'static str) -> Self {
        match self {
            Self::Library { error, hint: None } if error.kind() == kind => {
                Self::Library { error, hint: Some(text) }
            }
            other => other,
        }
    }

    pub fn at_line(self, number: u64) -> Self {
        Self::Line { number, cause: Box::new(self) }
    }

    pub fn writing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Stream { doing: "write to standard output", error },
        }
    }

    /// Who has stopped reading has seen enough, and the work was done all the same.
    pub fn unless_closed(printed: Result<(), Self>) -> Result<(), Self> {
        match printed {
            Err(Self::OutputClosed) => Ok(()),
            other => other,
        }
    }

    pub fn reading(error: io::Error) -> Self {
        Self::Stream { doing: "read standard input", error }
    }

    /// The same in parts.
    pub fn report(&self) -> Report<'_> {
        let (line, cause) = match self {
            Self::Line { number, cause } => (Some(*number), cause.as_ref()),
            other => (None, other),
        };
        let error = match cause {
            Self::Library { error, .. } => Some(error),
            _ => None,
        };
        Report {
            message: self.to_string(),
            kind: error.map(|error| format!("{:?}", error.kind())),
            line,
            topic: error.and_then(ottla::Error::topic),
            partition: error.and_then(ottla::Error::partition),
            offset: error.and_then(ottla::Error::offset),
            file: error.and_then(ottla::Error::file).map(|file| file.display().to_string()),
            position: error.and_then(ottla::Error::position),
        }
    }
}

impl From<ottla::Error> for Failure {
    fn from(error: ottla::Error) -> Self {
        let hint = error.is_corruption().then_some(AROUND_DAMAGE);
        Self::Library { error, hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library { error, hint: None } => error.fmt(f),
            Self::Library { error, hint: Some(hint) } => write!(f, "{error}; {hint}"),
            Self::Refused(what) => f.write_str(what),
            Self::Stream { doing, error } => write!(f, "could not {doing}: {error}"),
            Self::Line { number: 1, cause } => write!(f, "line 1: {cause}"),
            Self::Line { number, cause } => {
                write!(f, "line {number}: {cause}; the lines before it were sent")
            }
            Self::OutputClosed => f.write_str("standard output was closed"),
        }
    }
}

/// A failure for programs: its message, and its place in parts.
#[derive(Serialize)]
pub struct Report<'a> {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
}
