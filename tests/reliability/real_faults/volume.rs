//! Volumes of this run's: a file system in a file, on a loop device, the file in a file system in memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scratch::Scratch;

/// A file system in memory of so many bytes.
pub struct Memory {
    pub scratch: Scratch,
}

impl Memory {
    pub fn mount(name: &str, mib: u32) -> Result<Self, String> {
        let scratch = Scratch::new(name);
        std::fs::create_dir(scratch.path().join("memory")).unwrap();
        let memory = Self { scratch };
        memory.size(mib, "mount")?;
        Ok(memory)
    }

    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("memory")
    }

    /// Makes it larger, or smaller.
    pub fn resize(&self, mib: u32) {
        self.size(mib, "remount").unwrap();
    }

    fn size(&self, mib: u32, how: &str) -> Result<(), String> {
        let options = match how {
            "remount" => format!("remount,size={mib}m"),
            _ => format!("size={mib}m"),
        };
        call(
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "ottla-reliability"]).arg(self.path()),
        )
    }
}

/// A file system in a file.
pub struct Volume {
    pub memory: Memory,
    is_thin: bool,
}

impl Volume {
    /// `kind` is `ext4` or `xfs`.
    pub fn make(kind: &str, mib: u32, memory: u32) -> Result<Self, String> {
        let memory = Memory::mount(kind, memory)?;
        std::fs::create_dir(memory.scratch.path().join("volume")).unwrap();
        let volume = Self { memory, is_thin: false };
        File::create(volume.image()).unwrap().set_len(u64::from(mib) << 20).unwrap();
        let mut command = Command::new(format!("mkfs.{kind}"));
        match kind {
            // Whatever is not a file's content has its place from now on.
            "ext4" => command.args([
                "-q",
                "-b",
                "4096",
                "-E",
                "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
                "-J",
                "size=4",
            ]),
            _ => command.args(["-q"]),
        };
        call(command.arg(volume.image()))?;
        volume.mount()?;
        Ok(volume)
    }

    /// The file that holds it.
    pub fn image(&self) -> PathBuf {
        self.memory.path().join("image")
    }

    pub fn path(&self) -> PathBuf {
        self.memory.scratch.path().join("volume")
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn mount(&self) -> Result<(), String> {
        call(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))?;
        if self.is_thin { self.write_by_page() } else { Ok(()) }
    }

    /// Gives every block of the file system that is in use its place in the file, and none to those that are not.
    pub fn become_thin(&mut self) -> Result<(), String> {
        let size = std::fs::metadata(self.image()).unwrap().len().to_string();
        call(Command::new("fallocate").args(["-l", &size]).arg(self.image()))?;
        call(Command::new("fstrim").arg(self.path()))?;
        self.is_thin = true;
        self.write_by_page()
    }

    /// A loop device takes a write of which a part was done for one that was done (Linux 6.18), so that it is to write one
    /// page at a time, which is done or not.
    fn write_by_page(&self) -> Result<(), String> {
        let device = self.device();
        let queue =
            Path::new("/sys/block").join(device.trim_start_matches("/dev/")).join("queue/max_sectors_kb");
        std::fs::write(&queue, "4").map_err(|error| format!("{}: {error}", queue.display()))
    }

    /// Has nothing brought into memory that nobody has asked for.
    pub fn read_nothing_ahead(&self) {
        call(Command::new("blockdev").args(["--setra", "0", &self.device()])).unwrap();
    }

    fn device(&self) -> String {
        let found =
            Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(self.image()).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    }

    pub fn unmount(&self) {
        call(Command::new("umount").arg(self.path())).unwrap();
    }

    /// Stops the file system as a power cut would, and mounts it again, which replays its journal.
    pub fn cut_power(&self, flush_journal: bool, meanwhile: impl FnOnce()) {
        let directory = File::open(self.path()).unwrap();
        crate::posix::shut_down(&directory, flush_journal).unwrap();
        drop(directory);
        meanwhile();
        self.unmount();
        self.mount().unwrap();
    }
}

/// Runs a program; what it lacks, or says, if it fails.
pub fn call(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
