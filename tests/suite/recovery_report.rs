//! What opening says to people: of damage, and of what was cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, BrokerOptions};

use crate::damage::{DAMAGES, filled};
use crate::support::{ROOT, options};

const LOG: &str = "a-1/00000000000000000000.log";

fn open(vfs: &MemoryVfs, options: BrokerOptions) -> ottla::Result<Broker> {
    open_on(options, Arc::new(vfs.clone()), Path::new(ROOT))
}

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

fn overwrite(vfs: &MemoryVfs, name: &str, position: u64, bytes: &[u8]) {
    let file = vfs.open(&path(name), OpenMode::Write).unwrap();
    assert_eq!(file.write_at(bytes, position).unwrap(), bytes.len());
}

/// Where the two batches of the log end, which are alike.
fn log_end() -> u64 {
    filled(true).open(&path(LOG), OpenMode::Read).unwrap().size().unwrap()
}

#[test]
fn damage_is_told_with_its_place_its_offsets_and_what_to_do() {
    for (what, damage) in DAMAGES {
        for in_order in [true, false] {
            let vfs = filled(in_order);
            damage(&vfs);
            let error = open(&vfs, options()).unwrap_err();
            let text = error.to_string();
            assert!(error.file().is_some_and(|file| file.starts_with(ROOT)), "{what}: {text}");
            for part in ["topic a, partition 1", "read-only", "isolating the damage", "salvage what is sound"]
            {
                assert!(text.contains(part), "{what}: {text}");
            }
            assert_eq!(text.matches("(topic").count(), 1, "the place is told once: {text}");
            // Where the slots are gone, nobody knows what was acknowledged.
            if !what.contains("slots") {
                let offsets = if what == "the log is shorter" { "1 to 1" } else { "0 to 1" };
                let offsets = if in_order { "to 1" } else { offsets };
                assert!(text.contains("acknowledged records are damaged, offsets"), "{what}: {text}");
                assert!(text.contains(offsets) && error.offset().is_some(), "{what}: {text}");
            }
        }
    }
}

#[test]
fn every_flipped_byte_of_a_log_is_told_with_file_position_and_offsets() {
    for at in 0..log_end() {
        let vfs = filled(false);
        let byte = vfs.open(&path(LOG), OpenMode::Read).unwrap().map().unwrap()[usize::try_from(at).unwrap()];
        overwrite(&vfs, LOG, at, &[byte ^ 4]);
        let error = open(&vfs, options()).unwrap_err();
        let damaged = at / (log_end() / 2);
        let place = (error.file(), error.position(), error.offset());
        let expected = (Some(path(LOG)), Some(damaged * log_end() / 2), Some(damaged));
        assert_eq!(place, (expected.0.as_deref(), expected.1, expected.2), "{at}: {error}");
        assert!(error.to_string().contains(&format!("offsets {damaged} to 1")), "{at}: {error}");
    }
}

#[test]
fn the_report_says_what_was_cut_where_and_where_it_is_kept() {
    let vfs = filled(false);
    let end = log_end();
    overwrite(&vfs, LOG, end, &[7; 100]);
    vfs.remove_file(&path("b-1/partition.metadata")).unwrap();
    let broker = open(&vfs, options().isolate_damage(true)).unwrap();
    let report = broker.recovery_report();
    let [cut] = report.partitions() else { panic!("{report:?}") };
    let kept: Vec<_> = cut.quarantined().collect();
    assert_eq!((cut.file(), cut.position() <= end), (path(LOG).as_path(), true));
    assert_eq!((cut.end_offset(), kept.len()), (2, 1));
    assert_eq!(cut.quarantined_bytes(), cut.cut_bytes());
    let text = report.to_string();
    let expected = format!(
        "a-1 ends at offset 2: {} bytes behind it were cut (file {}, from byte {} on); {} of them are kept in {}",
        cut.cut_bytes(),
        path(LOG).display(),
        cut.position(),
        cut.cut_bytes(),
        kept[0].display()
    );
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "the directory was not closed in order, and was recovered");
    assert_eq!(lines[1], format!("cut: {expected}"));
    assert!(lines[2].contains("no topic whose durability is synced has acknowledged it"), "{text}");
    assert!(lines[3].starts_with("damaged: ") && lines[3].contains("topic b, partition 1"), "{text}");
    assert_eq!(lines.len(), 4, "{text}");
    drop(broker);

    let clean = open(&filled(true), options()).unwrap().recovery_report().to_string();
    assert_eq!(clean, "the directory was new, or closed in order");
}
