//! What each profile may leave behind, in small worked examples; and the facts about real disks that the
//! simulator is there for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use super::*;
use crate::vfs::{read_file, replace_file, write_all_at};

use CrashProfile::{Adversarial, AdversarialTornSectors, Ordered, Prefix, Strict};

const PROFILES: [CrashProfile; 5] = [Strict, Prefix, Ordered, Adversarial, AdversarialTornSectors];
const PLENTY: usize = 100_000;

// ---- Words for states: a sector of one letter is that letter, `0` for zeros, `?` for anything else ----

fn open(vfs: &MemoryVfs, path: &str) -> Arc<dyn VfsFile> {
    vfs.open(Path::new(path), OpenMode::Create).unwrap()
}

/// Writes a sector of each letter, from the sector `at` on.
fn write(file: &dyn VfsFile, letters: &str, at: u64) {
    let bytes: Vec<_> = letters.bytes().flat_map(|letter| [letter; SECTOR]).collect();
    write_all_at(file, &bytes, at * SECTOR as u64).unwrap();
}

/// A file whose name and sectors are durable.
fn synced(vfs: &MemoryVfs, path: &str, letters: &str) -> Arc<dyn VfsFile> {
    let file = open(vfs, path);
    write(file.as_ref(), letters, 0);
    file.sync_data().unwrap();
    vfs.sync_dir(Path::new(path).parent().unwrap()).unwrap();
    file
}

fn bytes(vfs: &MemoryVfs, path: &str) -> Option<Vec<u8>> {
    match vfs.kind(Path::new(path)).unwrap() {
        Some(EntryKind::File) => Some(read_file(vfs, Path::new(path), u64::MAX).unwrap()),
        _ => None,
    }
}

/// The sectors of a file in letters; `-` if there is no such file.
fn letters(vfs: &MemoryVfs, path: &str) -> String {
    bytes(vfs, path).map_or("-".to_owned(), |bytes| in_letters(&bytes))
}

fn in_letters(bytes: &[u8]) -> String {
    let letter = |sector: &[u8]| match sector[0] {
        first if sector.iter().any(|byte| *byte != first) => '?',
        0 => '0',
        first => char::from(first),
    };
    bytes.chunks(SECTOR).map(letter).collect()
}

/// What the crashes leave of something, each once and sorted.
fn after<T: Ord>(vfs: &MemoryVfs, profile: CrashProfile, look: impl Fn(&MemoryVfs) -> T) -> Vec<T> {
    let found: BTreeSet<_> = vfs.images(profile, PLENTY, 0).map(|image| look(&image.vfs)).collect();
    found.into_iter().collect()
}

fn letters_after(vfs: &MemoryVfs, profile: CrashProfile, path: &str) -> String {
    after(vfs, profile, |vfs| letters(vfs, path)).join(" ")
}

/// The names in the root.
fn names(vfs: &MemoryVfs) -> String {
    let names: Vec<_> = vfs.read_dir(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    names.join("+")
}

fn names_after(vfs: &MemoryVfs, profile: CrashProfile) -> String {
    after(vfs, profile, names).join(" ")
}

fn classes_after(vfs: &MemoryVfs, profile: CrashProfile) -> BTreeMap<ImageClass, usize> {
    let mut counts = BTreeMap::new();
    for class in vfs.images(profile, PLENTY, 0).flat_map(|image| image.classes) {
        *counts.entry(class).or_default() += 1;
    }
    counts
}

fn rename(vfs: &MemoryVfs, from: &str, to: &str) {
    vfs.rename(Path::new(from), Path::new(to)).unwrap();
}

// ---- The profiles: data ----

#[test]
fn an_unsynced_write_of_two_sectors() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "");
    write(file.as_ref(), "ab", 0);
    assert_eq!(letters_after(&vfs, Strict, "/f"), "");
    assert_eq!(letters_after(&vfs, Prefix, "/f"), " a ab");
    assert_eq!(letters_after(&vfs, Ordered, "/f"), " 00 0b a0 ab");
    let all = " 0 00 0? 0b ? ?0 ?? ?b a a0 a? ab";
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), all);
    assert_eq!(letters_after(&vfs, AdversarialTornSectors, "/f"), all);
    file.sync_data().unwrap();
    for profile in PROFILES {
        assert_eq!(letters_after(&vfs, profile, "/f"), "ab");
        assert_eq!(vfs.images(profile, PLENTY, 0).count(), 1);
    }
}

#[test]
fn an_unsynced_write_in_place() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "ab");
    write(file.as_ref(), "cd", 0);
    assert_eq!(letters_after(&vfs, Strict, "/f"), "ab");
    assert_eq!(letters_after(&vfs, Prefix, "/f"), "ab cb cd");
    assert_eq!(letters_after(&vfs, Ordered, "/f"), "ab ad cb cd");
    let all = "00 0? 0b 0d ?0 ?? ?b ?d a0 a? ab ad c0 c? cb cd";
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), all);
}

