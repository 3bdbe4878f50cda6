//! Arbitrary bytes as each kind of file that stands in a data directory, ours or Kafka's: looking into it tells what is
//! there, and what is not whole, and ends.
//!
//! The first byte chooses the name, and the second whether records are looked at, too.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ottla::inspect::Inspect;
use ottla::internals::{MemoryVfs, OpenMode, Vfs, decode_producer_snapshot, inspect_on};

const NAMES: [&str; 12] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000000.snapshot",
    "ottla.ends",
    "ottla.manifest",
    "leader-epoch-checkpoint",
    "partition.metadata",
    "recovery-point-offset-checkpoint",
    ".kafka_cleanshutdown",
    "meta.properties",
];

fuzz_target!(|input: &[u8]| {
    let Some((&[name, records], bytes)) = input.split_first_chunk() else { return };
    let name = NAMES[usize::from(name) % NAMES.len()];
    if name.ends_with(".snapshot") {
        check_snapshot(bytes);
    }
    let vfs = MemoryVfs::new();
    let path = Path::new("/").join(name);
    let file = vfs.open(&path, OpenMode::CreateNew).expect("an empty file system");
    assert_eq!(file.write_at(bytes, 0).expect("a file in memory"), bytes.len());
    let changes = vfs.counts().changing;
    let inspect = Inspect::new().records(records & 1 != 0);
    let Ok(items) = inspect_on(inspect, Arc::new(vfs.clone()), &path) else { return };
    // An item for every byte, and one that says what is wrong, would be many.
    let most = bytes.len() * 2 + 16;
    let count = items.take(most + 1).map(|item| format!("{item:?}").len()).filter(|len| *len > 0).count();
    assert!(count <= most, "{name} never ends");
    assert_eq!(vfs.counts().changing, changes, "looking has changed something");
});

fn check_snapshot(bytes: &[u8]) {
    if let Ok(written) = decode_producer_snapshot(bytes) {
        assert_eq!(decode_producer_snapshot(&written).expect("it was just written"), written);
    }
}
