//! Compressed topics and producers: what is written, what is read, and what damage makes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, decode_batch, open_on};
use ottla::{
    Broker, BrokerOptions, Compression, Durability, ErrorKind, ManualClock, Partition, Record, RecordBatch,
    Result, Start, TimestampType, Topic, TopicConfig,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{ROOT, ScriptedVfs, options, values};

const TIMEOUT: Duration = Duration::from_secs(10);
const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const LOG: &str = "t-0/00000000000000000000.log";

fn open(vfs: &MemoryVfs, options: BrokerOptions) -> Broker {
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

fn in_memory(config: TopicConfig) -> (MemoryVfs, Broker, Topic) {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs, options());
    let topic = broker.create_topic("t", config).unwrap();
    (vfs, broker, topic)
}

fn partition(topic: &Topic) -> Partition {
    topic.partition(0).unwrap()
}

fn batches(topic: &Topic) -> Vec<RecordBatch> {
    partition(topic).read(Start::Earliest).unwrap().collect::<Result<_>>().unwrap()
}

/// Of each batch how it is compressed, and how many records it has.
fn kinds(topic: &Topic) -> Vec<(Compression, usize)> {
    batches(topic).iter().map(|batch| (batch.compression(), batch.iter().len())).collect()
}

/// Bytes that no codec makes smaller.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_be_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

fn content(vfs: &MemoryVfs, name: &str) -> Vec<u8> {
    vfs.open(&path(name), OpenMode::Read).unwrap().map().unwrap().to_vec()
}

/// Where a batch of the log begins, and where it ends.
fn bounds(log: &[u8], number: usize) -> (usize, usize) {
    let mut begin = 0;
    for _ in 0..number {
        begin += size_at(log, begin);
    }
    (begin, begin + size_at(log, begin))
}

fn size_at(log: &[u8], at: usize) -> usize {
    12 + u32::from_be_bytes(log[at + 8..at + 12].try_into().unwrap()) as usize
}

/// Changes a batch of the log, and makes its checksum fit.
fn edit(vfs: &MemoryVfs, number: usize, edit: impl FnOnce(&mut [u8])) {
    let log = content(vfs, LOG);
    let (begin, end) = bounds(&log, number);
    let mut batch = log[begin..end].to_vec();
    edit(&mut batch);
    let crc = crc_fast::crc32_iscsi(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let file = vfs.open(&path(LOG), OpenMode::Write).unwrap();
    file.write_at(&batch, begin as u64).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_topic_compresses_what_it_is_sent_and_lends_it_as_it_was() {
    for codec in CODECS {
        let (vfs, broker, topic) = in_memory(TopicConfig::new().compression_type(codec));
        let sent: Vec<Vec<u8>> = (0..500u32).map(|n| format!("event {n} of the same kind").into()).collect();
        let producer = topic.producer();
        for (number, value) in sent.iter().enumerate() {
            let key = format!("key-{}", number % 7);
            let record = Record::new(value).key(&key).header("trace", "a1").null_header("n").timestamp(1000);
            _ = producer.send(record).unwrap();
        }
        producer.flush().unwrap();
        let of_own = ["one ".repeat(100), "two ".repeat(100)];
        let records: Vec<_> = of_own.iter().map(|value| Record::new(value).timestamp(2000)).collect();
        producer.send_batch(&records).unwrap().wait().unwrap();
        let expected: Vec<Vec<u8>> = sent.into_iter().chain(of_own.map(String::into_bytes)).collect();

        let check = |broker: &Broker| {
            let topic = &broker.topic("t").unwrap();
            assert_eq!(values(&partition(topic)).unwrap(), expected, "{codec}");
            let batches = batches(topic);
            assert!(batches.iter().all(|batch| batch.compression() == codec), "{codec}");
            let record = batches[0].iter().nth(3).unwrap();
            assert_eq!((record.key(), record.header("trace")), (Some(&b"key-3"[..]), Some(Some(&b"a1"[..]))));
            // Inside a batch as well.
            let from = partition(topic).read(Start::At(3)).unwrap().next().unwrap().unwrap();
            assert_eq!(from.iter().next().unwrap().offset(), 3);
            let late = partition(topic).read(Start::Time(1500)).unwrap().next().unwrap().unwrap();
            assert_eq!(late.iter().next().unwrap().offset(), 500);
            assert_eq!(polled(broker), expected);
        };
        check(&broker);
        let size: usize = batches(&topic).iter().map(RecordBatch::size).sum();
        let plain: usize = expected.iter().map(Vec::len).sum();
        assert!(size < plain / 2, "{codec} makes {size} of {plain} bytes");
        broker.close(TIMEOUT).unwrap();
        assert_eq!(content(&vfs, LOG).len(), size);

        // After an orderly stop, and after another.
        let broker = open(&vfs, options());
        check(&broker);
        assert_eq!(broker.topic("t").unwrap().config().get("compression.type"), Some(codec.to_string()));
        std::mem::forget(broker);
        let vfs = vfs.restart();
        let broker = open(&vfs, options());
        check(&broker);
    }
}

fn polled(broker: &Broker) -> Vec<Vec<u8>> {
    let topic = broker.topic("t").unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    records.iter().map(|record| record.value().unwrap().to_vec()).collect()
}

/// The levels are the topic's, also where the codec is the producer's, and an alteration holds from then on.
#[test]
fn a_codec_works_as_hard_as_its_topic_says() {
    let event = |number: u32| {
        format!(
            "{{\"order\":{},\"customer\":{},\"paid\":{}}}\n",
            number,
            number * 7919 % 1000,
            number.is_multiple_of(3)
        )
    };
    let value: String = (0..2000).map(event).collect();
    for (codec, name, [low, high]) in [
        (Compression::Gzip, "compression.gzip.level", ["1", "9"]),
        (Compression::Zstd, "compression.zstd.level", ["-100", "19"]),
    ] {
        let level = |config: TopicConfig, level| config.set(name, level).unwrap();
        let (vfs, broker, topic) = in_memory(level(TopicConfig::new(), low));
        let send = |topic: &Topic| {
            let producer = topic.producer().compression(codec).unwrap();
            producer.send(Record::new(&value)).unwrap().wait().unwrap();
            producer.send_batch(&[Record::new(&value)]).unwrap().wait().unwrap();
        };
        send(&topic);
        broker.alter_topic("t", level(topic.config(), high)).unwrap();
        send(&topic);
        broker.close(TIMEOUT).unwrap();
        let broker = open(&vfs, options());
        let topic = broker.topic("t").unwrap();
        assert_eq!(topic.config().get(name).as_deref(), Some(high));
        send(&topic);
        let sizes: Vec<_> = batches(&topic).iter().map(RecordBatch::size).collect();
        assert!(sizes[1] > sizes[2], "{codec}: {sizes:?}");
        assert_eq!(sizes, [sizes[0], sizes[0], sizes[2], sizes[2], sizes[2], sizes[2]], "{codec}");
        assert_eq!(values(&partition(&topic)).unwrap(), vec![value.clone().into_bytes(); 6]);
    }
    let error = open(&MemoryVfs::new(), options())
        .create_topic("t", TopicConfig::new().compression_gzip_level(10))
        .unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidConfig && error.to_string().contains("1 to 9, or -1"),
        "{error}"
    );
}

#[test]
fn the_topics_codec_comes_before_the_producers() {
    let value = "again and ".repeat(50);
    for (config, expected) in [
        (TopicConfig::new(), Compression::Lz4),
        (TopicConfig::new().compression_type(Compression::None), Compression::None),
        (TopicConfig::new().compression_type(Compression::Gzip), Compression::Gzip),
    ] {
        let (_, broker, topic) = in_memory(config);
        let asking = topic.producer().compression(Compression::Lz4).unwrap();
        asking.send(Record::new(&value)).unwrap().wait().unwrap();
        asking.send_batch(&[Record::new(&value)]).unwrap().wait().unwrap();
        let producer = broker.producer().compression(Compression::Lz4).unwrap().synced();
        producer.send(&topic, Record::new(&value)).unwrap().wait().unwrap();
        assert_eq!(kinds(&topic), [(expected, 1); 3]);
    }
}

#[test]
fn records_of_producers_with_different_codecs_share_no_batch() {
    let (_, _broker, topic) = in_memory(TopicConfig::new());
    let value = "again and ".repeat(50);
    let plain = topic.producer();
    let zstd = plain.clone().compression(Compression::Zstd).unwrap();
    let snappy = zstd.clone().compression(Compression::Snappy).unwrap();
    for producer in [&plain, &plain, &zstd, &zstd, &zstd, &snappy, &plain, &zstd] {
        _ = producer.send(Record::new(&value)).unwrap();
    }
    plain.flush().unwrap();
    use Compression::{None, Snappy, Zstd};
    assert_eq!(kinds(&topic), [(None, 2), (Zstd, 3), (Snappy, 1), (None, 1), (Zstd, 1)]);
    assert_eq!(values(&partition(&topic)).unwrap(), vec![value.into_bytes(); 8]);
}

#[test]
fn what_compressing_makes_larger_is_written_as_it_is() {
    for codec in CODECS {
        let (_, _broker, topic) = in_memory(TopicConfig::new().compression_type(codec));
        let (noise, words) = (noise(1, 5000), "words and ".repeat(500));
        let producer = topic.producer();
        for value in [&b"v"[..], &noise] {
            producer.send(Record::new(value)).unwrap().wait().unwrap();
            producer.send_batch(&[Record::new(value)]).unwrap().wait().unwrap();
        }
        producer.send(Record::new(&words)).unwrap().wait().unwrap();
        // Written together, one behind the other.
        for value in [&noise, &noise, words.as_bytes(), words.as_bytes(), &noise] {
            _ = producer.send_batch(&[Record::new(value)]).unwrap();
        }
        producer.flush().unwrap();
        let (plain, packed) = ((Compression::None, 1), (codec, 1));
        assert_eq!(
            kinds(&topic),
            [plain, plain, plain, plain, packed, plain, plain, packed, packed, plain],
            "{codec}"
        );
        let found = values(&partition(&topic)).unwrap();
        assert_eq!(found[2..7], [&noise, &noise, words.as_bytes(), &noise, &noise].map(<[u8]>::to_vec));
    }
}

#[test]
fn the_size_of_a_batch_counts_as_it_stands_in_the_file() {
    for codec in CODECS {
        let config = TopicConfig::new().compression_type(codec).max_message_bytes(10_000);
        let (_, broker, topic) = in_memory(config);
        let (noise, words) = (noise(1, 20_000), "words and ".repeat(5000));
        let producer = topic.producer();
        _ = producer.send(Record::new("before")).unwrap();
        let refused = [
            producer.send(Record::new(&noise)),
            producer.send(Record::new(&noise).expected_offset(1)),
            producer.try_send(Record::new(&noise)),
            producer.send_batch(&[Record::new(&words), Record::new(&noise)]),
        ];
        for error in refused.map(|sent| sent.unwrap_err()) {
            assert_eq!(error.kind(), ErrorKind::MessageTooLarge, "{error}");
            assert!(error.to_string().contains("max.message.bytes allows 10000"), "{error}");
        }
        // Each of them above the limit before it is compressed.
        assert_eq!(producer.send(Record::new(&words)).unwrap().wait().unwrap().offset(), 1);
        producer.send(Record::new(&words).expected_offset(2)).unwrap().wait().unwrap();
        producer.send_batch(&[Record::new(&words), Record::new(&words)]).unwrap().wait().unwrap();
        let sizes: Vec<_> = batches(&topic).iter().map(RecordBatch::size).collect();
        assert!(sizes.iter().all(|size| *size <= 10_000), "{codec}: {sizes:?}");
        let lengths: Vec<_> = values(&partition(&topic)).unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [6, 50_000, 50_000, 50_000, 50_000]);
        // A producer that asks for nothing has no more room than before.
        broker.alter_topic("t", topic.config().set("compression.type", "producer").unwrap()).unwrap();
        assert_eq!(producer.send(Record::new(&words)).unwrap_err().kind(), ErrorKind::MessageTooLarge);
        let asking = producer.compression(codec).unwrap();
        asking.send(Record::new(&words)).unwrap().wait().unwrap();
    }
}

#[test]
fn nothing_is_written_that_would_be_too_large_to_read() {
    let vfs = MemoryVfs::new();
    let small = || options().max_decompressed_bytes(5000);
    let broker = open(&vfs, small());
    let config = TopicConfig::new().compression_type(Compression::Zstd);
    let topic = broker.create_topic("t", config).unwrap();
    let producer = topic.producer();
    let large = [b'.'; 5000];
    for sent in [producer.send(Record::new(&large)), producer.send_batch(&[Record::new(&large)])] {
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
        assert!(error.to_string().contains("max_decompressed_bytes allows 5000"), "{error}");
    }
    // Nor are batches filled up to more, though their usual size is larger.
    for _ in 0..100 {
        _ = producer.send(Record::new(&large[..1000])).unwrap();
    }
    producer.flush().unwrap();
    assert_eq!(values(&partition(&topic)).unwrap().len(), 100);
    for bytes in [0, 1 << 31] {
        let error = options().max_decompressed_bytes(bytes).in_memory().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
}

/// A bomb, or only a batch of somebody with more memory.
#[test]
fn a_batch_above_the_limit_is_an_error_at_its_place_and_the_rest_is_read() {
    for codec in CODECS {
        let (vfs, broker, topic) = in_memory(TopicConfig::new().compression_type(codec));
        for value in [vec![b'a'; 1000], vec![b'b'; 100_000], vec![b'c'; 1000]] {
            topic.producer().send(Record::new(&value)).unwrap().wait().unwrap();
        }
        broker.close(TIMEOUT).unwrap();
        let (begin, end) = bounds(&content(&vfs, LOG), 1);
        let batch_size = end - begin;
        assert!(batch_size < 5000, "{codec}: {batch_size}");

        let broker = open(&vfs, options().max_decompressed_bytes(99_999));
        let topic = broker.topic("t").unwrap();
        let mut reader = partition(&topic).read(Start::Earliest).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().next_offset(), 1);
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge, "{error}");
        assert_eq!((error.topic(), error.partition(), error.offset()), (Some("t"), Some(0), Some(1)));
        assert_eq!(error.position(), Some(begin as u64));
        assert!(error.file().unwrap().ends_with(LOG) && !error.is_corruption());
        assert!(reader.next().is_none());
        assert_eq!(partition(&topic).read(Start::At(2)).unwrap().count(), 1);

        std::mem::forget(broker);
        let vfs = vfs.restart();
        // Recovery does not look into it either.
        let broker = open(&vfs, options().max_decompressed_bytes(99_999));
        assert_eq!(partition(&broker.topic("t").unwrap()).high_watermark(), 3);
        std::mem::forget(broker);
        let vfs = vfs.restart();
        let broker = open(&vfs, options().max_decompressed_bytes(101_000));
        assert_eq!(values(&partition(&broker.topic("t").unwrap())).unwrap().len(), 3);
    }
}