#[test]
fn a_sector_that_was_written_twice_may_be_there_as_it_was_between() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "b", 0);
    write(file.as_ref(), "c", 0);
    assert_eq!(letters_after(&vfs, Prefix, "/f"), "a b c");
    assert_eq!(letters_after(&vfs, Ordered, "/f"), "a b c");
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "0 ? a b c");
}

#[test]
fn the_bytes_of_a_sector_that_nobody_wrote_to_stay_unless_sectors_tear() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "");
    write_all_at(file.as_ref(), &[b'a'; 100], 0).unwrap();
    file.sync_data().unwrap();
    write_all_at(file.as_ref(), &[b'b'; 100], 100).unwrap();
    let firsts =
        |profile| after(&vfs, profile, |vfs| in_letters(&bytes(vfs, "/f").unwrap()[..100])).join(" ");
    for profile in [Strict, Prefix, Ordered, Adversarial] {
        assert_eq!(firsts(profile), "a");
    }
    assert_eq!(firsts(AdversarialTornSectors), "0 ? a");
    let seconds = after(&vfs, Adversarial, |vfs| in_letters(&bytes(vfs, "/f").unwrap()[100..])).join(" ");
    assert_eq!(seconds, " 0 ? b");
}

#[test]
fn two_files_keep_their_order_only_in_prefix() {
    let vfs = MemoryVfs::new();
    let (f, g) = (synced(&vfs, "/f", "a"), synced(&vfs, "/g", "a"));
    write(f.as_ref(), "b", 0);
    write(g.as_ref(), "b", 0);
    let both = |profile| after(&vfs, profile, |vfs| letters(vfs, "/f") + &letters(vfs, "/g")).join(" ");
    assert_eq!(both(Prefix), "aa ba bb");
    assert_eq!(both(Ordered), "aa ab ba bb");
    g.sync_data().unwrap();
    assert_eq!(both(Prefix), "bb", "a sync commits what was done before");
    assert_eq!(both(Strict), "ab");
}

// ---- The profiles: names ----

#[test]
fn a_synced_file_without_a_synced_name_may_vanish() {
    let vfs = MemoryVfs::new();
    let file = open(&vfs, "/f");
    write(file.as_ref(), "a", 0);
    file.sync_all().unwrap();
    assert_eq!(letters_after(&vfs, Strict, "/f"), "-");
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "- a");
    // Here the sync commits the name with the data.
    assert_eq!(letters_after(&vfs, Prefix, "/f"), "a");
    assert_eq!(letters_after(&vfs, Ordered, "/f"), "a");
    assert_eq!(classes_after(&vfs, Adversarial), BTreeMap::from([(ImageClass::LostEntry, 1)]));
    vfs.sync_dir(Path::new("/")).unwrap();
    for profile in PROFILES {
        assert_eq!(letters_after(&vfs, profile, "/f"), "a");
    }
}

#[test]
fn a_synced_name_without_synced_data_is_an_empty_file() {
    let vfs = MemoryVfs::new();
    write(open(&vfs, "/f").as_ref(), "a", 0);
    vfs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(letters_after(&vfs, Strict, "/f"), "");
    assert_eq!(letters_after(&vfs, Ordered, "/f"), "0 a", "the journal holds the length");
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), " 0 ? a");
}

#[test]
fn creations_are_independent_only_to_an_adversary() {
    let vfs = MemoryVfs::new();
    for path in ["/a", "/b"] {
        open(&vfs, path);
    }
    assert_eq!(names_after(&vfs, Strict), "");
    assert_eq!(names_after(&vfs, Prefix), " a a+b");
    assert_eq!(names_after(&vfs, Ordered), " a a+b");
    assert_eq!(names_after(&vfs, Adversarial), " a a+b b");
}

#[test]
fn an_unsynced_rename_is_done_or_not() {
    let vfs = MemoryVfs::new();
    synced(&vfs, "/old", "a");
    synced(&vfs, "/new", "b");
    rename(&vfs, "/new", "/old");
    let both = |profile| after(&vfs, profile, |vfs| letters(vfs, "/old") + &letters(vfs, "/new")).join(" ");
    assert_eq!(both(Strict), "ab");
    for profile in [Prefix, Ordered, Adversarial] {
        assert_eq!(both(profile), "ab b-", "{profile:?}");
        assert_eq!(classes_after(&vfs, profile), BTreeMap::from([(ImageClass::UndoneRename, 1)]));
    }
    vfs.sync_dir(Path::new("/")).unwrap();
    for profile in PROFILES {
        assert_eq!(both(profile), "b-", "{profile:?}");
    }
}

#[test]
fn a_removed_file_may_come_back_with_its_durable_bytes() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "b", 0);
    vfs.remove_file(Path::new("/f")).unwrap();
    assert_eq!(letters_after(&vfs, Strict, "/f"), "a");
    assert_eq!(letters_after(&vfs, Prefix, "/f"), "- a b");
    assert!(classes_after(&vfs, Prefix).contains_key(&ImageClass::UndoneRemoval));
    vfs.sync_dir(Path::new("/")).unwrap();
    for profile in PROFILES {
        assert_eq!(letters_after(&vfs, profile, "/f"), "-");
    }
    write(file.as_ref(), "c", 0);
    assert_eq!(in_letters(&file.map().unwrap()), "c", "whoever has it open keeps it");
}

