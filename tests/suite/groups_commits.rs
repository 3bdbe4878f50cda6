//! What groups commit, and what they do not: fencing, bad input, and the order of commits and data.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ottla::internals::{CrashProfile, MemoryVfs, open_on};
use ottla::{
    Broker, Consumer, Durability, Error, ErrorKind, GroupState, ManualClock, OffsetAndMetadata, OffsetReset,
    Position, Record, Topic, TopicConfig,
};
use std::path::Path;
use std::sync::Arc;

use crate::support::{ROOT, ScriptedVfs, options, send_all};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

fn place(partitions: u32) -> (Broker, Topic, ManualClock) {
    let clock = ManualClock::at(1_700_000_000_000);
    let broker = options().clock(clock.clock()).in_memory().unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new().partitions(partitions)).unwrap();
    (broker, orders, clock)
}

fn consumer(broker: &Broker) -> Consumer {
    broker.consumer().group("billing").subscribe(["orders"]).unwrap()
}

#[track_caller]
fn fails<T>(kind: ErrorKind, outcome: Result<T, Error>) -> Error {
    let error = outcome.err().expect("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// Has everybody poll until the group has settled; nothing is to be read.
fn settle(consumers: &mut [&mut Consumer]) {
    for _ in 0..8 {
        for consumer in consumers.iter_mut() {
            assert!(consumer.poll(NOW).unwrap().is_empty());
        }
    }
}

#[test]
fn bad_input_is_an_error_that_says_so() {
    let (broker, orders, _) = place(2);
    let builder = || broker.consumer().group("billing");
    let error = fails(ErrorKind::UnknownTopicOrPartition, builder().subscribe(["orders", "none"]));
    assert_eq!(error.topic(), Some("none"));
    fails(ErrorKind::InvalidConfig, builder().subscribe([""; 0]));
    fails(ErrorKind::InvalidConfig, builder().max_poll_records(0).subscribe(["orders"]));
    fails(ErrorKind::InvalidConfig, builder().assign(orders.partitions()));
    fails(ErrorKind::InvalidGroupId, broker.consumer().subscribe(["orders"]));
    fails(ErrorKind::InvalidGroupId, broker.consumer().group("").subscribe(["orders"]));
    let mut single = broker.consumer().assign(orders.partitions()).unwrap();
    fails(ErrorKind::InvalidGroupId, single.commit());
    fails(ErrorKind::InvalidGroupId, single.committed(&orders.partition(0).unwrap()));

    let (mut one, mut two) = (consumer(&broker), consumer(&broker));
    settle(&mut [&mut one, &mut two]);
    let (mine, others) = (one.assignment().remove(0), two.assignment().remove(0));
    let at = |offset| OffsetAndMetadata::new(Position::new(offset, None));
    let error = fails(ErrorKind::UnknownTopicOrPartition, one.commit_offsets([(others, at(0))]));
    assert_eq!(error.topic(), Some("orders"));
    let error = fails(ErrorKind::OffsetOutOfRange, one.commit_offsets([(mine.clone(), at(1))]));
    assert_eq!(error.available_offsets(), Some(0..=0));
    let words = "x".repeat(4097);
    fails(ErrorKind::OffsetMetadataTooLarge, one.commit_offsets([(mine.clone(), at(0).metadata(&words))]));
    assert_eq!(one.committed(&mine).unwrap(), None);
    let words = "x".repeat(4096);
    one.commit_offsets([(mine.clone(), at(0).metadata(&words))]).unwrap();
    let committed = two.committed(&mine).unwrap().unwrap();
    assert_eq!((committed.words(), committed.commit_timestamp()), (&words[..], Some(1_700_000_000_000)));

    // Another assignor than the others have.
    let mut range = builder().assignor(ottla::Assignor::Range).subscribe(["orders"]).unwrap();
    fails(ErrorKind::InconsistentGroupProtocol, range.poll(NOW));
    fails(ErrorKind::InconsistentGroupProtocol, range.poll(NOW));
    settle(&mut [&mut one, &mut two]);
}

#[test]
fn who_does_not_poll_for_too_long_is_out_and_cannot_commit_and_joins_again() {
    let (broker, orders, clock) = place(2);
    let consumer = || {
        broker.consumer().group("billing").max_poll_interval(Duration::from_secs(30)).subscribe(["orders"])
    };
    let (mut one, mut two) = (consumer().unwrap(), consumer().unwrap());
    settle(&mut [&mut one, &mut two]);
    send_all(&orders, ["a"]).unwrap();
    let (mut slow, mut quick) = if one.assignment()[0].id() == 0 { (one, two) } else { (two, one) };
    let records = slow.poll(NOW).unwrap();
    assert_eq!(records.len(), 1);
    clock.advance(Duration::from_secs(29));
    assert!(quick.poll(NOW).unwrap().is_empty());
    broker.tick().unwrap();
    assert_eq!(broker.describe_group("billing").unwrap().members().len(), 2);
    clock.advance(Duration::from_secs(2));
    broker.tick().unwrap();
    assert_eq!(broker.describe_group("billing").unwrap().members().len(), 1);
    fails(ErrorKind::UnknownMemberId, slow.commit());
    // The other one reads it, for it was not committed.
    let again: usize = (0..4).map(|_| quick.poll(NOW).unwrap().len()).sum();
    assert_eq!((again, quick.assignment().len()), (1, 2));
    quick.commit().unwrap();
    settle(&mut [&mut slow, &mut quick]);
    assert_eq!((slow.assignment().len(), quick.assignment().len()), (1, 1));
}

#[test]
fn who_polls_now_and_then_stays_a_member_and_an_idle_group_is_rarely_looked_after() {
    let (broker, _, clock) = place(2);
    let (mut one, mut two) = (consumer(&broker), consumer(&broker));
    settle(&mut [&mut one, &mut two]);
    let generation = (one.generation(), two.generation());
    let mut looks = 0;
    for _ in 0..5 {
        let mut passed = Duration::ZERO;
        while passed < Duration::from_secs(299) {
            let next = broker
                .tick()
                .unwrap()
                .expect("the group is looked after")
                .min(Duration::from_secs(299) - passed);
            clock.advance(next);
            passed += next;
            looks += 1;
        }
        settle(&mut [&mut one, &mut two]);
    }
    assert_eq!((one.generation(), two.generation()), generation);
    assert!(one.is_caught_up());
    assert!(looks < 5 * 40, "{looks} times in 25 minutes");
    drop((one, two));
    // What was written is synced, and then nobody is there to be looked after.
    let left = (0..20).find_map(|_| {
        broker.tick().unwrap().map_or(Some(()), |next| {
            clock.advance(next);
            None
        })
    });
    assert!(left.is_some(), "an empty group is looked after");
}

#[test]
fn a_record_from_before_the_partition_was_anothers_is_not_committed() {
    let (broker, orders, clock) = place(1);
    send_all(&orders, ["a", "b"]).unwrap();
    let mut one = broker.consumer().group("billing").max_poll_records(1).subscribe(["orders"]).unwrap();
    let old = one.poll(NOW).unwrap();
    clock.advance(Duration::from_secs(301));
    broker.tick().unwrap();
    let mut two = consumer(&broker);
    assert_eq!(two.poll(NOW).unwrap().len(), 2);
    two.commit().unwrap();
    drop(two);
    settle(&mut [&mut one]);
    assert_eq!(one.assignment().len(), 1);
    fails(ErrorKind::IllegalGeneration, one.commit_through(&old.iter().next().unwrap()));
    assert_eq!(one.committed(&orders.partition(0).unwrap()).unwrap().unwrap().position().offset(), 2);
}

#[test]
fn commit_through_commits_up_to_a_record_and_of_one_partition() {
    let (broker, orders, _) = place(2);
    send_all(&orders, ["a", "b", "c"]).unwrap();
    orders.producer().send(Record::new("other").partition(1)).unwrap().wait().unwrap();
    let mut one = consumer(&broker);
    let records = one.poll(NOW).unwrap();
    assert_eq!(records.len(), 4);
    let second = records.iter().find(|record| record.value() == Some(b"b")).unwrap();
    one.commit_through(&second).unwrap();
    drop(one);
    let mut next = consumer(&broker);
    let values: Vec<_> =
        next.poll(NOW).unwrap().iter().map(|record| record.value().unwrap().to_vec()).collect();
    assert_eq!(values.len(), 2);
    assert!(values.contains(&b"c".to_vec()) && values.contains(&b"other".to_vec()));
}

#[test]
fn a_commit_can_be_awaited_and_is_found_by_whoever_comes_next_in_any_case() {
    let (broker, orders, _) = place(1);
    send_all(&orders, ["a", "b"]).unwrap();
    let mut one = broker.consumer().group("billing").max_poll_records(1).subscribe(["orders"]).unwrap();
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    {
        let mut commit = pin!(one.commit_async().unwrap());
        let mut context = Context::from_waker(Waker::noop());
        assert!(commit.as_mut().poll(&mut context).is_pending());
        broker.tick().unwrap();
        assert!(matches!(commit.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
    }
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    // Nobody waits for this one.
    drop(one.commit_async().unwrap());
    drop(one);
    assert!(consumer(&broker).poll(NOW).unwrap().is_empty());
    let description = broker.describe_group("billing").unwrap();
    assert_eq!(description.partitions()[0].committed().unwrap().offset(), 2);
    let late = consumer(&broker).commit_async().unwrap();
    fails(ErrorKind::TimedOut, {
        let mut one = consumer(&broker);
        one.poll(NOW).unwrap();
        send_all(&orders, ["c"]).unwrap();
        one.poll(NOW).unwrap();
        one.commit_async().unwrap().wait_timeout(NOW)
    });
    late.wait().unwrap();
}

#[test]
fn the_internal_topic_is_read_and_nothing_else_is_done_with_it() {
    const NAME: &str = "__consumer_offsets";
    let (broker, orders, _) = place(1);
    fails(ErrorKind::UnknownTopicOrPartition, broker.topic(NAME));
    fails(ErrorKind::InvalidTopic, broker.create_topic(NAME, TopicConfig::new()));
    send_all(&orders, ["a"]).unwrap();
    let mut one = consumer(&broker);
    one.poll(NOW).unwrap();
    one.commit().unwrap();
    let internal = broker.topic(NAME).unwrap();
    assert_eq!(
        (internal.partition_count(), internal.config().get("segment.bytes").unwrap()),
        (1, (100 << 20).to_string())
    );
    // A generation, and a commit.
    assert_eq!(internal.partition(0).unwrap().high_watermark(), 2);
    fails(ErrorKind::InvalidTopic, internal.producer().send(Record::new("mine")));
    fails(ErrorKind::InvalidTopic, broker.alter_topic(NAME, internal.config().partitions(2)));
    fails(ErrorKind::InvalidTopic, broker.delete_topic(NAME));
    let names: Vec<_> = broker.topics().unwrap().iter().map(|topic| topic.name().to_owned()).collect();
    assert_eq!(names, ["orders"]);
}

#[test]
fn a_topic_of_the_same_name_begins_at_its_beginning_and_a_group_where_the_builder_chose() {
    let vfs = Arc::new(MemoryVfs::new());
    let broker = open_on(options(), Arc::clone(&vfs) as _, Path::new(ROOT)).unwrap();
    let config = TopicConfig::new().durability(Durability::Os);
    let orders = broker.create_topic("orders", config).unwrap();
    send_all(&orders, ["a", "b", "c"]).unwrap();
    let end = Position::new(3, None);
    broker.alter_group_offsets("billing", [(orders.partition(0).unwrap(), end)]).unwrap();
    drop((orders, broker));
    // The topic is made anew, with less in it.
    let broker = open_on(options(), Arc::clone(&vfs) as _, Path::new(ROOT)).unwrap();
    broker.delete_topic("orders").unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&orders, ["A"]).unwrap();
    let mut one = consumer(&broker);
    assert_eq!(one.poll(NOW).unwrap().len(), 1, "what was committed of the old one is forgotten");
    drop(one);
    for (reset, count) in [(OffsetReset::Earliest, 1), (OffsetReset::Latest, 0)] {
        let fresh = broker.consumer().group("fresh").auto_offset_reset(reset);
        assert_eq!(fresh.subscribe(["orders"]).unwrap().poll(NOW).unwrap().len(), count);
    }
}

/// Where what is acknowledged is not synced, a commit syncs it first: whatever a power cut leaves, no group stands behind the end.
#[test]
fn a_commit_is_never_durable_before_the_records_that_it_names() {
    let mut found = 0;
    for seed in 0..40 {
        let vfs = Arc::new(MemoryVfs::new());
        let broker = open_on(options(), Arc::clone(&vfs) as _, Path::new(ROOT)).unwrap();
        let config = TopicConfig::new().durability(Durability::Os);
        let orders = broker.create_topic("orders", config).unwrap();
        let mut one = consumer(&broker);
        for round in 0..=seed % 4 {
            send_all(&orders, ["a", "b"]).unwrap();
            while !one.poll(NOW).unwrap().is_empty() {}
            match round {
                2 => drop(one.commit_async().unwrap()),
                _ => one.commit().unwrap(),
            }
        }
        send_all(&orders, ["unread"]).unwrap();
        for profile in [CrashProfile::Strict, CrashProfile::Ordered, CrashProfile::Adversarial] {
            for image in vfs.images(profile, 6, seed) {
                let vfs = image.vfs;
                let broker = open_on(options(), Arc::new(vfs) as _, Path::new(ROOT)).unwrap();
                let Ok(group) = broker.describe_group("billing") else { continue };
                let end = broker.topic("orders").unwrap().partition(0).unwrap().high_watermark();
                for partition in group.partitions() {
                    let committed = partition.committed().unwrap();
                    assert!(committed.offset() <= end, "committed {committed:?}, and the log ends at {end}");
                    // And the one that was waited for is there.
                    assert!(committed.offset() >= 2);
                    found += 1;
                    let mut next = consumer(&broker);
                    next.poll(NOW).unwrap();
                }
            }
        }
    }
    assert!(found > 100, "{found}");
}

fn names(broker: &Broker) -> Vec<String> {
    broker.groups().unwrap().iter().map(|group| group.name().to_owned()).collect()
}

#[test]
fn groups_are_listed_described_moved_and_deleted() {
    let (broker, orders, _) = place(2);
    assert_eq!(names(&broker), [""; 0]);
    fails(ErrorKind::GroupIdNotFound, broker.describe_group("billing"));
    fails(ErrorKind::GroupIdNotFound, broker.delete_group("billing"));
    send_all(&orders, ["a", "b"]).unwrap();
    let mut one = consumer(&broker);
    one.poll(NOW).unwrap();
    one.commit().unwrap();
    assert_eq!(names(&broker), ["billing"]);
    let description = broker.describe_group("billing").unwrap();
    assert_eq!(
        (description.state(), description.generation()),
        (GroupState::Stable, one.generation().unwrap())
    );
    assert_eq!(
        (description.assignor(), description.protocol_type()),
        (Some("cooperative-sticky"), "consumer")
    );
    let member = &description.members()[0];
    assert!(member.is_leader() && member.partition_count() == 2);
    let lags: Vec<_> =
        description.partitions().iter().map(|partition| (partition.lag(), partition.member())).collect();
    assert_eq!(lags, [(Some(0), Some(member.id())), (Some(0), Some(member.id()))]);
    fails(ErrorKind::NonEmptyGroup, broker.delete_group("billing"));
    let back = (orders.partition(0).unwrap(), Position::new(1, None));
    fails(ErrorKind::NonEmptyGroup, broker.alter_group_offsets("billing", [back.clone()]));
    drop(one);
    broker.alter_group_offsets("billing", [back]).unwrap();
    let description = broker.describe_group("billing").unwrap();
    assert_eq!((description.state(), description.partitions()[0].lag()), (GroupState::Empty, Some(1)));
    assert_eq!(consumer(&broker).poll(NOW).unwrap().len(), 1);
    // Of one that was there before it was deleted.
    let mut waiting = consumer(&broker);
    broker.delete_group("billing").unwrap();
    assert_eq!(names(&broker), [""; 0]);
    assert_eq!(waiting.poll(LONG).unwrap().len(), 2);
    waiting.commit().unwrap();
    assert_eq!(waiting.generation(), Some(1));
}

#[test]
fn a_deleted_group_stays_deleted_and_the_others_stay() {
    let vfs = Arc::new(MemoryVfs::new());
    let open = || open_on(options(), Arc::clone(&vfs) as _, Path::new(ROOT)).unwrap();
    let broker = open();
    let orders = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&orders, ["a", "b"]).unwrap();
    for group in ["billing", "mailing"] {
        let at = (orders.partition(0).unwrap(), Position::new(1, None));
        broker.alter_group_offsets(group, [at]).unwrap();
    }
    broker.delete_group("billing").unwrap();
    drop((orders, broker));
    let broker = open();
    assert_eq!(names(&broker), ["mailing"]);
    assert_eq!(consumer(&broker).poll(NOW).unwrap().len(), 2);
}

/// Nobody knows what became of a commit whose sync failed; when the internal partition was reopened, everybody does.
#[test]
fn after_a_commit_that_may_or_may_not_be_there_the_group_goes_on_where_the_disk_says() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_with(options()).unwrap();
    let orders = broker.create_topic("orders", TopicConfig::new().durability(Durability::Os)).unwrap();
    send_all(&orders, ["a", "b"]).unwrap();
    let mut one = broker.consumer().group("billing").max_poll_records(1).subscribe(["orders"]).unwrap();
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    one.commit().unwrap();
    assert_eq!(one.poll(NOW).unwrap().len(), 1);
    orders.partition(0).unwrap().wait_for(2).unwrap();
    orders.producer().flush().unwrap();
    broker.producer().synced().flush().unwrap();
    vfs.fail_once("sync 00000000000000000000.log", 0, std::io::ErrorKind::Other);
    fails(ErrorKind::Indeterminate, one.commit());
    let internal = broker.topic("__consumer_offsets").unwrap().partition(0).unwrap();
    assert_eq!(internal.high_watermark(), 2);
    // The group cannot be written, and says so; what it has is read on.
    let mut two = consumer(&broker);
    send_all(&orders, ["c"]).unwrap();
    assert!((0..4).any(|_| two.poll(NOW).is_err() | one.poll(NOW).is_err()));
    internal.reopen().unwrap().unwrap();
    drop((one, two));
    let mut next = consumer(&broker);
    let committed = next.committed(&orders.partition(0).unwrap()).unwrap().unwrap().position().offset();
    assert_eq!(committed, 2);
    assert_eq!(next.poll(NOW).unwrap().len(), 1);
    next.commit().unwrap();
}
