//! Where a measurement takes place.

use std::path::PathBuf;

use ottla::{Broker, Record, Topic, TopicConfig};

use crate::Outcome;
use crate::raw::Raw;

const PAYLOAD: usize = 100;

/// A directory of one measurement, and payloads that do not compress.
pub struct Workplace {
    pub dir: PathBuf,
    payloads: Vec<u8>,
}

impl Workplace {
    pub fn new() -> Outcome<Self> {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ottla-ratios-{}-{count}", std::process::id()));
        std::fs::create_dir(&dir)?;
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Ok(Self { dir, payloads: words.flatten().take(1000 * PAYLOAD).collect() })
    }

    /// A thousand payloads.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.payloads.chunks(PAYLOAD)
    }

    pub fn topic(&self) -> Outcome<(Broker, Topic)> {
        self.topic_with(TopicConfig::new())
    }

    pub fn topic_with(&self, config: TopicConfig) -> Outcome<(Broker, Topic)> {
        let broker = Broker::open(self.dir.join("data"))?;
        let topic = broker.create_topic("ratios", config)?;
        Ok((broker, topic))
    }

    pub fn raw(&self) -> Outcome<Raw> {
        Ok(Raw::create(&self.dir.join("raw"))?)
    }

    /// Appends `thousands` times a thousand records, and makes them durable.
    pub fn fill(&self, topic: &Topic, thousands: usize) -> Outcome<()> {
        let producer = topic.producer();
        for _ in 0..thousands {
            for payload in self.payloads() {
                _ = producer.send(Record::new(payload))?;
            }
        }
        Ok(producer.flush()?)
    }

    pub fn logs(&self) -> Outcome<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.dir.join("data/ratios-0"))?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == "log")).collect())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.dir);
    }
}
