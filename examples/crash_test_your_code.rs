//! Crashes a small event-sourced service after every call of the file system, in memory: an account that never spends what
//! it does not have, and never forgets what it has told a customer. Then the same service with one line in the wrong place.
//!
//! `cargo run --release -p ottla --features test-util --example crash_test_your_code`

use ottla::simulator::{CrashImage, CrashReport, CrashTest, Disk};
use ottla::{Broker, ErrorKind, Record, Result, Start, Topic, TopicConfig};

/// An account, as it stands after the events of its topic.
struct Account {
    events: Topic,
    balance: i64,
    /// Where the next event goes.
    next: u64,
}

/// Whether a receipt is handed out before or after the event is on the disk.
#[derive(Clone, Copy)]
enum Receipts {
    OnceDurable,
    AtOnce,
}

impl Account {
    fn open(disk: &Disk) -> Result<Self> {
        let broker = Broker::options().background(false).reserve_bytes(0).open_on(disk, "/data")?;
        let events = broker.ensure_topic("account", TopicConfig::new())?;
        let (mut balance, mut next) = (0, 0);
        for batch in events.partition(0)?.read(Start::Earliest)? {
            for event in &batch? {
                balance += amount(event.value().unwrap_or_default());
                next = event.offset() + 1;
            }
        }
        Ok(Self { events, balance, next })
    }

    /// Books an amount, unless it is not there to be spent; the receipt is what the customer keeps.
    fn book(&mut self, amount: i64, receipts: Receipts, handed_out: &mut Vec<i64>) -> Result<()> {
        if self.balance + amount < 0 {
            return Ok(());
        }
        let event = amount.to_be_bytes();
        // Nobody else has booked anything since the balance was read.
        let delivery = self.events.producer().send(Record::new(&event).expected_offset(self.next))?;
        if matches!(receipts, Receipts::AtOnce) {
            handed_out.push(amount);
        }
        delivery.wait()?;
        if matches!(receipts, Receipts::OnceDurable) {
            handed_out.push(amount);
        }
        (self.balance, self.next) = (self.balance + amount, self.next + 1);
        Ok(())
    }
}

fn amount(event: &[u8]) -> i64 {
    event.try_into().map_or(0, i64::from_be_bytes)
}

/// One day of the service, with a restart in it. It ends with an error where the crash test ends its process.
fn live(disk: &Disk, receipts: Receipts, handed_out: &mut Vec<i64>) -> Result<()> {
    let mut account = Account::open(disk)?;
    for amount in [100, -30, -500] {
        account.book(amount, receipts, handed_out)?;
    }
    drop(account);
    let mut account = Account::open(disk)?;
    for amount in [-60, -60, 25] {
        account.book(amount, receipts, handed_out)?;
    }
    Ok(())
}

/// What must hold whatever a crash has left: every receipt is booked, in order, and nothing is overspent.
fn check(image: &CrashImage, handed_out: &[i64]) -> std::result::Result<(), String> {
    let account = Account::open(&image.disk).map_err(|error| format!("{image}: {error}"))?;
    let mut booked = Vec::new();
    let events = account.events.partition(0).and_then(|partition| partition.read(Start::Earliest));
    for batch in events.map_err(|error| format!("{image}: {error}"))? {
        let batch = batch.map_err(|error| format!("{image}: {error}"))?;
        booked.extend(batch.iter().map(|event| amount(event.value().unwrap_or_default())));
    }
    if !booked.starts_with(handed_out) {
        return Err(format!("{image}: booked {booked:?}, and the customer has receipts for {handed_out:?}"));
    }
    let mut balance = 0;
    if booked.iter().any(|amount| {
        balance += amount;
        balance < 0
    }) {
        return Err(format!("{image}: overspent, {booked:?}"));
    }
    Ok(())
}

/// Crashes it everywhere; the first image that breaks the promise, and how many there were.
fn crash(receipts: Receipts) -> (CrashReport, Option<String>) {
    let mut broken = None;
    let report = CrashTest::new().run(
        |disk| {
            let mut handed_out = Vec::new();
            let lived = live(disk, receipts, &mut handed_out);
            // Nothing fails but by the crash.
            assert!(disk.is_stopped() || lived.is_ok(), "{lived:?}");
            handed_out
        },
        |image, handed_out| {
            if let (None, Err(what)) = (&broken, check(image, handed_out)) {
                broken = Some(what);
            }
        },
    );
    (report, broken)
}

fn main() {
    // What the account refuses is decided by what was read, and guarded by the offset.
    let disk = Disk::new();
    let mut account = Account::open(&disk).expect("an empty disk");
    let mut stale = Account { events: account.events.clone(), ..account };
    account.book(10, Receipts::OnceDurable, &mut Vec::new()).expect("booked");
    let refused = stale.book(10, Receipts::OnceDurable, &mut Vec::new()).expect_err("somebody was faster");
    assert_eq!(refused.kind(), ErrorKind::UnexpectedOffset);

    let (report, broken) = crash(Receipts::OnceDurable);
    println!(
        "Receipts once the event is durable: {} crash points, {} disks",
        report.crash_points, report.images
    );
    assert_eq!(broken, None);
    println!("  every receipt was booked on every one of them, and nothing was overspent");

    let (report, broken) = crash(Receipts::AtOnce);
    println!("Receipts before that: {} crash points, {} disks", report.crash_points, report.images);
    let broken = broken.expect("the crash test finds a receipt too early");
    println!("  caught: {broken}");
}