#[test]
fn replacing_a_file_leaves_the_old_or_the_new_in_every_image() {
    let vfs = MemoryVfs::new();
    replace_file(&vfs, Path::new("/"), "f", &[b'a'; SECTOR]).unwrap();
    for calls in 0.. {
        let vfs = vfs.restart();
        vfs.stop_after(calls);
        let done = replace_file(&vfs, Path::new("/"), "f", &[b'b'; SECTOR]).is_ok();
        for profile in PROFILES {
            let left = letters_after(&vfs, profile, "/f");
            let lawful: &[_] = if done { &["b"] } else { &["a", "a b", "b"] };
            assert!(lawful.contains(&left.as_str()), "{profile:?} after {calls} calls: {left}");
        }
        if done {
            assert_eq!(calls, 5, "create, write, sync, rename, sync");
            break;
        }
    }
}

#[test]
fn a_removal_that_outlives_the_rename_before_it_removes_nothing_else() {
    let vfs = MemoryVfs::new();
    synced(&vfs, "/x", "a");
    synced(&vfs, "/y", "b");
    rename(&vfs, "/y", "/x");
    vfs.remove_file(Path::new("/x")).unwrap();
    assert_eq!(names_after(&vfs, Adversarial), " x x+y");
}

#[test]
fn a_rename_between_directories_is_one_change_of_both() {
    for synced_dir in ["/from", "/to"] {
        let vfs = MemoryVfs::new();
        for dir in ["/from", "/to"] {
            vfs.create_dir(Path::new(dir)).unwrap();
        }
        vfs.sync_dir(Path::new("/")).unwrap();
        // Not synced: the sync of the rename implies it.
        open(&vfs, "/from/f").sync_all().unwrap();
        rename(&vfs, "/from/f", "/to/f");
        let both = |profile| after(&vfs, profile, |vfs| letters(vfs, "/from/f") + &letters(vfs, "/to/f"));
        assert_eq!(both(Strict), ["--"]);
        assert_eq!(both(Adversarial), ["-", "--"], "nowhere, at the old place or at the new one");
        vfs.sync_dir(Path::new(synced_dir)).unwrap();
        for profile in PROFILES {
            assert_eq!(both(profile), ["-"], "{synced_dir}");
            assert_eq!(after(&vfs, profile, |vfs| letters(vfs, "/to/f")), [""]);
        }
    }
}

#[test]
fn a_directory_takes_what_is_in_it_along() {
    let vfs = MemoryVfs::new();
    vfs.create_dir(Path::new("/d")).unwrap();
    synced(&vfs, "/d/f", "a");
    assert_eq!(letters_after(&vfs, Strict, "/d/f"), "-", "/d has no durable name");
    vfs.sync_dir(Path::new("/")).unwrap();
    rename(&vfs, "/d", "/e");
    let both = |profile| after(&vfs, profile, |vfs| letters(vfs, "/d/f") + &letters(vfs, "/e/f"));
    assert_eq!(both(Adversarial), ["-a", "a-"]);
    vfs.remove_file(Path::new("/e/f")).unwrap();
    vfs.remove_dir(Path::new("/e")).unwrap();
    assert_eq!(both(Adversarial), ["--", "-a", "a-"], "a removed directory takes what came back along");
    vfs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(both(Adversarial), ["--"]);
}

#[test]
fn every_image_of_a_directory_moved_about_is_a_tree() {
    let vfs = MemoryVfs::new();
    for path in ["/a", "/b"] {
        vfs.create_dir(Path::new(path)).unwrap();
    }
    vfs.sync_dir(Path::new("/")).unwrap();
    rename(&vfs, "/a", "/b/a");
    rename(&vfs, "/b/a", "/c");
    rename(&vfs, "/b", "/c/b");
    assert_eq!(names_after(&vfs, Adversarial), "a a+b b b+c c");
    assert_eq!(vfs.rename(Path::new("/c"), Path::new("/c/b/c")).unwrap_err().kind(), ErrorKind::InvalidInput);
}

// ---- The facts ----

#[test]
fn the_sync_of_another_file_commits_a_length_and_a_name_without_data() {
    let vfs = MemoryVfs::new();
    let other = synced(&vfs, "/other", "a");
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "bc", 1);
    open(&vfs, "/new");
    assert_eq!(letters_after(&vfs, Ordered, "/f"), "a a00 a0c ab0 abc");
    write(other.as_ref(), "b", 0);
    other.sync_data().unwrap();
    assert_eq!(letters_after(&vfs, Ordered, "/f"), "a00 a0c ab0 abc");
    assert_eq!(letters_after(&vfs, Ordered, "/new"), "");
    let classes = classes_after(&vfs, Ordered);
    assert_eq!(classes[&ImageClass::ZeroTail], 2, "a00 and ab0");
    assert_eq!(classes[&ImageClass::Hole], 1, "a0c");
    assert_eq!(classes[&ImageClass::TornWrite], 2, "a0c and ab0");
    assert_eq!(letters_after(&vfs, Strict, "/f"), "a");
    assert_eq!(letters_after(&vfs, Strict, "/new"), "-");
}

