//! Moves topics between a directory of ours and a Kafka broker's, for the tests with a real one.
//!
//! `fill DIR TOPIC PARTITIONS COUNT` writes records in three leader epochs · `append DIR TOPIC COUNT` appends some and
//! closes · `hand-over DIR TOPIC LOG_DIR` · `move DIR TOPIC LOG_DIR` · `adopt DIR` · `undo DIR` · `read DIR TOPIC` prints
//! every record as `partition offset timestamp key value`, sorted by partition and offset · `ends DIR` prints each
//! partition's log start and end · `unstable DIR TOPIC` prints how many records stand behind the last stable offsets ·
//! `commit DIR GROUP TOPIC COUNT` has a consumer read so many records, commits, and prints `topic,partition,offset`.

use std::time::Duration;

use ottla::{Broker, HandOver, Record, Result, Start, Topic, TopicConfig};

const TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["fill", dir, topic, partitions, count] => fill(dir, topic, partitions.parse()?, count.parse()?)?,
        ["append", dir, topic, count] => {
            let broker = Broker::open(dir)?;
            append(&broker.topic(topic)?, count.parse()?, "ours")?;
            broker.close(TIMEOUT)?;
        }
        ["hand-over", dir, topic, to] => hand_over(HandOver::new(topic).from(dir).to(to))?,
        ["move", dir, topic, to] => hand_over(HandOver::new(topic).from(dir).to(to).give_up(true))?,
        ["adopt", dir] => {
            let broker = Broker::options().adopt(true).open(dir)?;
            let report = broker.recovery_report();
            println!("adopted: {}, clean: {}", report.is_adopted(), report.is_clean());
            report.notes().for_each(|note| println!("note: {note}"));
            for cut in report.partitions() {
                println!(
                    "cut: {}-{} at {}, {} bytes",
                    cut.topic(),
                    cut.partition(),
                    cut.end_offset(),
                    cut.cut_bytes()
                );
            }
            broker.close(TIMEOUT)?;
        }
        ["undo", dir] => println!("{:?}", Broker::undo_adoption(dir)?),
        ["read", dir, topic] => {
            let broker = Broker::open(dir)?;
            read(&broker.topic(topic)?)?;
            broker.close(TIMEOUT)?;
        }
        ["unstable", dir, topic] => {
            let broker = Broker::open(dir)?;
            let topic = broker.topic(topic)?;
            let behind = topic.partitions().map(|it| it.high_watermark() - it.last_stable_offset());
            println!("{}", behind.sum::<u64>());
            broker.close(TIMEOUT)?;
        }
        ["commit", dir, group, topic, count] => {
            let broker = Broker::open(dir)?;
            commit(&broker, group, topic, count.parse()?)?;
            broker.close(TIMEOUT)?;
        }
        ["ends", dir] => {
            let broker = Broker::open(dir)?;
            for topic in broker.topics()? {
                for partition in topic.partitions() {
                    let (start, end) = (partition.log_start_offset(), partition.log_end_offset());
                    println!("{}-{} {start} {end}", topic.name(), partition.id());
                }
            }
            broker.close(TIMEOUT)?;
        }
        _ => return Err("what is to be done stands at the top of this example".into()),
    }
    Ok(())
}

/// Records in three leader epochs, for nothing else has more than one.
fn fill(dir: &str, topic: &str, partitions: u32, count: usize) -> Result<()> {
    for life in 0..3 {
        let broker = Broker::open(dir)?;
        let config = TopicConfig::new().partitions(partitions).segment_bytes(64 * 1024);
        let topic = broker.ensure_topic(topic, config)?;
        append(&topic, count / 3, &format!("life {life}"))?;
        broker.close(TIMEOUT)?;
        // As if it had not been: the next one recovers, and begins an epoch.
        if life < 2 {
            _ = std::fs::remove_file(std::path::Path::new(dir).join(".kafka_cleanshutdown"));
        }
    }
    Ok(())
}

fn append(topic: &Topic, count: usize, what: &str) -> Result<()> {
    let producer = topic.producer();
    for number in 0..count {
        let key = format!("key-{}", number % 17);
        let value = format!("{what}, number {number}, {}", "x".repeat(number % 90));
        _ = producer.send(Record::new(&value).key(&key))?;
    }
    producer.flush()
}

fn hand_over(hand_over: HandOver) -> Result<()> {
    let report = hand_over.run()?;
    for partition in report.partitions() {
        println!(
            "partition {}: offsets {} to {}, {} batches, {} restamped, {} bytes",
            partition.partition(),
            partition.log_start_offset(),
            partition.log_end_offset(),
            partition.batches(),
            partition.restamped_batches(),
            partition.bytes()
        );
    }
    println!("{}", report.next_step());
    Ok(())
}

fn commit(broker: &Broker, group: &str, topic: &str, mut count: usize) -> Result<()> {
    while count > 0 {
        // One that is dropped leaves the rest to the next.
        let mut consumer = broker.consumer().group(group).max_poll_records(count).subscribe([topic])?;
        let read = consumer.poll(TIMEOUT)?.len();
        consumer.commit()?;
        count -= read;
    }
    for partition in broker.describe_group(group)?.partitions() {
        let committed = partition.committed().map_or(0, ottla::Position::offset);
        println!("{},{},{committed}", partition.topic(), partition.partition());
    }
    Ok(())
}

fn read(topic: &Topic) -> Result<()> {
    let text = |bytes: Option<&[u8]>| {
        bytes.map_or_else(|| "null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    for partition in topic.partitions() {
        for batch in partition.read(Start::Earliest)? {
            for record in &batch? {
                let timestamp = record.timestamp().unwrap_or(-1);
                let (key, value) = (text(record.key()), text(record.value()));
                println!("{}\t{}\t{timestamp}\t{key}\t{value}", partition.id(), record.offset());
            }
        }
    }
    Ok(())
}
