//! Slots and twins: what survives what.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::slot::{SLOT_LEN, Slot};
use super::*;
use crate::model::TopicId;
use crate::vfs::{MemoryVfs, OpenMode, Vfs, VfsFile};

const ROOT: &str = "/";

fn owner(partition: u32) -> Owner {
    Owner { topic: TopicId::parse("rE6H2AcSSMCQ7GdNHWIEMQ").unwrap(), partition }
}

fn end(offset: u64) -> ProvenEnd {
    ProvenEnd { generation: 1, log_start: 0, segment: 0, offset, position: 100 * offset, log_end: offset }
}

fn create(vfs: &MemoryVfs) -> Arc<EndsFile> {
    Arc::new(EndsFile::create(vfs, Path::new(ROOT)).unwrap())
}

fn reopen(vfs: &MemoryVfs) -> EndsFile {
    EndsFile::open(vfs, Path::new(ROOT)).unwrap()
}

/// What the file says after a reopening.
fn proven(vfs: &MemoryVfs) -> HashMap<Owner, ProvenEnd> {
    let slots = Arc::new(reopen(vfs)).slots();
    slots.into_iter().map(|(owner, (_, end))| (owner, end)).collect()
}

fn file(vfs: &MemoryVfs) -> Arc<dyn VfsFile> {
    vfs.open(&Path::new(ROOT).join("ottla.ends"), OpenMode::Write).unwrap()
}

fn content(vfs: &MemoryVfs) -> Vec<u8> {
    file(vfs).map().unwrap().to_vec()
}

#[test]
fn a_slot_has_the_documented_bytes() {
    let slot = Slot {
        sequence: 7,
        owner: owner(3),
        end: ProvenEnd { generation: 2, log_start: 10, segment: 20, offset: 30, position: 40, log_end: 50 },
    };
    let bytes = slot.encode();
    let hex: String = bytes[..84].iter().map(|byte| format!("{byte:02x}")).collect();
    let body = "4f454e44000000010000000000000007ac4e87d8071248c090ec674d1d620431\
                0000000300000002000000000000000a0000000000000014000000000000001e\
                00000000000000280000000000000032";
    assert_eq!(hex, format!("{body}{:08x}", crc32fast::hash(&bytes[..80])));
    assert!(bytes[84..].iter().all(|byte| *byte == 0));
    assert_eq!(Slot::decode(&bytes), Some(slot));
}

#[test]
fn a_damaged_slot_is_no_slot() {
    let good = Slot { sequence: 7, owner: owner(3), end: end(9) }.encode();
    for bit in 0..84 * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Slot::decode(&bad), None, "bit {bit}");
    }
    assert_eq!(Slot::decode(&[0; SLOT_LEN]), None);
    assert_eq!(Slot::decode(&good[..100]), None);
}

#[test]
fn what_was_published_is_read_again() {
    let vfs = MemoryVfs::new();
    let ends = create(&vfs);
    let slots = ends.claim((0..20).map(owner));
    for (slot, offset) in slots.iter().zip(0..) {
        slot.publish(end(offset), Duration::ZERO);
        slot.publish(end(offset + 100), Duration::ZERO);
    }
    let found = proven(&vfs);
    assert_eq!(found.len(), 20);
    for (partition, offset) in (0..20).zip(100..) {
        assert_eq!(found[&owner(partition)], end(offset));
    }
    reopen(&vfs).renew(&vfs, Path::new(ROOT)).unwrap();
    assert_eq!(proven(&vfs), found);
}

#[test]
fn the_twin_with_the_newest_durable_state_is_never_written() {
    let vfs = MemoryVfs::new();
    let ends = create(&vfs);
    let slot = ends.claim([owner(0)]).remove(0);
    let twins = |content: Vec<u8>| [4096, 8192].map(|at| Slot::decode(content.get(at..at + SLOT_LEN)?));
    for round in 1..10u64 {
        slot.publish(end(round * 10), Duration::ZERO);
        ends.sync().unwrap();
        let before = twins(content(&vfs));
        let durable = before.iter().flatten().max_by_key(|slot| slot.sequence).copied().unwrap();
        assert_eq!(durable.end, end(round * 10));
        for later in 1..5 {
            slot.publish(end(round * 10 + later), Duration::ZERO);
            assert!(twins(content(&vfs)).contains(&Some(durable)), "round {round}, {later} later");
        }
    }
}