#[test]
fn a_truncation_is_not_durable_until_it_is_synced() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "");
    file.allocate(4096).unwrap();
    write_all_at(file.as_ref(), &[b'a'; 1000], 0).unwrap();
    file.sync_data().unwrap();
    write_all_at(file.as_ref(), &[b'b'; 1000], 1000).unwrap();
    file.set_len(1000).unwrap();
    let all = [&[b'a'; 1000][..], &[b'b'; 1000], &[0; 2096]].concat();
    for profile in [Prefix, Ordered, Adversarial] {
        let left = after(&vfs, profile, |vfs| bytes(vfs, "/f").unwrap());
        assert!(left.contains(&all), "{profile:?}: the second 1,000 bytes can be there");
        assert!(left.contains(&vec![b'a'; 1000]), "{profile:?}: or not");
        assert!(left.iter().all(|bytes| bytes[..1000] == all[..1000]), "{profile:?}");
        assert!(classes_after(&vfs, profile).contains_key(&ImageClass::UndoneTruncation));
    }
    file.sync_data().unwrap();
    for profile in PROFILES {
        assert_eq!(after(&vfs, profile, |vfs| bytes(vfs, "/f").unwrap()), [vec![b'a'; 1000]]);
    }
}

#[test]
fn what_was_cut_does_not_come_back_in_a_file_that_grew_again() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "abc");
    file.set_len(700).unwrap();
    file.allocate(3 * SECTOR as u64).unwrap();
    assert_eq!(letters_after(&vfs, Prefix, "/f"), "a?0 ab abc");
    file.sync_data().unwrap();
    file.set_len(600).unwrap();
    write(file.as_ref(), "d", 3);
    assert_eq!(letters_after(&vfs, Prefix, "/f"), "a?0 a?0d ab");
    for profile in PROFILES {
        let third = after(&vfs, profile, |vfs| bytes(vfs, "/f").unwrap().get(2 * SECTOR).copied());
        assert!(!third.contains(&Some(b'c')), "{profile:?}");
    }
}

#[test]
fn the_zeros_behind_a_cut_may_come_to_the_disk_before_it() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    file.set_len(100).unwrap();
    let zeroed = [&[b'a'; 100][..], &[0; SECTOR - 100]].concat();
    let left = [vec![b'a'; 100], zeroed, vec![b'a'; SECTOR]];
    assert_eq!(after(&vfs, Ordered, |vfs| bytes(vfs, "/f").unwrap()), left);
}

#[test]
fn what_was_written_before_a_cut_is_cut_with_it() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "");
    write(file.as_ref(), "b", 0);
    file.set_len(100).unwrap();
    file.allocate(2 * SECTOR as u64).unwrap();
    // An adversary may turn the zeros behind the cut, which are written, into garbage.
    for profile in [Strict, Prefix, Ordered] {
        for left in after(&vfs, profile, |vfs| bytes(vfs, "/f").unwrap()) {
            let behind = left.get(100..).filter(|_| left.len() == 2 * SECTOR).unwrap_or_default();
            assert!(behind.iter().all(|byte| *byte == 0), "{profile:?}");
        }
    }
}

/// A file with one durable sector `a`, and `bc` behind it that a failed sync lost.
fn after_failed_sync() -> (MemoryVfs, Arc<dyn VfsFile>) {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "bc", 1);
    vfs.fail_nth(1, Fault::Io, Repeat::Once);
    assert!(file.sync_data().is_err());
    (vfs, file)
}

fn uncached(vfs: &MemoryVfs, path: &str) -> String {
    let file = open(vfs, path);
    let mut buffer = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    assert_eq!(file.read_uncached_at(&mut buffer, 0).unwrap(), buffer.len());
    in_letters(&buffer)
}

#[test]
fn a_failed_sync_is_final() {
    let (vfs, file) = after_failed_sync();
    file.sync_data().unwrap();
    open(&vfs, "/f").sync_all().unwrap();
    assert_eq!(letters(&vfs, "/f"), "abc", "the page cache serves the bytes");
    write(file.as_ref(), "bc", 1);
    file.sync_data().unwrap();
    write(file.as_ref(), "d", 3);
    file.sync_data().unwrap();
    for profile in PROFILES {
        assert_eq!(letters_after(&vfs, profile, "/f"), "a00d", "{profile:?}: even rewriting does not help");
        assert_eq!(classes_after(&vfs, profile)[&ImageClass::Ghost], 1);
    }
}

#[test]
fn after_a_failed_sync_a_later_crash_leaves_zeros_or_a_shorter_file() {
    let (vfs, file) = after_failed_sync();
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "a a00");
    assert_eq!(letters_after(&vfs, Strict, "/f"), "a");
    file.sync_data().unwrap();
    assert_eq!(letters_after(&vfs, Strict, "/f"), "a00");
}

