//! Acknowledged means on stable storage: the order of the system calls, and what a failure of each leaves.

use std::io::ErrorKind::{Other, StorageFull};
use std::time::Duration;

use ottla::{ErrorKind, Record, Start, TopicConfig};

use crate::support::{ScriptedVfs, send_all, values};

const LOG: &str = "00000000000000000000.log";
const TIMEOUT: Duration = Duration::from_secs(10);

/// The positions of the calls in the list, which must be there.
fn positions<const N: usize>(calls: &[String], wanted: [&str; N]) -> [usize; N] {
    wanted.map(|wanted| {
        calls.iter().position(|call| call == wanted).unwrap_or_else(|| panic!("no {wanted:?} in {calls:#?}"))
    })
}

#[test]
fn a_record_is_synced_before_it_is_acknowledged_and_before_it_is_visible() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let partition = topic.partition(0).unwrap();

    let delivery = topic.producer().send(Record::new("paid")).unwrap();
    assert_eq!((partition.log_end_offset(), partition.high_watermark()), (1, 0));
    assert!(values(&partition).unwrap().is_empty(), "not visible before it is durable");
    vfs.take_calls();
    delivery.wait().unwrap();
    let calls = vfs.take_calls();
    let [write, sync] = positions(&calls, [&format!("write {LOG}"), &format!("sync {LOG}")]);
    let [evidence] = positions(&calls, ["write ottla.ends"]);
    assert!(write < sync && sync < evidence, "the evidence says only what is true: {calls:#?}");
    assert_eq!(partition.high_watermark(), 1);
    assert_eq!(values(&partition).unwrap(), [b"paid"]);
}

#[test]
fn the_first_append_of_a_partition_makes_its_epoch_durable_first() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    vfs.take_calls();
    send_all(&topic, ["a"]).unwrap();
    let calls = vfs.take_calls();
    let [renamed, synced, written] = positions(
        &calls,
        ["rename to leader-epoch-checkpoint", "sync_dir orders-0", &format!("write {LOG}")],
    );
    assert!(renamed < synced && synced < written, "{calls:#?}");
    send_all(&topic, ["b"]).unwrap();
    assert!(!vfs.take_calls().iter().any(|call| call.contains("epoch")), "only once");
}

#[test]
fn a_roll_syncs_the_old_segment_before_the_new_one_gets_its_name() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new().segment_bytes(1024)).unwrap();
    send_all(&topic, [[1; 700]]).unwrap();
    vfs.take_calls();
    send_all(&topic, [[2; 700]]).unwrap();
    let calls = vfs.take_calls();
    let next = "00000000000000000001.log";
    let [trimmed, synced, index, named, directory, written, acknowledged] = positions(
        &calls,
        [
            &format!("set_len {LOG}"),
            &format!("sync {LOG}"),
            "sync 00000000000000000000.timeindex",
            &format!("create {next}"),
            "sync_dir orders-0",
            &format!("write {next}"),
            &format!("sync {next}"),
        ],
    );
    let order = [trimmed, synced, index, named, directory, written, acknowledged];
    assert!(order.is_sorted(), "{calls:#?}");
}

#[test]
fn a_topic_is_in_the_manifest_before_its_directories_and_live_after_them() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    vfs.take_calls();
    broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap();
    let calls = vfs.take_calls();
    let manifests: Vec<_> = (0..calls.len()).filter(|at| calls[*at] == "rename to ottla.manifest").collect();
    let [creating, live] = manifests[..] else { panic!("{calls:#?}") };
    let [says_creating, first, last, says_live] = positions(
        &calls,
        [
            "manifest: orders is creating",
            "create_dir orders-0",
            "sync_dir orders-1",
            "manifest: orders is live",
        ],
    );
    assert!([says_creating, creating, first, last, says_live, live].is_sorted(), "{calls:#?}");
    assert!(calls[last..says_live].contains(&"sync_dir data".to_owned()), "{calls:#?}");
}

