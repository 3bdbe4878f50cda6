//! What services do in the crash suites: small, and among them everything that a broker does to its files.

use std::time::Duration;

use ottla::internals::MemoryVfs;
use ottla::{Durability, ManualClock, Record};

use crate::service::{Service, open_at, open_ticked};
use crate::told::{INTERVAL, Outcome, Told};

pub type Script = fn(&mut Service<'_>) -> Outcome;

pub const WORKLOADS: [(&str, Script); 11] = [
    ("alter", |service| {
        service.send("os", &[100])?;
        service.send("os", &[600, 500])?;
        _ = service.alter("os", |config| config.durability(Durability::Synced).segment_bytes(4096));
        service.send("os", &[700])?;
        service.send("os", &[300])?;
        _ = service.alter("os", |config| config.durability(Durability::Os).segment_bytes(1024));
        service.send("os", &[900])?;
        service.reopen()?;
        service.alter("os", |config| config.durability(Durability::Synced))?;
        service.send("os", &[10])
    }),
    ("grow", |service| {
        service.send("a", &[10])?;
        let grown = service.alter("a", |config| config.partitions(2));
        service.send("a", &[20])?;
        if grown.is_ok() {
            service.send("a/1", &[30])?;
        }
        let grown = service.alter("a", |config| config.partitions(4).durability(Durability::Os));
        if grown.is_ok() {
            service.send("a/3", &[40])?;
            service.send("a/1", &[40])?;
        }
        service.reopen()?;
        service.alter("a", |config| config.partitions(5).durability(Durability::Synced))?;
        service.send("a/4", &[50, 60])?;
        service.send("a", &[10])
    }),
    ("os", |service| {
        service.send("os", &[100])?;
        service.send("os", &[600, 500])?;
        service.sync("os")?;
        service.send("os", &[700])?;
        // What follows a roll is synced behind it.
        service.clock.advance(Duration::from_millis(20));
        service.broker.tick()?;
        service.send("os", &[10])?;
        service.reopen()?;
        service.send("os", &[900])
    }),
    ("interval", |service| {
        service.send("interval", &[100])?;
        service.pass_interval("interval")?;
        service.send("interval", &[800])?;
        service.pass_interval("interval")?;
        // Nobody ticks any more: the second record waits for the sync of the first.
        service.send("interval", &[20])?;
        service.clock.advance(3 * INTERVAL);
        let synced = service.told.topics["interval"].acknowledged;
        service.send("interval", &[20])?;
        service.told.topics.get_mut("interval").unwrap().synced = synced;
        Ok(())
    }),
    ("batches", |service| {
        service.send_batch("a", &[300, 200, 10])?;
        service.send_batch("a", &[400, 400])?;
        service.send("a", &[5])
    }),
    ("appends", |service| {
        service.send("a", &[10])?;
        service.send("a", &[600, 20])?;
        service.send("a", &[5])
    }),
    ("rolls", |service| {
        service.send("a", &[700])?;
        service.send("a", &[700, 700])?;
        service.send("a", &[10])
    }),
    ("rolls made ready", |service| {
        for level in ["a", "os"] {
            service.send(level, &[700])?;
            // The next log is made, the next segment is given it, and its end is as near.
            service.broker.tick()?;
            service.send(level, &[720])?;
            service.broker.tick()?;
            service.send(level, &[10])?;
            service.send(level, &[710, 10])?;
        }
        service.reopen()?;
        service.send("a", &[700])
    }),
    ("lives", |service| {
        service.send("a", &[300])?;
        service.reopen()?;
        service.send("a", &[900])?;
        service.reopen()
    }),
    ("topics", |service| {
        service.send("a", &[10])?;
        service.send("b", &[20])?;
        service.delete("a")?;
        service.send("b", &[30])
    }),
    ("nobody waits", |service| {
        let topic = service.topic("a")?;
        service.send("a", &[100])?;
        for size in [200, 2000] {
            let sent = service.told.topics.entry("a").or_default();
            let value = vec![u8::try_from(sent.values.len()).unwrap() + 1; size.min(900)];
            _ = topic.producer().send(Record::new(&value))?;
            sent.values.push(value);
        }
        service.reopen()
    }),
];

/// Runs the script until the file system stops it; returns what it was told.
pub fn run(name: &str, script: Script, vfs: &MemoryVfs) -> Told {
    let mut told = Told::default();
    let clock = ManualClock::at(1_700_000_000_000);
    let open = if name.ends_with("ready") { open_ticked } else { open_at };
    if let Ok(broker) = open(vfs, &clock) {
        let mut service = Service { vfs, broker, clock, told: &mut told, open };
        _ = script(&mut service);
        // The process is gone: nothing of it is closed in order.
        std::mem::forget(service.broker);
    }
    told
}
