//! `salvage` of directories of which something of Kafka's is gone: it says so as `verify` does.

use std::path::Path;

use ottla::inspect::{Finding, FindingKind, Severity, VerifyReport};
use ottla::internals::{MemoryVfs, Vfs};

use crate::adopting::Kafkas;
use crate::adopting_fixtures::directory;
use crate::salvaging::salvaged;
use crate::support::{ROOT, put};
use crate::verifying::verify;
use crate::verifying_kafka::{
    Deed, OF_A_STOPPED_ONE, OF_KAFKAS_PART, adopted, cut, only, remove, remove_all, remove_segment,
};

/// A finding without its advice.
fn said(finding: &Finding) -> String {
    let Finding { severity, kind, partition, file, offsets, what, .. } = finding;
    format!("{severity:?} {kind:?} {partition:?} {} {offsets:?} {what}", file.display())
}

fn as_grave(findings: &[Finding], severity: Severity) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.severity >= severity).collect()
}

/// Salvages what is left, and holds what that says against what verifying finds.
#[track_caller]
fn assert_salvage_misses(vfs: &MemoryVfs, what: &str) -> Finding {
    let found = only(&verify(vfs), what);
    let (report, ..) = salvaged(vfs);
    let [left] = &as_grave(&report.left, found.severity)[..] else {
        panic!("{what}: {:#?}", report.left);
    };
    assert_eq!(said(left), said(&found), "{what}");
    assert!(!left.advice.contains("salvage the directory"), "{what}: {left}");
    found
}

#[test]
fn what_is_gone_after_an_orderly_stop_is_listed() {
    let mut damages = 0;
    for (what, deed, kind, severity, ..) in OF_A_STOPPED_ONE {
        // The epochs are taken from the batches, and what is elsewhere is not gone.
        if (kind, severity) == (FindingKind::LeaderEpochs, Severity::Derived) || what.ends_with("elsewhere") {
            continue;
        }
        let vfs = directory("stopped");
        deed(&vfs);
        let found = assert_salvage_misses(&vfs, what);
        damages += usize::from(found.severity == Severity::Damage);
    }
    assert!(damages >= 9, "{damages}");
}

#[test]
fn what_is_gone_after_a_kill_is_listed() {
    let deeds: [(&str, Deed, Severity); 6] = [
        ("in the middle", |vfs| remove(vfs, "killed-0/00000000000000000080.log"), Severity::Damage),
        (
            "below the recovery point",
            |vfs| {
                ["080", "120"].iter().for_each(|base| remove_segment(vfs, &format!("killed-0/{base:0>20}")));
                cut(vfs, "killed-0/00000000000000000040.log", 1);
            },
            Severity::Damage,
        ),
        (
            "above the recovery point",
            |vfs| cut(vfs, "killed-0/00000000000000000120.log", 1),
            Severity::Unrecovered,
        ),
        ("the log", |vfs| remove_all(vfs, "killed-ongoing-0", "00000000.log"), Severity::Damage),
        ("a topic", |vfs| remove_all(vfs, "killed-ongoing-0", ""), Severity::Damage),
        (
            "a topic that was made a moment ago",
            |vfs| remove_all(vfs, "__consumer_offsets-0", ""),
            Severity::Unrecovered,
        ),
    ];
    for (what, deed, severity) in deeds {
        let vfs = directory("killed");
        deed(&vfs);
        assert_eq!(assert_salvage_misses(&vfs, what).severity, severity, "{what}");
    }
}

#[test]
fn a_partition_that_is_gone_of_a_topic_is_told_once() {
    let Kafkas { vfs, .. } = Kafkas::stopped_in_order();
    vfs.rename(&Path::new(ROOT).join("orders-0"), Path::new("/elsewhere")).unwrap();
    let finding = assert_salvage_misses(&vfs, "the first partition");
    assert_eq!(finding.offsets, Some(0..15), "{finding}");
    // Nothing but a missing number tells of it.
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        put(&vfs, name, b"0\n0\n");
    }
    let (report, ..) = salvaged(&vfs);
    let [finding] = &report.left[..] else { panic!("{:#?}", report.left) };
    assert_eq!((finding.kind, finding.severity), (FindingKind::Partition, Severity::Damage), "{finding}");
}

#[test]
fn what_is_gone_of_kafkas_part_of_an_adopted_directory_is_listed() {
    for (what, deed, _) in OF_KAFKAS_PART {
        let vfs = adopted();
        deed(&vfs);
        let VerifyReport { findings, .. } = verify(&vfs);
        let damages = as_grave(&findings, Severity::Damage);
        let (report, ..) = salvaged(&vfs);
        let left = as_grave(&report.left, Severity::Damage);
        let said = |findings: &[&Finding]| findings.iter().map(|finding| said(finding)).collect::<Vec<_>>();
        match what {
            // The log begins behind it, in a directory of ours, too.
            "the first" => assert_eq!(left.len(), 1, "{left:?}"),
            _ => assert_eq!(said(&left), said(&damages), "{what}"),
        }
    }
}

/// Without a checkpoint less is known.
#[test]
fn a_checkpoint_that_cannot_be_read_is_told_once() {
    for name in ["recovery-point", "replication", "cleaner"] {
        let vfs = directory("stopped");
        put(&vfs, &format!("{name}-offset-checkpoint"), b"no checkpoint");
        let (report, ..) = salvaged(&vfs);
        let [finding] = &report.left[..] else { panic!("{name}: {:#?}", report.left) };
        assert_eq!(
            (finding.kind, finding.severity),
            (FindingKind::OffsetCheckpoint, Severity::Derived),
            "{finding}"
        );
    }
}
