//! A changed leader epoch in a batch that Kafka has written, which no checksum covers: it is found, and never taken over.

use std::path::Path;
use std::sync::Arc;

use ottla::inspect::{FindingKind, Severity};
use ottla::internals::{MemoryVfs, Vfs, open_on, open_read_only_on};
use ottla::{ErrorKind, Isolation, Piece, Start};

use crate::adopting::{adopt, batches};
use crate::adopting_fixtures::directory;
use crate::kafka_fixtures::Read;
use crate::salvaging::salvaged;
use crate::support::{ROOT, get, options, put, tree};
use crate::verifying::verify;

const STOPPED: &str = "codec-none-0/00000000000000000000.log";

/// Gives the batch at a position of a log another epoch.
fn restamp(vfs: &MemoryVfs, log: &str, position: usize, epoch: i32) {
    let mut bytes = get(vfs, log);
    assert!(batches(&bytes).contains(&position), "{position}");
    bytes[position + 12..position + 16].copy_from_slice(&epoch.to_be_bytes());
    put(vfs, log, &bytes);
}

/// It is a finding of its own, and the directory is refused, and not changed.
#[track_caller]
fn assert_found(vfs: &MemoryVfs, log: &str, position: usize, offset: u64, epoch: i32) {
    let report = verify(vfs);
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((finding.kind, finding.severity), (FindingKind::LeaderEpoch, Severity::Damage), "{finding}");
    assert!(finding.file.ends_with(log) && !report.is_sound(), "{finding}");
    assert_eq!(finding.bytes.as_ref().unwrap().start, position as u64, "{finding}");
    assert_eq!(finding.offsets.as_ref().unwrap().start, offset, "{finding}");
    assert!(finding.what.contains(&format!("leader epoch {epoch}, and its offset has")), "{finding}");

    let before = tree(vfs, Path::new(ROOT));
    let error = adopt(vfs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{error}");
    assert!(error.file().unwrap().ends_with(log), "{error}");
    assert_eq!((error.offset(), error.position()), (Some(offset), Some(position as u64)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&finding.what) && text.contains("nothing was changed"), "{text}");
    assert_eq!(tree(vfs, Path::new(ROOT)), before);
}

#[test]
fn another_epoch_after_an_orderly_stop_is_found() {
    for (position, offset) in [(0, 0), (211, 5), (1162, 15)] {
        for epoch in [1, -1, i32::MIN, i32::MAX] {
            let vfs = directory("stopped");
            restamp(&vfs, STOPPED, position, epoch);
            assert_found(&vfs, STOPPED, position, offset, epoch);
        }
    }
    // In a segment of which nothing else is read.
    let (vfs, log) = (directory("stopped"), "segments-0/00000000000000000040.log");
    restamp(&vfs, log, 141, 7);
    assert_found(&vfs, log, 141, 44, 7);
}

/// Epoch 2 begins at offset 60, where the recovery point is.
#[test]
fn another_epoch_after_a_kill_is_found_and_the_batches_behind_it_are_right() {
    for (base, position, offset, epochs) in [
        (0, 137, 4, &[1, 2, -1, 1 << 20][..]),
        (40, 282, 48, &[1, 2, 9]),
        (40, 1128, 72, &[-1, 0, 1, 3, 1 << 20]),
        (80, 0, 80, &[-1, 0, 1, 3, 1 << 20]),
        (80, 1285, 116, &[-1, 0, 1, 3, 1 << 20]),
        (120, 870, 144, &[-1, 0, 1, 3, 1 << 20]),
        (120, 1015, 148, &[-1, 0, 1]),
    ] {
        for epoch in epochs {
            let (vfs, log) = (directory("killed"), format!("killed-0/{base:020}.log"));
            restamp(&vfs, &log, position, *epoch);
            assert_found(&vfs, &log, position, offset, *epoch);
        }
    }
}

/// A broker that was killed may have lost what its checkpoint was to say; its recovery takes the epoch from the batches.
#[test]
fn a_newer_epoch_that_stays_is_taken_over_and_told() {
    for (first, offset) in [(870, 144), (1015, 148)] {
        let (vfs, log) = (directory("killed"), "killed-0/00000000000000000120.log");
        let behind: Vec<_> = batches(&get(&vfs, log)).into_iter().filter(|at| *at >= first).collect();
        behind.iter().for_each(|position| restamp(&vfs, log, *position, 4));
        let report = verify(&vfs);
        let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
        assert_eq!((finding.kind, finding.severity), (FindingKind::LeaderEpoch, Severity::Unrecovered));
        assert_eq!(finding.offsets.as_ref().unwrap().start, offset, "{finding}");
        let broker = adopt(&vfs).unwrap();
        let note = format!("killed-0: from offset {offset} on batches have the leader epoch 4");
        let report = broker.recovery_report();
        assert!(report.notes().any(|told| told.starts_with(&note)), "{report:?}");
        let partition = broker.topic("killed").unwrap().partition(0).unwrap();
        let read = Read::all(&partition, Isolation::ReadUncommitted).unwrap();
        assert!(read.error.is_none() && read.lines.len() == 150, "{:?}", read.error);
    }
}

/// What Kafka has deleted up to an offset within a batch is read from there on.
#[test]
fn a_log_that_begins_within_a_batch_is_taken_over() {
    let vfs = directory("stopped");
    put(&vfs, "log-start-offset-checkpoint", b"0\n1\ncodec-none 0 7\n");
    put(&vfs, "codec-none-0/leader-epoch-checkpoint", b"0\n1\n0 7\n");
    assert_eq!(verify(&vfs).findings, []);
    let broker = adopt(&vfs).unwrap();
    let partition = broker.topic("codec-none").unwrap().partition(0).unwrap();
    let read = Read::all(&partition, Isolation::ReadUncommitted).unwrap();
    assert!(read.error.is_none(), "{:?}", read.error);
    assert_eq!((read.lines.len(), read.lines[0].offset), (11, 7));
    broker.close(std::time::Duration::from_secs(10)).unwrap();
    assert_eq!(verify(&vfs).findings, []);
    drop(open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT)).unwrap());
}

