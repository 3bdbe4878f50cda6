//! What groups refuse: each time an error that says what to do, and the others in the group go on.

use std::time::Duration;

use ottla::{
    Assignor, Broker, Consumer, Error, ErrorKind, ManualClock, OffsetAndMetadata, Partition, Position, Topic,
    TopicConfig,
};

use crate::support::{options, send_all};

const NOW: Duration = Duration::ZERO;

/// A group of two, each with a partition of two.
struct Place {
    broker: Broker,
    orders: Topic,
    clock: ManualClock,
    one: Consumer,
    two: Consumer,
    sent: usize,
}

fn consumer(broker: &Broker) -> Consumer {
    broker.consumer().group("billing").subscribe(["orders"]).unwrap()
}

impl Place {
    fn new() -> Self {
        let clock = ManualClock::at(0);
        let broker = options().clock(clock.clock()).in_memory().unwrap();
        let orders = broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap();
        let (one, two) = (consumer(&broker), consumer(&broker));
        let mut place = Self { broker, orders, clock, one, two, sent: 0 };
        place.goes_on();
        place
    }

    /// Both have one partition each, and what is sent is read once, and committed.
    fn goes_on(&mut self) {
        for _ in 0..8 {
            assert!(self.one.poll(NOW).unwrap().is_empty());
            assert!(self.two.poll(NOW).unwrap().is_empty());
        }
        assert_eq!((self.one.assignment().len(), self.two.assignment().len()), (1, 1));
        send_all(&self.orders, ["a"]).unwrap();
        self.sent += 1;
        assert_eq!(self.one.poll(NOW).unwrap().len() + self.two.poll(NOW).unwrap().len(), 1);
        self.one.commit().unwrap();
        self.two.commit().unwrap();
        let group = self.broker.describe_group("billing").unwrap();
        let committed: u64 = group.partitions().iter().filter_map(|it| Some(it.committed()?.offset())).sum();
        assert_eq!(committed, self.sent as u64, "{group}");
    }

    /// The consumer that has partition 0, and the partition; and the one that has not.
    fn owners(&mut self) -> (&mut Consumer, Partition, &mut Consumer) {
        let partition = self.orders.partition(0).unwrap();
        let is_one = self.one.assignment()[0].id() == 0;
        let (owner, other) =
            if is_one { (&mut self.one, &mut self.two) } else { (&mut self.two, &mut self.one) };
        (owner, partition, other)
    }
}