#[test]
fn a_deletion_is_in_the_manifest_before_the_first_directory_goes() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    broker.create_topic("orders", TopicConfig::new()).unwrap();
    vfs.take_calls();
    broker.delete_topic("orders").unwrap();
    let calls = vfs.take_calls();
    let renamed = calls.iter().position(|call| call.ends_with("-delete")).unwrap();
    let [says_deleting, committed, unlinked] = positions(
        &calls,
        ["manifest: orders is deleting", "rename to ottla.manifest", &format!("remove {LOG}")],
    );
    assert!([says_deleting, committed, renamed, unlinked].is_sorted(), "{calls:#?}");
    assert_eq!(calls.iter().filter(|call| *call == "rename to ottla.manifest").count(), 2);
}

#[test]
fn the_marker_goes_before_the_first_write_of_a_life_and_comes_as_its_last() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&topic, ["a"]).unwrap();
    vfs.take_calls();
    broker.close(TIMEOUT).unwrap();
    let calls = vfs.take_calls();
    let [synced, marked] = positions(&calls, [&format!("sync {LOG}"), "rename to .kafka_cleanshutdown"]);
    assert!(
        synced < marked && marked == calls.len() - 2,
        "only the directory's sync comes later: {calls:#?}"
    );

    vfs.open_broker().unwrap();
    let calls = vfs.take_calls();
    let changes = ["write", "create", "set_len", "rename", "remove", "allocate"];
    let first = calls
        .iter()
        .position(|call| changes.iter().any(|change| call.starts_with(change)) && call != "write .lock")
        .unwrap();
    assert_eq!(calls[first], "remove .kafka_cleanshutdown", "{calls:#?}");
    assert_eq!(calls[first + 1], "sync_dir data", "{calls:#?}");
}

/// Each of these fails while records are made durable. What was durable stays readable, the rest is
/// indeterminate, nothing more is taken, and the directory does not count as closed in order.
#[test]
fn a_failed_sync_stops_the_partition_and_says_indeterminate() {
    // A record of 950 bytes makes the segment roll, a small one does not.
    let write = format!("write {LOG}");
    for (failing, size) in [
        (vec![format!("sync {LOG}")], 10),
        (vec![format!("sync {LOG}")], 950),
        (vec![format!("set_len {LOG}")], 950),
        (vec!["sync 00000000000000000000.timeindex".to_owned()], 950),
        // A write that fails, and a cut, or the sync of a cut, that fails as well.
        (vec![write.clone(), format!("set_len {LOG}")], 10),
        (vec![write, format!("sync {LOG}")], 10),
        (vec!["create 00000000000000000001.index".to_owned(), "sync_dir orders-0".to_owned()], 950),
    ] {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        let topic = broker.create_topic("orders", TopicConfig::new().segment_bytes(1024)).unwrap();
        let healthy = broker.create_topic("healthy", TopicConfig::new()).unwrap();
        send_all(&topic, ["durable"]).unwrap();
        failing.iter().for_each(|failing| vfs.fail(failing, 0, Other));

        let producer = topic.producer();
        let doubtful = producer.send(Record::new(&vec![0; size])).unwrap();
        let also = producer.send(Record::new("in the same group")).unwrap();
        for delivery in [doubtful, also.clone(), also] {
            let error = delivery.wait().unwrap_err();
            assert!(error.is_indeterminate(), "{failing:?}: {error}");
            assert_eq!((error.topic(), error.partition()), (Some("orders"), Some(0)));
        }
        vfs.fail_no_more();
        let refused = producer.send(Record::new("refused")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageError, "certainly not written");
        assert!(producer.flush().unwrap_err().is_indeterminate(), "never synced again and believed");
        assert_eq!(values(&topic.partition(0).unwrap()).unwrap(), [b"durable"], "{failing:?}");
        send_all(&healthy, ["not concerned"]).unwrap();

        assert!(broker.close(TIMEOUT).unwrap_err().is_indeterminate());
        let again = vfs.open_broker().unwrap();
        assert!(!again.recovery_report().is_clean(), "{failing:?}");
        let found = values(&again.topic("orders").unwrap().partition(0).unwrap()).unwrap();
        let sent = [b"durable".to_vec(), vec![0; size], b"in the same group".to_vec()];
        assert!(!found.is_empty() && sent.starts_with(&found), "{failing:?}: {found:?}");
        send_all(&again.topic("orders").unwrap(), ["goes on"]).unwrap();
    }
}

