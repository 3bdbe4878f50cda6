//! The page of the defaults, `src/defaults.rs`, held to what the library does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{CommittedOffsets, GroupConfig, MemoryVfs, decode_group_record, open_on};
use ottla::{
    Broker, BrokerOptions, Consumer, ErrorKind, ManualClock, OffsetAndMetadata, Partition, Position, Record,
    Start, Topic, TopicConfig,
};

use crate::support::{ROOT, options, send_all};

const PAGE: &str = include_str!("../../src/defaults.rs");
const NOW: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The cells of the rows of a table, without what is printed otherwise; `columns` tells the tables apart.
fn table(columns: usize) -> BTreeMap<&'static str, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in PAGE.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let cells: Vec<_> = line.trim_end_matches(" |").split(" | ").collect();
        if cells.len() != columns || cells[0] == "Kafka's name" {
            continue;
        }
        let plain = cells[1..].iter().map(|cell| cell.replace('`', "")).collect();
        assert!(rows.insert(cells[0], plain).is_none(), "{line} stands there twice");
    }
    rows
}

fn bytes(count: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if count >= size && count.is_multiple_of(size) {
            return format!("{} {unit}", count / size);
        }
    }
    format!("{count} B")
}

fn time(millis: u128) -> String {
    let days = DAY.as_millis();
    match millis {
        whole if whole >= days && whole.is_multiple_of(days) => format!("{} days", whole / days),
        whole if whole >= 1000 && whole.is_multiple_of(1000) => format!("{} s", whole / 1000),
        millis => format!("{millis} ms"),
    }
}

/// A value that settings show of themselves.
fn shown(settings: &impl Debug, name: &str) -> String {
    let text = format!("{settings:?}");
    let (_, rest) = text.split_once(&format!("{name}: ")).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split([',', ' ']).next().unwrap().to_owned()
}

fn number(settings: &impl Debug, name: &str) -> u64 {
    shown(settings, name).parse().unwrap()
}

/// A broker that nobody has told anything.
struct Place {
    vfs: Arc<MemoryVfs>,
    clock: ManualClock,
    broker: Broker,
    orders: Topic,
}

impl Place {
    fn new() -> Self {
        let vfs = Arc::new(MemoryVfs::new());
        let clock = ManualClock::at(0);
        let broker = open(&vfs, &clock);
        let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
        send_all(&orders, ["a", "b"]).unwrap();
        Self { vfs, clock, broker, orders }
    }

    fn partition(&self) -> Partition {
        self.orders.partition(0).unwrap()
    }

    fn member(&self) -> Consumer {
        self.broker.consumer().group("billing").subscribe(["orders"]).unwrap()
    }

    fn internal(&self) -> Topic {
        drop(self.member().poll(NOW).unwrap());
        self.broker.topic("__consumer_offsets").unwrap()
    }

    /// The session timeout that a member has written.
    fn session_timeout(&self) -> Duration {
        let mut found = CommittedOffsets::default();
        for batch in self.internal().partition(0).unwrap().read(Start::Earliest).unwrap() {
            for record in &batch.unwrap() {
                let (key, value) = decode_group_record(record.key(), record.value()).unwrap().unwrap();
                if value.is_some() {
                    found.apply(Some(&key), value.as_deref()).unwrap();
                }
                let group = found.group("billing").and_then(|group| group.metadata.as_ref());
                if let Some(member) = group.and_then(|metadata| metadata.members.first()) {
                    return member.session_timeout;
                }
            }
        }
        panic!("nobody was a member");
    }

    /// The most bytes that a commit takes beside an offset.
    fn metadata_max(&self) -> u64 {
        let mut member = self.member();
        _ = member.poll(NOW).unwrap();
        let mut takes = |count: u64| {
            let words = "x".repeat(usize::try_from(count).unwrap());
            let offset = OffsetAndMetadata::new(Position::new(0, None)).metadata(&words);
            member.commit_offsets([(self.partition(), offset)]).is_ok()
        };
        let most = (0..16).map(|bit| 1 << bit).find(|count| !takes(count + 1)).unwrap();
        assert!(takes(most));
        most
    }

    /// Whether a commit is there after so long.
    fn keeps_commits_for(self, long: Duration) -> bool {
        let Self { vfs, clock, broker, orders } = self;
        broker.alter_group_offsets("old", [(orders.partition(0).unwrap(), Position::new(1, None))]).unwrap();
        clock.advance(long);
        broker.tick().unwrap();
        drop((orders, broker));
        let group = open(&vfs, &clock).describe_group("old").unwrap();
        group.partitions()[0].committed().map(Position::offset) == Some(1)
    }
}

fn open(vfs: &Arc<MemoryVfs>, clock: &ManualClock) -> Broker {
    open_on(options().clock(clock.clock()), Arc::clone(vfs) as _, Path::new(ROOT)).unwrap()
}

