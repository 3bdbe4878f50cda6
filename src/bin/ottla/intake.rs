//! Makes the lines of standard input into records, on a thread of its own, which may wait there for as long as it takes.

use std::io::{self, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread::{self, Thread};
use std::time::Instant;

use ottla::{PartitionId, Record, Topic, TopicProducer};

use crate::args::Produce;
use crate::failure::Failure;
use crate::lines::{Line, Lines};

/// How much is read at once.
const BUFFER: usize = 256 * 1024;

/// The thread, as its reporter sees it.
pub struct Intake {
    sent: Arc<Sent>,
    outcome: Receiver<Result<(), Failure>>,
}

/// What was read and sent so far.
#[derive(Debug, Default)]
struct Sent {
    lines: AtomicU64,
    bytes: AtomicU64,
}

/// Nothing more is sent, and whether that is as it should be.
pub struct End(pub Result<(), Failure>);

impl Intake {
    pub fn start(mut sender: Sender) -> Result<Self, Failure> {
        let sent = Arc::new(Sent::default());
        let (ended, outcome) = mpsc::channel();
        let shared = Arc::clone(&sent);
        let reporter = thread::current();
        let run = move || {
            // Dropped last, also in a panic, when the channel has said what there is to say.
            let reporter = Unpark(reporter);
            let ended = ended;
            _ = ended.send(sender.send_all(&shared, &reporter.0));
        };
        let failed = |error| Failure::Stream { doing: "start a thread", error };
        thread::Builder::new().name("ottla-intake".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { sent, outcome })
    }

    /// The lines that were sent: their records have offsets.
    pub fn lines(&self) -> u64 {
        self.sent.lines.load(Ordering::Acquire)
    }

    pub fn bytes(&self) -> u64 {
        self.sent.bytes.load(Ordering::Relaxed)
    }

    /// Waits for more than `known` lines, or the end.
    pub fn wait_for_more(&self, known: u64) -> Option<End> {
        while self.lines() == known {
            match self.outcome.try_recv() {
                Ok(outcome) => return Some(End(outcome)),
                Err(TryRecvError::Disconnected) => return Some(End(Err(lost()))),
                // The thread unparks this one after each line and at its end.
                Err(TryRecvError::Empty) => thread::park(),
            }
        }
        None
    }

    /// Waits until `due`, or for the end.
    pub fn wait_until(&self, due: Instant) -> Option<End> {
        match self.outcome.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(outcome) => Some(End(outcome)),
            Err(RecvTimeoutError::Disconnected) => Some(End(Err(lost()))),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }
}

fn lost() -> Failure {
    Failure::Refused("the thread that reads standard input has panicked".to_owned())
}

struct Unpark(Thread);

impl Drop for Unpark {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// Makes lines into records, and sends them.
pub struct Sender {
    producer: TopicProducer,
    lines: Lines<BufReader<io::Stdin>>,
    key_separator: Option<String>,
    partition: Option<PartitionId>,
    max_message_bytes: usize,
}

impl Sender {
    pub fn new(args: &Produce, topic: &Topic) -> Self {
        let max = topic.config().get("max.message.bytes");
        let max_message_bytes = max.and_then(|bytes| bytes.parse().ok()).unwrap_or(usize::MAX);
        // No record is larger than its batch may be, and so no line, but for what separates the key.
        let separator = args.key_separator.as_ref().map_or(0, String::len);
        let longest = max_message_bytes.saturating_add(separator);
        Self {
            producer: topic.producer(),
            lines: Lines::new(BufReader::with_capacity(BUFFER, io::stdin()), longest),
            key_separator: args.key_separator.clone(),
            partition: args.partition,
            max_message_bytes,
        }
    }

    fn send_all(&mut self, sent: &Sent, reporter: &Thread) -> Result<(), Failure> {
        while let Some(bytes) = self.send_next().map_err(|failure| failure.at_line(self.lines.number()))? {
            sent.bytes.fetch_add(bytes, Ordering::Relaxed);
            // Whoever sees the number finds the record in the log.
            sent.lines.store(self.lines.number(), Ordering::Release);
            reporter.unpark();
        }
        Ok(())
    }

    /// Sends the record of the next line; `None` at the end, else how long the line was.
    fn send_next(&mut self) -> Result<Option<u64>, Failure> {
        let line = match self.lines.next().map_err(Failure::reading)? {
            Line::End => return Ok(None),
            Line::TooLong => return Err(too_long(self.max_message_bytes)),
            Line::Whole(line) => line,
        };
        let mut record = record(line, self.key_separator.as_deref())?;
        if let Some(partition) = self.partition {
            record = record.partition(partition);
        }
        // Nobody waits for it: the reporter flushes.
        _ = self.producer.send(record)?;
        Ok(Some(line.len() as u64 + 1))
    }
}

/// A line with a key ends it with the separator.
fn record<'a>(line: &'a [u8], key_separator: Option<&str>) -> Result<Record<'a>, Failure> {
    let Some(separator) = key_separator else { return Ok(Record::new(line)) };
    let found = line.windows(separator.len()).position(|window| window == separator.as_bytes());
    match found.and_then(|at| line.split_at_checked(at)) {
        Some((key, rest)) => Ok(Record::new(rest.get(separator.len()..).unwrap_or_default()).key(key)),
        None => Err(Failure::Refused(format!(
            "there is no key separator {separator:?} in it, and a record without a key could go to any partition; \
             the lines before it were sent"
        ))),
    }
}

fn too_long(max_message_bytes: usize) -> Failure {
    Failure::Refused(format!(
        "it is longer than max.message.bytes of the topic, {max_message_bytes}, allows; the lines before it were \
         sent; `ottla topic alter` raises it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_at_the_first_separator() {
        let keyed = |line, separator| record(line, Some(separator)).ok();
        assert_eq!(keyed(b"a=b=c", "="), Some(Record::new("b=c").key("a")));
        assert_eq!(keyed(b"=", "="), Some(Record::new("").key("")));
        assert_eq!(keyed("kéy→v".as_bytes(), "→"), Some(Record::new("v").key("kéy")));
        assert_eq!(keyed(b"a::b", "::"), Some(Record::new("b").key("a")));
        assert_eq!(keyed(b"a:b", "::"), None);
        assert_eq!(keyed(b"", "="), None);
        assert_eq!(record(b"a=b", None).ok(), Some(Record::new("a=b")));
    }
}