/// A disk that does not take a write: the log is as it was, durably, and the same records can be sent again.
#[test]
fn a_full_disk_is_not_written_and_sending_again_works_once_there_is_space() {
    for (failing, size) in [
        (format!("write {LOG}"), 10),
        ("create 00000000000000000001.log".to_owned(), 950),
        ("create 00000000000000000001.timeindex".to_owned(), 950),
        ("write 00000000000000000001.log".to_owned(), 950),
    ] {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        let topic = broker.create_topic("orders", TopicConfig::new().segment_bytes(1024)).unwrap();
        let partition = topic.partition(0).unwrap();
        send_all(&topic, ["durable"]).unwrap();
        let producer = topic.producer();
        let records = [vec![1; size], b"in the same group".to_vec()];
        for _ in 0..3 {
            vfs.fail(&failing, 0, StorageFull);
            vfs.take_calls();
            let deliveries = records.each_ref().map(|value| producer.send(Record::new(value)).unwrap());
            assert_eq!(deliveries[0].offset(), 1, "the offset is given out again");
            for delivery in &deliveries {
                let error = delivery.clone().wait().unwrap_err();
                assert_eq!((error.kind(), error.offset()), (ErrorKind::NotWritten, Some(delivery.offset())));
                assert!(error.is_retriable() && !error.is_indeterminate());
            }
            if size == 10 {
                let calls = vfs.take_calls();
                let [cut, synced] = positions(&calls, [&format!("set_len {LOG}"), &format!("sync {LOG}")]);
                assert!(cut < synced, "{calls:#?}");
            }
            assert_eq!((partition.high_watermark(), partition.log_end_offset()), (1, 1));
            assert_eq!(values(&partition).unwrap(), [b"durable"]);
            assert_eq!(producer.flush().unwrap_err().kind(), ErrorKind::NotWritten, "nobody may have waited");
            producer.flush().unwrap();
            vfs.fail_no_more();
        }
        vfs.fail(&failing, 0, StorageFull);
        let stale = producer.send(Record::new(&records[0])).unwrap();
        assert!(stale.clone().wait().is_err());
        vfs.fail_no_more();
        assert!(producer.flush().is_err());
        send_all(&topic, &records).unwrap();
        assert_eq!(
            stale.wait().unwrap_err().kind(),
            ErrorKind::NotWritten,
            "another record has its offset now"
        );
        let [one, two] = records;
        assert_eq!(values(&partition).unwrap(), [b"durable".to_vec(), one, two], "{failing}");
        broker.close(TIMEOUT).unwrap();
        let again = vfs.open_broker().unwrap();
        assert!(again.recovery_report().is_clean());
        assert_eq!(again.topic("orders").unwrap().partition(0).unwrap().high_watermark(), 3);
    }
}

/// Nobody waits, the disk is full when the broker closes: the caller is told, the log is closed in order.
#[test]
fn closing_tells_of_records_that_could_not_be_written() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&topic, ["durable"]).unwrap();
    _ = topic.producer().send(Record::new("lost")).unwrap();
    vfs.fail(&format!("write {LOG}"), 0, StorageFull);
    assert_eq!(broker.close(TIMEOUT).unwrap_err().kind(), ErrorKind::NotWritten);
    vfs.fail_no_more();
    let again = vfs.open_broker().unwrap();
    assert!(again.recovery_report().is_clean());
    assert_eq!(values(&again.topic("orders").unwrap().partition(0).unwrap()).unwrap(), [b"durable"]);
}

#[test]
fn no_space_for_preallocation_is_no_failure_while_the_data_fits() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    for kind in [StorageFull, std::io::ErrorKind::Unsupported] {
        vfs.fail("allocate", 0, kind);
        send_all(&topic, ["fits"]).unwrap();
    }
    assert_eq!(topic.partition(0).unwrap().high_watermark(), 2);
    broker.close(TIMEOUT).unwrap();
    vfs.fail_no_more();
    let again = vfs.open_broker().unwrap();
    assert!(again.recovery_report().is_clean(), "what preallocating has left is trimmed");
    assert_eq!(values(&again.topic("orders").unwrap().partition(0).unwrap()).unwrap(), [b"fits", b"fits"]);
}

