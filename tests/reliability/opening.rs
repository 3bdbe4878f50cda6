//! What every suite does with a directory after a crash: opens it, reads it, opens it once more.

use std::path::Path;
use std::time::Duration;

use ottla::Broker;

use crate::appender::open;
use crate::ledger::{Ledger, Stop, View, logs, view};

const TIMEOUT: Duration = Duration::from_secs(60);
const MARKER: &str = ".kafka_cleanshutdown";

/// Everything that was promised is there; a second opening, after an orderly stop or as after a second crash, changes
/// nothing.
pub fn check(dir: &Path, ledger: &mut Ledger, stop: Stop, in_order: bool) {
    check_and(dir, ledger, stop, in_order, |_, _| ());
}

/// The same, and this as well, each time that it was opened.
pub fn check_and(
    dir: &Path,
    ledger: &mut Ledger,
    stop: Stop,
    in_order: bool,
    mut also: impl FnMut(&Broker, &View),
) {
    let broker = open(dir).unwrap_or_else(|error| panic!("{error}"));
    let found = view(&broker);
    ledger.check(&found, stop);
    also(&broker, &found);
    let before = logs(dir);
    broker.close(TIMEOUT).unwrap();
    assert_eq!(logs(dir), before, "closing has changed a log");
    let report = ottla::inspect::verify(dir).unwrap();
    assert!(report.is_sound() && report.is_clean, "{:#?}", report.findings);
    if !in_order {
        // As if it had stopped before it could say so.
        std::fs::remove_file(dir.join(MARKER)).unwrap();
    }
    let broker = open(dir).unwrap();
    assert_eq!(broker.recovery_report().is_clean(), in_order);
    assert!(
        broker.recovery_report().partitions().is_empty(),
        "a second recovery cuts: {:?}",
        broker.recovery_report()
    );
    assert!(view(&broker) == found, "a second opening shows other records");
    also(&broker, &found);
    assert_eq!(logs(dir), before, "a second opening has changed a log");
    broker.close(TIMEOUT).unwrap();
    if !in_order {
        std::fs::remove_file(dir.join(MARKER)).unwrap();
    }
}