/// Every bit behind the header of a batch in the middle, with a checksum that fits: an error at its place, or records that
/// hold together; what stands around it is read.
#[test]
fn damage_inside_a_compressed_batch_stays_there() {
    for codec in CODECS {
        let (vfs, broker, topic) = in_memory(TopicConfig::new().compression_type(codec));
        for value in ["before ", "between ", "behind "] {
            topic.producer().send(Record::new(&value.repeat(30))).unwrap().wait().unwrap();
        }
        broker.close(TIMEOUT).unwrap();
        let (begin, end) = bounds(&content(&vfs, LOG), 1);
        let (mut refused, mut read) = (0, 0);
        for bit in 61 * 8..(end - begin) * 8 {
            let flip = |batch: &mut [u8]| batch[bit / 8] ^= 1 << (bit % 8);
            edit(&vfs, 1, flip);
            let broker = open(&vfs, options().memory_maps(false).max_decompressed_bytes(1 << 20));
            let partition = partition(&broker.topic("t").unwrap());
            let mut reader = partition.read(Start::Earliest).unwrap();
            assert_eq!(reader.next().unwrap().unwrap().last_offset(), 0);
            match reader.next().unwrap() {
                Ok(batch) => {
                    read += 1;
                    assert!(batch.iter().all(|record| record.offset() == 1));
                }
                Err(error) => {
                    refused += 1;
                    let kinds = [ErrorKind::CorruptMessage, ErrorKind::MessageTooLarge];
                    assert!(kinds.contains(&error.kind()), "{error}");
                    assert_eq!((error.offset(), error.position()), (Some(1), Some(begin as u64)), "{error}");
                }
            }
            assert_eq!(partition.read(Start::At(2)).unwrap().next().unwrap().unwrap().last_offset(), 2);
            broker.close(TIMEOUT).unwrap();
            edit(&vfs, 1, flip);
        }
        assert!(refused > read, "{codec}: {refused} refused, {read} read");
    }
}

