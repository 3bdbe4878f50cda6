//! Progress of long work, drawn on a terminal, and nowhere else.

use std::fs::File;
use std::io::{self, IsTerminal, Seek};
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);

const INPUT: &str = "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg}";
const ENDLESS_INPUT: &str = "{spinner} {binary_bytes} {binary_bytes_per_sec} {msg}";
const RECORDS: &str = "{wide_bar} {human_pos}/{human_len} records {per_sec} {msg}";

/// How far along something is; goes when it is dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Turns while something goes on of which nobody knows how far it is.
    pub fn of_unknown(doing: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if !bar.is_hidden() {
            bar.set_message(doing);
            bar.enable_steady_tick(PATIENCE);
        }
        Self(bar)
    }

    /// In bytes of standard input, and of its size where that is known.
    pub fn of_input() -> Self {
        let size = size_of_input();
        Self::new(size, if size.is_some() { INPUT } else { ENDLESS_INPUT })
    }

    /// In bytes, of which somebody says later how many there are.
    pub fn of_bytes() -> Self {
        Self::new(None, INPUT)
    }

    pub fn show_of(&self, done: u64, all: u64) {
        // A length is drawn at once, too.
        if self.is_due() {
            self.0.update(|state| {
                state.set_len(all);
                state.set_pos(done);
            });
        }
    }

    /// In records. Where they go to the terminal themselves, nothing is drawn between them.
    pub fn of_records(all: u64) -> Self {
        if io::stdout().is_terminal() { Self(ProgressBar::hidden()) } else { Self::new(Some(all), RECORDS) }
    }

    fn new(all: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(all, ProgressDrawTarget::stderr());
        match ProgressStyle::with_template(template) {
            Ok(style) if !bar.is_hidden() => bar.set_style(style),
            _ => {}
        }
        Self(bar)
    }

    /// Whether somebody sees it.
    pub fn is_drawn(&self) -> bool {
        !self.0.is_hidden()
    }

    fn is_due(&self) -> bool {
        self.is_drawn() && self.0.elapsed() >= PATIENCE
    }

    pub fn show(&self, done: u64, message: &str) {
        if self.is_due() {
            self.0.set_message(message.to_owned());
            self.0.set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What is left to read, if it is a file.
fn size_of_input() -> Option<u64> {
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok()?;
    let position = file.stream_position().ok()?;
    metadata.is_file().then(|| metadata.len().saturating_sub(position))
}