/// The lines of a topic's first partition, with their epochs.
fn epochs_of(broker: &ottla::Broker, topic: &str) -> Vec<(u64, i64)> {
    let partition = broker.topic(topic).unwrap().partition(0).unwrap();
    let read = Read::all(&partition, Isolation::ReadUncommitted).unwrap();
    assert!(read.error.is_none(), "{:?}", read.error);
    read.lines.iter().map(|line| (line.offset, line.leader_epoch)).collect()
}

#[test]
fn a_salvage_keeps_the_records_with_the_epochs_of_their_offsets() {
    for (dir, adopts, topic, log, position) in [
        ("stopped", false, "codec-none", STOPPED, 211),
        ("stopped", true, "codec-none", STOPPED, 211),
        ("killed", false, "killed", "killed-0/00000000000000000080.log", 282),
        ("killed", true, "killed", "killed-0/00000000000000000080.log", 282),
    ] {
        let sound = directory(dir);
        let (_, _, broker) = salvaged(&sound);
        let expected = epochs_of(&broker, topic);
        assert!(!expected.is_empty());
        let vfs = directory(dir);
        if adopts {
            adopt(&vfs).unwrap().close(std::time::Duration::from_secs(10)).unwrap();
        }
        restamp(&vfs, log, position, 1 << 20);
        let (report, _, broker) = salvaged(&vfs);
        let [left] = &report.left[..] else { panic!("{dir}: {:#?}", report.left) };
        assert_eq!(left.kind, FindingKind::LeaderEpoch, "{dir}: {left}");
        assert!(left.advice.contains("was kept, with the epoch of its offset"), "{dir}: {left}");
        assert_eq!(epochs_of(&broker, topic), expected, "{dir}");
    }
}