#[test]
fn a_restarted_process_reads_ghosts_and_only_the_disk_tells() {
    let (vfs, _file) = after_failed_sync();
    let again = vfs.restart();
    let file = open(&again, "/f");
    file.sync_data().unwrap();
    file.drop_cache().unwrap();
    assert_eq!(letters(&again, "/f"), "abc", "dropping the cache may have no effect");
    assert_eq!(uncached(&again, "/f"), "a00");
    again.let_cache_be_passed(false);
    assert_eq!(file.read_uncached_at(&mut [0; 1], 0).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn cutting_below_dropping_the_cache_or_a_new_file_heals() {
    let (vfs, file) = after_failed_sync();
    file.set_len(2 * SECTOR as u64).unwrap();
    write(file.as_ref(), "d", 2);
    file.sync_data().unwrap();
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "a0d", "cut below the second lost sector only");
    file.set_len(SECTOR as u64).unwrap();
    write(file.as_ref(), "bc", 1);
    file.sync_data().unwrap();
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "abc");

    let (vfs, file) = after_failed_sync();
    vfs.let_cache_be_dropped(true);
    file.drop_cache().unwrap();
    assert_eq!(letters(&vfs, "/f"), "a00");
    write(file.as_ref(), "bc", 1);
    file.sync_data().unwrap();
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "abc");

    let (vfs, _file) = after_failed_sync();
    replace_file(&vfs, Path::new("/"), "f", b"new").unwrap();
    assert_eq!(after(&vfs, Adversarial, |vfs| bytes(vfs, "/f").unwrap()), [b"new"]);
}

#[test]
fn a_cut_inside_a_lost_sector_heals_it_where_the_lost_bytes_begin() {
    for (cut, there) in [(100, [b'a'; 100].to_vec()), (150, [[b'a'; 100].as_slice(), &[0; 50]].concat())] {
        let vfs = MemoryVfs::new();
        let file = synced(&vfs, "/f", "");
        write_all_at(file.as_ref(), &[b'a'; 100], 0).unwrap();
        file.sync_data().unwrap();
        write_all_at(file.as_ref(), &[b'b'; 100], 100).unwrap();
        vfs.fail_nth(1, Fault::NoSpace, Repeat::Once);
        assert_eq!(file.sync_data().unwrap_err().kind(), ErrorKind::StorageFull);
        file.set_len(cut).unwrap();
        file.sync_data().unwrap();
        assert_eq!(after(&vfs, Adversarial, |vfs| bytes(vfs, "/f").unwrap()), [there]);
    }
}

#[test]
fn a_lost_sector_heals_only_below_the_first_byte_that_was_lost() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write_all_at(file.as_ref(), b"late", 100).unwrap();
    write_all_at(file.as_ref(), b"early", 50).unwrap();
    vfs.fail_nth(1, Fault::Io, Repeat::Once);
    assert!(file.sync_data().is_err());
    file.set_len(70).unwrap();
    assert_eq!(bytes(&vfs, "/f").unwrap()[50..55], *b"early");
    assert_eq!(uncached(&vfs, "/f"), "a");
    vfs.let_cache_be_dropped(true);
    file.drop_cache().unwrap();
    file.allocate(80).unwrap();
    let expected = [&[b'a'; 70][..], &[0; 10]].concat();
    assert_eq!(bytes(&vfs, "/f").unwrap(), expected, "what was cut does not come back from the disk");
    file.sync_data().unwrap();
    assert_eq!(after(&vfs, Adversarial, |vfs| bytes(vfs, "/f").unwrap()), [expected]);
}

#[test]
fn what_was_cut_before_a_failed_sync_is_not_lost() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "b", 1);
    file.set_len(SECTOR as u64).unwrap();
    vfs.fail_nth(1, Fault::Io, Repeat::Once);
    assert!(file.sync_data().is_err());
    write(file.as_ref(), "c", 1);
    file.sync_data().unwrap();
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "ac");
}

#[test]
fn an_unsynced_byte_is_brought_to_the_disk_by_a_read_past_the_cache_and_not_lost_with_it() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "b", 1);
    vfs.let_cache_be_dropped(true);
    file.drop_cache().unwrap();
    assert_eq!(uncached(&vfs, "/f"), "ab");
    assert_eq!(letters_after(&vfs, Strict, "/f"), "a", "that is no sync");
}

#[test]
fn a_failed_sync_of_a_directory_leaves_its_changes_pending() {
    let vfs = MemoryVfs::new();
    open(&vfs, "/f");
    vfs.fail_nth(1, Fault::Io, Repeat::Once);
    assert!(vfs.sync_dir(Path::new("/")).is_err());
    assert_eq!(names_after(&vfs, Adversarial), " f");
}

// ---- Enumerating ----

/// A file with so many sectors that not all of their combinations can be listed.
fn many() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "");
    for number in 0..20 {
        write(file.as_ref(), "ab", 2 * number);
        open(&vfs, &format!("/{number}"));
    }
    vfs
}