/// The rule holds for the first writing of a new life as well, whichever twin the last life has written last.
#[test]
fn a_new_life_spares_the_newest_twin_of_the_last_one() {
    for publications in 1..4 {
        let vfs = MemoryVfs::new();
        let ends = create(&vfs);
        let slot = &ends.claim([owner(0)])[0];
        for offset in 1..=publications {
            slot.publish(end(offset), Duration::ZERO);
            ends.sync().unwrap();
        }
        let newest = Slot { sequence: publications, owner: owner(0), end: end(publications) };
        Arc::new(reopen(&vfs)).slots()[&owner(0)].0.publish(end(99), Duration::ZERO);
        let content = content(&vfs);
        let twins = [4096, 8192].map(|at| Slot::decode(content.get(at..at + SLOT_LEN)?));
        assert!(twins.contains(&Some(newest)), "{publications}: {twins:?}");
    }
}

#[test]
fn a_bad_slot_falls_back_to_its_twin_and_two_bad_ones_to_nothing() {
    let vfs = MemoryVfs::new();
    let ends = create(&vfs);
    let slot = ends.claim([owner(0)]).remove(0);
    slot.publish(end(1), Duration::ZERO);
    ends.sync().unwrap();
    slot.publish(end(2), Duration::ZERO);
    let newest = if Slot::decode(&content(&vfs)[4096..4608]).unwrap().end == end(2) { 4096 } else { 8192 };
    assert_eq!(proven(&vfs)[&owner(0)], end(2));
    file(&vfs).write_at(&[0xff; 60], newest).unwrap();
    assert_eq!(proven(&vfs)[&owner(0)], end(1));
    file(&vfs).write_at(&[0; 8192], 4096).unwrap();
    assert!(proven(&vfs).is_empty());
}

#[test]
fn a_new_owner_of_a_cell_outlives_the_old_ones_slots() {
    let vfs = MemoryVfs::new();
    let ends = create(&vfs);
    let old = ends.claim([owner(0)]).remove(0);
    for offset in 0..50 {
        old.publish(end(offset), Duration::ZERO);
    }
    ends.sync().unwrap();
    old.publish(end(50), Duration::ZERO);
    ends.retain(|_| false);
    let new = ends.claim([owner(1)]).remove(0);
    new.publish(end(1), Duration::ZERO);
    old.publish(end(99), Duration::ZERO);
    assert_eq!(proven(&vfs), [(owner(1), end(1))].into());
}

#[test]
fn a_file_that_is_none_is_refused() {
    let vfs = MemoryVfs::new();
    create(&vfs);
    let open = || EndsFile::open(&vfs, Path::new(ROOT)).unwrap_err();
    for bit in 0..16 * 8 {
        let good = content(&vfs)[bit / 8];
        file(&vfs).write_at(&[good ^ 1 << (bit % 8)], (bit / 8) as u64).unwrap();
        assert!(open().is_corruption(), "bit {bit}: {}", open());
        file(&vfs).write_at(&[good], (bit / 8) as u64).unwrap();
    }
    let newer = [&b"OTTLAEND\0\0\0\x02"[..], &crc32fast::hash(b"OTTLAEND\0\0\0\x02").to_be_bytes()].concat();
    file(&vfs).write_at(&newer, 0).unwrap();
    assert_eq!(open().kind(), crate::error::ErrorKind::UnsupportedVersion);
    file(&vfs).set_len(0).unwrap();
    assert!(open().is_corruption());
}

/// A partition whose making was taken back is made again, when other cells are free, too: its old slot, which may be
/// on the disk for ever, must not speak for it.
#[test]
fn a_partition_that_is_claimed_again_has_one_cell() {
    let vfs = MemoryVfs::new();
    let mut ends = create(&vfs);
    let claim = |ends: &Arc<EndsFile>, partitions: std::ops::Range<u32>| {
        let slots = ends.claim(partitions.map(owner));
        slots.iter().for_each(|slot| slot.publish(end(0), Duration::ZERO));
        ends.sync().unwrap();
        slots
    };
    claim(&ends, 0..6);
    for round in 0..2 {
        // The others are another topic's, which goes.
        ends.retain(|owner| owner.partition == 0);
        if round == 1 {
            // What nobody has freed in this life.
            ends = Arc::new(reopen(&vfs));
        }
        let slots = claim(&ends, 4..6);
        for (slot, offset) in slots.iter().zip([14, 15]) {
            slot.publish(end(offset), Duration::ZERO);
        }
        ends.sync().unwrap();
        let proven = proven(&vfs);
        assert_eq!((proven[&owner(4)], proven[&owner(5)]), (end(14), end(15)), "round {round}");
    }
}