#[test]
fn a_batch_with_another_codec_than_it_says_is_corrupt() {
    for (codec, says) in CODECS.into_iter().flat_map(|codec| (1..=4u8).map(move |says| (codec, says))) {
        let (vfs, broker, topic) = in_memory(TopicConfig::new().compression_type(codec));
        topic.producer().send(Record::new(&"words ".repeat(30))).unwrap().wait().unwrap();
        broker.close(TIMEOUT).unwrap();
        let is_right = content(&vfs, LOG)[22] == says;
        edit(&vfs, 0, |batch| batch[22] = says);
        let found = values(&partition(&open(&vfs, options()).topic("t").unwrap()));
        match found {
            Ok(values) => assert!(is_right && values.len() == 1, "{codec} as {says}"),
            Err(error) => assert!(!is_right && error.is_corruption(), "{codec} as {says}: {error}"),
        }
    }
}

#[test]
fn log_append_time_and_segments_that_roll() {
    let clock = ManualClock::at(5000);
    let config = TopicConfig::new()
        .compression_type(Compression::Snappy)
        .timestamp_type(TimestampType::LogAppendTime)
        .segment_bytes(2048)
        .durability(Durability::Os);
    let vfs = MemoryVfs::new();
    let broker = open(&vfs, options().clock(clock.clock()));
    let topic = broker.create_topic("t", config).unwrap();
    let sent: Vec<_> = (0..200u64).map(|n| [noise(n, 20), vec![b'.'; 100]].concat()).collect();
    for (number, value) in sent.iter().enumerate() {
        if number % 10 == 0 {
            clock.set_wall(5000 + i64::try_from(number).unwrap());
            topic.producer().flush().unwrap();
        }
        _ = topic.producer().send(Record::new(value).timestamp(1)).unwrap();
    }
    topic.producer().flush().unwrap();
    assert_eq!(values(&partition(&topic)).unwrap(), sent);
    for batch in batches(&topic) {
        assert_eq!((batch.compression(), batch.iter().len()), (Compression::Snappy, 10));
        let time = 5000 + i64::try_from(batch.base_offset()).unwrap();
        assert!(batch.iter().all(|record| record.timestamp() == Some(time)));
    }
    assert!(vfs.read_dir(&path("t-0")).unwrap().iter().filter(|e| e.name.ends_with(".log")).count() > 3);
}