#[test]
fn one_seed_gives_one_list_of_distinct_images() {
    let vfs = many();
    for profile in PROFILES {
        let list = |budget, seed| -> Vec<_> {
            let images = vfs.images(profile, budget, seed);
            assert_eq!(images.is_complete(), matches!(profile, Strict | Prefix) && budget > 0);
            images.map(|image| (image.vfs.state.lock().disk.fingerprint(), image.description)).collect()
        };
        let images = list(200, 7);
        assert_eq!(images, list(200, 7), "{profile:?}");
        let distinct: BTreeSet<_> = images.iter().map(|(fingerprint, _)| fingerprint).collect();
        assert_eq!(distinct.len(), images.len(), "{profile:?}");
        let expected = match profile {
            Strict => 1,
            // Each of the 20 writes is absent, torn or there, each file is created or not.
            Prefix => 61,
            _ => 200,
        };
        assert_eq!(images.len(), expected, "{profile:?}");
        if expected == 200 {
            assert_ne!(images, list(200, 8), "{profile:?}");
        }
        assert_eq!(list(0, 7), []);
    }
}

#[test]
fn the_selection_holds_nothing_everything_omissions_survivors_and_prefixes() {
    let vfs = many();
    let all = "ab".repeat(20);
    let mut seen = BTreeSet::new();
    for image in vfs.images(Ordered, 300, 0) {
        let left = letters(&image.vfs, "/f");
        let there = left.chars().filter(|letter| *letter != '0').count();
        seen.extend([
            left.is_empty().then_some("nothing"),
            (left == all).then_some("everything"),
            (left.len() == 40 && there == 39).then_some("an omission"),
            (left.len() == 40 && there > 2 && all.starts_with(left.trim_end_matches('0')))
                .then_some("a prefix"),
        ]);
        assert!(image.description.starts_with("Ordered: "), "{}", image.description);
    }
    for what in ["nothing", "everything", "an omission", "a prefix"] {
        assert!(seen.contains(&Some(what)), "{what}");
    }
}

#[test]
fn an_image_is_a_plain_file_system_with_nothing_pending() {
    let vfs = MemoryVfs::new();
    synced(&vfs, "/f", "a");
    let _lock = vfs.lock(Path::new("/.lock")).unwrap().unwrap();
    vfs.fail_nth(1_000_000, Fault::Io, Repeat::Forever);
    for image in vfs.images(Adversarial, PLENTY, 0) {
        assert!(image.vfs.lock(Path::new("/.lock")).unwrap().is_some());
        assert_eq!(image.vfs.counts().all, 1);
        assert_eq!(letters(&image.vfs, "/f"), "a");
        open(&image.vfs, "/g");
        assert!(
            names_after(&image.vfs, Strict).starts_with('f') || names_after(&image.vfs, Strict) == ".lock+f"
        );
    }
}

#[test]
fn descriptions_name_what_is_missing() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "b", 1);
    rename(&vfs, "/f", "/g");
    let descriptions: Vec<_> = vfs.images(Ordered, PLENTY, 0).map(|image| image.description).collect();
    assert_eq!(
        descriptions,
        [
            r#"Ordered: "f" not renamed to "g" (/g); /g: 512 of 1024 bytes sector 1 Old"#,
            r#"Ordered: "f" not renamed to "g" (/g); /g: sector 1 Old"#,
            r#"Ordered: "f" not renamed to "g" (/g)"#,
            "Ordered: /g: sector 1 Old",
            "Ordered: everything is there",
        ]
    );
}

// ---- Models ----

/// Calls chosen by chance on a few small files.
fn play(vfs: &MemoryVfs, rng: &mut fastrand::Rng, steps: usize) {
    for _ in 0..steps {
        let paths = ["/a", "/b", "/d/a"];
        let (path, other) = (paths[rng.usize(..3)], paths[rng.usize(..3)]);
        let file = open(vfs, path);
        match rng.u8(..9) {
            0..3 => {
                let letter = rng.lowercase() as u8;
                write_all_at(file.as_ref(), &vec![letter; rng.usize(..800)], rng.u64(..600)).unwrap();
            }
            3 => file.set_len(rng.u64(..1500)).unwrap(),
            4 => file.sync_data().unwrap(),
            5 => rename(vfs, path, other),
            6 => vfs.remove_file(Path::new(path)).unwrap(),
            _ => vfs.sync_dir(Path::new(["/", "/d"][rng.usize(..2)])).unwrap(),
        }
    }
}

#[test]
fn an_adversary_can_do_whatever_the_milder_profiles_do() {
    let mut compared = 0;
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let vfs = MemoryVfs::new();
        vfs.create_dir(Path::new("/d")).unwrap();
        vfs.sync_dir(Path::new("/")).unwrap();
        play(&vfs, &mut rng, 6);
        let images = |profile| -> BTreeMap<_, _> {
            let images = vfs.images(profile, 1_000, 0);
            images.map(|image| (image.vfs.state.lock().disk.fingerprint(), image.description)).collect()
        };
        let cached = vfs.state.lock().disk.fingerprint();
        let complete = vfs.images(Adversarial, 1_000, 0).is_complete();
        for profile in [Prefix, Ordered] {
            assert!(images(profile).contains_key(&cached), "seed {seed}, {profile:?}: everything is lawful");
        }
        if complete {
            compared += 1;
            let all = images(Adversarial);
            for profile in [Strict, Prefix, Ordered] {
                for (fingerprint, description) in images(profile) {
                    assert!(all.contains_key(&fingerprint), "seed {seed}: {description}");
                }
            }
        }
    }
    assert!(compared > 60, "{compared}");
}