#[test]
fn a_log_that_ends_behind_where_it_was_closed_is_damage() {
    let vfs = directory("stopped");
    let mut log = get(&vfs, STOPPED);
    log[1169] = 31;
    put(&vfs, STOPPED, &log);
    let report = verify(&vfs);
    let end = report.findings.iter().find(|finding| finding.kind == FindingKind::End).unwrap();
    assert_eq!((end.severity, end.offsets.clone()), (Severity::Damage, Some(18..34)), "{end}");
    let index = report.findings.iter().find(|finding| finding.kind == FindingKind::Index).unwrap();
    assert!(index.advice.contains("hold both against a copy before the index is removed"), "{index}");
    let before = tree(&vfs, Path::new(ROOT));
    let error = adopt(&vfs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{error}");
    assert!(error.to_string().contains("the log ends at offset 34"), "{error}");
    assert_eq!(tree(&vfs, Path::new(ROOT)), before);
}

#[test]
fn a_torn_log_is_unrecovered_wherever_the_tear_falls() {
    for len in 988..1029 {
        let (vfs, log) = (directory("killed"), "killed-0/00000000000000000080.log");
        let bytes = get(&vfs, log);
        put(&vfs, log, &bytes[..len]);
        let gravest = verify(&vfs).findings.iter().map(|finding| finding.severity).max();
        assert_eq!(gravest, Some(Severity::Unrecovered), "{len}");
    }
}

#[test]
fn what_an_adoption_refuses_is_named() {
    let vfs = directory("stopped");
    put(&vfs, "segments-0/00000000000000000000.log.swap", b"");
    let report = verify(&vfs);
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert!(finding.file.ends_with("segments-0/00000000000000000000.log.swap"), "{finding}");
    assert_eq!(finding.severity, Severity::Unrecovered);
    assert!(adopt(&vfs).is_err());

    let vfs = directory("stopped");
    put(&vfs, "shapes-0/partition.metadata", &get(&vfs, "segments-0/partition.metadata"));
    let report = verify(&vfs);
    let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
    assert_eq!((finding.kind, finding.severity), (FindingKind::Partition, Severity::Damage), "{finding}");
    assert!(finding.what.contains("the same topic id as topic segments"), "{finding}");
    assert!(adopt(&vfs).is_err());
    assert!(vfs.read_dir(Path::new(ROOT)).unwrap().iter().all(|entry| entry.name != "ottla.manifest"));
}

/// The offset of a last batch that reaches into the next segment.
#[test]
fn a_batch_that_reaches_into_the_next_segment_is_found() {
    for (base, position, first) in [(0, 1259, 36), (40, 1269, 76), (80, 1285, 116)] {
        for bit in 0..8 {
            let (vfs, log) = (directory("killed"), format!("killed-0/{base:020}.log"));
            let mut bytes = get(&vfs, &log);
            assert_eq!(bytes[position + 7], first);
            bytes[position + 7] ^= 1 << bit;
            put(&vfs, &log, &bytes);
            assert!(!verify(&vfs).findings.is_empty(), "{base} {bit}");
        }
    }
}

/// Once the directory is ours it is a gap, as everywhere in ours.
#[test]
fn reading_only_holds_what_was_taken_over_to_its_epochs() {
    let vfs = directory("stopped");
    adopt(&vfs).unwrap().close(std::time::Duration::from_secs(10)).unwrap();
    restamp(&vfs, STOPPED, 211, 1 << 20);
    let broker = open_read_only_on(Arc::new(vfs.clone()), Path::new(ROOT)).unwrap();
    let partition = broker.topic("codec-none").unwrap().partition(0).unwrap();
    let gaps: Vec<_> = partition
        .read(Start::Earliest)
        .unwrap()
        .filter_map(|piece| match piece.unwrap() {
            Piece::Gap(gap) => Some(gap.offsets()),
            Piece::Batch(_) => None,
        })
        .collect();
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!(*gap, 5..15);
}
