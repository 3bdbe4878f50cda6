//! Positions that carry their leader epoch: what was lost in between is told, and never skipped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{CrashProfile, MemoryVfs, open_on};
use ottla::{Broker, Durability, ErrorKind, Offset, Position, Record, Start, TopicConfig};

use crate::support::{ROOT, options, send_all, values};

fn open(vfs: &MemoryVfs) -> Broker {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap()
}

/// A topic of which a power cut has taken the records from offset 2 on; a reader had seen five.
fn after_a_loss() -> (MemoryVfs, Position) {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    let topic = broker.create_topic("t", TopicConfig::new().durability(Durability::Os)).unwrap();
    send_all(&topic, ["a", "b"]).unwrap();
    topic.producer().synced().flush().unwrap();
    send_all(&topic, ["c", "d", "e"]).unwrap();
    let mut batches = topic.partition(0).unwrap().read(Start::Earliest).unwrap();
    assert_eq!(batches.by_ref().map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 5);
    let position = batches.position();
    assert_eq!((position.offset(), position.leader_epoch()), (5, Some(0)));
    std::mem::forget((broker, topic, batches));
    let image = vfs.images(CrashProfile::Strict, 1, 0).next().unwrap();
    (image.vfs, position)
}

#[test]
fn a_position_above_what_was_lost_is_an_error_with_the_choices() {
    let (vfs, position) = after_a_loss();
    let broker = open(&vfs);
    let topic = broker.topic("t").unwrap();
    let partition = topic.partition(0).unwrap();
    assert_eq!(values(&partition).unwrap(), [b"a", b"b"]);
    // At first the offset is above the end, and then other records have it.
    for end in [2, 8] {
        let error = partition.read(Start::Resume(position)).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::LogTruncated, Some(2)), "{error}");
        assert_eq!(error.available_offsets(), Some(0..=end));
        let mut consumer = broker.consumer().assign([partition.clone()]).unwrap();
        let error = consumer.seek(&partition, Start::Resume(position)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LogTruncated);
        assert_eq!(consumer.position(&partition).unwrap().offset(), 0, "the position stays");
        send_all(&topic, (end..8).map(|offset| offset.to_string())).unwrap();
    }
    // The offset alone says nothing of it.
    assert_eq!(
        partition.read(Start::At(position.offset())).unwrap().next().unwrap().unwrap().base_offset(),
        2
    );
}

#[test]
fn a_position_below_what_was_lost_goes_on() {
    let (vfs, _) = after_a_loss();
    let broker = open(&vfs);
    let topic = broker.topic("t").unwrap();
    let metadata = topic.producer().send(Record::new("new")).unwrap().wait().unwrap();
    assert_eq!((metadata.offset(), metadata.leader_epoch()), (2, 1));
    assert_eq!(metadata.position(), Position::new(3, Some(1)));
    let partition = topic.partition(0).unwrap();
    let resumes = |offset: Offset, epoch| {
        partition.read(Start::Resume(Position::new(offset, epoch))).map(|batches| batches.position().offset())
    };
    for (offset, epoch) in [(0, Some(0)), (1, Some(0)), (2, Some(0)), (2, Some(1)), (3, Some(1)), (3, None)] {
        assert_eq!(resumes(offset, epoch).unwrap(), offset, "{offset} {epoch:?}");
    }
    assert_eq!(resumes(3, Some(0)).unwrap_err().kind(), ErrorKind::LogTruncated);
    assert_eq!(
        resumes(3, Some(7)).unwrap_err().kind(),
        ErrorKind::LogTruncated,
        "nobody ever had that epoch"
    );
    let above = resumes(4, Some(1)).unwrap_err();
    assert_eq!(
        (above.kind(), above.offset()),
        (ErrorKind::LogTruncated, Some(3)),
        "the newest epoch ends, too"
    );
    assert_eq!(resumes(4, None).unwrap_err().kind(), ErrorKind::OffsetOutOfRange);
    broker.close(Duration::from_secs(10)).unwrap();
    let partition = open(&vfs).topic("t").unwrap().partition(0).unwrap();
    let error = partition.read(Start::Resume(Position::new(5, Some(0)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LogTruncated, "an orderly restart forgets nothing");
}

#[test]
fn an_orderly_restart_and_a_kill_without_a_loss_leave_positions_as_they_were() {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    let topic = broker.create_topic("t", TopicConfig::new()).unwrap();
    send_all(&topic, ["a", "b"]).unwrap();
    let position = topic.producer().send(Record::new("c")).unwrap().wait().unwrap().position();
    broker.close(Duration::from_secs(10)).unwrap();
    let broker = open(&vfs);
    let resumed = |broker: &Broker| {
        let partition = broker.topic("t").unwrap().partition(0).unwrap();
        partition.read(Start::Resume(position)).map(|batches| batches.position())
    };
    assert_eq!(resumed(&broker).unwrap(), position);
    std::mem::forget(broker);
    let vfs = vfs.restart();
    assert_eq!(resumed(&open(&vfs)).unwrap(), position);
}

/// The epoch of a batch stands outside its checksum.
#[test]
fn a_flipped_bit_in_the_leader_epoch_is_damage() {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs);
    send_all(&broker.create_topic("t", TopicConfig::new()).unwrap(), ["a"]).unwrap();
    broker.close(Duration::from_secs(10)).unwrap();
    let log = Path::new(ROOT).join("t-0/00000000000000000000.log");
    use ottla::internals::{OpenMode, Vfs};
    let file = vfs.open(&log, OpenMode::Write).unwrap();
    for bit in 0..32 {
        let (at, flipped) = (12 + bit / 8, 1u8 << (bit % 8));
        file.write_at(&[flipped], at).unwrap();
        // Closed in order, nobody looks before somebody reads; after an unclean stop everything is looked at.
        let broker = open(&vfs);
        let partition = broker.topic("t").unwrap().partition(0).unwrap();
        let error = values(&partition).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains("epoch"), "bit {bit}: {error}");
        drop((broker, partition));
        vfs.remove_file(&Path::new(ROOT).join(".kafka_cleanshutdown")).unwrap();
        let error = open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap_err();
        assert!(error.is_corruption(), "bit {bit}: {error}");
        file.write_at(&[0], at).unwrap();
        open(&vfs).close(Duration::from_secs(10)).unwrap();
    }
}