#[test]
fn what_was_synced_with_its_name_is_in_every_image_whatever_happens_around_it() {
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let vfs = MemoryVfs::new();
        vfs.create_dir(Path::new("/d")).unwrap();
        play(&vfs, &mut rng, 8);
        synced(&vfs, "/kept", "abc");
        synced(&vfs, "/d/kept", "de");
        play(&vfs, &mut rng, 8);
        for profile in PROFILES {
            for image in vfs.images(profile, 50, seed) {
                assert_eq!(letters(&image.vfs, "/kept"), "abc", "seed {seed}: {}", image.description);
                assert_eq!(letters(&image.vfs, "/d/kept"), "de", "seed {seed}: {}", image.description);
            }
        }
    }
}

#[test]
fn bytes_are_read_as_from_a_vector() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (vfs, mut model) = (MemoryVfs::new(), Vec::new());
    let file = open(&vfs, "/f");
    for _ in 0..2_000 {
        let (position, len) = (rng.usize(..1_000), rng.usize(..2_000));
        match rng.u8(..4) {
            0 => {
                model.resize(len, 0);
                file.set_len(len as u64).unwrap();
            }
            1 if len > 0 => {
                let letter = rng.u8(..);
                model.resize(model.len().max(position + len), 0);
                model[position..position + len].fill(letter);
                write_all_at(file.as_ref(), &vec![letter; len], position as u64).unwrap();
            }
            2 => file.sync_data().unwrap(),
            _ => {
                let mut buffer = vec![0; len];
                let read = file.read_at(&mut buffer, position as u64).unwrap();
                let end = model.len().min(position + len);
                assert_eq!(buffer[..read], model[position.min(end)..end]);
            }
        }
        assert_eq!(file.map().unwrap(), model);
        assert_eq!(file.size().unwrap(), model.len() as u64);
    }
    vfs.sync_dir(Path::new("/")).unwrap();
    file.sync_data().unwrap();
    assert_eq!(after(&vfs, Strict, |vfs| bytes(vfs, "/f").unwrap()), [model]);
}

// ---- Processes ----

#[test]
fn a_killed_process_leaves_what_it_wrote_pending_and_its_locks_free() {
    let vfs = MemoryVfs::new();
    let lock = vfs.lock(Path::new("/.lock")).unwrap().unwrap();
    lock.write_text("me").unwrap();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "b", 0);
    vfs.fail_nth(1, Fault::Io, Repeat::Forever);

    let again = vfs.restart();
    assert_eq!(letters(&again, "/f"), "b");
    assert_eq!(bytes(&again, "/.lock").unwrap(), b"me");
    assert_eq!(letters_after(&again, Prefix, "/f"), "a b");
    assert!(again.lock(Path::new("/.lock")).unwrap().is_some());
    write(open(&again, "/f").as_ref(), "c", 0);

    vfs.fail_no_more();
    assert_eq!(letters(&vfs, "/f"), "b", "the copies are independent");
    assert!(vfs.lock(Path::new("/.lock")).unwrap().is_none());
    let fork = vfs.fork();
    assert_eq!(fork.counts(), vfs.counts());
    drop(lock);
    assert!(fork.lock(Path::new("/.lock")).unwrap().is_none(), "it stands as it stood");
    assert!(vfs.lock(Path::new("/.lock")).unwrap().is_some());
}

#[test]
fn a_stopped_process_does_nothing_more() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    let lock = vfs.lock(Path::new("/.lock")).unwrap().unwrap();
    lock.write_text("me").unwrap();
    vfs.stop_after(1);
    write(file.as_ref(), "b", 0);
    assert_eq!(letters(&vfs, "/f"), "b", "calls that change nothing are still carried out");
    assert_eq!(vfs.failed_call(), None);
    let changing = vfs.counts().changing;
    assert!(file.set_len(0).is_err());
    assert!(file.size().is_err());
    assert!(vfs.open(Path::new("/f"), OpenMode::Read).is_err());
    drop(lock);
    let failed = vfs.failed_call().unwrap();
    assert_eq!((failed.operation, failed.path.as_path()), (Operation::SetLen, Path::new("/f")));
    assert_eq!(vfs.counts().changing, changing + 1);
    let again = vfs.restart();
    assert_eq!(letters(&again, "/f"), "b");
    assert_eq!(bytes(&again, "/.lock").unwrap(), b"me", "nobody was left to empty it");
}

// ---- Faults ----

