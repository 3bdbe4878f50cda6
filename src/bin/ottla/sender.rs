//! Makes the lines of standard input into records, and sends them so that a failure leaves no gap.

use std::io::{self, Stdin};

use ottla::{Topic, TopicProducer};

use crate::args::Produce;
use crate::failure::Failure;
use crate::lines::{Line, Lines};
use crate::pending::Pending;

/// Up to which size lines share a batch.
const BATCH: usize = 64 * 1024;

/// Sends the lines in batches, each to the offset behind the one before. So once the disk does not take a batch, no later
/// one gets into its place: what is in a partition is the beginning of what was to go there.
pub struct Sender {
    lines: Lines<Stdin>,
    key_separator: Option<String>,
    topic: Topic,
    producer: TopicProducer,
    /// Of each partition that lines may go to.
    pending: Vec<Pending>,
    /// The one of them that takes lines without a key.
    current: usize,
    max_message_bytes: usize,
    bytes: u64,
}

/// Why there are no more lines.
enum Stop {
    End,
    /// A line cannot be taken; those before it can.
    Line(Failure),
    /// Nothing can be taken.
    Log(Failure),
}

impl Sender {
    pub fn new(args: &Produce, topic: &Topic) -> Result<Self, Failure> {
        let partitions = match args.partition {
            Some(partition) => vec![topic.partition(partition)?],
            None => topic.partitions().collect(),
        };
        let config = topic.config();
        let bytes = |name: &str| config.get(name).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        let max_message_bytes = bytes("max.message.bytes");
        let most = max_message_bytes.min(bytes("segment.bytes")).min(BATCH);
        // No record is larger than its batch may be, and so no line, but for what separates the key.
        let separator = args.key_separator.as_ref().map_or(0, String::len);
        Ok(Self {
            lines: Lines::new(io::stdin(), max_message_bytes.saturating_add(separator)),
            key_separator: args.key_separator.clone(),
            topic: topic.clone(),
            producer: topic.producer(),
            pending: partitions.iter().map(|partition| Pending::new(partition, most)).collect(),
            current: 0,
            max_message_bytes,
            bytes: 0,
        })
    }

    /// Sends every line; `publish` is told how many lines, and bytes, were sent.
    pub fn send_all(&mut self, publish: impl Fn(u64, u64)) -> Result<(), Failure> {
        loop {
            if !self.lines.is_ready() {
                // Nobody knows how long the next line takes to come.
                self.send_pending()?;
                publish(self.lines.number(), self.bytes);
            }
            let alone = match self.take_line() {
                Ok(alone) => alone,
                Err(Stop::End) => return Ok(()),
                Err(Stop::Log(failure)) => return Err(failure),
                Err(Stop::Line(failure)) => {
                    self.send_pending()?;
                    publish(self.lines.number() - 1, self.bytes);
                    return Err(failure.at_line(self.lines.number()));
                }
            };
            if let Some(at) = alone {
                self.send_alone(at, &publish)?;
            }
        }
    }

    /// Takes the next line; if it is too large to share a batch, returns where it waits.
    fn take_line(&mut self) -> Result<Option<usize>, Stop> {
        let line = match self.lines.next().map_err(|error| Stop::Log(Failure::reading(error)))? {
            Line::Whole(line) => line,
            Line::TooLong => return Err(Stop::Line(too_long(self.max_message_bytes))),
            Line::End => return Err(Stop::End),
        };
        self.bytes += line.len() as u64 + 1;
        let (key, value) = split(line, self.key_separator.as_deref()).map_err(Stop::Line)?;
        let at = match key {
            Some(key) => position_of(self.pending.len(), &self.topic, key).map_err(Stop::Log)?,
            None => {
                // As Kafka's producer does it: to another partition with every batch.
                if !self.pending[self.current].has_room_for(key, value) {
                    self.pending[self.current].send(&self.producer).map_err(Stop::Log)?;
                    self.current = (self.current + 1) % self.pending.len();
                }
                self.current
            }
        };
        let pending = &mut self.pending[at];
        if !pending.has_room_for(key, value) {
            pending.send(&self.producer).map_err(Stop::Log)?;
        }
        pending.push(key, value);
        Ok(pending.is_oversized().then_some(at))
    }

    /// What it may share a batch with nobody for, it may be too large for altogether: an error is this line's.
    fn send_alone(&mut self, at: usize, publish: &impl Fn(u64, u64)) -> Result<(), Failure> {
        let number = self.lines.number();
        for (position, pending) in self.pending.iter_mut().enumerate() {
            if position != at {
                pending.send(&self.producer)?;
            }
        }
        publish(number - 1, self.bytes);
        self.pending[at].send(&self.producer).map_err(|failure| failure.at_line(number))
    }

    fn send_pending(&mut self) -> Result<(), Failure> {
        self.pending.iter_mut().try_for_each(|pending| pending.send(&self.producer))
    }
}

/// Where the records of a key wait: in the only place, or in that of the key's partition.
fn position_of(places: usize, topic: &Topic, key: &[u8]) -> Result<usize, Failure> {
    if places == 1 {
        return Ok(0);
    }
    // All partitions of the topic are there, in their order.
    Ok(topic.partition_for_key(key)?.id() as usize)
}

/// A line with a key ends it with the separator.
fn split<'a>(line: &'a [u8], key_separator: Option<&str>) -> Result<(Option<&'a [u8]>, &'a [u8]), Failure> {
    let Some(separator) = key_separator.map(str::as_bytes) else { return Ok((None, line)) };
    let found = line.windows(separator.len()).position(|window| window == separator);
    match found.and_then(|at| line.split_at_checked(at)) {
        Some((key, rest)) => Ok((Some(key), &rest[separator.len()..])),
        None => Err(Failure::Refused(format!(
            "there is no key separator {:?} in it, and a record without a key could go to any partition",
            String::from_utf8_lossy(separator)
        ))),
    }
}

fn too_long(max_message_bytes: usize) -> Failure {
    Failure::Refused(format!(
        "it is longer than max.message.bytes of the topic, {max_message_bytes}, allows; `ottla topic alter` raises it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_at_the_first_separator() {
        let split = |line, separator| split(line, separator).ok();
        for (line, separator, key, value) in [
            ("a=b=c", "=", "a", "b=c"),
            ("=", "=", "", ""),
            ("kéy→v", "→", "kéy", "v"),
            ("a::b", "::", "a", "b"),
        ] {
            let expected = (Some(key.as_bytes()), value.as_bytes());
            assert_eq!(split(line.as_bytes(), Some(separator)), Some(expected));
        }
        assert_eq!(split(b"a:b", Some("::")), None);
        assert_eq!(split(b"", Some("=")), None);
        assert_eq!(split(b"a=b", None), Some((None, &b"a=b"[..])));
    }
}