/// It is an error of this kind, and its message holds these words.
#[track_caller]
fn says<T>(kind: ErrorKind, words: &[&str], outcome: Result<T, Error>) {
    let error = outcome.err().expect("it is refused");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    assert!(!error.is_retriable() && !error.is_corruption() && !error.is_indeterminate(), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

fn at(offset: u64) -> OffsetAndMetadata {
    OffsetAndMetadata::new(Position::new(offset, None))
}

#[test]
fn what_cannot_be_subscribed_to_is_refused() {
    let mut place = Place::new();
    let builder = || place.broker.consumer().group("billing");
    says(
        ErrorKind::UnknownTopicOrPartition,
        &["topic none", "create"],
        builder().subscribe(["orders", "none"]),
    );
    says(ErrorKind::InvalidConfig, &["no topic", "subscribe_matching"], builder().subscribe([""; 0]));
    let nameless = place.broker.consumer().group("");
    says(ErrorKind::InvalidGroupId, &["give the group a name"], nameless.subscribe(["orders"]));
    let single = place.broker.consumer();
    says(ErrorKind::InvalidGroupId, &["give the group a name"], single.subscribe(["orders"]));
    says(ErrorKind::InvalidConfig, &["leave the group out"], builder().assign(place.orders.partitions()));
    let mut range = builder().assignor(Assignor::Range).subscribe(["orders"]).unwrap();
    for _ in 0..2 {
        let polled = range.poll(NOW);
        says(ErrorKind::InconsistentGroupProtocol, &["\"billing\"", "use the same assignor"], polled);
    }
    drop(range);
    place.goes_on();
}

#[test]
fn what_cannot_be_committed_is_refused() {
    let mut place = Place::new();
    let (owner, partition, other) = place.owners();
    let before = other.committed(&partition).unwrap();
    says(
        ErrorKind::UnknownTopicOrPartition,
        &["topic orders, partition 0", "commit before the next poll"],
        other.commit_offsets([(partition.clone(), at(0))]),
    );
    says(
        ErrorKind::OffsetOutOfRange,
        &["partition 0, offset 2", "ends at 1", "commit the offset behind the last record that was read"],
        owner.commit_offsets([(partition.clone(), at(2))]),
    );
    let words = "x".repeat(4097);
    says(
        ErrorKind::OffsetMetadataTooLarge,
        &["4097 bytes, and may have 4096", "topic orders, partition 0", "keep it elsewhere"],
        owner.commit_offsets([(partition.clone(), at(1).metadata(&words))]),
    );
    assert_eq!(other.committed(&partition).unwrap(), before);
    let mut single = place.broker.consumer().assign(place.orders.partitions()).unwrap();
    says(ErrorKind::InvalidGroupId, &["name a group, and subscribe"], single.commit());
    place.goes_on();
}

#[test]
fn a_group_with_members_is_neither_deleted_nor_moved() {
    let mut place = Place::new();
    says(
        ErrorKind::NonEmptyGroup,
        &["\"billing\"", "drop its consumers first"],
        place.broker.delete_group("billing"),
    );
    let to = [(place.orders.partition(0).unwrap(), Position::new(0, None))];
    says(
        ErrorKind::NonEmptyGroup,
        &["\"billing\"", "drop its consumers first"],
        place.broker.alter_group_offsets("billing", to),
    );
    says(
        ErrorKind::GroupIdNotFound,
        &["\"Billing\"", "case-sensitive"],
        place.broker.delete_group("Billing"),
    );
    place.goes_on();
}

#[test]
fn who_was_too_slow_is_told_and_so_is_who_holds_what_is_old() {
    let mut place = Place::new();
    send_all(&place.orders, ["slow"]).unwrap();
    let (owner, _, _) = place.owners();
    let old = owner.poll(NOW).unwrap();
    let record = old.iter().next().unwrap();
    place.clock.advance(Duration::from_secs(301));
    place.broker.tick().unwrap();
    let (owner, partition, other) = place.owners();
    says(ErrorKind::UnknownMemberId, &["\"billing\"", "poll, which joins again"], owner.commit());
    says(ErrorKind::UnknownMemberId, &["poll, which joins again"], owner.commit_through(&record));
    // Both have not polled; the other comes back, reads it, and goes on.
    let read: usize = (0..4).map(|_| other.poll(NOW).unwrap().len()).sum();
    assert_eq!((read, other.assignment().len()), (1, 2));
    other.commit().unwrap();
    assert_eq!(other.committed(&partition).unwrap().unwrap().position().offset(), 2);
    place.sent += 1;
    place.goes_on();
    let stale = if place.one.assignment()[0].id() == 0 { &mut place.one } else { &mut place.two };
    let outcome = stale.commit_through(&record);
    says(ErrorKind::IllegalGeneration, &["partition 0, offset 1", "commit before the next poll"], outcome);
    place.goes_on();
}

/// Whoever was too slow may find that the group was deleted meanwhile; it goes on in a new one.
#[test]
fn who_commits_for_a_group_that_was_deleted_is_told_and_joins_a_new_one() {
    let mut place = Place::new();
    send_all(&place.orders, ["late"]).unwrap();
    let (owner, partition, _) = place.owners();
    assert_eq!(owner.poll(NOW).unwrap().len(), 1);
    place.clock.advance(Duration::from_secs(301));
    place.broker.tick().unwrap();
    place.broker.delete_group("billing").unwrap();
    let (owner, _, _) = place.owners();
    says(ErrorKind::CoordinatorNotAvailable, &["\"billing\"", "poll again", "joins again"], owner.commit());
    // Nothing is committed in the new one: it begins at the beginning.
    let read: usize = (0..4).map(|_| owner.poll(NOW).unwrap().len()).sum();
    assert_eq!(read, 2);
    owner.commit().unwrap();
    assert_eq!(owner.committed(&partition).unwrap().unwrap().position().offset(), 2);
    place.sent += 1;
    place.goes_on();
}

/// With an automatic commit the poll finds out by itself.
#[test]
fn a_poll_that_commits_by_itself_does_not_fail_because_the_consumer_was_too_slow() {
    for is_deleted in [false, true] {
        let place = Place::new();
        let Place { broker, orders, clock, one, two, .. } = place;
        drop((one, two));
        broker.delete_group("billing").unwrap();
        let builder = broker.consumer().group("billing").auto_commit(Duration::from_secs(5));
        let mut slow = builder.subscribe(["orders"]).unwrap();
        assert_eq!(slow.poll(NOW).unwrap().len(), 1);
        clock.advance(Duration::from_secs(301));
        broker.tick().unwrap();
        if is_deleted {
            broker.delete_group("billing").unwrap();
        }
        assert_eq!(slow.poll(NOW).unwrap().len(), 1, "it is handed out again, for it was not committed");
        clock.advance(Duration::from_secs(5));
        assert!(slow.poll(NOW).unwrap().is_empty());
        assert_eq!(slow.committed(&orders.partition(0).unwrap()).unwrap().unwrap().position().offset(), 1);
    }
}
