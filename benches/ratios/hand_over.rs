//! Handing records over from one thread to another at the end of a log.
//!
//! One thread appends a record of 100 bytes and waits until the other one has read it and has said so through a channel;
//! so each hand-over costs an append, the waking of a reader, a read, and the waking of the writer. Nothing is synced.
//! The twin does the same with as little as possible: a `pwrite`, a `Condvar` on which the reader waits, a `pread`, and
//! the same channel.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ottla::{Durability, Record, TopicConfig};

use crate::row::Row;
use crate::workplace::Workplace;
use crate::{Outcome, per_second};

const TIMES: usize = 20_000;

pub const ROWS: &[Row] =
    &[Row { name: "tail hand-over", unit: "records/s", floor: None, ours: hand_over, raw: raw_hand_over }];

/// Runs both sides; `write` is called for each payload in turn, and `read` until it was so often.
fn ping_pong(
    place: &Workplace,
    mut write: impl FnMut(&[u8]) -> Outcome<()>,
    read: impl FnOnce(Sender<()>) -> Outcome<()> + Send,
) -> Outcome<f64> {
    let (sender, receiver): (Sender<()>, Receiver<()>) = channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(sender));
        let start = Instant::now();
        for payload in place.payloads().cycle().take(TIMES) {
            write(payload)?;
            receiver.recv()?;
        }
        let took = start.elapsed();
        reader.join().unwrap_or_else(|_| Err("the reader panicked".into()))?;
        Ok(per_second(TIMES, took))
    })
}

fn hand_over(place: &Workplace) -> Outcome<f64> {
    let (broker, topic) = place.topic_with(TopicConfig::new().durability(Durability::Os))?;
    let producer = topic.producer();
    let mut consumer = broker.consumer().assign(topic.partitions())?;
    let write = |payload: &[u8]| {
        producer.send(Record::new(payload))?.wait()?;
        Ok(())
    };
    ping_pong(place, write, move |seen| {
        let mut count = 0;
        while count < TIMES {
            for record in &consumer.poll(Duration::from_secs(10))? {
                std::hint::black_box(record.value());
                count += 1;
                seen.send(())?;
            }
        }
        Ok(())
    })
}

fn raw_hand_over(place: &Workplace) -> Outcome<f64> {
    let file = File::options().read(true).write(true).create_new(true).open(place.dir.join("raw"))?;
    let (end, grown) = (Mutex::new(0), Condvar::new());
    let write = |payload: &[u8]| {
        let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all_at(payload, *end)?;
        *end += payload.len() as u64;
        grown.notify_all();
        Ok(())
    };
    ping_pong(place, write, |seen| {
        let mut buffer = [0; 100];
        let mut position = 0;
        for _ in 0..TIMES {
            let end = end.lock().unwrap_or_else(PoisonError::into_inner);
            drop(grown.wait_while(end, |end| *end == position).unwrap_or_else(PoisonError::into_inner));
            file.read_exact_at(&mut buffer, position)?;
            position += buffer.len() as u64;
            seen.send(())?;
        }
        Ok(())
    })
}