/// The default of a setting, as it is found in what the library does.
fn here(name: &str) -> Option<String> {
    let place = Place::new();
    let (consumer, broker) = (place.broker.consumer(), BrokerOptions::default());
    let topic = |name: &str| TopicConfig::new().get(name);
    let topic_number = |name: &str| topic(name).unwrap().parse::<u64>().unwrap();
    let name = name.replace('`', "");
    Some(match &*name {
        "acks" => place.orders.config().get("durability").unwrap(),
        "retention.ms" => topic("retention.ms").unwrap_or("for ever".to_owned()),
        "offsets.retention.minutes" if Place::new().keeps_commits_for(400 * DAY) => "for ever".to_owned(),
        "auto.offset.reset, of a group without a commit" => match place.member().poll(NOW).unwrap().len() {
            2 => "the log start".to_owned(),
            _ => "the end".to_owned(),
        },
        "auto.offset.reset, of a position outside the log" => match &*shown(&consumer, "reset") {
            "None" => "an error".to_owned(),
            chosen => chosen.to_owned(),
        },
        "enable.auto.commit" => match &*shown(&consumer, "auto_commit") {
            "None" => "off".to_owned(),
            interval => interval.to_owned(),
        },
        "isolation.level" => ottla::Isolation::default().to_string(),
        "partition.assignment.strategy" => {
            let mut member = place.member();
            _ = member.poll(NOW).unwrap();
            place.broker.describe_group("billing").unwrap().assignor().unwrap().to_owned()
        }
        "group.initial.rebalance.delay.ms" => {
            time(GroupConfig::default().initial_rebalance_delay.as_millis())
        }
        "offsets.topic.num.partitions" => place.internal().partition_count().to_string(),
        "max.poll.records" => match number(&consumer, "records") {
            u64::MAX => "unlimited".to_owned(),
            records => records.to_string(),
        },
        "fetch.max.bytes" => bytes(number(&consumer, "bytes")),
        "group.share.partition.max.record.locks" => {
            send_all(&place.orders, ["v"; 2500]).unwrap();
            place.member().acquire(NOW).unwrap().len().to_string()
        }
        "group.share.delivery.count.limit" => {
            let mut member = place.member();
            let times = std::iter::from_fn(|| member.acquire(NOW).ok()).take(100);
            times.count().to_string()
        }
        "auto.create.topics.enable" => match place.broker.topic("none") {
            Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition => "off".to_owned(),
            _ => "on".to_owned(),
        },
        "message.timestamp.after.max.ms" => {
            let far = Record::new("later").timestamp(i64::MAX);
            place.orders.producer().send(far).unwrap().wait().unwrap();
            "unlimited".to_owned()
        }
        "segment.bytes, at least" => {
            let takes = |bytes| {
                let config = TopicConfig::new().segment_bytes(bytes);
                place.broker.create_topic(&format!("of-{bytes}"), config).is_ok()
            };
            bytes((0..31).map(|bit| 1 << bit).find(|bytes| takes(*bytes)).filter(|least| !takes(least - 1))?)
        }
        "linger.ms" => {
            place.clock.advance(DAY);
            while place.broker.tick().unwrap().is_some_and(|next| next.is_zero()) {}
            drop(place.orders.producer().send(Record::new("nobody waits")).unwrap());
            time(place.broker.tick().unwrap().unwrap().as_millis())
        }
        "segment.ms" => time(topic_number(&name).into()),
        "segment.bytes" | "segment.index.bytes" | "index.interval.bytes" | "max.message.bytes" => {
            bytes(topic_number(&name))
        }
        "message.timestamp.type" | "compression.type" => topic(&name)?,
        "num.partitions" => place.orders.partition_count().to_string(),
        "batch.size" => bytes(number(&broker, "batch_size")),
        "buffer.memory" => bytes(number(&broker, "buffer_memory")),
        "max.block.ms" => shown(&broker, "max_block").replace('s', " s"),
        "session.timeout.ms" => time(place.session_timeout().as_millis()),
        "max.poll.interval.ms" => shown(&consumer, "max_poll_interval").replace('s', " s"),
        "offset.metadata.max.bytes" => bytes(place.metadata_max()),
        "offsets.topic.segment.bytes" => {
            bytes(place.internal().config().get("segment.bytes")?.parse().unwrap())
        }
        _ => return None,
    })
}

#[test]
fn the_page_says_what_the_defaults_are() {
    let (differing, same) = (table(4), table(2));
    for (name, cells) in &differing {
        let here = here(name).unwrap_or_else(|| panic!("{name} is on the page, and nobody knows it"));
        assert_eq!(cells[0], here, "{name}");
        assert_ne!(cells[0], cells[1], "{name} is no difference");
    }
    for (name, cells) in &same {
        let here = here(name).unwrap_or_else(|| panic!("{name} is on the page, and nobody knows it"));
        assert_eq!(cells[0], here, "{name}");
    }
    assert_eq!((differing.len(), same.len()), (17, 16), "a row was added or taken away");
    // Whatever a topic can be told stands there.
    let other = ["durability", "compression.gzip.level", "compression.zstd.level"];
    for (name, _) in TopicConfig::new().entries().filter(|(name, _)| !other.contains(name)) {
        assert!(same.contains_key(&*format!("`{name}`")), "{name} is not on the page");
    }
}
