//! The contracts of the trait, held by both file systems.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

/// Runs `check` on an empty directory of each file system.
fn on_each(name: &str, check: impl Fn(Arc<dyn Vfs>, &Path)) {
    check(Arc::new(MemoryVfs::new()), Path::new("/"));

    let dir = std::env::temp_dir().join(format!("ottla-vfs-{name}-{}", std::process::id()));
    _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    check(Arc::new(OsVfs), &dir);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn names(vfs: &dyn Vfs, dir: &Path) -> Vec<(String, EntryKind)> {
    let mut names: Vec<_> =
        vfs.read_dir(dir).unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    names
}

#[test]
fn files_are_written_and_read_at_positions() {
    on_each("positions", |vfs, dir| {
        let path = dir.join("file");
        let file = vfs.open(&path, OpenMode::CreateNew).unwrap();
        write_all_at(file.as_ref(), b"world", 5).unwrap();
        write_all_at(file.as_ref(), b"hello", 0).unwrap();
        let again = vfs.open(&path, OpenMode::Read).unwrap();
        let mut buffer = [0; 10];
        read_exact_at(again.as_ref(), &mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"helloworld");
        assert_eq!(read_up_to_at(again.as_ref(), &mut buffer, 8).unwrap(), 2);
        assert_eq!(
            read_exact_at(again.as_ref(), &mut buffer, 8).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        assert_eq!(again.map().unwrap(), &b"helloworld"[..]);
        assert_eq!(read_file(vfs.as_ref(), &path, 10).unwrap(), b"helloworld");
        assert_eq!(read_file(vfs.as_ref(), &path, 9).unwrap_err().kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn reads_past_the_cache_see_the_same_bytes_at_any_position() {
    on_each("uncached", |vfs, dir| {
        let path = dir.join("file");
        let file = vfs.open(&path, OpenMode::CreateNew).unwrap();
        let bytes: Vec<_> = (0..=250_u8).cycle().take(10_000).collect();
        write_all_at(file.as_ref(), &bytes[..9_000], 0).unwrap();
        file.sync_data().unwrap();
        write_all_at(file.as_ref(), &bytes[9_000..], 9_000).unwrap();
        file.drop_cache().unwrap();
        assert_eq!(read_file(vfs.as_ref(), &path, 10_000).unwrap(), bytes, "dropping the cache lost bytes");
        let again = vfs.open(&path, OpenMode::Read).unwrap();
        for (position, len) in [(0, 1), (1, 1), (0, 4096), (4095, 2), (511, 8_000), (9_990, 100), (9_999, 1)]
        {
            let mut buffer = vec![0; len];
            match again.read_uncached_at(&mut buffer, position as u64) {
                Ok(read) => assert_eq!(buffer[..read], bytes[position..][..len.min(10_000 - position)]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
            }
        }
        for position in [10_000, 12_288, 20_000] {
            assert_eq!(again.read_uncached_at(&mut [0; 10], position).unwrap(), 0, "the end");
        }
        assert_eq!(again.read_uncached_at(&mut [], 0).unwrap(), 0);
    });
}

#[test]
fn allocating_extends_with_zeros_and_never_shortens() {
    on_each("allocate", |vfs, dir| {
        let file = vfs.open(&dir.join("file"), OpenMode::CreateNew).unwrap();
        write_all_at(file.as_ref(), b"x", 0).unwrap();
        file.allocate(4096).unwrap();
        assert_eq!(file.size().unwrap(), 4096);
        file.allocate(100).unwrap();
        assert_eq!(file.size().unwrap(), 4096);
        file.set_len(2).unwrap();
        assert_eq!(file.map().unwrap(), &b"x\0"[..]);
    });
}

#[test]
fn opening_says_what_is_wrong() {
    on_each("opening", |vfs, dir| {
        let path = dir.join("file");
        for how in [OpenMode::Read, OpenMode::Write] {
            assert_eq!(vfs.open(&path, how).unwrap_err().kind(), ErrorKind::NotFound);
        }
        let orphan = dir.join("absent").join("file");
        assert_eq!(vfs.open(&orphan, OpenMode::CreateNew).unwrap_err().kind(), ErrorKind::NotFound);
        vfs.open(&path, OpenMode::CreateNew).unwrap();
        assert_eq!(vfs.open(&path, OpenMode::CreateNew).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(vfs.create_dir(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(vfs.open(dir, OpenMode::Read).is_err(), "a directory is no file");
    });
}

#[test]
fn replacing_leaves_the_old_or_the_new_and_no_temporary_file() {
    on_each("replace", |vfs, dir| {
        for content in ["old and longer", "new"] {
            replace_file(vfs.as_ref(), dir, "name", content.as_bytes()).unwrap();
            assert_eq!(read_file(vfs.as_ref(), &dir.join("name"), 100).unwrap(), content.as_bytes());
            assert_eq!(names(vfs.as_ref(), dir), [("name".to_owned(), EntryKind::File)]);
        }
    });
}

#[test]
fn directories_move_with_what_they_hold() {
    on_each("move", |vfs, dir| {
        let (from, to) = (dir.join("from"), dir.join("to"));
        vfs.create_dir(&from).unwrap();
        vfs.open(&from.join("file"), OpenMode::CreateNew).unwrap();
        assert_eq!(vfs.remove_dir(&from).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        vfs.rename(&from, &to).unwrap();
        vfs.sync_dir(dir).unwrap();
        assert_eq!(names(vfs.as_ref(), dir), [("to".to_owned(), EntryKind::Directory)]);
        assert_eq!(vfs.kind(&from).unwrap(), None);
        vfs.remove_file(&to.join("file")).unwrap();
        vfs.remove_dir(&to).unwrap();
        assert_eq!(vfs.read_dir(dir).unwrap(), []);
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_each("unlink", |vfs, dir| {
        let path: PathBuf = dir.join("file");
        let file = vfs.open(&path, OpenMode::CreateNew).unwrap();
        write_all_at(file.as_ref(), b"still here", 0).unwrap();
        vfs.remove_file(&path).unwrap();
        assert_eq!(vfs.remove_file(&path).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(file.map().unwrap(), &b"still here"[..]);
    });
}

#[test]
fn a_lock_has_one_holder_and_ends_with_it() {
    on_each("lock", |vfs, dir| {
        let path = dir.join(".lock");
        let held = vfs.lock(&path).unwrap().expect("nobody holds it");
        held.write_text("me").unwrap();
        assert_eq!(read_file(vfs.as_ref(), &path, 100).unwrap(), b"me");
        assert!(vfs.lock(&path).unwrap().is_none(), "a second handle is refused");
        drop(held);
        assert!(vfs.lock(&path).unwrap().is_some());
    });
}

#[test]
fn links_and_pipes_are_not_opened() {
    let dir = std::env::temp_dir().join(format!("ottla-vfs-links-{}", std::process::id()));
    _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("target"), "keep me").unwrap();
    std::os::unix::fs::symlink(dir.join("target"), dir.join("link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap().success());
    for name in ["link", "pipe"] {
        assert_eq!(OsVfs.kind(&dir.join(name)).unwrap(), Some(EntryKind::Other));
        for how in [OpenMode::Read, OpenMode::Write, OpenMode::CreateEmpty] {
            assert!(OsVfs.open(&dir.join(name), how).is_err(), "{name}, {how:?}");
        }
    }
    assert_eq!(std::fs::read(dir.join("target")).unwrap(), b"keep me");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Parts of many sizes, some of them held: all are the file's bytes, and stay what they were.
#[test]
fn reading_ahead_hands_out_the_bytes_of_the_file() {
    on_each("ahead", |vfs, dir| {
        let file = vfs.open(&dir.join("file"), OpenMode::CreateNew).unwrap();
        let bytes: Vec<_> = (0..=250_u8).cycle().take(1_000_000).collect();
        write_all_at(file.as_ref(), &bytes, 0).unwrap();
        let views = [
            FileView::Read(Arc::clone(&file)),
            FileView::Uncached(Arc::clone(&file)),
            FileView::Mapped(file.map().unwrap()),
        ];
        for view in views {
            for hold_each in [1, 3, usize::MAX] {
                let mut random = fastrand::Rng::with_seed(7);
                let (mut ahead, mut held, mut at) = (ReadAhead::new(view.clone(), 0), Vec::new(), 0);
                while at < bytes.len() {
                    let most = if random.u8(..) < 20 { 150_000 } else { 9_000 };
                    let len = random.usize(1..most);
                    let left = bytes.len() - at;
                    assert!(ahead.fill(len, left as u64).unwrap());
                    assert!(ahead.bytes() == &bytes[at..at + ahead.bytes().len()], "at {at}");
                    let part = ahead.share(len);
                    assert_eq!(part.len(), len.min(left));
                    ahead.skip(len);
                    if held.len() % hold_each == 0 {
                        held.push((at, part));
                    }
                    at += len;
                    assert_eq!(ahead.position(), at as u64);
                }
                assert!(held.iter().all(|(at, part)| part == &bytes[*at..*at + part.len()]));
            }
            let mut ahead = ReadAhead::new(view, 999_990);
            assert!(!ahead.fill(100, 1000).unwrap(), "the file ends before");
            assert_eq!(ahead.bytes(), &bytes[999_990..]);
        }
    });
}

#[test]
fn reading_ahead_uses_its_buffer_again_once_nobody_holds_a_part_of_it() {
    let vfs = MemoryVfs::new();
    let file = vfs.open(Path::new("/file"), OpenMode::CreateNew).unwrap();
    file.set_len(10_000_000).unwrap();
    let mut ahead = ReadAhead::new(FileView::Read(file), 0);
    let mut buffer_of_next = |hold: &mut Vec<bytes::Bytes>, keep: bool| {
        // More than any piece, so that each is read anew.
        assert!(ahead.fill(100_000, u64::MAX).unwrap());
        let part = ahead.share(100_000);
        ahead.skip(100_000);
        let address = part.as_ptr();
        if keep {
            hold.push(part);
        }
        address
    };
    let mut held = Vec::new();
    let first = buffer_of_next(&mut held, false);
    assert_eq!(buffer_of_next(&mut held, true), first);
    assert_ne!(buffer_of_next(&mut held, false), first, "somebody holds it");
}