/// A disk that does not take the batch: not written, and the next one has its offset.
#[test]
fn a_compressed_batch_that_the_disk_refuses_is_not_written() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().compression_type(Compression::Zstd)).unwrap();
    let value = "words ".repeat(100);
    topic.producer().send(Record::new(&value)).unwrap().wait().unwrap();
    vfs.fail_once("write 00000000000000000000.log", 0, std::io::ErrorKind::StorageFull);
    let error = topic.producer().send(Record::new(&value)).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotWritten);
    assert_eq!(topic.producer().send(Record::new(&value)).unwrap().wait().unwrap().offset(), 1);
    assert_eq!(kinds(&topic), [(Compression::Zstd, 1); 2]);
}

#[test]
fn a_poll_counts_what_it_hands_out_and_not_what_is_in_the_file() {
    let (_, broker, topic) = in_memory(TopicConfig::new().compression_type(Compression::Zstd));
    for _ in 0..10 {
        topic.producer().send(Record::new(&[b'.'; 10_000])).unwrap().wait().unwrap();
    }
    let consumer = broker.consumer().fetch_max_bytes(25_000);
    let mut consumer = consumer.assign(topic.partitions()).unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 3);
}

/// What happens to a topic that changes its mind.
#[derive(Clone, Debug)]
enum Step {
    Send { codec: Compression, len: usize, is_noise: bool },
    Batch { codec: Compression, count: usize },
    Alter(&'static str),
    Flush,
    Reopen { in_order: bool },
}

fn codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(vec![
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let types = ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
    prop_oneof![
        8 => (codec(), 0..3000usize, any::<bool>())
            .prop_map(|(codec, len, is_noise)| Step::Send { codec, len, is_noise }),
        2 => (codec(), 1..20usize).prop_map(|(codec, count)| Step::Batch { codec, count }),
        1 => prop::sample::select(types.to_vec()).prop_map(Step::Alter),
        2 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|in_order| Step::Reopen { in_order }),
    ]
}

/// Of each record its value, and the codec that it should have unless its batch would grow.
#[derive(Default)]
struct Model {
    sent: Vec<(Vec<u8>, Compression)>,
    topic: Option<Compression>,
}

impl Model {
    fn send(&mut self, value: Vec<u8>, asked: Compression) {
        self.sent.push((value, self.topic.unwrap_or(asked)));
    }

