//! The main job from end to end: durable appends, an orderly restart, a replay.
//!
//! `cargo run --release -p ottla --example quickstart`

use std::time::{Duration, Instant};

use ottla::{Broker, Record, Start, TopicConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("ottla-quickstart-{}", std::process::id()));
    println!("A data directory: {}", dir.display());

    // The first life of the service: append orders, each acknowledged once it is on the disk.
    let broker = Broker::open(&dir)?;
    let orders = broker.ensure_topic("orders", TopicConfig::new().partitions(3))?;
    let producer = broker.producer();
    println!("\nEvery `wait` returns once the record survives a power cut:");
    for (order, event) in [("order-1", "placed"), ("order-2", "placed"), ("order-1", "paid")] {
        let start = Instant::now();
        let metadata = producer.send(&orders, Record::new(event).key(order))?.wait()?;
        println!(
            "  {order} {event:<6} -> {}-{} offset {}, durable after {:?}",
            metadata.topic(),
            metadata.partition(),
            metadata.offset(),
            start.elapsed()
        );
    }

    // A bulk load: nobody waits for a single record, and one flush makes all of them durable.
    let start = Instant::now();
    let count = 100_000;
    for number in 0..count {
        let order = format!("bulk-{number}");
        _ = producer.send(&orders, Record::new("placed").key(&order))?;
    }
    producer.flush()?;
    let seconds = start.elapsed().as_secs_f64();
    println!("\n{count} more, durable after {seconds:.2} s ({:.0} records/s)", f64::from(count) / seconds);

    broker.close(Duration::from_secs(10))?;
    println!("\nClosed in order.");

    // The second life: nothing is configured again, everything is there.
    let start = Instant::now();
    let broker = Broker::open(&dir)?;
    println!("Opened again after {:?}.", start.elapsed());

    let start = Instant::now();
    let (mut records, mut history) = (0, Vec::new());
    for partition in broker.topic("orders")?.partitions() {
        for batch in partition.read(Start::Earliest)? {
            for record in &batch? {
                records += 1;
                if record.key() == Some(b"order-1") {
                    history.push(String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned());
                }
            }
        }
    }
    println!("Replayed {records} records after {:?}.", start.elapsed());
    println!("The story of order-1, in order: {}", history.join(", "));
    assert_eq!((records, history.len()), (count + 3, 2));

    broker.close(Duration::from_secs(10))?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
