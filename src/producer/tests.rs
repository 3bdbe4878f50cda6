//! What a build says that does not have a codec: of topics, producers, and batches that somebody else has compressed.
#![cfg(not(feature = "zstd"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::broker::Broker;
use crate::config::TopicConfig;
use crate::error::{ErrorKind, Result};
use crate::model::{Compression, Record, Start};

const LOG: &str = "clicks-0/00000000000000000000.log";

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    /// With a topic of two records, each in a batch of its own; closed in order.
    fn filled(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-missing-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        let dir = Self(path);
        let broker = dir.open();
        let clicks = broker.create_topic("clicks", TopicConfig::new()).unwrap().producer();
        for value in ["one", "two"] {
            clicks.send(Record::new(value).timestamp(7)).unwrap().wait().unwrap();
        }
        broker.close(Duration::from_secs(10)).unwrap();
        dir
    }

    fn open(&self) -> Broker {
        Broker::open(&self.0).unwrap()
    }

    fn edit(&self, file: &str, edit: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let path = self.0.join(file);
        fs::write(&path, edit(fs::read(&path).unwrap())).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn nobody_gets_a_codec_that_is_missing() {
    let dir = Dir::filled("asked");
    let broker = dir.open();
    let clicks = broker.topic("clicks").unwrap();
    let zstd = clicks.config().compression_type(Compression::Zstd);
    let errors = [
        broker.create_topic("new", zstd.clone()).unwrap_err(),
        broker.ensure_topic("new", zstd.clone()).unwrap_err(),
        broker.alter_topic("clicks", zstd).unwrap_err(),
        broker.producer().compression(Compression::Zstd).unwrap_err(),
        clicks.producer().compression(Compression::Zstd).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::UnsupportedCompressionType);
        assert!(error.to_string().contains("build it with the feature `zstd`"), "{error}");
    }
    assert!(broker.topic("new").is_err());
    assert_eq!(clicks.config(), TopicConfig::new().durability(crate::config::Durability::Synced));
}

/// Another build has created it: nothing is sent, the rest works, and the codec can be given up.
#[test]
fn a_topic_of_a_missing_codec_takes_no_records_until_it_is_altered() {
    let dir = Dir::filled("topic");
    dir.edit("ottla.manifest", |text| {
        let text = String::from_utf8(text).unwrap();
        let body = text.replace("compression.type producer", "compression.type zstd");
        assert_ne!(body, text);
        let body = body.split_once("crc32").unwrap().0;
        format!("{body}crc32 {:08x}\n", crc32fast::hash(body.as_bytes())).into()
    });
    let broker = dir.open();
    let clicks = broker.topic("clicks").unwrap();
    let alone = [Record::new("three")];
    let sent = [
        clicks.producer().send(Record::new("three")),
        clicks.producer().try_send(Record::new("three")),
        clicks.producer().send(Record::new("three").expected_offset(2)),
        clicks.producer().send_batch(&alone),
    ];
    for error in sent.map(|sent| sent.unwrap_err()) {
        assert_eq!(error.kind(), ErrorKind::UnsupportedCompressionType);
        assert_eq!((error.topic(), error.partition()), (Some("clicks"), Some(0)));
    }
    assert_eq!(values(&broker, Start::Earliest).unwrap(), ["one", "two"]);
    broker.alter_topic("clicks", clicks.config().partitions(2)).unwrap();
    broker.alter_topic("clicks", clicks.config().compression_type(Compression::None)).unwrap();
    clicks.producer().send(Record::new("three").partition(0)).unwrap().wait().unwrap();
    assert_eq!(values(&broker, Start::Earliest).unwrap(), ["one", "two", "three"]);
}

/// The batch is whole, which takes no codec to know; what it holds cannot be read, and everything else can.
#[test]
fn a_batch_of_a_missing_codec_is_named_and_nothing_else_is_concerned() {
    for in_order in [true, false] {
        let dir = Dir::filled(if in_order { "read" } else { "recovered" });
        dir.edit(LOG, |mut log| {
            let size = 12 + usize::from(log[11]);
            log[22] |= 4;
            let crc = crc_fast::crc32_iscsi(&log[21..size]);
            log[17..21].copy_from_slice(&crc.to_be_bytes());
            log
        });
        if !in_order {
            fs::remove_file(dir.0.join(".kafka_cleanshutdown")).unwrap();
        }
        let broker = dir.open();
        assert_eq!(broker.recovery_report().is_clean(), in_order);
        let clicks = broker.topic("clicks").unwrap();
        clicks.producer().send(Record::new("three")).unwrap().wait().unwrap();
        for start in [Start::Earliest, Start::At(0), Start::Time(5)] {
            let error = values(&broker, start).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedCompressionType, "{error}");
            assert!(error.to_string().contains("build it with the feature `zstd`"), "{error}");
            assert_eq!((error.topic(), error.partition()), (Some("clicks"), Some(0)));
            assert_eq!((error.offset(), error.position()), (Some(0), Some(0)));
            assert!(error.file().is_some_and(|file| file.ends_with(Path::new(LOG))));
        }
        assert_eq!(values(&broker, Start::At(1)).unwrap(), ["two", "three"]);
        let mut consumer = broker.consumer().assign(clicks.partitions()).unwrap();
        let partition = clicks.partition(0).unwrap();
        assert!(consumer.poll(Duration::ZERO).is_err());
        assert_eq!(consumer.position(&partition).unwrap().offset(), 0);
        consumer.seek(&partition, Start::At(1)).unwrap();
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 2);
    }
}

fn values(broker: &Broker, start: Start) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for batch in broker.topic("clicks")?.partition(0)?.read(start)? {
        for record in &batch? {
            values.push(String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned());
        }
    }
    Ok(values)
}