    fn check(&self, topic: &Topic) {
        let mut sent = self.sent.iter();
        for batch in batches(topic) {
            let expected: Vec<_> = sent.by_ref().take(batch.iter().len()).collect();
            let found = batch.iter().map(|record| record.value().unwrap().to_vec());
            assert!(found.eq(expected.iter().map(|(value, _)| value.clone())));
            let is_kept = batch.compression() == Compression::None;
            assert!(expected.iter().all(|(_, codec)| *codec == expected[0].1), "codecs share no batch");
            assert!(is_kept || expected.iter().all(|(_, codec)| *codec == batch.compression()));
        }
        assert_eq!(sent.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_codecs_every_record_comes_back(steps in vec(step(), 1..60)) {
        let mut model = Model::default();
        let mut vfs = MemoryVfs::new();
        let mut broker = open(&vfs, options().batch_size(4000));
        broker.create_topic("t", TopicConfig::new().segment_bytes(20_000)).unwrap();
        for step in steps {
            let topic = broker.topic("t").unwrap();
            match step {
                Step::Send { codec, len, is_noise } => {
                    let seed = model.sent.len() as u64;
                    let value = if is_noise { noise(seed, len) } else { vec![seed.to_be_bytes()[7]; len] };
                    _ = topic.producer().compression(codec).unwrap().send(Record::new(&value)).unwrap();
                    model.send(value, codec);
                }
                Step::Batch { codec, count } => {
                    let sent: Vec<_> = (0..count).map(|number| number.to_be_bytes().repeat(12)).collect();
                    let records: Vec<_> = sent.iter().map(Record::new).collect();
                    _ = topic.producer().compression(codec).unwrap().send_batch(&records).unwrap();
                    sent.into_iter().for_each(|value| model.send(value, codec));
                }
                Step::Alter(kind) => {
                    let config = topic.config().set("compression.type", kind).unwrap();
                    model.topic = match kind {
                        "producer" => None,
                        "uncompressed" => Some(Compression::None),
                        kind => CODECS.into_iter().find(|codec| codec.to_string() == kind),
                    };
                    broker.alter_topic("t", config).unwrap();
                }
                Step::Flush => {
                    topic.producer().flush().unwrap();
                    model.check(&topic);
                }
                Step::Reopen { in_order } => {
                    topic.producer().flush().unwrap();
                    drop(topic);
                    if in_order {
                        broker.close(TIMEOUT).unwrap();
                    } else {
                        std::mem::forget(broker);
                        vfs = vfs.restart();
                    }
                    broker = open(&vfs, options().batch_size(4000));
                }
            }
        }
        let topic = broker.topic("t").unwrap();
        topic.producer().flush().unwrap();
        model.check(&topic);
    }
}

/// Batches of kafka-clients 4.2.0, made by `MemoryRecords.builder` from offset 5 on with each codec at its default level;
/// the fuzz target begins with them, too. Kafka's leader epoch is none: a broker gives it.
#[test]
fn what_kafkas_own_code_has_compressed_is_read() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/decode_batch");
    for codec in CODECS {
        let seed = std::fs::read(seeds.join(format!("kafka_{codec}"))).unwrap();
        let batch = decode_batch(&seed[1..]).unwrap();
        assert_eq!((batch.compression(), batch.leader_epoch(), batch.iter().len()), (codec, None, 20));
        for (number, record) in (0..).zip(&batch) {
            let key = (number % 3 != 0).then(|| format!("key-{}", number % 7).into_bytes());
            let value = format!("event {number} of the same kind, and of the same kind").into_bytes();
            let trace = (number % 4 == 1).then(|| format!("a{number}").into_bytes());
            assert_eq!(record.offset(), 5 + u64::try_from(number).unwrap());
            assert_eq!(record.timestamp(), Some(1_700_000_000_000 + number));
            assert_eq!(record.key(), key.as_deref());
            assert_eq!(record.value(), (number % 5 != 4).then_some(&value[..]));
            assert_eq!(record.header("trace").flatten(), trace.as_deref());
            assert_eq!(record.header("none"), trace.is_some().then_some(None));
        }
    }
}