#[test]
fn a_read_that_fails_is_an_error_and_the_next_read_tries_again() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    send_all(&topic, ["a"]).unwrap();
    let mut consumer = broker.consumer().assign(topic.partitions()).unwrap();
    vfs.fail("read", 0, Other);
    assert_eq!(consumer.poll(Duration::ZERO).unwrap_err().kind(), ErrorKind::StorageError);
    assert_eq!(values(&topic.partition(0).unwrap()).unwrap_err().kind(), ErrorKind::StorageError);
    vfs.fail_no_more();
    assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
}

#[test]
fn a_creation_that_fails_leaves_nothing_behind() {
    for failing in [
        "write ottla.manifest.tmp",
        "create_dir orders-1",
        "create 0000",
        "rename to partition.metadata",
        "sync_dir orders-1",
    ] {
        let vfs = ScriptedVfs::new();
        let broker = vfs.open_broker().unwrap();
        vfs.fail(failing, 0, StorageFull);
        let error = broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap_err();
        assert_eq!((error.kind(), error.topic()), (ErrorKind::StorageError, Some("orders")), "{failing}");
        assert!(broker.topics().unwrap().is_empty());
        vfs.fail_no_more();
        let topic = broker.create_topic("orders", TopicConfig::new().partitions(2)).unwrap();
        send_all(&topic, ["a"]).unwrap();
        broker.close(TIMEOUT).unwrap();
        assert_eq!(
            values(&vfs.open_broker().unwrap().topic("orders").unwrap().partition(0).unwrap()).unwrap(),
            [b"a"]
        );
    }
}

#[test]
fn after_a_failed_manifest_topics_no_longer_change_but_take_records() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    vfs.fail("sync_dir data", 0, Other);
    assert_eq!(broker.create_topic("more", TopicConfig::new()).unwrap_err().kind(), ErrorKind::StorageError);
    vfs.fail_no_more();
    assert_eq!(broker.create_topic("other", TopicConfig::new()).unwrap_err().kind(), ErrorKind::StorageError);
    assert_eq!(broker.delete_topic("orders").unwrap_err().kind(), ErrorKind::StorageError);
    send_all(&topic, ["still taken"]).unwrap();
    assert!(broker.close(TIMEOUT).is_err(), "the disk may hold either manifest");
    let again = vfs.open_broker().unwrap();
    assert_eq!(values(&again.topic("orders").unwrap().partition(0).unwrap()).unwrap(), [b"still taken"]);
    again.ensure_topic("more", TopicConfig::new()).unwrap();
    again.close(TIMEOUT).unwrap();
}

#[test]
fn closing_makes_durable_what_nobody_waited_for() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let delivery = topic.producer().send(Record::new("sent")).unwrap();
    broker.close(TIMEOUT).unwrap();
    assert_eq!(delivery.wait().unwrap().offset(), 0, "it was acknowledged by closing");
    let again = vfs.open_broker().unwrap();
    assert_eq!(values(&again.topic("orders").unwrap().partition(0).unwrap()).unwrap(), [b"sent"]);
}

#[test]
fn dropping_the_last_handle_closes_in_order() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let batches = {
        _ = topic.producer().send(Record::new("sent")).unwrap();
        topic.producer().flush().unwrap();
        topic.partition(0).unwrap().read(Start::Earliest).unwrap()
    };
    drop((broker, topic));
    assert_eq!(vfs.open_broker().unwrap_err().kind(), ErrorKind::DirectoryInUse, "the reader keeps it open");
    assert_eq!(batches.map(|batch| batch.unwrap().iter().count()).sum::<usize>(), 1);
    vfs.open_broker().unwrap();
}

#[test]
fn a_deadline_that_has_passed_leaves_the_partitions_as_after_a_crash() {
    let vfs = ScriptedVfs::new();
    let broker = vfs.open_broker().unwrap();
    let topic = broker.create_topic("orders", TopicConfig::new()).unwrap();
    let delivery = topic.producer().send(Record::new("sent")).unwrap();
    let error = broker.close(Duration::ZERO).unwrap_err();
    assert_eq!((error.is_indeterminate(), error.topic()), (true, Some("orders")));
    assert!(!error.is_retriable());
    assert!(delivery.wait().unwrap_err().is_indeterminate(), "a part of it may have been written behind");
    assert!(broker.close(TIMEOUT).unwrap_err().is_indeterminate(), "as the first time");
    assert!(!vfs.open_broker().unwrap().recovery_report().is_clean());
}
