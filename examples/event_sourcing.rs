//! Event sourcing: bank accounts that are rebuilt from their events, and guarded by the offset of the next one.
//!
//! `cargo run --release -p ottla --example event_sourcing`
//!
//! All accounts share one partition, and so one order, which the view follows. A condition is the partition's, too: where
//! accounts get in each other's way, give the topic more partitions, and ask `Topic::partition_for_key` for an account's.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use ottla::{
    Broker, ErrorKind, Follow, Offset, Partition, Record, RecordBatch, Start, TopicConfig, TopicProducer,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What has happened to an account. What was written stays, so the encoding has to stay readable: a byte that says what
/// it is, and the amount.
#[derive(Clone, Copy, Debug)]
enum Event {
    Deposited(u64),
    Withdrawn(u64),
}

impl Event {
    fn encode(self) -> Vec<u8> {
        let (tag, amount) = match self {
            Self::Deposited(amount) => (b'D', amount),
            Self::Withdrawn(amount) => (b'W', amount),
        };
        [&[tag][..], &amount.to_be_bytes()].concat()
    }

    fn decode(bytes: Option<&[u8]>) -> Outcome<Self> {
        match bytes {
            Some([b'D', amount @ ..]) => Ok(Self::Deposited(u64::from_be_bytes(amount.try_into()?))),
            Some([b'W', amount @ ..]) => Ok(Self::Withdrawn(u64::from_be_bytes(amount.try_into()?))),
            other => Err(format!("{other:?} is no event").into()),
        }
    }

    /// The balance after it.
    fn apply(self, balance: u64) -> Outcome<u64> {
        match self {
            Self::Deposited(amount) => balance.checked_add(amount),
            Self::Withdrawn(amount) => balance.checked_sub(amount),
        }
        .ok_or_else(|| format!("{self:?} cannot have happened to a balance of {balance}").into())
    }
}

/// The aggregate: what its events add up to, and how far they were read.
#[derive(Debug, Default)]
struct Account {
    balance: u64,
    /// The offset behind the last event that was looked at, whoever's it was.
    next: Offset,
}

impl Account {
    /// A command decides on what it sees, and changes nothing: it may have to decide again. `None` refuses.
    fn withdraw(&self, amount: u64) -> Option<Event> {
        (amount <= self.balance).then_some(Event::Withdrawn(amount))
    }
}

/// Loads accounts, and runs commands on them.
struct Accounts {
    events: Partition,
    producer: TopicProducer,
}

impl Accounts {
    fn open(broker: &Broker) -> Outcome<Self> {
        let topic = broker.ensure_topic("accounts", TopicConfig::new())?;
        Ok(Self { events: topic.partition(0)?, producer: topic.producer() })
    }

    fn load(&self, name: &str) -> Outcome<Account> {
        let mut account = Account { balance: 0, next: self.events.log_start_offset() };
        self.catch_up(name, &mut account)?;
        Ok(account)
    }

    /// Applies what has come since.
    fn catch_up(&self, name: &str, account: &mut Account) -> Outcome<()> {
        for batch in self.events.read(Start::At(account.next))? {
            for record in &batch? {
                if record.key() == Some(name.as_bytes()) {
                    account.balance = Event::decode(record.value())?.apply(account.balance)?;
                }
                account.next = record.offset() + 1;
            }
        }
        Ok(())
    }

    /// Appends the event on which `decide` decides, if nothing has happened since the account was read; else it reads
    /// what has, and lets it decide again. Returns how often it had to; `None` if it refused.
    fn execute(&self, name: &str, decide: impl Fn(&Account) -> Option<Event>) -> Outcome<Option<u32>> {
        let mut account = self.load(name)?; // a service keeps it for the next command
        let mut retries = 0;
        loop {
            let Some(event) = decide(&account).map(Event::encode) else { return Ok(None) };
            match self.producer.send(Record::new(&event).key(name).expected_offset(account.next)) {
                Ok(delivery) => {
                    delivery.wait()?; // on stable storage
                    return Ok(Some(retries));
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedOffset => {
                    // What was faster is visible once it is on stable storage as well.
                    self.events.wait_for(error.offset().unwrap_or(account.next))?;
                    self.catch_up(name, &mut account)?;
                    retries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A view: the balance of everybody.
type Balances = BTreeMap<String, u64>;

/// Keeps the view up to date until the handle of `events` is woken.
fn maintain(view: &Mutex<Balances>, partition: &Partition, mut events: Follow) -> Outcome<()> {
    for batch in events.by_ref() {
        apply(view, &batch?)?;
    }
    // It was woken, perhaps before it had seen everything.
    for batch in partition.read(Start::Resume(events.position()))? {
        apply(view, &batch?)?;
    }
    Ok(())
}

fn apply(view: &Mutex<Balances>, batch: &RecordBatch) -> Outcome<()> {
    let mut view = view.lock().unwrap();
    for record in batch {
        let name = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
        let balance = view.entry(name).or_default();
        *balance = Event::decode(record.value())?.apply(*balance)?;
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let dir = std::env::temp_dir().join(format!("ottla-event-sourcing-{}", std::process::id()));
    println!("The first life: two tellers at one account, and a view that follows.");
    let broker = Broker::open(&dir)?;
    let accounts = Accounts::open(&broker)?;
    let view = Mutex::new(Balances::new());
    let events = accounts.events.read(Start::Earliest)?.follow();
    let stop = events.wakeup_handle();
    std::thread::scope(|scope| {
        let viewer = scope.spawn(|| maintain(&view, &accounts.events, events));
        let worked = work(&accounts);
        stop.wake(); // whatever became of the work: the scope waits for the viewer
        viewer.join().expect("the viewer does not panic").and(worked)
    })?;
    broker.close(Duration::from_secs(10))?;

    let view = view.into_inner()?;
    println!("The view has seen {view:?}.");
    assert_eq!(view, Balances::from([("anna".into(), 1), ("ben".into(), 25)]));

    println!("The second life: everything is rebuilt from the log.");
    let broker = Broker::open(&dir)?;
    let accounts = Accounts::open(&broker)?;
    for (name, balance) in view {
        let account = accounts.load(&name)?;
        println!("  {name} has {}, after {} events of all accounts", account.balance, account.next);
        assert_eq!((account.balance, account.next), (balance, 32));
    }
    broker.close(Duration::from_secs(10))?;
    Ok(std::fs::remove_dir_all(&dir)?)
}

/// 61 for anna, and 25 for ben; then two tellers, who know nothing of each other, pay out of anna's what there is.
fn work(accounts: &Accounts) -> Outcome<()> {
    accounts.execute("anna", |_| Some(Event::Deposited(61)))?;
    accounts.execute("ben", |_| Some(Event::Deposited(25)))?;

    let teller = || -> Outcome<u32> {
        let (mut paid, mut retries) = (0, 0);
        while let Some(more) = accounts.execute("anna", |anna| anna.withdraw(2))? {
            paid += 2;
            retries += more;
        }
        println!(
            "  A teller has paid out {paid} before he was refused, and had to decide again {retries} times."
        );
        Ok(paid)
    };
    let [one, other] = std::thread::scope(|scope| {
        let tellers = [scope.spawn(teller), scope.spawn(teller)];
        tellers.map(|teller| teller.join().expect("a teller does not panic"))
    });
    assert_eq!(one? + other?, 60); // without the condition it may be more than there was
    Ok(())
}
