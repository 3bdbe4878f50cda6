//! Where a command prints: answers to standard output, what happens meanwhile to standard error; text or JSON.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Large enough that a write costs little beside the bytes that it moves.
const BUFFER: usize = 256 * 1024;

/// Both streams, and the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn is_json(self) -> bool {
        self.json
    }

    /// Prints an answer.
    pub fn print(self, answer: &(impl Display + Serialize)) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(self.render(answer).as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(Failure::writing)
    }

    /// Standard output for much.
    pub fn stream(self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::with_capacity(BUFFER, io::stdout().lock())
    }

    /// Says on standard error what happens. If nobody listens, nobody needs to know.
    pub fn tell(self, news: &(impl Display + Serialize)) {
        _ = io::stderr().lock().write_all(self.render(news).as_bytes());
    }

    pub fn complain(self, failure: &Failure) {
        let text = if self.json {
            #[derive(Serialize)]
            struct Complaint<'a> {
                error: crate::failure::Report<'a>,
            }
            to_json(&Complaint { error: failure.report() })
        } else {
            format!("ottla: {failure}\n")
        };
        _ = io::stderr().lock().write_all(text.as_bytes());
    }

    fn render(self, what: &(impl Display + Serialize)) -> String {
        if self.json { to_json(what) } else { what.to_string() }
    }
}

fn to_json(what: &impl Serialize) -> String {
    // Our own types have string keys and no failing parts, which is all that can go wrong.
    let mut text = serde_json::to_string(what).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text.push('\n');
    text
}
