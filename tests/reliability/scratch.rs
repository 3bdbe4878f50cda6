//! Temporary directories that go with a run, with everything that was mounted in them; and those of earlier runs, which
//! were killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::posix::is_alive;

const PREFIX: &str = "ottla-reliability-";

/// A directory of this run's.
pub struct Scratch(PathBuf);

impl Scratch {
    /// On the disk.
    pub fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// Where syncs cost nothing, for what does not depend on a disk: in memory, if the system has such a place.
    pub fn in_memory(name: &str) -> Self {
        Self::below(&places().pop().expect("a place"), name)
    }

    fn below(place: &Path, name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{name}", std::process::id());
        let path = place.join(name);
        remove(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The data directory in it.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what was found is kept until the next run: {}", self.0.display());
            unmount(&self.0);
        } else {
            remove(&self.0);
        }
    }
}

/// Removes what runs have left whose process is gone.
pub fn remove_leftovers() {
    for entry in places().iter().flat_map(|place| std::fs::read_dir(place).unwrap()).flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if pid.is_some_and(|pid| !is_alive(pid)) {
            remove(&entry.path());
        }
    }
}

/// Where such directories are made.
fn places() -> Vec<PathBuf> {
    let memory = Path::new("/dev/shm");
    let can_be_used =
        memory.metadata().is_ok_and(|metadata| metadata.is_dir() && !metadata.permissions().readonly());
    [Some(std::env::temp_dir()), can_be_used.then(|| memory.to_owned())].into_iter().flatten().collect()
}

fn remove(path: &Path) {
    if path.exists() {
        unmount(path);
        _ = std::fs::remove_dir_all(path);
    }
}

fn unmount(path: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    let inside: Vec<_> = places.filter(|place| place.starts_with(path)).collect();
    // What was mounted last first: it may lie upon the others.
    for place in inside.into_iter().rev() {
        _ = Command::new("umount").arg("--lazy").arg(place).status();
    }
}