#[test]
fn the_nth_call_fails_once_or_for_ever_in_each_way() {
    let faults = [
        (Fault::Io, None),
        (Fault::NoSpace, Some(ErrorKind::StorageFull)),
        (Fault::Interrupted, Some(ErrorKind::Interrupted)),
        (Fault::ReadOnly, Some(ErrorKind::ReadOnlyFilesystem)),
    ];
    for (fault, kind) in faults {
        for repeat in [Repeat::Once, Repeat::Forever] {
            let vfs = MemoryVfs::new();
            let file = open(&vfs, "/f");
            vfs.fail_nth(2, fault, repeat);
            assert_eq!(file.write_at(b"a", 0).unwrap(), 1);
            assert_eq!(vfs.failed_call(), None);
            let error = file.write_at(b"b", 0).unwrap_err();
            assert!(kind.is_none_or(|kind| error.kind() == kind), "{error}");
            assert_eq!(file.write_at(b"c", 0).is_ok(), repeat == Repeat::Once);
            assert_eq!(vfs.failed_call().unwrap().to_string(), "call 3, Write /f");
            vfs.fail_no_more();
            assert_eq!(bytes(&vfs, "/f").unwrap(), if repeat == Repeat::Once { b"c" } else { b"a" });
        }
    }
}

#[test]
fn short_transfers_move_the_beginning() {
    let vfs = MemoryVfs::new();
    let file = open(&vfs, "/f");
    vfs.fail_nth(1, Fault::Short(2), Repeat::Once);
    assert_eq!(file.write_at(b"abc", 0).unwrap(), 2);
    assert_eq!(file.size().unwrap(), 2);
    vfs.fail_nth(1, Fault::Short(1), Repeat::Forever);
    let mut buffer = [0; 2];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 1);
    assert_eq!(file.read_uncached_at(&mut buffer, 1).unwrap(), 1);
    write_all_at(file.as_ref(), b"abcd", 0).unwrap();
    assert_eq!(bytes(&vfs, "/f").unwrap(), b"abcd");
    vfs.fail_nth(1, Fault::Short(0), Repeat::Once);
    let error = write_all_at(file.as_ref(), b"x", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn a_fault_strikes_only_calls_that_it_can_happen_to() {
    let vfs = MemoryVfs::new();
    let file = open(&vfs, "/f");
    vfs.fail_nth(1, Fault::TooManyFiles, Repeat::Forever);
    file.write_at(b"a", 0).unwrap();
    assert_eq!(vfs.failed_call(), None);
    assert_eq!(vfs.open(Path::new("/f"), OpenMode::Read).unwrap_err().raw_os_error(), Some(24));
    assert_eq!(vfs.failed_call().unwrap().operation, Operation::Open);
    vfs.fail_nth(1, Fault::NoSpace, Repeat::Forever);
    file.read_at(&mut [0], 0).unwrap();
    vfs.remove_file(Path::new("/f")).unwrap();
    assert_eq!(vfs.create_dir(Path::new("/d")).unwrap_err().kind(), ErrorKind::StorageFull);
}

#[test]
fn an_interrupted_sync_loses_nothing() {
    let vfs = MemoryVfs::new();
    let file = synced(&vfs, "/f", "a");
    write(file.as_ref(), "b", 0);
    vfs.fail_nth(1, Fault::Interrupted, Repeat::Once);
    assert_eq!(file.sync_data().unwrap_err().kind(), ErrorKind::Interrupted);
    file.sync_data().unwrap();
    assert_eq!(letters_after(&vfs, Adversarial, "/f"), "b");
}

// ---- A plain file system ----

#[test]
fn a_file_opened_for_reading_is_not_written() {
    let vfs = MemoryVfs::new();
    open(&vfs, "/f");
    let file = vfs.open(Path::new("/f"), OpenMode::Read).unwrap();
    assert!(file.write_at(b"a", 0).is_err());
    assert!(file.set_len(1).is_err());
    assert!(file.allocate(1).is_err());
    assert_eq!(file.size().unwrap(), 0);
}

#[test]
fn what_has_no_name_and_no_handle_is_forgotten() {
    let vfs = MemoryVfs::new();
    vfs.create_dir(Path::new("/d")).unwrap();
    let file = synced(&vfs, "/d/f", "a");
    vfs.remove_file(Path::new("/d/f")).unwrap();
    vfs.remove_dir(Path::new("/d")).unwrap();
    vfs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(vfs.state.lock().disk.files.len(), 1, "it is open");
    assert_eq!(vfs.state.lock().disk.changes.len(), 0, "no crash shows the change of a lost directory");
    let fork = vfs.fork();
    fork.sync_dir(Path::new("/")).unwrap();
    assert_eq!(fork.state.lock().disk.files.len(), 0, "in a copy nothing is open");
    drop(file);
    vfs.sync_dir(Path::new("/")).unwrap();
    assert_eq!(vfs.state.lock().disk.files.len(), 0);
}

#[test]
fn an_endless_file_takes_no_space() {
    let vfs = MemoryVfs::new();
    let file = open(&vfs, "/f");
    file.allocate(MAX_LEN).unwrap();
    assert_eq!(file.set_len(MAX_LEN + 1).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(file.write_at(b"a", MAX_LEN).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(file.write_at(b"a", u64::MAX).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(vfs.images(Adversarial, 100, 0).count(), 3);
}
